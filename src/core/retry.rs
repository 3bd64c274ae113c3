//! Which failures are tried again, and after how long a wait.

use super::json::{self, JsonError, Object};
use std::collections::BTreeSet;
use std::time::Duration;

/// A job that exits with this is never tried again (qmail's "permanent").
pub const EXIT_PERMANENT: i32 = 100;

/// A job that exits with one of these is tried again even if `retry_on` does not list it: EX_TEMPFAIL of sysexits.h,
/// and qmail's "temporary".
pub const EXIT_TEMPORARY: [i32; 2] = [75, 111];

/// The exit codes after which a job is tried again. `fail_on` overrules `retry_on`; [`EXIT_PERMANENT`] overrules both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitRules(Option<Box<Lists>>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Lists {
    retry_on: Option<BTreeSet<i32>>,
    fail_on: BTreeSet<i32>,
}

impl ExitRules {
    /// The rules of a record; `None` means that any failure is tried again.
    pub fn new(retry_on: Option<BTreeSet<i32>>, fail_on: BTreeSet<i32>) -> Self {
        if retry_on.is_none() && fail_on.is_empty() {
            return Self(None);
        }
        Self(Some(Box::new(Lists { retry_on, fail_on })))
    }

    /// The list of `retry_on`, if there is one.
    pub fn retry_on(&self) -> Option<&BTreeSet<i32>> {
        self.0.as_ref()?.retry_on.as_ref()
    }

    /// The list of `fail_on`.
    pub fn fail_on(&self) -> &BTreeSet<i32> {
        static NONE: BTreeSet<i32> = BTreeSet::new();
        self.0.as_ref().map_or(&NONE, |lists| &lists.fail_on)
    }

    /// True when a try that ended with `code` may be followed by another.
    pub fn retries(&self, code: i32) -> bool {
        if code == EXIT_PERMANENT || self.fail_on().contains(&code) {
            return false;
        }
        EXIT_TEMPORARY.contains(&code) || self.retry_on().is_none_or(|list| list.contains(&code))
    }
}

/// The backoff as a record or the config gives it: each part is optional.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BackoffSpec {
    /// The wait before the second try.
    pub first: Option<Duration>,
    /// Each further wait is this many times the one before.
    pub factor: Option<f64>,
    /// The longest wait.
    pub max: Option<Duration>,
}

impl BackoffSpec {
    /// Reads `{"first": "1s", "factor": 2, "max": "10m"}`, each of them optional.
    pub fn read(object: &Object<'_>) -> Result<Self, JsonError> {
        let mut spec = Self::default();
        for field in object.fields() {
            match field.key {
                "first" => spec.first = Some(field.read(json::span)?),
                "max" => spec.max = Some(field.read(json::span)?),
                "factor" => {
                    let factor = field.read(json::number)?;
                    if !(1.0..=1000.0).contains(&factor) {
                        return Err(
                            field.error(format!("expected a number from 1 to 1000, got {factor}"))
                        );
                    }
                    spec.factor = Some(factor);
                }
                _ => return Err(field.unknown(&["first", "factor", "max"])),
            }
        }
        Ok(spec)
    }

    /// This backoff with the missing parts from `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            first: self.first.or(other.first),
            factor: self.factor.or(other.factor),
            max: self.max.or(other.max),
        }
    }

    /// The complete rule. Missing parts are 1 s, twice, and 10 minutes, or the first wait if that is longer.
    pub fn rule(self) -> Backoff {
        let first = self.first.unwrap_or(Duration::from_secs(1));
        Backoff {
            first,
            factor: self.factor.unwrap_or(2.0),
            max: self.max.unwrap_or(first.max(Duration::from_secs(600))),
        }
    }
}

/// A complete backoff rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait before the second try.
    pub first: Duration,
    /// Each further wait is this many times the one before.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `attempt` tries: from three to four quarters of the nominal wait, so that jobs that failed
    /// together are not tried again together. `dice` is any random number.
    pub fn wait(&self, attempt: u32, dice: u64) -> Duration {
        if self.first.is_zero() {
            // The factor of a late try is infinite, and infinity times zero is no number.
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let nominal = self.first.as_secs_f64() * self.factor.powi(exponent);
        let capped = nominal.min(self.max.as_secs_f64());
        let share = 0.75 + 0.25 * (dice % 1_000) as f64 / 1_000.0;
        Duration::from_secs_f64(capped * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_of_nothing_stays_nothing() {
        let backoff = Backoff {
            first: Duration::ZERO,
            ..BackoffSpec::default().rule()
        };
        for attempt in [0, 1, 2, 1_025, u32::MAX] {
            assert_eq!(backoff.wait(attempt, 999), Duration::ZERO, "try {attempt}");
        }
    }

    #[test]
    fn a_first_wait_is_not_cut_by_a_limit_that_nobody_gave() {
        let hour = Some(Duration::from_secs(3600));
        let minute = Some(Duration::from_secs(60));
        for (max, longest) in [(None, hour), (minute, minute)] {
            let spec = BackoffSpec {
                first: hour,
                max,
                ..BackoffSpec::default()
            };
            assert_eq!(Some(spec.rule().max), longest);
        }
    }

    #[test]
    fn backoff_grows_to_its_limit_with_jitter() {
        let backoff = BackoffSpec::default().rule();
        for (attempt, nominal) in [(1, 1.0), (2, 2.0), (3, 4.0), (11, 600.0), (u32::MAX, 600.0)] {
            for dice in [0, 1, 499, 999, u64::MAX] {
                let wait = backoff.wait(attempt, dice).as_secs_f64();
                assert!(
                    wait >= nominal * 0.75 - 1e-9 && wait <= nominal,
                    "try {attempt}: {wait}"
                );
            }
        }
    }
}
