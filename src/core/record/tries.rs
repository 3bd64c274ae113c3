//! The traces that tries leave in a record, and their removal.

use super::{Reason, Record, Scratch};
use crate::core::time::Wall;

/// One try.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    /// Its number, from 1.
    pub attempt: u32,
    /// When the program was started.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub finished_at: Wall,
    /// Its exit code, if it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: Reason,
    /// An error message, for people.
    pub error: Option<String>,
    /// Seconds from start to end, if known.
    pub duration: Option<f64>,
    /// Where in the log its output begins.
    pub log_offset: u64,
}

/// How a file came into `pending/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A user wrote it.
    Dropped,
    /// pirn wrote it, and it has not run since.
    Waiting,
    /// It was running, and a user moved it.
    Running,
    /// It had ended, and is to run again.
    Finished,
}

impl Record {
    /// True for the record of an ended job.
    pub fn is_over(&self) -> bool {
        self.finished_at.is_some()
    }

    /// True if pirn itself put the record into `pending/`, for the next try.
    pub fn is_between_tries(&self) -> bool {
        self.attempt > 0 && self.started_at.is_none() && !self.is_over()
    }

    /// Removes all traces of earlier tries: the job is as new.
    pub fn make_fresh(&mut self) {
        self.forget_try();
        self.attempt = 0;
        self.interruptions = 0;
        self.attempts.clear();
    }

    /// How the record came into `pending/`. To be asked before [`Self::renew`].
    pub fn origin(&self) -> Origin {
        if self.is_over() {
            Origin::Finished
        } else if self.started_at.is_some() {
            Origin::Running
        } else if self.id.is_some() {
            Origin::Waiting
        } else {
            Origin::Dropped
        }
    }

    /// Makes a record in `pending/` ready to run. If pirn itself put it there for its next try, it keeps its count of
    /// tries; if a user did, out of `active/` or after its end, it begins anew.
    pub fn renew(&mut self) {
        if !self.is_between_tries() {
            self.make_fresh();
        }
    }

    /// Writes the end of a job that did not run, or was stopped, into its record.
    pub fn end_unrun(&mut self, at: Wall, reason: Reason, error: &str) {
        self.forget_try();
        self.finished_at = Some(at);
        self.reason = Some(reason);
        self.error = Some(error.to_owned());
        self.forget_input();
    }

    /// Removes the input that only the sender of the job needed (see [`Scratch::Answer`]).
    pub fn forget_input(&mut self) {
        if self.tmp == Scratch::Answer {
            self.files.clear();
            self.stdin = None;
        }
    }

    /// Removes the fields of the last try, before the next one or before its end is written.
    pub fn forget_try(&mut self) {
        self.started_at = None;
        self.finished_at = None;
        self.warned_at = None;
        self.pid = None;
        self.exit_code = None;
        self.signal = None;
        self.reason = None;
        self.status_code = None;
        self.error = None;
        self.duration = None;
        self.cpu = None;
        self.max_rss = None;
        self.oom = false;
        self.sandboxed = None;
        self.output = None;
        self.log_offset = None;
        self.log_bytes = None;
        self.result = None;
        self.retry_at = None;
        self.proc = None;
        self.units.clear();
    }
}
