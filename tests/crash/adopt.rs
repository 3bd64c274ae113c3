//! A daemon killed while its jobs run: the next one takes them over as its own.

use crate::host::{comes, ready, wait_for};
use crate::rig::{Rig, is_alive};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A spool in a directory of its own; `None`, with a message, if the machine lacks something.
pub fn place(faults: &str) -> Option<Rig> {
    ready("adoption", &[("flock", "util-linux")], false).then(|| Rig::alone(faults))
}

/// True if the kernel reports the exit status of a process that is not our child (Linux 6.15).
fn kernel_tells() -> bool {
    let release = crate::host::tool("uname", &["-r"]);
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// Starts a job, waits until it runs (and has its note), and kills the daemon.
fn orphan(rig: &mut Rig, options: &[&str], words: &[&str], noted: bool) -> String {
    rig.serve();
    let id = rig.add(options, words);
    wait_for("the job to begin", || rig.ledger.starts(&id) > 0);
    if noted {
        rig.wait_note(&id);
    }
    rig.kill_daemon();
    id
}

/// As [`orphan`], with a job that still runs when the daemon is killed, before its timeout. If the machine is too slow
/// for that, starts another one with a longer timeout. Gives also the timeout, in seconds.
fn orphan_in_time(rig: &mut Rig) -> (String, u64) {
    for timeout in [3, 20] {
        rig.serve();
        let limit = format!("{timeout}s");
        let options = ["--tries", "1", "--grace", "1s", "--timeout", &limit];
        let id = rig.add(&options, &["nap", "300"]);
        let has = |place, key| rig.record(place, &id).is_some_and(|r| r.get(key).is_some());
        wait_for("the note or the end", || {
            has("active", "pid") || has("failed", "finished_at")
        });
        let is_started = rig.ledger.starts(&id) > 0;
        rig.kill_daemon();
        let has_note = rig
            .record("active", &id)
            .is_some_and(|r| r.get("pid").is_some());
        if is_started && has_note && is_alive(rig.ledger.pid("start", &id).unwrap()) {
            return (id, timeout);
        }
    }
    panic!("no job runs for twenty seconds\n{}", rig.log());
}

/// Waits until a process is gone completely, with its exit status.
fn is_reaped(pid: i64) -> bool {
    comes(|| !std::path::Path::new(&format!("/proc/{pid}")).exists())
}

fn end(rig: &Rig, id: &str) -> (&'static str, Value) {
    let end = rig.end_of(id);
    assert!(end.is_some(), "{id} does not end\n{}", rig.log());
    end.unwrap()
}

/// The job ends as it would have under its own daemon, and is started once.
fn ends_truly(noted: bool, code: &str, dir: &str) {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig, &["--tries", "1"], &["gate", "go", code], noted);
    rig.serve_adopting(&id);
    rig.wait_note(&id);
    rig.ledger.open_gate("go");
    let (at, record) = end(&rig, &id);
    assert_eq!(rig.ledger.starts(&id), 1, "{record}");
    assert_eq!(record["attempt"], 1, "{record}");
    if kernel_tells() {
        assert_eq!(
            (at, record["reason"].as_str()),
            (dir, Some("exited")),
            "{record}"
        );
        assert_eq!(record["exit_code"].to_string(), code, "{record}");
    } else {
        println!("adoption: the kernel does not tell the exit status: {record}");
        assert_eq!(record["reason"], "interrupted");
    }
    println!(
        "adoption: killed {} the note, exit {code}: recorded as such",
        if noted { "after" } else { "before" }
    );
}

#[test]
fn its_exit_status_is_recorded() {
    ends_truly(true, "7", "failed");
}

#[test]
fn its_success_is_recorded() {
    ends_truly(true, "0", "complete");
}

#[test]
fn without_a_note_too() {
    ends_truly(false, "7", "failed");
}

#[test]
fn success_without_a_note_too() {
    ends_truly(false, "0", "complete");
}

#[test]
fn a_killing_signal_is_recorded() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig, &["--tries", "1"], &["nap", "300"], true);
    rig.serve_adopting(&id);
    let pid = rig.ledger.pid("start", &id).unwrap();
    crate::host::tool("kill", &["-USR1", &pid.to_string()]);
    let (at, record) = end(&rig, &id);
    assert_eq!(at, "failed");
    if kernel_tells() {
        assert_eq!(record["reason"], "signaled", "{record}");
        assert_eq!(record["signal"], 10, "{record}");
    }
    println!("adoption: ended by a signal: recorded as such");
}

#[test]
fn what_ended_meanwhile_was_interrupted() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig, &["--tries", "2"], &["gate", "go"], true);
    let pid = rig.ledger.pid("start", &id).unwrap();
    rig.ledger.open_gate("go");
    if !is_reaped(pid) {
        return println!("skipped: adoption: init does not reap here");
    }
    rig.serve();
    let (at, record) = end(&rig, &id);
    assert_eq!(
        (at, &record["attempt"]),
        ("complete", &Value::from(2)),
        "{record}"
    );
    assert_eq!(record["attempts"][0]["reason"], "interrupted", "{record}");
    assert_eq!(rig.ledger.starts(&id), 2);
    println!("adoption: ended while there was no daemon: interrupted, and tried again");
}

#[test]
fn its_timeout_goes_on() {
    let Some(mut rig) = place("") else {
        return;
    };
    let (id, timeout) = orphan_in_time(&mut rig);
    rig.serve();
    let (_, record) = end(&rig, &id);
    assert_eq!(record["reason"], "timeout", "{record}");
    // The timeout counts from its start, not from the adoption.
    let took = record["duration"].as_f64().unwrap();
    assert!((-0.1..38.0).contains(&(took - timeout as f64)), "{record}");
    assert!(
        comes(|| rig.processes().is_empty()),
        "{:?}",
        rig.processes()
    );
    println!("adoption: timeout after {took:.1} s with a daemon killed in between");
}

#[test]
fn a_timeout_that_passed_meanwhile() {
    let Some(mut rig) = place("") else {
        return;
    };
    let (id, timeout) = orphan_in_time(&mut rig);
    let killed = Instant::now();
    wait_for("the time to pass", || {
        killed.elapsed() > Duration::from_secs(timeout)
    });
    rig.serve();
    let (_, record) = end(&rig, &id);
    assert_eq!(record["reason"], "timeout", "{record}");
    assert!(comes(|| rig.processes().is_empty()));
    println!("adoption: a timeout that passed without a daemon: enforced by the next");
}

/// The leader is dead and a child of it lives: the child is ended before the next try starts.
fn child_left_behind(noted: bool) {
    let Some(mut rig) = place("") else {
        return;
    };
    let options = ["--tries", "2", "--grace", "1s"];
    let id = orphan(&mut rig, &options, &["behind", "300"], noted);
    wait_for("the child", || rig.ledger.pid("child", &id).is_some());
    let (leader, child) = (rig.ledger.pid("start", &id), rig.ledger.pid("child", &id));
    let (leader, child) = (leader.unwrap(), child.unwrap());
    crate::host::tool("kill", &["-KILL", &leader.to_string()]);
    wait_for("the leader to die", || !is_alive(leader));
    assert!(is_alive(child));
    rig.serve();
    wait_for("the next try", || rig.ledger.starts(&id) == 2);
    assert!(
        !is_alive(child),
        "the child of the first try lives beside the second"
    );
    assert!(rig.ledger.count("twice").is_empty());
    assert!(rig.pirn(&["cancel", &id]).ok);
    let (_, record) = end(&rig, &id);
    assert_eq!(record["attempts"][0]["reason"], "interrupted", "{record}");
    assert!(
        comes(|| rig.processes().is_empty()),
        "{:?}",
        rig.processes()
    );
    println!("adoption: a child of a dead leader was ended before the next try");
}

#[test]
fn a_child_of_a_dead_leader() {
    child_left_behind(true);
}

#[test]
fn a_child_of_a_dead_leader_without_a_note() {
    child_left_behind(false);
}

/// A job that has closed its output has no lock: the note and the mark in its environment find it.
fn without_output(noted: bool) {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig, &["--tries", "2"], &["quiet", "go", "3"], noted);
    rig.serve_adopting(&id);
    rig.wait_note(&id);
    assert_eq!(rig.ledger.starts(&id), 1);
    rig.ledger.open_gate("go");
    let (_, record) = end(&rig, &id);
    assert!(rig.ledger.count("twice").is_empty());
    if kernel_tells() {
        assert_eq!(record["attempts"][0]["exit_code"], 3, "{record}");
    }
    println!("adoption: a job that has closed its output");
}

#[test]
fn a_job_that_has_closed_its_output() {
    without_output(true);
}

#[test]
fn a_job_that_has_closed_its_output_without_a_note() {
    without_output(false);
}

/// The negative control: the daemon neither looks for live processes nor locks anything.
#[test]
fn control_without_adoption() {
    let Some(mut rig) = place("no-adoption,no-log-lock") else {
        return;
    };
    let id = orphan(&mut rig, &["--tries", "2"], &["gate", "go"], true);
    rig.serve();
    assert!(
        comes(|| rig.ledger.count("twice").contains_key(&id)),
        "blind: two runs at once were not seen"
    );
    rig.ledger.open_gate("go");
    println!("control no-adoption,no-log-lock: found: {id} ran twice at once");
}
