//! Moves of files by users: one procedure asks where a job's file is and what the scheduler believes.
//!
//! An event of inotify only says which job to look at. The cases are one table, [`finding`], printed in pirn-spool(5).

use super::chores::Chore;
use super::run::Run;
use super::state::{Daemon, Machine};
use crate::core::id::{JobId, QueueName};
use crate::core::scheduler::{Belief, Event, MovedTo, QuarantineReason, Scheduler, Stamp};
use crate::os::dir::FileType;
use crate::spool::{Place, Where, stamp};
use std::io;
use std::sync::Arc;

/// Where a job's file was found, as seen from what is believed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In no directory of the spool.
    Nowhere,
    /// In the queue in which a file of this name is believed to wait.
    Queue,
    /// In another queue.
    OtherQueue,
    /// In `held/`.
    Held,
    /// In `active/`.
    Active,
    /// In `complete/` or `failed/`.
    Ended,
}

/// The daemon's reaction to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// All is as it should be, or a job thread looks after it.
    Nothing,
    /// A file waits: judge it.
    TakeIn,
    /// The file that was known to wait does so no more; look again.
    Withdrawn,
    /// A user has taken the file of a running job away: the job is ended.
    Moved(MovedTo),
    /// Somebody has put the file into `active/`: back to `pending/` with it.
    Stranger,
    /// A file was put into `complete/` or `failed/`: it gets its end if it has none, and its children are told.
    PutAway,
    /// The job is gone, and its log and scratch with it.
    Forgotten,
}

/// The table. What is believed of a job, and where its file is.
pub fn finding(belief: Belief, found: Whereabouts) -> Finding {
    match (belief, found) {
        (Belief::Unknown, Whereabouts::Nowhere) => Finding::Forgotten,
        (Belief::Unknown, Whereabouts::Queue | Whereabouts::OtherQueue) => Finding::TakeIn,
        (Belief::Unknown, Whereabouts::Held) => Finding::Nothing,
        (Belief::Unknown, Whereabouts::Active) => Finding::Stranger,
        (Belief::Unknown, Whereabouts::Ended) => Finding::PutAway,
        (Belief::Waiting, Whereabouts::Queue) => Finding::TakeIn,
        (
            Belief::Waiting,
            Whereabouts::Nowhere
            | Whereabouts::OtherQueue
            | Whereabouts::Held
            | Whereabouts::Active
            | Whereabouts::Ended,
        ) => Finding::Withdrawn,
        (Belief::Running, Whereabouts::Active) => Finding::Nothing,
        (Belief::Running, Whereabouts::OtherQueue) => Finding::Moved(MovedTo::Pending),
        (Belief::Running, Whereabouts::Ended) => Finding::Moved(MovedTo::Ended),
        // In the queue waits a newer job of the name. A job that is held is ended, and stays held.
        (Belief::Running, Whereabouts::Nowhere | Whereabouts::Queue | Whereabouts::Held) => {
            Finding::Moved(MovedTo::Gone)
        }
        // Its thread moves the file just now, and looks where it is when it has done so.
        (
            Belief::Starting | Belief::Ending,
            Whereabouts::Nowhere
            | Whereabouts::Queue
            | Whereabouts::OtherQueue
            | Whereabouts::Held
            | Whereabouts::Active
            | Whereabouts::Ended,
        ) => Finding::Nothing,
    }
}

/// So many looks at a job that moves after each of them; its last move is an event.
const ROUNDS: usize = 5;

/// Looks where the job's file is, and does what follows.
pub fn reconcile<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId) {
    for _ in 0..ROUNDS {
        let run = daemon.run(id);
        let (belief, queue) = daemon.ask(|s| s.believes(id));
        let at = match look(daemon, id, belief, queue.as_ref()) {
            Ok(at) => at,
            Err(e) => {
                log::error!("{id}: {e}");
                return daemon.agenda.rescan_soon(daemon.now().boot);
            }
        };
        match finding(belief, found(at.as_ref(), queue.as_ref())) {
            Finding::Withdrawn => {
                let queue = queue.unwrap_or_default();
                withdraw(daemon, id, &queue);
                continue;
            }
            Finding::Nothing => {}
            Finding::TakeIn => {
                if let Some(at) = at {
                    let (now, name) = (daemon.now().boot, id.as_str().as_bytes());
                    daemon.agenda.judge_later(now, &at.place(), name);
                }
            }
            Finding::Moved(to) => moved(daemon, run.as_ref(), to),
            Finding::Stranger => expel(daemon, id),
            Finding::PutAway => {
                daemon.chores.add(Chore::ByHand(id.clone()));
                tell_children(daemon, id, at == Some(Where::Complete));
            }
            Finding::Forgotten => daemon.chores.add(Chore::ByHand(id.clone())),
        }
        return;
    }
}

/// Looks first where the scheduler believes the file to be. Older runs of a job that runs were archived before it began,
/// so that an end under its name is its own; a file in a queue may be a newer job.
fn look<M: Machine>(
    daemon: &Daemon<M>,
    id: &JobId,
    belief: Belief,
    queue: Option<&QueueName>,
) -> io::Result<Option<Where>> {
    let spool = &daemon.spool;
    match belief {
        Belief::Waiting => {
            if let Some(queue) = queue
                && is_in_queue(daemon, id, queue)?
            {
                return Ok(Some(Where::Pending(queue.clone())));
            }
        }
        Belief::Running => {
            if daemon.spool.is_active(id) {
                return Ok(Some(Where::Active));
            }
            if let Some(ended) = spool.find_ended(id)? {
                return Ok(Some(ended));
            }
        }
        Belief::Unknown => {
            // A directory of the name is in the way as well.
            if spool.is_active(id) {
                return Ok(Some(Where::Active));
            }
        }
        // It does not matter.
        Belief::Starting | Belief::Ending => return Ok(None),
    }
    spool.find(id)
}

fn found(at: Option<&Where>, queue: Option<&QueueName>) -> Whereabouts {
    match at {
        None => Whereabouts::Nowhere,
        Some(Where::Pending(at)) if Some(at) == queue => Whereabouts::Queue,
        Some(Where::Pending(_)) => Whereabouts::OtherQueue,
        Some(Where::Held) => Whereabouts::Held,
        Some(Where::Active) => Whereabouts::Active,
        Some(Where::Complete | Where::Failed) => Whereabouts::Ended,
    }
}

/// True when a file of this name is in the queue's directory.
pub fn is_in_queue<M: Machine>(
    daemon: &Daemon<M>,
    id: &JobId,
    queue: &QueueName,
) -> io::Result<bool> {
    let place = Place::of_queue(queue);
    match daemon.spool.look(&place, id.as_str().as_bytes()) {
        Ok(look) => Ok(look.is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file left a queue: if it was the file that is believed to wait there, it does so no more.
pub fn left_queue<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId, queue: &QueueName) {
    match is_in_queue(daemon, id, queue) {
        Ok(true) => {}
        Ok(false) => withdraw(daemon, id, queue),
        Err(e) => log::error!("{id}: {e}"),
    }
}

/// The file that waited in this queue is not there any more. If it was claimed since, nothing happens.
fn withdraw<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId, queue: &QueueName) {
    let event = Event::Withdrawn {
        id: id.clone(),
        queue: queue.clone(),
    };
    let waits = |believed: (Belief, Option<QueueName>)| believed.1.as_ref() == Some(queue);
    if daemon.step_if(|s| waits(s.believes(id)), event) {
        log::debug!("{id}: left queue {queue}");
        daemon.chores.add(Chore::ByHand(id.clone()));
    }
}

fn moved<M: Machine>(daemon: &Arc<Daemon<M>>, run: Option<&Arc<Run>>, to: MovedTo) {
    let Some(run) = run else { return };
    let id = &run.id;
    // It may have ended meanwhile, its end been recorded, and its next try been started.
    if daemon.step_if_runs(run, Event::ActiveMoved { id: id.clone(), to }) {
        log::info!("{id}: its file was taken out of active/: ending it");
    }
}

/// Puts a file that somebody put into `active/` where jobs are started from.
fn expel<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId) {
    // It may run under somebody else.
    if !daemon.is_ours() {
        return;
    }
    let look = daemon.spool.look(&Place::Active, id.as_str().as_bytes());
    if let Ok(Some(look)) = look
        && look.kind != FileType::File
    {
        let (name, why) = (id.as_str().as_bytes(), "it is not a file");
        return quarantine_judged(daemon, &Place::Active, name, why, stamp(&look));
    }
    // All steps wait for this rename. If it followed the question, a job of this name could be started in between, and
    // its file be taken away here. While the question holds, no job thread is about to move a file of this name.
    let put_back =
        |s: &Scheduler| (!s.is_live(id)).then(|| daemon.spool.unclaim(id, &QueueName::default()));
    match daemon.ask(put_back) {
        Some(Ok(())) => {
            log::warn!(
                "{id}: was put into active/ by hand; moved to pending/, where jobs are started"
            );
        }
        Some(Err(e)) => log::error!("{id}: {e}"),
        // It is the file of a job that was started since.
        None => {}
    }
}

/// Tells the jobs that come after this one, which was put into `complete/` or `failed/`.
pub fn tell_children<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId, complete: bool) {
    let event = Event::ParentMoved {
        id: id.clone(),
        complete,
    };
    daemon.step_if(|s| s.has_children(id), event);
}

/// Moves a waiting file that the scheduler does not take to `bad/`.
pub fn quarantine_waiting<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    queue: &QueueName,
    why: QuarantineReason,
) {
    match why {
        QuarantineReason::Ring { stamp, why } => {
            let place = Place::of_queue(queue);
            quarantine_judged(daemon, &place, id.as_str().as_bytes(), &why, stamp);
        }
        QuarantineReason::Newer(newer) => supersede(daemon, id, queue, &newer),
    }
}

/// Of two waiting files of one name the older one goes to `bad/`, if they are two: the job or its directory may
/// have been moved from the one queue to the other, and back.
fn supersede<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    older: &QueueName,
    newer: &QueueName,
) {
    let (place, name) = (Place::of_queue(older), id.as_str().as_bytes());
    let look = |queue| daemon.spool.look_afresh(queue, name);
    match (look(older), look(newer)) {
        (Ok(Some(old)), Ok(Some(new))) if old.inode != new.inode => {
            let why = format!("a newer job of the same name was put into the queue {newer}");
            quarantine_judged(daemon, &place, name, &why, stamp(&old));
        }
        (Ok(Some(_)), Ok(None)) => {
            let now = daemon.now().boot;
            daemon.agenda.judge_later(now, &place, name);
        }
        // Where it is, it is known, or an event will tell of it.
        (Ok(_), Ok(_)) => {}
        (Err(e), _) | (_, Err(e)) => {
            log::error!("{id}: {e}");
            daemon.agenda.rescan_soon(daemon.now().boot);
        }
    }
}

/// Moves something that is no job to `bad/`, whatever it is.
pub fn quarantine<M: Machine>(daemon: &Daemon<M>, place: &Place, name: &[u8], reason: &str) {
    let moved = daemon.spool.quarantine(place, name, reason);
    quarantined(daemon, name, reason, moved);
}

/// As [`quarantine`], for the file that was judged.
pub fn quarantine_judged<M: Machine>(
    daemon: &Daemon<M>,
    place: &Place,
    name: &[u8],
    reason: &str,
    judged: Stamp,
) {
    if matches!(place, Place::Queue(_)) && !daemon.spool.is_in_place(place) {
        // The file is judged again where it is now: it may be a job there. The watcher sees to the directory first.
        let now = daemon.now().boot;
        return daemon.agenda.judge_later(now, place, name);
    }
    let moved = daemon.spool.quarantine_judged(place, name, reason, judged);
    quarantined(daemon, name, reason, moved);
}

fn quarantined<M: Machine>(
    daemon: &Daemon<M>,
    name: &[u8],
    reason: &str,
    moved: io::Result<Option<String>>,
) {
    let shown = String::from_utf8_lossy(name).into_owned();
    match moved {
        Ok(Some(target)) => log::warn!("{shown:?} is no job, moved to bad/{target}: {reason}"),
        // It is gone, or its return is an event.
        Ok(None) => {}
        Err(e) => {
            log::error!("{shown:?} is no job ({reason}), but cannot be moved to bad/: {e}");
            daemon.agenda.rescan_soon(daemon.now().boot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of pirn-spool(5), row by row: nowhere, its queue, another queue, held, active, ended.
    #[test]
    fn every_cell_is_as_the_manual_says() {
        use Finding::{Forgotten, Moved, Nothing, PutAway, Stranger, TakeIn, Withdrawn};
        const PLACES: [Whereabouts; 6] = [
            Whereabouts::Nowhere,
            Whereabouts::Queue,
            Whereabouts::OtherQueue,
            Whereabouts::Held,
            Whereabouts::Active,
            Whereabouts::Ended,
        ];
        let gone = Moved(MovedTo::Gone);
        let rows = [
            (
                Belief::Unknown,
                [Forgotten, TakeIn, TakeIn, Nothing, Stranger, PutAway],
            ),
            (
                Belief::Waiting,
                [
                    Withdrawn, TakeIn, Withdrawn, Withdrawn, Withdrawn, Withdrawn,
                ],
            ),
            (Belief::Starting, [Nothing; 6]),
            (
                Belief::Running,
                [
                    gone,
                    gone,
                    Moved(MovedTo::Pending),
                    gone,
                    Nothing,
                    Moved(MovedTo::Ended),
                ],
            ),
            (Belief::Ending, [Nothing; 6]),
        ];
        for (belief, row) in rows {
            assert_eq!(
                PLACES.map(|found| finding(belief, found)),
                row,
                "{belief:?}"
            );
        }
    }
}
