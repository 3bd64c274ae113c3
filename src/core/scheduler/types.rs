//! What the scheduler is told and what it asks for.

use crate::core::config::pauses::Pauses;
use crate::core::config::{Config, Only, Terms};
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{TryEnd, Verdict};
use crate::core::process::{Exit, Stop};
use crate::core::record::Reason;
use crate::core::time::Wall;
use std::sync::Arc;
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

/// A job file that was seen complete in `pending/`, reduced to what decides when it runs.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its name.
    pub id: JobId,
    /// The queue whose directory it is in.
    pub queue: QueueName,
    /// Which file this was.
    pub stamp: Stamp,
    /// Higher first.
    pub priority: i32,
    /// Earlier first among equals: when the job was made.
    pub made: Wall,
    /// Not before this date.
    pub not_before: Option<Wall>,
    /// Not before this much time has passed (the rest of a backoff).
    pub wait: Option<Duration>,
    /// Not after this date.
    pub expires: Option<Wall>,
    /// One at a time with the others of this name.
    pub group: Option<Box<str>>,
    /// Jobs that must end first.
    pub parents: Vec<Parent>,
}

/// A job that another comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Which.
    pub id: JobId,
    /// Must it complete, or is any end good enough?
    pub need: Need,
    /// What the directories said when the child arrived.
    pub seen: ParentState,
}

/// What is wanted of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `after`: it must complete.
    Complete,
    /// `after_any`: it must end.
    End,
}

/// What is known of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentState {
    /// In `complete/`.
    Complete,
    /// In `failed/`.
    Failed,
    /// Neither: waiting, running, or not there yet.
    Open,
}

/// Why a start did not happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The file was gone when it should have been claimed.
    Gone,
    /// The file is not the one that was scheduled.
    Changed,
    /// Processes of an earlier try may still be alive.
    Busy,
    /// No processes, memory or descriptors to be had just now. Not a try.
    Resources,
    /// The program cannot be started, now or later. A try.
    Impossible {
        /// The number of that try.
        attempt: u32,
        /// What holds for the job.
        terms: Box<Terms>,
    },
}

/// Where the user put a running job's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovedTo {
    /// Back into `pending/`.
    Pending,
    /// Into `failed/` or `complete/`.
    Ended,
    /// Out of the spool, or removed.
    Gone,
}

/// Where a commit left the job's file.
#[derive(Debug, Clone)]
pub enum CommittedTo {
    /// In `complete/`.
    Complete,
    /// In `failed/`.
    Failed,
    /// In `pending/`, to be tried again.
    Pending(Box<Ticket>),
    /// Nowhere that concerns the scheduler.
    Gone,
}

/// The settings that scheduling depends on.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Jobs at a time.
    pub slots: usize,
    /// Pauses and queue slots.
    pub config: Arc<Config>,
    /// Pauses that are no settings.
    pub pauses: Pauses,
    /// The queues that are served.
    pub only: Only,
}

impl Policy {
    /// The slots of a queue, and whether it is closed: nothing is started from it.
    pub(super) fn of(&self, queue: &QueueName) -> (Option<usize>, bool) {
        let slots = self.config.slots_of(queue);
        (
            // A daemon without slots starts nothing at all.
            slots.map(|slots| if self.slots == 0 { 0 } else { slots }),
            self.config.is_paused(queue) || self.pauses.has(queue) || !self.only.serves(queue),
        )
    }
}

/// Jobs by what they are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Not started yet, for whatever reason.
    pub waiting: usize,
    /// Holding a slot.
    pub running: usize,
    /// Ended, their file not yet in place.
    pub ending: usize,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A complete job file is in `pending/`.
    Arrived(Box<Ticket>),
    /// A job file that was in this queue's directory is gone.
    Withdrawn {
        /// Its name.
        id: JobId,
        /// The queue it was in.
        queue: QueueName,
    },
    /// The program runs.
    Started {
        /// Whose.
        id: JobId,
        /// The number of this try.
        attempt: u32,
        /// What holds for the job.
        terms: Box<Terms>,
    },
    /// A start did not happen.
    Refused {
        /// Whose.
        id: JobId,
        /// Why.
        why: Refusal,
    },
    /// A job of an earlier daemon was found alive.
    Adopted {
        /// Which, with the queue it came from.
        ticket: Box<Ticket>,
        /// The number of this try.
        attempt: u32,
        /// What holds for the job.
        terms: Box<Terms>,
        /// How long it has been running.
        ran: Duration,
    },
    /// The leader ended.
    Ended {
        /// Whose.
        id: JobId,
        /// How.
        exit: Exit,
        /// True when no other process of the job is left.
        alone: bool,
    },
    /// No process of the job is left.
    Swept {
        /// Whose.
        id: JobId,
    },
    /// The job's file is where it belongs.
    Committed {
        /// Whose.
        id: JobId,
        /// Where.
        place: CommittedTo,
    },
    /// The user took the file of a running job away.
    ActiveMoved {
        /// Whose.
        id: JobId,
        /// Where to.
        to: MovedTo,
    },
    /// The log of a running job is larger than its `max_log`.
    LogFull {
        /// Whose.
        id: JobId,
    },
    /// A job that others come after was put into `complete/` or `failed/` by hand.
    ParentMoved {
        /// Which.
        id: JobId,
        /// Into `complete/`?
        complete: bool,
    },
    /// The settings changed.
    Configured(Box<Policy>),
    /// A queue's directory is about to be read for the first time: nothing is started from it.
    Found(QueueName),
    /// It was read.
    Read(QueueName),
    /// There is too little room to start anything.
    Hold,
    /// There is room again.
    Release,
    /// Start nothing more; told again: end what runs.
    Shutdown,
    /// Time passed.
    Tick,
}

/// The numbers of a job's slot, which no other job has while it runs. From 0, always the lowest that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Among all jobs that share the slots; a callback's is that of its queue.
    pub of_all: usize,
    /// Among the jobs of its queue.
    pub of_queue: usize,
}

/// Something to be done. Each is answered by an event, except where it says not.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Claim and start it. Answer: `Started` or `Refused`.
    Start {
        /// Which.
        id: JobId,
        /// The queue it is in.
        queue: QueueName,
        /// Which file.
        stamp: Stamp,
        /// The slot it runs in.
        slot: Slot,
    },
    /// Write the running job's note. No answer.
    Note {
        /// Which.
        id: JobId,
    },
    /// Signal the job's group. No answer but the job's end.
    Signal {
        /// Which.
        id: JobId,
        /// What to send.
        how: Stop,
    },
    /// The leader ended, but not all of the job: end the rest, by force after `grace`. Answer: `Swept`.
    Sweep {
        /// Which.
        id: JobId,
        /// How long the rest may take to end by itself.
        grace: Duration,
    },
    /// Record the end of a try and move the file. Answer: `Committed`.
    Finish {
        /// Which.
        id: JobId,
        /// How the try ended.
        end: TryEnd,
        /// What follows.
        verdict: Verdict,
        /// For a retry: the backoff.
        wait: Option<Duration>,
    },
    /// Record the end of a job that never got to run, and move it to `failed/`. Answer: `Committed`.
    Fail {
        /// Which.
        id: JobId,
        /// The queue it is in.
        queue: QueueName,
        /// Which file: another one of that name is not meant.
        stamp: Stamp,
        /// Why.
        reason: Reason,
        /// The sentence for people.
        error: String,
    },
    /// Move a file to `bad/`, if it still is as said here. No answer.
    Reject {
        /// Which.
        id: JobId,
        /// The queue it is in.
        queue: QueueName,
        /// Says what is wrong with it.
        why: Rejection,
    },
    /// Look at this pending file afresh. Answer: `Arrived`, if it is a job.
    Readmit {
        /// Which.
        id: JobId,
        /// The queue it is in.
        queue: QueueName,
    },
}

/// Why a waiting file is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It would wait for itself.
    Ring {
        /// Which file was judged.
        inode: u64,
        /// The sentence for people.
        why: String,
    },
    /// A newer file of its name waits in this queue.
    Newer(QueueName),
}
