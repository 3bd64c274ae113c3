//! Queues by their names: their URLs, and those that are missing are created.

use super::client::{QueueAttributes, SqsClient};
use super::error::{SqsError, SqsFault};
use super::redrive;
use super::url_cache::{CacheKey, UrlCache};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// For so long after its deletion a queue cannot be created again (SQS API reference, CreateQueue).
const AFTER_DELETION: Duration = Duration::from_secs(61);

/// The wait between two attempts in that time.
const STEP: Duration = Duration::from_secs(5);

/// How often a queue that vanishes again is looked for.
const MOST_ROUNDS: usize = 3;

/// For how long messages are kept, in seconds: two weeks, the most that SQS allows.
const RETENTION: &str = "1209600";

/// A queue as it has to be created if it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    /// Its full name.
    pub name: String,
    /// Its attributes, but for `RedrivePolicy`.
    pub attributes: QueueAttributes,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The queue that its messages move to, and after how many receives.
    pub failed: Option<(Box<QueuePlan>, u32)>,
}

impl QueuePlan {
    /// A queue without a failed queue.
    pub fn single(name: &str, is_fifo: bool) -> Self {
        let mut attributes = vec![("MessageRetentionPeriod", RETENTION)];
        if is_fifo {
            attributes.push(("FifoQueue", "true"));
        }
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            name: name.to_owned(),
            attributes: attributes.into_iter().map(owned).collect(),
            tags: BTreeMap::new(),
            failed: None,
        }
    }

    /// A queue whose messages move to the queue `failed` after `max_receives` receives.
    pub fn with_failed(name: &str, failed: &str, max_receives: u32, is_fifo: bool) -> Self {
        let target = Box::new(Self::single(failed, is_fifo));
        Self {
            failed: Some((target, max_receives)),
            ..Self::single(name, is_fifo)
        }
    }
}

/// News from the creation of queues, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueNews<'a> {
    /// This queue is missing and is created.
    Creating(&'a str),
    /// This queue was deleted a short time ago; its creation waits up to 61 seconds.
    Waiting(&'a str),
}

/// The queues of one client.
pub struct QueueUrls<'a> {
    client: &'a SqsClient,
    cache: UrlCache,
}

impl<'a> QueueUrls<'a> {
    /// With the cache that the client's environment leads to.
    pub fn new(client: &'a SqsClient) -> Self {
        let dir = client.access().env().cache();
        Self {
            client,
            cache: UrlCache::new(dir),
        }
    }

    /// The URL of a queue that exists, from the cache if it is there.
    pub fn url(&self, name: &str) -> Result<String, SqsError> {
        self.known(name, |key| {
            if let Some(url) = self.cache.get(key) {
                return Ok(url);
            }
            let url = self.client.queue_url(name)?;
            self.cache.put(key, &url);
            Ok(url)
        })
    }

    /// Calls `send` with the URL of the planned queue. If there is no such queue, even where the cache has its URL, the
    /// queue and its failed queue are created first.
    pub fn with_queue<T>(
        &self,
        plan: &QueuePlan,
        news: &mut dyn FnMut(QueueNews<'_>),
        mut send: impl FnMut(&str) -> Result<T, SqsError>,
    ) -> Result<T, SqsError> {
        let is_missing = |e: &SqsError| e.fault == SqsFault::NoQueue;
        let mut rounds = 1;
        loop {
            let url = match self.url(&plan.name) {
                Err(e) if is_missing(&e) => {
                    let url = self.create(plan, news)?;
                    self.known(&plan.name, |key| {
                        self.cache.put(key, &url);
                        Ok(())
                    })?;
                    url
                }
                url => url?,
            };
            match send(&url) {
                Err(e) if is_missing(&e) && rounds < MOST_ROUNDS => {
                    self.forget(&plan.name)?;
                    if rounds > 1 {
                        // The servers do not all know a new or a deleted queue at once.
                        thread::sleep(Duration::from_secs(1));
                    }
                    rounds += 1;
                }
                result => return result,
            }
        }
    }

    /// As [`QueueUrls::with_queue`] for a single queue, without ever waiting.
    pub fn at_once<T>(
        &self,
        plan: &QueuePlan,
        send: impl Fn(&str) -> Result<T, SqsError>,
    ) -> Result<T, SqsError> {
        match self.url(&plan.name).and_then(|url| send(&url)) {
            Err(e) if e.fault == SqsFault::NoQueue => {
                self.forget(&plan.name)?;
                let url = self
                    .client
                    .create_queue(&plan.name, &plan.attributes, &plan.tags)?;
                send(&url)
            }
            result => result,
        }
    }

    /// Takes the URL of a queue that is gone out of the cache.
    pub fn forget(&self, name: &str) -> Result<(), SqsError> {
        self.known(name, |key| {
            self.cache.forget(key);
            Ok(())
        })
    }

    /// Creates a queue, its failed queue first, and gives its URL. A queue that is there is left as it is.
    pub fn create(
        &self,
        plan: &QueuePlan,
        news: &mut dyn FnMut(QueueNews<'_>),
    ) -> Result<String, SqsError> {
        let mut attributes = plan.attributes.clone();
        if let Some((failed, max_receives)) = &plan.failed {
            let url = self.create(failed, news)?;
            let policy = redrive::text(&self.arn(&url)?, *max_receives);
            attributes.insert("RedrivePolicy".to_owned(), policy);
        }
        news(QueueNews::Creating(&plan.name));
        let mut since = None;
        loop {
            let created = self
                .client
                .create_queue(&plan.name, &attributes, &plan.tags);
            match created {
                Err(e) if e.fault == SqsFault::QueueExists => {
                    return self.client.queue_url(&plan.name);
                }
                Err(e) if e.fault == SqsFault::QueueDeletedRecently => {
                    if since.is_none() {
                        news(QueueNews::Waiting(&plan.name));
                    }
                    let since = since.get_or_insert_with(Instant::now);
                    let Some(left) = AFTER_DELETION.checked_sub(since.elapsed()) else {
                        return Err(e);
                    };
                    thread::sleep(STEP.min(left));
                }
                created => return created,
            }
        }
    }

    /// The ARN of a queue. The server is asked only if it does not follow from the URL.
    pub fn arn(&self, url: &str) -> Result<String, SqsError> {
        if let Some(arn) = redrive::arn(url, self.client.region()) {
            return Ok(arn);
        }
        let attributes = self.client.attributes(url, &["QueueArn"])?;
        let why = || SqsError::own(SqsFault::Other, "GetQueueAttributes", "no QueueArn");
        attributes.get("QueueArn").cloned().ok_or_else(why)
    }

    fn known<T>(
        &self,
        name: &str,
        f: impl FnOnce(CacheKey<'_>) -> Result<T, SqsError>,
    ) -> Result<T, SqsError> {
        let keys = self.client.access().keys()?;
        f(CacheKey {
            endpoint: self.client.endpoint(),
            region: self.client.region(),
            access_key_id: &keys.access_key_id,
            name,
        })
    }
}

/// The name of a queue, by its URL: the text behind the last slash.
pub fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}
