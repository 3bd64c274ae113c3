//! Ending what a job's leader left behind: background processes, sessions of their own, double forks.

use super::record;
use super::run::{Facts, Run};
use super::state::Daemon;
use crate::core::id::JobId;
use crate::core::process::{Proc, Stop};
use crate::os::cgroup::Cgroup;
use crate::os::fault::Fault;
use crate::os::procfs::{self, Stat};
use crate::os::{clock, signals};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// How long a process that was killed may take to die and to let go of its locks.
const DYING: Duration = Duration::from_secs(1);

/// Ends every process of the job, by force after `grace`; returns when none is left.
pub fn sweep(daemon: &Daemon, run: &Run, grace: Duration) {
    let id = &run.id;
    let began = clock::now().boot;
    let mut how = Stop::Term;
    let mut told = Vec::new();
    let mut pause = Duration::from_millis(2);
    loop {
        match left(daemon, run) {
            Ok(None) => break,
            Ok(Some(left)) => {
                let took = clock::now().boot.since(began);
                if took >= grace {
                    how = Stop::Kill;
                    kill_group(run);
                }
                let refused = tell(id, &left, how, &mut told);
                if took >= grace + DYING && (refused.is_some() || left.is_empty()) {
                    report_stuck(daemon, run, refused);
                }
            }
            // Descriptors may be short. That nothing is left must be known.
            Err(e) => log::debug!("{id}: its processes cannot be looked for: {e}"),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Signals these processes: with TERM once each, with KILL as long as it takes. Gives one that may not be signalled.
fn tell(id: &JobId, left: &[Stat], how: Stop, told: &mut Vec<i32>) -> Option<i32> {
    let mut refused = None;
    for member in left {
        if how == Stop::Kill || !told.contains(&member.pid) {
            told.push(member.pid);
            log::debug!("{id}: process {} is left behind: {how:?}", member.pid);
            if !signals::signal_one(member.pid, how) {
                refused = Some(member.pid);
            }
        }
    }
    refused
}

/// Says in the log and in the record, once, that what is left of the job cannot be ended.
fn report_stuck(daemon: &Daemon, run: &Run, refused: Option<i32>) {
    let mut facts = run.facts();
    if mark_stuck(daemon, run, &mut facts, refused) {
        record::write_note(daemon, run, &mut facts);
        drop(facts);
        // The daemon may be waiting for this job alone.
        daemon.tell_of_change();
    }
}

/// Notes and logs that the job cannot be ended: this process of it may not be signalled, or one that holds its log
/// cannot even be seen. False when that is known already.
pub fn mark_stuck(daemon: &Daemon, run: &Run, facts: &mut Facts, refused: Option<i32>) -> bool {
    if facts.stuck.is_some() {
        return false;
    }
    let us = daemon.home.account.uid;
    let why = match refused {
        Some(pid) => {
            let user = procfs::user_of(pid);
            let user = user.map_or_else(|| "another user".to_owned(), |uid| format!("user {uid}"));
            format!(
                "cannot be ended: process {pid} runs as {user}, and pirn, as user {us}, may not signal it; end that process"
            )
        }
        None => format!(
            "cannot be ended: a process that pirn, as user {us}, cannot see holds log/{id}; find it as root, for example \
             with fuser, and end it",
            id = run.id
        ),
    };
    log::error!("{}: {why}", run.id);
    facts.stuck = Some(why);
    true
}

/// Notes who belongs to the job while its leader still holds the tree together: once it is gone, a process that
/// hid its mark can no longer be told from others'.
pub fn remember(daemon: &Daemon, run: &Run) {
    if let Ok(tree) = members(daemon, run) {
        run.facts().tree = tree.iter().map(|stat| (stat.pid, stat.start)).collect();
    }
}

/// Warns the job that its timeout is near, and notes that. Only the processes that expect the signal get it: it would end
/// the others, such as a shell that waits for the program.
pub fn warn(daemon: &Daemon, run: &Run) {
    let Some(warning) = run.terms.warn else {
        return;
    };
    let signal = signals::parse(warning.signal).unwrap_or(libc::SIGUSR1);
    let members = members(daemon, run).unwrap_or_default();
    let expects = |stat: &&Stat| procfs::expects(stat.pid, signal);
    let told: Vec<&Stat> = members.iter().filter(expects).collect();
    for stat in &told {
        signals::pass(stat.pid, signal);
    }
    let (id, name) = (&run.id, signals::name(signal));
    let of = (told.len(), members.len());
    match of {
        (0, _) => log::warn!("{id}: its timeout is near, and no process of it handles {name}"),
        (n, all) => log::info!("{id}: its timeout is near: {name} to {n} of its {all} processes"),
    }
    run.facts().record.warned_at = Some(clock::now().wall);
}

/// The live processes of the job, or if there are none, those that hold its log; `None` when it is free.
fn left(daemon: &Daemon, run: &Run) -> io::Result<Option<Vec<Stat>>> {
    let members = members(daemon, run)?;
    if !members.is_empty() {
        return Ok(Some(members));
    }
    if !daemon.spool.log_is_held(&run.id) {
        return Ok(None);
    }
    holders(daemon, &run.id).map(Some)
}

/// The live processes that belong to this run of the job: those that bear a sign of it, and their descendants.
fn members(daemon: &Daemon, run: &Run) -> io::Result<Vec<Stat>> {
    if Fault::NoSweep.is_on() {
        return Ok(Vec::new());
    }
    let all = procfs::all()?;
    let signs = Signs::of(daemon, run, &all);
    let mut mine: Vec<Stat> = all.iter().filter(|p| signs.are_on(p)).copied().collect();
    loop {
        let parents: Vec<i32> = mine.iter().map(|stat| stat.pid).collect();
        let is_child =
            |stat: &&Stat| parents.contains(&stat.parent) && !parents.contains(&stat.pid);
        let children = all.iter().filter(is_child).copied();
        let children: Vec<Stat> = children.filter(|stat| stat.pid != signs.us).collect();
        if children.is_empty() {
            return Ok(mine);
        }
        mine.extend(children);
    }
}

/// The signs by which a process belongs to a run of a job. Processes that an earlier run of its name has left for good
/// have the mark and the control group too; their start tells them apart.
struct Signs {
    /// The daemon.
    us: i32,
    tree: Tree,
    adopted: bool,
    /// When the leader was started, if that can be compared.
    since: u64,
    /// The session and process group of the leader.
    session: Option<i32>,
    /// Its processes with their starts, when it was told to end.
    known: Vec<(i32, u64)>,
    /// The processes in its control group.
    confined: Vec<i32>,
    /// The variables that its processes were started with.
    mark: [String; 2],
    /// The user that it was started as.
    user: u32,
}

impl Signs {
    fn of(daemon: &Daemon, run: &Run, all: &[Stat]) -> Self {
        let us = i32::try_from(std::process::id()).unwrap_or(0);
        let (leader, known) = {
            let facts = run.facts();
            (facts.record.proc.clone(), facts.tree.clone())
        };
        Self {
            us,
            tree: Tree::new(all, us),
            adopted: run.adopted,
            session: session(run, leader.as_ref()),
            // After a crash the clock of processes may be another than that of the note (time_namespaces(7)).
            since: leader
                .filter(|_| !run.adopted)
                .map_or(0, |leader| leader.start),
            known,
            confined: run.cgroup.as_ref().map_or_else(Vec::new, Cgroup::processes),
            mark: mark(&daemon.home.spool, &run.id),
            user: daemon.home.account.uid,
        }
    }

    fn are_on(&self, stat: &Stat) -> bool {
        self.allow(stat)
            && (self.is_in_session(stat)
                || self.known.contains(&(stat.pid, stat.start))
                || self.confined.contains(&stat.pid)
                || self.is_marked(stat))
    }

    /// False for a process that certainly is not of this run, whatever else it looks like.
    fn allow(&self, stat: &Stat) -> bool {
        let may_descend = self.adopted || !self.tree.is_foreign(stat);
        stat.pid != self.us && stat.start >= self.since && may_descend
    }

    fn is_in_session(&self, stat: &Stat) -> bool {
        self.session
            .is_some_and(|id| stat.session == id || stat.group == id)
    }

    /// Anybody can start a process with the mark. One that need not descend from this daemon must be of its user.
    fn is_marked(&self, stat: &Stat) -> bool {
        let is_ours = || !self.adopted || procfs::user_of(stat.pid) == Some(self.user);
        procfs::has_environment(stat.pid, &self.mark) && is_ours()
    }
}

/// The session and process group of the job's leader, as long as nobody else can have that number.
fn session(run: &Run, leader: Option<&Proc>) -> Option<i32> {
    if run.pid == 0 {
        return None;
    }
    // No other process gets this number while one of the session lives. But all of them may have ended long ago, and the
    // number have been given away.
    let is_reused = procfs::stat(run.pid)
        .is_some_and(|stat| leader.map_or(run.adopted, |leader| leader.start != stat.start));
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

/// Kills what is in the job's control group, and while it forks, whichever user it runs as. False when that cannot be
/// done.
pub fn kill_group(run: &Run) -> bool {
    let Some(group) = run.cgroup.as_ref().filter(|_| !Fault::NoSweep.is_on()) else {
        return false;
    };
    let killed = group.kill();
    if let Err(e) = &killed {
        log::debug!("{}: its control group cannot be killed: {e}", run.id);
    }
    killed.is_ok()
}

/// The live processes that hold the lock on the job's log: a process that took the mark out of its environment, left
/// the session and lost its parent is still found by that.
fn holders(daemon: &Daemon, id: &JobId) -> io::Result<Vec<Stat>> {
    let (device, inode) = daemon.spool.identify_log(id)?;
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let mut all = procfs::all()?;
    all.retain(|stat| stat.pid != us && procfs::has_locked(stat.pid, device, inode));
    Ok(all)
}

/// The variables that every process of the job has in its environment, unless it removed them.
pub fn mark(spool: &str, id: &JobId) -> [String; 2] {
    [format!("PIRN_ID={id}"), format!("PIRN_SPOOL={spool}")]
}
