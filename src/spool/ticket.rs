//! The tickets of waiting jobs, for the scheduler.

use super::{Fs, Place, Spool};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::scheduler::{Demand, Need, Parent, ParentState, Stamp, Ticket};
use crate::core::time::{Now, Wall};
use crate::os::dir::Look;
use std::time::Duration;

impl<F: Fs> Spool<F> {
    /// The ticket of a waiting job. `longest` is the longest backoff that it may have.
    pub fn ticket(
        &self,
        id: &JobId,
        queue: &QueueName,
        record: &Record,
        look: &Look,
        now: Now,
        longest: Duration,
    ) -> Ticket {
        let parent = |id: &JobId, need| Parent {
            id: id.clone(),
            need,
            seen: self.parent_state(id),
        };
        let after = record.after.iter().map(|id| parent(id, Need::Complete));
        let after_failed = record.after_failed.iter().map(|id| parent(id, Need::Fail));
        let after_any = record.after_any.iter().map(|id| parent(id, Need::End));
        Ticket {
            id: id.clone(),
            queue: queue.clone(),
            stamp: stamp(look),
            priority: record.priority,
            made: record.created_at.unwrap_or(Wall(look.modified)),
            not_before: record.not_before,
            wait: rest_of_backoff(record, now.wall, longest),
            expires: record.expires,
            group: record.group.as_deref().map(Into::into),
            // It does not wait for them again: see [`Record::awaited`].
            parents: match record.is_between_tries() {
                true => Vec::new(),
                false => after.chain(after_failed).chain(after_any).collect(),
            },
            demand: Demand::new(record.slots, &record.uses),
        }
    }

    fn parent_state(&self, id: &JobId) -> ParentState {
        let is_there = |place| {
            self.fs
                .look(&place, id.as_str().as_bytes())
                .ok()
                .flatten()
                .is_some()
        };
        if is_there(Place::Held) {
            // The end of an older run of its name does not count.
            ParentState::Open
        } else if is_there(Place::Complete) {
            ParentState::Complete
        } else if is_there(Place::Failed) {
            ParentState::Failed
        } else {
            ParentState::Open
        }
    }
}

/// The stamp that tells this file from a later one of its name.
pub fn stamp(look: &Look) -> Stamp {
    Stamp {
        inode: look.inode,
        modified: look.modified,
        size: u32::try_from(look.size).unwrap_or(u32::MAX),
    }
}

/// The rest of a job's backoff. The clock may have jumped since `retry_at` was written, so it is never longer than
/// the longest backoff.
fn rest_of_backoff(record: &Record, now: Wall, longest: Duration) -> Option<Duration> {
    record
        .retry_at
        .map(|at| at.since(now).min(longest))
        .filter(|wait| !wait.is_zero())
}
