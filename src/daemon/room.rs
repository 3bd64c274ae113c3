//! Whether jobs may be started: the disk guard, the lock of the spool, and everything else that holds them back.

use crate::core::config::Config;
use crate::core::time::Boot;
use crate::spool::{Holder, Place, Reserve, Spool, SpoolLock, Tenure};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

/// Why nothing is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The disk is nearly full, or the spool is not where it was or not ours.
    Room,
    /// Not all that waited at the start is known.
    Survey,
    /// The daemon is about to become a new binary.
    Upgrade,
    /// The disk does not keep what is written.
    Trouble,
}

/// The disk guard and the holds.
#[derive(Debug)]
pub struct Room {
    /// Room for what runs to finish.
    pub reserve: Reserve,
    lock: Mutex<SpoolLock>,
    /// Another daemon that was found to have the spool: it is left to that one, with what runs.
    successor: OnceLock<Holder>,
    /// Why nothing is accepted any more, once a sync has failed for good.
    trouble: OnceLock<String>,
    holds: Mutex<BTreeSet<Hold>>,
    /// When to look again whether there is room, nanoseconds on the boot clock.
    look_at: AtomicU64,
    looking: Mutex<()>,
}

impl Room {
    /// Nothing holds jobs back.
    pub fn new(lock: SpoolLock) -> Self {
        Self {
            reserve: Reserve::default(),
            lock: Mutex::new(lock),
            successor: OnceLock::new(),
            trouble: OnceLock::new(),
            holds: Mutex::default(),
            look_at: AtomicU64::new(0),
            looking: Mutex::default(),
        }
    }

    /// The lock of the spool.
    pub fn lock(&self) -> MutexGuard<'_, SpoolLock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The daemon that has the spool now.
    pub fn successor(&self) -> Option<&Holder> {
        self.successor.get()
    }

    /// Why nothing is accepted any more.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.get().map(String::as_str)
    }

    /// True while this holds jobs back.
    pub fn is_held(&self, why: Hold) -> bool {
        self.holds().contains(&why)
    }

    /// The holds.
    pub fn holds(&self) -> MutexGuard<'_, BTreeSet<Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether there is room, if it is time to do so: once a second, and when the reserve was used.
    pub fn is_look_due(&self, now: Boot) -> bool {
        let looked = now.0 < self.look_at.load(Ordering::SeqCst);
        let is_well = self.is_held(Hold::Room) || self.reserve.is_full();
        !(looked && is_well) && self.trouble().is_none()
    }

    /// Begins a look, which lasts until the guard is dropped. `None` while another one lasts: the hold that follows from
    /// a look must be that of the last one.
    pub fn begin_look(&self) -> Option<MutexGuard<'_, ()>> {
        match self.looking.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The next look is due then.
    pub fn look_again_at(&self, at: Boot) {
        self.look_at.store(at.0, Ordering::SeqCst);
    }

    /// A sync has failed for good. False if one had already.
    pub fn fall_into_trouble(&self, why: &str) -> bool {
        let is_new = self.trouble.set(why.to_owned()).is_ok();
        if is_new && let Err(e) = self.lock().tell(why) {
            log::error!("lock: {e}");
        }
        is_new
    }

    /// Why nothing may be started in the spool that is at this path, if something is in the way.
    pub fn why_none(&self, spool: &Spool, path: &str, config: &Config) -> Option<String> {
        // What is kept aside for records must be there again before anything new may use the room.
        self.not_ours(spool, path)
            .or_else(|| spool.shortage(config, true))
            .or_else(|| {
                let filled = self.reserve.fill(spool);
                filled
                    .err()
                    .map(|e| format!("no room can be kept aside for records: {e}"))
            })
    }

    /// Why nothing may be started in the spool, if it is not this daemon's alone any more. A lock that was removed is
    /// made again.
    pub fn not_ours(&self, spool: &Spool, path: &str) -> Option<String> {
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

    /// The last look does not count any more: the bound has changed, or something has happened to the spool.
    pub fn forget_look(&self) {
        self.look_at.store(0, Ordering::SeqCst);
    }
}

/// True when the spool is where it was when we started: jobs are told paths.
fn is_at_home(spool: &Spool, path: &str) -> bool {
    let held = spool.inode_of(&Place::Root);
    let named = std::fs::symlink_metadata(path);
    matches!((held, named), (Ok(held), Ok(named)) if held == named.ino())
}
