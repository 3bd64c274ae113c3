//! Who is being spawned just now.
//!
//! Between clone and exec a child has copies of all our descriptors, among them logs of other jobs that another
//! thread is about to start: for that moment it holds their locks too. (Measured: with two threads starting
//! no-op jobs, one log in eight was found locked after its job had ended.) Who finds a log locked therefore
//! waits until the spawns that were going on have reached their exec, and looks again.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The spawns that are going on.
#[derive(Debug, Default)]
pub struct Spawning {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    current: BTreeSet<u64>,
    /// How many wait for some of them to be over.
    waiting: usize,
}

/// One spawn; it is over when this is dropped.
pub struct Spawn<'s> {
    all: &'s Spawning,
    number: u64,
}

impl Spawning {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A spawn begins.
    pub fn begin(&self) -> Spawn<'_> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.current.insert(number);
        Spawn { all: self, number }
    }

    /// Waits until every spawn that has begun by now is over. Not to be called from within one.
    pub fn settle(&self) {
        let mut state = self.state();
        let bound = state.next;
        state.waiting += 1;
        while state.current.first().is_some_and(|first| *first < bound) {
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }
}

impl Drop for Spawn<'_> {
    fn drop(&mut self) {
        let mut state = self.all.state();
        state.current.remove(&self.number);
        if state.waiting > 0 {
            self.all.ended.notify_all();
        }
    }
}
