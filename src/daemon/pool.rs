//! A fixed number of threads that do tasks in the order given. Threads are made when they are first needed.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The pool. Dropping it leaves its threads waiting: a pool lives as long as the daemon.
pub struct Pool<T> {
    name: &'static str,
    most: usize,
    inner: Arc<Inner<T>>,
    work: Arc<dyn Fn(T) + Send + Sync>,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    tasks: VecDeque<T>,
    threads: usize,
    idle: usize,
}

impl<T: Send + 'static> Pool<T> {
    /// At most `most` threads that run `work`.
    pub fn new(name: &'static str, most: usize, work: impl Fn(T) + Send + Sync + 'static) -> Self {
        let state = State {
            tasks: VecDeque::new(),
            threads: 0,
            idle: 0,
        };
        Self {
            name,
            most: most.max(1),
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                wake: Condvar::new(),
            }),
            work: Arc::new(work),
        }
    }

    /// Adds a task. If no thread can be made for it just now, one of the others will do it.
    pub fn submit(&self, task: T) {
        let mut state = self
            .inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.tasks.push_back(task);
        if state.idle >= state.tasks.len() {
            drop(state);
            self.inner.wake.notify_one();
        } else if state.threads < self.most && self.spawn(state.threads) {
            state.threads += 1;
        } else if state.threads == 0 {
            // Not even one thread to be had: do it here rather than not at all.
            let task = state.tasks.pop_back();
            drop(state);
            task.into_iter().for_each(|task| (self.work)(task));
        }
    }

    fn spawn(&self, number: usize) -> bool {
        let (inner, work) = (Arc::clone(&self.inner), Arc::clone(&self.work));
        let builder = std::thread::Builder::new()
            .name(format!("{}-{number}", self.name))
            .stack_size(256 * 1024);
        let run = move || {
            let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(task) = state.tasks.pop_front() {
                    drop(state);
                    work(task);
                    state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
                } else {
                    state.idle += 1;
                    state = inner
                        .wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        };
        builder.spawn(run).is_ok()
    }
}
