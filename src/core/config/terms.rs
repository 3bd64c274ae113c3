//! The terms of one job: its record with the gaps filled by the settings.

use super::Config;
use crate::core::id::QueueName;
use crate::core::policy::RetryRule;
use crate::core::record::{Record, Work};
use crate::core::retry::BackoffSpec;
use crate::core::warning::Warning;
use std::time::Duration;

/// Most bytes of the answer to a job's call, unless `max_log` says otherwise.
const MOST_OF_AN_ANSWER: u64 = 16 << 20;

/// The terms of one job: its record with the gaps filled by the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Longest try.
    pub timeout: Option<Duration>,
    /// Warning before it, which is shorter.
    pub warn: Option<Warning>,
    /// Time from TERM to KILL.
    pub grace: Duration,
    /// Wait between tries.
    pub backoff: BackoffSpec,
    /// Largest log in bytes.
    pub max_log: Option<u64>,
    /// Nice value.
    pub nice: Option<i32>,
    /// Decides whether there is another try.
    pub retry: RetryRule,
}

impl Config {
    /// The tries of a job that a command or a request adds to `queue` without naming a number. They are written into
    /// the record; a record without them was dropped by hand, and [`Self::terms`] gives it more.
    pub fn tries_of_accepted(&self, queue: &QueueName) -> u32 {
        let own = self.defaults_of(queue).tries;
        own.or(self.defaults.tries).unwrap_or(1)
    }

    /// The same for clients of other job servers. They expect to learn of the first failure, so that only a setting of
    /// their own queue gives them more than one try.
    pub fn tries_of_dialect(&self, queue: &QueueName) -> u32 {
        self.defaults_of(queue).tries.unwrap_or(1)
    }

    /// The command that is to run when this job has ended, in the queue that its record names.
    pub fn on_finish<'c>(&'c self, record: &'c Record) -> Option<&'c Work> {
        let queue = record.queue.clone().unwrap_or_default();
        let of_queue = self.defaults_of(&queue).on_finish.as_ref();
        let all = self.defaults.on_finish.as_ref();
        let work = record.on_finish.as_ref().or(of_queue).or(all);
        work.filter(|work| **work != Work::NONE)
    }

    /// The terms of a job in `queue`: from its record, else from the queue's defaults, else from the spool's, else
    /// pirn's.
    pub fn terms(&self, queue: &QueueName, record: &Record) -> Terms {
        let queue = self.defaults_of(queue);
        let all = &self.defaults;
        let timeout = record.timeout.or(queue.timeout.or(all.timeout.or(None)));
        let warn = record.warn.or(queue.warn.or(all.warn.or(None)));
        Terms {
            timeout,
            warn: warn.filter(|warn| timeout.is_some_and(|span| warn.before < span)),
            grace: record
                .grace
                .or(queue.grace)
                .or(all.grace)
                .unwrap_or(Duration::from_secs(10)),
            backoff: record.backoff.or(queue.backoff).or(all.backoff),
            max_log: record
                .max_log
                .or(queue.max_log.or(all.max_log.or(most_of(&record.work)))),
            nice: record.nice.or(queue.nice).or(all.nice),
            retry: RetryRule {
                tries: record.tries.or(queue.tries).or(all.tries).unwrap_or(3),
                max_interruptions: record
                    .max_interruptions
                    .or(queue.max_interruptions)
                    .or(all.max_interruptions)
                    .unwrap_or(3),
                interruptions: record.interruptions,
                rules: record.rules.clone(),
                once: record.once,
            },
        }
    }
}

/// How much a job may write if no record and no setting says so. A call writes the bytes that another server sends.
fn most_of(work: &Work) -> Option<u64> {
    match work {
        Work::Url(_) => Some(MOST_OF_AN_ANSWER),
        Work::Text(_) | Work::Argv(_) | Work::Script { .. } => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::record::Setting;

    #[test]
    fn job_overrules_queue_overrules_spool() {
        let config = Config::parse(
            r#"{"defaults": {"tries": 5, "timeout": "1h", "backoff": {"first": "2s"}},
                "queues": {"mail": {"defaults": {"timeout": "1m", "backoff": {"max": "5s"}}}}}"#,
        )
        .unwrap();
        let mail = QueueName::new("mail").unwrap();
        let mut record = Record::new(Work::Text("true".to_owned()));
        let terms = config.terms(&mail, &record);
        assert_eq!(
            (terms.retry.tries, terms.timeout),
            (5, Some(Duration::from_secs(60)))
        );
        assert_eq!(terms.backoff.rule().first, Duration::from_secs(2));
        assert_eq!(terms.backoff.rule().max, Duration::from_secs(5));
        record.timeout = Setting::Off;
        assert_eq!(config.terms(&mail, &record).timeout, None);
        assert_eq!(
            config
                .terms(
                    &QueueName::default(),
                    &Record::new(Work::Text("x".to_owned()))
                )
                .timeout,
            Some(Duration::from_secs(3600))
        );
    }
}
