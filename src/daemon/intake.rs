//! Taking in what is dropped: judging names in `pending/`, and doing what follows.

use super::agenda::RETRY_AFTER;
use super::chores::Chore;
use super::reconcile::{quarantine, quarantine_judged};
use super::recover::found_held;
use super::state::Machine;
use super::watcher::Scanner;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Origin, Record};
use crate::core::scheduler::{Event, Scheduler, Stamp, Ticket};
use crate::os::dir::Look;
use crate::spool::{self, DropLimits, Intake, OLD_HELD, Place, Where};
use std::io;
use std::sync::Arc;
use std::time::Duration;

impl<M: Machine> Scanner<M> {
    /// A name met: one that is known with the same content is not read again.
    pub fn seen(&mut self, place: &Place, name: &[u8]) {
        if let (Some(queue), Ok(id)) = (place.queue(), JobId::from_bytes(name))
            && let Some(stamp) = self.daemon.ask(|s| s.waiting(&id, &queue))
            && let Ok(Some(look)) = self.daemon.spool.look(place, name)
            && spool::stamp(&look) == stamp
        {
            return;
        }
        self.take_in(place, name);
    }

    /// Judges a name in `pending/` or a queue, and does what follows.
    pub fn take_in(&mut self, place: &Place, name: &[u8]) {
        let daemon = Arc::clone(&self.daemon);
        let limits = DropLimits {
            max_job_bytes: daemon.config().max_job_bytes,
            uid: daemon.home.account.uid,
        };
        let now = daemon.now();
        let judgement = daemon.spool.judge(place, name, limits, now.wall);
        self.set_open(place, name, matches!(judgement, Ok(Intake::Open)));
        let judge_again = |wait| daemon.agenda.judge_later(now.boot.after(wait), place, name);
        match judgement {
            Ok(Intake::Job(record, look, origin)) => {
                if let Ok(id) = JobId::from_bytes(name) {
                    self.take_in_job(place, &id, record, &look, origin);
                }
            }
            Ok(Intake::Queue(queue)) => self.open_queue(&queue),
            Ok(Intake::Nothing) => self.vanished(name),
            Ok(Intake::Open) => {}
            Ok(Intake::Later(wait)) => judge_again(wait),
            Ok(Intake::Bad { why, file: None }) => quarantine(&daemon, place, name, &why),
            Ok(Intake::Bad {
                why,
                file: Some(judged),
            }) => quarantine_judged(&daemon, place, name, &why, judged),
            // Its directory is gone, and with it the job.
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.vanished(name),
            Err(e) => {
                let shown = String::from_utf8_lossy(name);
                let path = daemon.spool.path_of(place).join(shown.as_ref());
                log::error!("{}: {e}", path.display());
                judge_again(Duration::from_secs(5));
            }
        }
    }

    /// Remembers whether somebody has a file open for writing.
    fn set_open(&mut self, place: &Place, name: &[u8], is_open: bool) {
        if is_open {
            self.open.insert((place.clone(), name.to_vec()));
        } else if !self.open.is_empty() {
            self.open.remove(&(place.clone(), name.to_vec()));
        }
    }

    /// A file is a job: it waits from now on, unless it is on its way to a queue, or waits already.
    fn take_in_job(
        &mut self,
        place: &Place,
        id: &JobId,
        record: Box<Record>,
        look: &Look,
        origin: Origin,
    ) {
        let daemon = Arc::clone(&self.daemon);
        let Some(queue) = place.queue() else { return };
        if daemon
            .run(id)
            .is_some_and(|run| run.has_put_back(look.inode))
        {
            return;
        }
        if *place == Place::Pending && asks_for_queue(&record) {
            return self.route(id, &record, spool::stamp(look));
        }
        if origin == Origin::Running && daemon.spool.log_is_held(id) {
            // Moved here while no daemon ran: its processes are still to be ended.
            found_held(&daemon, id);
        }
        let is_known = daemon.ask(|s| s.knows(id));
        let name = id.as_str().as_bytes();
        if !is_known && !self.make_room(id, place) {
            let later = daemon.now().boot.after(RETRY_AFTER);
            return daemon.agenda.judge_later(later, place, name);
        }
        let ticket = self.ticket(id, &queue, &record, look);
        log::debug!("{id}: waiting in queue {queue}");
        let as_it_is = matches!(origin, Origin::Dropped | Origin::Waiting);
        if !self.arrived(ticket, as_it_is.then_some(record), is_known) {
            // The earlier job of this name ended meanwhile: judge again, so that its record is archived.
            self.take_in(place, name);
        }
    }

    /// Archives the record of an earlier run of this name. False if that run has left processes behind: never two at
    /// once.
    fn make_room(&self, id: &JobId, place: &Place) -> bool {
        let spool = &self.daemon.spool;
        // A job that cannot be looked for may have ended.
        let has_ended = spool.find_ended(id).map_or(true, |at| at.is_some());
        if has_ended && spool.log_is_held(id) {
            return false;
        }
        if has_ended && let Err(e) = spool.make_room(id, place) {
            log::error!("{id}: an older run could not be kept: {e}");
        }
        true
    }

    fn ticket(&self, id: &JobId, queue: &QueueName, record: &Record, look: &Look) -> Ticket {
        let daemon = &self.daemon;
        let longest = match record.retry_at {
            Some(_) => daemon.config().terms(queue, record).backoff.rule().max,
            None => Duration::ZERO,
        };
        let now = daemon.now();
        daemon.spool.ticket(id, queue, record, look, now, longest)
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

    /// A file came and went before it was looked at. It may have been an ended job's, whose log goes with it.
    pub(super) fn vanished(&mut self, name: &[u8]) {
        if let Ok(id) = JobId::from_bytes(name)
            && !self.daemon.ask(|s| s.knows(&id))
        {
            self.daemon.chores.add(Chore::ByHand(id));
        }
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
    fn route(&mut self, id: &JobId, record: &Record, judged: Stamp) {
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
                judged,
            );
        }
        match self.daemon.spool.route(id, record, judged) {
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
