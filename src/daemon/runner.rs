//! The threads that start jobs: claim, launch, enter.

use super::children;
use super::crew::Crew;
use super::engine::Letter;
use super::launch::{self, Launched, NotNow, Start};
use super::shared::{Book, Run, Shared};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::scheduler::{Action, Event, Refusal, Slot, Stamp};
use crate::os::clock;
use crate::spool::{Claim, Target};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// One start to do.
#[derive(Debug)]
pub struct Task {
    /// Which job.
    pub id: JobId,
    /// From which queue.
    pub queue: QueueName,
    /// Which file.
    pub stamp: Stamp,
    /// Its slot.
    pub slot: Slot,
    /// What was read of it just now, if it was.
    pub read: Option<Box<Record>>,
}

/// Threads that have a job each, from its start to its end, and then the next in its slot. As many as can start jobs at
/// a time are kept when there are none: all the others would count where processes are limited.
pub fn crew(shared: &Arc<Shared>) -> Crew<Task> {
    let kept = std::thread::available_parallelism().map_or(2, usize::from);
    let shared = Arc::clone(shared);
    Crew::new("job", kept.min(8), move |task| {
        let mut next = Some(task);
        while let Some(task) = next {
            next = start(&shared, task).and_then(|run| children::wait_for(&shared, &run));
        }
    })
}

/// Gives the try, if there is a process to wait for.
fn start(shared: &Shared, mut task: Task) -> Option<Arc<Run>> {
    let (id, queue, stamp) = (&task.id, &task.queue, task.stamp);
    let claim = match task.read.take() {
        Some(read) => shared.spool.claim_as_read(id, queue, stamp, *read),
        None => shared.spool.claim(id, queue, stamp),
    };
    let claimed = match claim {
        Ok(Claim::Claimed(claimed)) => Ok(claimed),
        Ok(Claim::Gone) => Err(Refusal::Gone),
        Ok(Claim::Changed) => Err(Refusal::Changed),
        Err(e) => {
            log::error!("{}: cannot be claimed: {e}", task.id);
            Err(Refusal::Resources)
        }
    };
    let mut record = match claimed {
        Ok(claimed) => claimed.record,
        Err(why) => {
            refuse(shared, task.id, why);
            return None;
        }
    };
    let logs = match launch::open_logs(shared, &task.id, record.split) {
        Ok(logs) => logs,
        Err(why) => {
            not_now(shared, task, None, why);
            return None;
        }
    };
    let before = (record.attempt > 0).then(|| record.clone());
    record.attempt += 1;
    if before.is_some()
        && let Err(e) = begin_again(shared, &task.id, &record)
    {
        not_now(shared, task, before, NotNow::Resources(e));
        return None;
    }
    let terms = shared.config().terms(&task.queue, &record);
    let outcome = {
        let start = Start {
            id: &task.id,
            queue: &task.queue,
            record: &record,
            terms: &terms,
            slot: task.slot,
        };
        launch::launch(shared, &start, &logs)
    };
    // From here on the job alone holds its logs.
    drop(logs);
    match outcome {
        Ok(launched) => {
            let pid = launched.pid;
            let run = make_run(&task, record, &terms, Some(launched), None);
            let attempt = run.book().record.attempt;
            log::debug!(
                "{}: started as process {} in slot {}",
                task.id,
                pid,
                task.slot.of_all
            );
            shared.enter(Arc::clone(&run));
            let has_limit = terms.max_log.is_some();
            let started = Event::Started {
                id: task.id.clone(),
                attempt,
                terms: Box::new(terms),
            };
            let enter = || shared.step(started);
            let actions = shared.children.enter(pid, task.id.clone(), enter);
            tell(shared, task.id, has_limit, actions);
            Some(run)
        }
        Err(NotNow::Impossible { error, code }) => {
            let attempt = record.attempt;
            let error = Some((error, code));
            shared.enter(make_run(&task, record, &terms, None, error));
            let terms = Box::new(terms);
            refuse(shared, task.id, Refusal::Impossible { attempt, terms });
            None
        }
        Err(why) => {
            not_now(shared, task, before, why);
            None
        }
    }
}

/// What is left to do about a job that runs.
fn tell(shared: &Shared, id: JobId, has_limit: bool, actions: Vec<Action>) {
    shared.dispatch.answered();
    // An event of a job that has a slot frees none.
    if let Some(task) = shared.hand_out(actions) {
        shared.start(task);
    }
    if has_limit || !shared.spool.is_active(&id) {
        shared.mail.send(Letter::Started(id));
    }
}

/// Puts a job back as it was before its claim: `before`, if its record was touched since.
fn not_now(shared: &Shared, task: Task, before: Option<Record>, why: NotNow) {
    let refusal = match why {
        NotNow::Busy => {
            log::warn!(
                "{}: not started: processes of an earlier run still hold its log",
                task.id
            );
            Refusal::Busy
        }
        NotNow::Resources(e) => {
            log::warn!("{}: not started for now: {e}", task.id);
            Refusal::Resources
        }
        NotNow::Impossible { error, .. } => {
            log::error!("{}: {error}", task.id);
            Refusal::Resources
        }
    };
    let spool = &shared.spool;
    let done = match before {
        Some(before) => {
            let target = Target::Pending(task.queue.clone());
            spool
                .finish(&task.id, &before, &target, |_| {})
                .map(drop)
                // Better with its tries forgotten than in active/ for ever: a plain rename needs nothing.
                .or_else(|_| spool.unclaim(&task.id, &task.queue))
        }
        None => spool.unclaim(&task.id, &task.queue),
    };
    if let Err(e) = done {
        log::error!("{}: cannot be put back to pending: {e}", task.id);
    }
    refuse(shared, task.id, refusal);
}

/// A further try is noted before it begins. Its record looks just like one that was put back for that try, and
/// only the note tells after a crash that the try is to be counted.
fn begin_again(shared: &Shared, id: &JobId, record: &Record) -> io::Result<()> {
    let mut note = record.clone();
    note.forget_try();
    note.started_at = Some(clock::wall());
    shared.spool.note(id, &note).map(drop)
}

/// Answers that a start did not happen.
pub fn refuse(shared: &Shared, id: JobId, why: Refusal) {
    shared.mail.send(Letter::Event(Event::Refused { id, why }));
}

fn make_run(
    task: &Task,
    record: Record,
    terms: &Terms,
    launched: Option<Launched>,
    error: Option<(String, i32)>,
) -> Arc<Run> {
    let now = launched.is_some().then(clock::now);
    Arc::new(Run {
        id: task.id.clone(),
        queue: task.queue.clone(),
        terms: terms.clone(),
        pid: launched.as_ref().map_or(0, |job| job.pid),
        adopted: false,
        started: now.map(|now| now.wall),
        began: now.map(|now| now.boot),
        log_offset: launched.as_ref().map_or(0, |job| job.log_offset),
        cgroup: launched.and_then(|job| job.cgroup),
        inode: AtomicU64::new(0),
        known: Mutex::default(),
        book: Mutex::new(Book {
            record,
            ended: None,
            usage: None,
            error,
            noted: false,
            stuck: None,
        }),
    })
}
