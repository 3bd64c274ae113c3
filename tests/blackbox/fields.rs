//! Every field that a record may have has its effect on the job: the program and its surroundings (DESIGN section 3).

use crate::spool::Spool;
use crate::tools::{sh, text};
use serde_json::{Value, json};
use std::fs;

/// Runs a record that must complete; gives its output.
fn output(spool: &Spool, name: &str, record: &Value) -> String {
    let (state, record) = spool.run_json(name, record);
    assert_eq!(state, "complete", "{record}");
    record["output"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn command_as_text_and_as_list() {
    let spool = Spool::serving(&[]);
    assert_eq!(
        output(
            &spool,
            "text",
            &json!({"command": "echo $((1 + 1)) 'a  b'"})
        ),
        "2 a  b\n"
    );
    // The list is executed as it is, without a shell.
    let list = json!({"command": ["printf", "<%s>", "$HOME", "a  b", "", "*", "ü"]});
    assert_eq!(output(&spool, "list", &list), "<$HOME><a  b><><*><ü>");
    let path = json!({"command": ["/bin/echo", "by path"]});
    assert_eq!(output(&spool, "path", &path), "by path\n");
    let relative = json!({"command": ["./here"], "cwd": spool.beside("")});
    sh(&format!(
        "printf '#!/bin/sh\necho here' > {0}; chmod +x {0}",
        spool.beside("here").display()
    ));
    assert_eq!(output(&spool, "relative", &relative), "here\n");
}

#[test]
fn a_list_is_looked_up_in_the_jobs_own_path() {
    let spool = Spool::serving(&[]);
    let bin = spool.beside("bin");
    fs::create_dir(&bin).unwrap();
    sh(&format!(
        "printf '#!/bin/sh\necho mine $1' > {0}; chmod +x {0}",
        bin.join("sort").display()
    ));
    let job = json!({"command": ["sort", "x"], "env": {"PATH": format!("{}:/usr/bin:/bin", bin.display())}});
    assert_eq!(output(&spool, "own", &job), "mine x\n");
}

#[test]
fn a_program_that_cannot_run_is_not_tried_again() {
    let spool = Spool::serving(&[]);
    let plain = spool.beside("plain");
    fs::write(&plain, "not executable").unwrap();
    for (name, command, code, words) in [
        (
            "missing",
            json!(["no-such-program-anywhere"]),
            127,
            "no-such-program-anywhere",
        ),
        (
            "missing-path",
            json!(["/no/such/file"]),
            127,
            "/no/such/file",
        ),
        ("denied", json!([plain]), 126, "plain"),
        ("directory", json!(["/tmp"]), 126, "/tmp"),
    ] {
        let (state, record) = spool.run_json(name, &json!({"command": command}));
        assert_eq!(
            (state.as_str(), &record["reason"], &record["exit_code"]),
            ("failed", &json!("not_started"), &json!(code)),
            "{name}"
        );
        assert!(text(&record, "error").contains(words), "{record}");
        assert_eq!(record["attempts"].as_array().unwrap().len(), 1);
        assert!(!spool.has(&format!("log/{name}")));
    }
}

#[test]
fn script_with_args() {
    let spool = Spool::serving(&[]);
    let script = spool.path().join("scripts/greet");
    sh(&format!(
        "printf '#!/bin/sh\necho \"$# $2 $PIRN_ID\"' > {0}; chmod +x {0}",
        script.display()
    ));
    let job = json!({"script": "greet", "args": ["a", "b  c"]});
    assert_eq!(output(&spool, "1", &job), "2 b  c 1\n");
    assert_eq!(output(&spool, "2", &json!({"script": "greet"})), "0  2\n");
    let (_, record) = spool.run_json("3", &json!({"script": "absent"}));
    assert_eq!(
        (&record["reason"], &record["exit_code"]),
        (&json!("not_started"), &json!(127))
    );
    assert_eq!(record["script"], "absent");
}

#[test]
fn cwd() {
    let spool = Spool::serving(&[]);
    let here = fs::canonicalize(spool.beside("")).unwrap();
    assert_eq!(
        output(&spool, "1", &json!({"command": "pwd -P", "cwd": here})),
        format!("{}\n", here.display())
    );
    for (name, cwd) in [("2", "/no/such/directory"), ("3", "/etc/passwd")] {
        let (state, record) = spool.run_json(name, &json!({"command": "pwd", "cwd": cwd}));
        assert_eq!(
            (state.as_str(), &record["reason"]),
            ("failed", &json!("not_started"))
        );
        assert!(text(&record, "error").contains(cwd), "{record}");
    }
    // Without `cwd`, the job runs in its scratch directory, if it has one.
    let scratch = output(
        &spool,
        "4",
        &json!({"command": "pwd -P; echo $PIRN_TMP", "tmp": true}),
    );
    let lines: Vec<_> = scratch.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0].ends_with("spool/tmp/4"));
}

#[test]
fn env() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": ["env", "-0"], "env": {"A": "1", "EMPTY": "", "LINES2": "a\nb", "Ü": "ü", "PIRN_ID": "forged", "PIRN_PID": "1", "a.b": "odd"}});
    let printed = output(&spool, "7", &job);
    let all: Vec<_> = printed.split('\0').collect();
    for entry in [
        "A=1",
        "EMPTY=",
        "LINES2=a\nb",
        "Ü=ü",
        "PIRN_ID=7",
        "a.b=odd",
    ] {
        assert!(all.contains(&entry), "{entry} is not in {all:?}");
    }
    assert!(!all.contains(&"PIRN_PID=1"), "{all:?}");
    let pids = output(&spool, "8", &json!({"command": "echo $$ $PIRN_PID; :"}));
    let (own, told) = pids.trim().split_once(' ').unwrap();
    assert_eq!(own, told);
}

#[test]
fn umask_and_nice() {
    let spool = Spool::serving(&[]);
    for (umask, shown) in [
        ("077", "0077"),
        ("022", "0022"),
        ("0", "0000"),
        ("0027", "0027"),
    ] {
        let job = json!({"command": "umask", "umask": umask});
        assert_eq!(output(&spool, &format!("umask{umask}"), &job).trim(), shown);
    }
    let own: i32 = String::from_utf8(std::process::Command::new("nice").output().unwrap().stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let nice = output(&spool, "nice", &json!({"command": ["nice"], "nice": 7}));
    assert!(
        [7, own + 7].contains(&nice.trim().parse().unwrap()),
        "{nice}"
    );
    assert_eq!(
        output(&spool, "zero", &json!({"command": ["nice"]})).trim(),
        own.to_string()
    );
}

#[test]
fn stdin() {
    let spool = Spool::serving(&[]);
    assert_eq!(
        output(&spool, "none", &json!({"command": "wc -c"})).trim(),
        "0"
    );
    let job = json!({"command": ["cat"], "stdin": "two\nlines ü"});
    assert_eq!(output(&spool, "text", &job), "two\nlines ü");
    // Bytes 0 to 255, as base64.
    let all = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp6uvs7e7v8PHy8/T19vf4+fr7/P3+/w==";
    let job = json!({"command": "cksum; echo done", "stdin_base64": all});
    let expected = std::process::Command::new("bash")
        .args([
            "-c",
            "for i in {0..255}; do printf \"\\\\x$(printf %x $i)\"; done | cksum",
        ])
        .output()
        .unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    assert_eq!(output(&spool, "bytes", &job), format!("{expected}done\n"));
    // Every try reads its standard input from the start.
    let job = json!({"command": "cat; exit $((PIRN_ATTEMPT < 2))", "stdin": "again\n", "backoff": {"first": "5ms"}});
    spool.run_json("tries", &job);
    assert_eq!(spool.read("log/tries"), "again\nagain\n");
    // The record keeps both fields unchanged.
    assert_eq!(spool.record("complete/bytes")["stdin_base64"], all);
    assert_eq!(spool.record("complete/text")["stdin"], "two\nlines ü");
    spool.drop_json(
        "both",
        &json!({"command": "cat", "stdin": "a", "stdin_base64": "YQ=="}),
    );
    assert!(spool.wait_bad("both").contains("stdin"));
}
