//! Records that cannot be jobs: the reason in `bad/` names the field and what is wrong with it.

use crate::spool::Spool;
use serde_json::json;

#[test]
fn broken_json_says_what_and_where() {
    let spool = Spool::serving(&[]);
    let deep = format!(
        "{{\"command\": \"true\", \"x\": {}{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    for (name, content, words) in [
        ("cut", r#"{"command": "true""#.to_owned(), vec!["line 1"]),
        (
            "line3",
            "{\n\"command\": \"true\",\n\"tries\" 3}".to_owned(),
            vec!["line 3"],
        ),
        (
            "twice",
            "{\"command\": \"true\",\n \"command\": \"false\"}".to_owned(),
            vec!["line 2", "command", "twice"],
        ),
        (
            "inner-twice",
            r#"{"command": "true", "env": {"A": "1", "A": "2"}}"#.to_owned(),
            vec!["env.A", "twice"],
        ),
        (
            "escaped-twice",
            r#"{"command": "true", "c\u006fmmand": "false"}"#.to_owned(),
            vec!["command", "twice"],
        ),
        ("deep", deep, vec!["deep"]),
        (
            "two",
            r#"{"command": "true"} {"command": "true"}"#.to_owned(),
            vec!["line 1"],
        ),
        ("nothing", "{}".to_owned(), vec!["command"]),
        (
            "more than one",
            r#"{"command": "true", "script": "x"}"#.to_owned(),
            vec!["command", "script"],
        ),
        (
            "empty-argv",
            r#"{"command": []}"#.to_owned(),
            vec!["command", "empty"],
        ),
        (
            "empty-text",
            r#"{"command": " "}"#.to_owned(),
            vec!["command", "empty"],
        ),
        (
            "nul",
            "{\"command\": \"true \\u0000 x\"}".to_owned(),
            vec!["command", "NUL"],
        ),
        (
            "comment",
            "{\"command\": \"true\" // no\n}".to_owned(),
            vec!["line 1"],
        ),
    ] {
        spool.drop_file(name, content);
        let reason = spool.wait_bad(name);
        for word in words {
            assert!(
                reason.contains(word),
                "{name}: {word:?} is not in {reason:?}"
            );
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_names_its_field() {
    let spool = Spool::serving(&[]);
    let cases = [
        ("command", json!(3)),
        ("command", json!(["a", 1])),
        ("command", json!({"a": 1})),
        ("script", json!("../../bin/sh")),
        ("script", json!(["x"])),
        ("name", json!(1)),
        ("comment", json!([])),
        ("queue", json!("a/b")),
        ("queue", json!(".git")),
        ("queue", json!(7)),
        ("priority", json!("high")),
        ("priority", json!(1.5)),
        ("priority", json!(1e20)),
        ("cwd", json!(["/"])),
        ("env", json!("A=1")),
        ("env", json!({"A": 1})),
        ("env", json!({"A=B": "x"})),
        ("umask", json!("999")),
        ("umask", json!("rwx")),
        ("nice", json!(20)),
        ("nice", json!("low")),
        ("stdin", json!(5)),
        ("stdin_base64", json!("***")),
        ("files", json!(["a"])),
        ("files", json!({"../a": "x"})),
        ("files", json!({"a/b": "x"})),
        ("files", json!({"a": {"base64": "***"}})),
        ("files", json!({"a": {"hex": "00"}})),
        ("timeout", json!("soon")),
        ("timeout", json!(-1)),
        ("timeout", json!(true)),
        ("grace", json!("x")),
        ("tries", json!(0)),
        ("tries", json!(-3)),
        ("max_interruptions", json!(-1)),
        ("tries", json!("3")),
        ("backoff", json!("1s")),
        ("backoff", json!({"first": "never"})),
        ("backoff", json!({"factor": 0})),
        ("backoff", json!({"frist": "1s"})),
        ("retry_on", json!("x")),
        ("retry_on", json!([256])),
        ("fail_on", json!([-1])),
        ("fail_on", json!({"a": 1})),
        ("not_before", json!("tomorrow")),
        ("not_before", json!([])),
        ("expires", json!("2026-13-01T00:00:00Z")),
        ("group", json!(1)),
        ("after", json!([1])),
        ("after", json!({"a": 1})),
        ("after", json!(["../x"])),
        ("after_any", json!([".x"])),
        ("once", json!("yes")),
        ("tmp", json!("maybe")),
        ("split", json!(1)),
        ("max_log", json!("big")),
        ("max_log", json!(-1)),
        ("limits", json!({"nofiles": 3})),
        ("limits", json!({"nofile": "many"})),
        ("limits", json!([1])),
        ("tags", json!("a")),
        ("tags", json!([1])),
    ];
    for (n, (field, value)) in cases.iter().enumerate() {
        let mut record = json!({"command": "echo never"});
        if *field == "script" {
            record = json!({});
        }
        record[*field] = value.clone();
        spool.drop_json(&format!("{field}-{n}"), &record);
    }
    for (n, (field, value)) in cases.iter().enumerate() {
        let reason = spool.wait_bad(&format!("{field}-{n}"));
        assert!(reason.contains(field), "{field} = {value}: {reason}");
    }
    assert_eq!(spool.ls("log"), [""; 0]);
}

#[test]
fn what_comes_in_a_later_version_says_so() {
    let spool = Spool::serving(&[]);
    let private = json!({"command": "true", "sandbox": {"private_tmp": true}});
    spool.drop_json("private", &private);
    spool.drop_json("user", &json!({"command": "true", "user": "nobody"}));
    for (name, field) in [("private", "sandbox.private_tmp"), ("user", "user")] {
        let reason = spool.wait_bad(name);
        let words = format!("{field}: this version of pirn does not support it yet");
        assert!(reason.contains(&words), "{reason}");
    }
    // Empty and null fields ask for nothing, so that nothing is refused.
    spool.drop_json(
        "null",
        &json!({"command": "true", "callback_url": null, "sandbox": null, "user": null, "url": null}),
    );
    spool.wait_record("complete/null");
}

#[test]
fn bytes_that_are_no_text() {
    let spool = Spool::serving(&[]);
    spool.drop_file("latin1", b"echo caf\xe9");
    spool.drop_file("nul", b"echo a\0b");
    spool.drop_file("json", b"{\"command\": \"echo \xff\"}");
    spool.drop_file("elf", b"\x7fELF\x02\x01\x01\0\0\0");
    for name in ["latin1", "nul", "json", "elf"] {
        assert!(spool.wait_bad(name).contains("UTF-8"), "{name}");
    }
    assert_eq!(spool.ls("log"), [""; 0]);
}
