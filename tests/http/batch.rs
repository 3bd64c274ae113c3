//! `POST /v1/jobs:batch`: a job a line.

use crate::client::{ANYBODY_MAY_RUN, Reply, ask, post};
use crate::spool::Spool;
use serde_json::{Value, json};

/// What the answer says of each line.
fn told(reply: &Reply) -> Vec<Value> {
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/x-ndjson"),
        "{reply:?}"
    );
    let text = reply.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn push(port: u16, lines: &[Value]) -> Vec<Value> {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    told(&post(port, "/v1/jobs:batch", &body))
}

fn statuses(told: &[Value]) -> Vec<u64> {
    told.iter().map(|t| t["status"].as_u64().unwrap()).collect()
}

#[test]
fn each_line_has_an_answer() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let body = "{\"command\": \"a\"}\n\n{\"command\": 1}\n{\"command\": \"b\"}";
    let lines = told(&post(port, "/v1/jobs:batch", body));
    assert_eq!(statuses(&lines), [201, 422, 201]);
    assert_eq!(
        (&lines[0]["id"], &lines[2]["id"]),
        (&json!("1"), &json!("2"))
    );
    assert!(lines[1]["detail"].as_str().unwrap().contains("command"));
    assert_eq!(spool.ls("pending"), ["1", "2"]);
    assert_eq!(post(port, "/v1/jobs:batch", "\n").status, 400);
}

#[test]
fn many_lines_are_numbered_in_their_order() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let job = |n: u64| json!({"command": format!("echo {n}"), "queue": n.is_multiple_of(3).then_some("thirds")});
    let lines = push(port, &(1..=2500).map(job).collect::<Vec<_>>());
    assert_eq!(lines.len(), 2500);
    for (n, line) in (1u64..).zip(&lines) {
        assert_eq!(*line, json!({"status": 201, "id": n.to_string()}));
        let at = if n.is_multiple_of(3) {
            "pending/thirds"
        } else {
            "pending"
        };
        let record = spool.record(&format!("{at}/{n}"));
        assert_eq!(record["command"], format!("echo {n}"));
        assert_eq!(record["id"], n.to_string());
    }
    assert_eq!(spool.ls("tmp"), [""; 0]);
}

/// A queue's directory cannot be made where a job of its name waits; nobody else is concerned.
#[test]
fn a_line_that_cannot_be_accepted_is_alone_with_that() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    let (plain, stuck) = (
        json!({"command": "a"}),
        json!({"command": "b", "queue": "1"}),
    );
    let lines = push(
        port,
        &[plain.clone(), stuck.clone(), plain.clone(), stuck, plain],
    );
    assert_eq!(statuses(&lines), [201, 409, 201, 409, 201]);
    let ids: Vec<u64> = [0, 2, 4]
        .iter()
        .map(|n| lines[*n]["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.is_sorted() && ids[0] > 1, "{ids:?}");
    assert_eq!(spool.ls("pending").len(), 4);
}

#[test]
fn as_many_are_accepted_as_there_is_room_for() {
    let config = r#"{"max_pending": 3, "http": {"anonymous": ["run"]}}"#;
    let (spool, port) = Spool::with_http(config, &["--slots", "0"]);
    let (good, bad) = (json!({"command": "true"}), json!({"command": 1}));
    let lines = push(
        port,
        &[&good, &good, &bad, &good, &good, &bad, &good].map(Value::clone),
    );
    assert_eq!(statuses(&lines), [201, 201, 422, 201, 503, 422, 503]);
    let why = lines[6]["detail"].as_str().unwrap();
    assert!(why.contains("max_pending is 3"), "{why}");
    assert_eq!(spool.ls("pending"), ["1", "2", "3"]);
    let config = r#"{"min_free": "99.99%", "http": {"anonymous": ["run"]}}"#;
    std::fs::write(spool.path().join("config.json"), config).unwrap();
    assert_eq!(statuses(&push(port, &[good, bad])), [507, 422]);
}

/// The one that a line is to come after may be the line before.
#[test]
fn lines_may_come_after_lines() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let lines = push(
        port,
        &[
            json!({"command": "echo a >> $PIRN_STORE/order"}),
            json!({"command": "echo b >> $PIRN_STORE/order", "after": ["1"]}),
            json!({"command": "true", "after": ["99"]}),
            json!({"command": "true", "after_any": ["2"]}),
        ],
    );
    assert_eq!(statuses(&lines), [201, 201, 422, 201]);
    spool.wait_record("complete/2");
    assert_eq!(spool.read("store/order"), "a\nb\n");
}

#[test]
fn each_line_is_within_its_callers_rights() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    spool.script("ok", "#!/bin/sh\n");
    let token = spool.pirn(&["token", "new", "far", "push"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let body = "{\"command\": \"true\"}\n{\"script\": \"ok\"}\n{\"script\": \"ok\", \"env\": {\"A\": \"b\"}}\n";
    let lines = told(&ask(port, "POST", "/v1/jobs:batch", &[&bearer], body));
    assert_eq!(statuses(&lines), [403, 201, 403]);
    assert_eq!(spool.ls("pending").len(), 1);
    let large = "x".repeat(16 << 20);
    let lines = push(
        port,
        &[
            json!({"command": "true"}),
            json!({"command": "true", "comment": large}),
        ],
    );
    assert_eq!(statuses(&lines), [201, 413]);
}

#[test]
fn one_slot_runs_the_lines_in_their_order() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1", "--no-sync"]);
    // A file that has one of the numbers already.
    spool.drop_file("1500", "true");
    spool.wait_record("complete/1500");
    std::fs::write(spool.path().join("seq"), "1").unwrap();
    let job = |n: u32| json!({"command": format!("echo {n} >> $PIRN_STORE/order")});
    let lines = push(port, &(1..=2000).map(job).collect::<Vec<_>>());
    assert_eq!(statuses(&lines), vec![201; 2000]);
    let order = || std::fs::read_to_string(spool.path().join("store/order")).unwrap_or_default();
    spool.wait_progress("all lines to run", || {
        let lines = order().lines().count();
        (lines, lines >= 2000)
    });
    let numbers: String = (1..=2000).map(|n| format!("{n}\n")).collect();
    assert_eq!(order(), numbers);
}
