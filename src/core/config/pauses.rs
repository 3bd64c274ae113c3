//! Pauses that are files of the spool, `.paused` in a queue's directory.

use crate::core::id::QueueName;
use std::collections::BTreeSet;

/// The queues that files pause; settings may pause more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pauses {
    /// `pending/.paused`: nothing is started.
    pub all: bool,
    /// `pending/QUEUE/.paused`: nothing is started from these queues.
    pub queues: BTreeSet<QueueName>,
}

impl Pauses {
    /// True when no job of this queue may be started.
    pub fn has(&self, queue: &QueueName) -> bool {
        self.all || self.queues.contains(queue)
    }
}
