//! `slots`, `kill`, `stop` and `drain`: what concerns the daemon and its processes.

use crate::spool::Spool;
use crate::strace::{Stopped, has_tool};
use crate::tools::{Gate, ok};
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn slots_are_a_setting() {
    let spool = Spool::made();
    spool.make_queue("mail");
    let cpus = std::thread::available_parallelism().unwrap().to_string() + "\n";
    assert_eq!(spool.pirn(&["slots"]).stdout, cpus);
    ok(&spool, &["slots", "5"]);
    ok(&spool, &["slots", "-q", "mail", "3"]);
    ok(&spool, &["slots", "2", "--queue", "a.b"]);
    assert_eq!(
        spool.record("config.json"),
        json!({"slots": 5, "queues": {"mail": {"slots": 3}, "a.b": {"slots": 2}}})
    );
    for (args, shown) in [
        (&["slots"][..], "5\n"),
        (&["slots", "-q", "mail"], "3\n"),
        (&["slots", "-q", "default"], "5\n"),
    ] {
        assert_eq!(spool.pirn(args).stdout, shown, "{args:?}");
    }
    for (args, code) in [
        (&["slots", "-1"][..], 2),
        (&["slots", "x"], 2),
        (&["slots", "10001"], 2),
        (&["slots", "-q", "mial"], 66),
    ] {
        assert_eq!(spool.pirn(args).code, code, "{args:?}");
    }
    spool.config("{");
    assert_eq!(spool.pirn(&["slots"]).code, 78);
    assert_eq!(spool.pirn(&["slots", "3"]).code, 78);
}

#[test]
fn slots_hold_at_once() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["slots", "0"]);
    spool.wait_daemon_log("config: read");
    spool.drop_file("7", "true");
    spool.drop_file("bad", "{");
    spool.wait_bad("bad");
    assert!(spool.has("pending/7"));
    ok(&spool, &["slots", "1"]);
    spool.wait_record("complete/7");
}

#[test]
fn slots_of_the_command_line_win() {
    let spool = Spool::serving(&["--slots", "4"]);
    spool.wait_for("the slots in lock", || {
        spool.read("lock").contains("slots: 4\n")
    });
    let done = spool.pirn(&["slots", "2"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("--slots 4"), "{}", done.stderr);
    assert!(!spool.has("config.json"));
    assert_eq!(spool.pirn(&["slots"]).stdout, "4\n");
    // A queue has slots of its own.
    ok(&spool, &["slots", "-q", "mail", "2"]);
    assert_eq!(
        spool.record("config.json"),
        json!({"queues": {"mail": {"slots": 2}}})
    );
    assert_eq!(spool.pirn(&["slots", "-q", "mail"]).stdout, "2\n");
}

/// A job that writes a line for USR1, and one of its child.
const TRAPS: &str = "trap 'echo parent' USR1; sh -c 'trap \"echo child; exit\" USR1; echo begun; while :; do sleep 0.01; done' & \
                     wait; wait; echo end";

#[test]
fn a_signal_reaches_the_group() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", TRAPS);
    spool.wait_log("7", "begun");
    // The first process has no note yet; the command waits for it.
    ok(&spool, &["kill", "-s", "USR1", "7"]);
    spool.wait_record("complete/7");
    let log = spool.read("log/7");
    for line in ["parent\n", "child\n", "end\n"] {
        assert!(log.contains(line), "{line:?} is not in {log:?}");
    }
}

#[test]
fn signals_have_names_and_numbers() {
    let spool = Spool::serving(&[]);
    for (id, args, signal) in [
        ("a", &["kill"][..], 15),
        ("b", &["kill", "-s", "9"], 9),
        ("c", &["kill", "-s", "SIGINT"], 2),
        ("d", &["kill", "--signal", "hup"], 1),
    ] {
        spool.drop_json(id, &json!({"command": ["sleep", "600"], "tries": 1}));
        spool.wait_file(&format!("active/{id}"));
        ok(&spool, &[args, &[id]].concat());
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(
            (&record["reason"], &record["signal"]),
            (&json!("signaled"), &json!(signal)),
            "{id}"
        );
    }
    spool.drop_file("wait", "true");
    let done = spool.pirn(&["kill", "a"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("it is in failed/"), "{}", done.stderr);
    for (args, code) in [
        (&["kill"][..], 2),
        (&["kill", "-s", "NONE", "a"], 2),
        (&["kill", "-s", "65", "a"], 2),
        (&["kill", "-s", "-1", "a"], 2),
        (&["kill", "nobody"], 66),
        (&["kill", "--all"], 0),
    ] {
        let done = spool.pirn(args);
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
    }
    for (form, has_tip) in [("-9", true), ("-15", true), ("-KILL", true), ("-x", false)] {
        let done = spool.pirn(&["kill", form, "a"]);
        assert_eq!(done.code, 2, "{form}");
        let tip = "tip: a signal follows -s, as in '-s 9' or '-s KILL'\n";
        assert_eq!(
            done.stderr.contains(tip),
            has_tip,
            "{form}: {}",
            done.stderr
        );
    }
}

#[test]
fn kill_needs_no_daemon_and_spares_strangers() {
    let mut spool = Spool::serving(&[]);
    spool.drop_json("7", &json!({"command": ["sleep", "600"]}));
    let pid = spool.wait_note("7")["pid"].as_i64().unwrap();
    spool.crash();
    // The record describes another process that had this number.
    let right = spool.record("active/7");
    let mut wrong = right.clone();
    wrong["proc"]["start"] = json!(right["proc"]["start"].as_u64().unwrap() - 1);
    fs::write(spool.path().join("active/7"), wrong.to_string()).unwrap();
    let done = spool.pirn(&["kill", "-s", "KILL", "7"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains(&format!("process {pid} has ended")),
        "{}",
        done.stderr
    );
    assert!(crate::spool::is_alive(pid));
    fs::write(spool.path().join("active/7"), right.to_string()).unwrap();
    ok(&spool, &["kill", "-s", "0", "7"]);
    assert!(crate::spool::is_alive(pid));
    ok(&spool, &["kill", "-s", "KILL", "7"]);
    spool.wait_for("its end", || !crate::spool::is_alive(pid));
}

#[test]
fn stop_waits_for_running_jobs() {
    let mut spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("7", gate.wait());
    spool.wait_note("7");
    let mut stop = spool.spawn_logged(&mut spool.command(["stop"]));
    spool.wait_for("what it waits for", || {
        let log = spool.daemon_log();
        log.contains("waiting for 1 running job; pirn stop --now")
    });
    assert!(spool.read("lock").contains("stopping: yes"));
    assert!(stop.try_wait().unwrap().is_none());
    gate.open(1);
    assert_eq!(stop.wait().unwrap().code(), Some(0));
    assert!(spool.has("complete/7"));
    assert_eq!(spool.wait_exit(), 0);
    let done = spool.pirn(&["stop"]);
    assert_eq!(done.code, 0);
    assert!(done.stderr.contains("no daemon serves"), "{}", done.stderr);
}

#[test]
fn stop_now_ends_running_jobs() {
    let mut spool = Spool::serving(&[]);
    for id in ["7", "8"] {
        spool.drop_json(id, &json!({"command": ["sleep", "600"]}));
        spool.wait_note(id);
    }
    ok(&spool, &["stop", "--now"]);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(
        (spool.ls("pending"), spool.ls("active")),
        (vec!["7".to_owned(), "8".to_owned()], vec![])
    );
}

#[test]
fn stop_now_after_stop_is_the_second_signal() {
    let mut spool = Spool::serving(&[]);
    spool.drop_json("7", &json!({"command": ["sleep", "600"]}));
    spool.wait_note("7");
    let mut first = spool.spawn_logged(&mut spool.command(["stop"]));
    spool.wait_for("the answer", || {
        spool.read("lock").contains("stopping: yes")
    });
    ok(&spool, &["stop", "--now"]);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    assert_eq!(spool.wait_exit(), 0);
    assert!(spool.has("pending/7"));
}

/// The daemon ends between two steps of `pirn stop`: that is what was asked for.
#[test]
fn stop_of_a_daemon_that_has_just_ended() {
    if !has_tool("strace", "strace") {
        return;
    }
    for (call, is_of_status) in [("pidfd_open", false), ("openat", true)] {
        let mut spool = Spool::serving(&[]);
        spool.settle();
        let pid = spool.daemon_pid().unwrap();
        let status = format!("/proc/{pid}/status");
        let path = is_of_status.then_some(&*status);
        let command = Stopped::after(&spool, &["stop"], call, path);
        spool.stop();
        let said = command.go_on();
        assert!(said.success(), "{call}: {}", spool.daemon_log());
    }
}

#[test]
fn stop_signals_nobody_else() {
    let spool = Spool::serving(&[]);
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let lock = spool.read("lock");
    let (_, rest) = lock.split_once('\n').unwrap();
    fs::write(spool.path().join("lock"), format!("{}\n{rest}", other.id())).unwrap();
    for args in [&["stop"][..], &["drain"]] {
        let done = spool.pirn(args);
        assert_eq!(done.code, 1, "{args:?}");
        assert!(
            done.stderr.contains("does not say which process"),
            "{}",
            done.stderr
        );
    }
    assert!(other.try_wait().unwrap().is_none());
    fs::write(spool.path().join("lock"), lock).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn drain_finishes_what_waits() {
    let mut spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    for id in ["a", "b", "c"] {
        spool.drop_file(id, gate.wait());
    }
    spool.wait_note("a");
    let mut drain = spool.spawn_logged(&mut spool.command(["drain"]));
    spool.wait_for("the answer", || {
        spool.read("lock").contains("draining: yes")
    });
    // What comes meanwhile is still done.
    spool.drop_file("d", "true");
    gate.open(3);
    assert_eq!(drain.wait().unwrap().code(), Some(0));
    assert_eq!(spool.ls("complete"), ["a", "b", "c", "d"]);
    assert_eq!(spool.wait_exit(), 0);
    let done = spool.pirn(&["drain"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("serve --drain"), "{}", done.stderr);
}

#[test]
fn drain_says_what_it_leaves() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["pause"]);
    spool.add(&["true"]);
    let done = spool.pirn(&["drain"]);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (0, "pirn: after the drain 1 job waits; pirn ls says why\n")
    );
    assert!(spool.has("pending/1"));
}
