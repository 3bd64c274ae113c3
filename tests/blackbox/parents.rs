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
