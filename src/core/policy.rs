//! The verdict on a job whose try ended: it is complete, is tried again, or failed.

use super::record::Reason;
use super::retry::ExitRules;

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryEnd {
    /// Exited by itself with this code.
    Exited(i32),
    /// Ended by this signal, which pirn did not send.
    Signaled(i32),
    /// pirn stopped it. `code` or `signal` says how it then ended.
    Stopped {
        /// Why pirn stopped it.
        why: StopReason,
        /// Exit code, if it exited.
        code: Option<i32>,
        /// Signal, if it was killed.
        signal: Option<i32>,
    },
    /// The program could not be started, and another try would not help.
    NotStarted,
    /// It ended with a status that is not known.
    Interrupted,
}

/// Why pirn stops a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Its timeout passed.
    Timeout,
    /// It wrote more than its `max_log`.
    LogLimit,
    /// A user moved its file to `failed/`, or a command or request did.
    Cancelled,
    /// A user removed its file: its end is not recorded.
    Forgotten,
    /// A user moved its file back to `pending/`.
    Requeued,
    /// The daemon was told twice to stop.
    Shutdown,
}

/// The end of a try, in the words of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub reason: Reason,
    /// Exit code, if it exited.
    pub exit_code: Option<i32>,
    /// Signal, if it was killed.
    pub signal: Option<i32>,
}

/// The decision about a job whose try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its file goes to `complete/`.
    Complete,
    /// Its file goes to `failed/`.
    Failed,
    /// Its file goes back to `pending/`, due after the backoff.
    Retry,
    /// Its file goes back to `pending/`, due at once.
    Requeue,
    /// Nothing: a user removed its file.
    Forget,
}

impl TryEnd {
    /// The words for the record.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Exited(code) => Outcome {
                reason: Reason::Exited,
                exit_code: Some(code),
                signal: None,
            },
            Self::Signaled(signal) => Outcome {
                reason: Reason::Signaled,
                exit_code: None,
                signal: Some(signal),
            },
            Self::Stopped { why, code, signal } => {
                let reason = match why {
                    StopReason::Timeout => Reason::Timeout,
                    StopReason::LogLimit => Reason::LogLimit,
                    StopReason::Cancelled | StopReason::Forgotten => Reason::Cancelled,
                    StopReason::Requeued | StopReason::Shutdown => Reason::Interrupted,
                };
                Outcome {
                    reason,
                    exit_code: code,
                    signal,
                }
            }
            Self::NotStarted => Outcome {
                reason: Reason::NotStarted,
                exit_code: None,
                signal: None,
            },
            Self::Interrupted => Outcome {
                reason: Reason::Interrupted,
                exit_code: None,
                signal: None,
            },
        }
    }

    /// True when the daemon or the machine ended the try, not the job itself and no user.
    pub fn is_interruption(self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Stopped { why, .. } => why == StopReason::Shutdown,
            Self::Exited(_) | Self::Signaled(_) | Self::NotStarted => false,
        }
    }

    /// True when the program exited with 0.
    pub fn succeeded(self) -> bool {
        self == Self::Exited(0)
    }
}

/// The terms of a job that decide about its next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRule {
    /// Tries in all; interrupted ones do not count.
    pub tries: u32,
    /// After this many interruptions the job fails; 0 means the same as 1.
    pub max_interruptions: u32,
    /// How many of its earlier tries were interrupted.
    pub interruptions: u32,
    /// Which exit codes are tried again.
    pub rules: ExitRules,
    /// The job is run at most once: no try follows the first.
    pub once: bool,
}

impl RetryRule {
    /// How many tries are used up when try number `attempt` ends.
    pub fn used(&self, attempt: u32) -> u32 {
        attempt.saturating_sub(self.interruptions)
    }

    /// An interruption is not the job's fault, unless there are many: then the job may be what brings the machine down.
    fn may_be_interrupted_again(&self) -> bool {
        self.interruptions.saturating_add(1) < self.max_interruptions && !self.once
    }
}

/// Decides what becomes of a job whose try number `attempt` ended.
pub fn verdict(end: TryEnd, attempt: u32, rule: &RetryRule) -> Verdict {
    let may_retry = rule.used(attempt) < rule.tries && !rule.once;
    let retry = |temporary: bool| {
        if temporary && may_retry {
            Verdict::Retry
        } else {
            Verdict::Failed
        }
    };
    // An interruption costs neither a try nor a backoff.
    let interrupted = if rule.may_be_interrupted_again() {
        Verdict::Requeue
    } else {
        Verdict::Failed
    };
    match end {
        TryEnd::Exited(0) => Verdict::Complete,
        TryEnd::Exited(code) => retry(rule.rules.retries(code)),
        TryEnd::Signaled(_) => retry(true),
        TryEnd::NotStarted => Verdict::Failed,
        TryEnd::Interrupted => interrupted,
        TryEnd::Stopped { why, .. } => match why {
            StopReason::Timeout => retry(true),
            StopReason::LogLimit | StopReason::Cancelled => Verdict::Failed,
            StopReason::Forgotten => Verdict::Forget,
            StopReason::Requeued => Verdict::Requeue,
            StopReason::Shutdown => interrupted,
        },
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn rule(tries: u32, retry_on: Option<&[i32]>, fail_on: &[i32]) -> RetryRule {
        let rules = ExitRules::new(
            retry_on.map(|l| l.iter().copied().collect()),
            fail_on.iter().copied().collect(),
        );
        RetryRule {
            tries,
            max_interruptions: 3,
            interruptions: 0,
            rules,
            once: false,
        }
    }

    /// Runs a job whose tries end as the bits of `history` say: 1 is an interruption, 0 a failure. Gives how many tries
    /// began and how many of them were interrupted when it failed; `None` if it would still be tried.
    fn life(history: u32, most: u32, mut rule: RetryRule) -> Option<(u32, u32)> {
        for attempt in 1..=most {
            let is_cut = history >> (attempt - 1) & 1 == 1;
            let end = if is_cut {
                TryEnd::Interrupted
            } else {
                TryEnd::Exited(1)
            };
            let said = verdict(end, attempt, &rule);
            rule.interruptions += u32::from(is_cut);
            match (said, is_cut) {
                (Verdict::Failed, _) => return Some((attempt, rule.interruptions)),
                (Verdict::Retry, false) | (Verdict::Requeue, true) => {}
                (said, is_cut) => panic!("{said:?} after an end with {is_cut}"),
            }
        }
        None
    }

    #[test]
    fn interruptions_and_failures_are_counted_apart() {
        const MOST: u32 = 9;
        for history in 0..1 << MOST {
            for (tries, max) in (1..5).flat_map(|tries| (0..5).map(move |max| (tries, max))) {
                let rule = RetryRule {
                    max_interruptions: max,
                    ..rule(tries, None, &[])
                };
                let (mut cuts, mut failures) = (0, 0);
                let end = (1..=MOST).find(|attempt| {
                    match history >> (attempt - 1) & 1 {
                        1 => cuts += 1,
                        _ => failures += 1,
                    }
                    failures == tries || cuts == max.max(1)
                });
                let wanted = end.map(|attempt| (attempt, cuts));
                let what = format!("{history:b}, {tries} tries, {max} interruptions");
                assert_eq!(life(history, MOST, rule), wanted, "{what}");
            }
        }
    }

    #[test]
    fn a_forced_stop_is_an_interruption() {
        let stopped = |why| TryEnd::Stopped {
            why,
            code: Some(0),
            signal: None,
        };
        let last = rule(1, None, &[]);
        let shutdown = stopped(StopReason::Shutdown);
        assert!(shutdown.is_interruption());
        assert_eq!(verdict(shutdown, 1, &last), Verdict::Requeue);
        for why in [StopReason::Timeout, StopReason::LogLimit] {
            assert!(!stopped(why).is_interruption());
            assert_eq!(verdict(stopped(why), 1, &last), Verdict::Failed);
        }
    }

    #[test]
    fn exit_codes_decide() {
        let plain = rule(3, None, &[]);
        assert_eq!(verdict(TryEnd::Exited(0), 1, &plain), Verdict::Complete);
        assert_eq!(verdict(TryEnd::Exited(127), 1, &plain), Verdict::Retry);
        assert_eq!(verdict(TryEnd::Exited(127), 3, &plain), Verdict::Failed);
        assert_eq!(verdict(TryEnd::Exited(100), 1, &plain), Verdict::Failed);
        let picky = rule(3, Some(&[4]), &[]);
        assert_eq!(verdict(TryEnd::Exited(4), 1, &picky), Verdict::Retry);
        assert_eq!(verdict(TryEnd::Exited(5), 1, &picky), Verdict::Failed);
        assert_eq!(verdict(TryEnd::Exited(75), 1, &picky), Verdict::Retry);
        assert_eq!(verdict(TryEnd::Exited(111), 1, &picky), Verdict::Retry);
        let strict = rule(3, Some(&[100]), &[1, 75]);
        assert_eq!(verdict(TryEnd::Exited(1), 1, &strict), Verdict::Failed);
        assert_eq!(verdict(TryEnd::Exited(75), 1, &strict), Verdict::Failed);
        assert_eq!(verdict(TryEnd::Exited(100), 1, &strict), Verdict::Failed);
    }

    #[test]
    fn once_means_once() {
        let once = RetryRule {
            once: true,
            ..rule(3, None, &[])
        };
        for end in [TryEnd::Exited(1), TryEnd::Signaled(9), TryEnd::Interrupted] {
            assert_eq!(verdict(end, 1, &once), Verdict::Failed);
        }
    }
}
