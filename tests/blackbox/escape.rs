//! Jobs that hide, multiply or outlive their daemon: none of their processes survives.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::json;
use std::fs;

#[test]
fn a_job_that_steers_itself() {
    let spool = Spool::serving(&[]);
    spool.drop_file("rm", "echo x; rm $PIRN_SPOOL/active/rm; sleep 600");
    spool.drop_file(
        "mv",
        "echo x; mv $PIRN_SPOOL/active/mv $PIRN_SPOOL/failed/; sleep 600",
    );
    assert_eq!(spool.wait_record("failed/mv")["reason"], "cancelled");
    spool.wait_gone("log/rm");
    assert_eq!(
        (spool.processes("rm"), spool.processes("mv")),
        (vec![], vec![])
    );
}

#[test]
fn a_job_that_hides_from_its_session_and_its_mark() {
    let spool = Spool::serving(&[]);
    // It forks twice into a session of its own, without our variables, and keeps the log open.
    let hidden = spool.beside("hidden");
    let line = format!(
        "echo begun; setsid env -i sh -c 'echo $$ > {}; exec sleep 600' & sleep 600",
        hidden.display()
    );
    spool.drop_file("7", line);
    spool.wait_for("the hidden one", || {
        fs::read_to_string(&hidden).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i64 = fs::read_to_string(&hidden).unwrap().trim().parse().unwrap();
    spool.mv("active/7", "failed");
    spool.wait_record("failed/7");
    assert!(!crate::spool::is_alive(pid), "a process was left");
}

#[test]
fn a_hidden_process_that_was_orphaned_before() {
    let spool = Spool::serving(&[]);
    let hidden = spool.beside("hidden");
    // Its parents end first: only the lock of the log, or the subreaper, shows whose process it is.
    let line = format!(
        "echo begun; (setsid env -i sh -c 'echo $$ > {}; exec sleep 600' &) ; sleep 600",
        hidden.display()
    );
    spool.drop_file("7", line);
    spool.wait_for("the hidden one", || {
        fs::read_to_string(&hidden).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i64 = fs::read_to_string(&hidden).unwrap().trim().parse().unwrap();
    spool.mv("active/7", "failed");
    spool.wait_for("its end", || !crate::spool::is_alive(pid));
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
}

#[test]
fn a_fork_bomb_of_fifty() {
    let spool = Spool::serving(&[]);
    let line = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); (trap '' TERM; setsid sleep 600) & done; echo begun; wait";
    spool.drop_json(
        "7",
        &json!({"command": line, "timeout": "500ms", "grace": "200ms", "tries": 1}),
    );
    assert_eq!(spool.wait_record("failed/7")["reason"], "timeout");
    assert_eq!(spool.processes("7"), [0; 0]);
}

#[test]
fn zombies_are_reaped() {
    let spool = Spool::serving(&[]);
    spool.drop_file(
        "7",
        "for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.05' &) ; done",
    );
    spool.wait_record("complete/7");
    // A job that could not be started leaves nothing behind either.
    spool.drop_json("8", &json!({"command": ["/no/such/program"]}));
    spool.drop_json(
        "9",
        &json!({"command": ["/bin/true"], "cwd": "/no/such/place"}),
    );
    spool.wait_record("failed/8");
    spool.wait_record("failed/9");
    let daemon = spool.daemon_pid().unwrap();
    spool.wait_for("no children of the daemon", || {
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
        tasks.flatten().all(|task| {
            fs::read_to_string(task.path().join("children"))
                .unwrap_or_default()
                .trim()
                .is_empty()
        })
    });
}

#[test]
fn a_crash_leaves_the_job_running_and_the_next_daemon_takes_it() {
    let mut spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "7",
        &json!({"command": format!("echo run; {}; echo end; exit 6", gate.wait()), "tries": 1}),
    );
    let note = spool.wait_note("7");
    spool.crash();
    spool.serve(&[]);
    spool.settle();
    assert!(spool.has("active/7") && spool.processes("7") == [note["pid"].as_i64().unwrap()]);
    // An adopted job can be steered.
    gate.open(1);
    let (_, record) = spool.wait_end("7");
    assert_eq!(spool.read("log/7"), "run\nend\n");
    // Its exit status is known from kernel 6.15 on; older kernels make it an interruption.
    match text(&record, "reason") {
        "exited" => assert_eq!(record["exit_code"], 6),
        reason => assert_eq!(reason, "interrupted"),
    }
}

#[test]
fn a_job_that_was_adopted_can_be_killed() {
    let mut spool = Spool::serving(&[]);
    spool.drop_file("7", "echo begun; setsid sleep 600 & sleep 600");
    spool.wait_note("7");
    spool.crash();
    spool.serve(&[]);
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert_eq!(spool.processes("7"), [0; 0]);
}
