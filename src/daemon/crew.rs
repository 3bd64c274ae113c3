//! A thread for each task, because a task takes as long as a job runs. Threads are made when they are needed, and some
//! are kept.

use crate::os::thread;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The threads. Dropping it leaves them waiting: a crew lives as long as the daemon.
pub struct Crew<T> {
    name: &'static str,
    inner: Arc<Inner<T>>,
    work: Arc<dyn Fn(T) + Send + Sync>,
}

struct Inner<T> {
    /// So many threads may wait for tasks.
    keep: usize,
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    /// Each has a thread that is coming for it.
    tasks: VecDeque<T>,
    idle: usize,
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<T> Inner<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a task. `None` when there are enough others who do.
    fn next(&self) -> Option<T> {
        let mut state = self.state();
        if state.tasks.is_empty() && state.idle >= self.keep {
            return None;
        }
        state.idle += 1;
        while state.tasks.is_empty() {
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle -= 1;
        state.tasks.pop_front()
    }
}

impl<T: Send + 'static> Crew<T> {
    /// Threads that run `work`, each for one task at a time.
    pub fn new(name: &'static str, keep: usize, work: impl Fn(T) + Send + Sync + 'static) -> Self {
        let state = State {
            tasks: VecDeque::new(),
            idle: 0,
        };
        Self {
            name,
            inner: Arc::new(Inner {
                keep,
                state: Mutex::new(state),
                wake: Condvar::new(),
            }),
            work: Arc::new(work),
        }
    }

    /// Has a task done. Gives it back if no thread can be made for it just now.
    pub fn submit(&self, task: T) -> Result<(), T> {
        let mut state = self.inner.state();
        state.tasks.push_back(task);
        if state.idle >= state.tasks.len() {
            drop(state);
            self.inner.wake.notify_one();
            return Ok(());
        }
        match self.spawn() {
            true => Ok(()),
            false => state.tasks.pop_back().map_or(Ok(()), Err),
        }
    }

    fn spawn(&self) -> bool {
        let (inner, work) = (Arc::clone(&self.inner), Arc::clone(&self.work));
        let run = move || {
            let mut task = inner.state().tasks.pop_front();
            while let Some(now) = task {
                work(now);
                task = inner.next();
            }
        };
        thread::spawn(self.name, run).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_task_has_a_thread() {
        let (told, heard) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let told = Mutex::new(told);
        let crew = Crew::new("test", 2, move |n: usize| {
            told.lock().unwrap().send(n).unwrap();
            if n < 5 {
                gate.lock().unwrap().recv().unwrap();
            }
        });
        let patience = Duration::from_secs(10);
        // All have begun while none has ended, and the one after them too.
        (0..6).for_each(|n| crew.submit(n).unwrap());
        let mut begun: Vec<usize> = (0..6)
            .map(|_| heard.recv_timeout(patience).unwrap())
            .collect();
        begun.sort_unstable();
        assert_eq!(begun, [0, 1, 2, 3, 4, 5]);
        (0..5).for_each(|_| go.send(()).unwrap());
        crew.submit(6).unwrap();
        assert_eq!(heard.recv_timeout(patience), Ok(6));
    }
}
