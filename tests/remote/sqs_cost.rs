//! How many calls of SQS jobs cost.

use crate::bridge_sqs::{configure, drain};
use crate::faults::FaultySqs;
use crate::qdone::Qdone;
use crate::spool::Spool;
use serde_json::json;
use std::collections::BTreeMap;

/// The calls since there were this many.
fn since(sqs: &FaultySqs, before: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for operation in sqs.operations().into_iter().skip(before) {
        *counts.entry(operation).or_insert(0) += 1;
    }
    counts
}

/// Drains a queue with these jobs; gives the calls.
fn drained(slots: usize, jobs: usize, body: &str) -> BTreeMap<String, usize> {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 1);
    let spool = Spool::serving(&["--slots", &slots.to_string()]);
    configure(&spool, &sqs, "a", json!({"slots": slots}));
    for _ in 0..jobs {
        sqs.asker().send("a", body);
    }
    let done = drain(&spool);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(sqs.bodies("a"), Vec::<String>::new());
    let calls = since(&sqs, 0);
    println!("{jobs} times `{body}`, slots {slots}: {calls:?}");
    calls
}

fn sum(calls: &BTreeMap<String, usize>) -> usize {
    calls.values().sum()
}

#[test]
fn jobs_share_calls() {
    let calls = drained(20, 300, "true");
    // It is about 90 on an idle machine; one by one it would be 600.
    assert!(sum(&calls) < 300, "{calls:?}");
}

#[test]
fn with_one_slot_a_job_costs_two_calls() {
    let calls = drained(1, 20, "true");
    assert_eq!(calls["DeleteMessageBatch"], 20, "{calls:?}");
    // One more finds nothing.
    assert_eq!(calls["ReceiveMessage"], 21, "{calls:?}");
    assert_eq!(sum(&calls), 41 + calls_of_start(&calls), "{calls:?}");
}

/// The calls that look a queue up.
fn calls_of_start(calls: &BTreeMap<String, usize>) -> usize {
    let count = |operation: &str| calls.get(operation).copied().unwrap_or(0);
    let start = count("GetQueueUrl") + count("GetQueueAttributes");
    assert!(start <= 2, "{calls:?}");
    start
}

#[test]
fn a_failure_costs_one_call() {
    let calls = drained(1, 5, "false");
    assert_eq!(calls["ChangeMessageVisibilityBatch"], 5, "{calls:?}");
    assert_eq!(calls.get("DeleteMessageBatch"), None, "{calls:?}");
    assert!(calls["ReceiveMessage"] <= 7, "{calls:?}");
}

#[test]
fn enqueue_asks_only_for_what_it_does_not_know() {
    let sqs = FaultySqs::start();
    let qdone = Qdone::at(sqs.port);
    for (what, wanted) in [("a new queue", 4), ("a known queue", 1)] {
        let before = sqs.operations().len();
        qdone.ok(&["enqueue", "q", "true"]);
        let calls = since(&sqs, before);
        println!("enqueue to {what}: {calls:?}");
        assert_eq!(sum(&calls), wanted, "{what}: {calls:?}");
    }
}
