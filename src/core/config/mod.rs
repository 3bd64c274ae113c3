//! `config.json`: live settings. Every field is optional and has its default here.

pub mod allow;
pub mod bounds;
pub mod http;
pub mod ids;
pub mod network;
pub mod pauses;
pub mod remote;
pub mod remote_url;
pub mod rights;
mod terms;

pub use terms::Terms;

use self::bounds::Bounds;
use self::http::HttpConfig;
use self::ids::IdForm;
use self::pauses::Pauses;
use self::remote::RemoteConfig;
use crate::core::id::{QueueName, matches};
use crate::core::json::{self, JsonError, Object, expected};
use crate::core::record::{Setting, Work, read_on_finish};
use crate::core::retry::BackoffSpec;
use crate::core::tokens::{self, Supply, TokenName};
use crate::core::warning::Warning;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// Values for the fields that a job's record leaves out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Defaults {
    /// Tries in all.
    pub tries: Option<u32>,
    /// After this many interruptions the job fails.
    pub max_interruptions: Option<u32>,
    /// Wait between tries.
    pub backoff: BackoffSpec,
    /// Time from TERM to KILL.
    pub grace: Option<Duration>,
    /// Longest try.
    pub timeout: Setting<Duration>,
    /// Warning before it; for jobs that have a longer one.
    pub warn: Setting<Warning>,
    /// Largest log in bytes.
    pub max_log: Setting<u64>,
    /// Nice value.
    pub nice: Option<i32>,
    /// A command to run when a job has ended; [`Work::NONE`] for none.
    pub on_finish: Option<Work>,
    /// Sandbox and limits of jobs.
    pub bounds: Bounds,
}

/// Settings of one queue.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueueConfig {
    /// Jobs of this queue at a time; `None`: only the spool's slots bound their number.
    pub slots: Option<usize>,
    /// No job is started from it.
    pub paused: bool,
    /// They overrule the spool's defaults.
    pub defaults: Defaults,
    /// Sandbox and limits that none of its jobs can leave.
    pub enforced: Bounds,
}

/// The queue of the jobs that `callback_url` and `on_finish` ask for. It has slots of its own: its jobs take no slot of
/// other jobs, and those none of its slots.
pub const CALLBACKS: &str = "callbacks";

/// Slots of [`CALLBACKS`] unless the settings say otherwise.
const CALLBACK_SLOTS: usize = 4;

/// Least free space before pirn takes new work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinFree {
    /// This many bytes.
    Bytes(u64),
    /// This many percent of the file system, and of its inodes.
    Percent(f64),
}

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Jobs at a time; `None`: as many as there are CPUs.
    pub slots: Option<usize>,
    /// No job is started at all.
    pub paused: bool,
    /// Defaults for jobs.
    pub defaults: Defaults,
    /// Sandbox and limits that no job can leave.
    pub enforced: Bounds,
    /// Settings of single queues.
    pub queues: BTreeMap<QueueName, QueueConfig>,
    /// The tokens that jobs may use.
    pub tokens: BTreeMap<TokenName, Supply>,
    /// How long finished records and their logs are kept; `None`: for ever.
    pub keep: Option<Duration>,
    /// How many finished records are kept.
    pub keep_count: Option<u64>,
    /// How many bytes finished records and logs may take.
    pub keep_bytes: Option<u64>,
    /// Least free space.
    pub min_free: MinFree,
    /// Most waiting jobs; more are refused.
    pub max_pending: Option<u64>,
    /// Commands that add a job start a daemon if none serves the spool.
    pub autostart: bool,
    /// Largest job file in bytes.
    pub max_job_bytes: u64,
    /// The form of the ids that jobs get.
    pub ids: IdForm,
    /// Settings of the HTTP server.
    pub http: HttpConfig,
    /// Settings of the bridges to queues on other servers.
    pub remote: BTreeMap<QueueName, RemoteConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: None,
            paused: false,
            defaults: Defaults::default(),
            enforced: Bounds::default(),
            queues: BTreeMap::new(),
            tokens: BTreeMap::new(),
            keep: Some(Duration::from_secs(28 * 86_400)),
            keep_count: None,
            keep_bytes: None,
            min_free: MinFree::Bytes(64 << 20),
            max_pending: None,
            autostart: false,
            max_job_bytes: 16 << 20,
            ids: IdForm::default(),
            http: HttpConfig::default(),
            remote: BTreeMap::new(),
        }
    }
}

const FIELDS: [&str; 17] = [
    "slots",
    "paused",
    "defaults",
    "sandbox",
    "resources",
    "queues",
    "tokens",
    "keep",
    "keep_count",
    "keep_bytes",
    "min_free",
    "max_pending",
    "autostart",
    "max_job_bytes",
    "ids",
    "http",
    "remote",
];
const QUEUE_FIELDS: [&str; 5] = ["slots", "paused", "defaults", "sandbox", "resources"];
const DEFAULTS_FIELDS: [&str; 11] = [
    "tries",
    "max_interruptions",
    "backoff",
    "grace",
    "timeout",
    "warn",
    "max_log",
    "nice",
    "on_finish",
    "sandbox",
    "resources",
];

impl Config {
    /// Reads the file's text. Errors name the line and the field.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let object = Object::parse(text)?;
        let mut config = Self::default();
        for field in object.fields() {
            match field.key {
                "slots" => config.slots = field.optional(slots)?,
                "paused" => config.paused = field.read(json::boolean)?,
                "defaults" => config.defaults = defaults(&field.child()?)?,
                "queues" => config.queues = queues(&field.child()?)?,
                "tokens" => config.tokens = tokens::supplies(&field.child()?)?,
                "keep" => config.keep = field.optional(json::span)?,
                "keep_count" => config.keep_count = field.optional(count)?,
                "keep_bytes" => config.keep_bytes = field.optional(json::size)?,
                "min_free" => config.min_free = field.read(min_free)?,
                "max_pending" => config.max_pending = field.optional(count)?,
                "autostart" => config.autostart = field.read(json::boolean)?,
                "max_job_bytes" => config.max_job_bytes = field.read(job_bytes)?,
                "ids" => config.ids = ids::read(&field.child()?)?,
                "http" => config.http = http::read(&field.child()?)?,
                "remote" => config.remote = remote::read(&field.child()?)?,
                _ if config.enforced.read(field)? => {}
                _ => return Err(field.unknown(&FIELDS)),
            }
        }
        let is_short = |keep: Duration| keep < remote::LEAST_KEEP;
        if !config.remote.is_empty()
            && let Some(keep) = object.fields().find(|field| field.key == "keep")
            && config.keep.is_some_and(is_short)
        {
            let what = "with remote at least 10m: a record has to outlive the acknowledgement of its message";
            return Err(keep.error(what.to_owned()));
        }
        Ok(config)
    }

    /// True if these settings or one of the files keep the jobs of `queue` from being started.
    pub fn is_paused(&self, queue: &QueueName, files: &Pauses) -> bool {
        let of_queue = || self.queues.get(queue).is_some_and(|q| q.paused);
        self.paused || of_queue() || files.has(queue)
    }

    /// The setting that keeps jobs of `queue` from being started, or all jobs for `None`, by its name. A queue's name
    /// with dots stands in quotes.
    pub fn pausing_setting(&self, queue: Option<&QueueName>) -> Option<String> {
        let own = queue.filter(|queue| self.queues.get(queue).is_some_and(|q| q.paused));
        own.map(|queue| format!("queues.{}.paused", key(queue)))
            .or_else(|| self.paused.then(|| "paused".to_owned()))
    }

    /// True for the queue whose jobs run beside those of all others, in slots of its own.
    pub fn is_beside(queue: &QueueName) -> bool {
        queue.as_str() == CALLBACKS
    }

    /// Jobs at a time in all: as the daemon's start says, else as the settings do, else as many as the machine suits.
    pub fn slots_in_all(&self, told: Option<usize>, suited: usize) -> usize {
        told.or(self.slots).unwrap_or(suited)
    }

    /// How many jobs of `queue` may run at a time; `None`: only the spool's slots bound it.
    pub fn slots_of(&self, queue: &QueueName) -> Option<usize> {
        let told = self.queues.get(queue).and_then(|q| q.slots);
        told.or_else(|| Self::is_beside(queue).then_some(CALLBACK_SLOTS))
    }

    /// The defaults that are set for this queue alone.
    fn defaults_of(&self, queue: &QueueName) -> &Defaults {
        static NONE: LazyLock<Defaults> = LazyLock::new(Defaults::default);
        self.queues.get(queue).map_or(&NONE, |q| &q.defaults)
    }
}

/// The name of a queue as a part of a setting's name: in quotes if it has dots.
fn key(queue: &QueueName) -> String {
    match queue.as_str() {
        name if name.contains('.') => format!("\"{name}\""),
        name => name.to_owned(),
    }
}

/// Which queues a daemon serves: names, or prefixes with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only(pub Vec<String>);

impl Only {
    /// True when `queue` is served; an empty list serves all.
    pub fn serves(&self, queue: &QueueName) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|pattern| matches(pattern, queue.as_str()))
    }
}

fn slots(raw: &RawValue) -> Result<usize, String> {
    json::integer(raw, 0..=10_000)
}

fn count(raw: &RawValue) -> Result<u64, String> {
    json::integer(raw, 0..=i64::MAX)
}

fn job_bytes(raw: &RawValue) -> Result<u64, String> {
    match json::size(raw)? {
        size @ 1024..=0x4000_0000 => Ok(size),
        size => Err(format!("expected a size from 1K to 1G, got {size} bytes")),
    }
}

fn min_free(raw: &RawValue) -> Result<MinFree, String> {
    let percent = json::string(raw).ok().and_then(|text| {
        text.trim()
            .strip_suffix('%')
            .map(|n| n.trim().parse::<f64>())
    });
    match percent {
        None => json::size(raw)
            .map(MinFree::Bytes)
            .map_err(|_| expected("a size such as \"500M\" or a share such as \"5%\"", raw)),
        Some(Ok(share)) if (0.0..100.0).contains(&share) => Ok(MinFree::Percent(share)),
        Some(_) => Err(format!(
            "expected a share such as \"5%\", got {}",
            raw.get()
        )),
    }
}

fn queues(object: &Object<'_>) -> Result<BTreeMap<QueueName, QueueConfig>, JsonError> {
    let mut queues = BTreeMap::new();
    for field in object.fields() {
        let name = QueueName::new(field.key)
            .map_err(|e| field.error(format!("no queue can be called that: the name {e}")))?;
        let o = field.child()?;
        let mut queue = QueueConfig::default();
        for field in o.fields() {
            match field.key {
                "slots" => queue.slots = field.optional(slots)?,
                "paused" => queue.paused = field.read(json::boolean)?,
                "defaults" => queue.defaults = defaults(&field.child()?)?,
                _ if queue.enforced.read(field)? => {}
                _ => return Err(field.unknown(&QUEUE_FIELDS)),
            }
        }
        queues.insert(name, queue);
    }
    Ok(queues)
}

fn defaults(o: &Object<'_>) -> Result<Defaults, JsonError> {
    let mut d = Defaults::default();
    for field in o.fields() {
        match field.key {
            key if field.is_null() && DEFAULTS_FIELDS.contains(&key) => {}
            "tries" => d.tries = Some(field.integer(1..=1_000_000)?),
            "max_interruptions" => d.max_interruptions = Some(field.integer(0..=1_000_000)?),
            "backoff" => d.backoff = BackoffSpec::read(&field.child()?)?,
            "grace" => d.grace = Some(field.read(json::span)?),
            "timeout" => d.timeout = Setting::of(field.read(json::span)?),
            "warn" => d.warn = field.read(Warning::read)?.into(),
            "max_log" => d.max_log = Setting::of(field.read(json::size)?),
            "on_finish" => d.on_finish = Some(field.read(read_on_finish)?),
            "nice" => d.nice = Some(field.integer(-20..=19)?),
            _ if d.bounds.read(field)? => {}
            _ => return Err(field.unknown(&DEFAULTS_FIELDS)),
        }
    }
    if let (Setting::Set(warning), Setting::Set(timeout)) = (d.warn, d.timeout)
        && let Err(what) = warning.check(timeout)
        && let Some(warn) = o.fields().find(|field| field.key == "warn")
    {
        return Err(warn.error(what));
    }
    Ok(d)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_all_defaults() {
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_line_and_field() {
        for (text, message) in [
            (
                "{\n\"slot\": 3}",
                "line 2: slot: unknown field; did you mean \"slots\"?",
            ),
            (
                "{\"slots\": -1}",
                "line 1: slots: expected a whole number from 0 to 10000, got -1",
            ),
            (
                "{\"queues\": {\n\"mail\": {\n\"defaults\": {\"timeout\": \"soon\"}}}}",
                "line 3: queues.mail.defaults.timeout: expected a duration such as \"90s\" or \"1h 30m\", or a number of seconds, got \"soon\"",
            ),
            (
                "{\"min_free\": \"120%\"}",
                "line 1: min_free: expected a share such as \"5%\", got \"120%\"",
            ),
        ] {
            assert_eq!(Config::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn only_patterns() {
        let only = Only(vec!["ma*".to_owned(), "web".to_owned()]);
        assert!(only.serves(&QueueName::new("mail").unwrap()));
        assert!(!only.serves(&QueueName::default()));
        assert!(Only::default().serves(&QueueName::default()));
    }
}
