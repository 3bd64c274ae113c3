//! Steering by hand: mv and rm of running jobs. All of their processes end (DESIGN sections 3 and 5).

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::json;
use std::fs;

/// A job with a child in its own session, one in the background, and a leader that waits.
const FAMILY: &str = "echo begun; setsid sleep 600 & sleep 600 & wait";

fn running(job: &str) -> Spool {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", job);
    spool.wait_log("7", "begun");
    spool
}

fn with_family() -> Spool {
    let spool = running(FAMILY);
    spool.wait_for("three processes", || spool.processes("7").len() == 3);
    spool
}

#[test]
fn rm_kills_it_and_forgets_it() {
    let spool = with_family();
    spool.rm("active/7");
    spool.wait_no_process("7");
    spool.wait_gone("log/7");
    spool.settle();
    for trace in ["pending/7", "active/7", "complete/7", "failed/7", "bad/7"] {
        assert!(!spool.has(trace), "{trace}");
    }
    assert_eq!(spool.scratch(), [""; 0]);
}

#[test]
fn rm_before_the_note_forgets_it_too() {
    let spool = Spool::serving(&[]);
    for n in 0..20 {
        let id = format!("early-{n}");
        spool.drop_file(&id, "exec sleep 600");
        spool.wait_file(&format!("active/{id}"));
        spool.rm(&format!("active/{id}"));
        spool.wait_no_process(&id);
    }
    spool.settle();
    spool.wait_for("no trace", || {
        ["pending", "active", "complete", "failed", "log", "tmp"]
            .iter()
            .all(|dir| spool.ls(dir).iter().all(|name| !name.contains("early")))
    });
}

#[test]
fn mv_to_failed_kills_it_and_keeps_the_record() {
    let spool = with_family();
    spool.mv("active/7", "failed");
    let record = spool.wait_record("failed/7");
    assert_eq!(record["reason"], "cancelled");
    assert_eq!(
        (&record["attempt"], &record["id"]),
        (&json!(1), &json!("7"))
    );
    assert_eq!(record["output"], "begun\n");
    assert!(text(&record, "started_at") <= text(&record, "finished_at"));
    assert_eq!(record.get("pid"), None, "pid is there while it runs");
    // The record is final only when no process is left.
    assert_eq!(spool.processes("7"), [0; 0]);
    assert!(!spool.has("active/7") && !spool.has("pending/7"));
    assert_eq!(spool.read("log/7"), "begun\n");
}

#[test]
fn mv_to_failed_keeps_the_text_of_a_plain_job() {
    let spool = running("echo begun; exec sleep 600");
    spool.mv("active/7", "failed");
    let record = spool.wait_record("failed/7");
    assert_eq!(record["command"], "echo begun; exec sleep 600");
}

#[test]
fn mv_to_pending_kills_it_and_queues_it_again() {
    let spool = Spool::serving(&[]);
    let (runs, mut gate) = (spool.beside("runs"), Gate::new(&spool, "gate"));
    let line = format!(
        "echo $PIRN_ATTEMPT >> {}; echo begun; {}",
        runs.display(),
        gate.wait()
    );
    spool.drop_file("7", &line);
    let note = spool.wait_note("7");
    let first = note["pid"].as_i64().unwrap();
    spool.mv("active/7", "pending");
    spool.wait_for("a second run", || {
        fs::read_to_string(&runs).is_ok_and(|text| text.lines().count() == 2)
    });
    assert!(!crate::spool::is_alive(first), "two at once");
    gate.open(1);
    let record = spool.wait_record("complete/7");
    // Queued again by hand, it counts as new and has all its tries.
    assert_eq!(record["attempt"], 1);
    assert_eq!(record["command"], line.as_str());
    assert_eq!(spool.processes("7"), [0; 0]);
}

#[test]
fn mv_to_pending_of_another_queue() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("7", format!("echo in $PIRN_QUEUE; {}", gate.wait()));
    spool.wait_log("7", "in default");
    spool.mv("active/7", "pending/mail");
    spool.wait_log("7", "in mail");
    gate.open(1);
    assert_eq!(spool.wait_record("complete/7")["queue"], "mail");
}

#[test]
fn mv_to_complete_ends_it_and_keeps_it_there() {
    let spool = with_family();
    spool.mv("active/7", "complete");
    let record = spool.wait_record("complete/7");
    assert_eq!(record["reason"], "cancelled");
    assert_eq!(spool.processes("7"), [0; 0]);
    assert!(!spool.has("failed/7") && !spool.has("active/7"));
}

#[test]
fn mv_within_active_is_no_way_to_lose_a_job() {
    let spool = with_family();
    spool.mv("active/7", "active/eight");
    spool.wait_no_process("7");
    // The old name was removed; the new name came by hand and is started from pending/.
    spool.wait_for("eight to run", || !spool.processes("eight").is_empty());
    assert!(!spool.has("active/7") && !spool.has("complete/7"));
    spool.rm("active/eight");
    spool.wait_no_process("eight");
}

#[test]
fn mv_into_active_by_hand_does_not_start_it_twice() {
    let spool = Spool::serving(&[]);
    let runs = spool.beside("runs");
    spool.drop_json(
        "7",
        &json!({"command": format!("echo x >> {}", runs.display()), "not_before": "2099-01-01T00:00:00Z"}),
    );
    spool.settle();
    spool.mv("pending/7", "active");
    // It cannot stay in active/, where only running jobs are. It goes back, and its not_before still holds.
    spool.wait_file("pending/7");
    spool.settle();
    assert!(!spool.has("active/7") && !runs.exists());
}

#[test]
fn mv_of_a_finished_job_into_active_runs_it() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "echo run");
    let first = spool.wait_record("complete/7");
    spool.mv("complete/7", "active");
    spool.wait_for("another run", || {
        spool.has("complete/7") && spool.record("complete/7")["started_at"] != first["started_at"]
    });
    assert_eq!(spool.record("complete/7")["attempt"], 1);
    assert!(!spool.has("active/7") && !spool.has("pending/7"));
}

#[test]
fn a_stubborn_job_is_killed_after_its_grace() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "trap '' TERM; echo begun; while :; do sleep 0.05; done", "grace": "300ms"});
    spool.drop_json("7", &job);
    spool.wait_log("7", "begun");
    spool.mv("active/7", "failed");
    let record = spool.wait_record("failed/7");
    assert_eq!(
        (&record["reason"], &record["signal"]),
        (&json!("cancelled"), &json!(9))
    );
    assert!(record["duration"].as_f64().unwrap() >= 0.3);
    assert_eq!(spool.processes("7"), [0; 0]);
}

#[test]
fn a_stopped_job_is_ended_too() {
    let spool = Spool::serving(&[]);
    spool.drop_json("7", &json!({"command": "kill -STOP $$", "grace": "1h"}));
    spool.wait_for("it to stop", || {
        spool.processes("7").iter().any(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
        })
    });
    spool.mv("active/7", "failed");
    // TERM and CONT end it without the grace.
    spool.wait_record("failed/7");
}

#[test]
fn cancelled_while_waiting_for_its_next_try() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "7",
        &json!({"command": "echo try; false", "backoff": {"first": "1h", "max": "1h"}}),
    );
    spool.wait_for("the backoff", || {
        spool.has("pending/7") && spool.read("pending/7").contains("\"attempts\"")
    });
    spool.mv("pending/7", "failed");
    let record = spool.wait_record("failed/7");
    assert_eq!(record["reason"], "cancelled");
    // Its record keeps the earlier try, and its log stays.
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(spool.read("log/7"), "try\n");
}
