//! What the daemon's threads share.

use super::children::Children;
use super::dispatch::Dispatch;
use super::engine::Letter;
use super::mailbox::Mailbox;
use super::retain::Doubt;
use super::tally::Tally;
use crate::core::config::{Config, Terms};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::time::{Boot, Now, Wall};
use crate::os::cgroup::{Cgroup, Delegated};
use crate::os::user::Account;
use crate::os::wait::Usage;
use crate::spool::{Reserve, Spool};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// One try that is going on, or has just ended.
#[derive(Debug)]
pub struct Run {
    /// The job.
    pub id: JobId,
    /// Where it came from, and goes for its next try.
    pub queue: QueueName,
    /// What holds for it.
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
    /// What its processes are in, where we may make such groups.
    pub cgroup: Option<Cgroup>,
    /// The inode of the record that goes back to `pending/` for the next try; 0 when none does.
    pub inode: AtomicU64,
    /// Its processes with their starts, as they were when it was told to end.
    pub known: Mutex<Vec<(i32, u64)>>,
    /// The record, and what is learnt about the try. The lock also keeps the note and the end apart.
    pub book: Mutex<Book>,
}

/// The part of a [`Run`] that changes.
#[derive(Debug)]
pub struct Book {
    /// As it was claimed, `attempt` counted up.
    pub record: Record,
    /// When the leader ended.
    pub ended: Option<Now>,
    /// What it used.
    pub usage: Option<Usage>,
    /// Why it could not be started, and what a shell would have exited with.
    pub error: Option<(String, i32)>,
    /// True once the record says who runs the job.
    pub noted: bool,
    /// Why it cannot be ended, once that was tried in vain.
    pub stuck: Option<String>,
}

impl Run {
    /// The record with this inode is about to appear in `pending/`: that is no drop.
    pub fn put_back(&self, inode: u64) {
        self.inode.store(inode, Ordering::SeqCst);
    }

    /// True for the file that [`Self::put_back`] was told of.
    pub fn has_put_back(&self, inode: u64) -> bool {
        self.inode.load(Ordering::SeqCst) == inode
    }

    /// Its processes, as far as they were noted.
    pub fn tree(&self) -> Vec<(i32, u64)> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes its processes.
    pub fn remember(&self, tree: Vec<(i32, u64)>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = tree;
    }

    /// The changing part.
    pub fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Facts about this process that every job's start needs.
#[derive(Debug)]
pub struct Home {
    /// Who jobs run as.
    pub account: Account,
    /// Where programs are looked for when the job does not say.
    pub path: String,
    /// Variables that describe the place rather than the session: LANG, LC_*, TZ.
    pub locale: Vec<(String, String)>,
    /// The umask that a job gets unless it says otherwise: the one we were started with.
    pub umask: u32,
    /// The umask of this process, which a job has unless it is set.
    pub own_umask: u32,
    /// Which boot this is.
    pub boot: String,
    /// The spool's path as the jobs see it.
    pub spool: String,
    /// Where jobs get control groups of their own.
    pub cgroups: Option<Delegated>,
}

impl Home {
    /// The control group of a job, where it can have one.
    pub fn group(&self, id: &JobId) -> Option<Cgroup> {
        self.cgroups
            .as_ref()
            .map(|groups| groups.group(id.as_str()))
    }
}

/// Everything.
#[derive(Debug)]
pub struct Shared {
    /// The spool.
    pub spool: Spool,
    /// The engine's mail.
    pub mail: Mailbox<Letter>,
    /// The scheduler.
    pub dispatch: Dispatch,
    /// Our children.
    pub children: Children,
    /// Room for what runs to finish.
    pub reserve: Reserve,
    /// Why nothing is accepted any more, once a sync has failed for good.
    pub trouble: OnceLock<String>,
    /// How far retention believes the clock.
    pub doubt: Mutex<Doubt>,
    /// The tries that are going on.
    pub runs: Mutex<HashMap<JobId, Arc<Run>>>,
    /// The settings.
    pub config: RwLock<Arc<Config>>,
    /// Who and where we are.
    pub home: Home,
    /// What is counted.
    pub tally: Arc<Tally>,
}

impl Shared {
    /// The settings that hold now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The try of a job, if one is going on.
    pub fn run(&self, id: &JobId) -> Option<Arc<Run>> {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Enters a try.
    pub fn enter(&self, run: Arc<Run>) {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(run.id.clone(), run);
    }

    /// Strikes a try out.
    pub fn leave(&self, id: &JobId) {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}
