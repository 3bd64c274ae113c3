//! How many tries a job has: commands and HTTP write it into the record when they accept a job; only dropped files
//! leave it open.

use crate::spool::Spool;
use serde_json::{Value, json};

const SETTINGS: &str =
    r#"{"defaults": {"tries": 5}, "queues": {"mail": {"defaults": {"tries": 7}}}}"#;

fn tries_of(spool: &Spool, id: &str) -> Value {
    let shown = spool.pirn(&["show", "--json", id]).stdout;
    serde_json::from_str::<Value>(&shown).unwrap()["tries"].clone()
}

fn tries_made(record: &Value) -> usize {
    record["attempts"].as_array().map_or(0, Vec::len)
}

#[test]
fn an_added_job_says_how_many_tries_it_has() {
    let spool = Spool::new();
    assert_eq!(tries_of(&spool, &spool.add(&["true"])), 1);
    spool.config(SETTINGS);
    for (args, tries) in [
        (&["true"][..], 5),
        (&["-q", "mail", "true"], 7),
        (&["--tries", "2", "-q", "mail", "true"], 2),
    ] {
        assert_eq!(tries_of(&spool, &spool.add(args)), tries, "{args:?}");
    }
}

#[test]
fn so_does_each_line_of_a_batch() {
    let spool = Spool::new();
    spool.pirn(&["add", "--id", "first", "true"]);
    spool.config(SETTINGS);
    let lines = [
        "true",
        r##"{"command": "true"}"##,
        r##"{"command": "true", "queue": "mail"}"##,
        r##"{"command": "true", "queue": "mail", "tries": 2}"##,
        r##"{"command": "true", "tries": null}"##,
    ]
    .join("\n");
    let done = spool.pirn_with_input(&["add", "--batch"], lines.as_bytes());
    let ids: Vec<&str> = done.stdout.lines().collect();
    let tries: Vec<Value> = ids.iter().map(|id| tries_of(&spool, id)).collect();
    assert_eq!(json!(tries), json!([5, 5, 7, 2, 5]), "{}", done.stderr);
    let done = spool.pirn_with_input(&["add", "--batch", "--tries", "3"], lines.as_bytes());
    let ids: Vec<&str> = done.stdout.lines().collect();
    let tries: Vec<Value> = ids.iter().map(|id| tries_of(&spool, id)).collect();
    assert_eq!(json!(tries), json!([3, 3, 3, 2, 5]), "{}", done.stderr);
}

#[test]
fn only_a_dropped_file_that_says_nothing_has_three() {
    let spool = Spool::serving(&[]);
    spool.add(&["--id", "added", "false"]);
    let done = spool.pirn(&["run", "--id", "run", "false"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let quick = json!({"command": "false", "backoff": {"first": "1ms"}});
    spool.drop_json("dropped", &quick);
    for (id, tries) in [("added", 1), ("run", 1), ("dropped", 3)] {
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(tries_made(&record), tries, "{record}");
    }
    // A job that is moved by hand keeps its tries.
    for (id, tries) in [("added", 1), ("dropped", 3)] {
        let log = format!("{id}: failed");
        let failed = || spool.daemon_log().matches(&log).count();
        let before = failed();
        spool.mv(&format!("failed/{id}"), "pending");
        spool.wait_for("another failure", || failed() > before);
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(tries_made(&record), tries, "{record}");
    }
}

#[test]
fn run_obeys_the_configured_default() {
    let spool = Spool::new();
    spool.pirn(&["add", "--in", "1h", "true"]);
    spool.config(r#"{"defaults": {"tries": 2, "backoff": {"first": "1ms"}}}"#);
    let done = spool.pirn(&["run", "--id", "run", "[ $PIRN_ATTEMPT = 2 ]"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(spool.record("complete/run")["tries"], 2);
}

#[test]
fn settings_that_are_not_valid_are_named_once() {
    let spool = Spool::new();
    spool.pirn(&["add", "true"]);
    spool.config("{\n\"default\": {}}");
    let done = spool.pirn_with_input(&["add", "--batch"], b"true\ntrue\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, "2\n3\n"));
    let about = |text: &str| done.stderr.matches(text).count();
    assert_eq!(
        (about("config.json: line 2: default"), about("get 1")),
        (1, 1),
        "{}",
        done.stderr
    );
    assert_eq!(tries_of(&spool, "3"), 1);
}
