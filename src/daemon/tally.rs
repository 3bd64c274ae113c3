//! Counts of the daemon's work since it started, for metrics.

use crate::core::id::QueueName;
use crate::core::record::Record;
use crate::core::time::Wall;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Upper bounds of a histogram's buckets, in seconds.
pub const BUCKETS: [f64; 10] = [
    0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0,
];

/// How often something took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Histogram {
    /// Those of each bucket alone; longer ones are in `count` only.
    pub buckets: [u64; BUCKETS.len()],
    /// All of them.
    pub count: u64,
    /// Together, in seconds.
    pub sum: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        if let Some(i) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[i] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// The counts of one queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfQueue {
    /// Tries that ended, by the word of their reason.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Jobs that ended well.
    pub complete: u64,
    /// Jobs that gave up.
    pub failed: u64,
    /// From the start of a try to its end.
    pub duration: Histogram,
    /// From the making of a job to the start of its first try.
    pub wait: Histogram,
    /// When the last job ended well.
    pub last_success: Option<Wall>,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<QueueName, OfQueue>>);

impl Tally {
    /// All of them.
    pub fn read(&self) -> BTreeMap<QueueName, OfQueue> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn of(&self, queue: &QueueName, count: impl FnOnce(&mut OfQueue)) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.get_mut(queue) {
            Some(of_queue) => count(of_queue),
            None => count(queues.entry(queue.clone()).or_default()),
        }
    }

    /// A try has ended; its record says how.
    pub(super) fn tried(&self, queue: &QueueName, record: &Record) {
        self.of(queue, |of_queue| {
            if let Some(reason) = record.reason {
                *of_queue.attempts.entry(reason.as_str()).or_default() += 1;
            }
            if let Some(duration) = record.duration {
                of_queue.duration.add(duration);
            }
            if let (1, Some(made), Some(started)) =
                (record.attempt, record.created_at, record.started_at)
            {
                of_queue.wait.add(started.since(made).as_secs_f64());
            }
        });
    }

    /// A job is in `complete/` now.
    pub(super) fn completed(&self, queue: &QueueName, at: Wall) {
        self.of(queue, |of_queue| {
            of_queue.complete += 1;
            of_queue.last_success = Some(at);
        });
    }

    /// A job is in `complete/` now without having run: that is no success.
    pub(super) fn skipped(&self, queue: &QueueName) {
        self.of(queue, |of_queue| of_queue.complete += 1);
    }

    /// A job is in `failed/` now.
    pub(super) fn failed(&self, queue: &QueueName) {
        self.of(queue, |of_queue| of_queue.failed += 1);
    }
}
