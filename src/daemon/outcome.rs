//! The outcome of a try: from its end, its log and its scratch directory to its record.

use super::calls;
use super::insist::{report, while_short};
use super::run::Run;
use super::start::runs_from_copy;
use super::state::{Daemon, Machine};
use crate::core::policy::TryEnd;
use crate::core::record::{Record, Scratch, Try};
use crate::os::cgroup::Cgroup;
use crate::spool::SilentLogs;
use std::sync::Arc;
use std::time::Duration;

/// The parts of an outcome that are not in the record.
#[derive(Debug)]
pub struct Traces {
    /// To be removed when the record is safe.
    pub silent: SilentLogs,
    /// How long to wait with the next try, if it said so.
    pub retry_after: Option<Duration>,
}

/// Makes the record with the end of this try, and removes what the try leaves behind.
pub fn fill_in<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Run, end: TryEnd) -> (Record, Traces) {
    let facts = run.facts();
    let ended = facts.ended.unwrap_or_else(|| daemon.now());
    let mut record = facts.record.clone();
    let outcome = end.outcome();
    record.forget_try();
    record.sandboxed.clone_from(&facts.record.sandboxed);
    record.oom = was_out_of_memory(run, &record);
    record.units.clone_from(&facts.record.units);
    record.started_at = run.started;
    record.warned_at = facts.record.warned_at;
    record.finished_at = Some(ended.wall);
    record.reason = Some(outcome.reason);
    let interrupted = u32::from(end.is_interruption());
    record.interruptions = record.interruptions.saturating_add(interrupted);
    record.exit_code = outcome
        .exit_code
        .or(facts.error.as_ref().map(|(_, code)| *code));
    record.signal = outcome.signal;
    let error = facts.error.as_ref().map(|(error, _)| error);
    record.error = error.or(facts.stuck.as_ref()).cloned();
    record.duration = run
        .began
        .map(|began| (ended.boot.since(began).as_secs_f64() * 1e6).round() / 1e6);
    record.cpu = facts.usage.map(|usage| usage.cpu);
    record.max_rss = facts.usage.map(|usage| usage.max_rss);
    let was_started = facts.error.is_none();
    drop(facts);
    let taken = while_short(daemon, &run.id, || {
        let most = run.terms.max_log;
        let (id, spool) = (&run.id, &daemon.spool);
        spool.take_log(id, run.log_offset, most, &mut record)
    });
    let silent = taken.unwrap_or_else(|e| {
        log::warn!("{}: its log could not be read: {e}", run.id);
        SilentLogs::new()
    });
    take_scratch(daemon, run, &mut record, was_started);
    let retry_after = calls::take_report(&mut record);
    record.attempts.push(Try {
        attempt: record.attempt,
        started_at: record.started_at,
        finished_at: ended.wall,
        exit_code: record.exit_code,
        signal: record.signal,
        reason: record.reason.unwrap_or(outcome.reason),
        error: record.error.clone(),
        duration: record.duration,
        log_offset: run.log_offset,
    });
    let traces = Traces {
        silent,
        retry_after,
    };
    (record, traces)
}

/// True if the kernel has killed a process of this try because all of them needed too much memory.
fn was_out_of_memory(run: &Run, record: &Record) -> bool {
    let sandboxed = record.sandboxed.as_ref();
    let has_limit = sandboxed.is_some_and(|held| held.groups.iter().any(|name| name == "memory"));
    has_limit && run.cgroup.as_ref().is_some_and(Cgroup::had_oom_kill)
}

/// Takes the result out of the scratch directory and removes that, unless it is to be kept. A job with a sandbox may
/// have the directory although its record does not ask for it, also if it was not started.
fn take_scratch<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    run: &Run,
    record: &mut Record,
    was_started: bool,
) {
    let (id, spool) = (&run.id, &daemon.spool);
    if record.wants_scratch() || record.sandboxed.is_some() || !was_started {
        let read = while_short(daemon, id, || spool.read_result(id, record));
        record.result = read.ok().flatten();
        if !matches!(record.tmp, Scratch::Keep | Scratch::Answer) {
            let removed = while_short(daemon, id, || spool.remove_scratch_directory(id));
            report(id, removed);
        }
    }
    if !record.wants_scratch() {
        report(id, spool.remove_progress(id));
    }
    if runs_from_copy(&record.work) {
        report(id, spool.remove_script_copy(id));
    }
}
