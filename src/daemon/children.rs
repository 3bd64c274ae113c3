//! Our children: who they are, and who waits for them.
//!
//! The thread that has started a job waits for it. It peeks at the end (WNOWAIT) and reaps after it has looked: until
//! then the pid, and with it the job's process group, cannot belong to anybody else, and signals go to the right
//! processes. Then it sees to what follows from the end: as a rule the next start.
//!
//! The daemon is a subreaper, so that orphans of jobs become its children too and must be reaped: children of its first
//! thread, which is the engine's. So do the jobs of an image that has become this one by an upgrade.

use super::engine::Letter;
use super::runner;
use super::shared::{Run, Shared};
use crate::core::id::JobId;
use crate::core::process::{Exit, Stop};
use crate::core::scheduler::Event;
use crate::core::time::Boot;
use crate::os::wait::{ChildEnd, PidFd, Usage};
use crate::os::{clock, procfs, signals, thread, wait};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The leaders of running jobs by pid.
#[derive(Debug, Default)]
pub struct Children {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leaders: HashMap<i32, JobId>,
    /// Ends that were reaped and are not told of yet.
    in_hand: usize,
}

impl Children {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job's leader is there. When `announce` has returned it can be signalled: who hears of the start may act on it
    /// at once.
    pub fn enter<T>(&self, pid: i32, id: JobId, announce: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.leaders.insert(pid, id);
        announce()
    }

    /// An end that was reaped has been told of.
    fn told(&self) {
        self.state().in_hand -= 1;
    }

    /// Keeps all as it is, children unreaped, for as long as the guard lives. `None` while something is in hand.
    pub fn freeze(&self) -> Option<impl Drop + '_> {
        let state = self.state();
        (state.in_hand == 0).then_some(state)
    }

    /// Signals the group of a leader that was not reaped yet; says whether that may be signalled. `None` if there is no
    /// such leader.
    pub fn signal(&self, pid: i32, how: Stop) -> Option<bool> {
        let state = self.state();
        let ours = state.leaders.contains_key(&pid);
        ours.then(|| signals::signal_group(pid, how))
    }
}

/// Waits for a job that the calling thread has started, and sees to all that follows but a start: that is taken on, and
/// the caller's to do.
pub fn wait_for(shared: &Shared, run: &Run) -> Option<runner::Task> {
    let ended = wait::end_of(run.pid).unwrap_or_else(|e| {
        log::error!("{}: waiting for it failed: {e}", run.id);
        ChildEnd {
            pid: run.pid,
            exit: Exit::Lost,
            usage: Usage::default(),
        }
    });
    take(shared, run, &ended);
    let event = end(shared, run, ended.exit);
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

/// Reaps those children of the calling thread that have ended. It must be the first thread of the process: see the
/// module's comment.
pub fn reap_inherited(shared: &Shared) {
    while let Ok(Some(ended)) = wait::next_own_end() {
        let leader = shared.children.state().leaders.get(&ended.pid).cloned();
        match leader.and_then(|id| shared.run(&id)) {
            Some(run) => {
                take(shared, &run, &ended);
                shared
                    .mail
                    .send(Letter::Event(end(shared, &run, ended.exit)));
                shared.children.told();
            }
            None => wait::reap(ended.pid),
        }
    }
}

/// Reaps the leader of a job. [`Children::told`] must follow.
fn take(shared: &Shared, run: &Run, ended: &ChildEnd) {
    // As long as it is not reaped, it can be said which processes are not older than it.
    let leader = (ended.exit != Exit::Code(0))
        .then(|| procfs::identify(ended.pid, &shared.home.boot))
        .flatten();
    let mut state = shared.children.state();
    if ended.exit != Exit::Code(0) {
        // Whatever the leader left in its group has no business any more; a retry must find it gone.
        signals::signal_group(ended.pid, Stop::Term);
    }
    state.leaders.remove(&ended.pid);
    wait::reap(ended.pid);
    state.in_hand += 1;
    drop(state);
    let mut book = run.book();
    book.ended = Some(clock::now());
    book.usage = Some(ended.usage);
    if leader.is_some() {
        book.record.proc = leader;
    }
}

fn end(shared: &Shared, run: &Run, exit: Exit) -> Event {
    Event::Ended {
        id: run.id.clone(),
        exit,
        alone: exit == Exit::Code(0) || is_alone(shared, run),
    }
}

/// True when certainly nothing is left of a job whose leader has ended.
fn is_alone(shared: &Shared, run: &Run) -> bool {
    !run.adopted && !procfs::may_have_orphans() && !shared.spool.log_is_held(&run.id)
}

/// How long after a process's end its parent may take to reap it, where the kernel tells us only then how it ended.
/// Some init processes of containers take seconds, and some never do it.
const REAPED_WITHIN: Duration = Duration::from_secs(30);

/// Waits, in a thread of its own, for a process that is not our child: a job of an earlier daemon. `was_alive` when it
/// was found.
pub fn wait_for_foreign(
    shared: &Arc<Shared>,
    run: &Arc<Run>,
    pidfd: PidFd,
    was_alive: bool,
) -> io::Result<()> {
    let (shared, run) = (Arc::clone(shared), Arc::clone(run));
    thread::spawn("adopted", move || {
        pidfd.wait();
        let ended = clock::now();
        let exit = match exit_of_foreign(&run, &pidfd, ended.boot) {
            // It was killed with its daemon, as a rule by the same hand.
            Exit::Signal(libc::SIGKILL | libc::SIGTERM) if !was_alive => Exit::Lost,
            exit => exit,
        };
        run.book().ended = Some(ended);
        shared.mail.send(Letter::Event(end(&shared, &run, exit)));
    })?;
    Ok(())
}

/// How a process that is not our child has ended.
fn exit_of_foreign(run: &Run, pidfd: &PidFd, ended: Boot) -> Exit {
    let Some(proc) = run.book().record.proc.clone() else {
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
