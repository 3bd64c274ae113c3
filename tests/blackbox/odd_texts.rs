//! Files with unusual first bytes, and messages about very long texts.

use crate::spool::Spool;
use serde_json::json;

#[test]
fn a_byte_order_mark_is_no_part_of_the_job() {
    let spool = Spool::serving(&[]);
    for (name, content, command) in [
        ("json", "\u{feff}{\"command\": \"echo $0\"}", "echo $0"),
        ("text", "\u{feff}echo $0", "echo $0"),
        (
            "script",
            "\u{feff}#!/usr/bin/awk -f\nBEGIN { print \"sh\" }",
            "#!/usr/bin/awk -f\nBEGIN { print \"sh\" }",
        ),
    ] {
        spool.drop_file(name, content);
        let record = spool.wait_record(&format!("complete/{name}"));
        assert_eq!(
            (&record["output"], &record["command"]),
            (&json!("sh\n"), &json!(command)),
            "{name}"
        );
    }
    spool.drop_file("broken", "\u{feff}{ echo a; }");
    let reason = spool.wait_bad("broken");
    assert!(reason.contains("begins with {"), "{reason}");
    // Inside a job it is text like any other.
    let line = "printf '\u{feff}' | wc -c";
    spool.drop_json("within", &json!({"command": line}));
    assert_eq!(spool.wait_record("complete/within")["output"], "3\n");
}

/// Both the reason and the daemon's log cut long texts.
#[test]
fn what_is_quoted_is_cut() {
    let spool = Spool::serving(&[]);
    let long = "k".repeat(1 << 19);
    for (name, content, word) in [
        (
            "env",
            json!({"command": "true", "env": {&long: 1}}),
            "env.kkk",
        ),
        ("twice", json!({"command": 1, &long: 1}), "command"),
        (
            "backoff",
            json!({"command": "true", "backoff": {&long: 1}}),
            "backoff.kkk",
        ),
        (
            "queue",
            json!({"command": "true", "queue": format!(".{long}")}),
            "dot",
        ),
        (
            "after",
            json!({"command": "true", "after": [format!("-{long}")]}),
            "dash",
        ),
        (
            "timeout",
            json!({"command": "true", "timeout": &long}),
            "duration",
        ),
        ("umask", json!({"command": "true", "umask": &long}), "octal"),
        (
            "expires",
            json!({"command": "true", "expires": &long}),
            "RFC 3339",
        ),
        (
            "max_log",
            json!({"command": "true", "max_log": &long}),
            "size",
        ),
        (
            "reason",
            json!({"command": "true", "reason": &long}),
            "no reason",
        ),
        (
            "files",
            json!({"command": "true", "files": {&long: "x"}}),
            "524288 bytes long; 255 is the most",
        ),
    ] {
        spool.drop_json(name, &content);
        let reason = spool.wait_bad(name);
        assert!(reason.len() < 1000, "{name}: {} bytes", reason.len());
        assert!(reason.contains(word), "{name}: {reason}");
    }
    spool.drop_json(
        "cwd",
        &json!({"command": "true", "cwd": format!("/{long}"), "tries": 1}),
    );
    let record = spool.wait_record("failed/cwd");
    assert!(record["error"].as_str().unwrap().len() < 2000);
    spool.drop_json("program", &json!({"command": [&long], "tries": 1}));
    let record = spool.wait_record("failed/program");
    assert!(record["error"].as_str().unwrap().len() < 2000);
    let log = spool.daemon_log();
    assert!(log.len() < 20_000, "{} bytes of log", log.len());
}
