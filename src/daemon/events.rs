//! From what inotify says to what follows. An event only says where to look: what counts is what is there.

use super::chores::Chore;
use super::log_limit;
use super::reconcile::{left_queue, reconcile, tell_children};
use super::room::Hold;
use super::watcher::Scanner;
use super::watches::Watched;
use crate::core::id::{JobId, QueueName};
use crate::core::scheduler::Belief;
use crate::os::inotify::{FileChange, FileEvent};
use crate::spool::{PAUSED, Place, Where};
use std::os::unix::ffi::OsStrExt;

/// Reads of inotify per turn, each of about a hundred events; the queue holds 16,384 by default.
const READS_PER_TURN: usize = 200;

impl Scanner {
    /// Reads what inotify has, more than its queue can hold: who drops without pause does not keep us here.
    pub(super) fn read_watches(&mut self) {
        for _ in 0..READS_PER_TURN {
            match self.daemon.machine.watches.watcher.read_some() {
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

    fn noticed(&mut self, event: FileEvent) {
        let Some(watch) = event.watch else {
            log::debug!("inotify dropped events: looking at everything");
            self.daemon.forget_shown();
            self.audit();
            return self.rescan();
        };
        let name = event.name.as_bytes();
        match self.daemon.machine.watches.thing(watch) {
            Some(Watched::Log(id)) => log_limit::grew(&self.daemon, &id),
            Some(Watched::Place(place)) if place == Place::Root || self.is_ours(name) => {
                self.changed(&place, name, event.change);
            }
            Some(Watched::Place(_)) | None => {}
        }
    }

    /// A daemon for one job has no eyes for others.
    fn is_ours(&self, name: &[u8]) -> bool {
        name == PAUSED
            || self
                .daemon
                .options
                .single
                .as_ref()
                .is_none_or(|id| id.as_str().as_bytes() == name)
    }

    fn changed(&mut self, place: &Place, name: &[u8], change: FileChange) {
        if change == FileChange::Lost {
            return self.directory_lost(place);
        }
        match place {
            Place::Root => {
                if name == b"config.json" && self.daemon.options.config.is_none() {
                    self.config_changed();
                }
                if name == b"lock"
                    && (!self.daemon.is_ours() || self.daemon.room.is_held(Hold::Room))
                {
                    self.daemon.look_at_room_now();
                }
                let fixed = Place::FIXED
                    .iter()
                    .find(|place| place.relative().as_os_str().as_bytes() == name);
                if let Some(place) = fixed
                    && !self.daemon.spool.is_in_place(place)
                {
                    self.directory_lost(place);
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
                let now = self.daemon.now().boot;
                self.daemon.agenda.let_settle(now, place, name);
                self.closed_under_another_name(place, name);
            }
            FileChange::MovedAway | FileChange::Removed => {
                let (Some(queue), Ok(id)) = (place.queue(), JobId::from_bytes(name)) else {
                    return;
                };
                if !self.open.is_empty() && self.open.remove(&(place.clone(), name.to_vec())) {
                    // While a writer had it open the scheduler did not know it. It may have been an ended job's,
                    // whose log goes too.
                    self.vanished(name);
                }
                if self
                    .daemon
                    .ask(|s| s.believes(&id).1.as_ref() == Some(&queue))
                {
                    left_queue(&self.daemon, &id, &queue);
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
        if self.open.is_empty()
            || self
                .daemon
                .spool
                .look(place, name)
                .is_ok_and(|look| look.is_some())
        {
            return;
        }
        let open: Vec<_> = self
            .open
            .iter()
            .filter(|(p, _)| p == place)
            .cloned()
            .collect();
        for (place, name) in open {
            self.take_in(&place, &name);
        }
    }

    /// The name that left `pending/` may have been a queue's. The default queue is `pending/` itself, whatever is called
    /// like it.
    fn check_queue(&mut self, name: &[u8]) {
        if let Ok(queue) = QueueName::from_bytes(name)
            && !queue.is_default()
            && self.daemon.machine.watches.has(&Place::of_queue(&queue))
        {
            self.queue_gone(&queue);
        }
    }

    /// The scheduler does not know held jobs. A held job that is removed takes its log along.
    fn held_changed(&self, name: &[u8], change: FileChange) {
        if let (FileChange::MovedAway | FileChange::Removed, Ok(id)) =
            (change, JobId::from_bytes(name))
        {
            self.daemon.chores.add(Chore::ByHand(id));
        }
    }

    /// Most such events are our own doing; the directory says which are not.
    fn active_changed(&self, name: &[u8], change: FileChange) {
        let Ok(id) = JobId::from_bytes(name) else {
            return;
        };
        let belief = self.daemon.ask(|s| s.believes(&id).0);
        let concerns_us = match change {
            FileChange::MovedAway | FileChange::Removed => belief == Belief::Running,
            FileChange::Came | FileChange::Written => belief == Belief::Unknown,
            FileChange::Grew | FileChange::Lost | FileChange::Overflow => false,
        };
        // Most of them are over by now.
        if concerns_us && (belief == Belief::Running || self.daemon.spool.is_active(&id)) {
            reconcile(&self.daemon, &id);
        }
    }

    fn finished_changed(&self, place: &Place, name: &[u8], change: FileChange) {
        let Ok(id) = JobId::from_bytes(name) else {
            return;
        };
        match change {
            FileChange::Removed | FileChange::MovedAway => {
                self.daemon.chores.add(Chore::ByHand(id))
            }
            FileChange::Came | FileChange::Written => {
                let is_own = self.daemon.take_shown(&id);
                if !is_own && !self.daemon.ask(|s| s.knows(&id)) {
                    self.daemon.chores.add(Chore::ByHand(id.clone()));
                }
                tell_children(&self.daemon, &id, *place == Place::Complete);
            }
            FileChange::Grew | FileChange::Lost | FileChange::Overflow => {}
        }
    }

    /// A queue's directory was removed, or renamed to be another queue: what waited in it does so no more.
    pub(super) fn queue_gone(&mut self, queue: &QueueName) {
        let place = Place::of_queue(queue);
        if self.daemon.spool.reopen_queue(queue).unwrap_or(false) {
            // It was replaced by another one, or the news is older than what is there now.
            return self.open_queue(queue);
        }
        log::info!("queue {queue}: its directory is gone");
        self.look_at_pause(&place);
        self.daemon.machine.watches.unwatch(&place);
        let left: Vec<JobId> = self.daemon.ask(|s| {
            s.all_waiting()
                .filter(|(_, waits_in)| *waits_in == queue)
                .map(|(id, _)| id.clone())
                .collect()
        });
        for id in left {
            left_queue(&self.daemon, &id, queue);
        }
    }

    /// A watched directory was removed or moved. Queues come and go; the others are held by descriptor, and what
    /// is done goes on where they are now.
    fn directory_lost(&mut self, place: &Place) {
        if let Place::Queue(queue) = place {
            self.daemon.machine.watches.unwatch(place);
            self.queue_gone(queue);
        } else if place.is_fixed() {
            self.fixed_lost(place);
        } else {
            // Running jobs go on, since the daemon holds their directories; none is started before the spool is back,
            // because jobs are told paths.
            let shown = self.daemon.spool.path();
            log::warn!("{}: was moved or removed under the daemon", shown.display());
            self.daemon.look_at_room_now();
        }
    }

    /// Goes on with the directory that has the name now, unless that is another daemon's.
    fn fixed_lost(&mut self, place: &Place) {
        if self.daemon.spool.is_in_place(place) {
            return;
        }
        // The look at the lock finds out whether another daemon has the spool now.
        self.daemon.is_ours();
        if self.daemon.machine.successor().is_some() {
            return;
        }
        let shown = self.daemon.spool.path_of(place);
        log::warn!("{}: was moved or removed under the daemon", shown.display());
        self.daemon.machine.watches.unwatch(place);
        self.daemon.forget_shown();
        let renewed = self.daemon.spool.renew(place);
        let watch = || self.daemon.machine.watches.watch(&self.daemon.spool, place);
        if let Err(e) = renewed.and_then(|()| watch()) {
            log::error!("{}: {e}", shown.display());
        }
        self.audit();
        self.rescan();
    }

    /// Looks at everything that an event may have told of and been lost.
    pub(super) fn audit(&mut self) {
        if self.daemon.options.config.is_none() {
            self.config_changed();
        }
        self.look_at_pause(&Place::Pending);
        let running = self.daemon.runs().into_iter().map(|run| run.id.clone());
        let active = self.daemon.spool.ids(&Where::Active);
        let active = active.inspect_err(|e| log::error!("active/: {e}"));
        let awaited = self.daemon.ask(|s| s.awaited());
        for id in running.chain(active.unwrap_or_default()).chain(awaited) {
            reconcile(&self.daemon, &id);
        }
        self.daemon.chores.add(Chore::Orphans);
    }
}
