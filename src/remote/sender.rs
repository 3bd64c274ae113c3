//! The sending side of a queue, for the machine that has jobs for others.

use super::engine::Trouble;
use std::time::Duration;

/// A job to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingJob {
    /// Its record as JSON, or shell text.
    pub body: String,
    /// True for a record.
    pub is_record: bool,
    /// Messages of a group are run in their order, one at a time.
    pub group: Option<String>,
}

/// The outcome of sending jobs.
#[derive(Debug, Default)]
pub struct Sent {
    /// The ids that the first jobs have on every machine. The server has these jobs.
    pub ids: Vec<String>,
    /// Why the job behind them was not sent.
    pub failed: Option<NotSent>,
    /// The ids of jobs behind that one which the server has all the same.
    pub behind: Vec<String>,
}

impl Sent {
    /// No job was sent.
    pub fn none(why: NotSent) -> Self {
        Self {
            failed: Some(why),
            ..Self::default()
        }
    }
}

/// Why a job was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// The server does not take this job, for this reason.
    Body(String),
    /// The call could not be made, or its answer was lost.
    Trouble(Trouble),
}

/// A job on another machine, seen from the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteJob {
    /// It has ended; this is its record.
    Ended(String),
    /// It waits or runs.
    Unended,
    /// The queue does not have it, and no record of it.
    Unknown,
}

/// A queue that jobs are sent to. Each call makes one attempt.
pub trait JobSender {
    /// The most jobs in one call.
    fn most(&self) -> usize;

    /// Sends jobs, in order. A lost answer leaves it open whether the server has them.
    fn send(&self, jobs: &[OutgoingJob]) -> Sent;

    /// Looks for a job, and waits at most `wait` for its end.
    fn result(&self, id: &str, wait: Duration) -> Result<RemoteJob, Trouble>;
}
