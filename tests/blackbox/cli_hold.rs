//! `pirn hold` and `pirn release`.

use crate::spool::Spool;
use crate::tools::ok;
use serde_json::json;
use std::fs;

#[test]
fn a_held_job_waits_until_it_is_released() {
    // Without a daemon, the command works on the files.
    let mut spool = Spool::new();
    spool.config(r#"{"keep": "28d", "slots": 1}"#);
    spool.add(&["-q", "mail", "--name", "label", "true"]);
    spool.add(&["true"]);
    spool.add(&["true"]);
    ok(&spool, &["hold", "1", "2"]);
    assert_eq!(spool.ls("held"), ["1", "2"]);
    // The settings are not changed.
    assert_eq!(
        spool.record("config.json"),
        json!({"keep": "28d", "slots": 1})
    );
    // Holding a held job changes nothing.
    ok(&spool, &["hold", "2", "1"]);
    spool.serve(&[]);
    spool.wait_record("complete/3");
    assert_eq!(spool.ls("held"), ["1", "2"]);
    let status = spool.pirn(&["status"]).stdout;
    assert!(status.contains("held      2\n"), "{status}");
    ok(&spool, &["release", "1", "2"]);
    let record = spool.wait_record("complete/1");
    assert_eq!(
        (&record["queue"], &record["name"], &record["attempt"]),
        (&json!("mail"), &json!("label"), &json!(1))
    );
    assert_eq!(spool.wait_record("complete/2").get("queue"), None);
}

/// A job whose record has no queue, or another one, goes back to the queue in which it waited.
#[test]
fn a_released_job_goes_back_to_where_it_waited() {
    let spool = Spool::made();
    fs::create_dir_all(spool.path().join("pending/mail")).unwrap();
    let script = "#!/bin/sh\nprintf '%s\\n' \"it's\"\n";
    for (id, text) in [
        ("line", "echo 'a  b'".to_owned()),
        ("script", script.to_owned()),
        ("plain", r#"{"command": ["a"], "mine": 1.50}"#.to_owned()),
        (
            "moved",
            r#"{"command": ["a"], "queue": "web", "tags": ["x"]}"#.to_owned(),
        ),
    ] {
        let path = format!("pending/mail/{id}");
        fs::write(spool.path().join(&path), &text).unwrap();
        ok(&spool, &["hold", id]);
        assert!(!spool.has(&path) && spool.has(&format!("held/{id}")));
        ok(&spool, &["release", id]);
        let record = spool.record(&path);
        assert_eq!(record["queue"], "mail", "{id}");
        if !text.starts_with('{') {
            assert_eq!(record["command"], text);
        }
        assert_eq!(spool.ls("held"), [""; 0]);
    }
    assert!(spool.read("pending/mail/plain").contains("1.50"));
    assert_eq!(spool.record("pending/mail/moved")["tags"], json!(["x"]));
}

#[test]
fn what_does_not_wait_cannot_be_held() {
    let spool = Spool::serving(&["--slots", "1"]);
    spool.drop_file("run", "echo begun; exec sleep 600");
    spool.wait_log("run", "begun");
    spool.drop_file("wait", "true");
    // The possible changes are made, even if others fail.
    let done = spool.pirn(&["hold", "run", "nobody", "wait"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("job run") && done.stderr.contains("active/"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("no job nobody") && spool.has("held/wait"),
        "{}",
        done.stderr
    );
    assert_eq!(spool.pirn(&["release", "run"]).code, 1);
    assert_eq!(spool.pirn(&["cancel", "run"]).code, 0);
    spool.wait_record("failed/run");
    for verb in ["hold", "release"] {
        let done = spool.pirn(&[verb, "run"]);
        assert_eq!(done.code, 1, "{verb}");
        assert!(done.stderr.contains("failed/"), "{}", done.stderr);
    }
    // `release` leaves a job alone that is not held.
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    ok(&spool, &["release", "1"]);
    assert!(spool.has("pending/mail/1") && !spool.has("config.json"));
    // Nothing is changed for a job that does not exist.
    assert_eq!(spool.pirn(&["hold", "nobody"]).code, 66);
    assert!(!spool.has("config.json"));
}

/// Holding is a rename: it works with broken settings.
#[test]
fn broken_settings_hold_nothing_up() {
    let spool = Spool::new();
    let id = spool.add(&["true"]);
    spool.config("{\"slots\": 4,,}");
    ok(&spool, &["hold", &id]);
    assert!(spool.has(&format!("held/{id}")));
    assert_eq!(spool.read("config.json"), "{\"slots\": 4,,}");
}

#[test]
fn another_of_its_name_is_not_replaced() {
    let spool = Spool::new();
    spool.add(&["--id", "a", "echo held"]);
    ok(&spool, &["hold", "a"]);
    fs::write(spool.path().join("pending/a"), "echo new").unwrap();
    let done = spool.pirn(&["hold", "a"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("in the way"), "{}", done.stderr);
    assert_eq!(spool.read("pending/a"), "echo new");
    assert_eq!(spool.record("held/a")["command"], "echo held");
}

/// A daemon with free slots must not start the job while it is moved.
#[test]
fn a_job_does_not_slip_through_while_it_is_held() {
    let spool = Spool::serving(&["--slots", "4"]);
    spool.make_queue("mail");
    ok(&spool, &["pause", "mail"]);
    for n in 0..20 {
        let id = spool.add(&["-q", "mail", "true"]);
        ok(&spool, &["hold", &id]);
        // The barrier runs after it: if the job were started, it would have been by then.
        let barrier = spool.add(&["true"]);
        spool.wait_record(&format!("complete/{barrier}"));
        assert!(spool.has(&format!("held/{id}")), "{n}");
        ok(&spool, &["rm", &id]);
        assert!(!spool.has(&format!("held/{id}")));
    }
}

/// Moves by hand have the same effect, with and without a daemon.
#[test]
fn mv_holds_and_releases() {
    let mut spool = Spool::serving(&["--slots", "0"]);
    for (id, queue) in [("plain", "default"), ("added", "mail")] {
        spool.add(&["--id", id, "-q", queue, "echo", "ran"]);
    }
    spool.mv("pending/plain", "held");
    spool.mv("pending/mail/added", "held");
    spool.stop();
    spool.serve(&[]);
    spool.settle();
    assert_eq!(spool.ls("held"), ["added", "plain"]);
    assert_eq!(spool.ls("log"), [""; 0]);
    spool.mv("held/plain", "pending");
    assert_eq!(spool.wait_record("complete/plain")["output"], "ran\n");
    // The record says which queue it goes to.
    spool.mv("held/added", "pending");
    assert_eq!(spool.wait_record("complete/added")["queue"], "mail");
}

/// The held job must not start while it is moved.
#[test]
fn replacing_a_held_job_starts_the_new_one_only() {
    let spool = Spool::serving(&["--slots", "4"]);
    let ran = spool.beside("ran");
    ok(&spool, &["pause"]);
    for n in 0..20 {
        let line = |word: &str| format!("echo {word} {n} >> {}", ran.display());
        let id = format!("{n}");
        spool.add(&["--id", &id, &line("old")]);
        ok(&spool, &["hold", &id]);
    }
    ok(&spool, &["resume"]);
    for n in 0..20 {
        let line = format!("echo new {n} >> {}", ran.display());
        spool.add(&["--id", &format!("{n}"), "--replace", &line]);
        spool.wait_record(&format!("complete/{n}"));
    }
    assert_eq!(spool.ls("held"), [""; 0]);
    let ran = fs::read_to_string(ran).unwrap();
    assert!(!ran.contains("old") && ran.lines().count() == 20, "{ran}");
}

#[test]
fn a_running_job_that_is_moved_to_held_is_ended_and_held() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "echo begun; exec sleep 600");
    spool.wait_log("7", "begun");
    spool.wait_note("7");
    spool.mv("active/7", "held");
    spool.wait_no_process("7");
    spool.settle();
    spool.wait_daemon_log("7: killed and held by hand");
    assert!(spool.has("held/7") && spool.has("log/7"));
    assert!(!spool.has("active/7") && !spool.has("pending/7"));
    ok(&spool, &["release", "7"]);
    spool.wait_for("a second start", || spool.read("log/7") == "begun\nbegun\n");
    ok(&spool, &["cancel", "7"]);
}

#[test]
fn a_held_job_is_a_job_like_any_other() {
    let spool = Spool::serving(&[]);
    ok(&spool, &["pause"]);
    for _ in 0..5 {
        spool.add(&["true"]);
    }
    let child = spool.add(&["--after", "1", "true"]);
    ok(&spool, &["hold", "1", "2", "3", "4", "5"]);
    ok(&spool, &["resume"]);
    spool.settle();
    let line = |args: &[&str]| {
        let done = spool.pirn(args);
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        done.stdout
    };
    assert_eq!(line(&["ls", "held", "--ids"]), "1\n2\n3\n4\n5\n");
    let shown = spool.pirn(&["show", "1", "--json"]).stdout;
    assert!(shown.contains("\"state\": \"held\""), "{shown}");
    let status = spool.pirn(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status["held"], &status["pending"]),
        (&json!(5), &json!(1))
    );
    // Its name is taken, and its dependent keeps waiting.
    assert_ne!(spool.pirn(&["add", "--id", "1", "true"]).code, 0);
    assert!(spool.has(&format!("pending/{child}")));
    assert_eq!(spool.pirn(&["retry", "2"]).code, 1);
    assert_eq!(spool.pirn(&["wait", "2", "--timeout", "50ms"]).code, 75);
    ok(&spool, &["cancel", "2"]);
    assert_eq!(spool.record("failed/2")["reason"], "cancelled");
    ok(&spool, &["rm", "3"]);
    assert!(!spool.has("held/3"));
    ok(&spool, &["release", "1"]);
    spool.wait_record("complete/1");
    spool.wait_record(&format!("complete/{child}"));
    // A new daemon leaves the other jobs where they are.
    assert_eq!(spool.ls("held"), ["4", "5"]);
}

/// When a user removes the file of a held job, its log is removed too.
#[test]
fn rm_of_a_held_file_takes_its_log_along() {
    let spool = Spool::serving(&[]);
    let slow =
        json!({"command": "echo x; false", "tries": 2, "backoff": {"first": "1h", "max": "1h"}});
    spool.drop_json("7", &slow);
    spool.wait_for("the backoff", || {
        spool.has("pending/7") && spool.read("pending/7").contains("attempts")
    });
    ok(&spool, &["hold", "7"]);
    spool.settle();
    assert_eq!(spool.read("log/7"), "x\n");
    spool.rm("held/7");
    spool.wait_gone("log/7");
}

/// Older versions kept held jobs in a queue that the settings paused.
#[test]
fn jobs_that_an_older_version_held_stay_held() {
    let mut spool = Spool::new();
    let id = spool.add(&["-q", "mail", "true"]);
    spool.config(r#"{"queues": {"held": {"paused": true}}}"#);
    fs::remove_dir(spool.path().join("held")).unwrap();
    fs::create_dir(spool.path().join("pending/held")).unwrap();
    spool.mv(&format!("pending/mail/{id}"), "pending/held");
    fs::write(spool.path().join("pending/held/line"), "echo line").unwrap();
    spool.serve(&[]);
    spool.settle();
    assert_eq!(spool.ls("held"), [&id, "line"]);
    assert!(!spool.has("pending/held"));
    spool.wait_daemon_log("pending/held/: 2 jobs");
    assert_eq!(
        spool.record("config.json")["queues"]["held"]["paused"],
        true
    );
    ok(&spool, &["release", &id, "line"]);
    assert_eq!(
        spool.wait_record(&format!("complete/{id}"))["queue"],
        "mail"
    );
    spool.wait_record("complete/line");
    // No queue can have this name any more.
    let done = spool.pirn(&["add", "-q", "held", "true"]);
    assert_eq!(done.code, 65, "{}", done.stderr);
    assert!(done.stderr.contains("held"), "{}", done.stderr);
}

/// A hold writes the queue into the file, which replaces it. A user who still has the file open would write to a
/// removed one.
#[test]
fn a_file_that_is_being_written_is_not_held() {
    use std::io::Write;
    let spool = Spool::made();
    spool.make_queue("mail");
    for (id, half, rest) in [
        ("line", "echo one", "; echo two"),
        ("record", "{\"comm", "and\": \"echo one; echo two\"}"),
    ] {
        let path = spool.path().join("pending/mail").join(id);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(half.as_bytes()).unwrap();
        let done = spool.pirn(&["hold", id]);
        assert_eq!(done.code, 1, "{id}: {}", done.stderr);
        assert!(done.stderr.contains("being written"), "{}", done.stderr);
        assert_eq!(fs::read_to_string(&path).unwrap(), half);
        file.write_all(rest.as_bytes()).unwrap();
        drop(file);
        ok(&spool, &["hold", id]);
        let held = spool.record(&format!("held/{id}"));
        assert_eq!(held["command"], "echo one; echo two", "{id}");
        assert_eq!(held["queue"], "mail");
    }
}

/// The daemon looks at `pending/` all the time: a job that was there for an instant would be started.
#[test]
fn a_job_is_held_from_the_start() {
    let spool = Spool::serving(&["--slots", "4"]);
    for n in 1..=20 {
        let done = spool.pirn(&["add", "--hold", "-q", "mail", "true"]);
        assert_eq!(
            (done.code, done.stdout, done.stderr),
            (0, format!("{n}\n"), String::new())
        );
    }
    let done = spool.pirn_with_input(&["add", "--batch", "--hold"], b"true\necho {}\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, "21\n22\n"));
    let done = spool.pirn(&["add", "--hold", "--id", "named", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "named\n"));
    // The barrier runs after them: if one of them were started, it would have been by then.
    let barrier = spool.add(&["true"]);
    spool.wait_record(&format!("complete/{barrier}"));
    assert_eq!(spool.ls("complete"), [barrier]);
    assert_eq!((spool.ls("held").len(), spool.ls("log")), (23, vec![]));
    assert_eq!(spool.ls("pending"), [""; 0]);
    ok(&spool, &["release", "1", "22", "named"]);
    assert_eq!(spool.wait_record("complete/1")["queue"], "mail");
    spool.wait_record("complete/22");
    spool.wait_record("complete/named");
    assert_eq!(spool.ls("held").len(), 20);
}

#[test]
fn a_held_job_has_its_id_alone() {
    let spool = Spool::new();
    let add = |args: &[&str]| {
        let done = spool.pirn(&[&["add", "--id", "x"], args].concat());
        (done.code, done.stdout)
    };
    let x = || "x\n".to_owned();
    assert_eq!(add(&["--hold", "echo 1"]), (0, x()));
    assert_eq!(add(&["--hold", "echo 2"]), (1, String::new()));
    assert_eq!(add(&["echo 2"]), (1, String::new()));
    assert_eq!(add(&["--dedup", "--hold", "echo 2"]), (0, x()));
    assert_eq!(spool.record("held/x")["command"], "echo 1");
    // A held job replaces one that waits in any queue, and the other way round.
    for (n, queue) in ["default", "mail"].into_iter().enumerate() {
        let line = format!("echo {n}");
        assert_eq!(add(&["--replace", "-q", queue, "echo waits"]), (0, x()));
        assert_eq!(spool.ls("held"), [""; 0]);
        assert_eq!(add(&["--replace", "--hold", &line]), (0, x()));
        assert!(!spool.has("pending/x") && !spool.has("pending/mail/x"));
        assert_eq!(spool.record("held/x")["command"], line);
    }
    // Numbers are not given twice.
    assert_eq!(spool.pirn(&["add", "--hold", "true"]).stdout, "1\n");
    assert_eq!(spool.add(&["true"]), "2");
    assert_eq!(spool.pirn(&["at", "noon", "--hold", "true"]).code, 2);
}
