//! A bounded number of threads that do tasks in the order given. Threads are made when they are first needed.

use crate::os::thread;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The pool. Dropping it leaves its threads waiting: a pool lives as long as the daemon.
pub struct Pool<T> {
    name: &'static str,
    most: usize,
    batch: usize,
    inner: Arc<Inner<T>>,
    work: Arc<dyn Fn(Vec<T>) + Send + Sync>,
}

impl<T> std::fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

struct Inner<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    tasks: VecDeque<T>,
    threads: usize,
    idle: usize,
    /// Threads that were told of tasks and have not come for them yet.
    told: usize,
}

impl<T> Inner<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Pool<T> {
    /// At most `most` threads that run `work`, each for one task at a time.
    pub fn new(name: &'static str, most: usize, work: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self::batched(name, most, 1, move |tasks| {
            tasks.into_iter().for_each(&work);
        })
    }

    /// At most `most` threads that run `work`, each for as many tasks as there are, up to `batch`. There is more than one
    /// only for more tasks than that.
    pub fn batched(
        name: &'static str,
        most: usize,
        batch: usize,
        work: impl Fn(Vec<T>) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            tasks: VecDeque::new(),
            threads: 0,
            idle: 0,
            told: 0,
        };
        Self {
            name,
            most: most.max(1),
            batch: batch.max(1),
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                wake: Condvar::new(),
            }),
            work: Arc::new(work),
        }
    }

    /// Adds a task. If no thread can be made for it just now, one of the others will do it.
    pub fn submit(&self, task: T) {
        let mut state = self.inner.state();
        state.tasks.push_back(task);
        let busy = state.threads - state.idle;
        if state.tasks.len() <= state.told * self.batch {
            // Who was told already will take it along.
        } else if busy > 0 && state.tasks.len() < self.batch {
            // Who is busy will take it with others: larger batches are cheaper.
        } else if state.idle > state.told {
            state.told += 1;
            drop(state);
            self.inner.wake.notify_one();
        } else if state.threads < self.most && self.spawn(state.threads) {
            state.threads += 1;
            state.told += 1;
        } else if state.threads == 0 {
            // Not even one thread to be had: do it here rather than not at all.
            let task = state.tasks.pop_back();
            drop(state);
            (self.work)(task.into_iter().collect());
        }
    }

    /// Makes a thread that counts as told.
    fn spawn(&self, number: usize) -> bool {
        let (inner, work, batch) = (Arc::clone(&self.inner), Arc::clone(&self.work), self.batch);
        let run = move || {
            let mut state = inner.state();
            // Another one may have come in its place.
            state.told = state.told.saturating_sub(1);
            loop {
                if state.tasks.is_empty() {
                    state.idle += 1;
                    // A thread that wakes by itself would be counted as one that was told.
                    while state.told == 0 {
                        state = inner
                            .wake
                            .wait(state)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                    state.idle -= 1;
                    state.told -= 1;
                    continue;
                }
                let most = state.tasks.len().min(batch);
                let tasks = state.tasks.drain(..most).collect();
                drop(state);
                work(tasks);
                state = inner.state();
            }
        };
        thread::spawn(format!("{}-{number}", self.name), run).is_ok()
    }
}
