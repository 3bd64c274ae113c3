//! What pirn writes into a record, and what it keeps of it (DESIGN section 3, "Added by pirn").

use crate::spool::Spool;
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
    // Bytes: a shell has some hundred KiB, and sort held five million bytes in one line.
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
    // The file in active/ is the very file that was dropped.
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
    let job = json!({"command": line, "tries": 4, "timeout": "300ms", "backoff": {"first": "5ms", "factor": 1}});
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
    // The outcome is the last try's alone.
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
    // What is not UTF-8 is shown as well as it can be, and does not break the record.
    spool.drop_file("2", r"printf 'a\377b\000c'");
    assert_eq!(
        spool.wait_record("complete/2")["output"],
        "a\u{fffd}b\u{0}c"
    );
    assert_eq!(fs::read(spool.path().join("log/2")).unwrap(), b"a\xffb\0c");
}

#[test]
fn unknown_keys_are_carried_along_byte_for_byte() {
    let spool = Spool::serving(&[]);
    let odd = [
        r#""x": {"b": 1, "a": [1.0, 1e400, -0, 12345678901234567890123],  "a2" : "\u00e9\/é" }"#,
        r#""X-Trace": "abc", "colour": null, "": 0"#,
        r#""tries_left": 1.50, "état": true"#,
    ];
    let record = format!(
        "{{\"command\": \"[ $PIRN_ATTEMPT = 2 ]\", \"backoff\": {{\"first\": \"5ms\"}},\n{}\n}}",
        odd.join(",\n")
    );
    spool.drop_file("1", &record);
    // Not every JSON reader takes all of these numbers: ours are not asked to.
    spool.wait_file("complete/1");
    let kept = spool.read("complete/1");
    for value in [
        r#""x": {"b": 1, "a": [1.0, 1e400, -0, 12345678901234567890123],  "a2" : "\u00e9\/é" }"#,
        r#""X-Trace": "abc""#,
        r#""colour": null"#,
        r#""": 0"#,
        r#""tries_left": 1.50"#,
        r#""état": true"#,
    ] {
        assert!(kept.contains(value), "{value} is not in {kept}");
    }
    // And by the commands.
    let shown = spool.pirn(&["show", "--json", "1"]).stdout;
    assert!(shown.contains("12345678901234567890123") && shown.contains(r#""tries_left": 1.50"#));
}

#[test]
fn all_that_was_asked_for_is_kept() {
    let spool = Spool::serving(&[]);
    let asked = json!({
        "command": ["true"], "name": "label ☕", "comment": "two\nlines", "priority": -7, "cwd": "/", "env": {"A": "1"},
        "umask": "027", "nice": 3, "stdin": "in", "files": {"f": "x"}, "timeout": "1h 30m", "grace": "5s", "tries": 7,
        "backoff": {"first": "1s", "factor": 1.5, "max": "1m"}, "retry_on": [1, 2], "fail_on": [3],
        "not_before": "2020-01-01T00:00:00Z", "expires": "2199-01-01T00:00:00Z", "group": "g", "after_any": ["p"],
        "once": true, "tmp": true, "split": true, "max_log": 1000000, "limits": {"nofile": 64}, "tags": ["a", "b"],
        "x": {"free": [1, 2]},
    });
    spool.drop_file("p", "true");
    let (state, record) = spool.run_json("1", &asked);
    assert_eq!(state, "complete", "{record}");
    let times = ["not_before", "expires"];
    for (key, value) in asked.as_object().unwrap() {
        if times.contains(&key.as_str()) {
            assert!(
                text(&record, key).starts_with(&value.as_str().unwrap()[..19]),
                "{key}"
            );
        } else {
            assert_eq!(&record[key], value, "{key}");
        }
    }
}

#[test]
fn a_record_that_was_shown_can_be_dropped_again() {
    let spool = Spool::serving(&[]);
    spool.run_json(
        "1",
        &json!({"command": "echo $PIRN_ID; exit 3", "tries": 2, "backoff": {"first": "5ms"}}),
    );
    let shown = spool.pirn(&["show", "--json", "1"]).stdout;
    spool.drop_file("copy", shown);
    let (_, record) = spool.wait_end("copy");
    assert_eq!(
        (&record["id"], &record["output"]),
        (&json!("copy"), &json!("copy\n"))
    );
    // A new job, with tries of its own.
    assert_eq!(record["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(record.get("state"), None, "the directory is the state");
}

#[test]
fn forged_outcomes_do_not_pass() {
    let spool = Spool::serving(&[]);
    let forged = json!({"command": "echo ran", "id": "other", "attempt": 99, "exit_code": 0, "finished_at": "2020-01-01T00:00:00Z",
        "reason": "exited", "state": "complete", "pid": 1, "proc": {"pid": 1, "start": 1, "boot": "x"}, "result": "forged", "output": "forged"});
    let (state, record) = spool.run_json("1", &forged);
    assert_eq!(
        (state.as_str(), &record["output"], &record["id"]),
        ("complete", &json!("ran\n"), &json!("1"))
    );
    assert_eq!(
        (&record["attempt"], record.get("result"), record.get("pid")),
        (&json!(1), None, None)
    );
    let running = json!({"command": "echo ran; exit 5", "attempt": 99, "started_at": "2020-01-01T00:00:00Z", "pid": 1, "tries": 2, "backoff": {"first": "5ms"}});
    assert_eq!(spool.run_json("2", &running).1["attempt"], 2);
}

#[test]
fn records_are_private_and_end_with_a_newline() {
    use std::os::unix::fs::PermissionsExt;
    let spool = Spool::serving(&[]);
    spool.drop_file("1", "echo x");
    spool.wait_record("complete/1");
    let added = spool.add(&["--in", "1h", "true"]);
    for name in ["complete/1", "log/1", &format!("pending/{added}")] {
        let mode = fs::metadata(spool.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600, "{name} is {mode:o}");
    }
    assert!(spool.read("complete/1").ends_with("}\n"));
}
