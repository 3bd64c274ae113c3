//! Ending what a job's leader left behind: background processes, sessions of their own, double forks.

use super::children;
use super::engine::Letter;
use super::shared::{Run, Shared};
use crate::core::id::JobId;
use crate::core::scheduler::{Event, Stop};
use crate::os::cgroup::Cgroup;
use crate::os::fault::Fault;
use crate::os::procfs::{self, Stat};
use crate::os::{clock, signals};
use crate::spool::Place;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Ends every process of the job, by force after `grace`; reports when none is left.
pub fn sweep(shared: &Shared, id: &JobId, grace: Duration) {
    let Some(run) = shared.run(id) else { return };
    let began = clock::now().boot;
    let mut how = Stop::Term;
    let mut told = Vec::new();
    let mut pause = Duration::from_millis(2);
    loop {
        let left = match left(shared, &run) {
            Ok(None) => break,
            Ok(Some(left)) => left,
            Err(e) => {
                // Descriptors may be short. That nothing is left must be known.
                log::debug!("{id}: its processes cannot be looked for: {e}");
                Vec::new()
            }
        };
        if clock::now().boot.since(began) >= grace {
            how = Stop::Kill;
            kill_group(&run);
        }
        for member in left {
            // TERM once each, KILL as long as it takes.
            if how == Stop::Kill || !told.contains(&member.pid) {
                told.push(member.pid);
                log::debug!("{id}: process {} is left behind: {how:?}", member.pid);
                signals::signal_one(member.pid, how);
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    shared
        .mail
        .send(Letter::Event(Event::Swept { id: id.clone() }));
}

/// Notes who belongs to the job while its leader still holds the tree together: once it is gone, a process that
/// hid its mark can no longer be told from others'.
pub fn remember(shared: &Shared, run: &Run) {
    if let Ok(tree) = members(shared, run) {
        run.remember(tree.iter().map(|stat| (stat.pid, stat.start)).collect());
    }
}

/// The live processes of the job, or if there are none, those that hold its log; `None` when it is free.
fn left(shared: &Shared, run: &Run) -> io::Result<Option<Vec<Stat>>> {
    let members = members(shared, run)?;
    if !members.is_empty() {
        return Ok(Some(members));
    }
    if !children::log_is_held(shared, &run.id) {
        return Ok(None);
    }
    holders(shared, &run.id).map(Some)
}

/// The live processes that belong to the job: in its leader's session or group, in its control group, or with its
/// mark in the environment they were started with, or descended from such.
fn members(shared: &Shared, run: &Run) -> io::Result<Vec<Stat>> {
    if Fault::NoSweep.is_on() {
        return Ok(Vec::new());
    }
    let all = procfs::all()?;
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let mark = mark(&shared.home.spool, &run.id);
    let session = session(run);
    let known = run.tree();
    let confined = run.cgroup.as_ref().map_or_else(Vec::new, Cgroup::processes);
    let tree = Tree::new(&all, us);
    let belongs = |stat: &&Stat| {
        stat.pid != us
            && (run.adopted || !tree.is_foreign(stat))
            && (session.is_some_and(|id| stat.session == id || stat.group == id)
                || known.contains(&(stat.pid, stat.start))
                || confined.contains(&stat.pid)
                || (procfs::has_environment(stat.pid, &mark)
                    && (!run.adopted || procfs::has_our_user(stat.pid))))
    };
    let mut mine: Vec<Stat> = all.iter().filter(belongs).copied().collect();
    loop {
        let parents: Vec<i32> = mine.iter().map(|stat| stat.pid).collect();
        let more: Vec<Stat> = all
            .iter()
            .filter(|stat| {
                parents.contains(&stat.parent) && !parents.contains(&stat.pid) && stat.pid != us
            })
            .copied()
            .collect();
        if more.is_empty() {
            return Ok(mine);
        }
        mine.extend(more);
    }
}

/// The session and process group of the job's leader, as long as nobody else can have that number.
fn session(run: &Run) -> Option<i32> {
    if run.pid == 0 {
        return None;
    }
    // The number is taken while a process of the session lives. An earlier daemon's job may have ended long ago.
    let is_reused = run.adopted
        && procfs::stat(run.pid).is_some_and(|stat| {
            let proc = &run.book().record.proc;
            proc.as_ref().is_none_or(|proc| proc.start != stat.start)
        });
    (!is_reused).then_some(run.pid)
}

/// The live processes by their parents, as seen from this daemon.
struct Tree {
    parents: HashMap<i32, i32>,
    us: i32,
}

impl Tree {
    fn new(all: &[Stat], us: i32) -> Self {
        let parents = all.iter().map(|stat| (stat.pid, stat.parent)).collect();
        Self { parents, us }
    }

    /// True when the process certainly does not descend from this daemon, and so not from a job that it started: the
    /// daemon is a subreaper. A parent that has just ended leaves this open.
    fn is_foreign(&self, stat: &Stat) -> bool {
        let ancestors =
            std::iter::successors(Some(stat.parent), |pid| self.parents.get(pid).copied());
        // No line of ancestors is longer than this, unless numbers were reused while we looked.
        ancestors
            .take(self.parents.len())
            .find(|pid| *pid == self.us || *pid <= 1)
            .is_some_and(|pid| pid != self.us)
    }
}

/// Kills what is in the job's control group, and while it forks.
fn kill_group(run: &Run) {
    if let Some(group) = &run.cgroup
        && !Fault::NoSweep.is_on()
        && let Err(e) = group.kill()
    {
        log::debug!("{}: its control group cannot be killed: {e}", run.id);
    }
}

/// The live processes that hold the lock on the job's log: a process that took the mark out of its environment, left
/// the session and lost its parent is still found by that.
fn holders(shared: &Shared, id: &JobId) -> io::Result<Vec<Stat>> {
    let log = std::fs::metadata(shared.spool.path_of(&Place::Log).join(id.as_str()))?;
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let mut all = procfs::all()?;
    all.retain(|stat| stat.pid != us && procfs::has_locked(stat.pid, log.dev(), log.ino()));
    Ok(all)
}

/// What every process of the job has in its environment, unless it took it out.
pub fn mark(spool: &str, id: &JobId) -> [String; 2] {
    [format!("PIRN_ID={id}"), format!("PIRN_SPOOL={spool}")]
}
