//! Permits: they bound how many threads do something at a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A number of permits that threads share.
#[derive(Debug)]
pub struct Permits {
    state: Mutex<PermitCount>,
    given_back: Condvar,
}

#[derive(Debug)]
struct PermitCount {
    free: usize,
    /// Threads that wait for a permit. Without any, giving one back costs no system call.
    waiting: usize,
}

/// A permit. Dropping it gives it back.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Permits {
    /// A number of `most` permits.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(PermitCount {
                free: most,
                waiting: 0,
            }),
            given_back: Condvar::new(),
        })
    }

    /// Waits for a permit.
    pub fn take(self: &Arc<Self>) -> Permit {
        let mut state = self.state();
        while state.free == 0 {
            state.waiting += 1;
            let waited = self.given_back.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.free -= 1;
        Permit(Arc::clone(self))
    }

    fn state(&self) -> MutexGuard<'_, PermitCount> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.free += 1;
        if state.waiting > 0 {
            self.0.given_back.notify_one();
        }
    }
}
