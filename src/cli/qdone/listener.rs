//! SQS as the engine of a worker: the queues are found anew for each round, and asked one after the other.

use super::activity::QueueActivity;
use super::options::{Common, WorkerArgs};
use super::progress::WorkProgress;
use super::resolve::{ResolvedQueue, resolve};
use super::say::Say;
use super::trouble::QdoneError;
use crate::core::qdone_names::{QueueNames, is_fifo, meant};
use crate::core::time::Boot;
use crate::os::clock;
use crate::remote::engine::{
    Engine, Extension, GivenBack, LeaseAnswer, Message, RemoteQueue, Trouble, WellEnded,
};
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::engine::{QueueChoice, SqsEngine};
use crate::remote::sqs::error::{SqsError, SqsFault};
use crate::remote::sqs::redrive;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For so long the attributes of a queue are not asked for again.
const ATTRIBUTES_HOLD: Duration = Duration::from_secs(3600);

/// The queues of a worker.
pub struct QueueListener<'a> {
    engine: SqsEngine,
    names: QueueNames,
    args: &'a WorkerArgs,
    activity: Option<QueueActivity>,
    progress: Arc<WorkProgress>,
    /// True once the worker was told to stop.
    told: Arc<AtomicBool>,
    say: Say,
    /// The URLs of names that are no patterns.
    urls: Mutex<BTreeMap<String, String>>,
    /// After how many receives messages leave a queue, by its URL, and since when that is known.
    limits: Mutex<BTreeMap<String, (Option<u32>, Boot)>>,
}

impl<'a> QueueListener<'a> {
    /// Errors: the settings of the server or of the cache are wrong.
    pub fn new(
        common: &Common,
        args: &'a WorkerArgs,
        progress: &Arc<WorkProgress>,
        told: &Arc<AtomicBool>,
        say: Say,
    ) -> Result<Self, QdoneError> {
        let names = common.names();
        let choice = QueueChoice {
            names: Vec::new(),
            fail_suffix: names.fail_suffix.clone(),
            include_failed: args.include_failed,
            only_fifo: args.fifo,
            active_only: args.active_only,
            results: None,
        };
        let activity = args.active_only.then(|| QueueActivity::new(common, say));
        Ok(Self {
            engine: SqsEngine::new(&common.access(), choice)?,
            names,
            args,
            activity: activity.transpose()?,
            progress: Arc::clone(progress),
            told: Arc::clone(told),
            say,
            urls: Mutex::default(),
            limits: Mutex::default(),
        })
    }

    /// Its client.
    pub fn client(&self) -> &SqsClient {
        self.engine.client()
    }

    /// The queues of this round, in their order.
    pub fn round(&self) -> Result<Vec<ResolvedQueue>, SqsError> {
        let given = &self.args.queues;
        self.say
            .step(&format!("Resolving queues: {}", given.join(" ")));
        let wanted = given.iter().map(|name| meant(name, self.args.fifo));
        let mut queues = Vec::new();
        for name in wanted {
            let known = lock(&self.urls).get(&name).cloned();
            let found = match known {
                Some(url) => vec![ResolvedQueue {
                    name: name.clone(),
                    url,
                }],
                None => resolve(
                    self.client(),
                    &self.names,
                    std::slice::from_ref(&name),
                    self.args.fifo,
                    self.say,
                )?,
            };
            if let [queue] = &found[..]
                && queue.name == name
            {
                lock(&self.urls).insert(name, queue.url.clone());
            }
            for queue in found {
                let is_wanted = self.args.include_failed || !self.names.is_failed(&queue.name);
                if is_wanted && !queues.contains(&queue) {
                    queues.push(queue);
                }
            }
        }
        self.say.step("  done\n");
        if let Some(activity) = &self.activity {
            let mut active = Vec::new();
            for queue in queues {
                match activity.has_messages(self.client(), &queue, &AtomicUsize::new(0)) {
                    Ok(false) => {}
                    Err(e) if e.fault == SqsFault::NoQueue => self.forget(&queue.name),
                    Ok(true) => active.push(queue),
                    Err(e) => return Err(e),
                }
            }
            queues = active;
        }
        self.tell(&queues);
        Ok(queues)
    }

    fn tell(&self, queues: &[ResolvedQueue]) {
        self.progress.round_begins(queues.len());
        if queues.is_empty() {
            self.say.step("No queues to listen on!");
            if !self.args.drain {
                let seconds = self.args.wait_time.max(1);
                self.say.always(&format!("Retrying in {seconds}s"));
            }
            return;
        }
        self.say.step("Listening to queues (in this order):");
        for ResolvedQueue { name, url } in queues {
            self.say.step(&format!("  {name} - {url}"));
        }
        self.say.step("");
    }

    /// Tells which queue is asked now.
    pub fn tell_asking(&self, full: &str, url: &str) {
        let name = self.names.short(full);
        self.say
            .step(&format!("Looking for work on {name} ({url})"));
    }

    /// Waits for the last job, so that the lines come in their order. True if nothing more is to be asked for.
    fn is_told_to_stop(&self) -> bool {
        self.progress.wait_for_ends(self.args.slots);
        self.told.load(Ordering::SeqCst)
    }

    fn forget(&self, name: &str) {
        lock(&self.urls).remove(name);
    }

    fn max_receives(&self, url: &str) -> Result<Option<u32>, SqsError> {
        let now = clock::now().boot;
        let known = lock(&self.limits).get(url).copied();
        if let Some((max, since)) = known
            && now.since(since) < ATTRIBUTES_HOLD
        {
            return Ok(max);
        }
        let attributes = self.client().attributes(url, &["RedrivePolicy"])?;
        let policy = attributes.get("RedrivePolicy");
        let max = policy.map(|text| redrive::max_receives(text)).transpose()?;
        lock(&self.limits).insert(url.to_owned(), (max, now));
        Ok(max)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine for QueueListener<'_> {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    fn longest_hold(&self) -> Option<Duration> {
        self.engine.longest_hold()
    }

    fn queues(&self) -> Result<Vec<RemoteQueue>, Trouble> {
        if self.is_told_to_stop() {
            return Ok(Vec::new());
        }
        let mut queues = Vec::new();
        for ResolvedQueue { name, url } in self.round()? {
            let max_receives = match self.max_receives(&url) {
                Err(e) if e.fault == SqsFault::NoQueue => {
                    self.forget(&name);
                    continue;
                }
                max => max?,
            };
            queues.push(RemoteQueue {
                is_fifo: is_fifo(&name),
                name: self.names.full(&name),
                url,
                max_receives,
                lease: None,
            });
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
        if self.is_told_to_stop() {
            return Ok(Vec::new());
        }
        self.tell_asking(&queue.name, &queue.url);
        let received = self.engine.receive(queue, most, wait, lease);
        if let Err(Trouble::NoQueue(_)) = &received {
            self.forget(self.names.short(&queue.name));
        }
        received
    }

    fn extend(
        &self,
        queue: &RemoteQueue,
        leases: &[Extension<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        self.engine.extend(queue, leases)
    }

    fn ack(
        &self,
        queue: &RemoteQueue,
        ended: &[WellEnded<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        self.engine.ack(queue, ended)
    }

    fn nack(
        &self,
        queue: &RemoteQueue,
        given: &[GivenBack<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        self.engine.nack(queue, given)
    }
}
