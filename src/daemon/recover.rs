//! Tries that an earlier daemon left in `active/`: some were interrupted, some still run.

use super::insist::report;
use super::leader::is_ours;
use super::reconcile::quarantine;
use super::run::{Facts, Run};
use super::state::{Daemon, Machine};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::process::Proc;
use crate::core::record::{Record, Work};
use crate::core::scheduler::{Event, MovedTo};
use crate::core::time::{Boot, Wall};
use crate::os::dir;
use crate::os::fault::Fault;
use crate::os::ownership::Ownership;
use crate::os::procfs::Stat;
use crate::spool::{Left, Place, Where};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Goes through `active/`: moves on what carries its end, adopts what lives, and reports the rest as interrupted. Also
/// clears `tmp/` of staging files that nobody can be writing any more.
pub fn recover<M: Machine>(daemon: &Arc<Daemon<M>>) -> io::Result<()> {
    daemon.spool.clear_staging(daemon.now().wall)?;
    daemon.spool.reunite_all()?;
    let mut ids = daemon.spool.ids(&Where::Active)?;
    if let Some(single) = &daemon.options.single {
        ids.retain(|id| id == single);
    }
    for id in ids {
        match daemon.spool.left(&id)? {
            Left::Ended(record) => move_on(daemon, &id, &record),
            Left::Between(record) => {
                // A power cut may have undone that it was removed.
                report(&id, daemon.spool.remove_progress(&id));
                daemon.spool.put_back(&id, *record)?;
            }
            Left::Begun(record) => take_over(daemon, &id, *record, None)?,
            Left::Bad(why) => quarantine(daemon, &Place::Active, id.as_str().as_bytes(), &why),
        }
    }
    Ok(())
}

/// The daemon was killed between writing the end and showing it.
fn move_on<M: Machine>(daemon: &Daemon<M>, id: &JobId, record: &Record) {
    match daemon.spool.move_on(id, record) {
        Ok(_) => log::info!("{id}: had ended under an earlier daemon"),
        Err(e) => log::error!("{id}: {e}"),
    }
}

/// Sees to a try that an earlier daemon began, and whose file was taken out of `active/` if `moved` says so.
fn take_over<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    record: Record,
    moved: Option<MovedTo>,
) -> io::Result<()> {
    let leader = M::leader_of(daemon, id, &record).filter(|_| !Fault::NoAdoption.is_on());
    let (run, adopted) = adopted(daemon, id, record, leader);
    // Before the scheduler knows of it: descriptors may be short.
    let leader = match leader {
        Some(stat) => M::open(&run, stat)?,
        None => {
            let attempt = run.facts().record.attempt;
            log::info!("{id}: try {attempt} was interrupted");
            None
        }
    };
    // Several threads may have found it.
    if !daemon.enter_adopted(&run, adopted) {
        return Ok(());
    }
    if let Some(to) = moved {
        daemon.step(Event::ActiveMoved { id: id.clone(), to });
    }
    if leader.is_some() {
        M::watch_log(daemon, &run);
    }
    M::adopt(daemon, &run, leader);
    Ok(())
}

/// The run of such a try, and the event of its adoption.
fn adopted<M: Machine>(
    daemon: &Daemon<M>,
    id: &JobId,
    record: Record,
    leader: Option<Stat>,
) -> (Arc<Run>, Event) {
    let queue = record.queue.clone().unwrap_or_default();
    let mut terms = daemon.config().terms(&queue, &record);
    terms.warn.take_if(|_| record.warned_at.is_some());
    let now = daemon.now();
    // The time of a leader that has ended by itself is not up.
    let alive = leader.filter(Stat::is_alive);
    let ran = alive.map_or(Duration::ZERO, |stat| now.boot.since(began(stat.start)));
    let (look, longest) = (unseen(&record), terms.backoff.rule().max);
    let ticket = daemon
        .spool
        .ticket(id, &queue, &record, &look, now, longest);
    let event = Event::Adopted {
        ticket: Box::new(ticket),
        attempt: record.attempt,
        terms: Box::new(terms.clone()),
        ran,
        units: record.units.clone(),
    };
    let started = leader.map(|_| Wall(now.wall.0 - nanos(ran)));
    let run = Run {
        started: record.started_at.or(started),
        ..make_run(daemon, id, &queue, record, terms, leader)
    };
    (Arc::new(run), event)
}

fn make_run<M: Machine>(
    daemon: &Daemon<M>,
    id: &JobId,
    queue: &QueueName,
    mut record: Record,
    terms: Terms,
    leader: Option<Stat>,
) -> Run {
    let boot = &daemon.home.boot;
    if let Some(stat) = leader {
        record.proc = Some(Proc {
            pid: stat.pid,
            start: stat.start,
            boot: boot.clone(),
        });
    }
    // A leader that is dead still names the session of what it left behind.
    let noted = record.proc.clone().filter(|proc| proc.boot == *boot);
    // A try that has no note yet began where the last one did, or later.
    let last = record.attempts.last().map_or(0, |t| t.log_offset);
    let log_offset = record.log_offset.unwrap_or(last);
    let facts = Facts {
        noted: true,
        ..Facts::new(record)
    };
    Run {
        pid: noted.as_ref().map_or(0, |proc| proc.pid),
        adopted: leader.is_none_or(|stat| !is_ours(&stat)),
        began: noted.map(|proc| began(proc.start)),
        log_offset,
        cgroup: daemon.home.group_of_earlier(id),
        ..Run::new(id, queue, terms, facts)
    }
}

/// Processes hold the log of a job. If it runs, or has ended well and left them behind, that is as it should be; if its
/// file was taken out of `active/` while no daemon was there to see it, they are ended now.
pub fn found_held<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId) {
    if daemon.ask(|s| s.is_live(id)) {
        return;
    }
    let (mut record, to) = match daemon.spool.get(id) {
        Ok(Some(found)) => match found.at {
            Where::Complete | Where::Failed if !found.record.is_over() => {
                (found.record, MovedTo::Ended)
            }
            Where::Pending(_) if found.record.started_at.is_some() => {
                (found.record, MovedTo::Pending)
            }
            Where::Held if found.record.started_at.is_some() => (found.record, MovedTo::Gone),
            Where::Complete | Where::Failed | Where::Held | Where::Pending(_) | Where::Active => {
                return;
            }
        },
        Ok(None) => (Record::new(Work::Text(String::new())), MovedTo::Gone),
        Err(e) => return log::error!("{id}: {e}"),
    };
    log::info!("{id}: its file was taken out of active/ while no daemon ran: ending it");
    if record.started_at.is_none() {
        // It was started, and killed daemons leave no note: the try counts.
        record.attempt += 1;
    }
    if let Err(e) = take_over(daemon, id, record, Some(to)) {
        log::error!("{id}: {e}");
        // Its processes are to be ended all the same.
        daemon.agenda.rescan_soon(daemon.now().boot);
    }
}

/// When a process started, from its start in clock ticks since boot.
fn began(start: u64) -> Boot {
    let ticks_per_second = 100;
    Boot(start.saturating_mul(1_000_000_000 / ticks_per_second))
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// A file in `active/` is not looked up by its stamp.
fn unseen(record: &Record) -> dir::Look {
    let modified = record.created_at.map_or(0, |at| at.0);
    dir::Look {
        kind: dir::FileType::File,
        inode: 0,
        modified,
        size: 0,
        links: 1,
        ownership: Ownership {
            mode: 0,
            uid: 0,
            gid: 0,
        },
    }
}
