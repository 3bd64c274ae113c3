//! `enqueue` and `enqueue-batch`.

use super::batch::{self, QueueLines, check_body};
use super::options::{BatchArgs, Common, EnqueueArgs, Sending};
use super::plan::{plan, tell};
use super::say::Say;
use super::trouble::{QdoneError, other};
use crate::core::hex::hex;
use crate::core::qdone_names::{check, check_token, meant};
use crate::os::random;
use crate::remote::engine::BodyForm;
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::error::SqsError;
use crate::remote::sqs::queues::{QueueNews, QueueUrls};
use crate::remote::sqs::wire::MessageToSend;
use serde_json::json;
use std::io::Read;
use std::path::Path;

pub fn one(common: &Common, args: &EnqueueArgs, say: Say) -> Result<(), QdoneError> {
    let [queue, command] = &args.words[..] else {
        let what = "enqueue requires both <queue> and <command> arguments";
        return Err(QdoneError::Usage(what.to_owned()));
    };
    let names = common.names();
    let queue = meant(queue, args.sending.fifo);
    check(&names.full(&queue)).map_err(other)?;
    check_body(command).map_err(other)?;
    let mut marks = Marks::new(&args.sending, args.sending.group_id_per_message)?;
    let mut tokens = marks.next()?;
    if let Some(id) = &args.deduplication_id {
        check_token("--deduplication-id", id).map_err(other)?;
        tokens.id.clone_from(id);
    }
    let message = marks.message(command, &tokens);
    let sqs = common.client()?;
    let plan = plan(&names, &queue, &args.sending.making);
    let mut news = |news: QueueNews<'_>| tell(&names, say, news);
    let urls = QueueUrls::new(&sqs);
    let id = urls.with_queue(&plan, &mut news, |url| sqs.send(url, &message))?;
    say.step(&format!("Enqueued job {id}"));
    Ok(())
}

pub fn batch(common: &Common, args: &BatchArgs, say: Say) -> Result<(), QdoneError> {
    if args.files.is_empty() {
        let what = "enqueue-batch requires at least one <file> argument; - is standard input";
        return Err(QdoneError::Usage(what.to_owned()));
    }
    let (names, sending) = (common.names(), &args.sending);
    let mut lines = Vec::new();
    for file in &args.files {
        let shown = file.display();
        let bytes = read(file).map_err(|e| other(format!("{shown}: {e}")))?;
        batch::read(&mut lines, &shown.to_string(), &bytes, &names, sending.fifo).map_err(other)?;
    }
    let mut marks = Marks::new(sending, sending.group_id_per_message)?;
    let sqs = common.client()?;
    let mut news = |news: QueueNews<'_>| tell(&names, say, news);
    let queues = QueueUrls::new(&sqs);
    let plans = lines
        .iter()
        .map(|lines| plan(&names, &lines.queue, &sending.making));
    let plans: Vec<_> = plans.collect();
    // Nothing is sent before all queues are there.
    for plan in &plans {
        queues.with_queue(plan, &mut news, |_| Ok(()))?;
    }
    let (mut number, mut requests, mut sent) = (0, 0, 0);
    for (QueueLines { commands, .. }, plan) in lines.iter().zip(&plans) {
        let tokens = commands.iter().map(|_| marks.next());
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        let messages = commands.iter().zip(&tokens).map(|(command, tokens)| {
            number += 1;
            (number - 1, marks.message(command, tokens))
        });
        let messages: Vec<_> = messages.collect();
        for request in SqsClient::batches(&messages) {
            requests += 1;
            let report = queues.with_queue(plan, &mut news, |url| sqs.send_batch(url, request))?;
            for (_, id) in &report.sent {
                say.step(&format!("Enqueued job {id} request {requests}"));
            }
            sent += report.sent.len();
            if !report.failed.is_empty() {
                return Err(failures(&report.failed));
            }
        }
    }
    say.step(&format!("Enqueued {sent} jobs"));
    Ok(())
}

fn failures(failed: &[(u64, SqsError)]) -> QdoneError {
    let entries = failed.iter().map(|(id, e)| {
        json!({"Id": id.to_string(), "Code": e.code, "Message": e.message, "SenderFault": !e.is_temporary()})
    });
    let entries: Vec<_> = entries.collect();
    other(format!("One or more message failures: {}", json!(entries)))
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut bytes)?,
        false => std::fs::File::open(file)?.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// The group and the deduplication id of a message.
struct MessageTokens {
    group: String,
    id: String,
}

/// Marks messages as the options say.
struct Marks<'a> {
    sending: &'a Sending,
    group: String,
    is_group_fresh: bool,
}

impl<'a> Marks<'a> {
    fn new(sending: &'a Sending, is_group_fresh: bool) -> Result<Self, QdoneError> {
        let group = match &sending.group_id {
            Some(group) => group.clone(),
            None => uuid()?,
        };
        check_token("--group-id", &group).map_err(other)?;
        Ok(Self {
            sending,
            group,
            is_group_fresh,
        })
    }

    fn next(&mut self) -> Result<MessageTokens, QdoneError> {
        let group = match self.is_group_fresh {
            true => uuid()?,
            false => self.group.clone(),
        };
        Ok(MessageTokens { group, id: uuid()? })
    }

    fn message<'t>(&self, command: &'t str, tokens: &'t MessageTokens) -> MessageToSend<'t> {
        let is_fifo = self.sending.fifo;
        MessageToSend {
            body: command,
            form: BodyForm::Unmarked,
            group: is_fifo.then_some(&tokens.group),
            deduplication: is_fifo.then_some(&tokens.id),
            delay: self.sending.delay,
        }
    }
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, QdoneError> {
    let mut bytes = random::bytes().map_err(|e| other(format!("random bytes: {e}")))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes[..16]);
    Ok([
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-"))
}
