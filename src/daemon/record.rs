//! Writing down a run: its note, its end, and the ends of jobs that never ran.

use super::insist::{insist, report};
use super::outcome::fill_in;
use super::reconcile;
use super::run::{EndedTry, Facts, Run};
use super::start::Unrun;
use super::state::{Daemon, Machine, Rest};
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{StopReason, TryEnd, Verdict};
use crate::core::record::{Reason, Record};
use crate::core::scheduler::{CommittedTo, Event};
use crate::core::units::brief_span;
use crate::spool::{Ending, Place, Placed, SilentLogs, Target, Where};
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Writes the note of a running job.
pub fn note<M: Machine>(daemon: &Daemon<M>, run: &Run) {
    let mut facts = run.facts();
    if facts.ended.is_some() || run.pid == 0 {
        return;
    }
    if facts.record.proc.is_none() {
        facts.record.proc = M::identify(daemon, run.pid);
    }
    write_note(daemon, run, &mut facts);
    if facts.noted {
        drop(facts);
        daemon.tell_of_change();
    } else {
        // An upgrade asks for the note again, but not at once.
        daemon.agenda.rescan_soon(daemon.now().boot);
    }
}

/// Writes the note of a job whose end is not recorded yet.
pub fn write_note<M: Machine>(daemon: &Daemon<M>, run: &Run, facts: &mut Facts) {
    let mut record = facts.record.clone();
    record.forget_try();
    record.started_at = run.started;
    record.warned_at = facts.record.warned_at;
    record.pid = (run.pid != 0).then_some(run.pid);
    record.proc.clone_from(&facts.record.proc);
    record.sandboxed.clone_from(&facts.record.sandboxed);
    record.log_offset = Some(run.log_offset);
    record.units.clone_from(&facts.record.units);
    record.error.clone_from(&facts.stuck);
    let written = match facts.stuck {
        None => daemon.spool.note(&run.id, &record).map(drop),
        Some(_) => daemon.spool.note_anywhere(&run.id, &record),
    };
    match written {
        Ok(()) => facts.noted = true,
        Err(e) => log::warn!("{}: its note could not be written: {e}", run.id),
    }
}

/// Records the end of a try, however long that takes, moves the job's file and tells the scheduler.
pub fn end<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>, ended: EndedTry) -> Rest {
    match EndOfTry::new(daemon, run, ended) {
        Some(end) => end.insist(daemon, None),
        None => let_go(daemon, run, ended.verdict),
    }
}

/// Records the ends of several tries, which share their syncs. Gives back those that cannot be written now.
pub fn end_some<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    ended: &[(Arc<Run>, EndedTry)],
) -> (Vec<Rest>, Vec<Unwritten>) {
    let (mut rests, mut unwritten, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for (run, ended) in ended {
        match EndOfTry::new(daemon, run, *ended) {
            Some(end) => ends.push(end),
            None => rests.push(let_go(daemon, run, ended.verdict)),
        }
    }
    let endings: Vec<Ending<'_>> = ends.iter().map(EndOfTry::ending).collect();
    let placed = daemon
        .spool
        .finish_all(&endings, |n, inode| ends[n].announce(daemon, inode));
    for (end, placed) in ends.into_iter().zip(placed) {
        match placed {
            Ok(placed) => rests.push(end.settle(daemon, placed)),
            Err(why) => unwritten.push(Unwritten { end, why }),
        }
    }
    (rests, unwritten)
}

/// The end of a try that could not be written.
pub struct Unwritten {
    end: EndOfTry,
    why: io::Error,
}

impl Unwritten {
    /// Writes it, however long that takes, and tells the scheduler.
    pub fn insist<M: Machine>(self, daemon: &Arc<Daemon<M>>) -> Rest {
        self.end.insist(daemon, Some(self.why))
    }
}

/// Where the file of an ended try goes; `None` if a user has taken it away.
fn target(run: &Run, ended: EndedTry) -> Option<Target> {
    let requeued = StopReason::Requeued;
    match ended.verdict {
        Verdict::Forget => None,
        Verdict::Requeue if matches!(ended.end, TryEnd::Stopped { why, .. } if why == requeued) => {
            None
        }
        Verdict::Complete => Some(Target::Complete),
        Verdict::Failed => Some(Target::Failed),
        Verdict::Retry | Verdict::Requeue => Some(Target::Pending(run.queue.clone())),
    }
}

/// The job's file is where its user has put it; what the try left behind goes.
fn let_go<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>, verdict: Verdict) -> Rest {
    let id = &run.id;
    // Its scratch goes even if another job has its name by now: that one has not begun.
    report(id, daemon.spool.remove_scratch(id));
    if verdict == Verdict::Requeue {
        log::info!("{id}: killed and queued again by hand");
    } else {
        report(id, daemon.spool.remove_belongings(id));
        match daemon.spool.find(id) {
            Ok(Some(Where::Held)) => log::info!("{id}: killed and held by hand"),
            Ok(_) | Err(_) => log::info!("{id}: killed and forgotten: its file was removed"),
        }
    }
    recorded(daemon, run, CommittedTo::Gone)
}

/// The end of a try, ready to be written.
struct EndOfTry {
    run: Arc<Run>,
    /// With the end of this try as that of the job.
    record: Record,
    /// Ready for the next try, if there is to be one.
    again: Option<Record>,
    target: Target,
    /// The line for our own log.
    line: String,
    silent: SilentLogs,
    shown: Expected,
}

impl EndOfTry {
    /// `None` if a user has taken the job's file away.
    fn new<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>, ended: EndedTry) -> Option<Self> {
        let target = target(run, ended)?;
        let EndedTry { end, verdict, wait } = ended;
        let (mut record, traces) = fill_in(daemon, run, end);
        if end.is_interruption() && verdict == Verdict::Failed && record.interruptions > 1 {
            let (times, most) = (record.interruptions, run.terms.retry.max_interruptions);
            let what =
                format!("daemon or machine went away {times} times; max_interruptions is {most}");
            record.error = Some(what);
        }
        let longest = run.terms.backoff.rule().max;
        // A server that was called may know better when it can be called again.
        let wait = wait.map(|wait| wait.max(traces.retry_after.unwrap_or_default().min(longest)));
        daemon.tally.tried(&run.queue, &record);
        let line = line(&record, run, verdict, wait);
        let again = matches!(target, Target::Pending(_)).then(|| {
            let mut again = record.clone();
            again.forget_try();
            again.retry_at = wait.map(|wait| daemon.now().wall.after(wait));
            again
        });
        record.forget_input();
        Some(Self {
            run: Arc::clone(run),
            record,
            again,
            target,
            line,
            silent: traces.silent,
            shown: Expected::default(),
        })
    }

    /// The record to be written.
    fn ending(&self) -> Ending<'_> {
        Ending {
            id: &self.run.id,
            record: self.again.as_ref().unwrap_or(&self.record),
            target: &self.target,
        }
    }

    /// The record is on the disk, with this inode, and becomes visible now.
    fn announce<M: Machine>(&self, daemon: &Daemon<M>, inode: u64) {
        let id = &self.run.id;
        match self.target {
            Target::Pending(_) => self.run.puts_back(inode),
            Target::Complete | Target::Failed => self.shown.is_due(daemon, id),
        }
        for log in &self.silent {
            report(id, daemon.spool.remove_silent(log));
        }
    }

    /// Writes the record, however long that takes. `why`: the first attempt has failed.
    fn insist<M: Machine>(self, daemon: &Arc<Daemon<M>>, mut why: Option<io::Error>) -> Rest {
        let placed = insist(daemon, &self.run.id, "recording its end", || {
            if let Some(why) = why.take() {
                return Err(why);
            }
            let Ending { id, record, target } = self.ending();
            let announce = |inode| self.announce(daemon, inode);
            daemon.spool.finish(id, record, target, announce)
        });
        self.settle(daemon, placed)
    }

    /// The record is written, and the file is `placed`: tells the scheduler.
    fn settle<M: Machine>(self, daemon: &Arc<Daemon<M>>, placed: Placed) -> Rest {
        let run = Arc::clone(&self.run);
        let place = self.committed_to(daemon, placed);
        recorded(daemon, &run, place)
    }

    /// Says where the job is then.
    fn committed_to<M: Machine>(self, daemon: &Arc<Daemon<M>>, placed: Placed) -> CommittedTo {
        let (run, id) = (&self.run, &self.run.id);
        self.shown.has_come(daemon, id, placed);
        log::info!("{}", self.line);
        match self.target {
            Target::Complete => {
                let at = self.record.finished_at.unwrap_or_else(|| daemon.now().wall);
                daemon.tally.completed(&run.queue, at);
            }
            Target::Failed => daemon.tally.failed(&run.queue),
            Target::Pending(_) => {}
        }
        match (&self.target, placed) {
            (Target::Complete, Placed::There) => CommittedTo::Complete,
            (Target::Failed, Placed::There) => CommittedTo::Failed,
            (Target::Pending(queue), Placed::There) => {
                waiting_again(daemon, run, queue, self.ending().record)
            }
            (Target::Pending(_), Placed::Superseded) => {
                let why = "something else has its name in pending/ by now";
                not_again(daemon, id, self.record, why)
            }
            (Target::Pending(_), Placed::UserMoved) => {
                not_again(daemon, id, self.record, "its file was moved by hand")
            }
            (Target::Complete | Target::Failed, Placed::UserMoved | Placed::Superseded) => {
                where_it_ended(daemon, id)
            }
        }
    }
}

/// Whether the watcher was told to expect our own move of this job, which is repeated until it succeeds.
#[derive(Default)]
struct Expected(Cell<bool>);

impl Expected {
    fn is_due<M: Machine>(&self, daemon: &Daemon<M>, id: &JobId) {
        if !self.0.replace(true) {
            daemon.shows(id);
        }
    }

    /// The move was made, or was not.
    fn has_come<M: Machine>(&self, daemon: &Daemon<M>, id: &JobId, placed: Placed) {
        if self.0.get() && placed != Placed::There {
            daemon.take_shown(id);
        }
    }
}

/// The try that was to be followed by another was the last one.
fn not_again<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    mut record: Record,
    why: &str,
) -> CommittedTo {
    record.error = Some(format!("not tried again: {why}"));
    let placed = insist(daemon, id, "recording its end", || {
        daemon.spool.finish(id, &record, &Target::Failed, |_| {})
    });
    match placed {
        Placed::There => CommittedTo::Failed,
        Placed::UserMoved | Placed::Superseded => where_it_ended(daemon, id),
    }
}

/// Where a user has put a job that is over.
fn where_it_ended<M: Machine>(daemon: &Daemon<M>, id: &JobId) -> CommittedTo {
    match daemon.spool.find_ended(id) {
        Ok(Some(Where::Complete)) => CommittedTo::Complete,
        Ok(Some(Where::Failed)) => CommittedTo::Failed,
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active) | None) | Err(_) => {
            CommittedTo::Gone
        }
    }
}

/// The ticket of a job that waits for its next try.
fn waiting_again<M: Machine>(
    daemon: &Daemon<M>,
    run: &Run,
    queue: &QueueName,
    record: &Record,
) -> CommittedTo {
    let id = &run.id;
    let place = Place::of_queue(queue);
    match daemon.spool.look(&place, id.as_str().as_bytes()) {
        Ok(Some(look)) => {
            let longest = run.terms.backoff.rule().max;
            let now = daemon.now();
            let ticket = daemon.spool.ticket(id, queue, record, &look, now, longest);
            CommittedTo::Pending(Box::new(ticket))
        }
        Ok(None) | Err(_) => CommittedTo::Gone,
    }
}

/// Tells the scheduler that the end of a try is recorded. A user may have moved the file since; then the scheduler
/// goes by where it is now.
fn recorded<M: Machine>(daemon: &Arc<Daemon<M>>, run: &Arc<Run>, mut place: CommittedTo) -> Rest {
    let id = &run.id;
    if let Some(group) = &run.cgroup {
        group.remove();
    }
    M::unwatch_log(daemon, run);
    daemon.retain_soon();
    if daemon.ask(|s| s.has_children(id)) {
        match daemon.spool.find_ended(id) {
            Ok(Some(Where::Complete)) => place = CommittedTo::Complete,
            Ok(Some(Where::Failed)) => place = CommittedTo::Failed,
            Ok(Some(Where::Pending(_) | Where::Held | Where::Active) | None) | Err(_) => {}
        }
    }
    let queue = match &place {
        CommittedTo::Pending(ticket) => Some(ticket.queue.clone()),
        CommittedTo::Complete | CommittedTo::Failed | CommittedTo::Gone => None,
    };
    let is_gone = matches!(place, CommittedTo::Gone);
    let committed = Event::Committed {
        id: id.clone(),
        place,
    };
    let rest = daemon.step_and_leave(run, committed);
    daemon.tell_of_change();
    // While the end was being recorded, events of the job's name were ignored: look now.
    let is_there = queue.is_none_or(|queue| {
        let is_there = reconcile::is_in_queue(daemon, id, &queue);
        is_there.unwrap_or(false)
    });
    if is_gone || !is_there || daemon.spool.is_active(id) {
        reconcile::reconcile(daemon, id);
    }
    rest
}

/// Records the end of a job that never ran, and moves its file.
pub fn end_unrun<M: Machine>(daemon: &Arc<Daemon<M>>, unrun: &Unrun) {
    let Unrun {
        id,
        queue,
        stamp,
        reason,
        error,
    } = unrun;
    let end = |record: &mut Record| record.end_unrun(daemon.now().wall, *reason, error);
    let placed = insist(daemon, id, "recording its end", || {
        daemon.spool.end_unrun(id, queue, *stamp, end)
    });
    let place = match (placed, reason) {
        (Placed::UserMoved | Placed::Superseded, _) => CommittedTo::Gone,
        (Placed::There, Reason::Skipped) => {
            log::info!("{id}: skipped: {error}");
            daemon.tally.skipped(queue);
            CommittedTo::Complete
        }
        (Placed::There, _) => {
            log::info!("{id}: failed: {reason}: {error}");
            daemon.tally.failed(queue);
            CommittedTo::Failed
        }
    };
    let is_gone = matches!(place, CommittedTo::Gone);
    daemon.retain_soon();
    daemon.step(Event::Committed {
        id: id.clone(),
        place,
    });
    if is_gone || daemon.spool.is_active(id) {
        reconcile::reconcile(daemon, id);
    }
}

/// One line for each try that ended.
fn line(record: &Record, run: &Run, verdict: Verdict, wait: Option<Duration>) -> String {
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
