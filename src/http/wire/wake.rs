//! What waits and streams can be woken by.

use crate::core::id::JobId;

/// Something to be woken by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// This job's file came, changed its place or went.
    Job(JobId),
    /// The log of this name grew: a job's id, or [`crate::spool::stderr_log`] of it.
    Log(String),
    /// Anything in the spool changed its place: see [`super::Door::events`].
    Events,
}
