//! The client reads the answers that were captured from real exchanges.

use crate::replay::{Replay, access, captured, message};
use pirn::core::time::Wall;
use pirn::remote::engine::BodyForm;
use pirn::remote::sqs::caller::Patience;
use pirn::remote::sqs::client::{
    BatchReport, NumberedMessage, QueueCounts, ReceiveTerms, SqsClient,
};
use pirn::remote::sqs::cloudwatch::{CloudWatch, Datum};
use pirn::remote::sqs::error::{SqsError, SqsFault};
use pirn::remote::sqs::redrive;
use pirn::remote::sqs::wire::MessageToSend;
use serde_json::{Value, json};
use std::time::Duration;

const URL: &str = "http://127.0.0.1:24000/123456789012/qdone_raw";

const RECEIVE: ReceiveTerms<'_> = ReceiveTerms {
    most: 10,
    wait: Duration::from_secs(1),
    lease: Duration::from_millis(29_001),
    attempt: None,
};

fn body_of(server: &Replay, call: usize) -> Value {
    serde_json::from_str(&server.seen()[call].body).unwrap()
}

#[test]
fn calls_are_signed_posts() {
    let server = Replay::of_captures(&["json-raw/001", "json-raw/001"]);
    let client = server.client();
    let url = client.queue_url("qdone_raw_failed").unwrap();
    assert_eq!(url, "http://127.0.0.1:24000/123456789012/qdone_raw_failed");
    client.queue_url("q").unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /");
    assert_eq!(seen[0].body, "{\"QueueName\":\"qdone_raw_failed\"}");
    let header = |name: &str| seen[0].headers[name].as_str();
    assert_eq!(header("content-type"), "application/x-amz-json-1.0");
    assert_eq!(header("x-amz-target"), "AmazonSQS.GetQueueUrl");
    assert_eq!(header("x-amzn-query-mode"), "true");
    assert_eq!(header("host"), format!("127.0.0.1:{}", server.port));
    let signed = "/us-east-1/sqs/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target;\
                  x-amzn-query-mode, Signature=";
    assert!(header("authorization").contains(signed));
    // The connection is kept.
    assert_eq!((seen[0].connection, seen[1].connection), (0, 0));
}

#[test]
fn attributes_are_read() {
    let server = Replay::of_captures(&["json-raw/005", "json-raw/005", "v2-monitor-save/003"]);
    let client = server.client();
    let attributes = client.attributes(URL, &["RedrivePolicy"]).unwrap();
    assert_eq!(redrive::max_receives(&attributes["RedrivePolicy"]), Ok(1));
    assert!(client.counts(URL).unwrap().are_zero());
    let counts = QueueCounts {
        waiting: 1,
        leased: 0,
        delayed: 0,
    };
    assert_eq!(client.counts(URL).unwrap(), counts);
}

#[test]
fn all_pages_of_a_list_are_read_and_sorted() {
    let server = Replay::of_captures(&["json-raw/017", "v2-monitor-save/001", "json-raw/008"]);
    let client = server.client();
    let urls = client.list_queues("qdone_").unwrap();
    let names: Vec<&str> = urls
        .iter()
        .map(|url| url.rsplit('/').next().unwrap())
        .collect();
    let sorted = [
        "qdone_n2",
        "qdone_n2_failed",
        "qdone_new1",
        "qdone_new1_failed",
        "qdone_raw_failed",
    ];
    assert_eq!(names, sorted);
    let first = json!({"QueueNamePrefix": "qdone_", "MaxResults": 1000});
    assert_eq!(body_of(&server, 0), first);
    let (_, _, page) = captured("json-raw/017");
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(body_of(&server, 1)["NextToken"], page["NextToken"]);
    // No queue at all.
    assert!(client.list_queues("").unwrap().is_empty());
}

#[test]
fn what_is_sent_is_checked_and_numbered() {
    let server = Replay::of_captures(&[
        "json-raw/006",
        "json-raw/020",
        "json-raw/020",
        "json-raw/006",
    ]);
    let client = server.client();
    let texts: Vec<String> = (0..10).map(|n| format!("echo {n}")).collect();
    let batch: Vec<NumberedMessage<'_>> = texts
        .iter()
        .zip(0..)
        .map(|(text, n)| (n, message(text)))
        .collect();
    let report = client.send_batch(URL, &batch).unwrap();
    assert_eq!((report.sent.len(), report.failed.len()), (10, 0));
    assert_eq!(
        report.sent[1],
        (1, "70edfb2e-bdd1-406f-a4aa-3bb2fa639172".to_owned())
    );
    let entry = json!({"Id": "9", "MessageBody": "echo 9"});
    assert_eq!(body_of(&server, 0)["Entries"][9], entry);

    let record = MessageToSend {
        form: BodyForm::Record,
        ..message("echo attr")
    };
    let id = client.send(URL, &record).unwrap();
    assert_eq!(id, "36bec79b-3f63-4b35-a001-0c5a19245892");
    let mark = json!({"PirnFormat": {"DataType": "String", "StringValue": "record"}});
    assert_eq!(body_of(&server, 1)["MessageAttributes"], mark);

    // The answers belong to other texts.
    let error = client.send(URL, &message("echo other")).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let report = client.send_batch(URL, &[(0, message("echo 0")), (1, message("x"))]);
    let BatchReport { sent, failed } = report.unwrap();
    assert_eq!(
        (sent.len(), failed[0].0, failed[0].1.fault),
        (1, 1, SqsFault::Other)
    );
}

#[test]
fn messages_are_read() {
    let server = Replay::of_captures(&["json-raw/007", "json-raw/008"]);
    let client = server.client();
    let messages = client.receive(URL, &RECEIVE).unwrap();
    assert_eq!(messages.len(), 10);
    assert_eq!(
        messages[0].message_id,
        "956dd85e-a4f5-49d5-955a-b81eeb48d854"
    );
    assert_eq!(messages[0].receipt_handle, "qffqrjeajharrvlucagz");
    assert_eq!(messages[3].body(), Ok("echo 3"));
    assert_eq!((messages[0].count(), messages[0].group()), (1, None));
    assert_eq!(messages[0].form(), BodyForm::Unmarked);
    assert!(client.receive(URL, &RECEIVE).unwrap().is_empty());
    let call = json!({"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": 30,
        "AttributeNames": ["All"], "MessageAttributeNames": ["All"]});
    assert_eq!(body_of(&server, 0), call);
}

#[test]
fn a_damaged_message_is_told_from_the_others() {
    let damaged = captured("json-raw/007")
        .2
        .replace("\"echo 2\"", "\"echo 3\"");
    let server = Replay::start(move |_| (200, String::new(), damaged.clone()));
    let messages = server.client().receive(URL, &RECEIVE).unwrap();
    let is_good = |at: usize| messages[at].body().is_ok();
    assert!(is_good(1) && !is_good(2) && is_good(3));
}

#[test]
fn each_entry_has_its_outcome() {
    let server = Replay::of_captures(&["json-raw/009", "json-raw/010", "json-raw/011"]);
    let client = server.client();
    let lease = Duration::from_secs(60);
    let faults = |outcomes: Vec<Result<(), SqsError>>| -> Vec<Option<SqsFault>> {
        outcomes
            .into_iter()
            .map(|o| o.err().map(|e| e.fault))
            .collect()
    };
    let half = [None, Some(SqsFault::LeaseLost)];
    let changed = client.change_visibility(URL, &[("r", lease), ("junk", lease)]);
    assert_eq!(faults(changed.unwrap()), half);
    let entry = json!({"Id": "1", "ReceiptHandle": "junk", "VisibilityTimeout": 60});
    assert_eq!(body_of(&server, 0)["Entries"][1], entry);
    assert_eq!(faults(client.delete(URL, &["r", "junk"]).unwrap()), half);
    assert_eq!(faults(client.delete(URL, &["r"; 10]).unwrap()), [None; 10]);
}

/// A captured error, the error that it is read as, and its code.
type Case = (&'static str, SqsFault, &'static str);

#[test]
fn errors_are_told_apart() {
    const NONE: &str = "AWS.SimpleQueueService.NonExistentQueue";
    let send = |client: &SqsClient| client.send(URL, &message("x")).map(drop);
    let change = |client: &SqsClient| {
        let changed = client.change_visibility(URL, &[("r", Duration::ZERO)]);
        changed.map(drop)
    };
    let url = |client: &SqsClient| client.queue_url("q").map(drop);
    let batch = |client: &SqsClient| {
        let report = client.send_batch(URL, &[(0, message("x"))])?;
        let failed = report.failed.into_iter().next();
        failed.map_or(Ok(()), |(_, e)| Err(e))
    };
    let check = |(name, fault, code): Case, call: &dyn Fn(&SqsClient) -> Result<(), SqsError>| {
        let server = Replay::start(move |_| captured(name));
        let error = call(&server.client()).unwrap_err();
        assert_eq!(
            (error.fault, error.code.as_str()),
            (fault, code),
            "{name}: {error}"
        );
        assert!(!error.message.is_empty() && !error.to_string().contains('\n'));
    };
    check(
        ("json-raw/004", SqsFault::QueueExists, "QueueAlreadyExists"),
        &url,
    );
    check(
        (
            "json-raw/012",
            SqsFault::LeaseLost,
            "ReceiptHandleIsInvalid",
        ),
        &change,
    );
    let too_long = "AWS.SimpleQueueService.BatchRequestTooLong";
    check(("json-raw/014", SqsFault::TooLong, too_long), &batch);
    let repeated = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
    check(("json-raw/015", SqsFault::Other, repeated), &batch);
    check(
        (
            "json-raw/016",
            SqsFault::BadMessage,
            "InvalidParameterValue",
        ),
        &send,
    );
    check(("json-raw/018", SqsFault::NoQueue, NONE), &url);
    check(("json-raw/019", SqsFault::NoQueue, NONE), &send);
    // XML, to a call in JSON.
    check(("v1-access-denied/001", SqsFault::NoQueue, NONE), &url);
    check(
        ("v1-access-denied/003", SqsFault::Denied, "AccessDenied"),
        &url,
    );
    check(
        (
            "v1-wrong-secret/001",
            SqsFault::BadSignature,
            "SignatureDoesNotMatch",
        ),
        &url,
    );
    check(
        (
            "v1-unknown-key/001",
            SqsFault::StaleKeys,
            "InvalidClientTokenId",
        ),
        &url,
    );
}

#[test]
fn refusals_say_what_to_provide() {
    let server = Replay::of_captures(&["v1-access-denied/003"]);
    let error = server.client().queue_url("q").unwrap_err().to_string();
    assert_eq!(
        error,
        "GetQueueUrl: User: arn:aws:iam::123456789012:user/q is not authorized to perform: sqs:CreateQueue \
         (AccessDenied); give credentials by --profile, by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in \
         ~/.aws/credentials, or by a role of this machine or container"
    );
}

#[test]
fn an_empty_answer_is_a_success() {
    let server = Replay::start(|_| (200, String::new(), String::new()));
    let client = server.client();
    assert_eq!(client.delete_queue(URL), Ok(()));
    assert!(client.receive(URL, &RECEIVE).unwrap().is_empty());
    // A call whose answer has something to say got none.
    assert!(client.queue_url("q").unwrap_err().is_temporary());
    assert!(
        client.delete(URL, &["r"]).unwrap()[0]
            .as_ref()
            .unwrap_err()
            .is_temporary()
    );
}

#[test]
fn metrics_are_read_and_kept() {
    let silent = "v1-idle-queues-active-metric/003";
    let server = Replay::start(move |seen| match &seen.body {
        body if body.contains("NumberOfMessagesReceived") => {
            captured("v1-idle-queues-active-metric/004")
        }
        body if body.contains("PutMetricData") => captured("v2-monitor-save/006"),
        body if body.contains("Deleted") => (200, String::new(), "<Other/>".to_owned()),
        _ => captured(silent),
    });
    let metrics = CloudWatch::new(&access(&server.url(), &[]), Patience::BRIDGE).unwrap();
    let end = Wall::parse("2026-11-27T07:08:14.9Z").unwrap();
    let start = Wall::parse("2026-11-27T06:08:14Z").unwrap();
    let is_active = |metric| metrics.is_active("qdone_a", metric, start, end);
    assert_eq!(is_active("NumberOfMessagesSent"), Ok(false));
    assert_eq!(is_active("NumberOfMessagesReceived"), Ok(true));
    assert!(is_active("NumberOfMessagesDeleted").is_err());
    let seen = server.seen();
    assert_eq!(
        seen[0].body,
        "Action=GetMetricStatistics&Dimensions.member.1.Name=QueueName&Dimensions.member.1.Value=qdone_a&\
         EndTime=2026-11-27T07%3A08%3A14Z&MetricName=NumberOfMessagesSent&Namespace=AWS%2FSQS&Period=3600&\
         StartTime=2026-11-27T06%3A08%3A14Z&Statistics.member.1=Sum&Version=2010-08-01"
    );
    assert!(seen[0].headers["authorization"].contains("/us-east-1/monitoring/aws4_request"));
    let datum = Datum {
        name: "totalQueues",
        dimension: ("queueName", "qdone_n*"),
        at: Wall::parse("2026-11-27T06:59:45Z").unwrap(),
        value: 4.0,
    };
    metrics.put("qmonitor", &[datum]).unwrap();
    let body = &server.seen()[3].body;
    let wanted = "Namespace=qmonitor&Version=2010-08-01&MetricData.member.1.MetricName=totalQueues&\
                  MetricData.member.1.Dimensions.member.1.Name=queueName&\
                  MetricData.member.1.Dimensions.member.1.Value=qdone_n%2A&\
                  MetricData.member.1.Timestamp=2026-11-27T06%3A59%3A45Z&MetricData.member.1.Value=4&\
                  MetricData.member.1.Unit=Count";
    assert_eq!(body, &format!("Action=PutMetricData&{wanted}"));
}
