//! A name is a singleton (DESIGN section 3): the newest run has the plain name, older runs are kept beside it.

use crate::spool::Spool;
use crate::tools::{Gate, ok};
use serde_json::{Value, json};
use std::fs;

/// True if the record has this text in this field. Between two reads it may be archived and replaced.
fn is_shown(spool: &Spool, name: &str, field: &str, text: &str) -> bool {
    fs::read(spool.path().join(name))
        .ok()
        .and_then(|record| serde_json::from_slice::<Value>(&record).ok())
        .is_some_and(|record| record[field] == text)
}

#[test]
fn a_drop_over_a_waiting_one_replaces_it() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    for n in 0..10 {
        spool.drop_file(
            "backup",
            format!("echo {n} >> {}", spool.beside("runs").display()),
        );
    }
    gate.open(1);
    spool.wait_record("complete/backup");
    spool.settle();
    assert_eq!(fs::read_to_string(spool.beside("runs")).unwrap(), "9\n");
    assert_eq!(spool.ls("complete"), ["backup", "blocker"]);
}

#[test]
fn a_replaced_one_takes_over_priority_and_parents() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    let order = spool.beside("order");
    let job = |priority: i32| json!({"command": format!("echo $PIRN_ID >> {}", order.display()), "priority": priority});
    spool.drop_json("a", &job(5));
    spool.drop_json("b", &job(1));
    spool.drop_json("a", &job(0));
    gate.open(1);
    spool.wait_record("complete/a");
    spool.wait_record("complete/b");
    assert_eq!(fs::read_to_string(order).unwrap(), "b\na\n");
}

#[test]
fn a_drop_while_it_runs_waits_for_it() {
    let spool = Spool::serving(&["--slots", "4"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("backup", format!("echo first; {}", gate.wait()));
    spool.wait_note("backup");
    spool.drop_file("backup", format!("echo second; {}", gate.wait()));
    spool.settle();
    assert!(spool.has("pending/backup") && spool.has("active/backup"));
    assert_eq!(spool.processes("backup").len(), 1);
    gate.open(1);
    spool.wait_record("complete/backup~1");
    spool.wait_for("the second to run", || spool.has("active/backup"));
    gate.open(1);
    let second = spool.wait_record("complete/backup");
    let first = spool.record("complete/backup~1");
    assert_eq!(
        (&first["output"], &second["output"]),
        (&json!("first\n"), &json!("second\n"))
    );
    assert_eq!(spool.read("log/backup~1"), "first\n");
    assert_eq!(spool.read("log/backup"), "second\n");
    assert_eq!(
        (&second["attempt"], &first["attempt"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn older_runs_are_kept_with_their_logs() {
    let spool = Spool::serving(&[]);
    for n in 0..4 {
        spool.drop_json(
            "backup",
            &json!({"command": format!("echo run {n}; echo err {n} >&2"), "split": true}),
        );
        spool.wait_for("this run's end", || {
            is_shown(&spool, "complete/backup", "output", &format!("run {n}\n"))
        });
    }
    assert_eq!(
        spool.ls("complete"),
        ["backup", "backup~1", "backup~2", "backup~3"]
    );
    for (name, n) in [
        ("backup~1", 0),
        ("backup~2", 1),
        ("backup~3", 2),
        ("backup", 3),
    ] {
        let record = spool.record(&format!("complete/{name}"));
        assert_eq!(record["output"], format!("run {n}\n"), "{name}");
        assert_eq!(
            spool.read(&format!("log/{name}")),
            format!("run {n}\n"),
            "{name}"
        );
        assert_eq!(record["log_bytes"], 6, "{name}");
    }
    let errors: Vec<_> = spool
        .ls("log")
        .into_iter()
        .filter(|name| name.contains("err"))
        .collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[test]
fn older_runs_from_the_other_directory() {
    let spool = Spool::serving(&[]);
    spool.drop_json("backup", &json!({"command": "echo bad; false", "tries": 1}));
    spool.wait_record("failed/backup");
    spool.drop_file("backup", "echo good");
    assert_eq!(spool.wait_record("complete/backup")["output"], "good\n");
    spool.wait_for("the failed run under its older name", || {
        spool.ls("failed") == ["backup~1"]
    });
    assert_eq!(spool.read("log/backup~1"), "bad\n");
    assert_eq!(spool.read("log/backup"), "good\n");
    spool.drop_json(
        "backup",
        &json!({"command": "echo worse; false", "tries": 1}),
    );
    spool.wait_record("failed/backup");
    // The name exists once: the plain one is in failed/ only.
    assert_eq!(spool.ls("complete"), ["backup~2"]);
    assert_eq!(spool.ls("failed"), ["backup", "backup~1"]);
}

#[test]
fn a_failed_run_gives_way_while_the_next_one_waited() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "backup",
        &json!({"command": format!("echo first; {}; false", gate.wait()), "tries": 1}),
    );
    spool.wait_note("backup");
    spool.drop_file("backup", "echo second");
    gate.open(1);
    assert_eq!(spool.wait_record("complete/backup")["output"], "second\n");
    assert_eq!(spool.wait_record("failed/backup~1")["output"], "first\n");
    assert_eq!(
        (spool.ls("complete"), spool.ls("failed")),
        (vec!["backup".to_owned()], vec!["backup~1".to_owned()])
    );
    assert_eq!(spool.read("log/backup"), "second\n");
    assert_eq!(spool.read("log/backup~1"), "first\n");
}

#[test]
fn a_retry_gives_way_to_a_newer_one() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    let first = json!({"command": format!("echo first; {}; false", gate.wait()), "backoff": {"first": "5ms"}});
    spool.drop_json("backup", &first);
    spool.wait_note("backup");
    spool.drop_file("backup", "echo second");
    gate.open(5);
    let second = spool.wait_record("complete/backup");
    assert_eq!(second["output"], "second\n");
    // The record of the first run is kept.
    let first = spool.wait_record("failed/backup~1");
    assert_eq!(
        (&first["output"], &first["exit_code"]),
        (&json!("first\n"), &json!(1))
    );
    assert_eq!(spool.read("log/backup"), "second\n");
}

#[test]
fn the_same_name_in_two_queues_is_one_job() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    let runs = spool.beside("runs");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    let line = format!("echo $PIRN_QUEUE >> {}", runs.display());
    spool.drop_file("backup", &line);
    spool.drop_file("mail/backup", &line);
    gate.open(1);
    spool.wait_record("complete/backup");
    spool.wait_for("nothing waiting", || {
        !spool.has("pending/backup")
            && !spool.has("pending/mail/backup")
            && !spool.has("active/backup")
    });
    // No dropped job may vanish: it ran, or it is in bad/ with its reason, or it was kept as an older run.
    let ran = fs::read_to_string(runs).unwrap().lines().count();
    let bad = spool
        .ls("bad")
        .iter()
        .filter(|name| !name.ends_with(".reason"))
        .count();
    assert_eq!(ran + bad, 2, "{}", spool.daemon_log());
    assert!(
        spool
            .ls("bad")
            .iter()
            .all(|name| name.starts_with("backup"))
    );
}

#[test]
fn mv_back_of_an_older_run_runs_it_under_its_name() {
    let spool = Spool::serving(&[]);
    for n in 0..2 {
        spool.drop_file("backup", format!("echo run {n} as $PIRN_ID"));
        spool.wait_for("its end", || {
            is_shown(
                &spool,
                "complete/backup",
                "output",
                &format!("run {n} as backup\n"),
            )
        });
    }
    spool.mv("complete/backup~1", "pending");
    spool.wait_for("its second run", || {
        is_shown(&spool, "complete/backup~1", "output", "run 0 as backup~1\n")
    });
    assert_eq!(
        spool.record("complete/backup")["output"],
        "run 1 as backup\n"
    );
}

#[test]
fn mv_back_while_a_newer_one_has_ended() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "backup",
        &json!({"command": "echo old; exit $((PIRN_ATTEMPT > 9))", "name": "old"}),
    );
    spool.wait_record("complete/backup");
    fs::rename(spool.path().join("complete/backup"), spool.beside("old")).unwrap();
    spool.drop_json("backup", &json!({"command": "echo new", "name": "new"}));
    spool.wait_for("the new one", || spool.has("complete/backup"));
    fs::rename(spool.beside("old"), spool.path().join("pending/backup")).unwrap();
    spool.wait_record("complete/backup~1");
    spool.wait_for("the old one to be newest", || {
        is_shown(&spool, "complete/backup", "name", "old")
    });
    assert_eq!(spool.record("complete/backup~1")["name"], "new");
    assert_eq!(spool.ls("bad"), [""; 0]);
}

#[test]
fn add_replace_finds_the_waiting_one_in_another_queue() {
    let mut spool = Spool::new();
    spool.add(&["--id", "backup", "-q", "mail", "echo first"]);
    spool.add(&["--id", "backup", "--replace", "-q", "web", "echo second"]);
    assert!(!spool.has("pending/mail/backup"));
    assert_eq!(spool.record("pending/web/backup")["command"], "echo second");
    spool.add(&["--id", "backup", "--replace", "echo third"]);
    assert!(!spool.has("pending/web/backup"));
    spool.add(&["--id", "backup", "--replace", "echo fourth"]);
    assert_eq!(spool.record("pending/backup")["command"], "echo fourth");
    // A queue with the name of a job is no conflict.
    spool.add(&["-q", "other", "true"]);
    spool.add(&["--id", "other", "--replace", "-q", "mail", "echo other"]);
    assert_eq!(spool.record("pending/mail/other")["command"], "echo other");
    spool.serve(&["--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.record("complete/backup")["output"], "fourth\n");
    assert_eq!(spool.ls("bad"), [""; 0]);
    assert_eq!(spool.ls("complete").len(), 3);
}

#[test]
fn what_waits_in_the_queue_that_a_drop_asks_for_is_not_lost() {
    let spool = Spool::serving(&["--only", "default"]);
    let job = |line: &str| json!({"command": line, "queue": "mail"});
    spool.drop_json("backup", &job("echo first"));
    spool.wait_file("pending/mail/backup");
    spool.drop_json("backup", &job("echo second"));
    let reason = spool.wait_bad("backup");
    assert!(
        reason.contains("a job of that name waits in queue mail"),
        "{reason}"
    );
    assert_eq!(spool.record("bad/backup")["command"], "echo second");
    assert_eq!(spool.record("pending/mail/backup")["command"], "echo first");
    // A file that is dropped into the queue itself replaces it.
    spool.drop_json("mail/backup", &job("echo third"));
    assert_eq!(spool.record("pending/mail/backup")["command"], "echo third");
    spool.settle();
    assert_eq!(spool.ls("bad"), ["backup", "backup.reason"]);
}

/// The end of an older run says nothing about a job that waits, in whichever queue.
#[test]
fn a_waiting_job_is_found_before_an_older_end() {
    let mut spool = Spool::serving(&[]);
    spool.drop_file("x", "echo old");
    spool.wait_record("complete/x");
    spool.stop();
    for queue in ["default", "mail"] {
        spool.add(&["--id", "x", "--replace", "-q", queue, "echo new"]);
        let shown = spool.pirn(&["show", "x", "--json"]).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["state"], "pending", "{queue}");
        assert_eq!(shown["command"], "echo new");
        assert_eq!(spool.pirn(&["wait", "x", "--timeout", "10ms"]).code, 75);
        let done = spool.pirn(&["add", "--id", "x", "--dedup", "echo newer"]);
        assert_eq!((done.code, done.stdout.as_str()), (0, "x\n"));
        ok(&spool, &["cancel", "x"]);
        assert_eq!(spool.record("failed/x")["command"], "echo new");
        assert_eq!(spool.record("complete/x")["output"], "old\n");
        spool.rm("failed/x");
    }
}
