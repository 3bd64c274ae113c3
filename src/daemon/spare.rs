//! The job thread that has no job and takes the next one.

use std::fmt::{self, Debug};
use std::sync::{Condvar, Mutex, PoisonError};

/// The work of a job thread.
pub type JobThreadWork = Box<dyn FnOnce() + Send>;

/// At most one thread waits for work: where drops are rare, that saves the making of a thread for each.
#[derive(Default)]
pub struct Spare {
    state: Mutex<Vacancy>,
    given: Condvar,
}

#[derive(Default)]
enum Vacancy {
    #[default]
    Nobody,
    Waits,
    Given(JobThreadWork),
}

impl Spare {
    /// Gives work to the thread that waits. Gives it back if none does.
    pub fn give(&self, work: JobThreadWork) -> Option<JobThreadWork> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            Vacancy::Nobody | Vacancy::Given(_) => Some(work),
            Vacancy::Waits => {
                *state = Vacancy::Given(work);
                self.given.notify_one();
                None
            }
        }
    }

    /// Waits for work. `None` if another thread waits already.
    pub fn wait(&self) -> Option<JobThreadWork> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, Vacancy::Nobody) {
            return None;
        }
        *state = Vacancy::Waits;
        loop {
            state = self
                .given
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            match std::mem::take(&mut *state) {
                Vacancy::Given(work) => return Some(work),
                vacancy => *state = vacancy,
            }
        }
    }
}

impl Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare")
    }
}
