//! Steering a job whose daemon was killed: under the next daemon, and while there is none.

use crate::adopt::place;
use crate::host::{comes, wait_for};
use crate::rig::Rig;
use std::fs;

/// A running job whose daemon is dead.
fn orphan(rig: &mut Rig) -> String {
    rig.serve();
    let id = rig.add(&["--tries", "3", "--grace", "1s"], &["nap", "300"]);
    wait_for("the job to begin", || rig.ledger.starts(&id) > 0);
    rig.wait_note(&id);
    rig.kill_daemon();
    id
}

fn mv(rig: &Rig, id: &str, to: &str) {
    let from = rig.spool.join("active").join(id);
    fs::rename(from, rig.spool.join(to).join(id)).unwrap();
}

fn is_dead(rig: &Rig) {
    assert!(
        comes(|| rig.processes().is_empty()),
        "processes are left: {:?}\n{}",
        rig.processes(),
        rig.log()
    );
}

fn is_cancelled(rig: &Rig, id: &str) {
    is_dead(rig);
    let end = rig.end_of(id);
    let (dir, record) = end.unwrap_or_else(|| panic!("{id} has no end\n{}", rig.log()));
    assert_eq!(
        (dir, record["reason"].as_str()),
        ("failed", Some("cancelled")),
        "{record}"
    );
    assert_eq!(rig.ledger.starts(id), 1);
}

#[test]
fn cancelled_under_the_next_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    rig.serve_adopting(&id);
    mv(&rig, &id, "failed");
    is_cancelled(&rig, &id);
    println!("adoption: mv active/ID failed/ under the next daemon: ended and recorded");
}

#[test]
fn cancelled_while_there_is_no_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    mv(&rig, &id, "failed");
    rig.serve();
    is_cancelled(&rig, &id);
    println!("adoption: mv active/ID failed/ without a daemon: ended and recorded by the next");
}

#[test]
fn removed_under_the_next_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    rig.serve_adopting(&id);
    fs::remove_file(rig.spool.join("active").join(&id)).unwrap();
    is_dead(&rig);
    wait_for("its log to go", || rig.files("log").is_empty());
    assert!(rig.files("failed").is_empty() && rig.files("complete").is_empty());
    println!("adoption: rm active/ID under the next daemon: killed and forgotten");
}

#[test]
fn removed_while_there_is_no_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    fs::remove_file(rig.spool.join("active").join(&id)).unwrap();
    rig.serve();
    is_dead(&rig);
    wait_for("its log to go", || rig.files("log").is_empty());
    println!("adoption: rm active/ID without a daemon: killed and forgotten by the next");
}

#[test]
fn queued_again_under_the_next_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    rig.serve_adopting(&id);
    mv(&rig, &id, "pending");
    runs_again(&rig, &id);
    println!("adoption: mv active/ID pending/ under the next daemon: killed and run again");
}

#[test]
fn queued_again_while_there_is_no_daemon() {
    let Some(mut rig) = place("") else {
        return;
    };
    let id = orphan(&mut rig);
    mv(&rig, &id, "pending");
    rig.serve();
    runs_again(&rig, &id);
    println!("adoption: mv active/ID pending/ without a daemon: killed and run again by the next");
}

/// The first run is ended; the second starts after that, with all its tries.
fn runs_again(rig: &Rig, id: &str) {
    let first = rig.ledger.pid("start", id).unwrap();
    assert!(
        comes(|| rig.ledger.starts(id) == 2),
        "not started again\n{}",
        rig.log()
    );
    assert!(!crate::rig::is_alive(first));
    assert!(rig.ledger.count("twice").is_empty());
    let lines = rig.ledger.lines();
    let last = lines.iter().rfind(|line| line.word == "start").unwrap();
    assert_eq!(last.rest[0], 1, "with fresh tries");
}

#[test]
fn a_script_keeps_the_file_that_it_runs_from() {
    let Some(mut rig) = place("") else {
        return;
    };
    let gate = rig.ledger.job().replace("/job", "/go");
    let script = format!("#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.02; done\ncat \"$0\"\n");
    let staged = rig.spool.with_file_name("staged");
    fs::write(&staged, script).unwrap();
    rig.serve();
    fs::rename(staged, rig.spool.join("pending/reader")).unwrap();
    rig.wait_note("reader");
    rig.kill_daemon();
    crate::audit::age_staging(&rig);
    rig.serve();
    rig.ledger.open_gate("go");
    let (dir, record) = rig.end_of("reader").expect("an end");
    assert_eq!(dir, "complete", "{record}");
    println!("adoption: a script that reads itself after hours");
}
