//! The walk of a job: its claim, its start, and what follows its end. The thread of the job does it.

use super::chores::Chore;
use super::run::{Facts, Run};
use super::start::{Launched, NotLaunched, NotNow, Setup, Start};
use super::state::{AfterEnd, Daemon, Machine, Rest};
use super::{reconcile, record};
use crate::core::config::Terms;
use crate::core::id::JobId;
use crate::core::process::Exit;
use crate::core::quote::without_codes;
use crate::core::record::Record;
use crate::core::scheduler::{Event, NotStarted};
use crate::os::fault::Fault;
use crate::spool::{IfSame, Target};
use std::io;
use std::sync::Arc;

/// Does what follows the end of a leader, up to its record. Gives a job to start next.
pub fn finish<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>, rest: Rest) -> Option<Start> {
    let Rest {
        start: mut next,
        mut follow,
    } = rest;
    while let Some((id, this)) = follow {
        debug_assert_eq!(id, run.id, "only its own thread tells of a job's end");
        // Another thread starts the next job: this one may wait for processes or a disk.
        if daemon.spool.is_durable() || matches!(this, AfterEnd::Sweep(_)) {
            next.take()
                .into_iter()
                .for_each(|start| daemon.start(start));
        }
        let rest = match this {
            AfterEnd::Sweep(grace) => {
                M::sweep(daemon, run, grace);
                daemon.step_as_job(Event::Swept { id })
            }
            AfterEnd::Finish(ended) => record::end(daemon, run, ended),
        };
        follow = rest.follow;
        if let Some(start) = rest.start
            && let Some(earlier) = next.replace(start)
        {
            daemon.start(earlier);
        }
    }
    next
}

/// Records the end of a try of which nobody can say how it ended. Gives a job to start next.
pub fn was_lost<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>) -> Option<Start> {
    let rest = daemon.step_as_job(Event::Ended {
        id: run.id.clone(),
        exit: Exit::Lost,
        alone: Fault::NoAdoption.is_on(),
    });
    finish(daemon, run, rest)
}

/// The outcome of a start.
#[derive(Debug)]
pub enum Begun<L> {
    /// The program runs.
    Running(Arc<Run>, L),
    /// It does not.
    Not {
        /// A job to start instead.
        next: Option<Start>,
    },
}

/// Claims and launches a job.
pub fn begin<M: Machine>(daemon: &Arc<Daemon<M>>, mut start: Start) -> Begun<M::Leader> {
    let mut record = match claim(daemon, &mut start) {
        Ok(record) => record,
        Err(why) => return not_started(daemon, start.id, why),
    };
    let logs = match M::open_logs(daemon, &start.id, &record) {
        Ok(logs) => logs,
        Err(why) => return put_back(daemon, start, None, why),
    };
    let has_units = !start.units.is_empty() && !Fault::NoUnitNote.is_on();
    let is_noted = record.attempt > 0 || has_units;
    let before = is_noted.then(|| record.clone());
    record.attempt += 1;
    record.units = std::mem::take(&mut start.units);
    if before.is_some()
        && let Err(e) = note_begin(daemon, &start.id, &record)
    {
        return put_back(daemon, start, before, NotNow::Resources(e));
    }
    let terms = daemon.config().terms(&start.queue, &record);
    let setup = Setup {
        id: &start.id,
        queue: &start.queue,
        record: &record,
        terms: &terms,
        slot: start.slot,
    };
    let launched = M::launch(daemon, &setup, &logs);
    // From here on the job alone holds its logs.
    drop(logs);
    match launched {
        Ok(launched) => started(daemon, &start, record, terms, launched),
        Err(NotLaunched::Impossible { error, code }) => {
            let facts = Facts {
                error: Some((without_codes(&error), code)),
                ..Facts::new(record)
            };
            cannot_start(daemon, Run::new(&start.id, &start.queue, terms, facts))
        }
        Err(NotLaunched::Resources(e)) => put_back(daemon, start, before, NotNow::Resources(e)),
    }
}

fn claim<M: Machine>(daemon: &Daemon<M>, start: &mut Start) -> Result<Record, NotStarted> {
    let (id, queue, stamp) = (&start.id, &start.queue, start.stamp);
    let claim = match start.read.take() {
        Some(read) => daemon.spool.claim_as_read(id, queue, stamp, *read),
        None => daemon.spool.claim(id, queue, stamp),
    };
    match claim {
        Ok(IfSame::Done(record)) => Ok(*record),
        Ok(IfSame::Gone) => Err(NotStarted::Gone),
        Ok(IfSame::Changed) => Err(NotStarted::Changed),
        Err(e) => {
            log::error!("{id}: cannot be claimed: {e}");
            Err(NotStarted::Resources)
        }
    }
}

/// Tells the scheduler that the program runs.
fn started<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    start: &Start,
    mut record: Record,
    terms: Terms,
    launched: Launched<M::Leader>,
) -> Begun<M::Leader> {
    record.sandboxed = launched.sandboxed;
    let (id, attempt, now) = (start.id.clone(), record.attempt, launched.began);
    let run = Arc::new(Run {
        pid: launched.pid,
        started: Some(now.wall),
        began: Some(now.boot),
        log_offset: launched.log_offset,
        cgroup: launched.cgroup,
        ..Run::new(&id, &start.queue, terms.clone(), Facts::new(record))
    });
    daemon.enter(Arc::clone(&run));
    let (pid, slot) = (run.pid, start.slot.of_all);
    log::debug!("{id}: started as process {pid} in slot {slot}");
    daemon.step(Event::Started {
        id,
        attempt,
        terms: Box::new(terms),
    });
    M::watch_log(daemon, &run);
    // A user may have taken the file away while the start was under way: that was no event of a running job.
    if !daemon.spool.is_active(&run.id) {
        reconcile::reconcile(daemon, &run.id);
    }
    Begun::Running(run, launched.leader)
}

/// Records the try of a program that cannot be started.
fn cannot_start<M: Machine>(daemon: &Arc<Daemon<M>>, run: Run) -> Begun<M::Leader> {
    let run = Arc::new(run);
    daemon.enter(Arc::clone(&run));
    let why = NotStarted::Impossible {
        attempt: run.facts().record.attempt,
        terms: Box::new(run.terms.clone()),
    };
    let id = run.id.clone();
    let rest = daemon.step_as_job(Event::NotStarted { id, why });
    let next = finish(daemon, &run, rest);
    Begun::Not { next }
}

/// A further try is noted before it begins. Its record looks just like one that was put back for that try, and only the
/// note tells after a crash that the try is to be counted. So is a try that was given units: the next daemon must not
/// give them to another job.
fn note_begin<M: Machine>(daemon: &Daemon<M>, id: &JobId, record: &Record) -> io::Result<()> {
    let mut note = record.clone();
    note.forget_try();
    note.started_at = Some(daemon.now().wall);
    note.units.clone_from(&record.units);
    daemon.spool.note(id, &note).map(drop)
}

/// Puts a job back as it was before its claim: `before`, if its record was touched since.
fn put_back<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    start: Start,
    before: Option<Record>,
    why: NotNow,
) -> Begun<M::Leader> {
    let why_not = match why {
        NotNow::Busy => {
            log::warn!(
                "{}: not started: processes of an earlier run still hold its log",
                start.id
            );
            NotStarted::Busy
        }
        NotNow::Resources(e) => {
            log::warn!("{}: not started for now: {e}", start.id);
            NotStarted::Resources
        }
    };
    let spool = &daemon.spool;
    let done = match before {
        Some(before) => {
            let target = Target::Pending(start.queue.clone());
            spool
                .finish(&start.id, &before, &target, |_| {})
                .map(drop)
                // Better with its tries forgotten than in active/ for ever: a plain rename needs nothing.
                .or_else(|_| spool.unclaim(&start.id, &start.queue))
        }
        None => spool.unclaim(&start.id, &start.queue),
    };
    if let Err(e) = done {
        log::error!("{}: cannot be put back to pending: {e}", start.id);
    }
    not_started(daemon, start.id, why_not)
}

/// Tells the scheduler that a start did not happen, and looks where the file is.
fn not_started<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: JobId,
    why: NotStarted,
) -> Begun<M::Leader> {
    log::debug!("{id}: not started: {why:?}");
    let is_held = why == NotStarted::Busy;
    let is_other = matches!(why, NotStarted::Gone | NotStarted::Changed);
    let rest = daemon.step_as_job(Event::NotStarted {
        id: id.clone(),
        why,
    });
    if is_other {
        // An event of it may have been taken for our own doing, when it was put back or taken in.
        reconcile::reconcile(daemon, &id);
    }
    if is_held {
        daemon.chores.add(Chore::Held(id));
    }
    Begun::Not { next: rest.start }
}
