//! The client and the engine on servers that stand in for SQS: what they do when calls go wrong.

use crate::faults::{Fault, FaultySqs};
use crate::moto::Moto;
use crate::replay::{access, message};
use pirn::core::id::JobId;
use pirn::os::clock;
use pirn::remote::engine::{
    BodyForm, Engine, Extension, GivenBack, LeaseAnswer, LeaseKey, Message, RemoteQueue, Trouble,
    WellEnded,
};
use pirn::remote::sqs::caller::Patience;
use pirn::remote::sqs::client::{NumberedMessage, ReceiveTerms, SqsClient};
use pirn::remote::sqs::cloudwatch::{CloudWatch, Datum};
use pirn::remote::sqs::engine::{QueueChoice, SqsEngine};
use pirn::remote::sqs::error::SqsFault;
use pirn::remote::sqs::queues::{QueueNews, QueuePlan, QueueUrls};
use pirn::remote::sqs::wire::MessageToSend;
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn client(sqs: &FaultySqs, patience: u32) -> SqsClient {
    SqsClient::new(&access(&sqs.url(), &[]), Patience(patience)).unwrap()
}

#[test]
fn passing_trouble_is_waited_out() {
    for fault in [
        Fault::Error(400, "RequestThrottled", "slow down"),
        Fault::ErrorXml(400, "ThrottlingException"),
        Fault::Error(403, "OverLimit", "too many"),
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(504),
        Fault::Reset,
        Fault::Cut,
        Fault::Lost,
    ] {
        let sqs = FaultySqs::start();
        let url = sqs.asker().make("q");
        let said = format!("{fault:?}");
        sqs.order("SendMessage", fault.clone());
        assert!(client(&sqs, 2).send(&url, &message("x")).is_ok(), "{said}");
        assert_eq!(sqs.operations(), ["SendMessage"; 2], "{said}");
        sqs.order("SendMessage", fault.clone());
        let error = client(&sqs, 1).send(&url, &message("x")).unwrap_err();
        assert!(error.is_temporary(), "{said}: {error}");
        assert_eq!(sqs.operations().len(), 3, "{said}");
    }
}

#[test]
fn lasting_trouble_is_not_repeated() {
    let sqs = FaultySqs::start();
    let url = sqs.asker().make("q");
    let client = client(&sqs, 6);
    for (code, fault) in [
        ("AccessDeniedException", SqsFault::Denied),
        ("InvalidMessageContents", SqsFault::BadMessage),
        ("UnsupportedOperation", SqsFault::Other),
    ] {
        sqs.order("SendMessage", Fault::Error(400, code, "no"));
        assert_eq!(client.send(&url, &message("x")).unwrap_err().fault, fault);
    }
    sqs.order("SendMessage", Fault::WrongMd5);
    let error = client.send(&url, &message("x")).unwrap_err();
    assert!(error.message.contains("checksum"));
    assert_eq!(sqs.operations(), ["SendMessage"; 4]);
    let nobody = SqsClient::new(&access("http://127.0.0.1:1", &[]), Patience(2)).unwrap();
    let error = nobody.queue_url("q").unwrap_err();
    assert!(
        error.is_temporary() && error.to_string().contains("127.0.0.1:1"),
        "{error}"
    );
}

#[test]
fn a_wrong_clock_is_found_out_once() {
    for ahead in [600, -600] {
        let sqs = FaultySqs::start();
        let url = sqs.asker().make("q");
        sqs.set_clock(ahead);
        let client = client(&sqs, 1);
        client.send(&url, &message("x")).unwrap();
        assert_eq!(sqs.operations().len(), 2);
        client.send(&url, &message("y")).unwrap();
        assert_eq!(sqs.operations().len(), 3);
    }
    // A wrong secret is not a wrong clock.
    let sqs = FaultySqs::start();
    let url = sqs.asker().make("q");
    sqs.order("SendMessage", Fault::ErrorXml(403, "SignatureDoesNotMatch"));
    let error = client(&sqs, 6).send(&url, &message("x")).unwrap_err();
    assert!(error.is_refusal() && sqs.operations().len() == 1, "{error}");
}

#[test]
fn batches_are_cut_halved_and_repeated() {
    let sqs = FaultySqs::start();
    let url = sqs.asker().make("q");
    let client = client(&sqs, 2);
    let large = "x".repeat(100_000);
    let huge = "x".repeat(300_000);
    let list: Vec<NumberedMessage<'_>> = [&large, &large, &large, &huge, &large]
        .into_iter()
        .zip(7..)
        .map(|(body, n)| (n, message(body)))
        .collect();
    let sizes = |messages: &[NumberedMessage<'_>]| -> Vec<usize> {
        SqsClient::batches(messages)
            .iter()
            .map(|batch| batch.len())
            .collect()
    };
    assert_eq!(sizes(&list), [2, 1, 1, 1]);
    let small: Vec<NumberedMessage<'_>> = (0..24).map(|n| (n, message("x"))).collect();
    assert_eq!(sizes(&small), [10, 10, 4]);
    assert!(sizes(&[]).is_empty());

    let too_long = Fault::Error(400, "BatchRequestTooLong", "too long");
    sqs.order("SendMessageBatch", too_long.clone());
    let report = client.send_batch(&url, &small[..4]).unwrap();
    let numbers: Vec<u64> = report.sent.iter().map(|(number, _)| *number).collect();
    assert_eq!((numbers, report.failed.len()), (vec![0, 1, 2, 3], 0));
    let entries = |call: usize| sqs.calls()[call].body["Entries"].as_array().unwrap().len();
    assert_eq!((entries(0), entries(1), entries(2)), (4, 2, 2));
    sqs.order("SendMessageBatch", too_long);
    let report = client.send_batch(&url, &small[..1]).unwrap();
    let failed: Vec<_> = (report.failed.iter())
        .map(|(number, error)| (*number, error.fault))
        .collect();
    assert_eq!(
        (report.sent.len(), failed),
        (0, vec![(0, SqsFault::TooLong)])
    );

    sqs.order("SendMessageBatch", Fault::Busy);
    let fifo = MessageToSend {
        group: Some("g"),
        deduplication: Some("d"),
        ..message("z")
    };
    let report = client.send_batch(&url, &[(5, fifo)]).unwrap();
    assert_eq!((report.sent.len(), report.failed.len()), (1, 0));
    let calls = sqs.calls();
    let [.., first, second] = &calls[..] else {
        panic!()
    };
    assert_eq!(first.body, second.body);
    let entry = json!({"Id": "5", "MessageBody": "z", "MessageGroupId": "g", "MessageDeduplicationId": "d"});
    assert_eq!(first.body["Entries"][0], entry);
    for _ in 0..2 {
        sqs.order("SendMessageBatch", Fault::Busy);
    }
    let report = client.send_batch(&url, &[(5, message("z"))]).unwrap();
    assert!(report.failed[0].1.is_temporary() && report.sent.is_empty());
    sqs.order(
        "SendMessageBatch",
        Fault::Refused("InvalidMessageContents", "no"),
    );
    let report = client.send_batch(&url, &small[..2]).unwrap();
    let faults: Vec<SqsFault> = report.failed.iter().map(|(_, e)| e.fault).collect();
    assert_eq!(faults, [SqsFault::BadMessage; 2]);
}

/// A client with a cache of its own.
fn cached(sqs: &FaultySqs, dir: &tempfile::TempDir) -> SqsClient {
    let dir = dir.path().to_str().unwrap();
    SqsClient::new(
        &access(&sqs.url(), &[("XDG_CACHE_HOME", dir)]),
        Patience::COMMAND,
    )
    .unwrap()
}

#[test]
fn missing_queues_are_created_and_known_ones_are_not_asked_for() {
    let (sqs, dir) = (FaultySqs::start(), tempfile::tempdir().unwrap());
    let plan = QueuePlan::with_failed("qdone_n2", "qdone_n2_failed", 1, false);
    let mut from = 0;
    let mut enqueue = |wanted: &[&str]| {
        let client = cached(&sqs, &dir);
        let mut news = Vec::new();
        let id = QueueUrls::new(&client).with_queue(
            &plan,
            &mut |item| news.push(format!("{item:?}")),
            |url| client.send(url, &message("echo")),
        );
        id.unwrap();
        assert_eq!(sqs.operations()[from..], *wanted);
        from = sqs.operations().len();
        news
    };
    let made = ["Creating(\"qdone_n2_failed\")", "Creating(\"qdone_n2\")"];
    let new = ["GetQueueUrl", "CreateQueue", "CreateQueue", "SendMessage"];
    assert_eq!(enqueue(&new), made);
    let calls = sqs.calls();
    let failed = json!({"QueueName": "qdone_n2_failed", "Attributes": {"MessageRetentionPeriod": "1209600"}});
    assert_eq!(calls[1].body, failed);
    let policy = "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:123456789012:qdone_n2_failed\",\
                  \"maxReceiveCount\":\"1\"}";
    let main = json!({"QueueName": "qdone_n2", "Attributes": {"MessageRetentionPeriod": "1209600",
        "RedrivePolicy": policy}});
    assert_eq!(calls[2].body, main);
    assert!(enqueue(&["SendMessage"]).is_empty());
    // It is gone, and the cache does not know.
    sqs.asker()
        .must("DeleteQueue", &json!({"QueueUrl": "http://h/1/qdone_n2"}));
    let again = [
        "SendMessage",
        "GetQueueUrl",
        "CreateQueue",
        "CreateQueue",
        "SendMessage",
    ];
    assert_eq!(enqueue(&again), made);
    // Its fail queue is there with other attributes.
    sqs.asker()
        .must("DeleteQueue", &json!({"QueueUrl": "http://h/1/qdone_n2"}));
    sqs.asker().must(
        "DeleteQueue",
        &json!({"QueueUrl": "http://h/1/qdone_n2_failed"}),
    );
    sqs.asker().make("qdone_n2_failed");
    let other = [
        "SendMessage",
        "GetQueueUrl",
        "CreateQueue",
        "GetQueueUrl",
        "CreateQueue",
        "SendMessage",
    ];
    assert_eq!(enqueue(&other), made);
}

#[test]
fn a_queue_that_was_deleted_just_now_is_waited_for() {
    let (sqs, dir) = (FaultySqs::start(), tempfile::tempdir().unwrap());
    let client = cached(&sqs, &dir);
    let recently = "AWS.SimpleQueueService.QueueDeletedRecently";
    sqs.order(
        "CreateQueue",
        Fault::Error(400, recently, "wait 60 seconds"),
    );
    let mut news = Vec::new();
    let url = QueueUrls::new(&client).create(&QueuePlan::single("q.fifo", true), &mut |item| {
        news.push(match item {
            QueueNews::Creating(name) => format!("creating {name}"),
            QueueNews::Waiting(name) => format!("waiting for {name}"),
        });
    });
    assert!(url.unwrap().ends_with("/q.fifo"));
    assert_eq!(news, ["creating q.fifo", "waiting for q.fifo"]);
    assert_eq!(sqs.calls()[1].body["Attributes"]["FifoQueue"], "true");
}

fn choice(names: &[&str]) -> QueueChoice {
    QueueChoice {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        fail_suffix: "_failed".to_owned(),
        include_failed: false,
        only_fifo: false,
        active_only: false,
        results: None,
    }
}

fn engine(sqs: &FaultySqs, choice: QueueChoice) -> SqsEngine {
    SqsEngine::new(&access(&sqs.url(), &[]), choice).unwrap()
}

fn key(message: &Message) -> LeaseKey<'_> {
    LeaseKey {
        id: &message.id,
        receipt: &message.receipt,
    }
}

fn receive(engine: &SqsEngine, queue: &RemoteQueue) -> Result<Vec<Message>, Trouble> {
    engine.receive(queue, 10, Duration::ZERO, MINUTE)
}

#[test]
fn the_engine_finds_its_queues() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    for name in ["a", "b.fifo"] {
        asker.make_pair(name, 3);
    }
    asker.make("plain");
    asker.send("a", "x");
    let names = |choice: QueueChoice| -> Vec<String> {
        let queues = engine(&sqs, choice).queues().unwrap();
        queues.into_iter().map(|queue| queue.name).collect()
    };
    assert_eq!(
        names(choice(&["plain", "none", "*", "a"])),
        ["plain", "a", "b.fifo"]
    );
    assert_eq!(
        names(QueueChoice {
            include_failed: true,
            ..choice(&["a*"])
        }),
        ["a", "a_failed"]
    );
    assert_eq!(
        names(QueueChoice {
            only_fifo: true,
            ..choice(&["*"])
        }),
        ["b.fifo"]
    );
    let before = sqs.operations().len();
    assert_eq!(
        names(QueueChoice {
            active_only: true,
            ..choice(&["*"])
        }),
        ["a"]
    );
    // One call for the list, and one for each queue that is no fail queue.
    assert_eq!(sqs.operations().len() - before, 4);
    let queues = engine(&sqs, choice(&["*"])).queues().unwrap();
    let facts: Vec<_> = queues.iter().map(|q| (q.max_receives, q.is_fifo)).collect();
    assert_eq!(facts, [(Some(3), false), (Some(3), true), (None, false)]);
}

#[test]
fn leases_are_extended_given_back_and_acknowledged() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    asker.make_pair("q", 1);
    for text in ["1", "2", "3"] {
        asker.send("q", text);
    }
    let engine = engine(
        &sqs,
        QueueChoice {
            results: Some("out".to_owned()),
            ..choice(&["q"])
        },
    );
    let queue = engine.queues().unwrap().remove(0);
    let messages = receive(&engine, &queue).unwrap();
    let texts: Vec<_> = messages
        .iter()
        .map(|m| m.body.as_deref().unwrap())
        .collect();
    assert_eq!(texts, ["1", "2", "3"]);
    assert_eq!(
        (messages[0].count, messages[0].form),
        (1, BodyForm::Unmarked)
    );

    let junk = JobId::new("junk").unwrap();
    let lost = LeaseKey {
        id: &junk,
        receipt: "junk",
    };
    let extension = |key| Extension {
        key,
        lease: 2 * MINUTE,
    };
    let answers = engine
        .extend(&queue, &[extension(key(&messages[0])), extension(lost)])
        .unwrap();
    assert_eq!(answers[0], LeaseAnswer::Done);
    assert!(matches!(&answers[1], LeaseAnswer::Lost(why) if why.contains("junk")));
    let twelve = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
    sqs.order(
        "ChangeMessageVisibilityBatch",
        Fault::Refused("InvalidParameterValue", twelve),
    );
    let answers = engine
        .extend(&queue, &[extension(key(&messages[0]))])
        .unwrap();
    assert!(matches!(&answers[0], LeaseAnswer::Lost(why) if why.contains("beyond the limit")));
    sqs.order("ChangeMessageVisibilityBatch", Fault::Busy);
    let answers = engine
        .extend(&queue, &[extension(key(&messages[0]))])
        .unwrap();
    assert!(matches!(answers[0], LeaseAnswer::Again(_)));

    // The result is out before the message is gone; the queue for results is created when it is needed.
    let ended = |result| WellEnded {
        key: key(&messages[0]),
        result,
    };
    let record = "{\"state\":\"complete\"}";
    assert_eq!(
        engine.ack(&queue, &[ended(Some(record))]),
        Ok(vec![LeaseAnswer::Done])
    );
    assert_eq!(asker.take_all("out")[0].1, record);
    let calls = sqs.calls();
    let sent = calls
        .iter()
        .find(|call| call.operation == "SendMessageBatch")
        .unwrap();
    let mark = json!({"PirnFormat": {"DataType": "String", "StringValue": "result"}});
    assert_eq!(sent.body["Entries"][0]["MessageAttributes"], mark);
    assert_eq!(
        engine.ack(&queue, &[ended(None)]),
        Ok(vec![LeaseAnswer::Done])
    );
    // Without its result a message stays.
    sqs.order("SendMessageBatch", Fault::Busy);
    let other = WellEnded {
        key: key(&messages[2]),
        result: None,
    };
    let answers = engine.ack(&queue, &[ended(Some(record)), other]).unwrap();
    assert!(matches!(answers[0], LeaseAnswer::Again(_)) && answers[1] == LeaseAnswer::Done);
    // A result that nobody would ever take does not keep it.
    sqs.order(
        "SendMessageBatch",
        Fault::Refused("InvalidMessageContents", "no"),
    );
    assert_eq!(
        engine.ack(&queue, &[ended(Some(record))]),
        Ok(vec![LeaseAnswer::Done])
    );

    let given = GivenBack {
        key: key(&messages[1]),
        delay: Duration::ZERO,
        result: None,
    };
    assert_eq!(engine.nack(&queue, &[given]), Ok(vec![LeaseAnswer::Done]));
    assert!(receive(&engine, &queue).unwrap().is_empty());
    let id = messages[1].id.as_str().to_owned();
    assert_eq!(asker.take_all("q_failed"), [(id, "2".to_owned())]);
}

#[test]
fn trouble_is_told_to_the_bridge() {
    let sqs = FaultySqs::start();
    sqs.asker().make("q");
    let engine = engine(&sqs, choice(&["q"]));
    let queue = engine.queues().unwrap().remove(0);
    sqs.order("ReceiveMessage", Fault::Status(503));
    assert!(matches!(
        receive(&engine, &queue),
        Err(Trouble::Unreachable(_))
    ));
    sqs.order("ReceiveMessage", Fault::ErrorXml(403, "AccessDenied"));
    assert!(
        matches!(receive(&engine, &queue), Err(Trouble::Refused(why)) if why.contains("--profile"))
    );
    sqs.asker()
        .must("DeleteQueue", &json!({"QueueUrl": queue.url}));
    assert!(matches!(receive(&engine, &queue), Err(Trouble::NoQueue(_))));
    assert_eq!(
        (engine.kind(), engine.longest_hold()),
        ("sqs", Some(MINUTE * 720))
    );
}

#[test]
fn a_lost_receive_of_a_fifo_queue_is_repeated_under_its_id() {
    let sqs = FaultySqs::start();
    let asker = sqs.asker();
    asker.make("f.fifo");
    asker.make("q");
    for (text, group) in [("1", "x"), ("2", "y")] {
        asker.send_in("f.fifo", text, group);
    }
    let engine = engine(&sqs, choice(&["f.fifo", "q"]));
    let queues = engine.queues().unwrap();
    sqs.order("ReceiveMessage", Fault::Lost);
    assert!(receive(&engine, &queues[0]).is_err());
    receive(&engine, &queues[0]).unwrap();
    let messages = receive(&engine, &queues[0]).unwrap();
    assert!(messages.len() <= 1);
    receive(&engine, &queues[1]).unwrap();
    let calls = sqs.calls();
    let receives = calls
        .iter()
        .filter(|call| call.operation == "ReceiveMessage");
    let attempts: Vec<_> = receives
        .clone()
        .map(|c| c.body["ReceiveRequestAttemptId"].as_str())
        .collect();
    assert!(attempts[0].is_some() && attempts[0] == attempts[1]);
    assert!(attempts[2].is_some() && attempts[2] != attempts[1]);
    assert_eq!(attempts[3], None);
    let most: Vec<_> = receives
        .map(|call| call.body["MaxNumberOfMessages"].as_u64())
        .collect();
    assert_eq!(most, [Some(1), Some(1), Some(1), Some(10)]);
}

#[test]
fn moto_takes_all_calls() {
    let Some(moto) = Moto::start(&[]) else {
        return;
    };
    let access = access(&moto.url(), &[]);
    let client = SqsClient::new(&access, Patience::COMMAND).unwrap();
    let queues = QueueUrls::new(&client);
    let plan = QueuePlan::with_failed("m.fifo", "m_failed.fifo", 2, true);
    let fifo = |body| MessageToSend {
        group: Some("g"),
        deduplication: Some(body),
        ..message(body)
    };
    let send = |url: &str| client.send_batch(url, &[(0, fifo("a")), (1, fifo("é <&>"))]);
    let report = queues.with_queue(&plan, &mut |_| (), send).unwrap();
    assert_eq!((report.sent.len(), report.failed.len()), (2, 0));
    let url = queues.url("m.fifo").unwrap();
    assert_eq!(client.counts(&url).unwrap().waiting, 2);
    let names = client.list_queues("m").unwrap();
    assert_eq!(names.len(), 2);
    let terms = ReceiveTerms {
        most: 10,
        wait: Duration::ZERO,
        lease: MINUTE,
        attempt: Some("1"),
    };
    let messages = client.receive(&url, &terms).unwrap();
    assert_eq!(
        (messages[0].body(), messages[0].group()),
        (Ok("a"), Some("g"))
    );
    let receipts: Vec<&str> = messages.iter().map(|m| m.receipt_handle.as_str()).collect();
    let changed = client
        .change_visibility(&url, &[(receipts[0], 2 * MINUTE)])
        .unwrap();
    assert_eq!(changed, [Ok(())]);
    let deleted = client.delete(&url, &receipts).unwrap();
    assert!(deleted.iter().all(Result::is_ok));
    let marked = MessageToSend {
        form: BodyForm::Record,
        ..message("{}")
    };
    let plan = QueuePlan::single("plain", false);
    queues
        .with_queue(&plan, &mut |_| (), |url| client.send(url, &marked))
        .unwrap();
    let plain = queues.url("plain").unwrap();
    let terms = ReceiveTerms {
        attempt: None,
        ..terms
    };
    let messages = client.receive(&plain, &terms).unwrap();
    assert_eq!(messages[0].form(), BodyForm::Record);
    client.delete_queue(&plain).unwrap();
    assert_eq!(
        client.queue_url("plain").unwrap_err().fault,
        SqsFault::NoQueue
    );

    let metrics = CloudWatch::new(&access, Patience::COMMAND).unwrap();
    let now = clock::wall();
    let then = |seconds: i64| pirn::core::time::Wall(now.0 + seconds * 1_000_000_000);
    let datum = Datum {
        name: "NumberOfMessagesSent",
        dimension: ("QueueName", "m"),
        at: then(-60),
        value: 2.0,
    };
    metrics.put("AWS/SQS", &[datum]).unwrap();
    let is_active = |queue| metrics.is_active(queue, "NumberOfMessagesSent", then(-3600), then(10));
    assert_eq!((is_active("m"), is_active("other")), (Ok(true), Ok(false)));
}
