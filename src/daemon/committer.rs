//! The threads for what takes long, or may: notes, sweeps, retention, ends that cannot be written at once. Many of them,
//! so that one that waits for a disk or for processes holds up no other.

use super::ending::{self, Unwritten};
use super::engine::Letter;
use super::pool::Pool;
use super::shared::{Book, Run, Shared};
use super::upgrade::Proof;
use super::{retain, sweep};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Reason;
use crate::core::scheduler::{CommittedTo, Event, Stamp};
use crate::core::units::brief_span;
use crate::os::{clock, procfs, spawn};
use crate::spool::{Place, Placed, Where};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Something to write, move or remove.
#[derive(Debug)]
pub enum Task {
    /// The note of a running job.
    Note(JobId),
    /// The end of a try whose record could not be written at once.
    Finish(Box<Unwritten>),
    /// The end of a job that never ran.
    Fail {
        /// Which job.
        id: JobId,
        /// Where it waits.
        queue: QueueName,
        /// Which file.
        stamp: Stamp,
        /// Why.
        reason: Reason,
        /// The sentence for people.
        error: String,
    },
    /// What is left of a job's processes.
    Sweep {
        /// Which job.
        id: JobId,
        /// How long they may take.
        grace: Duration,
    },
    /// A user moved or removed the file of a job that does not run.
    ByHand(JobId),
    /// Time to look at what may be forgotten.
    Retain,
    /// Some records may have been removed while nobody looked.
    Orphans,
    /// The daemon is to become the binary that is there now: can that serve this spool?
    Prove(Proof),
    /// The daemon has just started: some jobs may have been moved to `failed/` or `complete/` before.
    Unended,
}

/// The threads.
pub fn pool(shared: &Arc<Shared>) -> Pool<Task> {
    let shared = Arc::clone(shared);
    Pool::new("commit", 16, move |task| {
        match task {
            // These are answered by an event of their own.
            Task::Finish(unwritten) => return ending::insist_on(&shared, *unwritten),
            Task::Fail {
                id,
                queue,
                stamp,
                reason,
                error,
            } => return fail(&shared, &id, &queue, stamp, (reason, &error)),
            Task::Sweep { id, grace } => return sweep::sweep(&shared, &id, grace),
            Task::Note(id) => note(&shared, &id),
            Task::ByHand(id) => by_hand(&shared, &id),
            Task::Retain => retain::retain(&shared),
            Task::Orphans => retain::orphans(&shared),
            Task::Prove(proof) => {
                let proven = proof.run();
                shared.mail.send(Letter::Proven(proven));
            }
            Task::Unended => {
                for id in shared.spool.unended() {
                    // One that still runs gets its end when it has met it.
                    if shared.run(&id).is_none() {
                        by_hand(&shared, &id);
                    }
                }
            }
        }
        shared.mail.send_expected([Letter::Done]);
    })
}

pub(super) fn report(id: &JobId, outcome: io::Result<()>) {
    if let Err(e) = outcome {
        log::error!("{id}: {e}");
    }
}

/// Does `work` until it succeeds: what a job did must be recorded. A full disk is helped by the reserve, and does
/// not stay full; a disk that has failed to sync twice (the spool tries a new name first) is trouble for all.
pub(super) fn insist<T>(
    shared: &Shared,
    id: &JobId,
    what: &str,
    mut work: impl FnMut() -> io::Result<T>,
) -> T {
    let mut wait = Duration::from_millis(100);
    loop {
        let e = match work() {
            Ok(done) => return done,
            Err(e) => e,
        };
        match e.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) if shared.reserve.release(&shared.spool) => {
                log::warn!("{id}: {what}: {e}; using the room that was kept for that");
                continue;
            }
            Some(libc::EIO) if shared.trouble.get().is_none() => {
                let _ = shared.trouble.set(format!("{what} failed: {e}"));
                shared.mail.send(Letter::Trouble);
            }
            Some(_) | None => {}
        }
        log::error!(
            "{id}: {what} failed: {e}; trying again in {}",
            brief_span(wait)
        );
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Repeats what fails for want of descriptors or memory: what a job wrote is not given up for that.
pub(super) fn while_short<T>(
    shared: &Shared,
    id: &JobId,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    insist(shared, id, "reading what it wrote", || match work() {
        Err(e) if spawn::is_shortage(&e) => Err(e),
        other => Ok(other),
    })
}

fn note(shared: &Shared, id: &JobId) {
    let Some(run) = shared.run(id) else { return };
    let mut book = run.book();
    if book.ended.is_some() || run.pid == 0 {
        return;
    }
    if book.record.proc.is_none() {
        book.record.proc = procfs::identify(run.pid, &shared.home.boot);
    }
    write_note(shared, &run, &mut book);
}

/// Writes the note of a job whose end is not recorded yet.
pub(super) fn write_note(shared: &Shared, run: &Run, book: &mut Book) {
    let mut record = book.record.clone();
    record.forget_try();
    record.started_at = run.started;
    record.pid = (run.pid != 0).then_some(run.pid);
    record.proc.clone_from(&book.record.proc);
    record.error.clone_from(&book.stuck);
    let written = match book.stuck {
        None => shared.spool.note(&run.id, &record).map(drop),
        Some(_) => shared.spool.note_anywhere(&run.id, &record),
    };
    match written {
        Ok(()) => book.noted = true,
        Err(e) => log::warn!("{}: its note could not be written: {e}", run.id),
    }
}

fn fail(
    shared: &Shared,
    id: &JobId,
    queue: &QueueName,
    stamp: Stamp,
    (reason, error): (Reason, &str),
) {
    let at = Where::Pending(queue.clone());
    let loaded = insist(shared, id, "reading it", || {
        match shared.spool.load(id, &at) {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(None),
            other => other,
        }
    });
    let mut place = CommittedTo::Gone;
    if let Some(mut record) = loaded {
        record.renew();
        record.end_unrun(clock::wall(), reason, error);
        let placed = insist(shared, id, "recording its end", || {
            shared.spool.fail_waiting(id, queue, stamp, &record)
        });
        if placed == Placed::There {
            log::info!("{id}: failed: {reason}: {error}");
            shared.tally.failed(queue);
            place = CommittedTo::Failed;
        }
    }
    let id = id.clone();
    shared
        .mail
        .send_expected([Letter::Event(Event::Committed { id, place })]);
}

/// A job left its queue, or its file was put somewhere by hand: writes its end if it is in `failed/` or
/// `complete/` without one, and forgets its log if it is nowhere.
fn by_hand(shared: &Shared, id: &JobId) {
    let at = match shared.spool.find(id) {
        // A note was written where a user has put its file: it still runs.
        Ok(Some(Where::Failed | Where::Complete)) if is_started(shared, id) => return,
        Ok(Some(at @ (Where::Failed | Where::Complete))) => at,
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) => return,
        // One that is to run, or runs, was on its way from one place to another.
        Ok(None) if is_current(shared, id) => return,
        Ok(None) => return retain::forget_belongings(shared, id),
        Err(e) => return log::error!("{id}: {e}"),
    };
    match end_withdrawn(shared, id, &at) {
        Ok(true) => log::info!("{id}: cancelled: moved to {} by hand", at.state()),
        Ok(false) => {}
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
        Err(e) => log::error!("{id}: {e}"),
    }
}

fn is_started(shared: &Shared, id: &JobId) -> bool {
    shared.dispatch.scheduler().is_started(id)
}

fn is_current(shared: &Shared, id: &JobId) -> bool {
    let scheduler = shared.dispatch.scheduler();
    scheduler.knows(id) && !scheduler.is_ending(id)
}

/// Gives the record of a job that was put there before it had one its end. False if it has one, or is gone.
fn end_withdrawn(shared: &Shared, id: &JobId, at: &Where) -> io::Result<bool> {
    let put = shared.spool.look(&at.place(), id.as_str().as_bytes())?;
    let (Some(put), Some(mut record)) = (put, shared.spool.load(id, at)?) else {
        return Ok(false);
    };
    // One that was running and may still be is given its end when its processes have met theirs.
    if record.is_over() || shared.spool.log_is_held(id) {
        return Ok(false);
    }
    let log = shared.spool.look(&Place::Log, id.as_str().as_bytes())?;
    let started_at = record.started_at;
    let error = match (started_at, log) {
        (Some(_), _) => "ended by hand while no daemon ran",
        (None, Some(_)) if record.attempt == 0 => {
            // It has written something, so that it was started: that try is to be counted.
            record.attempt = 1;
            "ended by hand while no daemon ran"
        }
        (None, _) => "withdrawn by hand",
    };
    record.end_unrun(clock::wall(), Reason::Cancelled, error);
    record.started_at = started_at;
    shared
        .spool
        .complete_by_hand(id, &at.place(), &put, &record)
}
