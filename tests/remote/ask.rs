//! Unsigned requests to a stand-in for SQS, to prepare a test and to look at what came of it.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A stand-in, by its port on the loopback.
#[derive(Clone, Copy)]
pub struct Asker(pub u16);

impl Asker {
    /// Makes one call; gives the status and the answer.
    pub fn ask(self, operation: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        // Moto takes service and region from the credential.
        let head = format!(
            "POST / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/x-amz-json-1.0\r\nx-amz-target: AmazonSQS.{operation}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n",
            self.0,
            body.len()
        );
        let (status, body) = self.exchange(&format!("{head}{body}"));
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn exchange(self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Makes a metric of a queue have a sum in the past minute.
    pub fn put_metric(self, queue: &str, metric: &str, sum: u32) {
        // Moto leaves out those of the present second.
        let date = ["-u", "-d", "1 minute ago", "+%Y-%m-%dT%H%%3A%M%%3A%SZ"];
        let date = std::process::Command::new("date")
            .args(date)
            .output()
            .unwrap();
        let date = String::from_utf8(date.stdout).unwrap();
        let body = format!(
            "Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FSQS&MetricData.member.1.MetricName={metric}&\
             MetricData.member.1.Dimensions.member.1.Name=QueueName&MetricData.member.1.Dimensions.member.1.Value={queue}&\
             MetricData.member.1.Value={sum}&MetricData.member.1.Timestamp={}",
            date.trim()
        );
        let head = format!(
            "POST / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/monitoring/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\r\n",
            self.0,
            body.len()
        );
        assert_eq!(self.exchange(&format!("{head}{body}")).0, 200);
    }

    /// Makes a call that must succeed.
    pub fn must(self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(operation, body);
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// Makes a queue, FIFO if it is called so; gives its URL.
    pub fn make(self, name: &str) -> String {
        self.make_with(name, &json!({}))
    }

    /// Makes a queue and its fail queue, as qdone would; gives the URL of the first.
    pub fn make_pair(self, name: &str, max_receives: u32) -> String {
        let fail = match name.strip_suffix(".fifo") {
            Some(stem) => format!("{stem}_failed.fifo"),
            None => format!("{name}_failed"),
        };
        self.make(&fail);
        let arn = format!("arn:aws:sqs:us-east-1:123456789012:{fail}");
        let policy =
            json!({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives.to_string()});
        self.make_with(name, &json!({"RedrivePolicy": policy.to_string()}))
    }

    fn make_with(self, name: &str, attributes: &Value) -> String {
        let mut attributes = attributes.clone();
        if name.ends_with(".fifo") {
            attributes["FifoQueue"] = json!("true");
        }
        let call = json!({"QueueName": name, "Attributes": attributes});
        let made = self.must("CreateQueue", &call);
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// The URL of a queue, if it exists.
    pub fn url(self, name: &str) -> Option<String> {
        let (status, answer) = self.ask("GetQueueUrl", &json!({ "QueueName": name }));
        (status == 200).then(|| answer["QueueUrl"].as_str().unwrap().to_owned())
    }

    /// Sends a message, in the group `g` to a FIFO queue; gives its id.
    pub fn send(self, name: &str, text: &str) -> String {
        self.send_in(name, text, "g")
    }

    /// As [`Self::send`], in this group.
    pub fn send_in(self, name: &str, text: &str, group: &str) -> String {
        let mut call = json!({"QueueUrl": self.url(name).unwrap(), "MessageBody": text});
        if name.ends_with(".fifo") {
            static SENT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
            let n = SENT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            call["MessageGroupId"] = json!(group);
            call["MessageDeduplicationId"] = json!(n.to_string());
        }
        let sent = self.must("SendMessage", &call);
        sent["MessageId"].as_str().unwrap().to_owned()
    }

    /// The attributes of a queue.
    pub fn attributes(self, name: &str) -> Value {
        let call = json!({"QueueUrl": self.url(name).unwrap(), "AttributeNames": ["All"]});
        self.must("GetQueueAttributes", &call)["Attributes"].clone()
    }

    /// How many messages can be received, and how many are leased.
    pub fn counts(self, name: &str) -> (u32, u32) {
        let attributes = self.attributes(name);
        let count = |key: &str| attributes[key].as_str().unwrap().parse().unwrap();
        (
            count("ApproximateNumberOfMessages"),
            count("ApproximateNumberOfMessagesNotVisible"),
        )
    }

    /// Receives all that can be received, for an hour; gives ids and texts, in their order.
    pub fn take_all(self, name: &str) -> Vec<(String, String)> {
        let call = json!({"QueueUrl": self.url(name).unwrap(), "MaxNumberOfMessages": 10, "VisibilityTimeout": 3600});
        let mut all = Vec::new();
        loop {
            let got = self.must("ReceiveMessage", &call);
            let Some(messages) = got["Messages"].as_array().filter(|m| !m.is_empty()) else {
                return all;
            };
            let text = |message: &Value, key: &str| message[key].as_str().unwrap().to_owned();
            all.extend(
                messages
                    .iter()
                    .map(|m| (text(m, "MessageId"), text(m, "Body"))),
            );
        }
    }
}
