//! The signal that warns a job of its timeout.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// A program that says when it gets the signal, below a shell that waits for it and does not expect the signal.
/// It has some seconds to begin to listen.
fn listens(signal: &str, then: &str) -> String {
    format!(
        "bash -c 'trap \"echo warned; {then}\" {signal}; echo ready; while :; do sleep 0.02; done'; echo \"exit $?\""
    )
}

fn times_warned(spool: &Spool, id: &str) -> usize {
    spool.read(&format!("log/{id}")).matches("warned").count()
}

#[test]
fn processes_that_expect_it_are_warned_once_in_each_try() {
    let spool = Spool::serving(&["--slots", "4"]);
    let cases = [
        ("usr1", json!("55s"), "USR1"),
        ("number", json!(55), "USR1"),
        ("hup", json!("55s=SIGHUP"), "HUP"),
    ];
    for (id, warn, signal) in &cases {
        let job = json!({"command": listens(signal, "exit 7"), "timeout": "1m", "warn": warn});
        spool.drop_json(id, &job);
    }
    let line = format!("{}; exit $((PIRN_ATTEMPT < 2))", listens("USR1", "exit 7"));
    let job = json!({"command": line, "timeout": "1m", "warn": "55s", "tries": 2, "backoff": {"first": "1ms"}});
    spool.drop_json("twice", &job);
    for (id, _, _) in &cases {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(spool.read(&format!("log/{id}")), "ready\nwarned\nexit 7\n");
        assert!(
            text(&record, "warned_at") > text(&record, "started_at"),
            "{record}"
        );
    }
    assert_eq!(spool.record("complete/hup")["warn"], "55s=HUP");
    assert_eq!(spool.wait_record("complete/twice")["attempt"], 2);
    assert_eq!(times_warned(&spool, "twice"), 2);
}

#[test]
fn a_job_that_does_not_expect_it_goes_on() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    let job = json!({"command": format!("sleep 0.5; {}", gate.wait()), "timeout": "1m", "warn": "59.7s", "tries": 1});
    spool.drop_json("1", &job);
    spool.wait_for("the warning", || {
        spool
            .daemon_log()
            .contains("no process of it handles SIGUSR1")
    });
    spool.wait_for("the note", || {
        spool.record("active/1").get("warned_at").is_some()
    });
    let shown = spool.pirn(&["show", "1"]).stdout;
    assert!(shown.contains("\n  warned "), "{shown}");
    gate.open(1);
    let record = spool.wait_record("complete/1");
    assert_eq!(record["exit_code"], 0, "{record}");
    // A job that ends before that time is not warned, and neither is one without a warning.
    let job = json!({"command": "true", "timeout": "1m", "warn": "1s"});
    assert_eq!(spool.run_json("2", &job).1.get("warned_at"), None);
}

#[test]
fn the_timeout_comes_all_the_same() {
    let spool = Spool::serving(&[]);
    let job =
        json!({"command": listens("USR1", "true"), "timeout": "6s", "warn": "2s", "tries": 1});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!(
        (state.as_str(), text(&record, "reason")),
        ("failed", "timeout")
    );
    assert_eq!(times_warned(&spool, "1"), 1);
}

/// How long the job has run.
fn age(spool: &Spool) -> Duration {
    let log = fs::metadata(spool.path().join("log/1")).unwrap();
    log.created().unwrap().elapsed().unwrap_or_default()
}

/// Crashes the daemon while job 1 runs, and starts the next one when the job is older than that.
fn crash_under(spool: &mut Spool, job: &Value, least: Duration) {
    spool.drop_json("1", job);
    spool.wait_note("1");
    spool.crash();
    spool.wait_for("its time to pass", || age(spool) > least);
    spool.serve(&[]);
}

#[test]
fn after_a_crash_a_warning_that_is_due_comes_late() {
    let mut spool = Spool::serving(&[]);
    let job =
        json!({"command": listens("USR1", "true"), "timeout": "1m", "warn": "55s", "tries": 1});
    crash_under(&mut spool, &job, Duration::from_secs(6));
    spool.wait_for("the warning", || times_warned(&spool, "1") > 0);
    spool.wait_for("the note", || {
        spool.record("active/1").get("warned_at").is_some()
    });
    // Neither the next daemon repeats it, nor what that becomes by an upgrade.
    spool.crash();
    spool.serve(&[]);
    spool.signal("USR2");
    let times_adopted = || spool.daemon_log().matches(" 1: still running").count();
    spool.wait_for("three adoptions", || times_adopted() == 3);
    spool.drop_file("2", "true");
    spool.wait_record("complete/2");
    assert_eq!(times_warned(&spool, "1"), 1, "{}", spool.daemon_log());
    spool.mv("active/1", "failed");
    let record = spool.wait_record("failed/1");
    assert!(record.get("warned_at").is_some(), "{record}");
}

#[test]
fn a_timeout_that_has_passed_needs_no_warning() {
    let mut spool = Spool::serving(&[]);
    let job =
        json!({"command": listens("USR1", "true"), "timeout": "6s", "warn": "1s", "tries": 1});
    crash_under(&mut spool, &job, Duration::from_secs(7));
    assert_eq!(spool.wait_record("failed/1")["reason"], "timeout");
    assert_eq!(times_warned(&spool, "1"), 0);
}

#[test]
fn warnings_of_the_settings() {
    let spool = Spool::serving(&["--slots", "5"]);
    spool.config(
        r#"{"defaults": {"warn": "59.5s"}, "queues": {"q": {"defaults": {"timeout": "1m"}}}}"#,
    );
    spool.settle();
    // The others begin before: until the last two are warned, a wrong warning would have come to them as well.
    let cases = [
        ("no-timeout", json!({}), false),
        ("short-timeout", json!({"timeout": "30s"}), false),
        ("switched-off", json!({"timeout": "1m", "warn": 0}), false),
        ("own-timeout", json!({"timeout": "1m"}), true),
        ("of-queue", json!({"queue": "q"}), true),
    ];
    let mut gate = Gate::new(&spool, "gate");
    for (id, fields, _) in &cases {
        let mut job = fields.clone();
        job["command"] = json!(gate.wait());
        spool.drop_json(id, &job);
    }
    for (id, _, _) in cases.iter().filter(|(_, _, is_warned)| *is_warned) {
        spool.wait_for("the warning", || {
            spool.wait_note(id).get("warned_at").is_some()
        });
    }
    gate.open(cases.len());
    for (id, _, is_warned) in cases {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(record.get("warned_at").is_some(), is_warned, "{record}");
    }
    assert_eq!(spool.record("complete/switched-off")["warn"], 0);
}

#[test]
fn a_warning_needs_a_longer_timeout() {
    let spool = Spool::serving(&[]);
    let cases = [
        (json!("30s"), None, "needs a timeout"),
        (json!("30s"), Some("0"), "needs a timeout"),
        (
            json!("30s"),
            Some("30s"),
            "30.0s is not less than the timeout, 30.0s",
        ),
        (
            json!("1m"),
            Some("30s"),
            "1m 0s is not less than the timeout, 30.0s",
        ),
        (
            json!("30s=KILL"),
            Some("1m"),
            "expected one of the signals USR1",
        ),
        (json!("soon"), Some("1m"), "expected a duration"),
        (json!(-1), Some("1m"), "expected a duration"),
        (json!([1]), Some("1m"), "expected a duration"),
    ];
    for (n, (warn, timeout, words)) in cases.iter().enumerate() {
        let mut job = json!({"command": "true", "warn": warn});
        if let Some(timeout) = timeout {
            job["timeout"] = json!(timeout);
        }
        spool.drop_json(&format!("w{n}"), &job);
        let reason = spool.wait_bad(&format!("w{n}"));
        assert!(
            reason.contains("warn: ") && reason.contains(words),
            "{reason}"
        );
        let Some(warn) = warn.as_str() else { continue };
        let mut args = vec!["add", "--warn", warn];
        args.extend(timeout.iter().flat_map(|timeout| ["-t", timeout]));
        args.push("true");
        let done = spool.pirn(&args);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            done.stderr.contains("--warn") && done.stderr.contains(words),
            "{}",
            done.stderr
        );
    }
    assert_eq!(spool.ls("pending"), [""; 0]);
}
