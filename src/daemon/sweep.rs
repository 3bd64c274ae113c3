//! Ending what a job's leader left behind: background processes, sessions of their own, double forks.

use super::children;
use super::engine::Letter;
use super::shared::{Run, Shared};
use crate::core::id::JobId;
use crate::core::scheduler::{Event, Stop};
use crate::os::fault::Fault;
use crate::os::procfs::{self, Stat};
use crate::os::{clock, signals};
use std::time::Duration;

/// Ends every process of the job, by force after `grace`; reports when none is left.
pub fn sweep(shared: &Shared, id: &JobId, grace: Duration) {
    let Some(run) = shared.run(id) else { return };
    let began = clock::now().boot;
    let mut how = Stop::Term;
    let mut told = Vec::new();
    let mut pause = Duration::from_millis(2);
    loop {
        let left = members(shared, &run);
        if left.is_empty() && !children::log_is_held(shared, id) {
            break;
        }
        if clock::now().boot.since(began) >= grace {
            how = Stop::Kill;
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

/// The live processes that belong to the job: in its leader's session or group, or with its mark in the
/// environment they were started with, or descended from such.
pub fn members(shared: &Shared, run: &Run) -> Vec<Stat> {
    let mark = mark(&shared.home.spool, &run.id);
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let all = procfs::all().unwrap_or_default();
    let mut mine: Vec<Stat> = Vec::new();
    let belongs = |stat: &Stat| {
        stat.pid != us
            && ((run.pid != 0 && (stat.session == run.pid || stat.group == run.pid))
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

/// What every process of the job has in its environment, unless it took it out.
pub fn mark(spool: &str, id: &JobId) -> [String; 2] {
    [format!("PIRN_ID={id}"), format!("PIRN_SPOOL={spool}")]
}
