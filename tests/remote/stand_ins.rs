//! The stand-ins agree where both have a behaviour, and misbehave when they are told to.

use crate::ask::Asker;
use crate::faults::{Fault, FaultySqs};
use crate::moto::{Moto, SharedMoto};
use crate::spool::wait_for;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// By md5sum(1): `printf 'echo 1' | md5sum`.
const MD5_OF_ECHO: &str = "e58da952399a06c3070da7d8c5ef745f";

static MOTO: SharedMoto = SharedMoto::new(Weak::new());

#[test]
fn moto_keeps_queues_as_sqs_does() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    keeps_queues(Asker(moto.port));
    // AWS takes what qdone 1.7 writes there.
    let policy = "{\"deadLetterTargetArn\": \"arn:aws:sqs:us-east-1:123456789012:a_failed\", \"maxReceiveCount\": \
                  \"1\"}'}";
    let call = json!({"QueueName": "old", "Attributes": {"RedrivePolicy": policy}});
    Asker(moto.port).must("CreateQueue", &call);
}

#[test]
fn our_own_keeps_queues_as_sqs_does() {
    keeps_queues(FaultySqs::start().asker());
}

fn keeps_queues(sqs: Asker) {
    let url = sqs.make_pair("a", 1);
    assert_eq!(sqs.url("a"), Some(url.clone()));
    assert_eq!(sqs.url("b"), None);
    let (status, answer) = sqs.ask("GetQueueUrl", &json!({"QueueName": "b"}));
    assert_eq!(
        (status, &answer["__type"]),
        (400, &json!("com.amazonaws.sqs#QueueDoesNotExist"))
    );

    // A message whose lease was given back goes to the fail queue with the next receive, and keeps its id.
    let id = sqs.send("a", "echo 1");
    assert_eq!(sqs.counts("a"), (1, 0));
    let receive = json!({"QueueUrl": url, "VisibilityTimeout": 60, "WaitTimeSeconds": 1,
        "AttributeNames": ["All"]});
    let got = sqs.must("ReceiveMessage", &receive)["Messages"][0].clone();
    assert_eq!(
        (&got["MessageId"], &got["Body"]),
        (&json!(id), &json!("echo 1"))
    );
    assert_eq!(got["MD5OfBody"], MD5_OF_ECHO);
    assert_eq!(got["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(sqs.counts("a"), (0, 1));
    let back =
        json!({"QueueUrl": url, "ReceiptHandle": got["ReceiptHandle"], "VisibilityTimeout": 0});
    sqs.must("ChangeMessageVisibility", &back);
    let none = json!({"QueueUrl": url, "WaitTimeSeconds": 0});
    assert_eq!(sqs.must("ReceiveMessage", &none).get("Messages"), None);
    assert_eq!(sqs.take_all("a_failed"), [(id, "echo 1".to_owned())]);

    // One message of a group at a time, in order.
    let fifo = sqs.make_pair("f.fifo", 1);
    for (text, group) in [("1", "x"), ("2", "x"), ("3", "y")] {
        sqs.send_in("f.fifo", text, group);
    }
    let receive = json!({"QueueUrl": fifo, "MaxNumberOfMessages": 1, "VisibilityTimeout": 60});
    let next = || sqs.must("ReceiveMessage", &receive)["Messages"][0].clone();
    let (first, second) = (next(), next());
    assert_eq!(
        (&first["Body"], &second["Body"]),
        (&json!("1"), &json!("3"))
    );
    assert!(next().is_null());
    sqs.must(
        "DeleteMessage",
        &json!({"QueueUrl": fifo, "ReceiptHandle": first["ReceiptHandle"]}),
    );
    assert_eq!(next()["Body"], "2");
}

#[test]
fn orders_are_carried_out_once_each() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    let url = asker.make("q");
    let send = json!({"QueueUrl": url, "MessageBody": "x"});
    sqs.order(
        "SendMessage",
        Fault::Error(400, "RequestThrottled", "slow down"),
    );
    sqs.order("SendMessage", Fault::Status(500));
    sqs.order("SendMessage", Fault::WrongMd5);
    let (status, answer) = asker.ask("SendMessage", &send);
    assert_eq!(
        (status, &answer["__type"]),
        (400, &json!("com.amazonaws.sqs#RequestThrottled"))
    );
    assert_eq!(asker.ask("SendMessage", &send).0, 500);
    assert!(sqs.bodies("q").is_empty() && !sqs.is_done());
    let wrong = asker.must("SendMessage", &send);
    assert_ne!(wrong["MD5OfMessageBody"], crate::sqs_model::md5_hex("x"));
    assert!(sqs.is_done());
    assert_eq!(
        asker.must("SendMessage", &send)["MD5OfMessageBody"],
        crate::sqs_model::md5_hex("x")
    );

    // Doubled: the message comes again though it is leased.
    sqs.order("ReceiveMessage", Fault::Doubled);
    let receive = json!({"QueueUrl": url, "VisibilityTimeout": 60});
    let got: Vec<_> = (0..2)
        .map(|_| asker.must("ReceiveMessage", &receive)["Messages"][0]["MessageId"].clone())
        .collect();
    assert_eq!(got[0], got[1]);
    assert!(sqs.calls().is_empty());
}

#[test]
fn a_lost_answer_leaves_its_effect() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    let send = json!({"QueueUrl": asker.make("q"), "MessageBody": "x"}).to_string();
    for (fault, heard, kept) in [
        (Fault::Reset, false, 0),
        (Fault::Lost, false, 1),
        (Fault::Cut, true, 2),
    ] {
        sqs.order("SendMessage", fault);
        let mut stream = TcpStream::connect(("127.0.0.1", sqs.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nx-amz-target: AmazonSQS.SendMessage\r\ncontent-length: {}\r\n\r\n{send}",
            send.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!((!answer.is_empty(), sqs.bodies("q").len()), (heard, kept));
        assert!(
            serde_json::from_str::<serde_json::Value>(answer.rsplit("\r\n").next().unwrap())
                .is_err()
        );
    }
}

#[test]
fn a_poll_ends_with_the_first_message() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    let url = asker.make("q");
    let poll = json!({"QueueUrl": url, "WaitTimeSeconds": 20});
    let polling = std::thread::spawn(move || asker.must("ReceiveMessage", &poll));
    wait_for("the poll", || sqs.count("ReceiveMessage") == 1);
    let start = Instant::now();
    asker.send("q", "x");
    assert_eq!(polling.join().unwrap()["Messages"][0]["Body"], "x");
    assert!(start.elapsed() < Duration::from_secs(15));
}
