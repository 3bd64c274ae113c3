//! Topics that handlers wait for.

use crate::core::id::JobId;

/// A change that a handler can wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// This job's file came, changed its place or went.
    Job(JobId),
    /// The log of this name grew: a job's id, or [`crate::spool::stderr_log`] of it.
    Log(String),
    /// A job's file came, changed its place or went: see [`super::events`].
    Events,
}
