//! The commands that look: ls, show, log, wait, status.

use crate::spool::{Done, Spool};
use crate::tools::{Gate, listed};
use serde_json::{Value, json};
use std::process::Stdio;

fn parsed(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stdout))
}

/// One job in each state: `run` active, `wait` and `mail/post` pending, `good` complete, `bad` failed.
pub fn one_of_each() -> (Spool, Gate) {
    let spool = Spool::serving(&["--slots", "1"]);
    let gate = Gate::new(&spool, "gate");
    spool.run_json(
        "good",
        &json!({"command": "echo fine", "tags": ["nightly"], "env": {"SECRET": "hidden"}}),
    );
    spool.run_json(
        "bad",
        &json!({"command": "echo one; echo two; exit 9", "tries": 1, "queue": "mail"}),
    );
    spool.drop_json("run", &json!({"command": gate.wait(), "name": "label"}));
    spool.wait_note("run");
    spool.drop_json(
        "wait",
        &json!({"command": "true", "tags": ["nightly"], "priority": 2}),
    );
    spool.drop_json("post", &json!({"command": "true", "queue": "mail"}));
    spool.wait_file("pending/mail/post");
    (spool, gate)
}

#[test]
fn ls_lists_by_state_queue_and_tag() {
    let (spool, _gate) = one_of_each();
    assert_eq!(listed(&spool, &[]), ["run", "wait", "post", "bad", "good"]);
    assert_eq!(listed(&spool, &["pending"]), ["wait", "post"]);
    assert_eq!(listed(&spool, &["failed", "active"]), ["run", "bad"]);
    assert_eq!(listed(&spool, &["-q", "mail"]), ["post", "bad"]);
    assert_eq!(listed(&spool, &["-q", "default", "complete"]), ["good"]);
    assert_eq!(listed(&spool, &["--tag", "nightly"]), ["wait", "good"]);
    assert_eq!(listed(&spool, &["-n", "1", "pending"]), ["wait"]);
    assert_eq!(listed(&spool, &["--all"]).len(), 5);
    for (args, some) in [
        (&["-U"][..], &["run", "wait", "post", "bad", "good"][..]),
        (&["-U", "-q", "mail", "pending"], &["post"]),
        (&["-U", "-q", "mail"], &["post", "bad"]),
        (&["-U", "--tag", "nightly"], &["wait", "good"]),
    ] {
        assert_eq!(listed(&spool, args), some, "{args:?}");
    }
    assert_eq!(spool.pirn(&["ls", "-U", "-n", "1"]).code, 2);
    let list = parsed(&spool.pirn(&["ls", "--json"]));
    let states: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["id"].as_str().unwrap(), r["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ("run", "active"),
            ("wait", "pending"),
            ("post", "pending"),
            ("bad", "failed"),
            ("good", "complete")
        ]
    );
    let table = spool.pirn(&["ls"]).stdout;
    for word in [
        "run",
        "active",
        "label",
        "wait",
        "mail",
        "exit 9",
        "echo fine",
    ] {
        assert!(table.contains(word), "{word:?} is not in\n{table}");
    }
    assert_eq!(spool.pirn(&["ls", "running"]).code, 66);
}

#[test]
fn ls_of_nothing() {
    let spool = Spool::made();
    let done = spool.pirn(&["ls"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert_eq!(parsed(&spool.pirn(&["ls", "--json"])), json!([]));
    assert_eq!(parsed(&spool.pirn(&["status", "--json"]))["pending"], 0);
}

#[test]
fn ls_shows_the_newest_of_the_finished() {
    let spool = Spool::serving(&["--slots", "1"]);
    for n in 0..25 {
        spool.drop_file(&format!("j{n}"), "true");
        spool.wait_record(&format!("complete/j{n}"));
    }
    let shown = listed(&spool, &[]);
    assert_eq!(
        (shown.len(), shown[0].as_str(), shown[19].as_str()),
        (20, "j5", "j24")
    );
    assert_eq!(listed(&spool, &["-a"]).len(), 25);
    assert_eq!(listed(&spool, &["-n", "3"]), ["j22", "j23", "j24"]);
    assert_eq!(listed(&spool, &["complete"]).len(), 25);
}

#[test]
fn ls_of_files_that_are_no_records() {
    let spool = Spool::made();
    spool.drop_file("text", "echo plain\necho two");
    spool.drop_file("broken", "{");
    spool.drop_file("hidden.tmp", "x");
    let done = spool.pirn(&["ls", "--json"]);
    let list = parsed(&done);
    assert_eq!(list[0]["command"], "echo plain\necho two");
    assert!(
        !done.stdout.contains("hidden") && done.stderr.contains("broken"),
        "{}",
        done.stderr
    );
    // Control characters of a job are shown, not obeyed.
    spool.drop_file("esc", "echo '\u{1b}[31m'");
    assert!(!spool.pirn(&["ls"]).stdout.contains('\u{1b}'));
}

#[test]
fn show_gives_the_record() {
    let (spool, _gate) = one_of_each();
    for (id, state) in [
        ("run", "active"),
        ("wait", "pending"),
        ("post", "pending"),
        ("bad", "failed"),
        ("good", "complete"),
    ] {
        let record = parsed(&spool.pirn(&["show", "--json", id]));
        assert_eq!(
            (record["id"].as_str(), record["state"].as_str()),
            (Some(id), Some(state))
        );
    }
    let shown = parsed(&spool.pirn(&["show", "good", "--json"]));
    let mut expected = spool.record("complete/good");
    expected["state"] = json!("complete");
    assert_eq!(shown, expected);
    let text = spool.pirn(&["show", "bad"]).stdout;
    for word in ["exit 9", "echo one", "mail", "failed"] {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
    assert_eq!(
        parsed(&spool.pirn(&["show", "post", "--json"]))["queue"],
        "mail"
    );
}

#[test]
fn log_whole_last_lines_and_stderr() {
    let spool = Spool::serving(&[]);
    spool.run_json(
        "7",
        &json!({"command": "seq 5; printf end; echo err >&2", "split": true}),
    );
    let log = |args: &[&str]| {
        let done = spool.pirn(&[&["log", "7"], args].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    };
    assert_eq!(log(&[]), "1\n2\n3\n4\n5\nend");
    assert_eq!(log(&["-n", "2"]), "5\nend");
    assert_eq!(log(&["-n", "99"]), log(&[]));
    assert_eq!(log(&["-n", "0"]), "");
    assert_eq!(log(&["--err"]), "err\n");
    assert_eq!(log(&["-f"]), log(&[]));
    spool.drop_file("quiet", "true");
    spool.wait_record("complete/quiet");
    let done = spool.pirn(&["log", "quiet"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    spool.drop_file("long", "seq 100000");
    spool.wait_record("complete/long");
    let expected: String = (99_001..=100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(spool.pirn(&["log", "long", "-n", "1000"]).stdout, expected);
}

#[test]
fn log_follows_until_the_job_ends() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json("7", &json!({"command": format!("echo first; {}; echo second; [ $PIRN_ATTEMPT = 2 ]", gate.wait()), "backoff": {"first": "5ms"}}));
    spool.wait_log("7", "first");
    let child = spool
        .command(["log", "-f", "7"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    gate.open(2);
    // `wait` goes on until the second try has ended.
    let out = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(out.stdout).unwrap(),
        "first\nsecond\nfirst\nsecond\n"
    );
    assert!(out.status.success());
}

#[test]
fn wait_exits_as_the_jobs_did() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    for (id, end) in [
        ("a", "true"),
        ("b", "exit 3"),
        ("c", "exit 4"),
        ("d", "true"),
    ] {
        spool.drop_json(
            id,
            &json!({"command": format!("{}; {end}", gate.wait()), "tries": 1}),
        );
    }
    for id in ["a", "b"] {
        spool.wait_note(id);
    }
    let child = spool
        .command(["wait", "a", "b", "c", "d"])
        .stdin(Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    let done = spool.pirn(&["wait", "a", "--timeout", "50ms"]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    assert!(child.try_wait().unwrap().is_none());
    gate.open(4);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    for (id, code) in [("a", 0), ("b", 3), ("c", 4)] {
        assert_eq!(spool.pirn(&["wait", id]).code, code, "{id}");
    }
    assert_eq!(spool.pirn(&["wait", "a", "d"]).code, 0);
    assert_eq!(spool.pirn(&["wait", "a", "c", "b"]).code, 4);
    spool.run_json("signal", &json!({"command": "kill -15 $$", "tries": 1}));
    spool.run_json(
        "slow",
        &json!({"command": "sleep 600", "timeout": "50ms", "tries": 1}),
    );
    assert_eq!(spool.pirn(&["wait", "signal"]).code, 143);
    assert_eq!(spool.pirn(&["wait", "slow"]).code, 124);
}

#[test]
fn wait_for_a_job_that_is_removed() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "7",
        &json!({"command": "true", "not_before": "2199-01-01T00:00:00Z"}),
    );
    spool.settle();
    let mut child = spool
        .command(["wait", "7"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It must end whether the job is removed before or after it began to watch.
    spool.rm("pending/7");
    let pid = i64::from(child.id());
    crate::spool::wait_for("pirn wait to end", || !crate::spool::is_alive(pid));
    assert_eq!(child.wait().unwrap().code(), Some(66));
}

#[test]
fn status_counts_all() {
    let (spool, _gate) = one_of_each();
    spool.drop_file("broken", "{");
    spool.wait_bad("broken");
    let status = parsed(&spool.pirn(&["status", "--json"]));
    for (key, value) in [
        ("pending", 2),
        ("active", 1),
        ("complete", 1),
        ("failed", 1),
        ("bad", 1),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    assert_eq!(status["daemon"], spool.daemon_pid().unwrap());
    assert_eq!(status["spool"], spool.path().to_str().unwrap());
    let mail = status["queues"]
        .as_array()
        .unwrap()
        .iter()
        .find(|q| q["name"] == "mail")
        .unwrap();
    assert_eq!(
        (&mail["waiting"], &mail["paused"]),
        (&json!(1), &json!(false))
    );
    let text = spool.pirn(&["status"]).stdout;
    assert!(
        text.contains(&spool.daemon_pid().unwrap().to_string()) && text.contains("mail"),
        "{text}"
    );
}

#[test]
fn status_without_a_daemon_says_so() {
    let mut spool = Spool::serving(&[]);
    spool.stop();
    // The pid in `lock` is information for people; only a held lock counts.
    assert_eq!(
        parsed(&spool.pirn(&["status", "--json"]))["daemon"],
        Value::Null
    );
    assert!(spool.pirn(&["status"]).stdout.contains("none"));
}
