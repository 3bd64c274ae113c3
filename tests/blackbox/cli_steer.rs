//! The commands that steer: cancel, retry, rm, pause, resume; and the one daemon.

use crate::broken_disk::traced;
use crate::spool::Spool;
use crate::strace::has_tool;
use crate::tools::{Gate, ok};
use serde_json::{Value, json};
use std::fs;

#[test]
fn cancel_a_waiting_job() {
    // Without a daemon, the command works on the files.
    let spool = Spool::new();
    spool.add(&["--name", "label", "-q", "mail", "true"]);
    ok(&spool, &["cancel", "1"]);
    let record = spool.record("failed/1");
    assert_eq!(
        (&record["reason"], &record["name"], &record["queue"]),
        (&json!("cancelled"), &json!("label"), &json!("mail"))
    );
    assert!(record["finished_at"].is_string() && !spool.has("pending/mail/1"));
    let done = spool.pirn(&["cancel", "1"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("failed"), "{}", done.stderr);
}

#[test]
fn cancel_running_jobs() {
    let spool = Spool::serving(&[]);
    for id in ["6", "7"] {
        spool.drop_file(id, "echo begun; sleep 600 & sleep 600");
        spool.wait_log(id, "begun");
    }
    ok(&spool, &["cancel", "6", "7"]);
    for id in ["6", "7"] {
        assert_eq!(
            spool.wait_record(&format!("failed/{id}"))["reason"],
            "cancelled"
        );
        assert_eq!(spool.processes(id), [0; 0]);
    }
    // The possible changes are made, even if others fail.
    spool.drop_file("8", "sleep 600");
    spool.wait_note("8");
    let done = spool.pirn(&["cancel", "nobody", "8", "6"]);
    assert_eq!(done.code, 66);
    assert_eq!(spool.wait_record("failed/8")["reason"], "cancelled");
}

/// A job `7` that has failed with code 5 and waits for its next try.
fn between_two_tries() -> Spool {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "7",
        &json!({"command": "echo x; exit 5", "backoff": {"first": "1h", "max": "1h"}}),
    );
    spool.wait_for("the backoff", || {
        spool.has("pending/7") && spool.read("pending/7").contains("attempts")
    });
    spool
}

#[test]
fn cancel_of_one_that_waits_for_its_next_try_keeps_what_it_did() {
    let spool = between_two_tries();
    ok(&spool, &["cancel", "7"]);
    let record = spool.wait_record("failed/7");
    assert_eq!(
        (&record["reason"], &record["attempts"][0]["exit_code"]),
        (&json!("cancelled"), &json!(5))
    );
}

#[test]
fn a_cancel_that_is_slower_than_the_daemon_keeps_what_the_job_did() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = between_two_tries();
    // The daemon sees the move to failed/ and writes the end before the command does.
    let slow = "renameat2:delay_exit=500000";
    let done = traced(&spool, slow, None, "", &["cancel", "7"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let record = spool.record("failed/7");
    assert_eq!(
        (&record["reason"], &record["attempts"][0]["exit_code"]),
        (&json!("cancelled"), &json!(5))
    );
}

#[test]
fn a_job_that_waits_behind_one_of_its_name_is_steered_too() {
    let spool = Spool::serving(&[]);
    spool.drop_file("backup", "sleep 600");
    spool.wait_note("backup");
    spool.drop_file("backup", "echo second");
    spool.settle();
    assert!(spool.has("pending/backup") && spool.has("active/backup"));
    ok(&spool, &["hold", "backup"]);
    assert!(spool.has("held/backup") && spool.has("active/backup"));
    ok(&spool, &["release", "backup"]);
    ok(&spool, &["move", "backup", "mail"]);
    assert!(spool.has("pending/mail/backup") && spool.has("active/backup"));
    // The one that runs is meant: it is not known whether the other one is to go.
    let done = spool.pirn(&["rm", "backup"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(spool.has("pending/mail/backup") && spool.has("active/backup"));
}

/// A job `backup` that runs until its gate opens, and cannot be ended before; its command; and a second one that waits
/// behind it.
fn one_behind_another() -> (Spool, Gate, String) {
    let spool = Spool::serving(&[]);
    let gate = Gate::new(&spool, "gate");
    let line = format!("trap '' TERM; echo first; {}", gate.wait());
    spool.drop_json("backup", &json!({"command": line, "grace": "10m"}));
    spool.wait_note("backup");
    spool.wait_log("backup", "first");
    spool.drop_file("backup", "echo second");
    spool.settle();
    (spool, gate, line)
}

#[test]
fn a_job_that_waits_behind_a_cancelled_one_is_not_lost() {
    let (spool, mut gate, line) = one_behind_another();
    for args in [["cancel", "--all"], ["cancel", "backup"]] {
        let done = spool.pirn(&args);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(
            done.stderr.contains("has not recorded that yet; try again"),
            "{}",
            done.stderr
        );
        assert_eq!(spool.read("pending/backup"), "echo second");
        assert_eq!(spool.ls("failed"), ["backup"]);
    }
    gate.open(1);
    assert_eq!(
        spool.wait_record("complete/backup")["command"],
        "echo second"
    );
    let first = spool.record("failed/backup~1");
    assert_eq!(
        (&first["command"], &first["reason"]),
        (&json!(line), &json!("cancelled"))
    );
    assert_eq!(
        (spool.read("log/backup~1"), spool.read("log/backup")),
        ("first\n".to_owned(), "second\n".to_owned())
    );
}

/// Its end goes to the record that is found first, which must not be that of the other job.
#[test]
fn a_job_behind_one_that_a_user_has_put_into_complete_is_not_lost() {
    let (spool, mut gate, line) = one_behind_another();
    spool.mv("active/backup", "complete");
    let done = spool.pirn(&["cancel", "backup"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_eq!(spool.read("pending/backup"), "echo second");
    gate.open(1);
    spool.wait_for("both to end", || {
        let ended = |name: &str| spool.has(name) && spool.record(name).get("reason").is_some();
        ended("complete/backup") && ended("complete/backup~1")
    });
    assert_eq!(spool.record("complete/backup")["command"], "echo second");
    assert_eq!(spool.record("complete/backup~1")["command"], line);
}

#[test]
fn two_of_a_name_that_wait_are_both_cancelled() {
    let spool = Spool::made();
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("backup", "echo first");
    spool.drop_file("mail/backup", "echo second");
    ok(&spool, &["cancel", "backup", "backup"]);
    assert_eq!(spool.ls("failed"), ["backup", "backup~1"]);
    let ends = ["backup", "backup~1"].map(|name| {
        let record = spool.record(&format!("failed/{name}"));
        ["command", "reason", "queue"].map(|key| record[key].clone())
    });
    let second = [json!("echo second"), json!("cancelled"), json!("mail")];
    let first = [json!("echo first"), json!("cancelled"), Value::Null];
    assert_eq!(ends, [second, first]);
}

#[test]
fn many_jobs_share_the_syncs_of_directories() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    let lines = "true\n".repeat(50);
    let done = spool.pirn_with_input(&["add", "--batch"], lines.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let few_syncs = |args: &[&str]| {
        // A call that is delayed by nothing.
        let done = traced(&spool, "fsync:delay_enter=0", None, "", args);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let trace = fs::read_to_string(spool.beside("strace.add")).unwrap();
        let calls = trace.matches("fsync(").count();
        assert!((1..10).contains(&calls), "{args:?}: {trace}");
    };
    few_syncs(&["hold", "--all"]);
    few_syncs(&["release", "--all"]);
    few_syncs(&["move", "--all", "mail"]);
    few_syncs(&["urgent", "--all"]);
    few_syncs(&["cancel", "--all"]);
    assert_eq!(spool.ls("failed").len(), 50);
    few_syncs(&["retry", "--all"]);
    few_syncs(&["rm", "--all"]);
}

#[test]
fn retry_one_and_all() {
    let mut spool = Spool::serving(&[]);
    for id in ["a", "b"] {
        spool.run_json(id, &json!({"command": format!("[ -e {} ]", spool.beside("now").display()), "tries": 1, "queue": "mail"}));
    }
    spool.run_json("c", &json!({"command": "echo x >> $PIRN_STORE/c"}));
    fs::write(spool.beside("now"), "").unwrap();
    ok(&spool, &["retry", "a"]);
    let record = spool.wait_record("complete/a");
    assert_eq!(
        (&record["queue"], &record["attempt"]),
        (&json!("mail"), &json!(1))
    );
    assert!(spool.has("failed/b"));
    ok(&spool, &["retry", "--failed"]);
    spool.wait_record("complete/b");
    // A completed job can be run again, too.
    ok(&spool, &["retry", "c"]);
    spool.wait_for("the second run of c", || spool.read("store/c") == "x\nx\n");
    spool.wait_record("complete/c");
    spool.stop();
    // Without a daemon the job waits in its own queue, although the queue was removed.
    fs::remove_dir(spool.path().join("pending/mail")).unwrap();
    ok(&spool, &["retry", "b"]);
    assert!(spool.has("pending/mail/b") && !spool.has("complete/b"));
    assert_eq!(spool.pirn(&["retry", "b"]).code, 1);
    ok(&spool, &["retry", "--failed"]);
    assert_eq!(spool.pirn(&["retry", "--failed", "b"]).code, 66);
}

#[test]
fn rm_forgets_with_logs_and_spares_what_runs() {
    let spool = Spool::serving(&["--slots", "1"]);
    spool.run_json(
        "done",
        &json!({"command": "echo out; echo err >&2", "split": true, "tmp": "keep"}),
    );
    spool.drop_file("run", "echo begun; exec sleep 600");
    spool.wait_log("run", "begun");
    spool.drop_file("wait", "true");
    ok(&spool, &["rm", "done", "wait"]);
    assert!(!spool.has("complete/done") && !spool.has("pending/wait"));
    assert_eq!(
        (spool.ls("log"), spool.scratch()),
        (vec!["run".to_owned()], vec![])
    );
    let done = spool.pirn(&["rm", "run"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("--kill") && spool.has("active/run"),
        "{}",
        done.stderr
    );
    ok(&spool, &["rm", "--kill", "run"]);
    spool.wait_no_process("run");
    spool.wait_gone("log/run");
    assert!(!spool.has("active/run") && !spool.has("failed/run"));
}

#[test]
fn rm_of_a_job_without_a_daemon() {
    let spool = Spool::new();
    assert_eq!(spool.pirn(&["run", "echo x"]).code, 0);
    ok(&spool, &["rm", "1"]);
    assert_eq!((spool.ls("complete"), spool.ls("log")), (vec![], vec![]));
}

#[test]
fn pause_and_resume_everything() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["pause"]);
    let id = spool.add(&["true"]);
    spool.drop_file("bad", "{");
    spool.wait_bad("bad");
    assert!(spool.has(&format!("pending/{id}")));
    let status: Value = serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["paused"], true);
    ok(&spool, &["resume"]);
    spool.wait_record(&format!("complete/{id}"));
}

#[test]
fn pause_one_queue() {
    let spool = Spool::serving(&[]);
    spool.make_queue("mail");
    ok(&spool, &["pause", "mail"]);
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["true"]);
    spool.wait_record("complete/2");
    assert!(spool.has("pending/mail/1"));
    assert!(spool.pirn(&["status"]).stdout.contains("paused"));
    ok(&spool, &["resume", "mail"]);
    spool.wait_record("complete/1");
    // As other commands have it.
    ok(&spool, &["pause", "-q", "mail"]);
    assert!(spool.has("pending/mail/.paused"));
    ok(&spool, &["resume", "--queue", "mail"]);
    assert!(!spool.has("pending/mail/.paused"));
    assert_eq!(spool.pirn(&["pause", "mail", "-q", "mail"]).code, 2);
}

/// Whether a pause file is created does not depend on the settings; a command that changes one setting keeps the
/// others.
#[test]
fn config_set_keeps_the_order_and_the_words_of_the_rest() {
    let spool = Spool::made();
    spool.make_queue("web");
    let text = r#"{
  "queues": {"mail": {"slots": 1, "defaults": {"timeout": "1h 30m"}}},
  "keep": "28d",   "slots": 4
}
"#;
    spool.config(text);
    ok(&spool, &["pause", "mail"]);
    ok(&spool, &["pause", "web"]);
    ok(&spool, &["resume", "mail"]);
    assert_eq!(spool.read("config.json"), text);
    assert!(spool.has("pending/web/.paused") && !spool.has("pending/mail/.paused"));
    let mut expected: Value = serde_json::from_str(text).unwrap();
    expected["queues"]["mail"]["slots"] = json!(2);
    ok(&spool, &["config", "set", "queues.mail.slots", "2"]);
    let after = spool.read("config.json");
    assert_eq!(spool.pirn(&["config", "check"]).code, 0);
    assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), expected);
    assert!(
        after.find("queues").unwrap() < after.find("keep").unwrap(),
        "{after}"
    );
    assert!(after.contains("\"timeout\": \"1h 30m\""), "{after}");
}

#[test]
fn config_set_does_not_touch_a_broken_config() {
    let spool = Spool::made();
    spool.config("{\"slots\": 4,,}");
    let done = spool.pirn(&["config", "set", "slots", "5"]);
    assert_eq!((done.code, done.stdout.as_str()), (78, ""));
    assert!(done.stderr.contains("line 1"));
    ok(&spool, &["pause"]);
    assert_eq!(spool.read("config.json"), "{\"slots\": 4,,}");
    assert_eq!(spool.pirn(&["pause", "a/b"]).code, 2);
}

#[test]
fn a_second_daemon_says_who_has_the_spool() {
    let spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap().to_string();
    for args in [vec!["serve"], vec!["serve", "--drain"]] {
        let done = spool.pirn(&args);
        assert_eq!((done.code, done.stdout.as_str()), (75, ""));
        assert!(done.stderr.contains(&pid), "{}", done.stderr);
    }
    spool.drop_file("1", "true");
    spool.wait_record("complete/1");
}

#[test]
fn who_only_asks_keeps_no_daemon_out() {
    let mut spool = Spool::serving(&[]);
    spool.stop();
    std::thread::scope(|scope| {
        let (asks, asked) = std::sync::mpsc::channel::<()>();
        let path = spool.path().to_owned();
        scope.spawn(move || {
            let lock = fs::File::open(path.join("lock")).unwrap();
            while asked.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                if fs2::FileExt::try_lock_shared(&lock).is_ok() {
                    fs2::FileExt::unlock(&lock).unwrap();
                }
            }
        });
        for _ in 0..40 {
            spool.serve(&[]);
            spool.stop();
        }
        drop(asks);
    });
}

#[test]
fn the_spool_is_where_it_is_said_to_be() {
    let spool = Spool::new();
    let (here, home) = (spool.beside("other"), spool.beside("home"));
    let run = |args: &[&str], env: &[(&str, &std::path::Path)]| {
        let mut command = spool.command(args);
        command.env_remove("PIRN_SPOOL").envs(env.iter().copied());
        spool.finish(&mut command).code
    };
    assert_eq!(
        run(&["--spool", here.to_str().unwrap(), "add", "true"], &[]),
        0
    );
    assert_eq!(
        run(
            &["add", "-S", here.to_str().unwrap(), "true"],
            &[("PIRN_SPOOL", &home)]
        ),
        0
    );
    assert!(here.join("pending/1").exists() && here.join("pending/2").exists() && !home.exists());
    assert_eq!(run(&["add", "true"], &[("PIRN_SPOOL", &home)]), 0);
    assert!(home.join("pending/1").exists());
}
