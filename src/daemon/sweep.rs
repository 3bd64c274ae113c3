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
        let mut left = members(shared, &run);
        if left.is_empty() {
            if !children::log_is_held(shared, id) {
                break;
            }
            left = holders(shared, id);
        }
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
    let tree = members(shared, run);
    run.remember(tree.iter().map(|stat| (stat.pid, stat.start)).collect());
}

/// The live processes that belong to the job: in its leader's session or group, in its control group, or with its
/// mark in the environment they were started with, or descended from such.
pub fn members(shared: &Shared, run: &Run) -> Vec<Stat> {
    let mark = mark(&shared.home.spool, &run.id);
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let all = procfs::all().unwrap_or_default();
    let known = run.tree();
    let confined = run.cgroup.as_ref().map_or_else(Vec::new, Cgroup::processes);
    let mut mine: Vec<Stat> = Vec::new();
    let belongs = |stat: &Stat| {
        stat.pid != us
            && ((run.pid != 0 && (stat.session == run.pid || stat.group == run.pid))
                || known.contains(&(stat.pid, stat.start))
                || confined.contains(&stat.pid)
                || procfs::has_environment(stat.pid, &mark))
            && !Fault::NoSweep.is_on()
    };
    mine.extend(all.iter().filter(|stat| belongs(stat)));
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
            return mine;
        }
        mine.extend(more);
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

/// The live processes that have the job's log open: who took the mark out of its environment, left the session
/// and lost its parent is still found by that.
fn holders(shared: &Shared, id: &JobId) -> Vec<Stat> {
    let Ok(log) = std::fs::metadata(shared.spool.path_of(&Place::Log).join(id.as_str())) else {
        return Vec::new();
    };
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let mut all = procfs::all().unwrap_or_default();
    all.retain(|stat| stat.pid != us && procfs::has_open(stat.pid, log.dev(), log.ino()));
    all
}

/// What every process of the job has in its environment, unless it took it out.
pub fn mark(spool: &str, id: &JobId) -> [String; 2] {
    [format!("PIRN_ID={id}"), format!("PIRN_SPOOL={spool}")]
}
