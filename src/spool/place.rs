//! The directories of a spool.

use crate::core::id::{DEFAULT_QUEUE, QueueName};
use crate::core::record::State;
use std::path::PathBuf;

/// A directory of the spool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The spool itself: `config.json`, `lock`, `seq`.
    Root,
    /// `pending/`: the default queue.
    Pending,
    /// `pending/QUEUE/`.
    Queue(QueueName),
    /// `held/`.
    Held,
    /// `active/`.
    Active,
    /// `complete/`.
    Complete,
    /// `failed/`.
    Failed,
    /// `bad/`.
    Bad,
    /// `log/`.
    Log,
    /// `tmp/`.
    Tmp,
    /// `store/`.
    Store,
    /// `scripts/`.
    Scripts,
}

impl Place {
    /// The sub-directories that every spool has.
    pub const FIXED: [Self; 10] = [
        Self::Pending,
        Self::Active,
        Self::Complete,
        Self::Failed,
        Self::Bad,
        Self::Log,
        Self::Tmp,
        Self::Store,
        Self::Scripts,
        // The last, since older versions made only the others: if it is there, all are.
        Self::Held,
    ];

    /// True for a directory that every spool has: neither the spool itself nor a queue's.
    pub fn is_fixed(&self) -> bool {
        match self {
            Self::Root | Self::Queue(_) => false,
            Self::Pending
            | Self::Held
            | Self::Active
            | Self::Complete
            | Self::Failed
            | Self::Bad
            | Self::Log
            | Self::Tmp
            | Self::Store
            | Self::Scripts => true,
        }
    }

    /// The directory in which jobs of this queue wait. That of the default queue is `pending/`.
    pub fn of_queue(queue: &QueueName) -> Self {
        if queue.is_default() {
            Self::Pending
        } else {
            Self::Queue(queue.clone())
        }
    }

    /// The directory of the jobs in this state; for waiting ones that of the default queue.
    pub fn of_state(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Held => Self::Held,
            State::Active => Self::Active,
            State::Complete => Self::Complete,
            State::Failed => Self::Failed,
        }
    }

    /// The path from the spool.
    pub fn relative(&self) -> PathBuf {
        PathBuf::from(match self {
            Self::Root => ".",
            Self::Pending => "pending",
            Self::Queue(queue) => return PathBuf::from("pending").join(queue.as_str()),
            Self::Held => "held",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Bad => "bad",
            Self::Log => "log",
            Self::Tmp => "tmp",
            Self::Store => "store",
            Self::Scripts => "scripts",
        })
    }

    /// The queue whose jobs wait in this directory, if any do.
    pub fn queue(&self) -> Option<QueueName> {
        match self {
            Self::Pending => QueueName::new(DEFAULT_QUEUE).ok(),
            Self::Queue(queue) => Some(queue.clone()),
            Self::Root
            | Self::Held
            | Self::Active
            | Self::Complete
            | Self::Failed
            | Self::Bad
            | Self::Log
            | Self::Tmp
            | Self::Store
            | Self::Scripts => None,
        }
    }
}
