//! The JSON of calls and answers.

use super::error::SqsError;
use crate::core::hex::hex;
use crate::remote::engine::BodyForm;
use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The message attribute that tells the form of a body.
const FORMAT: &str = "PirnFormat";

/// Its value for the records of ended jobs.
const RESULT: &str = "result";

/// The text of errors about bodies whose checksum is wrong.
pub const DAMAGED: &str = "the checksum of the body is wrong: it was changed on its way";

/// A message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageToSend<'a> {
    /// Its text.
    pub body: &'a str,
    /// The form of the text. An unmarked message is like those of qdone.
    pub form: BodyForm,
    /// Its group, for FIFO queues.
    pub group: Option<&'a str>,
    /// Two messages with the same one are the same message for five minutes. For FIFO queues.
    pub deduplication: Option<&'a str>,
    /// Nobody receives it before so many seconds have passed, at most 900.
    pub delay: Option<u32>,
}

impl MessageToSend<'_> {
    /// Its fields in a request.
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        set("MessageBody", self.body.into());
        if let Some(group) = self.group {
            set("MessageGroupId", group.into());
        }
        if let Some(id) = self.deduplication {
            set("MessageDeduplicationId", id.into());
        }
        if let Some(seconds) = self.delay {
            set("DelaySeconds", seconds.into());
        }
        if let Some(word) = word(self.form) {
            set("MessageAttributes", mark(word));
        }
        fields
    }

    /// Its size as SQS counts it, in bytes.
    pub fn size(&self) -> usize {
        let mark = word(self.form).map_or(0, |word| FORMAT.len() + "String".len() + word.len());
        self.body.len() + mark
    }
}

/// A message of a batch.
#[derive(Debug)]
pub struct EntryToSend {
    /// The number that we give it.
    pub number: u64,
    /// The checksum of its body.
    pub md5: String,
    /// Its fields in the request.
    pub fields: Map<String, Value>,
}

impl EntryToSend {
    /// An entry for a message.
    pub fn new(number: u64, message: &MessageToSend<'_>) -> Self {
        let mut fields = message.fields();
        fields.insert("Id".to_owned(), number.to_string().into());
        Self {
            number,
            md5: md5(message.body),
            fields,
        }
    }

    /// An entry for the record of an ended job.
    pub fn result(number: u64, record: &str) -> Self {
        let message = MessageToSend {
            body: record,
            form: BodyForm::Unmarked,
            group: None,
            deduplication: None,
            delay: None,
        };
        let mut entry = Self::new(number, &message);
        let name = "MessageAttributes".to_owned();
        entry.fields.insert(name, mark(RESULT));
        entry
    }
}

fn mark(word: &str) -> Value {
    json!({ FORMAT: { "DataType": "String", "StringValue": word } })
}

fn word(form: BodyForm) -> Option<&'static str> {
    match form {
        BodyForm::Record => Some("record"),
        BodyForm::Command => Some("command"),
        BodyForm::Unmarked => None,
    }
}

/// Reads a field that may be `null`, as some servers write it.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The checksum that SQS answers with.
pub fn md5(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// The answer to GetQueueUrl and CreateQueue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UrlAnswer {
    /// The URL.
    pub queue_url: String,
}

/// The answer to GetQueueAttributes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributesAnswer {
    /// The attributes by name. Attributes that the queue does not have are absent.
    #[serde(default, deserialize_with = "or_none")]
    pub attributes: BTreeMap<String, String>,
}

/// The answer to ListQueues.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueuesAnswer {
    /// The URLs. Absent if there are none.
    #[serde(default, deserialize_with = "or_none")]
    pub queue_urls: Vec<String>,
    /// Leads to the next page.
    pub next_token: Option<String>,
}

/// The answer to SendMessage.
#[derive(Debug, Deserialize)]
pub struct SendAnswer {
    /// The id of the message.
    #[serde(rename = "MessageId")]
    pub message_id: String,
    /// The checksum of its body.
    #[serde(rename = "MD5OfMessageBody")]
    pub md5: String,
}

/// The answer to a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchAnswer<T> {
    /// The entries that succeeded.
    #[serde(default = "Vec::new")]
    pub successful: Vec<Entry<T>>,
    /// The entries that failed.
    #[serde(default, deserialize_with = "or_none")]
    pub failed: Vec<FailedEntry>,
}

/// An entry that succeeded.
#[derive(Debug, Deserialize)]
pub struct Entry<T> {
    /// The number that we gave it.
    #[serde(rename = "Id")]
    pub id: String,
    /// The rest.
    #[serde(flatten)]
    pub rest: T,
}

/// An entry of an answer that says no more than that it succeeded.
#[derive(Debug, Deserialize)]
pub struct Succeeded {}

/// An entry that failed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedEntry {
    /// The number that we gave it.
    pub id: String,
    /// The error's code.
    pub code: String,
    /// The error, for people.
    #[serde(default)]
    pub message: String,
    /// False if it may succeed the next time.
    #[serde(default)]
    pub sender_fault: bool,
}

impl FailedEntry {
    /// The error.
    pub fn error(&self, operation: &str) -> SqsError {
        let status = if self.sender_fault { 400 } else { 500 };
        SqsError::coded(operation, &self.code, status, &self.message)
    }
}

/// The answer to ReceiveMessage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceiveAnswer {
    /// The messages. Absent if there are none.
    #[serde(default, deserialize_with = "or_none")]
    pub messages: Vec<MessageText>,
}

/// A message of an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageText {
    /// Its id, the same at each receive.
    pub message_id: String,
    /// Names this receive of it.
    pub receipt_handle: String,
    #[serde(default)]
    body: String,
    #[serde(rename = "MD5OfBody")]
    md5: String,
    #[serde(default, deserialize_with = "or_none")]
    attributes: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "or_none")]
    message_attributes: BTreeMap<String, AttributeText>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeText {
    string_value: Option<String>,
}

impl MessageText {
    /// Its text. Errors: the text was damaged.
    pub fn body(&self) -> Result<&str, &'static str> {
        match md5(&self.body).eq_ignore_ascii_case(&self.md5) {
            true => Ok(&self.body),
            false => Err(DAMAGED),
        }
    }

    /// How often it was received, this time included; 1 if the server does not say.
    pub fn count(&self) -> u32 {
        let count = self.attribute("ApproximateReceiveCount");
        count.and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// Its group, on FIFO queues.
    pub fn group(&self) -> Option<&str> {
        self.attribute("MessageGroupId")
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_deref()
    }

    /// The form of its body, as its sender has marked it.
    pub fn form(&self) -> BodyForm {
        let mark = self.message_attributes.get(FORMAT);
        match mark.and_then(|mark| mark.string_value.as_deref()) {
            Some("record") => BodyForm::Record,
            Some("command") => BodyForm::Command,
            Some(_) | None => BodyForm::Unmarked,
        }
    }
}
