//! Why a job waits, in a word: with a daemon and without one.

use crate::spool::Spool;
use crate::tools::{sh, text};
use serde_json::{Value, json};
use std::fs;

/// The word for a job, as `show` and `ls` agree on it.
fn why(spool: &Spool, id: &str) -> String {
    let shown: Value = serde_json::from_str(&spool.pirn(&["show", "--json", id]).stdout).unwrap();
    let listed: Value = serde_json::from_str(&spool.pirn(&["ls", "--json"]).stdout).unwrap();
    let own = |job: &&Value| job["id"] == id && job["state"] != "complete";
    let listed = listed.as_array().unwrap().iter().find(own).unwrap();
    assert_eq!(shown["waiting"], listed["waiting"], "{shown}");
    let sentence = text(&shown["waiting"], "text");
    assert!(sentence.len() > 10, "{shown}");
    text(&shown["waiting"], "why").to_owned()
}

fn drop_json(spool: &Spool, name: &str, record: &Value) {
    spool.drop_file(name, record.to_string());
}

#[test]
fn without_a_daemon() {
    let spool = Spool::made();
    spool.config(r#"{"slots": 4, "queues": {"shut": {"paused": true}}, "tokens": {"gpu": ["0"]}}"#);
    let later = "2100-01-01T00:00:00Z";
    let job = |extra: Value| {
        let mut record = json!({"command": "true"});
        let fields = extra.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(fields);
        record
    };
    for (name, extra) in [
        ("plain", json!({})),
        ("dated", json!({"not_before": later})),
        ("child", json!({"after": ["dated"]})),
        (
            "first",
            json!({"group": "g", "created_at": "2020-01-01T00:00:00Z"}),
        ),
        ("second", json!({"group": "g"})),
        (
            "again",
            json!({"id": "again", "attempt": 1, "retry_at": later}),
        ),
        // In its group it is the first of those that could run.
        (
            "late",
            json!({"group": "h", "after": ["dated"], "created_at": "2020-01-01T00:00:00Z"}),
        ),
        ("free", json!({"group": "h"})),
        // An ended record begins anew; one between two tries has waited for its parents.
        (
            "anew",
            json!({"attempt": 1, "after": ["dated"], "started_at": "2020-01-01T00:00:00Z"}),
        ),
        (
            "tried",
            json!({"id": "tried", "attempt": 1, "after": ["dated"]}),
        ),
        ("gpus", json!({"use": {"gpu": 2}})),
        ("tape", json!({"use": {"tape": 1}})),
        ("wide", json!({"slots": 5})),
    ] {
        drop_json(&spool, name, &job(extra));
    }
    spool.add(&["--id", "shut", "--queue", "shut", "true"]);
    spool.add(&["--id", "held", "true"]);
    spool.pirn(&["hold", "held"]);
    for (name, word) in [
        ("plain", "no_daemon"),
        ("dated", "not_before"),
        ("child", "after"),
        ("first", "no_daemon"),
        ("second", "group"),
        ("again", "backoff"),
        ("late", "after"),
        ("free", "no_daemon"),
        ("anew", "after"),
        ("tried", "no_daemon"),
        ("gpus", "tokens"),
        ("tape", "tokens"),
        ("wide", "weight"),
        ("shut", "queue_paused"),
        ("held", "held"),
    ] {
        assert_eq!(why(&spool, name), word, "{name}");
    }
    // People see it too, and a record that was shown can be dropped again.
    let shown = spool.pirn(&["show", "gpus"]).stdout;
    assert!(
        shown.contains("tokens: it needs 2 gpu, and there are 1 in all"),
        "{shown}"
    );
    assert!(
        spool
            .pirn(&["ls"])
            .stdout
            .lines()
            .any(|line| line.starts_with("wide") && line.contains("weight"))
    );
    let again = spool.pirn(&["show", "--json", "plain"]).stdout;
    spool.drop_file("plain2", again.replace("\"plain\"", "\"plain2\""));
    assert_eq!(why(&spool, "plain2"), "no_daemon");
    spool.pirn(&["pause"]);
    fs::write(spool.path().join("pending/.paused"), "").unwrap();
    assert_eq!(why(&spool, "plain"), "all_paused");
}

#[test]
fn under_a_daemon() {
    let spool = Spool::made();
    spool.config(r#"{"tokens": {"gpu": ["0", "1"]}, "queues": {"one": {"slots": 1}}}"#);
    let mut spool = spool;
    spool.serve(&["--slots", "3"]);
    let go = spool.beside("go");
    let hold = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    spool.add(&["--id", "a", "--use", "gpu=2", "--queue", "one", &hold]);
    spool.wait_file("active/a");
    spool.add(&["--id", "b", "--use", "gpu", "true"]);
    spool.add(&["--id", "c", "--queue", "one", "true"]);
    spool.add(&["--id", "open", "--at", "2100-01-01 00:00", "true"]);
    assert_eq!(why(&spool, "b"), "tokens");
    assert_eq!(why(&spool, "c"), "slots");
    assert_eq!(why(&spool, "open"), "not_before");
    spool.add(&["--id", "wide", "--slots", "3", "true"]);
    assert_eq!(why(&spool, "wide"), "weight");
    // One that could start, were it not for the wide one.
    spool.add(&["--id", "narrow", "true"]);
    assert_eq!(why(&spool, "narrow"), "turn");
    spool.pirn(&["cancel", "wide"]);
    spool.wait_file("complete/narrow");
    let writing = fs::File::create(spool.path().join("pending/written")).unwrap();
    assert_eq!(why_unread(&spool, "written"), "file_open");
    drop(writing);
    fs::write(&go, "").unwrap();
    spool.wait_file("complete/b");
}

/// The word for a file that is no record yet, by the function itself: `ls` leaves it out.
fn why_unread(spool: &Spool, id: &str) -> String {
    let file = spool.path().join("pending").join(id);
    fs::write(&file, "true").unwrap();
    let shown: Value = serde_json::from_str(&spool.pirn(&["show", "--json", id]).stdout).unwrap();
    text(&shown["waiting"], "why").to_owned()
}

#[test]
fn leftovers_of_an_earlier_run() {
    let spool = Spool::serving(&[]);
    let (state, record) = spool.run_json("1", &json!({"command": "sleep 1000 & echo $!"}));
    assert_eq!(state, "complete");
    spool.drop_file("1", "true");
    spool.wait_for("the word", || {
        let shown: Value =
            serde_json::from_str(&spool.pirn(&["show", "--json", "1"]).stdout).unwrap();
        shown["state"] == "pending" && shown["waiting"]["why"] == "leftover"
    });
    sh(&format!("kill {}", text(&record, "output").trim()));
}

#[test]
fn add_warns_of_more_than_there_is() {
    let spool = Spool::serving(&["--slots", "2"]);
    for (args, words) in [
        (
            &["--slots", "3"][..],
            "it takes 3 slots, and there are 2 in all",
        ),
        (
            &["--use", "gpu"],
            "it needs 1 gpu, and the settings have no such token",
        ),
    ] {
        let done = spool.pirn(&[&["add"], args, &["true"]].concat());
        assert_eq!(done.code, 0);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}
