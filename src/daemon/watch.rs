//! From what inotify says, and from looking, to events. An inotify event only says where to look: what counts is
//! what is there.

use super::engine::Engine;
use super::{ServeError, committer};
use crate::core::id::{JobId, QueueName};
use crate::core::scheduler::{Event, MovedTo, Scheduler};
use crate::os::dir::FileType;
use crate::os::inotify::{FileChange, Interest, Watch, Watcher};
use crate::spool::{PAUSED, Place, Spool, Where};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// The watches and what they are on.
#[derive(Debug)]
pub struct Watches {
    watcher: Watcher,
    places: HashMap<Watch, Place>,
    logs: HashMap<Watch, JobId>,
    /// Queues beyond the limit of watches.
    pub(super) unwatched: BTreeSet<QueueName>,
    /// Files that somebody has open for writing.
    pub(super) open: BTreeSet<(Place, Vec<u8>)>,
    /// What is known to wait is to be looked for once the scans are through: events may have been lost.
    pub(super) lost_events: bool,
}

/// Reads of inotify per turn, each of about a hundred events; the queue holds 16,384 by default.
const READS_PER_TURN: usize = 200;

impl Watches {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            places: HashMap::new(),
            logs: HashMap::new(),
            unwatched: BTreeSet::new(),
            open: BTreeSet::new(),
            lost_events: false,
        })
    }

    /// For the poller.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }

    /// Refuses a spool on a file system that cannot keep the promises.
    pub fn try_out(&self, spool: &Spool) -> Result<(), ServeError> {
        let path = spool.path().display();
        match spool.probe(&self.watcher) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                Err(ServeError::Config(format!("{path}: {e}")))
            }
            // A full disk, perhaps: that shows nothing, and the daemon may make room.
            Err(e) => {
                log::warn!("{path}: its file system could not be tried out: {e}");
                Ok(())
            }
        }
    }

    /// True when there are events that were not read yet.
    pub fn has_news(&self) -> bool {
        crate::os::poll::is_readable(self.fd())
    }
}

impl Engine {
    /// Watches the directories that are always there.
    pub(super) fn watch_fixed(&mut self) -> io::Result<()> {
        for place in [
            Place::Root,
            Place::Pending,
            Place::Held,
            Place::Active,
            Place::Complete,
            Place::Failed,
        ] {
            let spool = &self.shared.spool;
            let watch = spool.watch(&place, &self.watches.watcher, interest(&place))?;
            self.watches.places.insert(watch, place);
        }
        Ok(())
    }

    /// Goes on with the directory that has this name now; one is made if none has.
    fn renew(&mut self, place: &Place) -> io::Result<()> {
        let spool = &self.shared.spool;
        spool.renew(place)?;
        let watch = spool.watch(place, &self.watches.watcher, interest(place))?;
        self.watches.places.insert(watch, place.clone());
        Ok(())
    }

    /// Watches a queue's directory; true if it was not watched before.
    pub(super) fn watch_queue(&mut self, queue: &QueueName) -> io::Result<bool> {
        let (spool, place) = (&self.shared.spool, Place::of_queue(queue));
        if !spool.reopen_queue(queue)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let watch = spool.watch(&place, &self.watches.watcher, Interest::Everything);
        // Before any of its jobs is taken in, and also where it cannot be watched.
        self.look_at_pause(&place);
        let watch = watch?;
        let newly = self.watches.places.insert(watch, place.clone()) != Some(place.clone());
        Ok(newly)
    }

    /// A job with a `max_log` has its log watched.
    pub(super) fn watch_log(&mut self, id: &JobId) {
        if self
            .shared
            .run(id)
            .is_none_or(|run| run.terms.max_log.is_none())
        {
            return;
        }
        let spool = &self.shared.spool;
        match spool.watch_log(id.as_str(), &self.watches.watcher) {
            Ok(watch) => {
                self.watches.logs.insert(watch, id.clone());
                self.log_grew(id);
            }
            Err(e) => log::warn!("{id}: its log cannot be watched: {e}"),
        }
    }

    /// The job has ended.
    pub(super) fn unwatch_log(&mut self, id: &JobId) {
        let watch = self
            .watches
            .logs
            .iter()
            .find(|(_, job)| *job == id)
            .map(|(watch, _)| *watch);
        if let Some(watch) = watch {
            self.watches.watcher.remove(watch);
            self.watches.logs.remove(&watch);
        }
    }

    fn log_grew(&mut self, id: &JobId) {
        let Some(run) = self.shared.run(id) else {
            return;
        };
        let size = self.shared.spool.log_size(id);
        if run
            .terms
            .max_log
            .is_some_and(|most| size.saturating_sub(run.log_offset) > most)
        {
            self.feed(Event::LogFull { id: id.clone() });
        }
    }

    /// Reads what inotify has, more than its queue can hold: who drops without pause does not keep us here.
    pub(super) fn read_watches(&mut self) {
        for _ in 0..READS_PER_TURN {
            match self.watches.watcher.read_some() {
                Ok((events, more)) => {
                    events.into_iter().for_each(|event| self.noticed(event));
                    if !more {
                        return;
                    }
                }
                Err(e) => return log::error!("inotify: {e}"),
            }
        }
    }

    fn noticed(&mut self, event: crate::os::inotify::FileEvent) {
        let Some(watch) = event.watch else {
            log::debug!("inotify dropped events: looking at everything");
            self.audit();
            return self.rescan();
        };
        let name = event.name.as_bytes();
        if let Some(id) = self.watches.logs.get(&watch).cloned() {
            self.log_grew(&id);
        } else if let Some(place) = self.watches.places.get(&watch).cloned()
            && (place == Place::Root || self.is_ours(name))
        {
            self.changed(watch, &place, name, event.change);
        }
    }

    /// A daemon for one job has no eyes for others.
    fn is_ours(&self, name: &[u8]) -> bool {
        name == PAUSED
            || self
                .options
                .single
                .as_ref()
                .is_none_or(|id| id.as_str().as_bytes() == name)
    }

    fn changed(&mut self, watch: Watch, place: &Place, name: &[u8], change: FileChange) {
        if change == FileChange::Lost {
            return self.directory_lost(watch, place);
        }
        match place {
            Place::Root => {
                if name == b"config.json" && self.options.config.is_none() {
                    self.config_changed();
                }
                if name == b"lock" && (self.not_ours().is_some() || self.held) {
                    self.look_at_space_now();
                }
                let fixed = Place::FIXED
                    .iter()
                    .find(|place| place.relative().as_os_str().as_bytes() == name);
                if let Some(place) = fixed
                    && !self.shared.spool.is_in_place(place)
                {
                    self.directory_lost(watch, place);
                }
            }
            Place::Pending | Place::Queue(_) if name == PAUSED => self.look_at_pause(place),
            Place::Pending | Place::Queue(_) => self.pending_changed(place, name, change),
            Place::Held => self.held_changed(name, change),
            Place::Active => self.active_changed(name, change),
            Place::Complete | Place::Failed => self.finished_changed(place, name, change),
            Place::Bad | Place::Log | Place::Tmp | Place::Store | Place::Scripts => {}
        }
    }

    fn pending_changed(&mut self, place: &Place, name: &[u8], change: FileChange) {
        match change {
            FileChange::Came => self.seen(place, name),
            FileChange::Written => {
                self.let_settle(place, name);
                self.closed_under_another_name(place, name);
            }
            FileChange::MovedAway | FileChange::Removed => {
                let (Some(queue), Ok(id)) = (place.queue(), JobId::from_bytes(name)) else {
                    return;
                };
                if self.ask(|s| waits_in(s, &id, &queue)) {
                    self.check_withdrawn(id, queue);
                } else if *place == Place::Pending {
                    self.check_queue(name);
                }
            }
            FileChange::Grew | FileChange::Lost | FileChange::Overflow => {}
        }
    }

    /// A file that was linked in with linkat(2) is reported closed under the name it was opened by, which need not
    /// be in the directory at all (measured with O_TMPFILE): then any of the open files may be meant.
    fn closed_under_another_name(&mut self, place: &Place, name: &[u8]) {
        if self.watches.open.is_empty()
            || self
                .shared
                .spool
                .look(place, name)
                .is_ok_and(|look| look.is_some())
        {
            return;
        }
        let open: Vec<_> = self
            .watches
            .open
            .iter()
            .filter(|(p, _)| p == place)
            .cloned()
            .collect();
        for (place, name) in open {
            self.take_in(&place, &name);
        }
    }

    /// The name that left `pending/` may have been a queue's.
    fn check_queue(&mut self, name: &[u8]) {
        if let Ok(queue) = QueueName::from_bytes(name) {
            let place = Place::of_queue(&queue);
            if self
                .watches
                .places
                .values()
                .any(|watched| *watched == place)
            {
                self.queue_gone(&queue);
            }
        }
    }

    /// Withdraws a job whose file is gone.
    pub(super) fn check_withdrawn(&mut self, id: JobId, queue: QueueName) {
        let place = Place::of_queue(&queue);
        match self.shared.spool.look(&place, id.as_str().as_bytes()) {
            Ok(Some(_)) => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => log::error!("{id}: {e}"),
            Ok(None) | Err(_) => {
                let event = Event::Withdrawn {
                    id: id.clone(),
                    queue: queue.clone(),
                };
                // Else it was claimed since it was thought to wait.
                if self.feed_if(|s| waits_in(s, &id, &queue), event) {
                    log::debug!("{id}: left queue {queue}");
                    self.errand(committer::Task::ByHand(id));
                }
            }
        }
    }

    /// The scheduler does not know held jobs. A held job that is removed takes its log along.
    fn held_changed(&mut self, name: &[u8], change: FileChange) {
        if let (FileChange::MovedAway | FileChange::Removed, Ok(id)) =
            (change, JobId::from_bytes(name))
        {
            self.errand(committer::Task::ByHand(id));
        }
    }

    fn active_changed(&mut self, name: &[u8], change: FileChange) {
        let Ok(id) = JobId::from_bytes(name) else {
            return;
        };
        // Most such events are our own doing; the directory says which are not.
        match change {
            FileChange::MovedAway | FileChange::Removed if self.ask(|s| s.knows(&id)) => {
                self.check_active(&id);
            }
            // Somebody had put it there.
            FileChange::MovedAway | FileChange::Removed => self.errand(committer::Task::ByHand(id)),
            FileChange::Came | FileChange::Written => self.check_stranger(id),
            FileChange::Grew | FileChange::Lost | FileChange::Overflow => {}
        }
    }

    /// Ends a running job whose file is not in `active/` any more.
    pub(super) fn check_active(&mut self, id: &JobId) {
        if !self.ask(|s| s.is_started(id)) || self.shared.spool.is_active(id) {
            return;
        }
        // Older runs of the name were put out of the way before this one began: what is there now is this one.
        let to = match self.shared.spool.find_ended(id) {
            Ok(Some(_)) => MovedTo::Ended,
            Ok(None) => match self.shared.spool.find(id) {
                Ok(Some(Where::Pending(queue))) if self.ask(|s| s.has_successor(id, &queue)) => {
                    MovedTo::Gone
                }
                Ok(Some(Where::Pending(_))) => MovedTo::Pending,
                Ok(Some(Where::Complete | Where::Failed)) => MovedTo::Ended,
                Ok(Some(Where::Active)) | Err(_) => return,
                // It is ended, and nothing follows before it is released.
                Ok(Some(Where::Held) | None) => MovedTo::Gone,
            },
            Err(_) => return,
        };
        // It may have ended meanwhile, and its end been recorded.
        let event = Event::ActiveMoved { id: id.clone(), to };
        if self.feed_if(|s| s.is_started(id), event) {
            log::info!("{id}: its file was taken out of active/: ending it");
        }
    }

    /// Puts a file that somebody put into `active/` where jobs are started from.
    pub(super) fn check_stranger(&mut self, id: JobId) {
        if self.ask(|s| s.knows(&id))
            || !self.shared.spool.is_active(&id)
            // It may run under somebody else.
            || self.not_ours().is_some()
        {
            return;
        }
        let look = self
            .shared
            .spool
            .look(&Place::Active, id.as_str().as_bytes());
        if let Ok(Some(look)) = look
            && look.kind != FileType::File
        {
            let (name, why) = (id.as_str().as_bytes(), "it is not a file");
            return self.quarantine_judged(&Place::Active, name, why, look.inode);
        }
        log::warn!("{id}: was put into active/ by hand; moved to pending/, where jobs are started");
        if let Err(e) = self.shared.spool.unclaim(&id, &QueueName::default()) {
            log::error!("{id}: {e}");
        }
    }

    fn finished_changed(&mut self, place: &Place, name: &[u8], change: FileChange) {
        let Ok(id) = JobId::from_bytes(name) else {
            return;
        };
        match change {
            FileChange::Removed | FileChange::MovedAway => self.errand(committer::Task::ByHand(id)),
            FileChange::Came | FileChange::Written => {
                // What a commit puts there is known until the engine has heard of the commit, which is after this.
                if !self.ask(|s| s.knows(&id)) {
                    self.errand(committer::Task::ByHand(id.clone()));
                }
                if self.ask(|s| s.has_children(&id)) {
                    let complete = *place == Place::Complete;
                    self.feed(Event::ParentMoved { id, complete });
                }
            }
            FileChange::Grew | FileChange::Lost | FileChange::Overflow => {}
        }
    }

    /// A queue's directory was removed, or renamed to be another queue: what waited in it does so no more.
    pub(super) fn queue_gone(&mut self, queue: &QueueName) {
        let place = Place::of_queue(queue);
        if self
            .shared
            .spool
            .reopen_queue(queue)
            .is_ok_and(|is_there| is_there)
        {
            // It was replaced by another one, or the news is older than what is there now.
            return self.open_queue(queue);
        }
        log::info!("queue {queue}: its directory is gone");
        self.look_at_pause(&place);
        self.watches.places.retain(|_, watched| *watched != place);
        let left: Vec<JobId> = self.ask(|s| {
            s.all_waiting()
                .filter(|(_, waits_in)| *waits_in == queue)
                .map(|(id, _)| id.clone())
                .collect()
        });
        for id in left {
            self.check_withdrawn(id, queue.clone());
        }
    }

    /// A watched directory was removed or moved. Queues come and go; the others are held by descriptor, and what
    /// is done goes on where they are now.
    fn directory_lost(&mut self, watch: Watch, place: &Place) {
        if let Place::Queue(queue) = place {
            self.watches.places.remove(&watch);
            self.queue_gone(queue);
        } else if place.is_fixed() {
            self.fixed_lost(place);
        } else {
            // What runs goes on, its directories being held by descriptor; nothing new is started before it is back,
            // because jobs are told paths.
            let shown = self.shared.spool.path();
            log::warn!("{}: was moved or removed under the daemon", shown.display());
            self.look_at_space_now();
        }
    }

    /// Goes on with the directory that has the name now, unless that is another daemon's.
    fn fixed_lost(&mut self, place: &Place) {
        if self.shared.spool.is_in_place(place) {
            return;
        }
        self.not_ours();
        if self.successor.is_some() {
            return;
        }
        let shown = self.shared.spool.path_of(place);
        log::warn!("{}: was moved or removed under the daemon", shown.display());
        let old: Vec<Watch> = self
            .watches
            .places
            .iter()
            .filter(|(_, watched)| *watched == place)
            .map(|(watch, _)| *watch)
            .collect();
        for watch in old {
            self.watches.watcher.remove(watch);
            self.watches.places.remove(&watch);
        }
        if let Err(e) = self.renew(place) {
            log::error!("{}: {e}", shown.display());
        }
        self.audit();
        self.rescan();
    }
}

/// True when a file of this name is known to wait in the queue.
fn waits_in(scheduler: &Scheduler, id: &JobId, queue: &QueueName) -> bool {
    scheduler.waiting(id, queue).is_some() || scheduler.has_successor(id, queue)
}

/// What matters in a directory: finished records are not written to any more.
fn interest(place: &Place) -> Interest {
    if matches!(place, Place::Held | Place::Complete | Place::Failed) {
        Interest::Moves
    } else {
        Interest::Everything
    }
}
