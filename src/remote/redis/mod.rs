//! Queues on Redis: a stream each, with one consumer group. A lease is the time since a message was last claimed; the
//! server's clock alone measures it. Every receiver reads the length of leases from the queue's settings: a receiver
//! with a shorter one would take messages away from the others.

mod keys;
mod link;
mod scripts;
mod sender;

pub use self::sender::RedisSender;

use self::keys::QueueKeys;
use self::link::{RedisLink, is_no_group};
use self::scripts::GROUP;
use super::engine::{
    BodyForm, Engine, Extension, GivenBack, LeaseAnswer, Message, RemoteQueue, Trouble, WellEnded,
};
use crate::core::config::remote_url::RedisUrl;
use crate::core::id::JobId;
use crate::os::procfs::host_name;
use redis::{Cmd, Connection, InfoDict, RedisResult, cmd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the record of an ended job is kept, in seconds.
const RESULT_TTL: u64 = 7 * 86_400;

/// How often somebody looks at a list that other programs fill. No call waits for a list and a stream.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// How many jobs are moved from a list at a time.
const MOST_FROM_LIST: u32 = 100;

/// The oldest server that has the commands, 6.2.
const OLDEST: (u32, u32) = (6, 2);

/// Queues on Redis, and the consumer that receives from them.
pub struct RedisEngine {
    /// Our name in the group.
    consumer: String,
    terms: RedisTerms,
    sources: Vec<RedisQueue>,
}

/// The terms of a queue that has none yet.
#[derive(Debug, Clone, Copy)]
pub struct RedisTerms {
    /// The length of leases.
    pub lease: Duration,
    /// After this many receives without an acknowledgement a message moves to the failed queue; `None`: never.
    pub max_receives: Option<u32>,
}

/// A queue that is received from.
struct RedisQueue {
    name: String,
    keys: QueueKeys,
    list: Option<String>,
    link: Arc<RedisLink>,
    /// When to look for lapsed leases.
    look: Mutex<Instant>,
}

/// A message as the server sends it: its id, its receives, and its fields, names and values by turns.
type Raw = (String, u32, Vec<Vec<u8>>);

impl RedisEngine {
    /// Prepares to receive from `urls`, and from their failed queues if `include_failed`; connects to nothing yet. `dir`
    /// is the directory with the bridge's leases: the consumer is called `HOST:DIR`, so that no two have one name.
    pub fn new(
        urls: &[RedisUrl],
        include_failed: bool,
        terms: RedisTerms,
        dir: &Path,
    ) -> Result<Self, Trouble> {
        let mut links = Vec::new();
        let mut sources = Vec::new();
        for url in urls {
            let known = links.iter().find(|(server, _)| *server == &url.server);
            let link = match known {
                Some((_, link)) => Arc::clone(link),
                None => {
                    let link = Arc::new(RedisLink::new(&url.server)?);
                    links.push((&url.server, Arc::clone(&link)));
                    link
                }
            };
            let source = |name: String, list| RedisQueue {
                keys: QueueKeys::new(&name),
                name,
                list,
                link: Arc::clone(&link),
                look: Mutex::new(Instant::now()),
            };
            let own = source(url.queue.clone(), url.list.clone());
            if include_failed && !own.keys.is_failed() {
                sources.push(source(own.keys.failed_queue(), None));
            }
            sources.push(own);
        }
        Ok(Self {
            consumer: format!("{}:{}", host_name(), dir.display()),
            terms,
            sources,
        })
    }

    fn source(&self, queue: &RemoteQueue) -> Result<&RedisQueue, Trouble> {
        let mut sources = self.sources.iter();
        let is =
            |source: &&RedisQueue| source.name == queue.name && source.link.name() == queue.url;
        let unknown = || Trouble::NoQueue(format!("{}: no queue {}", queue.url, queue.name));
        sources.find(is).ok_or_else(unknown)
    }

    /// Makes the queue, and reads its terms.
    fn open(&self, source: &RedisQueue) -> Result<RemoteQueue, Trouble> {
        let key = source.keys.settings();
        let lease = u64::try_from(self.terms.lease.as_millis()).unwrap_or(u64::MAX);
        let max = self.terms.max_receives.unwrap_or(0);
        let (lease, max): (Option<u64>, Option<u32>) =
            source.link.call(Duration::ZERO, |connection| {
                make_group(connection, &source.keys)?;
                redis::pipe()
                    .hset_nx(&key, "lease", lease)
                    .ignore()
                    .hset_nx(&key, "max", max)
                    .ignore()
                    .hget(&key, "lease")
                    .hget(&key, "max")
                    .query(connection)
            })?;
        let wrong = || Trouble::Refused(format!("{key}: lease or max is no number above 0"));
        let lease = lease.filter(|lease| *lease > 0).ok_or_else(wrong)?;
        let max = max.ok_or_else(wrong)?;
        if Duration::from_millis(lease) != self.terms.lease {
            log::info!("{}: a lease is {lease} ms, as {key} says", source.name);
        }
        Ok(RemoteQueue {
            name: source.name.clone(),
            url: source.link.name().to_owned(),
            max_receives: (max > 0 && !source.keys.is_failed()).then_some(max),
            lease: Some(Duration::from_millis(lease)),
            is_fifo: false,
        })
    }

    /// Leases messages whose leases have lapsed. Sets the time of the next look.
    fn claim(
        &self,
        source: &RedisQueue,
        queue: &RemoteQueue,
        most: usize,
    ) -> Result<Vec<Message>, Trouble> {
        let lease = queue.lease.unwrap_or(self.terms.lease);
        let (soon, moved, raw): (u64, Vec<String>, Vec<Raw>) =
            source.call(Duration::ZERO, |connection| {
                scripts::CLAIM
                    .key(source.keys.stream())
                    .key(source.keys.failed())
                    .arg(GROUP)
                    .arg(&self.consumer)
                    .arg(millis(lease))
                    .arg(most)
                    .arg(queue.max_receives.unwrap_or(0))
                    .invoke(connection)
            })?;
        *source.look() = Instant::now() + Duration::from_millis(soon).min(lease / 3);
        for id in moved {
            log::warn!(
                "{}: message {id} was received {} times and never ended: moved to {}",
                queue.name,
                queue.max_receives.unwrap_or(0),
                source.keys.failed()
            );
        }
        Ok(messages(&source.keys, raw))
    }

    /// Leases new messages, and waits for them.
    fn read(
        &self,
        source: &RedisQueue,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<Message>, Trouble> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer);
        read.arg("COUNT").arg(most);
        // Zero would mean to wait for ever.
        if wait >= Duration::from_millis(1) {
            read.arg("BLOCK").arg(millis(wait));
        }
        read.arg("STREAMS").arg(source.keys.stream()).arg(">");
        type Streams = Vec<(String, Vec<(String, Vec<Vec<u8>>)>)>;
        let streams: Option<Streams> = source.call(wait, |c| read.query(c))?;
        let new = streams.into_iter().flatten().flat_map(|(_, new)| new);
        let raw = new.map(|(id, fields)| (id, 1, fields)).collect();
        Ok(messages(&source.keys, raw))
    }
}

impl Engine for RedisEngine {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn longest_hold(&self) -> Option<Duration> {
        None
    }

    fn queues(&self) -> Result<Vec<RemoteQueue>, Trouble> {
        let mut checked: Vec<&str> = Vec::new();
        for source in &self.sources {
            if !checked.contains(&source.link.name()) {
                check_server(&source.link)?;
                checked.push(source.link.name());
            }
        }
        self.sources
            .iter()
            .map(|source| self.open(source))
            .collect()
    }

    fn receive(
        &self,
        queue: &RemoteQueue,
        most: usize,
        wait: Duration,
        _lease: Duration,
    ) -> Result<Vec<Message>, Trouble> {
        let source = self.source(queue)?;
        let most = most.max(1);
        source.feed()?;
        let mut messages = Vec::new();
        if source.is_time_to_look() {
            messages = self.claim(source, queue, most)?;
        }
        if messages.is_empty() {
            let look = source.look().saturating_duration_since(Instant::now());
            let list = source.list.as_ref().map_or(wait, |_| LIST_INTERVAL);
            messages = self.read(source, most, wait.min(look).min(list))?;
        }
        if messages.is_empty() && source.is_time_to_look() {
            messages = self.claim(source, queue, most)?;
        }
        Ok(messages)
    }

    fn extend(
        &self,
        queue: &RemoteQueue,
        leases: &[Extension<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let source = self.source(queue)?;
        source.answers(|connection| {
            let mut script = scripts::EXTEND.key(source.keys.stream());
            script.arg(GROUP).arg(&self.consumer);
            for lease in leases {
                script.arg(lease.key.receipt);
            }
            script.invoke(connection)
        })
    }

    fn ack(
        &self,
        queue: &RemoteQueue,
        ended: &[WellEnded<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let source = self.source(queue)?;
        source.answers(|connection| {
            let mut script = scripts::ACK.key(source.keys.stream());
            script.key(source.keys.ended()).key(source.keys.failed());
            script.arg(GROUP).arg(&self.consumer).arg(RESULT_TTL);
            for one in ended {
                let first_id = source.keys.first_id(one.key.id.as_str());
                script.key(source.keys.result(first_id));
                script.arg(one.key.receipt).arg(first_id);
                script.arg(one.result.unwrap_or_default());
            }
            script.invoke(connection)
        })
    }

    fn nack(
        &self,
        queue: &RemoteQueue,
        given: &[GivenBack<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let source = self.source(queue)?;
        let lease = queue.lease.unwrap_or(self.terms.lease);
        let answers = source.answers(|connection| {
            let mut script = scripts::NACK.key(source.keys.stream());
            script.key(source.keys.failed()).key(source.keys.ended());
            script.arg(GROUP).arg(&self.consumer);
            script.arg(queue.max_receives.unwrap_or(0)).arg(RESULT_TTL);
            for one in given {
                let first_id = source.keys.first_id(one.key.id.as_str());
                script.key(source.keys.result(first_id));
                script.arg(one.key.receipt);
                script.arg(millis(lease.saturating_sub(one.delay)));
                script.arg(first_id).arg(one.result.unwrap_or_default());
            }
            script.invoke(connection)
        })?;
        let soonest = given.iter().map(|one| one.delay).min().unwrap_or(lease);
        let mut look = source.look();
        *look = (*look).min(Instant::now() + soonest.min(lease));
        Ok(answers)
    }
}

impl RedisQueue {
    /// Makes a call. If somebody has removed the group, or the stream with it, it is made anew.
    fn call<T>(
        &self,
        wait: Duration,
        call: impl Fn(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        self.link.call(wait, |connection| match call(connection) {
            Err(e) if is_no_group(&e) => {
                make_group(connection, &self.keys)?;
                call(connection)
            }
            answer => answer,
        })
    }

    /// Makes a call that gives a number for each lease: 0 if it is not ours, 3 if another has moved its message away.
    fn answers(
        &self,
        call: impl Fn(&mut Connection) -> RedisResult<Vec<u32>>,
    ) -> Result<Vec<LeaseAnswer>, Trouble> {
        let answers = self.call(Duration::ZERO, call)?;
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                0 => LeaseAnswer::Lost("another has taken the message over".to_owned()),
                3 => LeaseAnswer::Lost(format!("its message is in {}", self.keys.failed())),
                _ => LeaseAnswer::Done,
            })
            .collect())
    }

    /// Moves jobs from the list to the stream.
    fn feed(&self) -> Result<(), Trouble> {
        let Some(list) = &self.list else {
            return Ok(());
        };
        self.link.call(Duration::ZERO, |connection| {
            scripts::FEED
                .key(list)
                .key(self.keys.stream())
                .arg(MOST_FROM_LIST)
                .invoke(connection)
        })
    }

    fn look(&self) -> MutexGuard<'_, Instant> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_time_to_look(&self) -> bool {
        *self.look() <= Instant::now()
    }
}

/// Makes the consumer group, and an empty stream if there is none.
fn make_group(connection: &mut Connection, keys: &QueueKeys) -> RedisResult<()> {
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(keys.stream()).arg(GROUP).arg(0);
    match create.arg("MKSTREAM").exec(connection) {
        Err(e) if e.code() == Some("BUSYGROUP") => Ok(()),
        made => made,
    }
}

/// Refuses a server that is too old, and warns of one that forgets. A server that tells us nothing is taken as it is.
fn check_server(link: &RedisLink) -> Result<(), Trouble> {
    let info = |section| {
        let asked = link.call(Duration::ZERO, |connection| -> RedisResult<InfoDict> {
            Cmd::new().arg("INFO").arg(section).query(connection)
        });
        match asked {
            Err(Trouble::Refused(why)) if why.contains("NOPERM") => Ok(None),
            asked => asked.map(Some),
        }
    };
    let version = info("server")?.and_then(|info| info.get::<String>("redis_version"));
    if let Some(version) = version {
        let mut parts = version.split('.').map_while(|part| part.parse().ok());
        let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if (major, minor) < OLDEST {
            return Err(Trouble::Refused(format!(
                "{}: the server is Redis {version}; 6.2 is the oldest that has the commands",
                link.name()
            )));
        }
    }
    let aof = info("persistence")?.and_then(|info| info.get::<u32>("aof_enabled"));
    if aof == Some(0) {
        log::warn!(
            "{}: jobs may be lost when the server stops; set appendonly yes and appendfsync always there",
            link.name()
        );
    }
    Ok(())
}

fn messages(keys: &QueueKeys, raw: Vec<Raw>) -> Vec<Message> {
    raw.into_iter()
        .filter_map(|(receipt, count, fields)| message(keys, receipt, count, &fields))
        .collect()
}

/// Reads the fields of a message. A message that was in another stream before has the id that it had there. `None`: its
/// own id cannot be a job's, which is no stream's.
fn message(keys: &QueueKeys, receipt: String, count: u32, fields: &[Vec<u8>]) -> Option<Message> {
    let find = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| match pair {
            [key, value] if key == name.as_bytes() => Some(value),
            _ => None,
        })
    };
    let text = |name| find(name).and_then(|value| String::from_utf8(value.clone()).ok());
    let body = match find("job") {
        None => Err("it has no field job".to_owned()),
        Some(job) => String::from_utf8(job.clone()).map_err(|_| "its job is not UTF-8".to_owned()),
    };
    let is_record = body.as_ref().is_ok_and(|body| body.starts_with('{'));
    let id = |first_id: &str| JobId::new(&keys.job_id(first_id)).ok();
    let named = text("id").and_then(|first_id| id(&first_id));
    Some(Message {
        id: named.or_else(|| id(&receipt))?,
        receipt,
        form: match is_record {
            true => BodyForm::Record,
            false => BodyForm::Command,
        },
        body,
        count,
        group: text("group").filter(|group| !group.is_empty()),
    })
}

/// This machine's name.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
