//! A start of a job: what is asked for, and what comes of it.

use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Reason, Record, Work};
use crate::core::sandbox::Sandboxed;
use crate::core::scheduler::{Slot, Stamp};
use crate::core::time::Now;
use crate::core::tokens::Units;
use crate::os::cgroup::Cgroup;
use std::io;

/// A job that has a slot.
#[derive(Debug)]
pub struct Start {
    /// Which job.
    pub id: JobId,
    /// From which queue.
    pub queue: QueueName,
    /// Which file.
    pub stamp: Stamp,
    /// Its slot.
    pub slot: Slot,
    /// The units of tokens that it was given.
    pub units: Units,
    /// Its record, if it was read just now.
    pub read: Option<Box<Record>>,
}

/// A job that ends without having run.
#[derive(Debug)]
pub struct Unrun {
    /// Which job.
    pub id: JobId,
    /// The queue that it waits in.
    pub queue: QueueName,
    /// Which file.
    pub stamp: Stamp,
    /// Why.
    pub reason: Reason,
    /// The sentence for people.
    pub error: String,
}

/// A claimed job, ready to be launched.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The job.
    pub id: &'a JobId,
    /// Its queue.
    pub queue: &'a QueueName,
    /// Its record, `attempt` counted up.
    pub record: &'a Record,
    /// The terms of this try.
    pub terms: &'a Terms,
    /// Its slot.
    pub slot: Slot,
}

/// A job that runs.
#[derive(Debug)]
pub struct Launched<L> {
    /// The process id of its leader.
    pub pid: i32,
    /// The same, to be waited for.
    pub leader: L,
    /// The time just before it began. Read after the start, it could be late: the starting thread may be held up.
    pub began: Now,
    /// Where its output begins.
    pub log_offset: u64,
    /// The control group of its processes.
    pub cgroup: Option<Cgroup>,
    /// Its sandbox and limits, if it has any.
    pub sandboxed: Option<Box<Sandboxed>>,
}

/// Why a job waits on although it has a slot.
#[derive(Debug)]
pub enum NotNow {
    /// Its log is held: processes of an earlier try may be alive.
    Busy,
    /// The machine lacks something just now.
    Resources(io::Error),
}

/// Why a job was not launched.
#[derive(Debug)]
pub enum NotLaunched {
    /// The machine lacks something just now.
    Resources(io::Error),
    /// It cannot be started, now or later.
    Impossible {
        /// The sentence for people.
        error: String,
        /// The exit code that a shell gives for that.
        code: i32,
    },
}

impl NotLaunched {
    /// The job is not executed, for the reason in this sentence.
    pub fn refused(error: String) -> Self {
        Self::Impossible {
            error,
            code: EXIT_NOT_EXECUTABLE,
        }
    }
}

/// The exit code of a shell for what cannot be executed.
pub const EXIT_NOT_EXECUTABLE: i32 = 126;

/// Longer texts do not fit into one argument: MAX_ARG_STRLEN of execve(2) is 128 KiB.
pub const MAX_ARGUMENT: usize = 100_000;

/// True for what is started from a private copy in `tmp/`.
pub fn runs_from_copy(work: &Work) -> bool {
    matches!(work, Work::Text(text) if text.starts_with("#!") || text.len() > MAX_ARGUMENT)
}
