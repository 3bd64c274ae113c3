//! A try that a crash, a reboot or a forced stop cuts off uses up none of the job's tries; a limit of its own ends a
//! job that is cut off again and again.

use crate::spool::Spool;
use serde_json::{Value, json};

/// Kills the daemon and the running jobs, as a service manager does after its timeout.
fn stop_by_force(spool: &mut Spool) {
    let said = || spool.daemon_log().matches("stopping").count();
    let before = said();
    spool.signal("TERM");
    spool.wait_for("the daemon to say so", || said() > before);
    spool.signal("TERM");
    assert_eq!(spool.wait_exit(), 0);
}

/// Runs a job until it has its note, and kills the daemon and the job; `times` times. Then starts another daemon.
fn interrupt(spool: &mut Spool, id: &str, times: usize) {
    for _ in 0..times {
        spool.wait_note(id);
        stop_by_force(spool);
        spool.serve(&[]);
    }
}

/// A command that runs until it is killed, unless the file `go` exists.
fn until_go(spool: &Spool, then: &str) -> String {
    let go = spool.beside("go");
    format!(
        "while [ ! -e {} ]; do sleep 0.02; done; {then}",
        go.display()
    )
}

fn counts(record: &Value) -> (u64, u64, Vec<&str>) {
    let number = |key: &str| record[key].as_u64().unwrap_or(0);
    let reasons = record["attempts"].as_array().unwrap().iter();
    let reasons = reasons.map(|one| one["reason"].as_str().unwrap()).collect();
    (number("attempt"), number("interruptions"), reasons)
}

#[test]
fn a_forced_stop_uses_up_no_try() {
    let mut spool = Spool::serving(&[]);
    let well = json!({"command": until_go(&spool, "exit 0"), "tries": 1});
    spool.drop_json("well", &well);
    let badly =
        json!({"command": until_go(&spool, "exit 3"), "tries": 2, "backoff": {"first": "5ms"}});
    spool.drop_json("badly", &badly);
    spool.wait_note("badly");
    interrupt(&mut spool, "well", 1);
    spool.wait_note("well");
    spool.wait_note("badly");
    std::fs::write(spool.beside("go"), "").unwrap();
    let record = spool.wait_record("complete/well");
    assert_eq!(counts(&record), (2, 1, vec!["interrupted", "exited"]));
    let record = spool.wait_record("failed/badly");
    assert_eq!(
        counts(&record),
        (3, 1, vec!["interrupted", "exited", "exited"])
    );
    assert_eq!(record["exit_code"], 3);
}

/// The spool after the machine went down while two jobs ran: one with a note, one without.
#[test]
fn a_reboot_uses_up_no_try() {
    let mut spool = Spool::new();
    spool.pirn(&["add", "--in", "1h", "true"]);
    let job = json!({"command": "echo try $PIRN_ATTEMPT", "tries": 1});
    let mut noted = job.clone();
    noted["attempt"] = json!(1);
    noted["started_at"] = json!("2026-11-01T00:00:00Z");
    noted["proc"] = json!({"pid": 1, "start": 1, "boot": "another"});
    for (id, record) in [("fresh", &job), ("noted", &noted)] {
        spool.drop_json(id, record);
        spool.mv(&format!("pending/{id}"), "active");
    }
    spool.drop_json("once", &json!({"command": "echo twice", "once": true}));
    spool.mv("pending/once", "active");
    spool.serve(&[]);
    for id in ["fresh", "noted"] {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(
            counts(&record),
            (2, 1, vec!["interrupted", "exited"]),
            "{record}"
        );
        assert_eq!(record["output"], "try 2\n");
        let log = spool.daemon_log();
        assert!(log.contains(&format!("{id}: try 1 of 2 ended")), "{log}");
    }
    let record = spool.wait_record("failed/once");
    assert_eq!(counts(&record), (1, 1, vec!["interrupted"]), "{record}");
}

#[test]
fn the_third_interruption_is_the_last() {
    let mut spool = Spool::serving(&[]);
    spool.drop_json(
        "heavy",
        &json!({"command": until_go(&spool, "exit 0"), "tries": 1}),
    );
    interrupt(&mut spool, "heavy", 3);
    let record = spool.wait_record("failed/heavy");
    assert_eq!(counts(&record), (3, 3, vec!["interrupted"; 3]), "{record}");
    assert_eq!(record["reason"], "interrupted");
    let error = record["error"].as_str().unwrap();
    assert!(
        error.contains("3 times") && error.contains("max_interruptions"),
        "{error}"
    );
    // A retry by hand counts from the start again.
    assert_eq!(spool.pirn(&["retry", "heavy"]).code, 0);
    let again = spool.wait_note("heavy");
    assert_eq!(
        (&again["attempt"], again.get("interruptions")),
        (&json!(1), None)
    );
    std::fs::write(spool.beside("go"), "").unwrap();
    spool.wait_record("complete/heavy");
}

#[test]
fn the_bound_is_the_jobs_the_queues_or_the_spools() {
    let mut spool = Spool::new();
    spool.config(
        r#"{"slots": 8, "defaults": {"max_interruptions": 2}, "queues": {"short": {"defaults": {"max_interruptions": 1}}}}"#,
    );
    let line = until_go(&spool, "exit 0");
    for (id, options) in [
        ("two", &[][..]),
        ("one", &["-q", "short"]),
        ("none", &["--max-interruptions", "0"]),
        ("three", &["-q", "short", "--max-interruptions", "3"]),
    ] {
        spool.add(&[&["--id", id][..], options, &[&line]].concat());
    }
    let asked = spool.record("pending/short/three");
    assert_eq!(
        (&asked["max_interruptions"], &asked["tries"]),
        (&json!(3), &json!(1))
    );
    spool.serve(&[]);
    for id in ["two", "one", "none"] {
        spool.wait_note(id);
    }
    interrupt(&mut spool, "three", 1);
    for id in ["one", "none"] {
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(
            (&record["reason"], &record["interruptions"]),
            (&json!("interrupted"), &json!(1))
        );
    }
    spool.wait_note("two");
    interrupt(&mut spool, "three", 1);
    assert_eq!(spool.wait_record("failed/two")["interruptions"], 2);
    assert_eq!(spool.wait_note("three")["interruptions"], 2);
}
