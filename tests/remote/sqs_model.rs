//! Queues as SQS keeps them: visibility, receive counts, the fail queue, the groups of FIFO queues.

use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An error that a client made: its code (with the older spelling, where there are two), and what it says.
pub struct Refusal(pub &'static str, pub &'static str, pub String);

pub type Answered = Result<Value, Refusal>;

/// All queues, by name.
#[derive(Default)]
pub struct Queues {
    by_name: BTreeMap<String, Queue>,
    count: u64,
    pub port: u16,
}

#[derive(Default)]
struct Queue {
    attributes: BTreeMap<String, String>,
    messages: Vec<Stored>,
    /// Ids of messages by their deduplication ids.
    seen: BTreeMap<String, String>,
}

#[derive(Clone)]
struct Stored {
    id: String,
    body: String,
    attributes: Value,
    group: Option<String>,
    visible_at: Instant,
    count: u32,
    receipt: Option<String>,
}

pub fn md5_hex(text: &str) -> String {
    let hash = Md5::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Queues {
    fn url(&self, name: &str) -> Value {
        json!({"QueueUrl": format!("http://127.0.0.1:{}/123456789012/{name}", self.port)})
    }

    fn named(&mut self, name: &str) -> Result<&mut Queue, Refusal> {
        self.by_name.get_mut(name).ok_or_else(|| {
            let what = "The specified queue does not exist.".to_owned();
            let older = "AWS.SimpleQueueService.NonExistentQueue";
            Refusal("QueueDoesNotExist", older, what)
        })
    }

    fn of(&mut self, call: &Value) -> Result<&mut Queue, Refusal> {
        let url = text(&call["QueueUrl"]);
        self.named(url.rsplit('/').next().unwrap_or_default())
    }

    /// Carries out one call; `None` for an empty receive, which may be asked again until its wait is over.
    pub fn call(&mut self, operation: &str, call: &Value) -> Option<Answered> {
        Some(match operation {
            "GetQueueUrl" => {
                let name = text(&call["QueueName"]);
                let found = self.named(&name).map(drop);
                found.map(|()| self.url(&name))
            }
            "CreateQueue" => self.create(call),
            "DeleteQueue" => self.of(call).map(drop).map(|()| {
                let url = text(&call["QueueUrl"]);
                self.by_name
                    .remove(url.rsplit('/').next().unwrap_or_default());
                json!({})
            }),
            "ListQueues" => Ok(self.list(call)),
            "GetQueueAttributes" => self.of(call).map(|queue| queue.show()),
            "SendMessage" => self.send(call, call),
            "SendMessageBatch" => self.each(call, Self::send),
            "ReceiveMessage" => match self.receive(call) {
                Ok(messages) if messages.is_empty() => return None,
                received => received.map(|messages| json!({ "Messages": messages })),
            },
            "ChangeMessageVisibility" => self.change(call, call),
            "ChangeMessageVisibilityBatch" => self.each(call, Self::change),
            "DeleteMessage" => self.delete(call, call),
            "DeleteMessageBatch" => self.each(call, Self::delete),
            _ => Err(Refusal("InvalidAction", "", operation.to_owned())),
        })
    }

    fn create(&mut self, call: &Value) -> Answered {
        let name = text(&call["QueueName"]);
        let given = call["Attributes"].as_object().cloned().unwrap_or_default();
        let given: BTreeMap<String, String> =
            given.iter().map(|(k, v)| (k.clone(), text(v))).collect();
        if let Some(queue) = self.by_name.get(&name) {
            if given
                .iter()
                .any(|(key, value)| queue.attributes.get(key) != Some(value))
            {
                let what = "A queue already exists with the same name and a different value.";
                return Err(Refusal(
                    "QueueNameExists",
                    "QueueAlreadyExists",
                    what.to_owned(),
                ));
            }
            return Ok(self.url(&name));
        }
        let queue = Queue {
            attributes: given,
            ..Queue::default()
        };
        self.by_name.insert(name.clone(), queue);
        Ok(self.url(&name))
    }

    fn list(&self, call: &Value) -> Value {
        let prefix = text(&call["QueueNamePrefix"]);
        let most = call["MaxResults"].as_u64().unwrap_or(1000) as usize;
        let from = text(&call["NextToken"]);
        let fitting = self.by_name.keys().filter(|name| name.starts_with(&prefix));
        let mut names: Vec<&String> = fitting.filter(|name| **name >= from).collect();
        let rest = names.split_off(names.len().min(most));
        if names.is_empty() {
            return json!({});
        }
        let urls: Vec<Value> = names
            .iter()
            .map(|name| self.url(name)["QueueUrl"].clone())
            .collect();
        match rest.first() {
            Some(next) => json!({"QueueUrls": urls, "NextToken": next}),
            None => json!({ "QueueUrls": urls }),
        }
    }

    /// Carries out a batch, entry by entry.
    fn each(&mut self, call: &Value, one: fn(&mut Self, &Value, &Value) -> Answered) -> Answered {
        self.of(call)?;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for entry in call["Entries"].as_array().into_iter().flatten() {
            match one(self, call, entry) {
                Ok(mut answer) => {
                    answer["Id"] = entry["Id"].clone();
                    done.push(answer);
                }
                Err(Refusal(code, _, what)) => failed.push(
                    json!({"Id": entry["Id"], "Code": code, "Message": what, "SenderFault": true}),
                ),
            }
        }
        Ok(json!({"Successful": done, "Failed": failed}))
    }

    fn send(&mut self, call: &Value, entry: &Value) -> Answered {
        self.count += 1;
        let id = format!("{:08x}-5e5e-4000-8000-0123456789ab", self.count);
        let queue = self.of(call)?;
        let body = text(&entry["MessageBody"]);
        let delay = queue.attributes.get("DelaySeconds");
        let delay = delay.and_then(|delay| delay.parse().ok()).unwrap_or(0);
        let delay = entry["DelaySeconds"].as_u64().unwrap_or(delay);
        let answer = |id: &str| json!({"MessageId": id, "MD5OfMessageBody": md5_hex(&body)});
        if let Some(dedup) = entry["MessageDeduplicationId"].as_str() {
            if let Some(known) = queue.seen.get(dedup) {
                return Ok(answer(known));
            }
            queue.seen.insert(dedup.to_owned(), id.clone());
        }
        queue.messages.push(Stored {
            id: id.clone(),
            body: body.clone(),
            attributes: entry["MessageAttributes"].clone(),
            group: entry["MessageGroupId"].as_str().map(str::to_owned),
            visible_at: Instant::now() + Duration::from_secs(delay),
            count: 0,
            receipt: None,
        });
        Ok(answer(&id))
    }

    fn receive(&mut self, call: &Value) -> Result<Vec<Value>, Refusal> {
        let most = call["MaxNumberOfMessages"].as_u64().unwrap_or(1) as usize;
        let lease = Duration::from_secs(call["VisibilityTimeout"].as_u64().unwrap_or(30));
        let now = Instant::now();
        let queue = self.of(call)?;
        let (fail, max) = queue.redrive();
        let is_leased = |m: &Stored| m.receipt.is_some() && m.visible_at > now;
        let leased = queue.messages.iter().filter(|m| is_leased(m));
        let busy: Vec<Option<String>> = leased.filter_map(|m| m.group.clone().map(Some)).collect();
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        queue.messages.retain_mut(|message| {
            if received.len() == most || message.visible_at > now || busy.contains(&message.group) {
                return true;
            }
            if message.count >= max {
                dead.push(message.clone());
                return false;
            }
            message.count += 1;
            message.visible_at = now + lease;
            let receipt = format!("receipt-{}-{}", message.id, message.count);
            let mut one = json!({
                "MessageId": message.id, "ReceiptHandle": receipt, "Body": message.body,
                "MD5OfBody": md5_hex(&message.body),
                "Attributes": {
                    "ApproximateReceiveCount": message.count.to_string(),
                    "SentTimestamp": "1795765019896"
                }
            });
            if let Some(group) = &message.group {
                one["Attributes"]["MessageGroupId"] = json!(group);
            }
            if !message.attributes.is_null() {
                one["MessageAttributes"] = message.attributes.clone();
            }
            received.push(one);
            message.receipt = Some(receipt);
            true
        });
        if let Ok(fail) = self.named(&fail) {
            for message in &mut dead {
                (message.count, message.receipt, message.visible_at) = (0, None, now);
            }
            fail.messages.append(&mut dead);
        }
        Ok(received)
    }

    fn change(&mut self, call: &Value, entry: &Value) -> Answered {
        let receipt = valid(&entry["ReceiptHandle"])?;
        let now = Instant::now();
        let queue = self.of(call)?;
        let message = queue
            .messages
            .iter_mut()
            .find(|m| m.receipt.as_ref() == Some(&receipt));
        let Some(message) = message.filter(|m| m.visible_at > now) else {
            let what = format!(
                "Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
            );
            return Err(Refusal("InvalidParameterValue", "", what));
        };
        let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or(0);
        message.visible_at = now + Duration::from_secs(seconds);
        Ok(json!({}))
    }

    fn delete(&mut self, call: &Value, entry: &Value) -> Answered {
        let receipt = valid(&entry["ReceiptHandle"])?;
        let queue = self.of(call)?;
        queue
            .messages
            .retain(|m| m.receipt.as_ref() != Some(&receipt));
        Ok(json!({}))
    }

    /// Lets the next receive have the message of this id, though somebody has it.
    pub fn show_again(&mut self, id: &str) {
        for queue in self.by_name.values_mut() {
            for message in queue.messages.iter_mut().filter(|m| m.id == id) {
                message.visible_at = Instant::now();
            }
        }
    }

    /// The texts in a queue, leased or not.
    pub fn bodies(&self, name: &str) -> Vec<String> {
        let queue = self.by_name.get(name);
        let messages = queue.into_iter().flat_map(|queue| &queue.messages);
        messages.map(|m| m.body.clone()).collect()
    }
}

fn valid(receipt: &Value) -> Result<String, Refusal> {
    let receipt = text(receipt);
    match receipt.starts_with("receipt-") {
        true => Ok(receipt),
        false => {
            let what =
                format!("The input receipt handle {receipt:?} is not a valid receipt handle.");
            Err(Refusal("ReceiptHandleIsInvalid", "", what))
        }
    }
}

impl Queue {
    /// The name of its fail queue, and after how many receives messages go there.
    fn redrive(&self) -> (String, u32) {
        let policy = self.attributes.get("RedrivePolicy");
        let policy = policy.and_then(|p| p.split_inclusive('}').next());
        let policy: Value = policy
            .and_then(|p| serde_json::from_str(p).ok())
            .unwrap_or_default();
        let max = &policy["maxReceiveCount"];
        let max = max.as_u64().or_else(|| max.as_str()?.parse().ok());
        let arn = text(&policy["deadLetterTargetArn"]);
        let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
        (name, max.map_or(u32::MAX, |max| max as u32))
    }

    fn show(&self) -> Value {
        let now = Instant::now();
        let count = |wanted: fn(&Stored) -> bool, is_visible: bool| {
            let fitting = self.messages.iter().filter(|m| wanted(m));
            fitting
                .filter(|m| (m.visible_at <= now) == is_visible)
                .count()
                .to_string()
        };
        let mut all = json!(self.attributes);
        all["ApproximateNumberOfMessages"] = count(|_| true, true).into();
        all["ApproximateNumberOfMessagesNotVisible"] = count(|m| m.count > 0, false).into();
        all["ApproximateNumberOfMessagesDelayed"] = count(|m| m.count == 0, false).into();
        json!({ "Attributes": all })
    }
}
