//! Rung B for the commands that add and steer: each is killed at every system call that matters. A change that was not
//! acknowledged may have happened or not, but never in part.

use crate::audit::{self, Broken, Known};
use crate::host::{ready, setting};
use crate::kill::TOOLS;
use crate::rig::{Rig, STRACE, run};
use std::fs;

const CALLS: [&str; 5] = [
    "renameat2",
    "unlinkat",
    "fsync,fdatasync",
    "openat",
    "write",
];

/// The number of calls of a kind that a command makes, in its busiest thread.
fn count(rig: &Rig, calls: &str, args: &[&str]) -> u64 {
    let out = rig.spool.with_file_name("trace").display().to_string();
    let trace = format!("trace={calls}");
    let strace = [
        "strace", "-f", "-b", "execve", "-qq", "-o", &out, "-e", &trace,
    ];
    assert!(run(&mut rig.through(&strace, args)).ok, "{args:?}");
    let text = fs::read_to_string(&out).unwrap();
    let lines = || text.lines().filter(|line| line.contains('('));
    let thread = |line: &str| line.split(' ').next().unwrap_or("").to_owned();
    let of = |number: &String| lines().filter(|line| thread(line) == *number).count() as u64;
    lines().map(|line| of(&thread(line))).max().unwrap_or(0)
}

/// Kills the command at each of its calls in turn; then a daemon recovers.
fn at_every_call_of(command: &str) {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(home.path(), &home.path().join("spool"), "");
    rig.make();
    let (mut known, mut found) = (Known::default(), Vec::new());
    let (mut points, mut killed) = (0, 0);
    let most_points = setting("PIRN_POINTS", 12) * 4;
    for calls in CALLS {
        let job = rig.ledger.job();
        let args = [
            command,
            "--clean-env",
            "--queue",
            "q",
            "--tries",
            "2",
            &job,
            "ok",
        ];
        let most = count(&rig, calls, &args);
        for when in (1..=most).take(most_points as usize) {
            let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
            let trace = format!("trace={calls}");
            let strace = [&STRACE[..], &["-e", &trace, "-e", &inject]].concat();
            let done = run(&mut rig.through(&strace, &args));
            points += 1;
            if !done.ok {
                killed += 1;
            } else if command == "add" {
                known.accept(&done.text);
            }
            let raw = audit::raw(&rig).into_iter();
            found.extend(raw.map(|(b, what)| format!("{calls} {when}: {b:?}: {what}")));
        }
    }
    let findings = afterwards(&mut rig, &known);
    found.extend(findings.iter().map(|(b, what)| format!("{b:?}: {what}")));
    let ended = rig.names("complete").len() + rig.names("failed").len();
    let what = format!(
        "{points} points, {killed} killed, {} acknowledged, {ended} jobs in the end",
        known.acknowledged.len()
    );
    audit::conclude(&format!("rung B: pirn {command}"), &what, &found);
}

/// Lets a daemon recover, and checks the result.
fn afterwards(rig: &mut Rig, known: &Known) -> Vec<(Broken, String)> {
    audit::age_staging(rig);
    let mut findings = Vec::new();
    if let Err(what) = rig.recover() {
        findings.push((Broken::Stuck, what));
    }
    findings.extend(audit::settled(rig, known));
    findings
}

#[test]
fn add_killed() {
    at_every_call_of("add");
}

#[test]
fn run_killed() {
    at_every_call_of("run");
}

/// `pirn add --batch` killed at each call: every id that it has printed is that of a job, and no job has part of a
/// line.
#[test]
fn batch_killed() {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(home.path(), &home.path().join("spool"), "");
    rig.make();
    let input = home.path().join("input");
    let job = rig.ledger.job();
    let record = serde_json::json!({"command": [&job, "ok"], "queue": "q"});
    let lines = [format!("{job} ok"), record.to_string(), format!("{job} ok")];
    fs::write(&input, lines.join("\n")).unwrap();
    let batch = |strace: &[&str]| {
        let args = ["add", "--batch", "--clean-env", "--tries", "2"];
        run(rig
            .through(strace, &args)
            .stdin(fs::File::open(&input).unwrap()))
    };
    let (mut known, mut found) = (Known::default(), Vec::new());
    let (mut points, mut killed) = (0, 0);
    for calls in CALLS {
        let trace = format!("trace={calls}");
        // Until the command is not killed any more.
        for when in 1.. {
            let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
            let done = batch(&[&STRACE[..], &["-e", &trace, "-e", &inject]].concat());
            points += 1;
            killed += u32::from(!done.ok);
            let ids: Vec<&str> = done.text.lines().collect();
            ids.iter().for_each(|id| drop(known.accept(id)));
            let raw = audit::raw(&rig).into_iter();
            found.extend(raw.map(|(b, what)| format!("{calls} {when}: {b:?}: {what}")));
            if done.ok {
                assert_eq!(ids.len(), lines.len());
                break;
            }
        }
    }
    let findings = afterwards(&mut rig, &known);
    found.extend(findings.iter().map(|(b, what)| format!("{b:?}: {what}")));
    let what = format!(
        "{points} points, {killed} killed, {} acknowledged",
        known.acknowledged.len()
    );
    audit::conclude("rung B: pirn add --batch", &what, &found);
}

/// A job that can be steered: it waits in a queue, or has failed without having run.
fn steerable(rig: &Rig, known: &mut Known, has_failed: bool) -> String {
    let id = known.accept(&rig.add(&["--queue", "q", "--tries", "2"], &["ok"]));
    if has_failed {
        assert!(rig.pirn(&["cancel", &id]).ok);
    }
    id
}

/// Kills a steering command at each of its calls in turn. An acknowledged change has happened; without an
/// acknowledgement, the job is as before or as after the change.
fn steering_killed(command: &str, has_failed: bool) {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(home.path(), &home.path().join("spool"), "");
    rig.make();
    let (mut known, mut found) = (Known::default(), Vec::new());
    let mut removed = Vec::new();
    let (mut points, mut killed) = (0, 0);
    for calls in CALLS {
        let id = steerable(&rig, &mut known, has_failed);
        let most = count(&rig, calls, &[command, &id]);
        if command == "rm" {
            known.acknowledged.pop();
            removed.push(id);
        }
        for when in 1..=most {
            let id = steerable(&rig, &mut known, has_failed);
            let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
            let trace = format!("trace={calls}");
            let strace = [&STRACE[..], &["-e", &trace, "-e", &inject]].concat();
            let done = run(&mut rig.through(&strace, &[command, &id]));
            points += 1;
            killed += u32::from(!done.ok);
            match (command, done.ok) {
                ("cancel", true) => drop(known.cancelled.insert(id)),
                ("rm", acknowledged) => {
                    known.acknowledged.pop();
                    removed.extend(acknowledged.then_some(id));
                }
                ("retry", true) if rig.names("failed").contains(&id) => {
                    found.push(format!("{calls} {when}: {id} is still in failed/"));
                }
                _ => {}
            }
            let raw = audit::raw(&rig).into_iter();
            found.extend(raw.map(|(b, what)| format!("{calls} {when}: {b:?}: {what}")));
        }
    }
    let mut findings = afterwards(&mut rig, &known);
    for id in &removed {
        let there = ["complete", "failed", "log"].map(|dir| rig.names(dir).contains(id));
        if there.contains(&true) || rig.ledger.starts(id) > 0 {
            findings.push((Broken::LeftBehind, format!("{id} was removed")));
        }
    }
    found.extend(findings.iter().map(|(b, what)| format!("{b:?}: {what}")));
    let what = format!("{points} points, {killed} killed");
    assert!(killed > 3, "{what}");
    audit::conclude(&format!("rung B: pirn {command}"), &what, &found);
}

#[test]
fn cancel_killed() {
    steering_killed("cancel", false);
}

#[test]
fn retry_killed() {
    steering_killed("retry", true);
}

#[test]
fn rm_of_a_waiting_job_killed() {
    steering_killed("rm", false);
}

#[test]
fn rm_of_a_finished_job_killed() {
    steering_killed("rm", true);
}

/// Process ids are given out again, in a container soon: the files that a killed `add` has left in `tmp/` block nobody.
#[test]
fn the_same_pid_again() {
    if !ready("rung B in a pid namespace", &TOOLS, true) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let rig = Rig::new(home.path(), &home.path().join("spool"), "");
    rig.make();
    let space = ["unshare", "--pid", "--fork", "--mount-proc"];
    let strace = [&STRACE[..], &["-e", "trace=renameat2"]].concat();
    let inject = ["-e", "inject=renameat2:signal=SIGKILL:when=1"];
    let args = ["add", "--clean-env", "--id", "same", "true"];
    let killed = run(&mut rig.through(&[&space[..], &strace, &inject].concat(), &args));
    assert!(
        !killed.ok && rig.files("tmp").len() == 1,
        "{:?}",
        rig.files("tmp")
    );
    let again = run(&mut rig.through(&[&space[..], &strace].concat(), &args));
    assert!(
        again.ok && again.text == "same",
        "the second add was refused"
    );
    println!("rung B: an id added again by the same pid: accepted");
}
