//! Jobs that come after others: parents that complete, fail, are not there yet, or wait for their children.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::json;

#[test]
fn after_waits_for_parents_to_complete() {
    let spool = Spool::serving(&["--slots", "4"]);
    let mut gate = Gate::new(&spool, "gate");
    // The child comes first; its parents are not there yet.
    spool.drop_json(
        "child",
        &json!({"command": "echo child", "after": ["p1", "p2"]}),
    );
    spool.settle();
    spool.drop_file("p1", "true");
    spool.wait_record("complete/p1");
    spool.drop_file("p2", gate.wait());
    spool.wait_note("p2");
    assert!(spool.has("pending/child"));
    gate.open(1);
    let child = spool.wait_record("complete/child");
    assert!(text(&child, "started_at") >= text(&spool.record("complete/p2"), "finished_at"));
    // A single id may be given as a text.
    spool.run_json("grandchild", &json!({"command": "true", "after": "child"}));
    assert_eq!(spool.wait_end("grandchild").0, "complete");
}

#[test]
fn only_the_first_try_waits_for_parents() {
    let spool = Spool::serving(&[]);
    spool.add(&["--id", "parent", "--at", "2100-01-01 00:00", "true"]);
    for (id, attempt, started) in [
        ("tried", 1, None),
        ("anew", 1, Some("2020-01-01T00:00:00Z")),
    ] {
        spool.drop_json(
            id,
            &json!({"id": id, "command": "true", "after": ["parent"], "attempt": attempt, "started_at": started}),
        );
    }
    assert_eq!(spool.wait_end("tried").0, "complete");
    spool.settle();
    assert!(spool.has("pending/anew"));
}

#[test]
fn a_failed_parent_fails_its_children_and_theirs() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "parent",
        &json!({"command": format!("{}; false", gate.wait()), "tries": 1}),
    );
    spool.wait_note("parent");
    spool.drop_json(
        "child",
        &json!({"command": "echo never", "after": ["parent"]}),
    );
    spool.drop_json(
        "grandchild",
        &json!({"command": "echo never", "after": ["child"]}),
    );
    spool.drop_json(
        "either",
        &json!({"command": "echo either", "after_any": ["parent", "child"]}),
    );
    gate.open(1);
    for (id, parent) in [("child", "parent"), ("grandchild", "child")] {
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(record["reason"], "dependency", "{record}");
        assert!(text(&record, "error").contains(parent), "{record}");
        assert!(!spool.has(&format!("log/{id}")));
    }
    assert_eq!(spool.wait_record("complete/either")["output"], "either\n");
    // The parent had failed before the child came.
    let (state, record) = spool.run_json(
        "late",
        &json!({"command": "echo never", "after": ["parent"]}),
    );
    assert_eq!(
        (state.as_str(), &record["reason"]),
        ("failed", &json!("dependency"))
    );
    assert_eq!(
        spool
            .run_json(
                "late-any",
                &json!({"command": "true", "after_any": ["parent"]})
            )
            .0,
        "complete"
    );
}

#[test]
fn a_parent_that_is_tried_again_has_not_failed() {
    let spool = Spool::serving(&[]);
    spool.drop_json("child", &json!({"command": "true", "after": ["parent"]}));
    spool.drop_json(
        "parent",
        &json!({"command": "[ $PIRN_ATTEMPT = 3 ]", "backoff": {"first": "5ms"}}),
    );
    assert_eq!(spool.wait_end("child").0, "complete");
}

#[test]
fn a_cancelled_or_expired_parent_fails_its_children() {
    let spool = Spool::serving(&[]);
    spool.drop_file("p1", "sleep 600");
    spool.drop_json(
        "p2",
        &json!({"command": "true", "expires": "2020-01-01T00:00:00Z"}),
    );
    spool.drop_json("c1", &json!({"command": "true", "after": ["p1"]}));
    spool.drop_json("c2", &json!({"command": "true", "after": ["p2"]}));
    spool.wait_note("p1");
    spool.mv("active/p1", "failed");
    for id in ["c1", "c2"] {
        assert_eq!(
            spool.wait_record(&format!("failed/{id}"))["reason"],
            "dependency"
        );
    }
}

#[test]
fn a_cycle_is_refused() {
    let spool = Spool::serving(&[]);
    spool.drop_json("a", &json!({"command": "true", "after": ["b"]}));
    spool.drop_json("b", &json!({"command": "true", "after_any": ["c"]}));
    spool.settle();
    spool.drop_json("c", &json!({"command": "true", "after": ["a"]}));
    let reason = spool.wait_bad("c");
    assert!(
        reason.contains("after") && reason.contains("a -> b -> c"),
        "{reason}"
    );
    spool.drop_json("self", &json!({"command": "true", "after": ["self"]}));
    assert!(spool.wait_bad("self").contains("self"));
    // The other children still wait for a job `c` that may come.
    assert!(spool.has("pending/a") && spool.has("pending/b"));
    spool.drop_file("c", "true");
    assert_eq!(spool.wait_end("a").0, "complete");
}

#[test]
fn children_of_a_parent_that_was_there_before_the_daemon() {
    let mut spool = Spool::serving(&[]);
    spool.drop_file("good", "true");
    spool.drop_json("bad", &json!({"command": "false", "tries": 1}));
    spool.wait_end("good");
    spool.wait_end("bad");
    spool.stop();
    spool.drop_json("c1", &json!({"command": "true", "after": ["good"]}));
    spool.drop_json("c2", &json!({"command": "true", "after": ["bad"]}));
    spool.serve(&[]);
    assert_eq!(spool.wait_end("c1").0, "complete");
    assert_eq!(spool.wait_end("c2").1["reason"], "dependency");
}

#[test]
fn a_job_for_a_failure_runs_only_then() {
    let spool = Spool::serving(&["--slots", "4"]);
    let mut gate = Gate::new(&spool, "gate");
    for (id, end) in [("bad", "false"), ("good", "true")] {
        let command = format!("{}; {end}", gate.wait());
        spool.drop_json(id, &json!({"command": command, "tries": 1}));
        spool.wait_note(id);
        let repair = json!({"command": "echo repaired", "after_failed": [id]});
        spool.drop_json(&format!("repair-{id}"), &repair);
    }
    // Of several, all must fail; a job that was not needed counts as complete.
    for (id, record) in [
        (
            "both",
            json!({"command": "true", "after_failed": ["bad", "good"]}),
        ),
        (
            "any",
            json!({"command": "true", "after_failed": "bad", "after_any": "good"}),
        ),
        ("then", json!({"command": "true", "after": "repair-good"})),
        (
            "else",
            json!({"command": "true", "after_failed": "repair-good"}),
        ),
        (
            "never",
            json!({"command": "true", "after_failed": "missing"}),
        ),
    ] {
        spool.drop_json(id, &record);
    }
    spool.settle();
    assert!(spool.has("pending/repair-bad") && spool.has("pending/both"));
    gate.open(2);
    let record = spool.wait_record("complete/repair-bad");
    assert_eq!(
        (&record["reason"], &record["output"]),
        (&json!("exited"), &json!("repaired\n"))
    );
    for (id, parent) in [
        ("repair-good", "good"),
        ("both", "good"),
        ("else", "repair-good"),
    ] {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(record["reason"], "skipped", "{record}");
        assert!(text(&record, "error").contains(parent), "{record}");
        assert!(record.get("attempt").is_none() && record.get("exit_code").is_none());
        assert!(!spool.has(&format!("log/{id}")));
    }
    for id in ["any", "then"] {
        assert_eq!(
            spool.wait_record(&format!("complete/{id}"))["reason"],
            "exited",
            "{id}"
        );
    }
    assert!(spool.has("pending/never"));
    // The parents had ended before the child came.
    for (id, parent, reason) in [("late", "good", "skipped"), ("later", "bad", "exited")] {
        let (state, record) =
            spool.run_json(id, &json!({"command": "true", "after_failed": parent}));
        assert_eq!(
            (state.as_str(), &record["reason"]),
            ("complete", &json!(reason))
        );
    }
}

/// A cancelled parent has failed; one that is tried again has not.
#[test]
fn a_failure_is_the_end_of_all_tries() {
    let spool = Spool::serving(&[]);
    spool.drop_json("c1", &json!({"command": "true", "after_failed": "tried"}));
    let tried =
        json!({"command": "[ $PIRN_ATTEMPT = 2 ]", "tries": 2, "backoff": {"first": "5ms"}});
    spool.drop_json("tried", &tried);
    assert_eq!(spool.wait_end("c1").1["reason"], "skipped");
    spool.drop_file("stopped", "sleep 600");
    spool.drop_json("c2", &json!({"command": "true", "after_failed": "stopped"}));
    spool.wait_note("stopped");
    spool.mv("active/stopped", "failed");
    assert_eq!(spool.wait_end("c2").1["reason"], "exited");
    // A ring is one with any of the fields, and no job can be in both.
    spool.drop_json("r1", &json!({"command": "true", "after_failed": "r2"}));
    spool.settle();
    spool.drop_json("r2", &json!({"command": "true", "after": "r1"}));
    assert!(spool.wait_bad("r2").contains("r1 -> r2"));
    spool.drop_json(
        "torn",
        &json!({"command": "true", "after": "c1", "after_failed": "c1"}),
    );
    assert!(spool.wait_bad("torn").contains("after_failed"));
}

#[test]
fn a_skipped_job_is_told_of() {
    let spool = Spool::serving(&[]);
    let told = spool.beside("told");
    let tell = format!(
        "echo $PIRN_PARENT_STATE $PIRN_PARENT_REASON > {0}.new; mv {0}.new {0}",
        told.display()
    );
    spool.add(&["--id", "good", "true"]);
    spool.add(&[
        "--id",
        "repair",
        "--after-failed",
        "good",
        "--on-finish",
        &tell,
        "false",
    ]);
    let done = spool.pirn(&["wait", "repair"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("job repair was not run: skipped: job good completed"),
        "{}",
        done.stderr
    );
    spool.wait_for("the command", || told.exists());
    assert_eq!(std::fs::read_to_string(told).unwrap(), "complete skipped\n");
    let listed = spool.pirn(&["ls", "complete"]).stdout;
    assert!(
        listed
            .lines()
            .any(|line| line.contains("repair") && line.contains("skipped")),
        "{listed}"
    );
    let shown = spool.pirn(&["show", "repair"]).stdout;
    assert!(
        shown.contains("skipped") && shown.contains("good (complete)"),
        "{shown}"
    );
    let done = spool.pirn(&["log", "repair"]);
    assert!(
        done.stderr.contains("never ran: skipped"),
        "{}",
        done.stderr
    );
    let done = spool.pirn(&["run", "--after-failed", "good", "echo ran"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert!(
        done.stderr.contains("job good completed"),
        "{}",
        done.stderr
    );
    // A copy waits for nobody.
    let copy = spool.pirn(&["retry", "--copy", "repair"]).stdout;
    assert_eq!(spool.wait_end(copy.trim()).1["exit_code"], 1);
    for (args, code) in [
        (&["add", "--after-failed", "nobody", "true"][..], 66),
        (
            &["add", "--after-failed", "good", "--after", "good", "true"],
            2,
        ),
    ] {
        assert_eq!(spool.pirn(args).code, code, "{args:?}");
    }
}
