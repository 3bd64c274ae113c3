//! Clocks that differ from one daemon to the next: no job is lost, no timeout fires wrongly, no retry waits longer than
//! its longest backoff. (Most jumps during the life of a daemon are in tests/sim.)

use crate::spool::{Spool, is_alive};
use crate::tools::Gate;
use serde_json::json;
use std::process::Command;

/// The record of a job whose first try a daemon has ended, and which waits for its second.
fn waits_for_retry(retry_at: &str) -> serde_json::Value {
    json!({
        "command": "echo $PIRN_ATTEMPT", "tries": 3, "backoff": {"first": "200ms", "max": "1s"},
        "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "retry_at": retry_at,
        "attempts": [{"attempt": 1, "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z",
                      "exit_code": 1, "reason": "exited", "duration": 1.0, "log_offset": 0}],
    })
}

#[test]
fn a_retry_waits_no_longer_than_its_longest_backoff() {
    let mut spool = Spool::made();
    // As if the clock had been ten years ahead, a day ahead, or years behind when the files were written.
    for (id, at) in [
        ("decade", "2036-11-21T00:00:00Z"),
        ("far", "2261-12-31T23:59:59Z"),
        ("past", "2001-01-01T00:00:00Z"),
        ("ancient", "1970-01-01T00:00:00Z"),
    ] {
        spool.drop_json(id, &waits_for_retry(at));
    }
    spool.serve(&[]);
    for id in ["decade", "far", "past", "ancient"] {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(record["attempt"], 2, "{record}");
        assert_eq!(record["output"], "2\n", "{record}");
    }
}

#[test]
fn the_longest_backoff_may_come_from_the_settings() {
    let mut spool = Spool::made();
    spool.config(r#"{"defaults": {"backoff": {"first": "100ms", "max": "1s"}}}"#);
    let mut record = waits_for_retry("2036-11-21T00:00:00Z");
    record.as_object_mut().unwrap().remove("backoff");
    spool.drop_json("1", &record);
    spool.serve(&[]);
    assert_eq!(spool.wait_record("complete/1")["attempt"], 2);
}

#[test]
fn a_date_is_the_users_and_is_kept() {
    let spool = Spool::serving(&[]);
    let command = |at: &str| json!({"command": "true", "not_before": at});
    spool.drop_json("past", &command("2001-01-01T00:00:00Z"));
    spool.drop_json("future", &command("2096-01-01T00:00:00Z"));
    spool.drop_json("endless", &command("2261-12-31T23:59:59Z"));
    spool.drop_json(
        "over",
        &json!({"command": "true", "expires": "2001-01-01T00:00:00Z"}),
    );
    spool.wait_record("complete/past");
    assert_eq!(spool.wait_record("failed/over")["reason"], "expired");
    spool.settle();
    assert_eq!(spool.ls("pending"), ["endless", "future"]);
    // The user changes the date.
    spool.drop_json("future", &command("2001-01-01T00:00:00Z"));
    spool.wait_record("complete/future");
}

#[test]
fn times_that_make_no_sense_cost_no_job() {
    let mut spool = Spool::made();
    // A file from the future, one from before the epoch, and a record that started after now.
    spool.drop_file("new", "true");
    spool.drop_file("old", "true");
    for (id, date) in [("new", "2099-01-01"), ("old", "1901-12-14")] {
        let path = spool.path().join("pending").join(id);
        crate::tools::sh(&format!("touch -d {date} {}", path.display()));
    }
    let began = json!({"command": "true", "attempt": 1, "started_at": "2098-01-01T00:00:00Z",
        "created_at": "2097-01-01T00:00:00Z", "proc": {"pid": 1, "start": 1, "boot": "x"}});
    spool.drop_json("began", &began);
    spool.mv("pending/began", "active");
    spool.serve(&[]);
    for id in ["new", "old", "began"] {
        let (state, record) = spool.wait_end(id);
        assert_eq!(state, "complete", "{record}");
        assert!(record["duration"].as_f64().unwrap() >= 0.0, "{record}");
    }
    // Empty files that look young for years are also judged in the end.
    let path = spool.path().join("pending/empty");
    std::fs::write(&path, "").unwrap();
    crate::tools::sh(&format!("touch -d 2099-01-01 {}", path.display()));
    spool.wait_bad("empty");
}

/// A daemon that sees a boot clock with this offset, as if the machine had been up so much longer.
fn serve_in_time(spool: &Spool, seconds: i64) -> Command {
    let pirn = spool.command([""]).get_program().to_owned();
    let offset = seconds.to_string();
    let mut command = Command::new("unshare");
    command.args(["-T", "--boottime", &offset, "--monotonic", &offset]);
    command.arg("--").arg(pirn).arg("serve");
    command.env("PIRN_SPOOL", spool.path());
    command
}

fn has_time_namespaces() -> bool {
    let tried = Command::new("unshare")
        .args(["-T", "--boottime", "1000", "true"])
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: no time namespaces");
    }
    works
}

#[test]
fn another_boot_clock_after_a_restart_neither_kills_nor_spares() {
    if !has_time_namespaces() {
        return;
    }
    for seconds in [1_000_000, -60] {
        let mut spool = Spool::serving(&["--slots", "8"]);
        let mut gate = Gate::new(&spool, "gate");
        // One job that ends in time, one that its timeout ends, one that waits for its retry.
        let long = json!({"command": gate.wait(), "timeout": "1h", "once": true});
        spool.drop_json("long", &long);
        let short = json!({"command": "echo begun; sleep 600", "timeout": "4s", "tries": 1});
        spool.drop_json("short", &short);
        let again = json!({"command": "exit $((2 - PIRN_ATTEMPT))", "backoff": {"first": "3s", "max": "4s"}});
        spool.drop_json("again", &again);
        let pid = spool.wait_note("short")["pid"].as_i64().unwrap();
        spool.wait_note("long");
        spool.wait_for("the first try", || {
            spool.daemon_log().contains("again: try 1 of 3")
        });
        spool.crash();
        let command = serve_in_time(&spool, seconds);
        spool.serve_with(command);
        let (_, record) = spool.wait_end("short");
        let reason = record["reason"].as_str().unwrap();
        assert!(reason == "timeout" || reason == "interrupted", "{record}");
        assert!(!is_alive(pid));
        gate.open(1);
        let (_, record) = spool.wait_end("long");
        assert_ne!(record["reason"], "timeout", "{seconds}: {record}");
        let (state, record) = spool.wait_end("again");
        assert_eq!(state, "complete", "{record}");
    }
}

#[test]
fn a_boot_clock_of_its_own_changes_nothing() {
    if !has_time_namespaces() {
        return;
    }
    // The daemon is started, killed and started again with a boot clock that is a month ahead.
    let mut spool = Spool::new();
    let command = serve_in_time(&spool, 2_600_000);
    spool.serve_with(command);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "short",
        &json!({"command": "sleep 600", "timeout": "3s", "tries": 1}),
    );
    spool.drop_json(
        "long",
        &json!({"command": format!("{}; exit 9", gate.wait()), "timeout": "1h", "tries": 1}),
    );
    spool.wait_note("short");
    spool.wait_note("long");
    spool.crash();
    let command = serve_in_time(&spool, 2_600_000);
    spool.serve_with(command);
    let record = spool.wait_record("failed/short");
    assert_eq!(record["reason"], "timeout", "{record}");
    let took = record["duration"].as_f64().unwrap();
    assert!((2.9..15.0).contains(&took), "{record}");
    gate.open(1);
    let record = spool.wait_record("failed/long");
    assert!(
        record["exit_code"] == 9 || record["reason"] == "interrupted",
        "{record}"
    );
}

/// A library that puts the wall clock of its process a year ahead while the file named in the environment exists.
const YEAR_AHEAD: &str = r#"#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    long done = syscall(SYS_clock_gettime, clock, time);
    const char *sign = getenv("YEAR_AHEAD");
    if (done == 0 && clock == CLOCK_REALTIME && sign && access(sign, F_OK) == 0) time->tv_sec += 31536000;
    return done;
}
"#;

/// A daemon whose wall clock jumps a year ahead when the file is created; `None` if nothing can be compiled here.
fn serve_until_a_year_later(spool: &Spool, sign: &std::path::Path) -> Option<Command> {
    let (source, library) = (spool.beside("ahead.c"), spool.beside("ahead.so"));
    std::fs::write(&source, YEAR_AHEAD).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        println!("skipped: no C compiler");
        return None;
    }
    let mut command = spool.command(["serve"]);
    command.env("LD_PRELOAD", library).env("YEAR_AHEAD", sign);
    Some(command)
}

fn seconds(record: &serde_json::Value) -> f64 {
    let all = record["attempts"].as_array().unwrap();
    let last = all.last().unwrap()["duration"].as_f64();
    assert_eq!(last, record["duration"].as_f64(), "{record}");
    last.unwrap()
}

#[test]
fn a_jump_of_the_clock_while_a_job_runs_is_not_in_its_duration() {
    let mut spool = Spool::new();
    let sign = spool.beside("sign");
    let Some(command) = serve_until_a_year_later(&spool, &sign) else {
        return;
    };
    spool.serve_with(command);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("1", gate.wait());
    let date = |record: &serde_json::Value, key: &str| -> jiff::Timestamp {
        record[key].as_str().unwrap().parse().unwrap()
    };
    let began = date(&spool.wait_note("1"), "started_at");
    std::fs::write(sign, "").unwrap();
    gate.open(1);
    let record = spool.wait_record("complete/1");
    // The dates are those that the clock showed.
    let later = date(&record, "finished_at").duration_since(began);
    assert!(later.as_hours() >= 365 * 24, "{record}");
    assert!((0.0..60.0).contains(&seconds(&record)), "{record}");
}

#[test]
fn nor_is_one_that_came_while_no_daemon_ran() {
    let mut spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "1",
        &json!({"command": gate.wait(), "max_interruptions": 0}),
    );
    let note = spool.wait_note("1");
    spool.crash();
    // As if the clock had been a year behind when the job was started.
    let started = note["started_at"].as_str().unwrap();
    let year: i32 = started[..4].parse().unwrap();
    let before = format!("{}{}", year - 1, &started[4..]);
    let text = spool.read("active/1").replace(started, &before);
    std::fs::write(spool.path().join("active/1"), text).unwrap();
    spool.serve(&[]);
    spool.wait_daemon_log("still running");
    gate.open(1);
    let (_, record) = spool.wait_end("1");
    assert_eq!(record["started_at"], before);
    assert!((0.0..60.0).contains(&seconds(&record)), "{record}");
}

#[test]
fn how_long_a_try_took_that_a_reboot_has_ended_is_not_known() {
    let mut spool = Spool::new();
    spool.pirn(&["add", "--in", "1h", "true"]);
    let began = json!({"command": "true", "attempt": 1, "started_at": "2026-01-01T00:00:00Z", "once": true,
        "proc": {"pid": 1, "start": 1, "boot": "another"}});
    spool.drop_json("1", &began);
    spool.mv("pending/1", "active");
    spool.serve(&[]);
    let record = spool.wait_record("failed/1");
    assert_eq!(record["reason"], "interrupted");
    let last = &record["attempts"][0];
    assert_eq!(
        (record.get("duration"), last.get("duration")),
        (None, None),
        "{record}"
    );
}
