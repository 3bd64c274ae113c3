//! Files that a job may write and leave: scratch directories, results, split logs, limits.

use crate::spool::Spool;
use serde_json::{Value, json};

/// Runs a record that must complete; gives its output.
fn output(spool: &Spool, name: &str, record: &Value) -> String {
    let (state, record) = spool.run_json(name, record);
    assert_eq!(state, "complete", "{record}");
    record["output"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn files_in_the_scratch_directory() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "cat a.txt; od -An -tx1 b; stat -c %a . a.txt; pwd -P; echo new > c",
        "files": {"a.txt": "text ü\n", "b": {"base64": "AP/+"}, "empty": ""}});
    let printed = output(&spool, "1", &job);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!((lines[0], lines[1].trim()), ("text ü", "00 ff fe"));
    assert_eq!(
        u32::from_str_radix(lines[2], 8).unwrap() & 0o77,
        0,
        "the directory is private"
    );
    assert!(!spool.has("tmp/1"), "removed after the try");
    assert_eq!(spool.record("complete/1")["files"]["b"]["base64"], "AP/+");
    // Each try gets fresh copies.
    let job = json!({"command": "cat f; echo more >> f; ls; exit $((PIRN_ATTEMPT < 3))", "files": {"f": "once\n"}, "backoff": {"first": "5ms"}});
    assert_eq!(spool.run_json("2", &job).1["attempt"], 3);
    assert_eq!(spool.read("log/2"), "once\nf\n".repeat(3));
}

#[test]
fn tmp_and_what_is_left_of_it() {
    let spool = Spool::serving(&[]);
    let job = |tmp: Value| json!({"command": "echo \"$PIRN_TMP\"; cd \"$PIRN_TMP\" && mkdir -p a/b && echo x > a/b/c && chmod 500 a", "tmp": tmp});
    let path = spool.path().join("tmp/yes");
    assert_eq!(
        output(&spool, "yes", &job(json!(true))),
        format!("{}\n", path.display())
    );
    assert_eq!(spool.scratch(), [""; 0]);
    output(&spool, "keep", &job(json!("keep")));
    assert_eq!(spool.read("tmp/keep/a/b/c"), "x\n");
    assert_eq!(
        output(
            &spool,
            "no",
            &json!({"command": "echo \"${PIRN_TMP-unset} ${PIRN_OUT-unset}\"", "tmp": false})
        ),
        "unset unset\n"
    );
}

#[test]
fn result_is_what_was_written_to_pirn_out() {
    let spool = Spool::serving(&[]);
    let (_, record) = spool.run_json(
        "1",
        &json!({"command": "echo '{\"answer\": 42}' > $PIRN_OUT; echo log", "tmp": true}),
    );
    assert_eq!(
        (&record["result"], &record["output"]),
        (&json!("{\"answer\": 42}\n"), &json!("log\n"))
    );
    let (_, record) = spool.run_json("2", &json!({"command": "true", "tmp": true}));
    assert_eq!(record.get("result"), None);
    // The result is that of the last try, not of an earlier one; a failed try has one, too.
    let job = json!({"command": "[ $PIRN_ATTEMPT = 1 ] && echo one > $PIRN_OUT; exit 1", "tmp": true, "tries": 2, "backoff": {"first": "5ms"}});
    assert_eq!(spool.run_json("3", &job).1.get("result"), None);
    let job = json!({"command": "echo why > $PIRN_OUT; exit 1", "tmp": true, "tries": 1});
    assert_eq!(spool.run_json("4", &job).1["result"], "why\n");
    // A link out of the scratch directory is not followed.
    let job = json!({"command": "ln -s /etc/passwd $PIRN_OUT", "tmp": true});
    assert_eq!(spool.run_json("5", &job).1.get("result"), None);
}

#[test]
fn split_puts_stderr_into_a_log_of_its_own() {
    let spool = Spool::serving(&[]);
    let line = "echo out; echo err >&2; echo out2";
    spool.run_json("1", &json!({"command": line, "split": true}));
    assert_eq!(spool.read("log/1"), "out\nout2\n");
    assert_eq!(spool.record("complete/1")["output"], "out\nout2\n");
    let done = spool.pirn(&["log", "--err", "1"]);
    assert_eq!(done.stdout, "err\n");
    spool.run_json("2", &json!({"command": line, "split": false}));
    assert_eq!(spool.read("log/2"), "out\nerr\nout2\n");
    spool.run_json("3", &json!({"command": "true", "split": true}));
    spool.run_json("4", &json!({"command": "echo e >&2", "split": true}));
    let logs = spool.ls("log");
    assert!(!logs.iter().any(|name| name.starts_with('3')), "{logs:?}");
    assert!(
        !spool.has("log/4") && logs.iter().any(|name| name.starts_with('4')),
        "{logs:?}"
    );
}

#[test]
fn max_log() {
    let spool = Spool::serving(&[]);
    let (state, record) = spool.run_json("1", &json!({"command": "while :; do echo 0123456789; done", "max_log": "64K", "grace": "200ms", "tries": 1}));
    assert_eq!(
        (state.as_str(), &record["reason"]),
        ("failed", &json!("log_limit"))
    );
    assert!(spool.read("log/1").len() <= 64 << 10);
    assert_eq!(record["log_bytes"], spool.read("log/1").len());
    assert_eq!(spool.processes("1"), [0; 0]);
    // Exactly the limit is allowed.
    let (state, record) = spool.run_json(
        "2",
        &json!({"command": "head -c 1000 /dev/zero | tr '\\0' x", "max_log": 1000}),
    );
    assert_eq!(
        (state.as_str(), &record["log_bytes"]),
        ("complete", &json!(1000))
    );
}

#[test]
fn limits() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "ulimit -n; ulimit -c; ulimit -t", "limits": {"nofile": 77, "core": 0, "cpu": 100}});
    assert_eq!(output(&spool, "1", &job), "77\n0\n100\n");
    let job = json!({"command": "head -c 100000 /dev/zero > f", "limits": {"fsize": "10K"}, "tmp": true, "tries": 1});
    let (state, _) = spool.run_json("2", &job);
    assert_eq!(state, "failed");
    let job =
        json!({"command": "exec sh -c 'while :; do :; done'", "limits": {"cpu": 1}, "tries": 1});
    let (_, record) = spool.run_json("3", &job);
    // SIGXCPU at the soft limit, or KILL if both limits are the same.
    assert_eq!(record["reason"], "signaled");
    assert!(
        [24, 9].contains(&record["signal"].as_i64().unwrap()),
        "{record}"
    );
}
