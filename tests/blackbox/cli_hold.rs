//! `pirn hold` and `pirn release`.

use crate::spool::Spool;
use crate::tools::ok;
use serde_json::json;
use std::fs;

#[test]
fn a_held_job_waits_until_it_is_released() {
    // Without a daemon: it uses the files.
    let mut spool = Spool::new();
    spool.config(r#"{"keep": "28d", "slots": 1}"#);
    spool.add(&["-q", "mail", "--name", "label", "true"]);
    spool.add(&["true"]);
    spool.add(&["true"]);
    ok(&spool, &["hold", "1", "2"]);
    assert_eq!(spool.ls("pending/held"), ["1", "2"]);
    assert_eq!(
        spool.record("config.json"),
        json!({"keep": "28d", "slots": 1, "queues": {"held": {"paused": true}}})
    );
    // Twice is once.
    ok(&spool, &["hold", "2", "1"]);
    spool.serve(&[]);
    spool.wait_record("complete/3");
    assert_eq!(spool.ls("pending/held"), ["1", "2"]);
    let status = spool.pirn(&["status"]).stdout;
    assert!(
        status.contains("held") && status.contains("paused"),
        "{status}"
    );
    ok(&spool, &["release", "1", "2"]);
    let record = spool.wait_record("complete/1");
    assert_eq!(
        (&record["queue"], &record["name"], &record["attempt"]),
        (&json!("mail"), &json!("label"), &json!(1))
    );
    assert_eq!(spool.wait_record("complete/2").get("queue"), None);
}

/// What says nothing of its queue, or something else, goes back to the one that it waited in.
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
        assert!(!spool.has(&path) && spool.has(&format!("pending/held/{id}")));
        ok(&spool, &["release", id]);
        let record = spool.record(&path);
        assert_eq!(record["queue"], "mail", "{id}");
        if !text.starts_with('{') {
            assert_eq!(record["command"], text);
        }
        assert_eq!(spool.ls("pending/held"), [""; 0]);
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
    // Each that can be done is done.
    let done = spool.pirn(&["hold", "run", "nobody", "wait"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("job run") && done.stderr.contains("active/"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("no job nobody") && spool.has("pending/held/wait"),
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
    // A job that is not held is left where it is.
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    ok(&spool, &["release", "1"]);
    assert!(spool.has("pending/mail/1") && !spool.has("config.json"));
    // Nothing is paused for a job that is not there.
    assert_eq!(spool.pirn(&["hold", "nobody"]).code, 66);
    assert!(!spool.has("config.json"));
}

/// Without the pause a held job would be started: so no pause, no holding.
#[test]
fn nothing_is_held_that_cannot_be_kept() {
    let spool = Spool::new();
    let id = spool.add(&["true"]);
    spool.config("{\"slots\": 4,,}");
    let done = spool.pirn(&["hold", &id]);
    assert_eq!(done.code, 78, "{}", done.stderr);
    assert!(done.stderr.contains("config.json") && spool.has("pending/1"));
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
    assert_eq!(spool.record("pending/held/a")["command"], "echo held");
}

/// The pause is heard of before the job is: a daemon with free slots must not start it on its way.
#[test]
fn a_job_does_not_slip_through_while_it_is_held() {
    let spool = Spool::serving(&["--slots", "4"]);
    spool.make_queue("mail");
    ok(&spool, &["pause", "mail"]);
    for n in 0..20 {
        let id = spool.add(&["-q", "mail", "true"]);
        ok(&spool, &["hold", &id]);
        // Behind it, so that it would have been started by then.
        let barrier = spool.add(&["true"]);
        spool.wait_record(&format!("complete/{barrier}"));
        assert!(spool.has(&format!("pending/held/{id}")), "{n}");
        ok(&spool, &["rm", &id]);
        ok(&spool, &["resume", "held"]);
    }
}

/// Each reads the settings, changes one and writes them: none may be lost for another's sake.
#[test]
fn settings_that_are_changed_at_once_are_all_changed() {
    let spool = Spool::new();
    let ids: Vec<String> = (0..8).map(|_| spool.add(&["true"])).collect();
    for id in &ids {
        spool.make_queue(&format!("q{id}"));
    }
    std::thread::scope(|scope| {
        for id in &ids {
            let spool = &spool;
            scope.spawn(move || {
                ok(spool, &["pause", &format!("q{id}")]);
                ok(spool, &["hold", id]);
            });
        }
    });
    let queues = spool.record("config.json")["queues"].clone();
    for id in &ids {
        assert_eq!(queues[format!("q{id}")]["paused"], true, "{queues}");
        assert!(spool.has(&format!("pending/held/{id}")));
    }
    assert_eq!(queues["held"]["paused"], true);
}
