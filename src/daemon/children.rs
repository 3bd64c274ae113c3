//! Our children: who they are, and one thread that waits for all of them.
//!
//! The daemon is a subreaper, so that orphans of jobs become its children too and must be reaped. One thread at a time
//! peeks at whoever ended (WNOWAIT) and reaps after it has looked: until then the pid, and with it the job's
//! process group, cannot belong to anybody else, and signals go to the right processes. Then another thread waits
//! for the next end, and this one sees to what follows from this end: as a rule the next start.

use super::engine::Letter;
use super::launch;
use super::runner;
use super::shared::{Run, Shared};
use crate::core::id::JobId;
use crate::core::scheduler::{Event, Exit, Stop};
use crate::os::fault::Fault;
use crate::os::wait::PidFd;
use crate::os::{clock, procfs, signals, wait};
use crate::spool::{Fs, Place};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The leaders of running jobs by pid.
#[derive(Debug, Default)]
pub struct Children {
    /// Held by the thread that waits.
    turn: Mutex<()>,
    /// Threads that wait, or wait for their turn to.
    waiting: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    leaders: HashMap<i32, JobId>,
    /// Children that may exist already but are not entered yet.
    starting: usize,
    /// Ends that were reaped and are not told of yet.
    in_hand: usize,
    /// Counts entries, so that the waiting thread notices them.
    generation: u64,
}

impl Children {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child is about to be made.
    pub fn expect(&self) {
        self.state().starting += 1;
    }

    /// The expected child is there (or, without a pid, was not made). `announce` is called before its end can be,
    /// and when it returns the child can be signalled: who hears of the start may act on it at once.
    pub fn enter<T>(&self, child: Option<(i32, JobId)>, announce: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.starting -= 1;
        state.leaders.extend(child);
        state.generation += 1;
        let answer = announce();
        drop(state);
        self.changed.notify_all();
        answer
    }

    /// An end that was reaped has been told of.
    fn told(&self) {
        self.state().in_hand -= 1;
    }

    /// Keeps all as it is, children unreaped, for as long as the guard lives. `None` while something is in hand.
    pub fn freeze(&self) -> Option<impl Drop + '_> {
        let state = self.state();
        (state.in_hand == 0 && state.starting == 0).then_some(state)
    }

    /// Signals the group of a leader that was not reaped yet. False if there is no such leader.
    pub fn signal(&self, pid: i32, how: Stop) -> bool {
        let state = self.state();
        let ours = state.leaders.contains_key(&pid);
        if ours {
            signals::signal_group(pid, how);
        }
        ours
    }
}

/// Starts a thread that waits for children until the process ends. While it sees to what follows from an end, another
/// must wait: who leaves nobody behind makes one more. So there are never more than one for each slot, and one.
pub fn wait_for_all(shared: &Arc<Shared>) -> io::Result<()> {
    let builder = std::thread::Builder::new()
        .name("reaper".to_owned())
        .stack_size(256 * 1024);
    let ours = Arc::clone(shared);
    builder.spawn(move || {
        loop {
            let (run, exit) = next_end(&ours);
            if let Some(task) = follow(&ours, &run, exit) {
                start(&ours, task);
            }
        }
    })?;
    shared.children.waiting.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// Starts a job in a slot that has become free. That may take long (a working directory on a server that does not
/// answer), and must not keep other ends from being seen.
fn start(shared: &Arc<Shared>, task: runner::Task) {
    let waiting = &shared.children.waiting;
    if waiting.fetch_sub(1, Ordering::SeqCst) == 1 && wait_for_all(shared).is_err() {
        // No thread to be had: those that are there for starts do it.
        waiting.fetch_add(1, Ordering::SeqCst);
        shared.dispatch.start(task);
        return shared.dispatch.answered();
    }
    runner::start(shared, task);
    waiting.fetch_add(1, Ordering::SeqCst);
}

/// Waits for the end of a job's leader, and reaps it.
fn next_end(shared: &Shared) -> (Arc<Run>, Exit) {
    let children = &shared.children;
    let _turn = children.turn.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let before = children.state().generation;
        match wait::next_ended() {
            Ok(Some(ended)) => {
                if let Some(run) = take(shared, &ended) {
                    return (run, ended.exit);
                }
            }
            Ok(None) => {
                // No children: sleep until one is entered.
                let mut state = children.state();
                while state.generation == before {
                    state = children
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            Err(e) => {
                log::error!("waiting for children failed: {e}");
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        }
    }
}

/// Reaps a child. Gives the try that it was the leader of.
fn take(shared: &Shared, ended: &wait::Ended) -> Option<Arc<Run>> {
    let mut state = shared.children.state();
    while !state.leaders.contains_key(&ended.pid) {
        if state.starting == 0 {
            // An orphan of some job that we inherited.
            wait::reap(ended.pid);
            return None;
        }
        state = shared
            .children
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    if ended.exit != Exit::Code(0) {
        // Whatever the leader left in its group has no business any more; a retry must find it gone.
        signals::signal_group(ended.pid, Stop::Term);
    }
    let id = state.leaders.remove(&ended.pid);
    wait::reap(ended.pid);
    let run = id.and_then(|id| shared.run(&id))?;
    state.in_hand += 1;
    drop(state);
    let mut book = run.book();
    book.ended = Some(clock::wall());
    book.usage = Some(ended.usage);
    drop(book);
    Some(run)
}

/// Tells the scheduler of an end, and does what follows from it, but for a start: that is taken on, and to be done.
fn follow(shared: &Shared, run: &Run, exit: Exit) -> Option<runner::Task> {
    let alone = exit == Exit::Code(0) || is_alone(shared, run);
    let event = Event::Ended {
        id: run.id.clone(),
        exit,
        alone,
    };
    if !shared.may_start() {
        shared.mail.send(Letter::Event(event));
        shared.children.told();
        return None;
    }
    let actions = shared.step(event);
    let next = shared.hand_out(actions);
    if next.is_some() {
        shared.dispatch.begins();
    }
    shared.children.told();
    next
}

/// True when no process holds the job's log any more.
pub fn is_alone(shared: &Shared, run: &Run) -> bool {
    !log_is_held(shared, &run.id)
}

/// True when some process still has the job's output open: the lock on it is inherited (DESIGN section 3).
pub fn log_is_held(shared: &Shared, id: &JobId) -> bool {
    if Fault::NoLogLock.is_on() {
        return false;
    }
    let open = shared.spool.fs().with(&Place::Log, |log| {
        crate::os::dir::open_read(log, id.as_str().as_bytes())
    });
    match open {
        Ok(file) => launch::lock(shared, &file).is_ok_and(|free| !free),
        Err(_) => false,
    }
}

/// How long after a process's end its parent may take to reap it: only then does the kernel tell how it ended.
/// Some init processes of containers take seconds, and some never do it.
const REAPED_WITHIN: Duration = Duration::from_secs(30);

/// Waits, in a thread of its own, for a process that is not our child: a job of an earlier daemon.
pub fn wait_for_foreign(shared: &Arc<Shared>, run: &Arc<Run>, pidfd: PidFd) -> io::Result<()> {
    let (shared, run) = (Arc::clone(shared), Arc::clone(run));
    let builder = std::thread::Builder::new()
        .name("adopted".to_owned())
        .stack_size(256 * 1024);
    builder.spawn(move || {
        pidfd.wait();
        let ended = clock::now();
        let mut exit = pidfd.exit();
        let is_zombie = || procfs::stat(run.pid).is_some_and(|stat| !stat.is_alive());
        while exit == Exit::Lost
            && is_zombie()
            && clock::now().boot.since(ended.boot) < REAPED_WITHIN
        {
            std::thread::sleep(Duration::from_millis(5));
            exit = pidfd.exit();
        }
        if exit == Exit::Lost {
            // Reaped between the two looks.
            exit = pidfd.exit();
        }
        run.book().ended = Some(ended.wall);
        let alone = exit == Exit::Code(0) || is_alone(&shared, &run);
        shared.mail.send(Letter::Event(Event::Ended {
            id: run.id.clone(),
            exit,
            alone,
        }));
    })?;
    Ok(())
}

/// Looks whether the spool still has a file of this name in `active/`.
pub fn is_active(shared: &Shared, id: &JobId) -> bool {
    shared
        .spool
        .fs()
        .look(&Place::Active, id.as_str().as_bytes())
        .ok()
        .flatten()
        .is_some()
}
