//! Timers of jobs.

use super::table::JobRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The timers of one clock. A timer stays when the reason for it is gone, so that the job must be asked whether it
/// still counts.
#[derive(Debug)]
pub(super) struct Timers<T>(BinaryHeap<Reverse<(T, JobRef)>>);

impl<T: Ord> Default for Timers<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T: Ord + Copy> Timers<T> {
    pub fn set(&mut self, at: T, job: JobRef) {
        self.0.push(Reverse((at, job)));
    }

    pub fn next(&self) -> Option<T> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a timer that is due.
    pub fn take_due(&mut self, now: T) -> Option<JobRef> {
        let due = self.0.peek_mut().filter(|timer| timer.0.0 <= now)?;
        let Reverse((_, job)) = std::collections::binary_heap::PeekMut::pop(due);
        Some(job)
    }

    /// Drops timers that no longer count: at once if they are next, so that an idle scheduler is not woken in vain; the
    /// others when there are many, so that a day of jobs with a timeout of a day costs no memory.
    pub fn drop_stale(&mut self, jobs: usize, counts: impl Fn(T, JobRef) -> bool) {
        let counts = |timer: &Reverse<(T, JobRef)>| counts(timer.0.0, timer.0.1);
        while self.0.peek().is_some_and(|timer| !counts(timer)) {
            self.0.pop();
        }
        // A job has at most three timers of a clock, so that at least half of these are stale or doubled.
        if self.0.len() > 64 + 6 * jobs {
            let mut kept = std::mem::take(&mut self.0).into_vec();
            kept.retain(counts);
            kept.sort_unstable();
            kept.dedup();
            self.0 = kept.into();
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
