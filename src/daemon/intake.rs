//! Taking in what is dropped: judging names in `pending/`, and doing what follows.

use super::agenda::RETRY_AFTER;
use super::chores::Chore;
use super::reconcile::{quarantine, quarantine_judged};
use super::recover::found_held;
use super::state::Machine;
use super::watcher::Scanner;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Origin, Record};
use crate::core::scheduler::{Event, Scheduler, Ticket};
use crate::spool::{DropLimits, Intake, OLD_HELD, Place, Where};
use std::io;
use std::time::Duration;

impl<M: Machine> Scanner<M> {
    /// A name met: one that is known with the same content is not read again.
    pub fn seen(&mut self, place: &Place, name: &[u8]) {
        if let (Some(queue), Ok(id)) = (place.queue(), JobId::from_bytes(name))
            && let Some(stamp) = self.daemon.ask(|s| s.waiting(&id, &queue))
            && let Ok(Some(look)) = self.daemon.spool.look(place, name)
            && look.inode == stamp.inode
            && look.modified == stamp.modified
            && look.size == u64::from(stamp.size)
        {
            return;
        }
        self.take_in(place, name);
    }

    /// Judges a name in `pending/` or a queue, and does what follows.
    pub fn take_in(&mut self, place: &Place, name: &[u8]) {
        let limits = DropLimits {
            max_job_bytes: self.daemon.config().max_job_bytes,
            uid: self.daemon.home.account.uid,
        };
        let now = self.daemon.now();
        let judgement = self.daemon.spool.judge(place, name, limits, now.wall);
        if matches!(judgement, Ok(Intake::Open)) {
            self.open.insert((place.clone(), name.to_vec()));
        } else if !self.open.is_empty() {
            self.open.remove(&(place.clone(), name.to_vec()));
        }
        match judgement {
            Ok(Intake::Job(record, look, origin)) => {
                let (Ok(id), Some(queue)) = (JobId::from_bytes(name), place.queue()) else {
                    return;
                };
                if self
                    .daemon
                    .run(&id)
                    .is_some_and(|run| run.has_put_back(look.inode))
                {
                    return;
                }
                if *place == Place::Pending && asks_for_queue(&record) {
                    return self.route(&id, &record, look.inode);
                }
                if origin == Origin::Running && self.daemon.spool.log_is_held(&id) {
                    // Moved here while no daemon ran: its processes are still to be ended.
                    found_held(&self.daemon, &id);
                }
                let is_known = self.daemon.ask(|s| s.knows(&id));
                if !is_known && self.has_ended(&id) {
                    if self.daemon.spool.log_is_held(&id) {
                        // Never two at once: an earlier run of this name has left processes behind.
                        return self.daemon.agenda.judge_later(
                            now.boot.after(RETRY_AFTER),
                            place.clone(),
                            name.to_vec(),
                        );
                    }
                    if let Err(e) = self.daemon.spool.make_room(&id, place) {
                        log::error!("{id}: an older run could not be kept: {e}");
                    }
                }
                let longest = match record.retry_at {
                    Some(_) => self.longest_backoff(&queue, &record),
                    None => Duration::ZERO,
                };
                let ticket = self
                    .daemon
                    .spool
                    .ticket(&id, &queue, &record, &look, now, longest);
                log::debug!("{id}: waiting in queue {queue}");
                let as_it_is = matches!(origin, Origin::Dropped | Origin::Waiting);
                if !self.arrived(ticket, as_it_is.then_some(record), is_known) {
                    // The earlier job of this name ended meanwhile: judge again, so that its record is archived.
                    self.take_in(place, name);
                }
            }
            Ok(Intake::Nothing) => self.vanished(name),
            Ok(Intake::Open) => {}
            // Its directory is gone, and with it the job.
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.vanished(name),
            Ok(Intake::Later(wait)) => {
                self.daemon
                    .agenda
                    .judge_later(now.boot.after(wait), place.clone(), name.to_vec())
            }
            Ok(Intake::Queue(queue)) => self.open_queue(&queue),
            Ok(Intake::Bad { why, inode: None }) => quarantine(&self.daemon, place, name, &why),
            Ok(Intake::Bad {
                why,
                inode: Some(inode),
            }) => quarantine_judged(&self.daemon, place, name, &why, inode),
            Err(e) => {
                log::error!(
                    "{}: {e}",
                    self.daemon
                        .spool
                        .path_of(place)
                        .join(String::from_utf8_lossy(name).as_ref())
                        .display()
                );
                self.daemon.agenda.judge_later(
                    now.boot.after(Duration::from_secs(5)),
                    place.clone(),
                    name.to_vec(),
                );
            }
        }
    }

    /// A job waits. Its record, unless the file is not as it was read, spares a second reading if the job starts at once.
    /// False if another job of its name was known and is no more.
    fn arrived(&self, ticket: Ticket, record: Option<Box<Record>>, is_known: bool) -> bool {
        let id = ticket.id.clone();
        let holds = |s: &Scheduler| !is_known || s.knows(&id);
        let event = Event::Arrived(Box::new(ticket));
        let Some(rest) = self.daemon.step_as_job_if(holds, event) else {
            return false;
        };
        if let Some(mut start) = rest.start {
            start.read = record.filter(|_| start.id == id);
            self.daemon.start(start);
        }
        true
    }

    fn longest_backoff(&self, queue: &QueueName, record: &Record) -> Duration {
        let config = self.daemon.config();
        config.terms(queue, record).backoff.rule().max
    }

    /// A file came and went before it was looked at. It may have been an ended job's, whose log goes with it.
    fn vanished(&mut self, name: &[u8]) {
        if let Ok(id) = JobId::from_bytes(name)
            && !self.daemon.ask(|s| s.knows(&id))
        {
            self.daemon.chores.add(Chore::ByHand(id));
        }
    }

    /// True unless it is certain that no earlier run of this name has ended.
    fn has_ended(&self, id: &JobId) -> bool {
        let ended = self.daemon.spool.find_ended(id);
        ended.map_or(true, |at| at.is_some())
    }

    /// Takes in the one job of a daemon for one job, wherever it waits.
    pub fn take_in_single(&mut self, id: &JobId) -> io::Result<()> {
        if let Some(Where::Pending(queue)) = self.daemon.spool.find(id)? {
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
            return quarantine_judged(
                &self.daemon,
                &Place::Pending,
                id.as_str().as_bytes(),
                why,
                inode,
            );
        }
        match self.daemon.spool.route(id, record, inode) {
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
                    self.daemon.agenda.rescan_soon(self.daemon.now().boot);
                }
            }
        }
    }
}

/// True for a record in `pending/` itself that belongs into a queue's directory.
fn asks_for_queue(record: &Record) -> bool {
    let queue = record.queue.as_ref();
    queue.is_some_and(|queue| !queue.is_default() && queue.as_str() != OLD_HELD)
}
