//! The processes that are being spawned just now.
//!
//! Between clone and exec a child has copies of all our descriptors, among them logs of other jobs that another
//! thread is about to start: for that moment it holds their locks too. (Measured: with two threads starting
//! no-op jobs, one log in eight was found locked after its job had ended.) A thread that finds a log locked therefore
//! waits until the spawns that were going on have reached their exec, and looks again. So does one that finds a job's
//! file open for writing: another thread may have staged it.

use super::fault::Fault;
use super::flock;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The spawns that are going on in this process.
static SPAWNS: Mutex<Spawns> = Mutex::new(Spawns {
    next: 0,
    current: BTreeSet::new(),
    waiting: 0,
});

/// Notified when a spawn ends while a thread waits.
static ENDED: Condvar = Condvar::new();

struct Spawns {
    next: u64,
    current: BTreeSet<u64>,
    /// How many threads wait for spawns to be over.
    waiting: usize,
}

/// One spawn; it is over when this is dropped.
#[derive(Debug)]
pub struct Spawn(u64);

fn spawns() -> MutexGuard<'static, Spawns> {
    SPAWNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A spawn begins.
pub fn begin() -> Spawn {
    let mut spawns = spawns();
    let number = spawns.next;
    spawns.next += 1;
    spawns.current.insert(number);
    Spawn(number)
}

/// Waits until every child that is being spawned now has reached its exec. Not to be called during a spawn.
pub fn await_execs() {
    let mut spawns = spawns();
    let bound = spawns.next;
    spawns.waiting += 1;
    while spawns.current.first().is_some_and(|first| *first < bound) {
        spawns = ENDED.wait(spawns).unwrap_or_else(PoisonError::into_inner);
    }
    spawns.waiting -= 1;
}

/// Locks a file. False if a process has it locked that is not just being spawned.
pub fn try_lock(file: &File) -> io::Result<bool> {
    if Fault::NoLogLock.is_on() {
        return Ok(true);
    }
    for settled in [false, true] {
        if settled {
            await_execs();
        }
        if flock::try_exclusive(file)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Spawn {
    fn drop(&mut self) {
        let mut spawns = spawns();
        spawns.current.remove(&self.0);
        if spawns.waiting > 0 {
            ENDED.notify_all();
        }
    }
}
