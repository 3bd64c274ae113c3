//! SQS as the engine of a bridge.

use super::caller::{AwsAccess, Patience};
use super::client::{LONGEST_LEASE, QueueCounts, ReceiveTerms, SqsClient};
use super::error::{SqsError, SqsFault};
use super::queues::{QueuePlan, QueueUrls, name_of};
use super::redrive;
use super::wire::MessageText;
use crate::core::hex::hex;
use crate::core::id::JobId;
use crate::core::qdone_names::is_fifo;
use crate::os::random;
use crate::remote::engine::{
    Engine, Extension, GivenBack, LeaseAnswer, Message, RemoteQueue, Trouble, WellEnded,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The queues that a bridge receives from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueChoice {
    /// Full names, in the order in which they are asked. A `*` at the end stands for any text.
    pub names: Vec<String>,
    /// The end of the names of failed queues, before `.fifo`.
    pub fail_suffix: String,
    /// Takes failed queues too.
    pub include_failed: bool,
    /// A name that ends in `*` stands for FIFO queues only.
    pub only_fifo: bool,
    /// Takes only queues that hold messages.
    pub active_only: bool,
    /// The queue that results are sent to.
    pub results: Option<String>,
}

/// The engine.
pub struct SqsEngine {
    client: SqsClient,
    choice: QueueChoice,
    /// The attempts of receives from FIFO queues whose answers were lost, by the URL of the queue. The next receive has
    /// the id of the lost one, and so gets the same messages.
    lost: Mutex<BTreeMap<String, Vec<String>>>,
}

impl SqsEngine {
    /// An engine for these queues. Errors: the settings of the endpoint are wrong.
    pub fn new(access: &Arc<AwsAccess>, choice: QueueChoice) -> Result<Self, SqsError> {
        Ok(Self {
            client: SqsClient::new(access, Patience::BRIDGE)?,
            choice,
            lost: Mutex::default(),
        })
    }

    /// Its client.
    pub fn client(&self) -> &SqsClient {
        &self.client
    }

    /// The names and URLs of the queues that a name stands for.
    fn resolve(&self, name: &str) -> Result<Vec<(String, String)>, SqsError> {
        let Some(prefix) = name.strip_suffix('*') else {
            return match QueueUrls::new(&self.client).url(name) {
                Ok(url) => Ok(vec![(name.to_owned(), url)]),
                Err(e) if e.fault == SqsFault::NoQueue => Ok(Vec::new()),
                Err(e) => Err(e),
            };
        };
        let urls = self.client.list_queues(prefix)?;
        let queues = urls.into_iter().map(|url| (name_of(&url).to_owned(), url));
        Ok(queues
            .filter(|(name, _)| !self.choice.only_fifo || is_fifo(name))
            .collect())
    }

    fn is_failed(&self, name: &str) -> bool {
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        stem.ends_with(&self.choice.fail_suffix)
    }

    /// A queue as bridges see it; `None` if there is no such queue any more, or only active ones are wanted and it is not.
    fn look_at(&self, name: String, url: String) -> Result<Option<RemoteQueue>, SqsError> {
        let mut names = vec!["RedrivePolicy"];
        if self.choice.active_only {
            names.extend(QueueCounts::ATTRIBUTES);
        }
        let attributes = self.client.attributes(&url, &names)?;
        if self.choice.active_only && QueueCounts::read(&attributes)?.are_zero() {
            return Ok(None);
        }
        let policy = attributes.get("RedrivePolicy");
        let max_receives = policy.map(|text| redrive::max_receives(text)).transpose()?;
        Ok(Some(RemoteQueue {
            is_fifo: is_fifo(&name),
            name,
            url,
            max_receives,
            lease: None,
        }))
    }

    /// Sends results out. One outcome for each, `Ok` where there is none.
    fn send_results<'r>(
        &self,
        results: impl Iterator<Item = Option<&'r str>>,
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let results: Vec<Option<&str>> = results.collect();
        let mut outcomes = vec![Ok(()); results.len()];
        let Some(name) = &self.choice.results else {
            return Ok(outcomes);
        };
        let places = results.iter().enumerate();
        let (places, records): (Vec<usize>, Vec<&str>) = places
            .filter_map(|(at, result)| Some((at, (*result)?)))
            .unzip();
        if records.is_empty() {
            return Ok(outcomes);
        }
        let queues = QueueUrls::new(&self.client);
        let report = queues.at_once(&QueuePlan::single(name, false), |url| {
            self.client.send_results(url, &records)
        });
        let report = report.map_err(of_results)?;
        for (number, error) in report.failed {
            let place = usize::try_from(number).ok().and_then(|at| places.get(at));
            if let Some(at) = place {
                outcomes[*at] = Err(error);
            }
        }
        Ok(outcomes)
    }

    fn lost(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for SqsEngine {
    fn kind(&self) -> &'static str {
        "sqs"
    }

    fn longest_hold(&self) -> Option<Duration> {
        Some(Duration::from_secs(LONGEST_LEASE))
    }

    fn queues(&self) -> Result<Vec<RemoteQueue>, Trouble> {
        let mut queues = Vec::<RemoteQueue>::new();
        for pattern in &self.choice.names {
            for (name, url) in self.resolve(pattern)? {
                let is_known = queues.iter().any(|queue| queue.name == name);
                if is_known || !self.choice.include_failed && self.is_failed(&name) {
                    continue;
                }
                match self.look_at(name.clone(), url) {
                    Ok(queue) => queues.extend(queue),
                    // It was deleted, and the list or the cache does not know yet.
                    Err(e) if e.fault == SqsFault::NoQueue => {
                        QueueUrls::new(&self.client).forget(&name)?;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(queues)
    }

    fn receive(
        &self,
        queue: &RemoteQueue,
        most: usize,
        wait: Duration,
        lease: Duration,
    ) -> Result<Vec<Message>, Trouble> {
        let attempt = match queue.is_fifo {
            true => self.next_attempt(&queue.url)?,
            false => None,
        };
        let terms = ReceiveTerms {
            // With more, those behind a job that fails would have to be given back, which counts as a receive.
            most: if queue.is_fifo { 1 } else { most },
            wait,
            lease,
            attempt: attempt.as_deref(),
        };
        let received = self.client.receive(&queue.url, &terms);
        if let (Some(attempt), Err(e)) = (attempt, &received)
            && e.is_temporary()
        {
            let mut lost = self.lost();
            lost.entry(queue.url.clone()).or_default().push(attempt);
        }
        let messages = received?.into_iter();
        Ok(messages.filter_map(|text| message(text, queue)).collect())
    }

    fn extend(
        &self,
        queue: &RemoteQueue,
        leases: &[Extension<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let leases = leases.iter().map(|e| (e.key.receipt, e.lease));
        let leases: Vec<(&str, Duration)> = leases.collect();
        let outcomes = self.client.change_visibility(&queue.url, &leases)?;
        Ok(outcomes.into_iter().map(answer).collect())
    }

    fn ack(
        &self,
        queue: &RemoteQueue,
        ended: &[WellEnded<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let sent = self.send_results(ended.iter().map(|one| one.result))?;
        after_results(sent, ended, |ended| {
            let receipts: Vec<&str> = ended.iter().map(|one| one.key.receipt).collect();
            self.client.delete(&queue.url, &receipts)
        })
    }

    fn nack(
        &self,
        queue: &RemoteQueue,
        given: &[GivenBack<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let sent = self.send_results(given.iter().map(|one| one.result))?;
        after_results(sent, given, |given| {
            let receipts = given.iter().map(|one| (one.key.receipt, one.delay));
            let receipts: Vec<(&str, Duration)> = receipts.collect();
            self.client.change_visibility(&queue.url, &receipts)
        })
    }
}

impl SqsEngine {
    /// The id of a receive: of one whose answer was lost, or a new one.
    fn next_attempt(&self, url: &str) -> Result<Option<String>, Trouble> {
        if let Some(attempt) = self.lost().get_mut(url).and_then(Vec::pop) {
            return Ok(Some(attempt));
        }
        let bytes = random::bytes().map_err(|e| Trouble::Unreachable(e.to_string()))?;
        Ok(Some(hex(&bytes)))
    }
}

fn message(text: MessageText, queue: &RemoteQueue) -> Option<Message> {
    let id = JobId::new(&text.message_id);
    if let Err(e) = &id {
        log::error!(
            "{}: a message with the id {:?}: {e}",
            queue.name,
            text.message_id
        );
    }
    Some(Message {
        id: id.ok()?,
        body: text.body().map(str::to_owned).map_err(str::to_owned),
        form: text.form(),
        count: text.count(),
        // Groups of standard queues are about fairness, and not about order.
        group: text.group().filter(|_| queue.is_fifo).map(str::to_owned),
        receipt: text.receipt_handle,
    })
}

/// Calls for those whose result is out. A result that the server refuses for good does not keep its message.
fn after_results<T: Copy>(
    sent: Vec<Result<(), SqsError>>,
    all: &[T],
    call: impl FnOnce(&[T]) -> Result<Vec<Result<(), SqsError>>, SqsError>,
) -> Result<Vec<LeaseAnswer>, Trouble> {
    let mut kept = Vec::with_capacity(sent.len());
    for outcome in sent {
        kept.push(match outcome {
            Ok(()) => None,
            Err(e) if matches!(e.fault, SqsFault::BadMessage | SqsFault::TooLong) => {
                log::error!("a result is not sent: {e}");
                None
            }
            Err(e) => Some(LeaseAnswer::Again(e.to_string())),
        });
    }
    let open = all.iter().zip(&kept).filter(|(_, kept)| kept.is_none());
    let open: Vec<T> = open.map(|(one, _)| *one).collect();
    let outcomes = match open.is_empty() {
        true => Vec::new(),
        false => call(&open)?,
    };
    let mut answers = outcomes.into_iter().map(answer);
    let why = || LeaseAnswer::Again("no outcome".to_owned());
    let answer = |kept: Option<LeaseAnswer>| kept.or_else(|| answers.next()).unwrap_or_else(why);
    Ok(kept.into_iter().map(answer).collect())
}

/// An error about the queue of results. That queue may be missing for a while after it was made; the queue of the message
/// is another one.
fn of_results(error: SqsError) -> SqsError {
    match error.fault {
        SqsFault::NoQueue | SqsFault::QueueDeletedRecently => SqsError {
            fault: SqsFault::Temporary,
            message: format!("the queue of results: {}", error.message),
            ..error
        },
        SqsFault::QueueExists
        | SqsFault::LeaseLost
        | SqsFault::TooLong
        | SqsFault::BadMessage
        | SqsFault::Temporary
        | SqsFault::StaleKeys
        | SqsFault::BadSignature
        | SqsFault::Denied
        | SqsFault::Other => error,
    }
}

fn answer(outcome: Result<(), SqsError>) -> LeaseAnswer {
    match outcome {
        Ok(()) => LeaseAnswer::Done,
        Err(e) if e.fault == SqsFault::LeaseLost => LeaseAnswer::Lost(e.to_string()),
        Err(e) => LeaseAnswer::Again(e.to_string()),
    }
}
