//! Looking through directories, a part each turn of the watcher.

use super::agenda::Due;
use super::chores::Chore;
use super::room::Hold;
use super::state::Machine;
use super::watcher::{Scan, Scanner};
use super::{ServeError, doing, reconcile, recover};
use crate::core::id::QueueName;
use crate::core::scheduler::Event;
use crate::spool::{DirNames, OLD_HELD, Place};
use std::io;
use std::sync::Arc;

/// Names per turn: bounds how long a turn takes.
const NAMES_PER_TURN: usize = 256;

impl<M: Machine> Scanner<M> {
    /// Recovers what an earlier daemon left, and plans to look at everything. What comes from now on must be told by
    /// watches already: in this order nothing is missed.
    pub fn begin(&mut self) -> Result<(), ServeError> {
        let daemon = Arc::clone(&self.daemon);
        self.look_at_pause(&Place::Pending);
        if daemon.options.single.is_none() {
            // The jobs that run and wait must all be known before the next one to start can be chosen.
            daemon.hold(Hold::Survey);
        }
        recover::recover(&daemon).or_else(doing("recovering the spool"))?;
        match &daemon.options.single {
            Some(id) => self.take_in_single(id).or_else(doing(id))?,
            None => {
                self.scan_all();
                let now = daemon.now().boot;
                daemon.agenda.rescan_as_usual(now);
                daemon.agenda.retain_now(now);
                daemon.chores.add(Chore::Orphans);
                daemon.chores.add(Chore::Unended);
            }
        }
        Ok(())
    }

    /// True while there is something to look through.
    pub fn is_scanning(&self) -> bool {
        !self.scans.is_empty()
    }

    /// Judges the names whose time has come.
    pub fn judge_due(&mut self) {
        let now = self.daemon.now().boot;
        let daemon = Arc::clone(&self.daemon);
        while let Some(due) = daemon.agenda.take_due(now) {
            match due {
                Due::Settled(place, name) => self.seen(&place, &name),
                Due::Again(Place::Root, _) => drop(self.reload()),
                Due::Again(place, name) => self.take_in(&place, &name),
            }
        }
    }

    /// Looks at all of `pending/` again, and for all that is known to wait, a part each turn.
    pub fn rescan(&mut self) {
        self.scan_all();
        self.lost_events = true;
    }

    /// Looks at all of `pending/`, a part each turn. What leaves it meanwhile is told by its watch.
    pub fn scan_all(&mut self) {
        // Queues are found, watched and scanned on the way.
        self.scans.clear();
        self.scan(Place::Pending);
    }

    pub(super) fn scan(&mut self, place: Place) {
        let is_planned = |scan: &Scan| match scan {
            Scan::Directory {
                place: planned,
                listing: None,
            } => *planned == place,
            Scan::Directory { .. } | Scan::Known(_) => false,
        };
        if !self.scans.iter().any(is_planned) {
            self.scans.push_back(Scan::Directory {
                place,
                listing: None,
            });
        }
    }

    pub(super) fn open_queue(&mut self, queue: &QueueName) {
        if queue.as_str() == OLD_HELD {
            return self.take_over_held();
        }
        match self.watch_queue(queue) {
            Ok(true) => self.daemon.step(Event::Found(queue.clone())),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => {
                // Not to be watched (fs.inotify.max_user_watches?): then it is looked at every so often.
                if self.unwatched.insert(queue.clone()) {
                    log::error!(
                        "queue {queue}: cannot be watched, and is looked at every few seconds: {e}"
                    );
                }
                self.daemon.agenda.rescan_soon(self.daemon.now().boot);
            }
        }
        self.scan(Place::of_queue(queue));
    }

    /// Watches a queue's directory; true if it was not watched before.
    pub fn watch_queue(&mut self, queue: &QueueName) -> io::Result<bool> {
        let place = Place::of_queue(queue);
        if !self.daemon.spool.reopen_queue(queue)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let newly = M::watch(&self.daemon, &place);
        // Before any of its jobs is taken in, and also where it cannot be watched.
        self.look_at_pause(&place);
        newly
    }

    /// An older version held jobs by a queue that it paused in the settings.
    fn take_over_held(&mut self) {
        match self.daemon.spool.take_over_held() {
            Ok(0) => {}
            Ok(moved) => log::info!(
                "pending/held/: {moved} jobs that an older version held are in held/ now; queues.held in config.json \
                 means nothing any more and can be removed"
            ),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                log::error!(
                    "pending/held/: the jobs that an older version held cannot be moved to held/: {e}"
                );
                self.daemon.agenda.rescan_soon(self.daemon.now().boot);
            }
        }
    }

    /// One turn's part of the scans.
    pub fn scan_some(&mut self) {
        match self.scans.pop_front() {
            Some(Scan::Directory { place, listing }) => self.scan_directory(place, listing),
            Some(Scan::Known(from)) => self.scan_known(from),
            None => {}
        }
        if self.scans.is_empty() && self.daemon.room.is_held(Hold::Survey) {
            // As at the end of a queue's directory: nothing that came meanwhile is older than what is known.
            (self.read_events)(self);
            if self.scans.is_empty() {
                self.daemon.release(Hold::Survey);
            }
        }
        if self.scans.is_empty() && std::mem::take(&mut self.lost_events) {
            self.scans.push_back(Scan::Known(0));
        }
    }

    fn scan_directory(&mut self, place: Place, listing: Option<DirNames>) {
        let opened = match listing {
            Some(listing) => Ok(listing),
            None => self.daemon.spool.listing(&place),
        };
        match opened.and_then(|listing| self.scan_part(&place, listing)) {
            Ok(Some(listing)) => {
                let listing = Some(listing);
                return self.scans.push_front(Scan::Directory { place, listing });
            }
            Ok(None) => {}
            Err(e) => self.cannot_scan(&place, &e),
        }
        if let Some(queue) = place.queue() {
            // The listing may lack an older file that came during it, which is to start first: take in its event now.
            (self.read_events)(self);
            self.daemon.step(Event::Read(queue));
        }
    }

    /// Gives the listing back if there may be more.
    fn scan_part(&mut self, place: &Place, mut listing: DirNames) -> io::Result<Option<DirNames>> {
        for _ in 0..NAMES_PER_TURN {
            match listing.next().transpose()? {
                Some(name) => self.seen(place, &name),
                None => return Ok(None),
            }
        }
        Ok(Some(listing))
    }

    fn cannot_scan(&mut self, place: &Place, e: &io::Error) {
        // A queue may be gone by now.
        if e.kind() != io::ErrorKind::NotFound {
            log::error!("{}: {e}", self.daemon.spool.path_of(place).display());
            self.daemon.agenda.rescan_soon(self.daemon.now().boot);
        }
    }

    fn scan_known(&mut self, from: usize) {
        let (known, next) = self.daemon.ask(|s| s.some_waiting(from, NAMES_PER_TURN));
        if let Some(next) = next {
            self.scans.push_front(Scan::Known(next));
        }
        for (id, queue) in known {
            reconcile::left_queue(&self.daemon, &id, &queue);
            if self.daemon.ask(|s| s.has_children(&id) && !s.knows(&id)) {
                reconcile::reconcile(&self.daemon, &id);
            }
        }
    }
}
