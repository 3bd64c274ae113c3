//! `pirn log -f` without a job: the output of all jobs that run, and of those that start meanwhile.

use super::exit::{CommandResult, Failure, OK};
use super::follow::{Moves, ShownLog};
use super::output;
use super::served;
use super::tail::all_but_last;
use crate::core::id::JobId;
use crate::core::record::State;
use crate::os::inotify::{FileChange, FileEvent, Interest, Watch};
use crate::spool::{Place, Spool, Where};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

/// The jobs whose output is shown, and the one whose output was shown last.
#[derive(Default)]
struct ShownJobs {
    logs: BTreeMap<JobId, [ShownLog; 2]>,
    last: Option<JobId>,
}

/// Shows output until nothing runs and nothing waits.
pub fn follow(spool: &Spool, lines: Option<usize>) -> CommandResult {
    let mut moves = Moves::of(spool, &[Place::Pending, Place::Held])?;
    spool.watch(&Place::Log, &moves.watcher, Interest::Everything)?;
    let active = spool.watch(&Place::Active, &moves.watcher, Interest::Moves)?;
    let mut shown = ShownJobs::default();
    // Of those that run already, so many lines are shown.
    for id in spool.ids_there(&Where::Active)? {
        if let Some(lines) = lines {
            let old = all_but_last(spool, &id, lines)?;
            shown.logs.insert(id.clone(), ShownLog::both(&id, old));
        }
    }
    let mut events: Vec<FileEvent> = Vec::new();
    let mut has_seen_any = false;
    served::tell_unserved(spool);
    loop {
        let queues = spool.places_of(State::Pending)?;
        let mut is_new = false;
        for at in &queues {
            is_new |= moves.watch_queue(spool, at)?;
        }
        // In this order no job is missed that starts meanwhile.
        let waits = any_in(spool, &queues)?;
        let running = spool.ids_there(&Where::Active)?;
        // Read after the listing and before ended jobs are forgotten: a later event would show such a job anew.
        let meanwhile = moves.read()?;
        is_new |= !meanwhile.is_empty();
        // A short job may have ended before the listing: only the event says that it ran.
        let all = events.drain(..).chain(meanwhile);
        let started = all.filter_map(|event| started(&event, active));
        for id in started.chain(running.iter().cloned()) {
            let logs = shown.logs.entry(id);
            logs.or_insert_with_key(|id| ShownLog::both(id, Default::default()));
        }
        has_seen_any |= waits || !shown.logs.is_empty();
        shown.show_new(spool, &moves)?;
        shown.forget_ended(spool, &running)?;
        if is_new {
            continue;
        }
        if running.is_empty() && !waits {
            if !has_seen_any {
                eprintln!("pirn: no job runs or waits");
            }
            return Ok(OK);
        }
        events = moves.wait()?;
    }
}

/// The job that came to `active/`, if this event says that one did.
fn started(event: &FileEvent, active: Watch) -> Option<JobId> {
    if event.watch != Some(active) || event.change != FileChange::Came {
        return None;
    }
    JobId::from_bytes(event.name.as_bytes()).ok()
}

/// True if a job is in one of these places.
fn any_in(spool: &Spool, places: &[Where]) -> Result<bool, Failure> {
    for at in places {
        if spool.has_any(at)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl ShownJobs {
    fn show_new(&mut self, spool: &Spool, moves: &Moves) -> Result<(), Failure> {
        for (id, logs) in &mut self.logs {
            for log in logs {
                if log.has_news(spool, &moves.watcher)? && self.last.as_ref() != Some(id) {
                    output::line(format!("==> {id} <=="))?;
                    self.last = Some(id.clone());
                }
                log.show_new()?;
            }
        }
        Ok(())
    }

    /// Forgets the jobs that run no more, but for those that wait for their next try.
    fn forget_ended(&mut self, spool: &Spool, running: &[JobId]) -> Result<(), Failure> {
        let gone = self.logs.keys().filter(|id| !running.contains(id));
        for id in gone.cloned().collect::<Vec<_>>() {
            match spool.find(&id)? {
                Some(Where::Pending(_) | Where::Held | Where::Active) => {}
                Some(Where::Complete | Where::Failed) | None => {
                    self.logs.remove(&id);
                }
            }
        }
        Ok(())
    }
}
