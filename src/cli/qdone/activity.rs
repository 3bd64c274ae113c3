//! Whether a queue has messages. A Redis server keeps the answers for a while, if there is one.

use super::options::Common;
use super::resolve::ResolvedQueue;
use super::say::Say;
use super::trouble::QdoneError;
use crate::remote::sqs::client::SqsClient;
use crate::remote::sqs::error::SqsError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Asks SQS, or the cache.
pub struct QueueActivity {
    #[cfg(feature = "redis")]
    cache: Option<cached::Cache>,
}

impl QueueActivity {
    /// Errors: the address of the cache is none of Redis.
    pub fn new(common: &Common, say: Say) -> Result<Self, QdoneError> {
        #[cfg(feature = "redis")]
        return Ok(Self {
            cache: match &common.cache_uri {
                Some(uri) => Some(cached::Cache::new(uri, common, say)?),
                None => None,
            },
        });
        #[cfg(not(feature = "redis"))]
        match (&common.cache_uri, say) {
            (None, _) => Ok(Self {}),
            (Some(_), _) => Err(super::trouble::other(
                "--cache-uri: this pirn was built without Redis",
            )),
        }
    }

    /// True if a queue has messages of any kind. `calls` counts the calls to SQS.
    pub fn has_messages(
        &self,
        sqs: &SqsClient,
        queue: &ResolvedQueue,
        calls: &AtomicUsize,
    ) -> Result<bool, SqsError> {
        #[cfg(feature = "redis")]
        if let Some(known) = self.cache.as_ref().and_then(|cache| cache.get(&queue.url)) {
            return Ok(known);
        }
        calls.fetch_add(1, Ordering::Relaxed);
        let counts = sqs.counts(&queue.url)?;
        #[cfg(feature = "redis")]
        if let Some(cache) = &self.cache {
            cache.put(queue, counts);
        }
        Ok(!counts.are_zero())
    }
}

#[cfg(feature = "redis")]
mod cached {
    use super::super::trouble::{QdoneError, other};
    use super::{Common, ResolvedQueue, Say};
    use crate::remote::sqs::client::QueueCounts;
    use redis::{Client, Commands, Connection, RedisResult};
    use serde_json::{Value, json};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    /// The server is not waited for longer than this: SQS has the answer too.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// The answers of the last seconds, which all workers share.
    pub struct Cache {
        client: Client,
        connection: Mutex<Option<Connection>>,
        prefix: String,
        seconds: u64,
        say: Say,
    }

    impl Cache {
        pub fn new(uri: &str, common: &Common, say: Say) -> Result<Self, QdoneError> {
            let wrong = |why: &str| other(format!("--cache-uri {uri}: {why}"));
            // One server of a cluster is asked like any other.
            let plain = match uri.strip_prefix("redis-cluster://") {
                Some(rest) => format!("redis://{rest}"),
                None => uri.to_owned(),
            };
            if !plain.starts_with("redis://") && !plain.starts_with("rediss://") {
                return Err(wrong("only redis:// and redis-cluster:// are supported"));
            }
            Ok(Self {
                client: Client::open(plain).map_err(|e| wrong(&e.to_string()))?,
                connection: Mutex::default(),
                prefix: common.cache_prefix.clone(),
                seconds: common.cache_ttl_seconds.into(),
                say,
            })
        }

        fn key(&self, url: &str) -> String {
            format!("{}cheap-idle-check:{url}", self.prefix)
        }

        /// True if the queue had messages, false if not; `None` if that is not known.
        pub fn get(&self, url: &str) -> Option<bool> {
            let key = self.key(url);
            let text: Option<String> = self.ask(|connection| connection.get(&key))?;
            let known: Value = serde_json::from_str(&text?).ok()?;
            Some(!known.get("idle")?.as_bool()?)
        }

        /// Keeps an answer, in the form that qdone reads.
        pub fn put(&self, queue: &ResolvedQueue, counts: QueueCounts) {
            let key = self.key(&queue.url);
            let text = json!({
                "ApproximateNumberOfMessages": counts.waiting.to_string(),
                "ApproximateNumberOfMessagesNotVisible": counts.leased.to_string(),
                "ApproximateNumberOfMessagesDelayed": counts.delayed.to_string(),
                "queue": queue.name,
                "idle": counts.are_zero(),
            });
            let seconds = self.seconds.max(1);
            self.ask::<()>(|connection| connection.set_ex(&key, text.to_string(), seconds));
        }

        /// Asks the server. If it is away, SQS is asked instead.
        fn ask<T>(&self, call: impl Fn(&mut Connection) -> RedisResult<T>) -> Option<T> {
            let mut held = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let answer = match held.take() {
                Some(connection) => Ok(connection),
                None => self.connect(),
            };
            let answer = answer.and_then(|mut connection| {
                let answer = call(&mut connection)?;
                *held = Some(connection);
                Ok(answer)
            });
            match answer {
                Ok(answer) => Some(answer),
                Err(e) => {
                    self.say.bad_step(&format!("cache: {e}; asking SQS"));
                    None
                }
            }
        }

        fn connect(&self) -> RedisResult<Connection> {
            let connection = self.client.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            Ok(connection)
        }
    }
}
