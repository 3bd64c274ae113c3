//! `idle-queues`, `monitor` and `check`.

use crate::faults::{Fault, FaultySqs};
use crate::moto::{Moto, SharedMoto};
use crate::qdone::{Qdone, assert_as_captured, captured, mask};
use crate::spool::Done;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

static MOTO: SharedMoto = SharedMoto::new(Weak::new());

/// A prefix of its own for each test, since they share the server.
fn user(prefix: &str) -> Option<(Arc<Moto>, Qdone, Vec<String>)> {
    let moto = Moto::shared(&MOTO)?;
    let qdone = Qdone::at(moto.port);
    Some((
        moto,
        qdone,
        vec!["--prefix".to_owned(), format!("{prefix}_")],
    ))
}

fn run(qdone: &Qdone, prefix: &[String], args: &[&str]) -> Done {
    let mut all: Vec<&str> = prefix.iter().map(String::as_str).collect();
    all.extend(args);
    qdone.run(&all)
}

/// Queues are judged side by side, so that the lines of their verdicts may come in any order.
fn assert_same_lines(capture: &str, prefix: &str, done: &Done, leave_out: &[&str]) {
    let lines = |text: &str| -> BTreeSet<String> {
        let text = mask(text).replace(&format!("{prefix}_"), "qdone_");
        let lines = text.lines().map(str::to_owned);
        lines
            .filter(|line| !leave_out.iter().any(|start| line.starts_with(start)))
            .collect()
    };
    let capture = captured(capture);
    assert_eq!(
        lines(&done.stderr),
        lines(capture["stderr"].as_str().unwrap())
    );
    assert_eq!(done.stdout, capture["stdout"].as_str().unwrap());
    assert_eq!(done.code, 0);
}

#[test]
fn idle_queues_are_told_as_qdone_tells_them() {
    let Some((_moto, qdone, prefix)) = user("idle") else {
        return;
    };
    for queue in ["wild_a", "wild_b", "wild_c"] {
        qdone.sqs.make_pair(&format!("idle_{queue}"), 1);
    }
    qdone.sqs.make_pair("idle_cwq", 1);
    qdone
        .sqs
        .put_metric("idle_cwq", "NumberOfMessagesReceived", 3);
    qdone.sqs.make_pair("idle_new1", 1);
    qdone.sqs.send("idle_new1", "echo");
    let active = run(&qdone, &prefix, &["idle-queues", "-v", "cwq"]);
    assert_same_lines("v1-idle-queues-active-metric", "idle", &active, &[]);
    let idle = run(&qdone, &prefix, &["idle-queues", "-v", "wild_*"]);
    assert_same_lines("v1-idle-queues", "idle", &idle, &[]);
    // qdone listed the queues in no order; here its call found `wild_c` alone idle.
    let quiet = run(
        &qdone,
        &prefix,
        &["idle-queues", "-q", "wild_a", "wild_b", "nosuch"],
    );
    assert_as_captured("v1-idle-queues-quiet", &quiet);
    let alone = run(
        &qdone,
        &prefix,
        &["idle-queues", "--include-failed", "wild_*"],
    );
    assert_as_captured("v1-idle-queues-include-failed-alone", &alone);

    // A message in `wild_c` keeps it from being deleted. We count two calls more for each queue: it is looked at once
    // more.
    qdone.sqs.send("idle_wild_c", "echo");
    let deleted = run(
        &qdone,
        &prefix,
        &["idle-queues", "-v", "--delete", "wild_*"],
    );
    assert_same_lines("v1-idle-queues-delete", "idle", &deleted, &["Used "]);
    assert!(
        deleted
            .stderr
            .contains("Used 13 SQS and 28 CloudWatch API calls."),
        "{}",
        deleted.stderr
    );
    for (name, is_there) in [
        ("idle_wild_a", false),
        ("idle_wild_a_failed", false),
        ("idle_wild_b", false),
        ("idle_wild_c", true),
        ("idle_wild_c_failed", true),
    ] {
        assert_eq!(qdone.sqs.url(name).is_some(), is_there, "{name}");
    }
    let apart = run(
        &qdone,
        &prefix,
        &[
            "idle-queues",
            "-v",
            "--unpair",
            "--include-failed",
            "wild_*",
            "new1",
        ],
    );
    assert_same_lines("v1-idle-queues-unpair-include-failed", "idle", &apart, &[]);
}

#[test]
fn a_missing_fail_queue_is_idle() {
    let Some((_moto, qdone, prefix)) = user("alone") else {
        return;
    };
    qdone.sqs.make("alone_q");
    let done = run(&qdone, &prefix, &["idle-queues", "--delete", "q"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "q\n"));
    assert_eq!(qdone.sqs.url("alone_q"), None);
    let none = run(&qdone, &prefix, &["idle-queues", "q"]);
    assert_eq!(
        (none.code, none.stdout.as_str(), none.stderr.as_str()),
        (0, "", "")
    );
}

#[test]
fn errors_are_told_and_exit_with_1() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make("qdone_q");
    server.order("GetQueueAttributes", Fault::ErrorXml(403, "AccessDenied"));
    let done = qdone.run(&["idle-queues", "q"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr
            .contains("q: AccessDenied: AccessDenied on order"),
        "{}",
        done.stderr
    );
}

#[test]
fn monitor_counts_and_saves() {
    let Some((_moto, qdone, _)) = user("mon") else {
        return;
    };
    for queue in [
        "mon_new1",
        "mon_new1_failed",
        "mon_n2",
        "mon_n2_failed",
        "mon_other",
    ] {
        qdone.sqs.make(queue);
    }
    qdone.sqs.send("mon_new1_failed", "echo");
    qdone.sqs.send("mon_n2", "echo");
    qdone.sqs.send("mon_other", "echo");
    let (stdout, stderr) = qdone.ok(&["monitor", "-v", "--save", "mon_n*"]);
    let totals: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        totals,
        json!({
            "totalQueues": 4, "contributingQueueNames": ["mon_n2", "mon_new1_failed"],
            "ApproximateNumberOfMessages": 2, "ApproximateNumberOfMessagesDelayed": 0,
            "ApproximateNumberOfMessagesNotVisible": 0, "queueName": "mon_n*"
        })
    );
    assert_eq!(
        stderr,
        captured("v2-monitor-save")["stderr"].as_str().unwrap()
    );
    let (stdout, _) = qdone.ok(&["monitor", "mon_*_failed"]);
    let totals: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (
            &totals["totalQueues"],
            &totals["ApproximateNumberOfMessages"]
        ),
        (&json!(2), &json!(1))
    );
}

#[test]
fn check_compares_makes_and_sets() {
    let Some((_moto, qdone, prefix)) = user("chk") else {
        return;
    };
    let check = |args: &[&str]| run(&qdone, &prefix, &[&["check", "-q"], args].concat());
    let missing = check(&["q"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing
            .stderr
            .contains("q_failed is missing\nq is missing\n"),
        "{}",
        missing.stderr
    );
    assert_eq!(check(&["--create", "q"]).code, 0);
    assert_eq!(check(&["q"]).code, 0);
    let other = check(&["--message-retention-period", "3600", "q"]);
    assert_eq!(other.code, 1);
    let told = "q: MessageRetentionPeriod is 1209600, not 3600\n";
    assert!(other.stderr.contains(told), "{}", other.stderr);
    assert_eq!(
        check(&["--overwrite", "--message-retention-period", "3600", "q*"]).code,
        0
    );
    assert_eq!(
        qdone.sqs.attributes("chk_q")["MessageRetentionPeriod"],
        "3600"
    );
    assert_eq!(
        qdone.sqs.attributes("chk_q_failed")["MessageRetentionPeriod"],
        "3600"
    );
}
