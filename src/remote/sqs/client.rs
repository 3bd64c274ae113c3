//! The calls of SQS.

use super::caller::{AwsAccess, AwsCaller, Patience};
use super::endpoint::AwsService;
use super::error::{SqsError, SqsFault};
use super::signed::Unsigned;
use super::transport::Limits;
use super::wire::{
    AttributesAnswer, BatchAnswer, DAMAGED, EntryToSend, MessageText, MessageToSend, QueuesAnswer,
    ReceiveAnswer, SendAnswer, Succeeded, UrlAnswer, md5,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most entries of one request.
pub const MOST_ENTRIES: usize = 10;

/// The most bytes of messages in one request, as old servers have it. A message that is larger goes alone.
const MOST_BYTES: usize = 262_144;

/// The longest that a message can be held, in seconds: 12 hours.
pub const LONGEST_LEASE: u64 = 43_200;

/// The longest wait of a receive, in seconds.
pub const LONGEST_WAIT: u64 = 20;

/// The silence of the server that is borne beyond the wait that was asked for.
const SILENCE: Duration = Duration::from_secs(10);

/// Text attributes of a queue, by name.
pub type QueueAttributes = BTreeMap<String, String>;

/// A client of SQS. Threads share it. Each method repeats its call as the client's patience allows.
pub struct SqsClient {
    caller: AwsCaller,
}

/// How to receive.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveTerms<'a> {
    /// The most messages, 1 to 10.
    pub most: usize,
    /// How long the server waits for the first message; whole seconds, at most 20.
    pub wait: Duration,
    /// How long nobody else receives them; whole seconds, at most 12 hours.
    pub lease: Duration,
    /// On FIFO queues, a receive with the id of an earlier one gets the same messages, if their lease has not ended.
    pub attempt: Option<&'a str>,
}

/// How many messages a queue holds. The numbers are approximate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages to be received.
    pub waiting: u64,
    /// Messages that are leased to somebody.
    pub leased: u64,
    /// Messages that nobody may receive yet.
    pub delayed: u64,
}

impl QueueCounts {
    /// The attributes that hold them.
    pub const ATTRIBUTES: [&str; 3] = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ];

    /// Reads them. Errors: one is missing, or is no number.
    pub fn read(attributes: &QueueAttributes) -> Result<Self, SqsError> {
        let count = |name: &str| {
            let text = attributes.get(name);
            let why = || format!("{name} is missing, or is no number");
            text.and_then(|text| text.parse().ok())
                .ok_or_else(|| SqsError::own(SqsFault::Other, "GetQueueAttributes", why()))
        };
        let [waiting, leased, delayed] = Self::ATTRIBUTES;
        Ok(Self {
            waiting: count(waiting)?,
            leased: count(leased)?,
            delayed: count(delayed)?,
        })
    }

    /// True if there are none at all.
    pub fn are_zero(self) -> bool {
        self.waiting == 0 && self.leased == 0 && self.delayed == 0
    }
}

/// A message and the number that its entry has in a batch.
pub type NumberedMessage<'a> = (u64, MessageToSend<'a>);

/// The answers about a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// The ids of the messages that were sent, with their numbers, in the order in which they were given.
    pub sent: Vec<(u64, String)>,
    /// The others.
    pub failed: Vec<(u64, SqsError)>,
}

impl SqsClient {
    /// A client. Errors: the settings of the endpoint are wrong.
    pub fn new(access: &Arc<AwsAccess>, patience: Patience) -> Result<Self, SqsError> {
        let caller = AwsCaller::new(access, AwsService::Sqs, patience)?;
        Ok(Self { caller })
    }

    /// Connections, credentials and settings.
    pub fn access(&self) -> &Arc<AwsAccess> {
        self.caller.access()
    }

    /// The address that all calls go to.
    pub fn endpoint(&self) -> &str {
        &self.caller.endpoint().url
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.caller.endpoint().region
    }

    /// The URL of a queue.
    pub fn queue_url(&self, name: &str) -> Result<String, SqsError> {
        let answer: UrlAnswer = self.call("GetQueueUrl", json!({ "QueueName": name }))?;
        Ok(answer.queue_url)
    }

    /// Creates a queue and gives its URL. A queue that is there with the same attributes is no error.
    pub fn create_queue(
        &self,
        name: &str,
        attributes: &QueueAttributes,
        tags: &BTreeMap<String, String>,
    ) -> Result<String, SqsError> {
        let mut body = json!({ "QueueName": name });
        if !attributes.is_empty() {
            body["Attributes"] = json!(attributes);
        }
        if !tags.is_empty() {
            body["tags"] = json!(tags);
        }
        let answer: UrlAnswer = self.call("CreateQueue", body)?;
        Ok(answer.queue_url)
    }

    /// The attributes of a queue that have these names and are set.
    pub fn attributes(&self, url: &str, names: &[&str]) -> Result<QueueAttributes, SqsError> {
        let body = json!({ "QueueUrl": url, "AttributeNames": names });
        let answer: AttributesAnswer = self.call("GetQueueAttributes", body)?;
        Ok(answer.attributes)
    }

    /// Sets attributes of a queue.
    pub fn set_attributes(&self, url: &str, attributes: &QueueAttributes) -> Result<(), SqsError> {
        let body = json!({ "QueueUrl": url, "Attributes": attributes });
        self.call::<Value>("SetQueueAttributes", body).map(drop)
    }

    /// How many messages a queue holds.
    pub fn counts(&self, url: &str) -> Result<QueueCounts, SqsError> {
        let attributes = self.attributes(url, &QueueCounts::ATTRIBUTES)?;
        QueueCounts::read(&attributes)
    }

    /// The URLs of all queues whose names begin with `prefix`, sorted.
    pub fn list_queues(&self, prefix: &str) -> Result<Vec<String>, SqsError> {
        let mut urls = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut body = json!({ "MaxResults": 1000 });
            if !prefix.is_empty() {
                body["QueueNamePrefix"] = prefix.into();
            }
            if let Some(token) = token {
                body["NextToken"] = token.into();
            }
            let answer: QueuesAnswer = self.call("ListQueues", body)?;
            urls.extend(answer.queue_urls);
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                urls.sort();
                urls.dedup();
                return Ok(urls);
            }
        }
    }

    /// Deletes a queue and its messages.
    pub fn delete_queue(&self, url: &str) -> Result<(), SqsError> {
        self.call::<Value>("DeleteQueue", json!({ "QueueUrl": url }))
            .map(drop)
    }

    /// Sends a message and gives its id.
    pub fn send(&self, url: &str, message: &MessageToSend<'_>) -> Result<String, SqsError> {
        let mut fields = message.fields();
        fields.insert("QueueUrl".to_owned(), url.into());
        let answer: SendAnswer = self.call("SendMessage", Value::Object(fields))?;
        check_md5(&md5(message.body), &answer.md5, "SendMessage")?;
        Ok(answer.message_id)
    }

    /// Cuts a list of messages into batches that the server takes: at most 10 messages and 262,144 bytes each.
    pub fn batches<'m, 'a>(messages: &'m [NumberedMessage<'a>]) -> Vec<&'m [NumberedMessage<'a>]> {
        let (mut batches, mut rest) = (Vec::new(), messages);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(_, message): &&NumberedMessage<'_>| {
                bytes += message.size();
                bytes <= MOST_BYTES
            };
            let count = rest.iter().take(MOST_ENTRIES).take_while(fits).count();
            let (batch, after) = rest.split_at(count.max(1));
            batches.push(batch);
            rest = after;
        }
        batches
    }

    /// Sends a batch. If the server finds it too long, it is halved. Entries that may succeed the next time are sent
    /// again, with the same ids for deduplication. Errors: the whole request failed.
    pub fn send_batch(
        &self,
        url: &str,
        batch: &[NumberedMessage<'_>],
    ) -> Result<BatchReport, SqsError> {
        let entry = |(number, message): &NumberedMessage<'_>| EntryToSend::new(*number, message);
        self.send_all(url, batch.iter().map(entry).collect())
    }

    /// Sends records of ended jobs, numbered from 0, marked as results. There are at most 10.
    pub fn send_results(&self, url: &str, records: &[&str]) -> Result<BatchReport, SqsError> {
        let entries = records.iter().zip(0..);
        let entry = |(record, number): (&&str, u64)| EntryToSend::result(number, record);
        self.send_all(url, entries.map(entry).collect())
    }

    fn send_all(&self, url: &str, batch: Vec<EntryToSend>) -> Result<BatchReport, SqsError> {
        let mut report = BatchReport::default();
        let mut tries = self.caller.patience().tries();
        let mut left: Vec<&EntryToSend> = batch.iter().collect();
        while !left.is_empty() {
            let failed = self.send_entries(url, &left, &mut report)?;
            left.retain(|entry| failed.iter().any(|(number, _)| *number == entry.number));
            if !left.is_empty() && !tries.wait() {
                report.failed.extend(failed);
                break;
            }
        }
        let place = |number: u64| batch.iter().position(|entry| entry.number == number);
        report.sent.sort_by_key(|(number, _)| place(*number));
        report.failed.sort_by_key(|(number, _)| place(*number));
        Ok(report)
    }

    /// Sends these and reports about them, but for those that may succeed the next time.
    fn send_entries(
        &self,
        url: &str,
        entries: &[&EntryToSend],
        report: &mut BatchReport,
    ) -> Result<Vec<(u64, SqsError)>, SqsError> {
        const OPERATION: &str = "SendMessageBatch";
        let fields: Vec<_> = entries.iter().map(|entry| &entry.fields).collect();
        let body = json!({ "QueueUrl": url, "Entries": fields });
        let answer = match self.call::<BatchAnswer<SendAnswer>>(OPERATION, body) {
            Err(e) if e.fault == SqsFault::TooLong && entries.len() > 1 => {
                let (first, second) = entries.split_at(entries.len() / 2);
                let mut again = self.send_entries(url, first, report)?;
                again.extend(self.send_entries(url, second, report)?);
                return Ok(again);
            }
            // The others of the batch are not to wait for this one.
            Err(e)
                if matches!(e.fault, SqsFault::TooLong | SqsFault::BadMessage)
                    && entries.len() == 1 =>
            {
                report
                    .failed
                    .extend(entries.iter().map(|entry| (entry.number, e.clone())));
                return Ok(Vec::new());
            }
            answer => answer?,
        };
        let mut again = Vec::new();
        for EntryToSend { number, md5, .. } in entries {
            let id = number.to_string();
            let sent = answer.successful.iter().find(|entry| entry.id == id);
            let failed = answer.failed.iter().find(|entry| entry.id == id);
            let outcome = match (sent, failed) {
                (Some(entry), _) => check_md5(md5, &entry.rest.md5, OPERATION)
                    .map(|()| entry.rest.message_id.clone()),
                (None, Some(entry)) => Err(entry.error(OPERATION)),
                (None, None) => Err(unanswered(OPERATION)),
            };
            match outcome {
                Ok(message_id) => report.sent.push((*number, message_id)),
                Err(e) if e.is_temporary() => again.push((*number, e)),
                Err(e) => report.failed.push((*number, e)),
            }
        }
        Ok(again)
    }

    /// Receives messages.
    pub fn receive(
        &self,
        url: &str,
        terms: &ReceiveTerms<'_>,
    ) -> Result<Vec<MessageText>, SqsError> {
        let wait = terms.wait.as_secs().min(LONGEST_WAIT);
        let mut body = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": terms.most.clamp(1, MOST_ENTRIES),
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": whole_seconds(terms.lease),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        if let Some(attempt) = terms.attempt {
            body["ReceiveRequestAttemptId"] = attempt.into();
        }
        let silence = Duration::from_secs(wait) + SILENCE;
        let answer: ReceiveAnswer = self.call_within("ReceiveMessage", &body, silence)?;
        Ok(answer.messages)
    }

    /// Sets for how long nobody else receives messages, from now on: whole seconds, rounded up, at most 12 hours. One
    /// outcome for each, in order.
    pub fn change_visibility(
        &self,
        url: &str,
        receipts: &[(&str, Duration)],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let fields = receipts.iter().map(|(receipt, lease)| {
            json!({ "ReceiptHandle": receipt, "VisibilityTimeout": whole_seconds(*lease) })
        });
        self.batch(
            "ChangeMessageVisibilityBatch",
            url,
            &fields.collect::<Vec<_>>(),
        )
    }

    /// Deletes messages. Deleting one again succeeds. One outcome for each, in order.
    pub fn delete(
        &self,
        url: &str,
        receipts: &[&str],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let fields = receipts
            .iter()
            .map(|receipt| json!({ "ReceiptHandle": receipt }));
        self.batch("DeleteMessageBatch", url, &fields.collect::<Vec<_>>())
    }

    /// Makes a call about receipts, ten at a time, and repeats it for those that may succeed the next time.
    fn batch(
        &self,
        operation: &'static str,
        url: &str,
        entries: &[Value],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let mut outcomes = vec![Err(unanswered(operation)); entries.len()];
        let mut tries = self.caller.patience().tries();
        loop {
            let is_open = |at: &usize| outcomes[*at].as_ref().is_err_and(SqsError::is_temporary);
            let open: Vec<usize> = (0..entries.len()).filter(is_open).collect();
            for part in open.chunks(MOST_ENTRIES) {
                let fields = part.iter().map(|at| {
                    let mut fields = entries[*at].clone();
                    fields["Id"] = at.to_string().into();
                    fields
                });
                let body = json!({ "QueueUrl": url, "Entries": fields.collect::<Vec<_>>() });
                let answer: BatchAnswer<Succeeded> = self.call(operation, body)?;
                for at in part {
                    let text = at.to_string();
                    let failed = answer.failed.iter().find(|entry| entry.id == text);
                    let is_done = answer.successful.iter().any(|entry| entry.id == text);
                    outcomes[*at] = match failed {
                        Some(entry) => Err(entry.error(operation)),
                        None if is_done => Ok(()),
                        None => Err(unanswered(operation)),
                    };
                }
            }
            let is_open =
                |outcome: &Result<_, SqsError>| outcome.as_ref().is_err_and(SqsError::is_temporary);
            if !outcomes.iter().any(is_open) || !tries.wait() {
                return Ok(outcomes);
            }
        }
    }

    fn call<T: DeserializeOwned>(&self, operation: &str, body: Value) -> Result<T, SqsError> {
        self.call_within(operation, &body, SILENCE)
    }

    fn call_within<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &Value,
        silence: Duration,
    ) -> Result<T, SqsError> {
        let target = format!("AmazonSQS.{operation}");
        let request = Unsigned {
            operation,
            content_type: "application/x-amz-json-1.0",
            // With the mode AWS also sends the error codes of old: they are more exact.
            headers: &[("x-amz-target", &target), ("x-amzn-query-mode", "true")],
            body: &body.to_string(),
            limits: Limits {
                silence,
                ..Limits::PROMPT
            },
        };
        self.caller.call(&request, |body| {
            let body = if body.is_empty() { "{}" } else { body };
            serde_json::from_str(body).map_err(|e| format!("the answer is not as expected: {e}"))
        })
    }
}

/// Compares the checksum of a body with the one in an answer.
fn check_md5(ours: &str, theirs: &str, operation: &str) -> Result<(), SqsError> {
    match ours.eq_ignore_ascii_case(theirs) {
        true => Ok(()),
        false => Err(SqsError::own(SqsFault::Other, operation, DAMAGED)),
    }
}

/// The server has left an entry out of its answer.
fn unanswered(operation: &str) -> SqsError {
    let why = "the answer says nothing about an entry";
    SqsError::own(SqsFault::Temporary, operation, why)
}

fn whole_seconds(span: Duration) -> u64 {
    let up = u64::from(span.subsec_nanos() > 0);
    (span.as_secs() + up).min(LONGEST_LEASE)
}
