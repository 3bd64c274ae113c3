//! Rung B: the daemon is killed at its n-th system call of each kind (`strace -e inject`), under load; then the next
//! daemon, untraced, recovers. Only the daemon is killed: its jobs go on, and are adopted or found dead.
//!
//! strace counts for each thread separately, and detaches from jobs at their exec. The number of calls of a thread is
//! measured first, and the points are spread over it.

use crate::audit::{self, Broken, Findings, Known};
use crate::host::{Dice, comes, ready, setting};
use crate::load::add_any;
use crate::rig::Rig;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The tools that this rung needs.
pub const TOOLS: [(&str, &str); 2] = [("strace", "strace"), ("flock", "util-linux")];

/// The system calls, by strace's names, grouped by purpose.
const CALLS: [&str; 6] = [
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "fsync,fdatasync",
    "open,openat",
    "write,pwrite64,writev",
    "clone,clone3,fork,vfork",
];

/// Jobs added before the daemon starts, and again while it runs.
const JOBS: usize = 6;

/// The result at one point.
pub struct Outcome {
    /// The daemon reached the call and was killed.
    pub killed: bool,
    pub jobs: usize,
    pub findings: Findings,
}

/// Applies the same load each time; strace runs the daemon with these options until it dies or has done all work.
pub fn under_strace(home: &Path, options: &[&str], faults: &str, purpose: &str) -> Outcome {
    let mut rig = Rig::new(home, &home.join("spool"), faults);
    rig.make();
    let (mut known, mut dice) = (Known::default(), Dice::new(purpose));
    // It lives until the next daemon has found it, or has not, however long that takes.
    let lasting = known.accept(&rig.add(&["--tries", "3"], &["gate", "go"]));
    known.accept(&rig.add(&["--tries", "3"], &["nap", "0.25"]));
    let first = known.accept(&rig.add(&["--tries", "3"], &["second"]));
    known.accept(&rig.add(&["--after", &first], &["ok"]));
    known.accept(&rig.add(&["--after-any", &first], &["ok"]));
    let stop = known.accept(&rig.add(&["--priority", "9"], &["nap", "60"]));
    let (known, never) = (Mutex::new(known), AtomicBool::new(false));
    (0..JOBS).for_each(|_| add_any(&rig, &mut dice, &known, &never));
    let strace = [&["strace", "-f", "-b", "execve", "-qq"], options].concat();
    let serve = rig.through(&strace, &["serve"]);
    rig.serve_by(serve);
    let mut more = JOBS;
    let end = Instant::now() + Duration::from_secs(20);
    while rig.is_serving() && Instant::now() < end {
        let mut jobs = known.lock().unwrap();
        if !jobs.cancelled.contains(&stop) && rig.ledger.starts(&stop) > 0 {
            if rig.pirn(&["cancel", &stop]).ok {
                jobs.cancelled.insert(stop.clone());
            }
        } else if more == 0 && !is_busy(&rig, &lasting) {
            break;
        }
        drop(jobs);
        if more > 0 {
            add_any(&rig, &mut dice, &known, &never);
            more -= 1;
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let killed = !rig.is_serving();
    let known = known.into_inner().unwrap();
    // If the call was not reached, the daemon is killed while it is idle.
    rig.kill_traced();
    if !known.cancelled.contains(&stop) {
        // Its cancelling was not acknowledged: cancel it again, so that it ends sooner.
        rig.pirn(&["cancel", &stop]);
    }
    let mut findings = audit_between(&rig);
    audit::age_staging(&rig);
    let (ledger, log) = (rig.ledger.clone(), home.join("daemon.log"));
    let before = ledger.starts(&lasting);
    let opener = std::thread::spawn(move || {
        let adopted = format!(" {lasting}: still running");
        comes(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            log.contains(&adopted) || ledger.starts(&lasting) > before
        });
        ledger.open_gate("go");
    });
    let recovered = rig.recover();
    opener.join().unwrap();
    if let Err(what) = recovered {
        findings.push((Broken::Stuck, what));
        rig.kill_all();
    }
    findings.extend(audit::settled(&rig, &known));
    findings.sort();
    findings.dedup();
    if !findings.is_empty() && faults.is_empty() {
        println!("--- {options:?}: {findings:?}\n{}", rig.log());
    }
    Outcome {
        killed,
        jobs: known.acknowledged.len(),
        findings,
    }
}

/// True while another job than this one waits or runs.
fn is_busy(rig: &Rig, lasting: &str) -> bool {
    let files = ["pending", "active"].map(|dir| rig.files(dir)).concat();
    files
        .iter()
        .any(|file| !file.ends_with(&format!("/{lasting}")))
}

/// Checks between the daemons, while jobs still run: every file that `ls` shows must be whole, and in one place.
fn audit_between(rig: &Rig) -> Findings {
    audit::raw(rig)
}

/// The number of calls of this kind in the busiest thread when the daemon is not killed.
fn most_calls(calls: &str) -> u64 {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("trace").display().to_string();
    let trace = format!("trace={calls}");
    under_strace(home.path(), &["-o", &out, "-e", &trace], "", "measure");
    let mut threads = BTreeMap::new();
    for line in fs::read_to_string(&out).unwrap().lines() {
        if line.contains('(') && !line.contains("resumed>") {
            *threads
                .entry(line.split(' ').next().unwrap().to_owned())
                .or_insert(0) += 1;
        }
    }
    threads.into_values().max().unwrap_or(0)
}

fn at_points_of(calls: &str) {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let (points, most) = (setting("PIRN_POINTS", 12), most_calls(calls));
    let (mut killed, mut jobs, mut found, mut tried) = (0, 0, Vec::new(), Vec::new());
    for point in 0..points.min(most) {
        // The first few calls one by one, later ones further and further apart.
        let spread = point * point * most / (points * points).max(1);
        let when = spread.max(point) + 1;
        let home = tempfile::tempdir().unwrap();
        let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
        let trace = format!("trace={calls}");
        let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let outcome = under_strace(home.path(), &options, "", &format!("{calls} {when}"));
        killed += u64::from(outcome.killed);
        jobs += outcome.jobs;
        tried.push(when);
        let line = |(broken, what)| format!("at call {when}: {broken:?}: {what}");
        found.extend(outcome.findings.into_iter().map(line));
    }
    let what = format!(
        "{} points (of {most}) {tried:?}, {killed} killed, {jobs} jobs",
        tried.len()
    );
    audit::conclude(&format!("rung B at {calls}"), &what, &found);
}

#[test]
fn killed_at_a_rename() {
    at_points_of(CALLS[0]);
}

#[test]
fn killed_at_an_unlink() {
    at_points_of(CALLS[1]);
}

#[test]
fn killed_at_a_sync() {
    at_points_of(CALLS[2]);
}

#[test]
fn killed_at_an_open() {
    at_points_of(CALLS[3]);
}

#[test]
fn killed_at_a_write() {
    at_points_of(CALLS[4]);
}

#[test]
fn killed_at_a_clone() {
    at_points_of(CALLS[5]);
}
