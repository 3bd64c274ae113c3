//! A job's thread and the leader of its job: waiting for it, signalling it, reaping it.
//!
//! The thread waits for the leader without reaping it (WNOWAIT) and reaps it after it has looked: until then the pid,
//! and with it the job's process group, cannot belong to anybody else. No other thread signals it.

use super::job::{self, Begun};
use super::record::Unwritten;
use super::run::{EndedTry, Run};
use super::spare::JobThreadWork;
use super::start::Start;
use super::state::{AfterEnd, Daemon};
use super::{record, sweep};
use crate::core::id::JobId;
use crate::core::process::{Exit, Stop};
use crate::core::record::Record;
use crate::core::scheduler::Event;
use crate::core::time::Boot;
use crate::os::procfs::{self, Stat};
use crate::os::thread::{self, Interrupt};
use crate::os::wait::{self, PidFd};
use crate::os::{child, clock, signals};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The process that a job thread waits for.
#[derive(Debug)]
pub struct Leader {
    /// The process.
    pub pidfd: PidFd,
    /// Its parent.
    pub parent: ChildOf,
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
        next = match job::begin(daemon, start) {
            Begun::Running(run, leader) => see_through(daemon, &run, &leader),
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
            let next = match leader.as_ref() {
                Some(leader) => see_through(daemon, &run, leader),
                None => job::was_lost(daemon, &run),
            };
            if let Some(start) = next {
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

/// Gives work to a job thread. The daemon does not exit as long as the thread works.
pub fn spawn(
    daemon: &Arc<Daemon>,
    work: impl FnOnce(&Arc<Daemon>) + Send + 'static,
) -> io::Result<()> {
    let theirs = Arc::clone(daemon);
    daemon.job_threads.fetch_add(1, Ordering::SeqCst);
    let work: JobThreadWork = Box::new(move || {
        work(&theirs);
        theirs.job_thread_ends();
    });
    let spare = &daemon.machine.spare;
    let Some(work) = spare.give(work) else {
        return Ok(());
    };
    let spare = Arc::clone(spare);
    let spawned = thread::spawn("job", move || {
        let mut next = Some(work);
        while let Some(work) = next {
            work();
            next = spare.wait();
        }
    });
    if spawned.is_err() {
        daemon.job_thread_ends();
    }
    spawned.map(drop)
}

/// Waits for the end of a try and records it. Gives a job to start next, if the end made room for one.
fn see_through(daemon: &Arc<Daemon>, run: &Arc<Run>, leader: &Leader) -> Option<Start> {
    obey_until_end(daemon, run, leader);
    // Nobody but its parent can reap it, and that may take a while.
    let exit_of_other = match leader.parent {
        ChildOf::Thread | ChildOf::Process => None,
        ChildOf::Other { was_alive } => Some(end_of_other(run, &leader.pidfd, was_alive)),
    };
    let rest = {
        let _reaping = daemon
            .reaping
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let exit = exit_of_other.unwrap_or_else(|| reap(daemon, run, leader.parent));
        daemon.step_as_job(ended(daemon, run, exit))
    };
    match rest.follow {
        Some((_, AfterEnd::Finish(ended))) if records_together(daemon) => {
            record_or_leave(daemon, run, ended, rest.start)
        }
        Some(_) | None => job::finish(daemon, run, rest),
    }
}

/// Without syncs, an end is recorded fastest by its own thread, as long as there are few: many wait for each other at the
/// locks of the directories.
fn records_together(daemon: &Daemon) -> bool {
    const FEW: usize = 8;
    daemon.spool.is_durable() || daemon.job_threads.load(Ordering::Relaxed) > FEW
}

/// Records the end of a try, and those that come meanwhile; or leaves it to the thread that does so already. `next` is
/// a job to start, and so is the one that this gives.
fn record_or_leave(
    daemon: &Arc<Daemon>,
    run: &Arc<Run>,
    ended: EndedTry,
    mut next: Option<Start>,
) -> Option<Start> {
    let ends = &daemon.machine.ends;
    if !ends.add(run, ended) {
        return next;
    }
    loop {
        let some = ends.take();
        if some.is_empty() {
            return next;
        }
        // Another thread starts the next job: this one waits for the disk.
        next.take()
            .into_iter()
            .for_each(|start| daemon.start(start));
        let (rests, unwritten) = record::end_some(daemon, &some);
        unwritten
            .into_iter()
            .for_each(|end| insist_apart(daemon, end));
        for start in rests.into_iter().filter_map(|rest| rest.start) {
            if let Some(earlier) = next.replace(start) {
                daemon.start(earlier);
            }
        }
    }
}

/// Has a thread of its own record an end, so that it holds up no other.
fn insist_apart(daemon: &Arc<Daemon>, end: Unwritten) {
    let end = Arc::new(Mutex::new(Some(end)));
    let work = {
        let end = Arc::clone(&end);
        move |daemon: &Arc<Daemon>| insist_on(daemon, &end)
    };
    if spawn(daemon, work).is_err() {
        insist_on(daemon, &end);
    }
}

fn insist_on(daemon: &Arc<Daemon>, end: &Mutex<Option<Unwritten>>) {
    let end = end.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(start) = end.and_then(|end| end.insist(daemon).start) {
        run(daemon, start);
    }
}

/// Waits until the leader has ended; does what is ordered meanwhile.
fn obey_until_end(daemon: &Arc<Daemon>, run: &Run, leader: &Leader) {
    // Orders that came before are found at the first round.
    let _ = run.thread.set(Interrupt::of_this_thread());
    loop {
        let orders = run.take_orders();
        if orders.warn && is_still_it(run, leader) {
            sweep::warn(daemon, run);
        }
        if let Some(how) = orders.signal {
            signal(daemon, run, leader, how);
        }
        if orders.note || orders.warn {
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
    let is_allowed = !is_still_it(run, leader) || signals::signal_group(run.pid, how);
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

/// True if the leader is certainly still the same process. A child of ours is until we reap it.
fn is_still_it(run: &Run, leader: &Leader) -> bool {
    match leader.parent {
        ChildOf::Thread | ChildOf::Process => true,
        ChildOf::Other { .. } => {
            let proc = run.facts().record.proc.clone();
            proc.is_some_and(|proc| proc.pid == run.pid && procfs::is_same(&proc))
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
    // Processes that a job with tokens left must be gone before another one gets them.
    let is_swept = ended.exit != Exit::Code(0) || has_tokens(run);
    // As long as it is not reaped, it can be said which processes are not older than it.
    let leader = is_swept
        .then(|| procfs::identify(run.pid, &daemon.home.boot))
        .flatten();
    if is_swept {
        // The processes that the leader left in its group must be gone before a retry.
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
        // `reap_orphans` stops at this leader: let it go on.
        daemon.waker.wake();
    }
    ended.exit
}

fn ended(daemon: &Daemon, run: &Run, exit: Exit) -> Event {
    Event::Ended {
        id: run.id.clone(),
        exit,
        alone: exit == Exit::Code(0) && !has_tokens(run) || is_alone(daemon, run),
    }
}

fn has_tokens(run: &Run) -> bool {
    !run.facts().record.uses.is_empty()
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

/// A descriptor to wait for the leader by. `None` if it has vanished since it was seen.
pub fn open(run: &Run, stat: Stat) -> io::Result<Option<Leader>> {
    match stat.is_alive() {
        true => log::info!("{}: still running as process {}", run.id, stat.pid),
        false => log::info!("{}: ended as process {} meanwhile", run.id, stat.pid),
    }
    let parent = match is_ours(&stat) {
        true => ChildOf::Process,
        false => ChildOf::Other {
            was_alive: stat.is_alive(),
        },
    };
    match PidFd::open(stat.pid) {
        Ok(pidfd) => Ok(Some(Leader { pidfd, parent })),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The leader of a try that an earlier daemon began, if it lives, or nobody has reaped it yet.
pub fn leader_of(daemon: &Daemon, id: &JobId, record: &Record) -> Option<Stat> {
    if let Some(proc) = &record.proc {
        let same = |stat: &Stat| stat.start == proc.start && proc.boot == daemon.home.boot;
        return procfs::stat(proc.pid).filter(same);
    }
    // The daemon was killed before the note: the environment tells the leader from what it has started.
    let mark = sweep::mark(&daemon.home.spool, id);
    let all = procfs::all().unwrap_or_default();
    all.into_iter().find(|stat| {
        stat.session == stat.pid
            && procfs::has_environment(stat.pid, &mark)
            && procfs::has_environment(stat.pid, &[format!("{}={}", child::PID, stat.pid)])
            && procfs::user_of(stat.pid) == Some(daemon.home.account.uid)
    })
}

/// True for a child of this process: of an image that has become this one by an upgrade.
pub fn is_ours(stat: &Stat) -> bool {
    i32::try_from(std::process::id()).is_ok_and(|us| stat.parent == us)
}
