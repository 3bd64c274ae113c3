//! A ring of the latest changes in the spool, which any number of readers can read at their own pace.

use crate::core::id::{JobId, QueueName};
use crate::core::record::State;
use crate::core::time::Wall;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many events are kept. A reader that is further behind is told that it has missed some.
const KEPT: usize = 4096;

/// A change of the place of a job's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// The job.
    pub id: JobId,
    /// Its state after the change; `None` when its file was removed.
    pub state: Option<State>,
    /// The queue that it waits in, if it waits.
    pub queue: Option<QueueName>,
    /// When the change was noticed.
    pub at: Wall,
}

/// The ring. Changes are numbered in the order in which they were noticed.
#[derive(Debug)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    next: u64,
    kept: VecDeque<JobChange>,
}

/// The changes that a reader has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The number of the first of `events`, if there is one.
    pub first: u64,
    /// The changes, oldest first.
    pub events: Vec<JobChange>,
    /// Changes before these are lost: the reader has to look at everything.
    pub missed: bool,
}

impl Events {
    /// An empty ring. Its numbers begin with the time in microseconds, so that a later daemon begins with a higher one
    /// and knows that a number of this one is not its own.
    pub fn new(now: Wall) -> Self {
        Self(Mutex::new(Ring {
            next: u64::try_from(now.0).unwrap_or(0) / 1000,
            kept: VecDeque::new(),
        }))
    }

    /// Adds a change.
    pub fn add(&self, event: JobChange) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(event);
        ring.next += 1;
    }

    /// Tells every reader that changes are lost.
    pub fn forget(&self) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.kept.clear();
        // No reader has read up to this number.
        ring.next += 1;
    }

    /// The number of the last change.
    pub fn last(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// The first `most` changes after number `seen`.
    pub fn since(&self, seen: u64, most: usize) -> News {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ring.next - ring.kept.len() as u64;
        // A number that is still to come is another daemon's: its reader has missed changes.
        let from = seen.clamp(before, ring.next);
        let skip = usize::try_from(from - before).unwrap_or(usize::MAX);
        News {
            first: from + 1,
            events: ring.kept.iter().skip(skip).take(most).cloned().collect(),
            missed: seen != from,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(id: &str) -> JobChange {
        JobChange {
            id: JobId::new(id).unwrap(),
            state: Some(State::Active),
            queue: None,
            at: Wall(0),
        }
    }

    #[test]
    fn readers_at_their_own_pace() {
        let events = Events::new(Wall(0));
        assert_eq!(events.since(0, 9).events, []);
        for n in 1..=KEPT + 2 {
            events.add(event(&n.to_string()));
        }
        let slow = events.since(1, 2);
        assert!(slow.missed);
        assert_eq!((slow.first, slow.events), (3, vec![event("3"), event("4")]));
        let quick = events.since(KEPT as u64 + 1, 9);
        assert!(!quick.missed);
        assert_eq!(quick.events.len(), 1);
        let seen = events.last();
        assert!(!events.since(seen, 9).missed);
        events.forget();
        assert!(events.since(seen, 9).missed);
        for later in [seen + 9, u64::MAX] {
            let other = events.since(later, 9);
            assert!(other.missed, "of an earlier daemon");
            assert_eq!((other.first, other.events), (events.last() + 1, vec![]));
        }
    }
}
