//! The fields that pirn writes into a record, and those that it keeps (DESIGN section 3, "Added by pirn").

use crate::spool::Spool;
use crate::strace::{Injection, has_tool};
use crate::tools::{Gate, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Seconds since 1970 of an RFC 3339 UTC time, as date(1) reads it.
fn seconds(record: &Value, key: &str) -> f64 {
    let time = text(record, key);
    assert!(time.ends_with('Z') && time.len() >= 20, "{key} is {time}");
    let out = Command::new("date")
        .args(["-u", "-d", time, "+%s.%N"])
        .output()
        .unwrap();
    String::from_utf8(out.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn keys(record: &Value) -> BTreeSet<&str> {
    record
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_plain_job_that_completed() {
    let spool = Spool::serving(&[]);
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    spool.drop_file(
        "1",
        "echo héllo; sleep 0.1; head -c 5000000 /dev/zero | sort -u > /dev/null",
    );
    let record = spool.wait_record("complete/1");
    let expected = [
        "id",
        "command",
        "created_at",
        "started_at",
        "finished_at",
        "attempt",
        "exit_code",
        "reason",
        "duration",
        "cpu",
        "max_rss",
        "log_bytes",
        "output",
        "attempts",
    ];
    assert_eq!(
        keys(&record),
        expected.into(),
        "no field repeats the state, none is missing"
    );
    assert_eq!(
        (&record["id"], &record["attempt"]),
        (&json!("1"), &json!(1))
    );
    assert_eq!(
        (&record["reason"], &record["exit_code"]),
        (&json!("exited"), &json!(0))
    );
    assert_eq!(
        (&record["output"], &record["log_bytes"]),
        (&json!("héllo\n"), &json!(7))
    );
    let (created, started, finished) = (
        seconds(&record, "created_at"),
        seconds(&record, "started_at"),
        seconds(&record, "finished_at"),
    );
    assert!(
        before - 1.0 <= created
            && created <= started
            && started < finished
            && finished < before + 60.0
    );
    let duration = record["duration"].as_f64().unwrap();
    assert!(
        duration >= 0.1 && (duration - (finished - started)).abs() < 0.05,
        "{record}"
    );
    let cpu = record["cpu"].as_f64().unwrap();
    assert!(cpu > 0.0 && cpu < duration * 4.0, "{cpu}");
    // In bytes: a shell has some hundred KiB, and sort held five million bytes in one line.
    let rss = record["max_rss"].as_u64().unwrap();
    assert!((4_000_000..1 << 32).contains(&rss), "{rss}");
    let attempt = &record["attempts"][0];
    for key in [
        "started_at",
        "finished_at",
        "exit_code",
        "reason",
        "duration",
    ] {
        assert_eq!(attempt[key], record[key], "{key}");
    }
    assert_eq!(
        (&attempt["attempt"], &attempt["log_offset"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn the_note_of_a_running_job() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "1",
        &json!({"command": format!("echo $$; {}", gate.wait()), "x": {"kept": true}}),
    );
    let note = spool.wait_note("1");
    assert_eq!(
        format!("{}\n", note["pid"]),
        spool.read("log/1"),
        "the pid is the leader's"
    );
    assert_eq!(
        (&note["id"], &note["attempt"], &note["x"]["kept"]),
        (&json!("1"), &json!(1), &json!(true))
    );
    assert!(seconds(&note, "created_at") <= seconds(&note, "started_at"));
    for key in ["finished_at", "exit_code", "reason", "duration"] {
        assert_eq!(note.get(key), None, "{key}");
    }
    gate.open(1);
    let record = spool.wait_record("complete/1");
    assert_eq!(record["started_at"], note["started_at"]);
    assert_eq!(
        (record.get("pid"), &record["x"]["kept"]),
        (None, &json!(true))
    );
}

#[test]
fn a_short_job_is_claimed_as_it_is() {
    let spool = Spool::serving(&[]);
    // The file in active/ is the dropped file itself.
    spool.drop_file(
        "1",
        "stat -c %i $PIRN_SPOOL/active/1; cat $PIRN_SPOOL/active/1",
    );
    let record = spool.wait_record("complete/1");
    assert!(
        text(&record, "output").ends_with("cat $PIRN_SPOOL/active/1"),
        "{record}"
    );
}

#[test]
fn each_try_has_its_entry() {
    let spool = Spool::serving(&[]);
    let line = "echo try $PIRN_ATTEMPT; case $PIRN_ATTEMPT in 1) exit 7;; 2) kill -9 $$;; 3) sleep 600;; esac";
    let job = json!({"command": line, "tries": 4, "timeout": "3s", "backoff": {"first": "5ms", "factor": 1}});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!(
        (state.as_str(), &record["attempt"]),
        ("complete", &json!(4))
    );
    let entries = record["attempts"].as_array().unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|e| {
            (
                e["attempt"].as_i64(),
                e["reason"].as_str(),
                e["exit_code"].as_i64(),
                e["signal"].as_i64(),
                e["log_offset"].as_i64(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some(1), Some("exited"), Some(7), None, Some(0)),
            (Some(2), Some("signaled"), None, Some(9), Some(6)),
            (Some(3), Some("timeout"), None, Some(15), Some(12)),
            (Some(4), Some("exited"), Some(0), None, Some(18)),
        ]
    );
    for pair in entries.windows(2) {
        assert!(seconds(&pair[0], "finished_at") <= seconds(&pair[1], "started_at"));
    }
    // The result is that of the last try.
    assert_eq!(
        (record.get("signal"), &record["output"]),
        (None, &json!("try 4\n"))
    );
}

#[test]
fn output_is_the_last_4_kib() {
    let spool = Spool::serving(&[]);
    spool.drop_file("1", "yes abcdefg | head -n 2000; printf end");
    let record = spool.wait_record("complete/1");
    let output = text(&record, "output");
    assert_eq!((output.len(), &record["log_bytes"]), (4096, &json!(16003)));
    assert!(spool.read("log/1").ends_with(output) && output.ends_with("abcdefg\nend"));
    // Output that is not UTF-8 is shown as well as possible and does not break the record.
    spool.drop_file("2", r"printf 'a\377b\000c'");
    assert_eq!(
        spool.wait_record("complete/2")["output"],
        "a\u{fffd}b\u{0}c"
    );
    assert_eq!(fs::read(spool.path().join("log/2")).unwrap(), b"a\xffb\0c");
}

#[test]
fn the_time_that_a_daemon_needs_after_the_start_is_the_jobs() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    let _slow = Injection::new(&spool, pid, "clone,clone3:delay_exit=300000", None);
    spool.drop_file("1", "sleep 0.1");
    let record = spool.wait_record("complete/1");
    assert!(record["duration"].as_f64().unwrap() >= 0.1, "{record}");
}
