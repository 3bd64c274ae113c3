//! Writing down how tries ended: several at a time, so that they share their syncs.

use super::committer;
use super::committer::{insist, report};
use super::engine::Letter;
use super::outcome::fill_in;
use super::pool::Pool;
use super::shared::{Book, Run, Shared};
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{StopReason, TryEnd, Verdict};
use crate::core::record::{Reason, Record};
use crate::core::scheduler::{CommittedTo, Event};
use crate::core::time::Wall;
use crate::core::units::brief_span;
use crate::os::clock;
use crate::spool::{Place, Placed, SilentLogs, Target, Where};
use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// The end of a try.
#[derive(Debug)]
pub struct End {
    /// Which job.
    pub id: JobId,
    /// How it ended.
    pub end: TryEnd,
    /// What follows.
    pub verdict: Verdict,
    /// The backoff before a retry.
    pub wait: Option<Duration>,
}

/// What is to be written about an end.
#[derive(Debug)]
struct Draft {
    /// With the end of this try as that of the job.
    record: Record,
    /// Ready for the next try, if there is to be one.
    again: Option<Record>,
    target: Target,
    /// The line for our own log.
    line: String,
    silent: SilentLogs,
    ended: Wall,
}

impl Draft {
    /// What is written first.
    fn written(&self) -> &Record {
        self.again.as_ref().unwrap_or(&self.record)
    }
}

/// What could not be written at once: the disk is full, or fails.
#[derive(Debug)]
pub struct Unwritten {
    run: Arc<Run>,
    draft: Draft,
    why: io::Error,
}

/// Threads that sync at the same time share commits of the journal. Measured with no-op jobs on ext4, at 2 and at 16 slots:
/// 16 threads end as many jobs a second as two that sync batches of 32, one file after the other; 48 end a third more.
const SYNCERS: usize = 48;

/// Without syncs more threads only wait for each other: 48 run a third fewer jobs a second than two.
const WRITERS: usize = 2;

/// The threads that write ends. What cannot be written at once goes to `others`, so that it holds up none but itself.
pub fn pool(shared: &Arc<Shared>, others: &Arc<Pool<committer::Task>>) -> Pool<End> {
    let (shared, others) = (Arc::clone(shared), Arc::clone(others));
    let threads = match shared.spool.is_durable() {
        true => SYNCERS,
        false => WRITERS,
    };
    Pool::batched("record", threads, 1, move |ends| {
        write_down(&shared, ends, |unwritten| {
            others.submit(committer::Task::Finish(Box::new(unwritten)));
        });
    })
}

fn write_down(shared: &Shared, ends: Vec<End>, give_up: impl Fn(Unwritten)) {
    let runs: Vec<(Arc<Run>, End)> = ends
        .into_iter()
        .filter_map(|end| Some((shared.run(&end.id)?, end)))
        .collect();
    let mut letters = Vec::with_capacity(runs.len());
    let mut drafts: Vec<(&Arc<Run>, MutexGuard<'_, Book>, Draft)> = Vec::new();
    for (run, end) in &runs {
        let book = run.book();
        match draft(shared, run, &book, end) {
            Some(draft) => drafts.push((run, book, draft)),
            None => letters.push(over(run, CommittedTo::Gone)),
        }
    }
    for (run, _book, draft) in drafts {
        let tell = |inode| announce(shared, run, &draft, inode);
        let (id, record) = (&run.id, draft.written());
        match shared.spool.finish(id, record, &draft.target, tell) {
            Ok(placed) => letters.push(over(run, settle(shared, run, draft, placed))),
            Err(why) => {
                let run = Arc::clone(run);
                give_up(Unwritten { run, draft, why });
            }
        }
    }
    shared.mail.send_expected(letters);
}

/// Writes an end, however long that takes.
pub fn insist_on(shared: &Shared, unwritten: Unwritten) {
    let Unwritten { run, draft, why } = unwritten;
    // The lock keeps the note away.
    let _book = run.book();
    let mut first = Some(why);
    let placed = insist(shared, &run.id, "recording its end", || {
        if let Some(why) = first.take() {
            return Err(why);
        }
        let tell = |inode| announce(shared, &run, &draft, inode);
        shared
            .spool
            .finish(&run.id, draft.written(), &draft.target, tell)
    });
    let place = settle(shared, &run, draft, placed);
    shared.mail.send_expected([over(&run, place)]);
}

/// What the engine is told when an end is written down.
fn over(run: &Run, place: CommittedTo) -> Letter {
    if let Some(group) = &run.cgroup {
        group.remove();
    }
    let id = run.id.clone();
    Letter::Event(Event::Committed { id, place })
}

/// What is to be written; `None` for a job whose file a user has taken away.
fn draft(shared: &Shared, run: &Run, book: &Book, ended: &End) -> Option<Draft> {
    let (id, end, wait) = (&run.id, ended.end, ended.wait);
    let target = match ended.verdict {
        Verdict::Forget => {
            // Its scratch goes even if another job has its name by now: that one has not begun.
            report(id, shared.spool.remove_scratch(id));
            report(id, shared.spool.remove_belongings(id));
            match shared.spool.find(id) {
                Ok(Some(Where::Held)) => log::info!("{id}: killed and held by hand"),
                Ok(_) | Err(_) => log::info!("{id}: killed and forgotten: its file was removed"),
            }
            return None;
        }
        Verdict::Requeue if is_requeued(end) => {
            report(id, shared.spool.remove_scratch(id));
            log::info!("{id}: killed and queued again by hand");
            return None;
        }
        Verdict::Complete => Target::Complete,
        Verdict::Failed => Target::Failed,
        Verdict::Retry | Verdict::Requeue => Target::Pending(run.queue.clone()),
    };
    let when = book.ended.unwrap_or_else(clock::now);
    let mut record = book.record.clone();
    let traces = fill_in(shared, run, book, &mut record, end, when);
    if end.is_interruption() && ended.verdict == Verdict::Failed && record.interruptions > 1 {
        let (times, most) = (record.interruptions, run.terms.retry.max_interruptions);
        let what =
            format!("daemon or machine went away {times} times; max_interruptions is {most}");
        record.error = Some(what);
    }
    let longest = run.terms.backoff.rule().max;
    // A server that was called may know better when it can be called again.
    let wait = wait.map(|wait| wait.max(traces.retry_after.unwrap_or_default().min(longest)));
    shared.tally.tried(&run.queue, &record);
    let line = tell(&record, run, ended.verdict, wait);
    let again = matches!(target, Target::Pending(_)).then(|| {
        let mut again = record.clone();
        again.forget_try();
        again.retry_at = wait.map(|wait| clock::wall().after(wait));
        again
    });
    record.forget_input();
    Some(Draft {
        record,
        again,
        target,
        line,
        silent: traces.silent,
        ended: when.wall,
    })
}

fn is_requeued(end: TryEnd) -> bool {
    let why = StopReason::Requeued;
    matches!(end, TryEnd::Stopped { why: stopped, .. } if stopped == why)
}

/// The record is safe, and about to be shown.
fn announce(shared: &Shared, run: &Run, draft: &Draft, inode: u64) {
    if matches!(draft.target, Target::Pending(_)) {
        run.put_back(inode);
    }
    for log in &draft.silent {
        report(&run.id, shared.spool.remove_silent(log));
    }
}

/// Tells people, and the scheduler where the job is now.
fn settle(shared: &Shared, run: &Run, draft: Draft, placed: Placed) -> CommittedTo {
    let id = &run.id;
    log::info!("{}", draft.line);
    match draft.target {
        Target::Complete => shared.tally.completed(&run.queue, draft.ended),
        Target::Failed => shared.tally.failed(&run.queue),
        Target::Pending(_) => {}
    }
    match (&draft.target, placed) {
        (Target::Complete, Placed::There) => CommittedTo::Complete,
        (Target::Failed, Placed::There) => CommittedTo::Failed,
        (Target::Pending(queue), Placed::There) => {
            let longest = run.terms.backoff.rule().max;
            again(shared, id, queue, draft.written(), longest)
        }
        (Target::Pending(_), Placed::Superseded) => {
            let why = "something else has its name in pending/ by now";
            not_again(shared, id, draft.record, why)
        }
        (Target::Pending(_), Placed::UserMoved) => {
            not_again(shared, id, draft.record, "its file was moved by hand")
        }
        (Target::Complete | Target::Failed, Placed::UserMoved | Placed::Superseded) => {
            where_it_ended(shared, id)
        }
    }
}

/// The try that was to be followed by another was the last one.
fn not_again(shared: &Shared, id: &JobId, mut record: Record, why: &str) -> CommittedTo {
    record.error = Some(format!("not tried again: {why}"));
    let placed = insist(shared, id, "recording its end", || {
        shared.spool.finish(id, &record, &Target::Failed, |_| {})
    });
    match placed {
        Placed::There => CommittedTo::Failed,
        Placed::UserMoved | Placed::Superseded => where_it_ended(shared, id),
    }
}

/// Where a user has put a job that is over.
fn where_it_ended(shared: &Shared, id: &JobId) -> CommittedTo {
    match shared.spool.find_ended(id) {
        Ok(Some(Where::Complete)) => CommittedTo::Complete,
        Ok(Some(Where::Failed)) => CommittedTo::Failed,
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active) | None) | Err(_) => {
            CommittedTo::Gone
        }
    }
}

/// The ticket of a job that waits for its next try.
fn again(
    shared: &Shared,
    id: &JobId,
    queue: &QueueName,
    record: &Record,
    longest: Duration,
) -> CommittedTo {
    match shared
        .spool
        .look(&Place::of_queue(queue), id.as_str().as_bytes())
    {
        Ok(Some(look)) => CommittedTo::Pending(Box::new(shared.spool.ticket(
            id,
            queue,
            record,
            &look,
            clock::now(),
            longest,
        ))),
        Ok(None) | Err(_) => CommittedTo::Gone,
    }
}

/// One line for each try that ended.
fn tell(record: &Record, run: &Run, verdict: Verdict, wait: Option<Duration>) -> String {
    let took = record.duration.map_or_else(String::new, |s| {
        format!(" after {}", brief_span(Duration::from_secs_f64(s)))
    });
    let how = match (
        record.reason,
        record.exit_code,
        record.signal,
        &record.error,
    ) {
        (Some(Reason::Exited), _, _, Some(error)) => error.clone(),
        (Some(Reason::Exited), Some(code), _, None) => format!("exit {code}"),
        (Some(Reason::Signaled), _, Some(signal), _) => format!("signal {signal}"),
        (Some(reason), _, _, Some(error)) => format!("{reason}: {error}"),
        (Some(reason), _, _, None) => reason.to_string(),
        (None, _, _, _) => String::new(),
    };
    let (id, attempt) = (&run.id, record.attempt);
    // One more try for each that was interrupted.
    let tries = run.terms.retry.tries.saturating_add(record.interruptions);
    match verdict {
        Verdict::Complete => format!("{id}: complete{took}"),
        Verdict::Failed | Verdict::Forget => {
            format!("{id}: failed{took}: {how} (try {attempt} of {tries})")
        }
        Verdict::Retry | Verdict::Requeue => {
            let when = wait.map_or_else(
                || "at once".to_owned(),
                |wait| format!("in {}", brief_span(wait)),
            );
            format!("{id}: try {attempt} of {tries} ended{took}: {how}; again {when}")
        }
    }
}
