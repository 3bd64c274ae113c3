//! Taking in what is dropped: looking through the directories, judging names, and doing what follows.

use super::committer;
use super::engine::Engine;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Origin, Record};
use crate::core::scheduler::Event;
use crate::core::time::Boot;
use crate::spool::{DirNames, DropLimits, Intake, OLD_HELD, Place, Where};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

/// What is being looked through, some names a turn.
#[derive(Debug)]
pub enum Scan {
    /// A directory.
    Directory {
        /// Which.
        place: Place,
        /// Opened when its turn comes: many directories may wait to be looked through, and descriptors are few.
        listing: Option<DirNames>,
    },
    /// The jobs that are known to wait, from this one on: are their files still there?
    Known(usize),
}

/// DirNames per turn: bounds how long a turn takes.
const NAMES_PER_TURN: usize = 256;

/// How long a file that was written where it is must have been left alone: install(1) and others close it first, and
/// then set its mode by its name, which fails if the job has begun (measured: one in seven, on a busy machine).
const SETTLES_AFTER: Duration = Duration::from_millis(50);

/// Files that were written where they are, in the order in which they are to be judged.
#[derive(Debug, Default)]
pub struct Settling {
    queue: VecDeque<(Boot, Place, Vec<u8>)>,
    /// Of several times for a name, the last one counts.
    last: HashMap<(Place, Vec<u8>), Boot>,
}

impl Settling {
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the next is to be judged.
    pub fn next(&self) -> Option<Boot> {
        self.queue.front().map(|(at, _, _)| *at)
    }

    fn add(&mut self, place: &Place, name: &[u8], at: Boot) {
        self.last.insert((place.clone(), name.to_vec()), at);
        self.queue.push_back((at, place.clone(), name.to_vec()));
    }

    /// One whose time has come.
    fn take(&mut self, now: Boot) -> Option<(Place, Vec<u8>)> {
        while let Some((at, _, _)) = self.queue.front()
            && *at <= now
        {
            let (at, place, name) = self.queue.pop_front()?;
            let key = (place, name);
            if self.last.get(&key) == Some(&at) {
                self.last.remove(&key);
                return Some(key);
            }
        }
        None
    }
}

/// How soon what failed is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Engine {
    /// Looks at all of `pending/` again, and for all that is known to wait, a part each turn.
    pub(super) fn rescan(&mut self) {
        self.first_scan();
        self.watches.lost_events = true;
    }

    /// Looks at all of `pending/`, a part each turn. What leaves it meanwhile is told by its watch.
    pub(super) fn first_scan(&mut self) {
        // Queues are found, watched and scanned on the way.
        self.scans.clear();
        self.scan(Place::Pending);
    }

    /// Something could not be looked at (no descriptors left, perhaps): all is looked at again soon.
    pub(super) fn rescan_soon(&mut self) {
        self.rescan_at = self.rescan_at.min(self.now().boot.after(RETRY_AFTER));
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
            Ok(true) => self.feed(Event::Found(queue.clone())),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => {
                // Not to be watched (fs.inotify.max_user_watches?): then it is looked at every so often.
                if self.watches.unwatched.insert(queue.clone()) {
                    log::error!(
                        "queue {queue}: cannot be watched, and is looked at every few seconds: {e}"
                    );
                }
                self.rescan_soon();
            }
        }
        self.scan(Place::of_queue(queue));
    }

    /// An older version held jobs by a queue that it paused in the settings.
    fn take_over_held(&mut self) {
        match self.shared.spool.take_over_held() {
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
                self.rescan_soon();
            }
        }
    }

    /// One turn's part of the scans.
    pub(super) fn scan_some(&mut self) {
        match self.scans.pop_front() {
            Some(Scan::Directory { place, listing }) => self.scan_directory(place, listing),
            Some(Scan::Known(from)) => self.scan_known(from),
            None => {}
        }
        if self.scans.is_empty() && self.surveying {
            // As at the end of a queue's directory: nothing that came meanwhile is older than what is known.
            self.read_watches();
        }
        if self.scans.is_empty() && std::mem::take(&mut self.surveying) {
            self.release();
        }
        if self.scans.is_empty() && std::mem::take(&mut self.watches.lost_events) {
            self.scans.push_back(Scan::Known(0));
        }
    }

    fn scan_directory(&mut self, place: Place, listing: Option<DirNames>) {
        let opened = match listing {
            Some(listing) => Ok(listing),
            None => self.shared.spool.listing(&place),
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
            // Of what came meanwhile the reading may have met a job and missed an older one, which is to start first.
            self.read_watches();
            self.feed(Event::Read(queue));
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
            log::error!("{}: {e}", self.shared.spool.path_of(place).display());
            self.rescan_soon();
        }
    }

    fn scan_known(&mut self, from: usize) {
        let (known, next) = self.ask(|s| s.some_waiting(from, NAMES_PER_TURN));
        if let Some(next) = next {
            self.scans.push_front(Scan::Known(next));
        }
        for (id, queue) in known {
            self.check_withdrawn(id.clone(), queue);
            if self.ask(|s| s.has_children(&id)) && !self.ask(|s| s.knows(&id)) {
                self.check_parent(id);
            }
        }
    }

    /// A name met: one that is known with the same content is not read again.
    pub(super) fn seen(&mut self, place: &Place, name: &[u8]) {
        if let (Some(queue), Ok(id)) = (place.queue(), JobId::from_bytes(name))
            && let Some(stamp) = self.ask(|s| s.waiting(&id, &queue))
            && let Ok(Some(look)) = self.shared.spool.look(place, name)
            && look.inode == stamp.inode
            && look.modified == stamp.modified
            && look.size == u64::from(stamp.size)
        {
            return;
        }
        self.take_in(place, name);
    }

    /// Judges a name in `pending/` or a queue, and does what follows.
    pub(super) fn take_in(&mut self, place: &Place, name: &[u8]) {
        let limits = DropLimits {
            max_job_bytes: self.shared.config().max_job_bytes,
            uid: self.shared.home.account.uid,
        };
        let now = self.now();
        let judgement = self.shared.spool.judge(place, name, limits, now.wall);
        if matches!(judgement, Ok(Intake::Open)) {
            self.watches.open.insert((place.clone(), name.to_vec()));
        } else if !self.watches.open.is_empty() {
            self.watches.open.remove(&(place.clone(), name.to_vec()));
        }
        match judgement {
            Ok(Intake::Job(record, look, origin)) => {
                let (Ok(id), Some(queue)) = (JobId::from_bytes(name), place.queue()) else {
                    return;
                };
                if self
                    .shared
                    .run(&id)
                    .is_some_and(|run| run.has_put_back(look.inode))
                {
                    return;
                }
                if *place == Place::Pending && asks_for_queue(&record) {
                    return self.route(&id, &record, look.inode);
                }
                if origin == Origin::Running && self.shared.spool.log_is_held(&id) {
                    // Moved here while no daemon ran: its processes are still to be ended.
                    self.found_held(id.clone());
                }
                if !self.ask(|s| s.knows(&id)) && self.has_ended(&id) {
                    if self.shared.spool.log_is_held(&id) {
                        // Never two at once: an earlier run of this name has left processes behind.
                        return self.judge_later(
                            now.boot.after(RETRY_AFTER),
                            place.clone(),
                            name.to_vec(),
                        );
                    }
                    if let Err(e) = self.shared.spool.make_room(&id, place) {
                        log::error!("{id}: an older run could not be kept: {e}");
                    }
                }
                let longest = match record.retry_at {
                    Some(_) => self.longest_backoff(&queue, &record),
                    None => Duration::ZERO,
                };
                let ticket = self
                    .shared
                    .spool
                    .ticket(&id, &queue, &record, &look, now, longest);
                self.guard_space();
                log::debug!("{id}: waiting in queue {queue}");
                let as_it_is = matches!(origin, Origin::Dropped | Origin::Waiting);
                self.at_hand = as_it_is.then_some((id, record));
                self.feed(Event::Arrived(Box::new(ticket)));
                self.at_hand = None;
            }
            Ok(Intake::Nothing) => self.vanished(name),
            Ok(Intake::Open) => {}
            // Its directory is gone, and with it the job.
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.vanished(name),
            Ok(Intake::Later(wait)) => {
                self.judge_later(now.boot.after(wait), place.clone(), name.to_vec())
            }
            Ok(Intake::Queue(queue)) => self.open_queue(&queue),
            Ok(Intake::Bad { why, inode: None }) => self.quarantine(place, name, &why),
            Ok(Intake::Bad {
                why,
                inode: Some(inode),
            }) => self.quarantine_judged(place, name, &why, inode),
            Err(e) => {
                log::error!(
                    "{}: {e}",
                    self.shared
                        .spool
                        .path_of(place)
                        .join(String::from_utf8_lossy(name).as_ref())
                        .display()
                );
                self.judge_later(
                    now.boot.after(Duration::from_secs(5)),
                    place.clone(),
                    name.to_vec(),
                );
            }
        }
    }

    fn longest_backoff(&self, queue: &QueueName, record: &Record) -> Duration {
        let config = self.shared.config();
        config.terms(queue, record).backoff.rule().max
    }

    /// A file came and went before it was looked at. It may have been an ended job's, whose log goes with it.
    fn vanished(&mut self, name: &[u8]) {
        if let Ok(id) = JobId::from_bytes(name)
            && !self.ask(|s| s.knows(&id))
        {
            self.errand(committer::Task::ByHand(id));
        }
    }

    /// True unless it is certain that no earlier run of this name has ended.
    fn has_ended(&self, id: &JobId) -> bool {
        let ended = self.shared.spool.find_ended(id);
        ended.map_or(true, |at| at.is_some())
    }

    /// Takes in the one job of a daemon for one job, wherever it waits.
    pub(super) fn take_in_single(&mut self, id: &JobId) -> io::Result<()> {
        if let Some(Where::Pending(queue)) = self.shared.spool.find(id)? {
            if !queue.is_default() {
                self.watch_queue(&queue)?;
            }
            self.take_in(&Place::of_queue(&queue), id.as_str().as_bytes());
        }
        Ok(())
    }

    /// A record dropped into `pending/` that asks for a queue goes to that queue's directory.
    fn route(&mut self, id: &JobId, record: &Record, inode: u64) {
        if record
            .queue
            .as_ref()
            .is_some_and(|queue| queue.as_str() == id.as_str())
        {
            let why = "its queue has its own name: pending/ cannot have both a file and a directory of that name; put it into the queue's directory";
            return self.quarantine_judged(&Place::Pending, id.as_str().as_bytes(), why, inode);
        }
        match self.shared.spool.route(id, record, inode) {
            Ok(None) => {}
            Ok(Some((target, why))) => log::warn!("{id}: moved to bad/{target}: {why}"),
            Err(e) => log::error!("{id}: {e}"),
        }
        if let Some(queue) = &record.queue {
            // The directory may be new, and its watch younger than the file.
            match self.watch_queue(queue) {
                Ok(_) => self.take_in(&Place::of_queue(queue), id.as_str().as_bytes()),
                Err(e) => {
                    log::error!("queue {queue}: {e}");
                    self.rescan_soon();
                }
            }
        }
    }

    /// Judges a name again at this time.
    pub(super) fn judge_later(&mut self, at: Boot, place: Place, name: Vec<u8>) {
        let mut tie = 0;
        while self.later.contains_key(&(at, tie)) {
            tie += 1;
        }
        if !self.later.values().any(|(p, n)| *p == place && *n == name) {
            self.later.insert((at, tie), (place, name));
        }
    }

    /// Judges a file that was written where it is, once it has been left alone.
    pub(super) fn let_settle(&mut self, place: &Place, name: &[u8]) {
        let at = self.now().boot.after(SETTLES_AFTER);
        self.settling.add(place, name, at);
    }

    /// Judges the names whose time has come.
    pub(super) fn look_again(&mut self) {
        let now = self.now().boot;
        while let Some((place, name)) = self.settling.take(now) {
            self.seen(&place, &name);
        }
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                (Place::Root, _) => drop(self.reload()),
                (place, name) => self.take_in(&place, &name),
            }
        }
    }

    /// Of two waiting files of one name the older one goes to `bad/`, if they are two: the job or its directory may
    /// have been moved from the one queue to the other, and back.
    pub(super) fn supersede(&mut self, id: &JobId, older: &QueueName, newer: &QueueName) {
        let (place, name) = (Place::of_queue(older), id.as_str().as_bytes());
        let spool = &self.shared.spool;
        match (
            spool.look_afresh(older, name),
            spool.look_afresh(newer, name),
        ) {
            (Ok(Some(old)), Ok(Some(new))) if old.inode != new.inode => {
                let why = format!("a newer job of the same name was put into the queue {newer}");
                self.quarantine_judged(&place, name, &why, old.inode);
            }
            (Ok(Some(_)), Ok(None)) => {
                self.judge_later(self.now().boot, place, name.to_vec());
            }
            // Where it is, it is known, or an event will tell of it.
            (Ok(_), Ok(_)) => {}
            (Err(e), _) | (_, Err(e)) => {
                log::error!("{id}: {e}");
                self.rescan_soon();
            }
        }
    }

    /// Moves what is no job to `bad/`, whatever it is.
    pub(super) fn quarantine(&mut self, place: &Place, name: &[u8], reason: &str) {
        let moved = self.shared.spool.quarantine(place, name, reason);
        self.quarantined(name, reason, moved);
    }

    /// As [`Self::quarantine`], for the file that was judged.
    pub(super) fn quarantine_judged(
        &mut self,
        place: &Place,
        name: &[u8],
        reason: &str,
        inode: u64,
    ) {
        if let Place::Queue(queue) = place
            && !self.shared.spool.is_in_place(place)
        {
            // The file is judged again where it is now: it may be a job there.
            return self.queue_gone(queue);
        }
        let spool = &self.shared.spool;
        let moved = spool.quarantine_judged(place, name, reason, inode);
        self.quarantined(name, reason, moved);
    }

    fn quarantined(&mut self, name: &[u8], reason: &str, moved: io::Result<Option<String>>) {
        let shown = String::from_utf8_lossy(name).into_owned();
        match moved {
            Ok(Some(target)) => log::warn!("{shown:?} is no job, moved to bad/{target}: {reason}"),
            // It is gone, or its return is an event.
            Ok(None) => {}
            Err(e) => {
                log::error!("{shown:?} is no job ({reason}), but cannot be moved to bad/: {e}");
                self.rescan_soon();
            }
        }
    }
}

/// True for a record in `pending/` itself that belongs into a queue's directory.
fn asks_for_queue(record: &Record) -> bool {
    let queue = record.queue.as_ref();
    queue.is_some_and(|queue| !queue.is_default() && queue.as_str() != OLD_HELD)
}
