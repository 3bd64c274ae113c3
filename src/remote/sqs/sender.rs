//! Sending jobs to a queue on SQS, and looking for their records in the queue of results.

use super::caller::{AwsAccess, Patience};
use super::client::{NumberedMessage, ReceiveTerms, SqsClient};
use super::error::{SqsError, SqsFault};
use super::queues::{QueueNews, QueuePlan, QueueUrls};
use super::wire::{MessageText, MessageToSend};
use crate::core::hex::hex;
use crate::core::json::{Object, string};
use crate::os::random;
use crate::remote::engine::{BodyForm, Trouble};
use crate::remote::sender::{JobSender, NotSent, OutgoingJob, RemoteJob, Sent};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After this many receives a message of a queue that we make moves to the failed queue.
const MAX_RECEIVES: u32 = 5;

/// The group of jobs that have none, on FIFO queues.
const GROUP: &str = "pirn";

/// For so long nobody else receives the results that we look through. They are given back earlier.
const LOOK_LEASE: Duration = Duration::from_secs(30);

/// A queue on SQS that jobs are sent to.
pub struct SqsSender {
    client: SqsClient,
    plan: QueuePlan,
    is_fifo: bool,
    results: Option<String>,
}

impl SqsSender {
    /// Prepares to send to the queue of this name; calls nothing yet. `results` is the queue of results. Errors: the
    /// settings of the endpoint are wrong.
    pub fn new(
        access: &Arc<AwsAccess>,
        name: &str,
        fail_suffix: &str,
        results: Option<String>,
    ) -> Result<Self, Trouble> {
        let stem = name.strip_suffix(".fifo");
        let failed = match stem {
            Some(stem) => format!("{stem}{fail_suffix}.fifo"),
            None => format!("{name}{fail_suffix}"),
        };
        Ok(Self {
            client: SqsClient::new(access, Patience::COMMAND)?,
            plan: QueuePlan::with_failed(name, &failed, MAX_RECEIVES, stem.is_some()),
            is_fifo: stem.is_some(),
            results,
        })
    }

    fn send_batch(
        &self,
        batch: &[NumberedMessage<'_>],
    ) -> Result<super::client::BatchReport, SqsError> {
        let mut news = |news: QueueNews<'_>| match news {
            QueueNews::Creating(name) => eprintln!("pirn: creating queue {name}"),
            QueueNews::Waiting(name) => {
                eprintln!("pirn: {name} was deleted a short time ago; waiting up to 61 seconds");
            }
        };
        QueueUrls::new(&self.client).with_queue(&self.plan, &mut news, |url| {
            self.client.send_batch(url, batch)
        })
    }
}

impl JobSender for SqsSender {
    fn most(&self) -> usize {
        10
    }

    fn send(&self, jobs: &[OutgoingJob]) -> Sent {
        // Lets the server notice a message that is sent again.
        let nonce = match random::bytes() {
            Ok(bytes) => hex(&bytes[..16]),
            Err(e) => return Sent::none(NotSent::Trouble(Trouble::Refused(e.to_string()))),
        };
        let marks: Vec<String> = (0..jobs.len()).map(|n| format!("{nonce}-{n}")).collect();
        let numbered = jobs.iter().zip(&marks).zip(0u64..);
        let messages: Vec<NumberedMessage<'_>> = numbered
            .map(|((job, mark), n)| (n, self.message(job, mark)))
            .collect();
        let mut sent = Sent::default();
        for batch in SqsClient::batches(&messages) {
            match self.send_batch(batch) {
                Err(e) => {
                    sent.failed = Some(not_sent(e));
                    return sent;
                }
                Ok(report) => {
                    let first_failed = report.failed.first().map(|(number, _)| *number);
                    for (number, id) in report.sent {
                        match first_failed.is_some_and(|failed| failed < number) {
                            true => sent.behind.push(id),
                            false => sent.ids.push(id),
                        }
                    }
                    if let Some((_, e)) = report.failed.into_iter().next() {
                        sent.failed = Some(not_sent(e));
                        return sent;
                    }
                }
            }
        }
        sent
    }

    fn result(&self, id: &str, wait: Duration) -> Result<RemoteJob, Trouble> {
        let name = self.results.as_ref().ok_or_else(|| {
            let why = "receivers send records to the queue that `results` names; name it in the settings here too";
            Trouble::Refused(why.to_owned())
        })?;
        let url = match QueueUrls::new(&self.client).url(name) {
            // The first record makes it.
            Err(e) if e.fault == SqsFault::NoQueue => {
                std::thread::sleep(wait.min(Duration::from_secs(1)));
                return Ok(RemoteJob::Unended);
            }
            url => url?,
        };
        let mut others = Vec::new();
        let found = self.find(&url, id, wait, &mut others);
        for part in others.chunks(10) {
            let receipts: Vec<_> = part
                .iter()
                .map(|receipt: &String| (receipt.as_str(), Duration::ZERO))
                .collect();
            // Messages that cannot be given back come again when their leases end.
            let _ = self.client.change_visibility(&url, &receipts);
        }
        Ok(match found? {
            None => RemoteJob::Unended,
            Some(message) => {
                let deleted = self.client.delete(&url, &[&message.receipt_handle])?;
                deleted.into_iter().collect::<Result<(), SqsError>>()?;
                RemoteJob::Ended(message.body().unwrap_or_default().to_owned())
            }
        })
    }
}

impl SqsSender {
    fn message<'a>(&self, job: &'a OutgoingJob, mark: &'a str) -> MessageToSend<'a> {
        MessageToSend {
            body: &job.body,
            form: match job.is_record {
                true => BodyForm::Record,
                false => BodyForm::Unmarked,
            },
            group: self.is_fifo.then(|| job.group.as_deref().unwrap_or(GROUP)),
            deduplication: self.is_fifo.then_some(mark),
            delay: None,
        }
    }

    /// Receives results until one is that of the job. `others` are the receipts of those that are not.
    fn find(
        &self,
        url: &str,
        id: &str,
        wait: Duration,
        others: &mut Vec<String>,
    ) -> Result<Option<MessageText>, SqsError> {
        let end = Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let terms = ReceiveTerms {
                most: 10,
                // A receive that does not wait may miss messages.
                wait: left.max(Duration::from_secs(1)),
                lease: LOOK_LEASE,
                attempt: None,
            };
            let results = self.client.receive(url, &terms)?;
            let is_last = results.is_empty() && left.is_zero();
            let mut found = None;
            for result in results {
                match found.is_none() && result.body().is_ok_and(|body| is_of(body, id)) {
                    true => found = Some(result),
                    false => others.push(result.receipt_handle),
                }
            }
            if found.is_some() || is_last {
                return Ok(found);
            }
        }
    }
}

/// True for the record of this job.
fn is_of(record: &str, id: &str) -> bool {
    Object::parse(record).is_ok_and(|object| {
        let mut fields = object.fields();
        fields.any(|field| field.key == "id" && string(field.raw).is_ok_and(|own| own == id))
    })
}

fn not_sent(e: SqsError) -> NotSent {
    match e.fault {
        SqsFault::BadMessage | SqsFault::TooLong => NotSent::Body(e.to_string()),
        SqsFault::NoQueue
        | SqsFault::QueueExists
        | SqsFault::QueueDeletedRecently
        | SqsFault::LeaseLost
        | SqsFault::Temporary
        | SqsFault::StaleKeys
        | SqsFault::BadSignature
        | SqsFault::Denied
        | SqsFault::Other => NotSent::Trouble(e.into()),
    }
}
