//! A job's thread: from the claim to the recorded end of its try, with its note and all signals to it.
//!
//! The thread waits for the leader without reaping it (WNOWAIT) and reaps it after it has looked: until then the pid,
//! and with it the job's process group, cannot belong to anybody else. No other thread signals it.

use super::chores::Chore;
use super::launch::{self, Launched, NotNow, Setup};
use super::run::{Facts, Run};
use super::state::{AfterEnd, Daemon, Hands, Rest, Start, Unrun};
use super::{log_limit, reconcile, record, sweep};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::process::{Exit, Stop};
use crate::core::record::Record;
use crate::core::scheduler::{Event, QuarantineReason, Refusal};
use crate::core::time::Boot;
use crate::os::fault::Fault;
use crate::os::thread::{self, Interrupt};
use crate::os::wait::{self, PidFd};
use crate::os::{clock, procfs, signals};
use crate::spool::{IfSame, Target};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The threads of jobs.
#[derive(Debug)]
pub struct Threads;

impl Hands for Threads {
    fn start(&self, daemon: &Arc<Daemon>, start: Start) {
        let id = start.id.clone();
        if let Err(e) = spawn(daemon, move |daemon| run(daemon, start)) {
            log::warn!("{id}: not started for now: no thread can be made: {e}");
            let why = Refusal::Resources;
            daemon.step(Event::Refused { id, why });
        }
    }

    /// Some in each of a few threads, which share their syncs.
    fn fail(&self, daemon: &Arc<Daemon>, mut unrun: Vec<Unrun>) {
        const THREADS: usize = 8;
        let share = unrun.len().div_ceil(THREADS);
        while !unrun.is_empty() {
            let some = unrun.split_off(unrun.len().saturating_sub(share));
            let some = Arc::new(some);
            let list = Arc::clone(&some);
            let fail = move |daemon: &_| list.iter().for_each(|unrun| record::fail(daemon, unrun));
            if let Err(e) = spawn(daemon, fail) {
                log::warn!("{} jobs are failed without a thread: {e}", some.len());
                some.iter().for_each(|unrun| record::fail(daemon, unrun));
            }
        }
    }

    fn quarantine_waiting(
        &self,
        daemon: &Arc<Daemon>,
        id: &JobId,
        queue: &QueueName,
        why: QuarantineReason,
    ) {
        reconcile::quarantine_waiting(daemon, id, queue, why);
    }
}

/// The process that a job thread waits for.
#[derive(Debug)]
pub struct Leader {
    pidfd: PidFd,
    parent: ChildOf,
}

/// Whose child a leader is, and so who learns how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildOf {
    /// This job's thread.
    Thread,
    /// An earlier image of this process: it is a child of the first thread now.
    Process,
    /// Somebody else's: an earlier daemon started it.
    Other {
        /// It had not ended when it was found.
        was_alive: bool,
    },
}

/// Runs a job, and then the next one that its end makes room for, until there is none.
pub fn run(daemon: &Arc<Daemon>, start: Start) {
    let mut next = Some(start);
    while let Some(start) = next {
        next = match begin(daemon, start) {
            Begun::Running(run, leader) => see_through(daemon, &run, Some(&leader)),
            Begun::Not { next } => next,
        };
    }
}

/// Has a job thread see to a job that an earlier daemon began, and that the scheduler knows of. Without a leader there
/// is only its end to be recorded.
pub fn adopt(daemon: &Arc<Daemon>, run: &Arc<Run>, leader: Option<Leader>) {
    let leader = Arc::new(leader);
    loop {
        let (run, leader) = (Arc::clone(run), Arc::clone(&leader));
        let id = run.id.clone();
        let see_to_it = move |daemon: &_| {
            if let Some(start) = see_through(daemon, &run, leader.as_ref().as_ref()) {
                self::run(daemon, start);
            }
        };
        match spawn(daemon, see_to_it) {
            Ok(()) => return,
            Err(e) => log::error!("{id}: no thread can be made: {e}; trying again"),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Starts a job thread. The daemon does not exit as long as it works.
fn spawn(daemon: &Arc<Daemon>, work: impl FnOnce(&Arc<Daemon>) + Send + 'static) -> io::Result<()> {
    let theirs = Arc::clone(daemon);
    daemon.job_threads.fetch_add(1, Ordering::SeqCst);
    let spawned = thread::spawn("job", move || {
        work(&theirs);
        theirs.job_thread_ends();
    });
    if spawned.is_err() {
        daemon.job_thread_ends();
    }
    spawned.map(drop)
}

impl Leader {
    /// The process with this pid, which must not have been reaped.
    pub fn open(pid: i32, parent: ChildOf) -> io::Result<Self> {
        let pidfd = PidFd::open(pid)?;
        Ok(Self { pidfd, parent })
    }
}

/// Waits for the end of a try and records it. Gives a job to start next, if the end made room for one.
fn see_through(daemon: &Arc<Daemon>, run: &Arc<Run>, leader: Option<&Leader>) -> Option<Start> {
    let rest = match leader {
        Some(leader) => {
            obey_until_end(daemon, run, leader);
            // Nobody but its parent can reap it, and that may take a while.
            let exit_of_other = match leader.parent {
                ChildOf::Thread | ChildOf::Process => None,
                ChildOf::Other { was_alive } => Some(end_of_other(run, &leader.pidfd, was_alive)),
            };
            let _reaping = daemon
                .reaping
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            let exit = exit_of_other.unwrap_or_else(|| reap(daemon, run, leader.parent));
            daemon.step_as_job(ended(daemon, run, exit))
        }
        None => daemon.step_as_job(Event::Ended {
            id: run.id.clone(),
            exit: Exit::Lost,
            alone: Fault::NoAdoption.is_on(),
        }),
    };
    finish(daemon, run, rest)
}

/// Does what follows the end of a leader, up to its record. Gives a job to start next.
fn finish(daemon: &Arc<Daemon>, run: &Arc<Run>, rest: Rest) -> Option<Start> {
    let Rest {
        start: mut next,
        mut follow,
    } = rest;
    while let Some(this) = follow {
        // A slot does not wait for a sweep, nor for a disk.
        if daemon.spool.is_durable() || matches!(this, AfterEnd::Sweep(_)) {
            next.take()
                .into_iter()
                .for_each(|start| daemon.start(start));
        }
        let rest = match this {
            AfterEnd::Sweep(grace) => {
                sweep::sweep(daemon, run, grace);
                let id = run.id.clone();
                daemon.step_as_job(Event::Swept { id })
            }
            AfterEnd::Finish { end, verdict, wait } => record::end(daemon, run, end, verdict, wait),
        };
        follow = rest.follow;
        if let Some(start) = rest.start
            && let Some(earlier) = next.replace(start)
        {
            daemon.start(earlier);
        }
    }
    next
}

/// The outcome of a start.
enum Begun {
    /// The program runs.
    Running(Arc<Run>, Leader),
    /// It does not.
    Not {
        /// A job to start instead.
        next: Option<Start>,
    },
}

/// Claims and launches a job.
fn begin(daemon: &Arc<Daemon>, mut start: Start) -> Begun {
    let mut record = match claim(daemon, &mut start) {
        Ok(record) => record,
        Err(why) => return refused(daemon, start.id, why),
    };
    let logs = match launch::open_logs(daemon, &start.id, record.split) {
        Ok(logs) => logs,
        Err(why) => return put_back(daemon, start, None, why),
    };
    let before = (record.attempt > 0).then(|| record.clone());
    record.attempt += 1;
    if before.is_some()
        && let Err(e) = begin_again(daemon, &start.id, &record)
    {
        return put_back(daemon, start, before, NotNow::Resources(e));
    }
    let terms = daemon.config().terms(&start.queue, &record);
    let setup = Setup {
        id: &start.id,
        queue: &start.queue,
        record: &record,
        terms: &terms,
        slot: start.slot,
    };
    let launched = launch::launch(daemon, &setup, &logs);
    // From here on the job alone holds its logs.
    drop(logs);
    let (launched, error) = match launched {
        Ok(launched) => (Some(launched), None),
        Err(NotNow::Impossible { error, code }) => (None, Some((error, code))),
        Err(why) => return put_back(daemon, start, before, why),
    };
    let attempt = record.attempt;
    let run = Arc::new(make_run(&start, record, terms.clone(), launched.as_ref()));
    run.facts().error = error;
    daemon.enter(Arc::clone(&run));
    let terms = Box::new(terms);
    let Some(launched) = launched else {
        let (id, why) = (run.id.clone(), Refusal::Impossible { attempt, terms });
        let rest = daemon.step_as_job(Event::Refused { id, why });
        let next = finish(daemon, &run, rest);
        return Begun::Not { next };
    };
    log::debug!(
        "{}: started as process {} in slot {}",
        run.id,
        run.pid,
        start.slot.of_all
    );
    started(daemon, &run, attempt, terms);
    let parent = ChildOf::Thread;
    let pidfd = launched.pidfd;
    Begun::Running(run, Leader { pidfd, parent })
}

fn claim(daemon: &Daemon, start: &mut Start) -> Result<Record, Refusal> {
    let (id, queue, stamp) = (&start.id, &start.queue, start.stamp);
    let claim = match start.read.take() {
        Some(read) => daemon.spool.claim_as_read(id, queue, stamp, *read),
        None => daemon.spool.claim(id, queue, stamp),
    };
    match claim {
        Ok(IfSame::Done(record)) => Ok(*record),
        Ok(IfSame::Gone) => Err(Refusal::Gone),
        Ok(IfSame::Changed) => Err(Refusal::Changed),
        Err(e) => {
            log::error!("{id}: cannot be claimed: {e}");
            Err(Refusal::Resources)
        }
    }
}

/// Tells the scheduler that the program runs.
fn started(daemon: &Arc<Daemon>, run: &Arc<Run>, attempt: u32, terms: Box<Terms>) {
    daemon.step(Event::Started {
        id: run.id.clone(),
        attempt,
        terms,
    });
    log_limit::watch(daemon, run);
    // A user may have taken the file away while the start was under way: that was no event of a running job.
    if !daemon.spool.is_active(&run.id) {
        reconcile::reconcile(daemon, &run.id);
    }
}

/// A further try is noted before it begins. Its record looks just like one that was put back for that try, and only the
/// note tells after a crash that the try is to be counted.
fn begin_again(daemon: &Daemon, id: &JobId, record: &Record) -> io::Result<()> {
    let mut note = record.clone();
    note.forget_try();
    note.started_at = Some(clock::wall());
    daemon.spool.note(id, &note).map(drop)
}

/// Puts a job back as it was before its claim: `before`, if its record was touched since.
fn put_back(daemon: &Arc<Daemon>, start: Start, before: Option<Record>, why: NotNow) -> Begun {
    let refusal = match why {
        NotNow::Busy => {
            log::warn!(
                "{}: not started: processes of an earlier run still hold its log",
                start.id
            );
            Refusal::Busy
        }
        NotNow::Resources(e) => {
            log::warn!("{}: not started for now: {e}", start.id);
            Refusal::Resources
        }
        NotNow::Impossible { error, .. } => {
            log::error!("{}: {error}", start.id);
            Refusal::Resources
        }
    };
    let spool = &daemon.spool;
    let done = match before {
        Some(before) => {
            let target = Target::Pending(start.queue.clone());
            spool
                .finish(&start.id, &before, &target, |_| {})
                .map(drop)
                // Better with its tries forgotten than in active/ for ever: a plain rename needs nothing.
                .or_else(|_| spool.unclaim(&start.id, &start.queue))
        }
        None => spool.unclaim(&start.id, &start.queue),
    };
    if let Err(e) = done {
        log::error!("{}: cannot be put back to pending: {e}", start.id);
    }
    refused(daemon, start.id, refusal)
}

/// Tells the scheduler that a start did not happen, and looks where the file is.
fn refused(daemon: &Arc<Daemon>, id: JobId, why: Refusal) -> Begun {
    log::debug!("{id}: not started: {why:?}");
    let is_held = why == Refusal::Busy;
    let is_other = matches!(why, Refusal::Gone | Refusal::Changed);
    let rest = daemon.step_as_job(Event::Refused {
        id: id.clone(),
        why,
    });
    if is_other {
        // An event of it may have been taken for our own doing, when it was put back or taken in.
        reconcile::reconcile(daemon, &id);
    }
    if is_held {
        daemon.chores.add(Chore::Held(id));
    }
    Begun::Not { next: rest.start }
}

fn make_run(start: &Start, record: Record, terms: Terms, launched: Option<&Launched>) -> Run {
    let now = launched.is_some().then(clock::now);
    Run {
        id: start.id.clone(),
        queue: start.queue.clone(),
        terms,
        pid: launched.map_or(0, |job| job.pid),
        adopted: false,
        started: now.map(|now| now.wall),
        began: now.map(|now| now.boot),
        log_offset: launched.map_or(0, |job| job.log_offset),
        cgroup: launched.and_then(|job| job.cgroup.clone()),
        thread: OnceLock::new(),
        orders: Mutex::default(),
        put_back: AtomicU64::new(0),
        facts: Mutex::new(Facts::new(record)),
    }
}

/// Waits until the leader has ended; does what is ordered meanwhile.
fn obey_until_end(daemon: &Arc<Daemon>, run: &Run, leader: &Leader) {
    // Orders that came before are found at the first round.
    let _ = run.thread.set(Interrupt::of_this_thread());
    loop {
        let orders = run.take_orders();
        if let Some(how) = orders.signal {
            signal(daemon, run, leader, how);
        }
        if orders.note {
            record::note(daemon, run);
        }
        if leader.pidfd.wait_interruptibly() {
            return;
        }
    }
}

/// Signals the job.
fn signal(daemon: &Daemon, run: &Run, leader: &Leader, how: Stop) {
    log::debug!("{}: {how:?} to group {}", run.id, run.pid);
    if how == Stop::Term {
        sweep::remember(daemon, run);
    }
    let is_still_it = match leader.parent {
        ChildOf::Thread | ChildOf::Process => true,
        // Not our child: only signal it if it is certainly still the same process.
        ChildOf::Other { .. } => {
            let proc = run.facts().record.proc.clone();
            proc.is_some_and(|proc| proc.pid == run.pid && procfs::is_same(&proc))
        }
    };
    let is_allowed = !is_still_it || signals::signal_group(run.pid, how);
    if how == Stop::Kill && !sweep::kill_group(run) && !is_allowed {
        let mut facts = run.facts();
        if sweep::mark_stuck(daemon, run, &mut facts, Some(run.pid)) {
            record::write_note(daemon, run, &mut facts);
            drop(facts);
            // The daemon may be waiting for this job alone.
            daemon.tell_of_change();
        }
    }
}

/// Reaps the leader, our child, which has ended. Says how.
fn reap(daemon: &Daemon, run: &Run, parent: ChildOf) -> Exit {
    let ended = match wait::end_of(run.pid) {
        Ok(ended) => ended,
        Err(e) => {
            log::error!("{}: waiting for it failed: {e}", run.id);
            run.facts().ended = Some(clock::now());
            return Exit::Lost;
        }
    };
    let failed = ended.exit != Exit::Code(0);
    // As long as it is not reaped, it can be said which processes are not older than it.
    let leader = failed
        .then(|| procfs::identify(run.pid, &daemon.home.boot))
        .flatten();
    if failed {
        // Whatever the leader left in its group has no business any more; a retry must find it gone.
        signals::signal_group(run.pid, Stop::Term);
    }
    wait::reap(run.pid);
    let mut facts = run.facts();
    facts.ended = Some(clock::now());
    facts.usage = Some(ended.usage);
    if leader.is_some() {
        facts.record.proc = leader;
    }
    drop(facts);
    if parent == ChildOf::Process {
        // The watcher reaps the children of the first thread up to the first that is a leader.
        daemon.waker.wake();
    }
    ended.exit
}

fn ended(daemon: &Daemon, run: &Run, exit: Exit) -> Event {
    Event::Ended {
        id: run.id.clone(),
        exit,
        alone: exit == Exit::Code(0) || is_alone(daemon, run),
    }
}

/// True when certainly nothing is left of a job whose leader has ended.
fn is_alone(daemon: &Daemon, run: &Run) -> bool {
    !run.adopted && !procfs::may_have_orphans() && !daemon.spool.log_is_held(&run.id)
}

/// How long after a process's end its parent may take to reap it, where the kernel tells us only then how it ended.
/// Some init processes of containers take seconds, and some never do it.
const REAPED_WITHIN: Duration = Duration::from_secs(30);

/// How a process that is not our child has ended.
fn end_of_other(run: &Run, pidfd: &PidFd, was_alive: bool) -> Exit {
    let ended = clock::now();
    let exit = match exit_of_other(run, pidfd, ended.boot) {
        // It was killed with its daemon, as a rule by the same hand.
        Exit::Signal(libc::SIGKILL | libc::SIGTERM) if !was_alive => Exit::Lost,
        exit => exit,
    };
    run.facts().ended = Some(ended);
    exit
}

fn exit_of_other(run: &Run, pidfd: &PidFd, ended: Boot) -> Exit {
    let Some(proc) = run.facts().record.proc.clone() else {
        return pidfd.exit();
    };
    loop {
        if let Some(status) = procfs::status_of_zombie(&proc) {
            return wait::exit_of(status);
        }
        // It was reaped, or will be.
        let exit = pidfd.exit();
        let is_late = clock::now().boot.since(ended) > REAPED_WITHIN;
        if exit != Exit::Lost || is_late {
            return exit;
        }
        if procfs::stat(proc.pid).is_none_or(|stat| stat.start != proc.start) {
            // If it was reaped between the two looks, the kernel tells now.
            return pidfd.exit();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
