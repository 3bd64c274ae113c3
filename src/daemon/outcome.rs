//! What came of a try: from its end, its log and its scratch directory to its record.

use super::calls;
use super::committer::{report, while_short};
use super::launch;
use super::shared::{Book, Run, Shared};
use crate::core::policy::TryEnd;
use crate::core::record::{Reason, Record, Scratch, Try};
use crate::core::time::Now;
use crate::os::dir;
use crate::spool::{self, Fs, Place};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Names of logs that were empty when they were looked at. Not kept open: descriptors may be what is short.
pub type Silent = Vec<String>;

/// What a try leaves behind for others to see to.
#[derive(Debug)]
pub struct Traces {
    /// To be removed when the record is safe.
    pub silent: Silent,
    /// How long to wait with the next try, if it said so.
    pub retry_after: Option<Duration>,
}

/// Output kept in the record: the end of the log.
const OUTPUT_BYTES: u64 = 4096;

/// Most of a `$PIRN_OUT` that is kept in the record.
const RESULT_BYTES: u64 = 256 * 1024;

/// Writes into the record all there is to say about a try, and removes what the try leaves behind.
pub fn fill_in(
    shared: &Shared,
    run: &Run,
    book: &Book,
    record: &mut Record,
    end: TryEnd,
    ended: Now,
) -> Traces {
    let outcome = end.outcome();
    record.forget_try();
    record.started_at = run.started;
    record.finished_at = Some(ended.wall);
    record.reason = Some(outcome.reason);
    let interrupted = u32::from(end.is_interruption());
    record.interruptions = record.interruptions.saturating_add(interrupted);
    record.exit_code = outcome
        .exit_code
        .or(book.error.as_ref().map(|(_, code)| *code));
    record.signal = outcome.signal;
    let error = book.error.as_ref().map(|(error, _)| error);
    record.error = error.or(book.stuck.as_ref()).cloned();
    record.duration = run
        .began
        .map(|began| (ended.boot.since(began).as_secs_f64() * 1e6).round() / 1e6);
    record.cpu = book.usage.map(|usage| usage.cpu);
    record.max_rss = book.usage.map(|usage| usage.max_rss);
    let taken = while_short(shared, &run.id, || take_log(shared, run, record));
    let silent = taken.unwrap_or_else(|e| {
        log::warn!("{}: its log could not be read: {e}", run.id);
        Silent::new()
    });
    take_scratch(shared, run, record);
    let retry_after = calls::take_report(record);
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
    Traces {
        silent,
        retry_after,
    }
}

/// Puts the end of the log into the record. Gives the logs that say nothing.
fn take_log(shared: &Shared, run: &Run, record: &mut Record) -> io::Result<Silent> {
    let fs = shared.spool.fs();
    let mut silent = Silent::new();
    for (name, is_main) in [
        (run.id.as_str().to_owned(), true),
        (spool::stderr_log(&run.id), false),
    ] {
        if !is_main && !record.split {
            continue;
        }
        let file = match fs.with(&Place::Log, |log| dir::open_read(log, name.as_bytes())) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let mut size = dir::look_at(&file)?.size;
        if record.reason == Some(Reason::LogLimit)
            && let Some(most) = run.terms.max_log
        {
            fs.with(&Place::Log, |log| {
                dir::open_append(log, name.as_bytes())?.set_len(size.min(run.log_offset + most))
            })?;
            size = size.min(run.log_offset + most);
        }
        if is_main {
            record.log_bytes = Some(size);
            // A job may truncate its log: then the offset means nothing.
            let begin = if run.log_offset <= size {
                run.log_offset
            } else {
                0
            };
            let from = size.saturating_sub(OUTPUT_BYTES).max(begin);
            let mut tail = vec![0; usize::try_from(size - from).unwrap_or(0)];
            let n = file.read_at(&mut tail, from)?;
            tail.truncate(n);
            record.output = (n > 0).then(|| String::from_utf8_lossy(&tail).into_owned());
        }
        if size == 0 {
            silent.push(name);
        }
    }
    Ok(silent)
}

/// Takes the result out of the scratch directory and removes that, unless it is to be kept.
fn take_scratch(shared: &Shared, run: &Run, record: &mut Record) {
    let id = run.id.as_str().as_bytes();
    let fs = shared.spool.fs();
    if record.wants_scratch() {
        let read = while_short(shared, &run.id, || {
            fs.with(&Place::Tmp, |tmp| {
                let out = record.work.out_name();
                let file = dir::open_read(dir::open_dir(tmp, id)?, out.as_bytes())?;
                dir::read_up_to(&file, 0, RESULT_BYTES)
            })
        });
        record.result = read
            .ok()
            .filter(|bytes| !bytes.is_empty())
            .map(|b| String::from_utf8_lossy(&b).into_owned());
        if !matches!(record.tmp, Scratch::Keep | Scratch::Answer) {
            let removed = while_short(shared, &run.id, || fs.remove_tree(&Place::Tmp, id));
            report(&run.id, removed);
        }
    }
    if launch::runs_from_copy(&record.work) {
        report(
            &run.id,
            fs.unlink(&Place::Tmp, spool::script_copy(&run.id).as_bytes())
                .map(drop),
        );
    }
}
