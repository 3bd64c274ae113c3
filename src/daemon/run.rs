//! The record of a run: one try that goes on, or has just ended.

use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{TryEnd, Verdict};
use crate::core::process::Stop;
use crate::core::record::Record;
use crate::core::time::{Boot, Now, Wall};
use crate::os::cgroup::Cgroup;
use crate::os::thread::Interrupt;
use crate::os::wait::Usage;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// One try. Its job thread makes it; a job thread writes its end; other threads look at it and give orders.
#[derive(Debug)]
pub struct Run {
    /// The job.
    pub id: JobId,
    /// The queue that it came from, and goes back to for its next try.
    pub queue: QueueName,
    /// The terms of this try.
    pub terms: Terms,
    /// Its leader; 0 when it never had one, or an earlier daemon did not note it.
    pub pid: i32,
    /// An earlier daemon started it: its processes need not descend from this one.
    pub adopted: bool,
    /// When the leader was started.
    pub started: Option<Wall>,
    /// The same on the clock that durations are counted on; not known of a try of another boot of the machine.
    pub began: Option<Boot>,
    /// Where in the log its output begins.
    pub log_offset: u64,
    /// The control group of its processes, where we may make such groups.
    pub cgroup: Option<Cgroup>,
    /// Interrupts the job thread, once it waits, when there are orders.
    pub thread: OnceLock<Interrupt>,
    /// Given by [`Self::order`].
    pub orders: Mutex<Orders>,
    /// The inode of the record that goes back to `pending/` for the next try; 0 when none does.
    pub put_back: AtomicU64,
    /// See [`Self::facts`].
    pub facts: Mutex<Facts>,
}

/// The end of a try, which is to be recorded.
#[derive(Debug, Clone, Copy)]
pub struct EndedTry {
    /// How it ended.
    pub end: TryEnd,
    /// The verdict on the job.
    pub verdict: Verdict,
    /// The backoff before a retry.
    pub wait: Option<Duration>,
}

/// The part of a [`Run`] that changes. Its lock keeps the note and the end apart.
#[derive(Debug)]
pub struct Facts {
    /// As it was claimed, `attempt` counted up.
    pub record: Record,
    /// When the leader ended.
    pub ended: Option<Now>,
    /// The processor time and memory that it used.
    pub usage: Option<Usage>,
    /// Why it could not be started, and the exit code that a shell gives for that.
    pub error: Option<(String, i32)>,
    /// True once the record says who runs the job.
    pub noted: bool,
    /// Why it cannot be ended, once that was tried in vain.
    pub stuck: Option<String>,
    /// Its processes with their starts, as they were when it was told to end.
    pub tree: Vec<(i32, u64)>,
}

impl Facts {
    /// Nothing has happened yet.
    pub fn new(record: Record) -> Self {
        Self {
            record,
            ended: None,
            usage: None,
            error: None,
            noted: false,
            stuck: None,
            tree: Vec::new(),
        }
    }
}

/// The scheduler's orders to the job thread while its job runs.
#[derive(Debug, Default)]
pub struct Orders {
    /// Write the note.
    pub note: bool,
    /// Warn the job of its timeout.
    pub warn: bool,
    /// Signal the job.
    pub signal: Option<Stop>,
}

impl Run {
    /// A try that has no leader.
    pub fn new(id: &JobId, queue: &QueueName, terms: Terms, facts: Facts) -> Self {
        Self {
            id: id.clone(),
            queue: queue.clone(),
            terms,
            pid: 0,
            adopted: false,
            started: None,
            began: None,
            log_offset: 0,
            cgroup: None,
            thread: OnceLock::new(),
            orders: Mutex::default(),
            put_back: AtomicU64::new(0),
            facts: Mutex::new(facts),
        }
    }

    /// The changing part.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the job thread an order.
    pub fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(thread) = self.thread.get() {
            thread.send();
        }
    }

    /// Takes the orders that were given. The job thread alone calls this.
    pub fn take_orders(&self) -> Orders {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The record with this inode is about to appear in `pending/`: that is no drop.
    pub fn puts_back(&self, inode: u64) {
        self.put_back.store(inode, Ordering::SeqCst);
    }

    /// True for the file that [`Self::puts_back`] was told of.
    pub fn has_put_back(&self, inode: u64) -> bool {
        self.put_back.load(Ordering::SeqCst) == inode
    }
}
