//! The promises to the world outside of the spool so far, and what it has seen.
//!
//! A job is known by a token in its command, whatever its file is called and wherever it lies.

use pirn::core::record::{Record, Work};
use pirn::core::time::Wall;
use pirn::core::tokens::Units;
use std::collections::{BTreeMap, BTreeSet};

/// The crash that a job must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hold {
    /// None: it is being made, removed or replaced.
    #[default]
    None,
    /// A kill: it was dropped, but nobody has synced it.
    Kill,
    /// A power cut: it was accepted.
    Power,
}

/// The last thing that a user did to a job's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hand {
    /// Nothing: the file is where pirn put it.
    #[default]
    Off,
    /// A user moved it before it had an end.
    Unended,
    /// A user moved it after its end, without a sync: its place after a cut is the user's responsibility.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Job {
    /// The record as it was asked for, without pirn's fields.
    pub ask: String,
    pub hold: Hold,
    pub once: bool,
    /// The start of a `once` job was acknowledged.
    pub started_once: bool,
    /// Number of the latest try.
    pub begun: u32,
    /// Number of the latest try that was written into the record.
    pub counted: u32,
    /// The units that its program has, while it lives and has any.
    pub lives: Option<Units>,
    /// The largest try number so far.
    pub most: u32,
    pub hand: Hand,
    /// It was reported as cancelled.
    pub cancelled: bool,
    /// It was reported as held.
    pub held: bool,
    /// It was reported as removed.
    pub gone: bool,
    /// It was reported as queued again; until then it had ended at this time.
    pub retried: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ledger {
    pub jobs: BTreeMap<String, Job>,
    /// Job numbers that were given out.
    pub numbers: BTreeSet<u64>,
}

impl Ledger {
    /// The units of the programs that live.
    pub fn living(&self) -> impl Iterator<Item = &Units> {
        self.jobs.values().filter_map(|job| job.lives.as_ref())
    }

    /// Changes the ledger's entry of a job.
    pub fn job(&mut self, token: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(token) {
            change(job);
        }
    }

    /// Ends all promises about this job.
    pub fn let_go(&mut self, token: &str) {
        self.job(token, |job| {
            job.hold = Hold::None;
            job.hand = Hand::Unended;
            job.cancelled = false;
            job.held = false;
        });
    }

    /// Does the same as `job`, unless a user has moved the job's file meanwhile.
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

/// The request alone: the record without pirn's fields, and without its queue, which is a directory.
pub fn ask(record: &Record) -> String {
    let mut record = record.clone();
    record.make_fresh();
    record.id = None;
    record.queue = None;
    record.created_at = None;
    record.to_json()
}

/// An end that was visible.
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
