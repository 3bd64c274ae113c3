//! The logs of jobs with a `max_log`: they are watched, and a job whose log is too long is ended.

use super::run::Run;
use super::state::Daemon;
use crate::core::id::JobId;
use crate::core::scheduler::Event;
use std::sync::Arc;

/// Watches the log of a job that has a limit.
pub fn watch(daemon: &Arc<Daemon>, run: &Run) {
    if run.terms.max_log.is_none() {
        return;
    }
    match daemon.machine.watches.watch_log(&daemon.spool, &run.id) {
        Ok(()) => grew(daemon, &run.id),
        Err(e) => log::warn!("{}: its log cannot be watched: {e}", run.id),
    }
}

/// The job has ended.
pub fn unwatch(daemon: &Daemon, run: &Run) {
    if run.terms.max_log.is_some() {
        daemon.machine.watches.unwatch_log(&run.id);
    }
}

/// The log of a job may be longer than its limit.
pub fn grew(daemon: &Arc<Daemon>, id: &JobId) {
    let Some(run) = daemon.run(id) else {
        return;
    };
    let written = daemon.spool.log_size(id).saturating_sub(run.log_offset);
    if run.terms.max_log.is_some_and(|most| written > most) {
        daemon.step_if_runs(&run, Event::LogFull { id: id.clone() });
    }
}
