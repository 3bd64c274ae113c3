//! `config.json` is live: a valid change takes effect at once; an invalid one is reported, and the old settings stay.

use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;

fn running(spool: &Spool) -> usize {
    spool.ls("active").len()
}

#[test]
fn slots_up_and_down() {
    let mut spool = Spool::new();
    spool.config(r#"{"slots": 1}"#);
    spool.serve(&[]);
    let mut gate = Gate::new(&spool, "gate");
    for n in 0..6 {
        spool.drop_file(&n.to_string(), gate.wait());
    }
    spool.wait_for("one to run", || running(&spool) == 1);
    spool.config(r#"{"slots": 3}"#);
    spool.wait_for("three to run", || running(&spool) == 3);
    spool.config(r#"{"slots": 1}"#);
    spool.wait_daemon_log("config");
    // Running jobs go on; nothing is started until fewer run than there are slots.
    gate.open(2);
    spool.wait_for("two to end", || spool.ls("complete").len() == 2);
    spool.wait_for("one to go on", || running(&spool) == 1);
    gate.open(1);
    spool.wait_for("the next", || {
        spool.ls("complete").len() == 3 && running(&spool) == 1
    });
    gate.open(3);
    spool.wait_for("all", || spool.ls("complete").len() == 6);
}

#[test]
fn no_slots_start_nothing() {
    let mut spool = Spool::new();
    spool.config(r#"{"slots": 0}"#);
    spool.serve(&[]);
    spool.drop_file("1", "true");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    // The quarantined file shows that the daemon is at work.
    spool.drop_file("bad", "{");
    spool.wait_bad("bad");
    assert!(spool.has("pending/1"));
    spool.config("{}");
    spool.wait_record("complete/1");
}

#[test]
fn slots_on_the_command_line_win() {
    let mut spool = Spool::new();
    spool.config(r#"{"slots": 1}"#);
    spool.serve(&["--slots", "2"]);
    let mut gate = Gate::new(&spool, "gate");
    for n in 0..3 {
        spool.drop_file(&n.to_string(), gate.wait());
    }
    spool.wait_for("two to run", || running(&spool) == 2);
    gate.open(3);
    spool.wait_for("all", || spool.ls("complete").len() == 3);
}

#[test]
fn a_paused_queue_starts_nothing() {
    let mut spool = Spool::new();
    spool.config(r#"{"queues": {"mail": {"paused": true}}}"#);
    spool.serve(&[]);
    spool.drop_json("1", &json!({"command": "true", "queue": "mail"}));
    spool.wait_file("pending/mail/1");
    spool.drop_file("2", "true");
    spool.wait_record("complete/2");
    spool.settle();
    assert!(spool.has("pending/mail/1"));
    spool.config(r#"{"queues": {"mail": {"paused": false}}}"#);
    spool.wait_record("complete/1");
    spool.config(r#"{"paused": true}"#);
    spool.wait_for("the edit", || {
        spool.daemon_log().matches("config").count() >= 2
    });
    spool.drop_file("3", "true");
    spool.drop_file("bad", "{");
    spool.wait_bad("bad");
    assert!(spool.has("pending/3"));
    spool.config("{}");
    spool.wait_record("complete/3");
}

#[test]
fn queues_have_slots_of_their_own() {
    let mut spool = Spool::new();
    spool.config(r#"{"slots": 4, "queues": {"mail": {"slots": 1}}}"#);
    spool.serve(&[]);
    let mut gate = Gate::new(&spool, "gate");
    for n in 0..3 {
        spool.drop_json(
            &format!("mail{n}"),
            &json!({"command": gate.wait(), "queue": "mail"}),
        );
        spool.drop_file(&format!("other{n}"), gate.wait());
    }
    let count = |kind: &str| {
        spool
            .ls("active")
            .iter()
            .filter(|id| id.starts_with(kind))
            .count()
    };
    spool.wait_for("four to run", || count("mail") == 1 && count("other") == 3);
    assert_eq!(count("mail"), 1);
    spool.config(r#"{"slots": 6, "queues": {"mail": {"slots": 2}}}"#);
    spool.wait_for("two of mail", || count("mail") == 2);
    gate.open(6);
    spool.wait_for("all", || spool.ls("complete").len() == 6);
}

#[test]
fn defaults_for_jobs() {
    let mut spool = Spool::new();
    spool.config(r#"{"defaults": {"tries": 2, "backoff": {"first": "2ms"}}, "queues": {"once": {"defaults": {"tries": 1}}}}"#);
    spool.serve(&[]);
    let tries = |id: &str| spool.wait_end(id).1["attempts"].as_array().unwrap().len();
    spool.drop_file("spool", "false");
    assert_eq!(tries("spool"), 2);
    spool.drop_json("queue", &json!({"command": "false", "queue": "once"}));
    assert_eq!(tries("queue"), 1);
    spool.drop_json(
        "own",
        &json!({"command": "false", "queue": "once", "tries": 4}),
    );
    assert_eq!(tries("own"), 4);
    spool.config(r#"{"defaults": {"timeout": "200ms", "tries": 1, "max_log": "1K", "nice": 3}}"#);
    spool.wait_daemon_log("config");
    spool.drop_file("slow", "sleep 600");
    assert_eq!(spool.wait_end("slow").1["reason"], "timeout");
    spool.drop_json("patient", &json!({"command": "sleep 0.4", "timeout": 0}));
    assert_eq!(spool.wait_end("patient").0, "complete");
    spool.drop_file("chatty", "while :; do echo line; done");
    assert_eq!(spool.wait_end("chatty").1["reason"], "log_limit");
}

#[test]
fn defaults_when_nothing_is_said() {
    let spool = Spool::serving(&[]);
    // Tries 3, backoff 1s x2.
    spool.drop_file("1", "date +%s%N; false");
    let record = spool.wait_record("failed/1");
    assert_eq!(record["attempt"], 3);
    let at: Vec<f64> = spool
        .read("log/1")
        .lines()
        .map(|line| line.parse::<f64>().unwrap() / 1e9)
        .collect();
    assert!(
        at[1] - at[0] >= 0.5 && at[2] - at[1] >= 1.0 && at[2] - at[0] < 10.0,
        "{at:?}"
    );
    // The record has only the fields that were given: none.
    assert_eq!((record.get("tries"), record.get("backoff")), (None, None));
}

/// Invalid configs, with the words that the message about each must have.
const INVALID: [(&str, &[&str]); 15] = [
    ("{\n \"slots\": \"many\"}", &["line 2", "slots"]),
    ("{\"slots\": -1}", &["line 1", "slots"]),
    ("{\n\n\"slot\": 3}", &["line 3", "slot", "slots"]),
    (
        "{\"queues\": {\n\"mail\": {\n\"slots\": 1.5}}}",
        &["line 3", "queues.mail.slots"],
    ),
    ("{\"queues\": {\"a/b\": {}}}", &["line 1", "a/b"]),
    (
        "{\"queues\": {\"mail\": {\"colour\": 1}}}",
        &["queues.mail.colour"],
    ),
    ("{\"defaults\": {\"tries\": 0}}", &["defaults.tries"]),
    (
        "{\"defaults\": {\"backoff\": {\"first\": \"x\"}}}",
        &["defaults.backoff.first"],
    ),
    (
        "{\"defaults\": {\n\"timeout\": 9, \"warn\": \"9s\"}}",
        &["line 2", "defaults.warn", "not less"],
    ),
    ("{\"keep\": \"for ever\"}", &["keep"]),
    ("{\"min_free\": \"200%\"}", &["min_free"]),
    ("{\"max_pending\": -5}", &["max_pending"]),
    ("{\"paused\": \"yes\"}", &["paused"]),
    ("{\"slots\": 1,\n\"slots\": 2}", &["line 2", "slots"]),
    ("{\"slots\": 1", &["line 1"]),
];

#[test]
fn config_check_names_line_and_field() {
    let spool = Spool::made();
    assert_eq!(
        spool.pirn(&["config", "check"]).code,
        0,
        "no config is a config"
    );
    let file = spool.beside("candidate.json");
    for (content, words) in INVALID {
        spool.config(content);
        fs::write(&file, content).unwrap();
        for args in [
            vec!["config", "check"],
            vec!["config", "check", file.to_str().unwrap()],
        ] {
            let done = spool.pirn(&args);
            assert_eq!((done.code, done.stdout.as_str()), (78, ""), "{content}");
            for word in words {
                assert!(
                    done.stderr.contains(word),
                    "{content}: {word:?} is not in {}",
                    done.stderr
                );
            }
        }
    }
    spool.config(r#"{"slots": 2, "keep": "28d", "min_free": "1%", "queues": {"mail": {"slots": 1, "paused": false}}}"#);
    assert_eq!(spool.pirn(&["config", "check"]).code, 0);
    assert_eq!(spool.pirn(&["config", "check", "/no/such/file"]).code, 78);
}

#[test]
fn an_invalid_edit_is_refused_and_the_old_one_stays() {
    let mut spool = Spool::new();
    spool.config(r#"{"defaults": {"tries": 1}}"#);
    spool.serve(&[]);
    // A daemon that is starting may read, and refuse, an edit twice.
    spool.settle();
    for (n, (content, words)) in INVALID.iter().enumerate() {
        spool.config(content);
        spool.wait_for("the refusal", || {
            spool.daemon_log().matches("ERROR").count() == n + 1
        });
        let log = spool.daemon_log();
        let line = log.lines().rfind(|line| line.contains("ERROR")).unwrap();
        for word in *words {
            assert!(line.contains(word), "{content}: {word:?} is not in {line}");
        }
    }
    spool.drop_file("1", "false");
    assert_eq!(spool.wait_record("failed/1")["attempt"], 1);
    // `status` shows it too.
    let status = spool.pirn(&["status"]).stdout;
    assert!(
        status.contains("config.json") && status.contains("line 1"),
        "{status}"
    );
}

#[test]
fn a_daemon_does_not_start_with_an_invalid_config() {
    let spool = Spool::new();
    spool.config("{\"slots\": true}");
    let done = spool.pirn(&["serve"]);
    assert_eq!(done.code, 78);
    assert!(
        done.stderr.contains("slots") && done.stderr.contains("config.json"),
        "{}",
        done.stderr
    );
}

#[test]
fn edits_in_place_and_removal() {
    let spool = Spool::serving(&[]);
    // The daemon takes its lock before it reads the settings.
    spool.settle();
    let file = spool.path().join("config.json");
    // Written in place, as a shell does it: for a moment it is empty, then half written.
    fs::write(&file, "{\"defaults\": {\"tries\": 1}}").unwrap();
    spool.wait_daemon_log("config");
    spool.drop_file("1", "false");
    assert_eq!(spool.wait_record("failed/1")["attempt"], 1);
    fs::write(
        &file,
        "{\"defaults\": {\"tries\": 2, \"backoff\": {\"first\": \"2ms\"}}}",
    )
    .unwrap();
    spool.wait_for("the second edit", || {
        spool.daemon_log().matches("config: read").count() == 2
    });
    spool.drop_file("2", "false");
    assert_eq!(spool.wait_record("failed/2")["attempt"], 2);
    fs::remove_file(&file).unwrap();
    spool.wait_for("the removal", || {
        spool.daemon_log().matches("config: read").count() == 3
    });
    spool.drop_json(
        "3",
        &json!({"command": "false", "backoff": {"first": "2ms"}}),
    );
    assert_eq!(spool.wait_record("failed/3")["attempt"], 3);
}

#[test]
fn sighup_rereads_the_config_named_on_the_command_line() {
    let mut spool = Spool::new();
    let file = spool.beside("other.json");
    fs::write(&file, r#"{"defaults": {"tries": 1}}"#).unwrap();
    spool.config(r#"{"paused": true}"#);
    spool.serve(&["--config", file.to_str().unwrap()]);
    spool.drop_file("1", "false");
    assert_eq!(spool.wait_record("failed/1")["attempt"], 1);
    fs::write(
        &file,
        r#"{"defaults": {"tries": 2, "backoff": {"first": "2ms"}}}"#,
    )
    .unwrap();
    spool.signal("HUP");
    spool.wait_daemon_log("other.json");
    spool.drop_file("2", "false");
    assert_eq!(spool.wait_record("failed/2")["attempt"], 2);
    assert_eq!(
        spool.pirn(&["serve", "--config", "/no/such/file"]).code,
        75,
        "the spool is held"
    );
    spool.stop();
    assert_eq!(spool.pirn(&["serve", "--config", "/no/such/file"]).code, 78);
}

/// The daemon's own settings decide what an accepted job gets, and what is paused.
#[test]
fn commands_read_the_settings_that_the_daemon_reads() {
    let mut spool = Spool::made();
    let file = spool.beside("other.json");
    let settings =
        r#"{"defaults": {"tries": 5}, "paused": true, "queues": {"mail": {"slots": 1}}}"#;
    fs::write(&file, settings).unwrap();
    spool.config(r#"{"defaults": {"tries": 2}}"#);
    let shown = file.display().to_string();
    spool.serve(&["--config", &shown]);
    spool.wait_for("the lock", || spool.read("lock").contains("config: "));
    let id = spool.add(&["true"]);
    assert_eq!(spool.record(&format!("pending/{id}"))["tries"], 5);
    assert!(
        spool
            .pirn(&["status"])
            .stdout
            .contains("paused    all queues")
    );
    assert_eq!(spool.pirn(&["ls", "-q", "mail"]).code, 0);
    for args in [&["resume"][..], &["config", "set", "slots", "3"]] {
        let done = spool.pirn(args);
        assert_eq!(done.code, 1, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(&shown), "{args:?}: {}", done.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), settings);
    // The daemon writes its lock file again.
    spool.rm("lock");
    spool.wait_for("the lock", || {
        spool.has("lock") && spool.read("lock").contains("config: ")
    });
    // Without the daemon, its settings are not known.
    spool.stop();
    let id = spool.add(&["true"]);
    assert_eq!(spool.record(&format!("pending/{id}"))["tries"], 2);
}
