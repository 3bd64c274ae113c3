//! The events that a bridge takes in, and the actions that it performs.

use super::calls::{CallAnswer, LeaseCall};
use super::nanos;
use crate::core::id::JobId;
use crate::core::time::{Boot, Wall};
use std::time::Duration;

/// A message that is leased to this bridge, as its lease file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The word for the engine.
    pub engine: String,
    /// The queue's name there.
    pub queue: String,
    /// The queue's address there.
    pub url: String,
    /// Names the last receive to the engine.
    pub receipt: String,
    /// How often the message was received.
    pub count: u32,
    /// After this many receives the engine moves it to the failed queue.
    pub max: Option<u32>,
    /// The group that the message is in.
    pub group: Option<String>,
    /// When it was received.
    pub since: Wall,
    /// When the lease ends, for people.
    pub until: Wall,
    /// When the lease ends.
    pub ends: Boot,
    /// The boot whose clock `ends` is on.
    pub boot: String,
    /// The length of the lease when it was last taken or extended.
    pub length: Duration,
    /// True if the server has fixed the length.
    pub fixed: bool,
    /// The reason why it is no longer ours.
    pub lost: Option<String>,
    /// True once the job is being withdrawn to give the message back.
    pub back: bool,
}

/// Where the spool has a job, as far as it is the one of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// In `pending/` or `held/`.
    Waiting,
    /// In `active/`, or in another directory without its end.
    Running,
    /// In `complete/`, with its end.
    Well,
    /// In `failed/`, with its end. If the message may be received again, then after this delay.
    Badly(Duration),
    /// In no directory.
    Nowhere,
}

/// A thing that has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseEvent {
    /// A message has come.
    Received {
        /// Its job.
        id: JobId,
        /// Its lease.
        lease: Lease,
        /// False if it cannot be a job.
        runnable: bool,
        /// Where the job is already.
        seen: Sighting,
    },
    /// The bridge that ran before has left a lease.
    Resumed {
        /// Its job.
        id: JobId,
        /// The lease. If the machine was started anew since, `ends` is only an estimate.
        lease: Lease,
        /// True if its record is still to be dropped.
        staged: bool,
        /// Where the job is.
        seen: Sighting,
        /// False if the machine was started anew since.
        same_boot: bool,
    },
    /// [`LeaseAction::Stage`] was done, or has failed.
    Staged(JobId, bool),
    /// [`LeaseAction::Drop`] was done, or has failed.
    Dropped(JobId, bool),
    /// [`LeaseAction::Withdraw`] was done; false if the job had left `pending/`.
    Withdrawn(JobId, bool),
    /// Somebody has looked for a job.
    Seen(JobId, Sighting),
    /// The engine has answered about a lease.
    Answered {
        /// Its job.
        id: JobId,
        /// When the call was made.
        asked: Boot,
        /// The receipt that the call named.
        receipt: String,
        /// The answer.
        answer: CallAnswer,
    },
    /// The time of [`LeaseTable::due`] has come.
    Tick,
    /// No more messages are to be taken.
    Stop,
}

/// A thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseAction {
    /// Write the record and the lease into the bridge's directory.
    Stage(JobId),
    /// Move the staged record into `pending/`.
    Drop(JobId),
    /// Write the lease again: it has changed.
    Store(JobId),
    /// Look where the job is.
    Look(JobId),
    /// Take the job out of the spool, if it waits.
    Withdraw(JobId),
    /// End the job: its lease is lost.
    Cancel(JobId),
    /// Call the engine.
    Call(LeaseCall),
    /// Remove the files of the lease.
    Remove(JobId),
    /// Report this about a job.
    Tell(JobId, Telling),
}

/// A report about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Telling {
    /// It runs.
    Started,
    /// Its lease has this much left again, this long after its message was received.
    Extended {
        /// Since the receive.
        after: Duration,
        /// The new length.
        lease: Duration,
    },
    /// It has ended well, or not.
    Ended(bool),
    /// Its message was acknowledged.
    Acked,
    /// Its message was given back.
    GivenBack,
    /// Its lease is no longer ours, for this reason.
    Lost(String),
}

/// The terms of a bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseTerms {
    /// The most jobs that are held and have not ended.
    pub most: usize,
    /// Jobs that may be held beyond the slots; if there are any, a stop gives the waiting ones back.
    pub prefetch: usize,
    /// The longest lease.
    pub lease_max: Duration,
    /// The longest that the engine lets a message be kept.
    pub longest_hold: Option<Duration>,
    /// The longest that a job can need from its receive on, if that is known.
    pub needs: Option<Duration>,
    /// Messages are acknowledged when their jobs are accepted, not when they have ended.
    pub accepted: bool,
    /// A job whose lease is lost is ended.
    pub cancel_lost: bool,
}

impl Lease {
    /// When it is to be extended: half of it is gone, or a third of one whose length is fixed.
    pub(super) fn half(&self) -> Boot {
        let rest = match self.fixed {
            true => self.length * 2 / 3,
            false => self.length / 2,
        };
        Boot(self.ends.0.saturating_sub(nanos(rest)))
    }

    /// How long a message that cannot be a job is kept from everybody. The failed queue is to have it soon; without one it
    /// comes for ever, and must not keep us busy.
    pub(super) fn refused_for(&self) -> Duration {
        match self.max {
            Some(_) => Duration::ZERO,
            None => Duration::from_secs(1 << self.count.min(9)),
        }
    }

    /// True if another lease is one of the same message.
    pub fn is_same_message(&self, other: &Self) -> bool {
        self.engine == other.engine && self.queue == other.queue && self.url == other.url
    }
}
