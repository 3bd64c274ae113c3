//! `enqueue` and `enqueue-batch` beside what the real qdone said and sent.

use crate::faults::{Fault, FaultySqs};
use crate::moto::{Moto, SharedMoto};
use crate::qdone::{Qdone, assert_as_captured, captured, mask};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::sync::Weak;

static MOTO: SharedMoto = SharedMoto::new(Weak::new());

/// The lines that the captured batches had.
fn lines() -> String {
    captured("v1-batch")["stdin"].as_str().unwrap().to_owned()
}

#[test]
fn single_messages_are_told_as_qdone_tells_them() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    for (capture, args) in [
        (
            "v1-enqueue-new",
            &["enqueue", "-v", "new1", "echo hello world"][..],
        ),
        (
            "v1-enqueue-existing",
            &["enqueue", "-v", "new1", "echo hello again"],
        ),
        (
            "v1-enqueue-quiet",
            &["enqueue", "-q", "new1", "echo it's quiet \"é\" & <done>"],
        ),
        (
            "v1-enqueue-fifo-new",
            &[
                "enqueue",
                "-v",
                "--fifo",
                "--group-id",
                "G1",
                "--deduplication-id",
                "D1",
                "ff",
                "echo fifo",
            ],
        ),
        (
            "v1-enqueue-fifo-default-group",
            &["enqueue", "-v", "-f", "ff", "echo fifo2"],
        ),
        ("v1-enqueue-arity", &["enqueue", "onlyqueue"]),
    ] {
        assert_as_captured(capture, &qdone.run(args));
    }
    let bodies = |name: &str| -> Vec<String> {
        let taken = qdone.sqs.take_all(name).into_iter();
        taken.map(|(_, body)| body).collect()
    };
    let sent = [
        "echo hello world",
        "echo hello again",
        "echo it's quiet \"é\" & <done>",
    ];
    assert_eq!(bodies("qdone_new1"), sent);
    assert_eq!(qdone.sqs.counts("qdone_ff.fifo"), (2, 0));
    // qdone 1.7 wrote two stray characters behind this.
    let policy = qdone.sqs.attributes("qdone_new1")["RedrivePolicy"].clone();
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let arn = "arn:aws:sqs:us-east-1:123456789012:qdone_new1_failed";
    assert_eq!(
        policy,
        json!({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    );
}

#[test]
fn batches_are_told_as_qdone_tells_them() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    for (capture, args) in [
        ("v1-batch", &["enqueue-batch", "-v", "-"][..]),
        ("v1-batch-fifo", &["enqueue-batch", "-v", "-f", "-"]),
        (
            "v1-batch-fifo-group-per-message",
            &["enqueue-batch", "-v", "-f", "--group-id-per-message", "-"],
        ),
    ] {
        let done = qdone.run_with_input(args, &lines());
        // qdone makes the queues at once, we one after the other.
        let sorted = |text: &str| {
            let (making, sending) = text.split_at(text.find("Enqueued").unwrap());
            let mut making: Vec<&str> = making.lines().collect();
            making.sort_unstable();
            (making.join("\n"), mask(sending))
        };
        let told = captured(capture)["stderr"].as_str().unwrap().to_owned();
        assert_eq!(sorted(&done.stderr), sorted(&told), "{capture}");
        assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    }
    let alpha: Vec<String> = lines()
        .lines()
        .filter_map(|line| line.strip_prefix("alpha ").map(str::to_owned))
        .collect();
    let taken = qdone.sqs.take_all("qdone_alpha");
    assert_eq!(
        taken.into_iter().map(|(_, body)| body).collect::<Vec<_>>(),
        alpha
    );
}

/// The calls of a capture, less those that we leave out, and with what differs for each run made the same.
fn calls_of(capture: &str) -> Vec<(String, Value)> {
    let calls = captured(capture)["calls"].clone();
    let calls = calls.as_array().unwrap().iter();
    let calls = calls.map(|call| (call[0].as_str().unwrap().to_owned(), call[1].clone()));
    // We know the address of the fail queue, and make it without asking for it.
    let is_spared = |(operation, body): &(String, Value)| {
        operation == "GetQueueAttributes"
            || body["QueueName"]
                .as_str()
                .is_some_and(|name| operation == "GetQueueUrl" && name.contains("_failed"))
    };
    calls
        .filter(|call| !is_spared(call))
        .map(comparable)
        .collect()
}

fn comparable((operation, mut body): (String, Value)) -> (String, Value) {
    if let Some(url) = body["QueueUrl"].as_str() {
        body["QueueUrl"] = url.rsplit('/').next().into();
    } else if let Some(body) = body.as_object_mut() {
        body.remove("QueueUrl");
    }
    // 2.0.35 delays what comes to a fail queue; 1.7 did not, and neither do we unless we are asked.
    if body["Attributes"]["DelaySeconds"] == "120" {
        body["Attributes"]
            .as_object_mut()
            .unwrap()
            .remove("DelaySeconds");
    }
    for entry in body["Entries"].as_array_mut().into_iter().flatten() {
        let entry = entry.as_object_mut().unwrap();
        for random in ["Id", "MessageGroupId", "MessageDeduplicationId"] {
            if let Some(value) = entry.get_mut(random) {
                *value = "random".into();
            }
        }
    }
    (operation, body)
}

#[test]
fn calls_are_those_of_qdone_2() {
    for (capture, args, old) in [
        (
            "v2-enqueue-new",
            &["enqueue", "n2", "echo hello world"][..],
            None,
        ),
        (
            "v2-enqueue-existing",
            &["enqueue", "n2", "echo hello again"],
            Some("qdone_n2"),
        ),
        (
            "v2-enqueue-delay",
            &["enqueue", "--delay", "2", "n2", "echo later"],
            Some("qdone_n2"),
        ),
        (
            "v2-enqueue-fifo-new",
            &[
                "enqueue",
                "--fifo",
                "--group-id",
                "G1",
                "--deduplication-id",
                "D1",
                "ff2",
                "echo fifo",
            ],
            None,
        ),
    ] {
        let server = FaultySqs::start();
        let qdone = Qdone::at(server.port);
        if let Some(old) = old {
            qdone.sqs.make(old);
        }
        qdone.ok(args);
        let calls = server.calls().into_iter();
        let calls: Vec<_> = calls
            .map(|call| comparable((call.operation, call.body)))
            .collect();
        assert_eq!(calls, calls_of(capture), "{capture}");
    }
}

#[test]
fn batch_calls_have_the_entries_of_qdone_2() {
    for (capture, args) in [
        ("v2-batch", &["enqueue-batch", "-"][..]),
        (
            "v2-batch-fifo-gpm",
            &["enqueue-batch", "-f", "--group-id-per-message", "-"],
        ),
    ] {
        let server = FaultySqs::start();
        let qdone = Qdone::at(server.port);
        for queue in [
            "qdone_alpha",
            "qdone_beta",
            "qdone_alpha.fifo",
            "qdone_beta.fifo",
        ] {
            qdone.sqs.make(queue);
        }
        assert_eq!(qdone.run_with_input(args, &lines()).code, 0);
        let sends = |calls: Vec<(String, Value)>| {
            let mut sends: Vec<Value> = calls
                .into_iter()
                .filter(|(operation, _)| operation == "SendMessageBatch")
                .map(|(_, body)| body)
                .collect();
            sends.sort_by_key(Value::to_string);
            sends
        };
        let calls = server.calls().into_iter();
        let calls = calls
            .map(|call| comparable((call.operation, call.body)))
            .collect();
        assert_eq!(sends(calls), sends(calls_of(capture)), "{capture}");
        let ids: Vec<String> = server
            .calls()
            .iter()
            .flat_map(|call| call.body["Entries"].as_array().cloned().unwrap_or_default())
            .map(|entry| entry["Id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, (0..14).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn large_batches_take_as_few_requests_as_they_can() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    let one = "one echo\n".repeat(24);
    // 41 queues with 6 lines, 6 queues with 11 lines.
    let queue = |n: usize| {
        format!(
            "q{} echo {n}\n",
            if n < 246 { n / 6 } else { 41 + (n - 246) / 11 }
        )
    };
    let many: String = (0..312).map(queue).collect();
    let large = format!("large {}\n", "x".repeat(130_000)).repeat(10);
    for (input, requests) in [(one, 3), (many, 53), (large, 5)] {
        let before = server.count("SendMessageBatch");
        assert_eq!(
            qdone.run_with_input(&["enqueue-batch", "-"], &input).code,
            0
        );
        assert_eq!(server.count("SendMessageBatch") - before, requests);
    }
}

#[test]
fn a_known_queue_takes_one_call() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.ok(&["enqueue", "q", "echo 1"]);
    assert_eq!(
        server.operations(),
        ["GetQueueUrl", "CreateQueue", "CreateQueue", "SendMessage"]
    );
    qdone.ok(&["enqueue", "q", "echo 2"]);
    assert_eq!(server.operations()[4..], ["SendMessage"]);
    assert_eq!(server.bodies("qdone_q"), ["echo 1", "echo 2"]);
    let cache = qdone.spool.beside("cache/pirn/sqs.json");
    assert_eq!(
        cache.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = std::fs::read_to_string(cache).unwrap();
    assert!(!text.contains("wJalrXUtnFEMI"), "{text}");
    // Somebody deletes the queue: it is made again.
    let url = qdone.sqs.url("qdone_q").unwrap();
    qdone.sqs.must("DeleteQueue", &json!({ "QueueUrl": url }));
    qdone.ok(&["enqueue", "q", "echo 3"]);
    assert_eq!(server.bodies("qdone_q"), ["echo 3"]);
}

#[test]
fn a_wrong_line_is_refused_before_anything_is_sent() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    for (input, told) in [
        ("a echo\nb\n", "line 2: there is a queue, b, and no command"),
        (
            "a echo \u{1}\n",
            "line 1: SQS does not take the character U+0001",
        ),
        ("a.b echo\n", "line 1: the names of queues have letters"),
    ] {
        let done = qdone.run_with_input(&["enqueue-batch", "-"], input);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
    assert!(server.calls().is_empty());
}

#[test]
fn options_of_2_shape_new_queues() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    let options = "--tag team=ops --tag env=test --message-retention-period 3600 --dlq --dql-after 5 --fail-delay 7";
    let args: Vec<&str> = ["enqueue"]
        .into_iter()
        .chain(options.split(' '))
        .chain(["q", "echo"])
        .collect();
    qdone.ok(&args);
    let made: Vec<Value> = server
        .calls()
        .into_iter()
        .filter(|call| call.operation == "CreateQueue")
        .map(|call| call.body)
        .collect();
    let names: Vec<&Value> = made.iter().map(|body| &body["QueueName"]).collect();
    assert_eq!(names, ["qdone_q_dead", "qdone_q_failed", "qdone_q"]);
    for body in &made {
        assert_eq!(body["tags"], json!({"team": "ops", "env": "test"}));
        assert_eq!(body["Attributes"]["MessageRetentionPeriod"], "3600");
    }
    assert_eq!(made[1]["Attributes"]["DelaySeconds"], "7");
    let policy = made[1]["Attributes"]["RedrivePolicy"].as_str().unwrap();
    assert_eq!(
        policy,
        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:qdone_q_dead","maxReceiveCount":"5"}"#
    );
}

#[test]
fn troubles_of_the_server_are_overcome() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.ok(&["enqueue", "q", "first"]);
    for fault in [
        Fault::Error(400, "RequestThrottled", "slow down"),
        Fault::Status(500),
        Fault::Reset,
        Fault::Error(403, "ExpiredToken", "the token has expired"),
    ] {
        server.order("SendMessage", fault.clone());
        let done = qdone.run(&["enqueue", "-v", "q", "echo"]);
        assert_eq!(done.code, 0, "{fault:?}: {}", done.stderr);
        assert!(server.is_done());
    }
    assert_eq!(server.bodies("qdone_q").len(), 5);
    // An answer that is lost is asked for again: the message is there twice.
    server.order("SendMessage", Fault::Lost);
    qdone.ok(&["enqueue", "q", "twice"]);
    assert_eq!(server.bodies("qdone_q")[5..], ["twice", "twice"]);
    // A batch, of which the server takes nothing at first.
    server.order("SendMessageBatch", Fault::Busy);
    assert_eq!(
        qdone
            .run_with_input(&["enqueue-batch", "-"], "q late 1\nq late 2\n")
            .code,
        0
    );
    assert_eq!(server.bodies("qdone_q")[7..], ["late 1", "late 2"]);
    // The clock of the server is ten minutes ahead.
    server.set_clock(600);
    qdone.ok(&["enqueue", "q", "ahead"]);
    assert_eq!(server.bodies("qdone_q")[9..], ["ahead"]);
}

#[test]
fn a_lost_answer_leaves_one_message_on_a_fifo_queue() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    server.order("SendMessage", Fault::Lost);
    server.order("SendMessageBatch", Fault::Cut);
    qdone.ok(&["enqueue", "-f", "q", "echo"]);
    assert_eq!(
        qdone
            .run_with_input(&["enqueue-batch", "-f", "-"], "q 1\nq 2\n")
            .code,
        0
    );
    assert_eq!(server.bodies("qdone_q.fifo"), ["echo", "1", "2"]);
}

#[test]
fn final_troubles_exit_with_1() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.ok(&["enqueue", "q", "first"]);
    for (fault, told) in [
        (
            Fault::ErrorXml(403, "AccessDenied"),
            "AccessDenied: AccessDenied on order",
        ),
        (Fault::WrongMd5, "checksum"),
        (
            Fault::Error(400, "InvalidMessageContents", "bad characters"),
            "InvalidMessageContents: bad characters",
        ),
    ] {
        server.order("SendMessage", fault);
        let done = qdone.run(&["enqueue", "q", "echo"]);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(done.stderr.contains(told), "{}", done.stderr);
    }
    server.order("SendMessageBatch", Fault::Refused("InternalError", "no"));
    let done = qdone.run_with_input(&["enqueue-batch", "-"], "q echo\n");
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("One or more message failures: ["),
        "{}",
        done.stderr
    );
    // Nobody gives up sooner than after six tries.
    for _ in 0..6 {
        server.order("SendMessage", Fault::Status(503));
    }
    assert_eq!(qdone.run(&["enqueue", "q", "echo"]).code, 1);
    assert!(server.is_done());
}
