//! What the world outside of the spool has been promised so far, and what it has seen.
//!
//! Jobs are known by a token in their command, whatever their files are called and wherever they lie.

use pirn::core::record::{Record, Work};
use pirn::core::time::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// Who must find the job again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hold {
    /// Nobody: it is being made, withdrawn or replaced.
    #[default]
    None,
    /// Whoever comes after a kill: it was dropped, but nobody has synced it.
    Kill,
    /// Whoever comes after a power cut: it was accepted.
    Power,
}

/// What a user's hand did to a job's file last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hand {
    /// Nothing: the file is where pirn put it.
    #[default]
    Off,
    /// Moved it before it had an end.
    Unended,
    /// Moved it when it had one: where that is after a cut is the user's own affair, who has not synced it.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Job {
    /// The record that was asked for, without what pirn adds.
    pub ask: String,
    pub hold: Hold,
    pub once: bool,
    /// The start of a `once` job was acknowledged.
    pub started_once: bool,
    /// Number of the latest try.
    pub begun: u32,
    /// Number of the latest try that has been written down.
    pub counted: u32,
    /// The largest number there has been.
    pub most: u32,
    pub hand: Hand,
    /// Somebody was told that it is cancelled.
    pub cancelled: bool,
    /// Somebody was told that it is held.
    pub held: bool,
    /// Somebody was told that it is removed.
    pub gone: bool,
    /// Somebody was told that it runs again; until then it had ended at this time.
    pub retried: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ledger {
    pub jobs: BTreeMap<String, Job>,
    /// Job numbers that were given.
    pub numbers: BTreeSet<u64>,
}

impl Ledger {
    /// Changes what is known of a job.
    pub fn job(&mut self, token: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(token) {
            change(job);
        }
    }

    /// Nobody promises anything about this job any more.
    pub fn let_go(&mut self, token: &str) {
        self.job(token, |job| {
            job.hold = Hold::None;
            job.hand = Hand::Unended;
            job.cancelled = false;
            job.held = false;
        });
    }

    /// As `job`, unless a user has had a hand in it meanwhile.
    pub fn undisturbed(&mut self, token: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(token).filter(|job| job.hand == Hand::Off) {
            change(job);
        }
    }
}

/// The token in a record, which is the second word of its command.
pub fn token(record: &Record) -> Option<String> {
    match &record.work {
        Work::Text(text) => text
            .split(' ')
            .nth(1)
            .filter(|word| word.len() == 5)
            .map(str::to_owned),
        Work::Argv(_) | Work::Script { .. } | Work::Url(_) => None,
    }
}

/// What was asked for: the record without what pirn adds to it, and without its queue, which is a directory.
pub fn ask(record: &Record) -> String {
    let mut record = record.clone();
    record.make_fresh();
    record.id = None;
    record.queue = None;
    record.created_at = None;
    record.to_json()
}

/// An end that anybody could read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct End {
    pub finished: i64,
    pub reason: Option<&'static str>,
    pub attempt: u32,
    pub tries: usize,
}

impl End {
    pub fn of(record: &Record) -> Option<Self> {
        let Wall(finished) = record.finished_at?;
        Some(Self {
            finished,
            reason: record.reason.map(pirn::core::record::Reason::as_str),
            attempt: record.attempt,
            tries: record.attempts.len(),
        })
    }
}
