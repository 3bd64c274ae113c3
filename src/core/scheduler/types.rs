//! The events that the scheduler takes in, and the actions that it asks for.

use super::policy::{Demand, Policy};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{TryEnd, Verdict};
use crate::core::process::{Exit, Stop};
use crate::core::record::Reason;
use crate::core::time::Wall;
use crate::core::tokens::Units;
use std::time::Duration;

/// Tells one file from another that later has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Inode number.
    pub inode: u64,
    /// Last modification, nanoseconds since the epoch.
    pub modified: i64,
    /// Size in bytes.
    pub size: u32,
}

/// A complete job file in `pending/`: the fields that decide when the job runs.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its name.
    pub id: JobId,
    /// The queue whose directory it is in.
    pub queue: QueueName,
    /// The file that these fields were read from.
    pub stamp: Stamp,
    /// Jobs of a higher priority run first.
    pub priority: i32,
    /// When the job was made. Among jobs of one priority, the oldest runs first.
    pub made: Wall,
    /// It is not started before this date.
    pub not_before: Option<Wall>,
    /// It is not started before this much time has passed: the rest of a backoff.
    pub wait: Option<Duration>,
    /// It is not started after this date.
    pub expires: Option<Wall>,
    /// Jobs with the same group run one at a time.
    pub group: Option<Box<str>>,
    /// The jobs that it comes after.
    pub parents: Vec<Parent>,
    /// The slots and tokens that it takes while it runs.
    pub demand: Demand,
}

/// A job that another comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub id: JobId,
    /// The end that it must come to.
    pub need: Need,
    /// Its state by the directories when the child arrived.
    pub seen: ParentState,
}

/// The end of a parent that its child waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `after`: it must complete.
    Complete,
    /// `after_failed`: it must fail.
    Fail,
    /// `after_any`: it must end.
    End,
}

/// The state of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentState {
    /// In `complete/`.
    Complete,
    /// In `failed/`.
    Failed,
    /// It waits or runs, or does not exist yet.
    Open,
}

/// The reason why a job was not started.
#[derive(Debug, Clone, PartialEq)]
pub enum NotStarted {
    /// Its file was gone when it was to be claimed.
    Gone,
    /// Its file is another one than the scheduler knows.
    Changed,
    /// Processes of an earlier try may still be alive.
    Busy,
    /// The machine has no process, memory or descriptor for it now. This is no try.
    Resources,
    /// Its program cannot be started, now or later. This is a try.
    Impossible {
        /// The number of that try.
        attempt: u32,
        /// The terms of the job.
        terms: Box<Terms>,
    },
}

/// The place to which a user moved a running job's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovedTo {
    /// `pending/`.
    Pending,
    /// `failed/` or `complete/`.
    Ended,
    /// Outside the spool, or the file was removed.
    Gone,
}

/// The place where a commit left the job's file.
#[derive(Debug, Clone)]
pub enum CommittedTo {
    /// `complete/`.
    Complete,
    /// `failed/`.
    Failed,
    /// `pending/`, for the next try.
    Pending(Box<Ticket>),
    /// Another place, or the file is gone: the scheduler forgets the job.
    Gone,
}

/// Numbers of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Jobs that wait.
    pub waiting: usize,
    /// Jobs that hold a slot.
    pub running: usize,
    /// Jobs that ended, but whose file is not yet in its place.
    pub ending: usize,
}

/// A change of a job, a queue or the daemon, which the scheduler is told of.
#[derive(Debug, Clone)]
pub enum Event {
    /// A complete job file is in `pending/`.
    Arrived(Box<Ticket>),
    /// A waiting job's file is gone from this queue's directory.
    Withdrawn {
        /// The job.
        id: JobId,
        /// The queue.
        queue: QueueName,
    },
    /// The job's program runs.
    Started {
        /// The job.
        id: JobId,
        /// The number of this try.
        attempt: u32,
        /// The terms of the job.
        terms: Box<Terms>,
    },
    /// The job was not started.
    NotStarted {
        /// The job.
        id: JobId,
        /// The reason.
        why: NotStarted,
    },
    /// A job of an earlier daemon was found alive.
    Adopted {
        /// The job, with the queue that it came from.
        ticket: Box<Ticket>,
        /// The number of this try.
        attempt: u32,
        /// The terms of the job.
        terms: Box<Terms>,
        /// The time since its start.
        ran: Duration,
        /// The units that it has, as far as they are known.
        units: Units,
    },
    /// The job's leader ended. This comes after `Started` or `Adopted`.
    Ended {
        /// The job.
        id: JobId,
        /// How it ended.
        exit: Exit,
        /// True when no other process of the job is left.
        alone: bool,
    },
    /// No process of the job is left.
    Swept {
        /// The job.
        id: JobId,
    },
    /// The end of the job's try is recorded, and its file is in its place.
    Committed {
        /// The job.
        id: JobId,
        /// The place.
        place: CommittedTo,
    },
    /// A user moved the file of a running job.
    ActiveMoved {
        /// The job.
        id: JobId,
        /// The new place.
        to: MovedTo,
    },
    /// The log of a running job is larger than its `max_log`.
    LogFull {
        /// The job.
        id: JobId,
    },
    /// A user put a job that others come after into `complete/` or `failed/`.
    ParentMoved {
        /// The job.
        id: JobId,
        /// True for `complete/`.
        complete: bool,
    },
    /// The settings changed.
    Configured(Box<Policy>),
    /// A queue's directory is about to be read for the first time. No job is started from it until then.
    Found(QueueName),
    /// That directory was read.
    Read(QueueName),
    /// The disk has too little room for jobs: none is started.
    Hold,
    /// The disk has room again.
    Release,
    /// The daemon is to end: no more jobs are started. The second time, running jobs are stopped.
    Shutdown,
    /// Time passed.
    Tick,
}

/// The numbers of a job's slot: the lowest that are free, from 0. No other job has them while it runs. A job that takes
/// several slots has one number, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its number among the slots of the spool; for a callback, the same as `of_queue`.
    pub of_all: usize,
    /// Its number among the slots of its queue.
    pub of_queue: usize,
}

/// A task for the daemon. An event answers it, unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Claim the job's file and start the job. Answer: `Started` or `NotStarted`.
    Start {
        /// The job.
        id: JobId,
        /// The queue whose directory has its file.
        queue: QueueName,
        /// The file.
        stamp: Stamp,
        /// Its slot.
        slot: Slot,
        /// The units that it was given.
        units: Units,
    },
    /// Write the running job's note. No answer.
    Note {
        /// The job.
        id: JobId,
    },
    /// Warn the running job that its timeout is near. No answer.
    Warn {
        /// The job.
        id: JobId,
    },
    /// Signal the job's group. No answer but the job's end.
    Signal {
        /// The job.
        id: JobId,
        /// The signal.
        how: Stop,
    },
    /// End the processes that the job's leader left behind, by force after `grace`. Answer: `Swept`.
    Sweep {
        /// The job.
        id: JobId,
        /// The time that they have to end by themselves.
        grace: Duration,
    },
    /// Record the end of a try and move the file. Answer: `Committed`.
    Finish {
        /// The job.
        id: JobId,
        /// How the try ended.
        end: TryEnd,
        /// The verdict on the job.
        verdict: Verdict,
        /// For a retry: the backoff.
        wait: Option<Duration>,
    },
    /// Record the end of a job that did not run, and move its file to where the reason says. Answer: `Committed`.
    EndUnrun {
        /// The job.
        id: JobId,
        /// The queue whose directory has its file.
        queue: QueueName,
        /// The file; another file of this name stays.
        stamp: Stamp,
        /// The reason.
        reason: Reason,
        /// The message for people.
        error: String,
    },
    /// Move a waiting file to `bad/`, if it is still there. No answer.
    Quarantine {
        /// The job.
        id: JobId,
        /// The queue whose directory has its file.
        queue: QueueName,
        /// The reason.
        why: QuarantineReason,
    },
    /// Look at a waiting file again. Answer: `Arrived`, if it is a job.
    Readmit {
        /// The job.
        id: JobId,
        /// The queue whose directory has its file.
        queue: QueueName,
    },
}

/// The reason why a waiting file is moved to `bad/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuarantineReason {
    /// It would wait for itself.
    Ring {
        /// The file.
        stamp: Stamp,
        /// The message for people.
        why: String,
    },
    /// A newer file of its name waits in this queue.
    Newer(QueueName),
}

/// The scheduler's belief about a job, as far as it matters for where the job's file should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// The job is not known.
    Unknown,
    /// Its file waits in a queue.
    Waiting,
    /// It is being claimed and started: its thread moves the file from its queue to `active/`, and perhaps back.
    Starting,
    /// Its file is in `active/`, and no thread is about to move it.
    Running,
    /// Its end is being recorded: its thread moves the file out of `active/`.
    Ending,
}
