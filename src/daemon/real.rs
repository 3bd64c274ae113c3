//! The machine that the daemon runs on: the kernel's watches and the lock of the spool.

use super::ends::WaitingEnds;
use super::spare::Spare;
use super::watches::Watches;
use crate::spool::{Holder, Place, Spool, SpoolLock, Tenure};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// This process and its kernel. What the daemon needs of them is in [`super::machine`].
#[derive(Debug)]
pub struct RealMachine {
    /// The watches on directories and logs.
    pub watches: Watches,
    lock: Mutex<SpoolLock>,
    /// Another daemon that was found to have the spool: it is left to that one, with what runs.
    successor: OnceLock<Holder>,
    /// The ends that job threads leave to each other.
    pub ends: WaitingEnds,
    /// A job thread that waits for a job.
    pub spare: Arc<Spare>,
}

impl RealMachine {
    /// Nothing is watched yet.
    pub fn new(lock: SpoolLock) -> io::Result<Self> {
        Ok(Self {
            watches: Watches::new()?,
            lock: Mutex::new(lock),
            successor: OnceLock::new(),
            ends: WaitingEnds::default(),
            spare: Arc::default(),
        })
    }

    /// The lock of the spool.
    pub fn lock(&self) -> MutexGuard<'_, SpoolLock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The daemon that has the spool now.
    pub fn successor(&self) -> Option<&Holder> {
        self.successor.get()
    }

    /// Why nothing may be started in the spool that is at this path, if it is not this daemon's alone any more. A lock
    /// that was removed is made again.
    pub fn why_taken(&self, spool: &Spool, path: &str) -> Option<String> {
        if !is_at_home(spool, path) {
            return Some("the spool was moved away".to_owned());
        }
        let holder = match self.lock().keep() {
            Ok(Tenure::Ours) => return None,
            Ok(Tenure::Disputed(holder)) => holder,
            Ok(Tenure::Lost(holder)) => {
                let _ = self.successor.set(holder.clone());
                holder
            }
            Err(e) => return Some(format!("the spool cannot be locked: {e}")),
        };
        Some(format!("the spool is in use by {holder}"))
    }
}

/// True when the spool is where it was when we started: jobs are told paths.
fn is_at_home(spool: &Spool, path: &str) -> bool {
    let held = spool.inode_of(&Place::Root);
    let named = std::fs::symlink_metadata(path);
    matches!((held, named), (Ok(held), Ok(named)) if held == named.ino())
}
