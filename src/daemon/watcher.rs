//! The data that only the watcher, the first thread, has.

use super::Service;
use super::bridges::Bridges;
use super::proof::Proven;
use super::real::RealMachine;
use super::state::{Daemon, Machine};
use crate::core::config::pauses::Pauses;
use crate::core::id::QueueName;
use crate::core::time::Boot;
use crate::os::notify::Notifier;
use crate::os::poll::Poller;
use crate::os::signals::Signals;
use crate::os::wait::Ends;
use crate::spool::{DirNames, Place};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A part of the spool that is being looked through, some names a turn.
#[derive(Debug)]
pub enum Scan {
    /// A directory.
    Directory {
        /// The directory.
        place: Place,
        /// Opened when its turn comes: many directories may wait to be looked through, and descriptors are few.
        listing: Option<DirNames>,
    },
    /// The jobs that are known to wait, from this one on: are their files still there?
    Known(usize),
}

/// How far an upgrade has come.
#[derive(Debug)]
pub enum Upgrade {
    /// None was asked for.
    No,
    /// The new binary is being proven; the daemon works as ever.
    Proving,
    /// Nothing is started any more, and the exec follows once what is being started or recorded is.
    Proven(Proven),
}

impl Upgrade {
    /// True when nothing is to be started any more.
    pub fn is_proven(&self) -> bool {
        matches!(self, Self::Proven(_))
    }
}

/// Takes in what is dropped, and looks through directories for what no event told of. The watcher alone does it.
pub struct Scanner<M: Machine = RealMachine> {
    pub(super) daemon: Arc<Daemon<M>>,
    /// Takes in the events of files that have come by now.
    pub(super) read_events: fn(&mut Self),
    pub(super) scans: VecDeque<Scan>,
    /// Files that somebody has open for writing.
    pub(super) open: BTreeSet<(Place, Vec<u8>)>,
    /// The jobs that are known to wait are to be looked for once the scans are through: events may have been lost.
    pub(super) lost_events: bool,
    /// The queues that files pause.
    pub(super) pauses: Pauses,
    /// Queues beyond the limit of watches.
    pub(super) unwatched: BTreeSet<QueueName>,
}

/// The watcher.
pub struct WatcherThread {
    pub(super) daemon: Arc<Daemon>,
    pub(super) scanner: Scanner,
    pub(super) upgrade: Upgrade,
    pub(super) signals: Signals,
    /// The HTTP door.
    pub(super) service: Option<Box<dyn Service>>,
    /// The processes that take jobs from other servers.
    pub(super) bridges: Bridges,
    pub(super) poller: Poller,
    /// Tells that some child has ended.
    pub(super) ends: Ends,
    pub(super) notifier: Notifier,
    pub(super) stopping: bool,
    /// Told to end and to leave the jobs to the next daemon.
    pub(super) leaving: bool,
    /// To end when nothing is left to run.
    pub(super) draining: bool,
    /// Since when nothing is left to run.
    pub(super) idle_since: Option<Boot>,
    /// Told again to stop.
    pub(super) ending_jobs: bool,
    /// As it was told to the notifier.
    pub(super) status: String,
}

impl<M: Machine> Scanner<M> {
    /// Nothing is planned. `read_events` takes in the events of files that have come by now.
    pub fn new(daemon: Arc<Daemon<M>>, read_events: fn(&mut Self)) -> Self {
        Self {
            daemon,
            read_events,
            scans: VecDeque::new(),
            open: BTreeSet::new(),
            lost_events: false,
            pauses: Pauses::default(),
            unwatched: BTreeSet::new(),
        }
    }
}
