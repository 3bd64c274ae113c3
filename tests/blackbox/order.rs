//! When a job runs: priority, dates, groups, parents.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// One slot, held until the gate opens; jobs append their ids to a file.
struct Line {
    spool: Spool,
    gate: Gate,
}

impl Line {
    fn new(slots: &str) -> Self {
        let spool = Spool::serving(&["--slots", slots]);
        let gate = Gate::new(&spool, "line-gate");
        for n in 0..slots.parse().unwrap() {
            spool.drop_file(&format!("blocker{n}"), gate.wait());
            spool.wait_note(&format!("blocker{n}"));
        }
        Self { spool, gate }
    }

    fn drop(&self, id: &str, mut record: Value) {
        record["command"] = json!(format!(
            "echo ${{PIRN_ID}} >> {}",
            self.spool.beside("order").display()
        ));
        self.spool.drop_json(id, &record);
    }

    fn order(&self) -> Vec<String> {
        let text = fs::read_to_string(self.spool.beside("order")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// RFC 3339 UTC, so far from now.
fn date(offset: &str) -> String {
    let out = Command::new("date")
        .args(["-u", "-d", offset, "+%Y-%m-%dT%H:%M:%S.%NZ"])
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn higher_priority_first_then_oldest() {
    let mut line = Line::new("1");
    for (id, priority) in [
        ("a", 0),
        ("b", 5),
        ("c", -3),
        ("d", 5),
        ("e", 0),
        ("f", 1000),
    ] {
        line.drop(id, json!({"priority": priority}));
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    line.gate.open(1);
    line.spool.wait_record("complete/c");
    assert_eq!(line.order(), ["f", "b", "d", "a", "e", "c"]);
}

#[test]
fn numbers_in_the_order_they_were_added() {
    let mut line = Line::new("1");
    let script = format!(
        "echo ${{PIRN_ID}} >> {}",
        line.spool.beside("order").display()
    );
    let ids: Vec<String> = (0..12).map(|_| line.spool.add(&[&script])).collect();
    assert_eq!(ids, (1..=12).map(|n| n.to_string()).collect::<Vec<_>>());
    line.gate.open(1);
    line.spool.wait_record("complete/12");
    assert_eq!(line.order(), ids);
}

#[test]
fn not_before() {
    let spool = Spool::serving(&[]);
    let due = date("+1 second");
    let (_, record) = spool.run_json("soon", &json!({"command": "true", "not_before": due}));
    assert!(text(&record, "started_at") >= &due[..23], "{record}");
    let past = json!({"command": "true", "not_before": "2001-01-01T00:00:00+02:00"});
    assert_eq!(spool.run_json("past", &past).0, "complete");
    spool.drop_json(
        "later",
        &json!({"command": "true", "not_before": date("+1 hour")}),
    );
    spool.settle();
    assert!(spool.has("pending/later"));
    // Made due by hand: written again.
    spool.drop_json("later", &json!({"command": "true"}));
    spool.wait_record("complete/later");
}

#[test]
fn expires() {
    let mut line = Line::new("1");
    line.drop(
        "7",
        json!({"expires": date("+1 second"), "name": "short-lived"}),
    );
    line.drop("8", json!({"expires": date("+1 hour")}));
    line.drop("9", json!({"expires": "2020-01-01T00:00:00Z"}));
    for id in ["7", "9"] {
        let record = line.spool.wait_record(&format!("failed/{id}"));
        assert_eq!(
            (&record["reason"], record.get("exit_code")),
            (&json!("expired"), None)
        );
        assert_eq!(record.get("started_at"), None);
    }
    assert_eq!(line.spool.record("failed/7")["name"], "short-lived");
    line.gate.open(1);
    line.spool.wait_record("complete/8");
    assert_eq!(line.order(), ["8"]);
}

#[test]
fn a_group_runs_one_at_a_time_in_order() {
    let mut line = Line::new("4");
    let busy = line.spool.beside("busy");
    let script = format!(
        "mkdir {0} || echo overlap >> {1}; echo $PIRN_ID >> {1}; sleep 0.02; rmdir {0}",
        busy.display(),
        line.spool.beside("order").display()
    );
    for n in 0..10 {
        let id = format!("g{n}");
        line.spool
            .drop_json(&id, &json!({"command": script, "group": "db"}));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    line.gate.open(4);
    line.spool.wait_record("complete/g9");
    assert_eq!(
        line.order(),
        (0..10).map(|n| format!("g{n}")).collect::<Vec<_>>()
    );
}

#[test]
fn a_group_holds_nobody_else() {
    let spool = Spool::serving(&["--slots", "4"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json("first", &json!({"command": gate.wait(), "group": "a"}));
    spool.wait_note("first");
    spool.drop_json("second", &json!({"command": "true", "group": "a"}));
    spool.drop_json("other-group", &json!({"command": "true", "group": "b"}));
    spool.drop_json("no-group", &json!({"command": "true"}));
    spool.wait_record("complete/other-group");
    spool.wait_record("complete/no-group");
    assert!(spool.has("pending/second"));
    gate.open(1);
    spool.wait_record("complete/second");
}

#[test]
fn a_retry_keeps_its_place_in_the_group() {
    let spool = Spool::serving(&["--slots", "4"]);
    let order = spool.beside("order");
    let job = |line: &str| json!({"command": format!("echo $PIRN_ID$PIRN_ATTEMPT >> {}; {line}", order.display()), "group": "g", "backoff": {"first": "50ms"}});
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "a",
        &job(&format!("{}; [ $PIRN_ATTEMPT = 2 ]", gate.wait())),
    );
    spool.wait_note("a");
    spool.drop_json("b", &job("true"));
    gate.open(2);
    spool.wait_record("complete/b");
    assert_eq!(fs::read_to_string(order).unwrap(), "a1\na2\nb1\n");
}

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
    // One id may be given as a text.
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
    // A parent that had failed before the child came.
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
    // The others still wait for a c that can come.
    assert!(spool.has("pending/a") && spool.has("pending/b"));
    spool.drop_file("c", "true");
    assert_eq!(spool.wait_end("a").0, "complete");
}

#[test]
fn a_removed_parent_leaves_its_child_waiting() {
    let line = Line::new("1");
    line.drop("parent", json!({}));
    line.drop("child", json!({"after": ["parent"]}));
    line.spool.rm("pending/parent");
    let mut line = line;
    line.gate.open(1);
    line.spool.settle();
    assert!(line.spool.has("pending/child"), "{:?}", line.order());
    line.drop("parent", json!({}));
    line.spool.wait_record("complete/child");
    assert_eq!(line.order(), ["parent", "child"]);
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
