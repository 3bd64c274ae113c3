//! Steering by hand: mv and rm of jobs that wait and of jobs that have ended (DESIGN section 3).

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::json;
use std::fs;

/// A spool whose default queue has one slot, held by `blocker` until the gate opens.
fn blocked() -> (Spool, Gate) {
    let spool = Spool::serving(&["--slots", "1"]);
    let gate = Gate::new(&spool, "blocker-gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    (spool, gate)
}

#[test]
fn rm_of_a_waiting_job_withdraws_it() {
    let (spool, mut gate) = blocked();
    spool.drop_file("7", "echo ran");
    spool.rm("pending/7");
    spool.drop_file("8", "true");
    gate.open(1);
    spool.wait_record("complete/8");
    for trace in ["complete/7", "failed/7", "active/7", "log/7", "bad/7"] {
        assert!(!spool.has(trace), "{trace}");
    }
}

#[test]
fn mv_failed_to_pending_runs_it_again_with_fresh_tries() {
    let spool = Spool::serving(&[]);
    let counter = spool.beside("counter");
    let job = json!({"command": format!("echo x >> {}; exit 3", counter.display()),
        "tries": 2, "backoff": {"first": "5ms"}});
    let (state, first) = spool.run_json("7", &job);
    assert_eq!((state.as_str(), &first["attempt"]), ("failed", &json!(2)));
    spool.mv("failed/7", "pending");
    spool.wait_for("four runs", || {
        fs::read_to_string(&counter).unwrap().lines().count() == 4
    });
    let (state, again) = spool.wait_end("7");
    assert_eq!(state, "failed");
    assert_eq!(again["attempt"], 2);
    assert_eq!(again["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(again["attempts"][0]["attempt"], 1);
    assert_eq!(again["created_at"], first["created_at"]);
    assert!(text(&again, "started_at") > text(&first, "started_at"));
}

#[test]
fn mv_complete_to_pending_runs_it_again() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "echo once more");
    let first = spool.wait_record("complete/7");
    spool.mv("complete/7", "pending");
    spool.wait_for("a second end", || {
        spool.has("complete/7") && spool.record("complete/7")["started_at"] != first["started_at"]
    });
    let again = spool.record("complete/7");
    assert_eq!(
        (&again["attempt"], &again["exit_code"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(again["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(again["output"], "once more\n");
}

#[test]
fn mv_of_a_finished_job_to_another_queue_runs_it_there() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "echo in $PIRN_QUEUE; false");
    // The default is three tries; the first is enough here.
    spool.wait_log("7", "in default");
    spool.wait_end("7");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.mv("failed/7", "pending/mail");
    spool.wait_gone("failed/7");
    let (_, record) = spool.wait_end("7");
    assert_eq!(record["queue"], "mail");
    assert!(text(&record, "output").ends_with("in mail\n"));
}

#[test]
fn rm_of_a_finished_job_takes_its_logs_along() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "echo out; echo err >&2", "split": true, "tmp": "keep"});
    spool.run_json("7", &job);
    assert!(spool.has("log/7") && spool.ls("log").len() == 2 && spool.has("tmp/7"));
    spool.rm("complete/7");
    spool.wait_for("its logs to go", || spool.ls("log").is_empty());
    spool.wait_gone("tmp/7");
}

#[test]
fn rm_of_finished_jobs_while_no_daemon_looks_loses_nothing_else() {
    let mut spool = Spool::serving(&[]);
    spool.drop_file("6", "echo six");
    spool.drop_file("7", "echo seven");
    spool.wait_record("complete/6");
    spool.wait_record("complete/7");
    spool.stop();
    spool.rm("complete/7");
    spool.serve(&[]);
    spool.settle();
    assert_eq!(spool.read("log/6"), "six\n");
    // "Its log goes with it", even if the daemon notices the removal only later.
    spool.wait_gone("log/7");
}

#[test]
fn mv_between_queues_while_waiting() {
    let (spool, mut gate) = blocked();
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    fs::create_dir(spool.path().join("pending/web")).unwrap();
    spool.drop_file("7", "echo $PIRN_QUEUE");
    spool.mv("pending/7", "pending/mail");
    spool.mv("pending/mail/7", "pending/web");
    spool.drop_file("mail/8", "echo $PIRN_QUEUE");
    spool.mv("pending/mail/8", "pending");
    gate.open(1);
    assert_eq!(spool.wait_record("complete/7")["output"], "web\n");
    let eight = spool.wait_record("complete/8");
    assert_eq!(eight["output"], "default\n");
    assert_eq!(eight.get("queue"), None);
    assert_eq!(spool.record("complete/7")["queue"], "web");
}

#[test]
fn mv_of_a_waiting_job_under_another_name() {
    let (spool, mut gate) = blocked();
    spool.drop_file("7", "echo $PIRN_ID");
    spool.mv("pending/7", "pending/seventh");
    gate.open(1);
    let record = spool.wait_record("complete/seventh");
    assert_eq!(
        (&record["id"], &record["output"]),
        (&json!("seventh"), &json!("seventh\n"))
    );
    assert!(!spool.has("complete/7") && !spool.has("log/7"));
}

#[test]
fn mv_of_a_waiting_job_to_failed_cancels_it() {
    let (spool, mut gate) = blocked();
    spool.drop_json("7", &json!({"command": "echo ran", "name": "label"}));
    spool.mv("pending/7", "failed");
    let record = spool.wait_record("failed/7");
    assert_eq!(
        (&record["reason"], &record["name"]),
        (&json!("cancelled"), &json!("label"))
    );
    assert_eq!(record.get("exit_code"), None);
    gate.open(1);
    spool.settle();
    assert!(!spool.has("log/7") && spool.has("failed/7"));
    // Moved back, it runs.
    spool.mv("failed/7", "pending");
    assert_eq!(spool.wait_record("complete/7")["output"], "ran\n");
}

#[test]
fn mv_of_a_waiting_plain_text_to_complete_never_runs_it() {
    let (spool, mut gate) = blocked();
    spool.drop_file("7", "echo ran");
    spool.mv("pending/7", "complete");
    let record = spool.wait_record("complete/7");
    assert_eq!(record["command"], "echo ran");
    gate.open(1);
    spool.settle();
    assert!(!spool.has("log/7") && spool.has("complete/7"));
}

#[test]
fn mv_failed_to_complete_releases_its_children() {
    let spool = Spool::serving(&[]);
    spool.drop_json("parent", &json!({"command": "exit 1", "tries": 1}));
    spool.wait_record("failed/parent");
    // The parent is moved before the child comes: the child sees a parent that completed.
    spool.mv("failed/parent", "complete");
    let child = json!({"command": "echo child", "after": ["parent"]});
    let (_, child) = spool.run_json("child", &child);
    assert_eq!(
        child["output"],
        "child\n",
        "{child}\n{}",
        spool.daemon_log()
    );
}

#[test]
fn mv_complete_to_failed_fails_the_children_that_wait_for_more() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("other", gate.wait());
    spool.wait_note("other");
    spool.drop_file("parent", "true");
    spool.wait_record("complete/parent");
    spool.drop_json(
        "child",
        &json!({"command": "echo child", "after": ["other", "parent"]}),
    );
    spool.settle();
    assert!(spool.has("pending/child"));
    gate.open(1);
    assert_eq!(spool.wait_record("complete/child")["output"], "child\n");
}

#[test]
fn steering_while_no_daemon_runs_is_seen_at_start() {
    let mut spool = Spool::serving(&[]);
    spool.drop_json("7", &json!({"command": "echo again; exit 9", "tries": 1}));
    spool.drop_file("8", "true");
    spool.wait_record("failed/7");
    spool.wait_record("complete/8");
    spool.stop();
    spool.mv("failed/7", "pending");
    spool.rm("complete/8");
    spool.drop_file("9", "echo nine");
    spool.rm("pending/9");
    spool.serve(&[]);
    spool.wait_for("two runs", || spool.read("log/7") == "again\nagain\n");
    let record = spool.wait_record("failed/7");
    assert_eq!(
        (&record["attempt"], &record["exit_code"]),
        (&json!(1), &json!(9))
    );
    assert!(!spool.has("complete/8") && !spool.has("log/9"));
}

#[test]
fn rm_between_two_tries_takes_the_log_along() {
    let spool = Spool::serving(&[]);
    let slow =
        json!({"command": "echo x; false", "backoff": {"first": "1h", "max": "1h"}, "split": true});
    spool.drop_json("7", &slow);
    spool.wait_for("the backoff", || {
        spool.has("pending/7") && spool.read("pending/7").contains("attempts")
    });
    assert_eq!(spool.read("log/7"), "x\n");
    spool.rm("pending/7");
    spool.wait_gone("log/7");
}
