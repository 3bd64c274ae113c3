//! The tasks of the background thread: they take long or are not urgent, and are done one after the other.

use super::proof::{Proof, Proven};
use crate::core::id::JobId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A task for the background thread.
#[derive(Debug)]
pub enum Chore {
    /// A user moved or removed the file of a job that does not run.
    ByHand(JobId),
    /// Forget finished jobs, as the settings say.
    Retain,
    /// Look for logs whose records were removed while nobody looked, and for logs that are still held.
    Orphans,
    /// Processes hold the log of this job, which does not run.
    Held(JobId),
    /// Look for jobs that were moved to `failed/` or `complete/` while no daemon ran.
    Unended,
    /// Run the binary that the daemon is to become, and see whether it can serve this spool.
    Prove(Proof),
}

/// The tasks that wait, and the one that is being done.
#[derive(Debug, Default)]
pub struct Chores {
    list: Mutex<List>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct List {
    waiting: VecDeque<Chore>,
    is_busy: bool,
    proven: Option<Result<Proven, String>>,
}

impl Chores {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub fn add(&self, chore: Chore) {
        self.list().waiting.push_back(chore);
        self.more.notify_one();
    }

    /// True when nothing is left to be done.
    pub fn is_done(&self) -> bool {
        let list = self.list();
        list.waiting.is_empty() && !list.is_busy
    }

    /// Takes the answer to [`Chore::Prove`], once it is there.
    pub fn take_proven(&self) -> Option<Result<Proven, String>> {
        self.list().proven.take()
    }

    /// Takes a task, if there is one.
    pub fn take(&self) -> Option<Chore> {
        self.list().waiting.pop_front()
    }

    /// Waits for a task.
    pub fn next(&self) -> Chore {
        let mut list = self.list();
        loop {
            if let Some(chore) = list.waiting.pop_front() {
                list.is_busy = true;
                return chore;
            }
            list = self.more.wait(list).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The task that was taken is done. True when no other one waits.
    pub fn has_done(&self, proven: Option<Result<Proven, String>>) -> bool {
        let mut list = self.list();
        list.is_busy = false;
        list.proven = proven.or(list.proven.take());
        list.waiting.is_empty()
    }
}
