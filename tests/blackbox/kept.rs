//! The record keeps all fields that it was given, known to pirn or not, but no forged results.

use crate::spool::Spool;
use crate::tools::text;
use serde_json::json;
use std::fs;

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
    // Some JSON readers do not accept all of these numbers; pirn must.
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
    // The commands show them, too.
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
    // It is a new job with tries of its own.
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
    let ran = spool.add(&["echo x"]);
    spool.wait_record(&format!("complete/{ran}"));
    let added = spool.add(&["--in", "1h", "true"]);
    for name in [
        &format!("complete/{ran}"),
        &format!("log/{ran}"),
        &format!("pending/{added}"),
    ] {
        let mode = fs::metadata(spool.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600, "{name} is {mode:o}");
    }
    assert!(spool.read(&format!("complete/{ran}")).ends_with("}\n"));
}
