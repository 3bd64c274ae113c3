//! Jobs that outlive their daemon and are steered by hand while no daemon runs: the next daemon carries it out.

use crate::spool::Spool;
use serde_json::json;
use std::fs;

/// A running job whose daemon was killed.
fn orphaned() -> Spool {
    let mut spool = Spool::serving(&[]);
    let line = format!(
        "echo $PIRN_ATTEMPT >> {}; echo begun; setsid sleep 600 & sleep 600",
        spool.beside("runs").display()
    );
    spool.drop_file("7", line);
    spool.wait_note("7");
    spool.wait_for("three processes", || spool.processes("7").len() == 3);
    spool.crash();
    assert_eq!(spool.processes("7").len(), 3);
    spool
}

#[test]
fn mv_to_failed_kills_it_and_keeps_the_record() {
    let mut spool = orphaned();
    spool.mv("active/7", "failed");
    spool.serve(&[]);
    spool.wait_no_process("7");
    let record = spool.wait_record("failed/7");
    assert_eq!(record["reason"], "cancelled");
}

#[test]
fn rm_kills_it_and_forgets_it() {
    let mut spool = orphaned();
    spool.rm("active/7");
    spool.serve(&[]);
    spool.wait_no_process("7");
    spool.wait_gone("log/7");
}

#[test]
fn mv_to_pending_kills_it_and_queues_it_again() {
    let mut spool = orphaned();
    let first = spool.processes("7");
    spool.mv("active/7", "pending");
    spool.serve(&[]);
    spool.wait_for("another run", || {
        fs::read_to_string(spool.beside("runs"))
            .unwrap()
            .lines()
            .count()
            == 2
    });
    assert!(
        !first.iter().any(|pid| crate::spool::is_alive(*pid)),
        "two at once"
    );
    spool.rm("active/7");
    spool.wait_no_process("7");
}

#[test]
fn a_new_job_of_the_same_name_does_not_run_beside_it() {
    let mut spool = orphaned();
    spool.drop_json("7", &json!({"command": "echo new"}));
    spool.serve(&[]);
    spool.settle();
    // The old job is adopted; the new one waits for it.
    assert!(spool.has("active/7") && spool.has("pending/7"));
    spool.mv("active/7", "failed");
    spool.wait_for("the new one", || spool.has("complete/7"));
    assert_eq!(spool.wait_record("complete/7")["output"], "new\n");
    let old = spool.wait_record("failed/7~1");
    assert_eq!(old["reason"], "cancelled", "{old}\n{}", spool.daemon_log());
}
