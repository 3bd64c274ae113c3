//! Whether jobs may be started: the disk guard, and everything else that holds them back.

use crate::core::time::Boot;
use crate::spool::Reserve;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Why nothing is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The disk is nearly full, or the spool is not where it was or not ours.
    Room,
    /// Not all that waited at the start is known.
    Survey,
    /// The daemon is about to become a new binary.
    Upgrade,
    /// The daemon is about to end and to leave the jobs to the next one.
    Leave,
    /// The disk does not keep what is written.
    Trouble,
}

/// The disk guard and the holds. At first nothing holds jobs back.
#[derive(Debug, Default)]
pub struct Room {
    /// Room for what runs to finish.
    pub reserve: Reserve,
    /// Why nothing is accepted any more, once a sync has failed for good.
    trouble: OnceLock<String>,
    holds: Mutex<BTreeSet<Hold>>,
    /// When to look again whether there is room, nanoseconds on the boot clock.
    look_at: AtomicU64,
    looking: Mutex<()>,
}

impl Room {
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

    /// True when a look is due: a second after the last one, or at once if the reserve was used.
    pub fn is_look_due(&self, now: Boot) -> bool {
        let looked = now.0 < self.look_at.load(Ordering::SeqCst);
        let is_well = self.is_held(Hold::Room) || self.reserve.is_full();
        !(looked && is_well) && self.trouble().is_none()
    }

    /// Begins a look, which lasts until the guard is dropped; waits for another one to end.
    pub fn begin_look(&self) -> MutexGuard<'_, ()> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next look is due then.
    pub fn look_again_at(&self, at: Boot) {
        self.look_at.store(at.0, Ordering::SeqCst);
    }

    /// A sync has failed for good. False if one had already.
    pub fn fall_into_trouble(&self, why: &str) -> bool {
        self.trouble.set(why.to_owned()).is_ok()
    }

    /// The last look does not count any more: the bound has changed, or something has happened to the spool.
    pub fn forget_look(&self) {
        self.look_at.store(0, Ordering::SeqCst);
    }
}
