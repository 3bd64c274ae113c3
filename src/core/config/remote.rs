//! `remote` in `config.json`: the queues on other servers from which bridges take jobs.

use super::remote_url::RemoteUrl;
use crate::core::id::QueueName;
use crate::core::json::{self, Field, JsonError, Object, expected};
use crate::core::record::Record;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// The text of a message's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFormat {
    /// As the message is marked; shell text if it is not.
    #[default]
    Auto,
    /// Shell text.
    Command,
    /// A record in JSON.
    Record,
}

/// When a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckWhen {
    /// When its job has ended well.
    #[default]
    Done,
    /// When its job is accepted, durably.
    Accepted,
}

/// The treatment of a job whose lease is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLost {
    /// It goes on.
    #[default]
    Keep,
    /// It is ended.
    Cancel,
}

/// Where the records of ended jobs go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ResultsTo {
    /// Nowhere.
    #[default]
    Nowhere,
    /// The engine keeps them.
    Kept,
    /// They are sent to this queue.
    Queue(String),
}

/// Fields for the records of jobs that do not have them, in the order of the config: names and JSON texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFields(pub Vec<(String, String)>);

/// Settings of one bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteConfig {
    /// The queues, all on one kind of engine.
    pub urls: Vec<RemoteUrl>,
    /// The beginning of queue names that qdone adds.
    pub prefix: String,
    /// The end of the names of fail queues.
    pub fail_suffix: String,
    /// Fail queues are received from too.
    pub include_failed: bool,
    /// Queues without messages are left out.
    pub active_only: bool,
    /// The region, if the URL names none.
    pub region: Option<String>,
    /// The profile with the credentials.
    pub profile: Option<String>,
    /// The URL of the server, if it is not that of the region.
    pub endpoint: Option<String>,
    /// Plain http to other machines is allowed.
    pub allow_http: bool,
    /// The form of bodies.
    pub format: BodyFormat,
    /// The local queue.
    pub queue: QueueName,
    /// Jobs that are held and have not ended; `None`: the slots of the local queue.
    pub slots: Option<usize>,
    /// Jobs that are held beyond that.
    pub prefetch: usize,
    /// The longest that a request waits for messages.
    pub wait: Duration,
    /// Queues that are received from at a time.
    pub pollers: usize,
    /// The first lease.
    pub lease: Duration,
    /// The longest lease.
    pub lease_max: Duration,
    /// The treatment of jobs whose lease is lost.
    pub on_lost: OnLost,
    /// When messages are acknowledged.
    pub ack: AckWhen,
    /// Fields for jobs that do not have them.
    pub job: JobFields,
    /// Where results go.
    pub results: ResultsTo,
    /// `serve` starts the bridge and watches it.
    pub start: bool,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            prefix: String::new(),
            fail_suffix: "_failed".to_owned(),
            include_failed: false,
            active_only: false,
            region: None,
            profile: None,
            endpoint: None,
            allow_http: false,
            format: BodyFormat::Auto,
            queue: QueueName::default(),
            slots: None,
            prefetch: 0,
            wait: Duration::from_secs(20),
            pollers: 4,
            lease: Duration::from_secs(120),
            lease_max: Duration::from_secs(600),
            on_lost: OnLost::Keep,
            ack: AckWhen::Done,
            job: JobFields::default(),
            results: ResultsTo::Nowhere,
            start: false,
        }
    }
}

/// The least `keep`: earlier, retention could remove a record before its message is acknowledged.
pub const LEAST_KEEP: Duration = Duration::from_secs(600);

/// The longest lease of SQS.
const LONGEST_LEASE: Duration = Duration::from_secs(43_200);

/// The longest wait for a message: that of SQS.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

const REMOTE_FIELDS: [&str; 23] = [
    "url",
    "urls",
    "prefix",
    "fail_suffix",
    "include_failed",
    "active_only",
    "region",
    "profile",
    "endpoint",
    "allow_http",
    "format",
    "queue",
    "slots",
    "prefetch",
    "wait",
    "pollers",
    "lease",
    "lease_max",
    "on_lost",
    "ack",
    "job",
    "results",
    "start",
];

/// Reads the object `remote`.
pub fn read(o: &Object<'_>) -> Result<BTreeMap<QueueName, RemoteConfig>, JsonError> {
    let mut all = BTreeMap::new();
    for field in o.fields() {
        let name = QueueName::new(field.key)
            .map_err(|e| field.error(format!("no bridge can be called that: the name {e}")))?;
        all.insert(name, bridge(field)?);
    }
    Ok(all)
}

fn bridge(whole: Field<'_, '_>) -> Result<RemoteConfig, JsonError> {
    let o = whole.child()?;
    let mut c = RemoteConfig::default();
    let mut results = None;
    for field in o.fields() {
        match field.key {
            key if field.is_null() && REMOTE_FIELDS.contains(&key) => {}
            "url" => c.urls.push(field.read(url)?),
            "urls" => {
                for entry in field.entries("a list of URLs")? {
                    c.urls.push(entry.read(url)?);
                }
            }
            "prefix" => c.prefix = field.read(json::string)?,
            "fail_suffix" => c.fail_suffix = field.read(filled)?,
            "include_failed" => c.include_failed = field.read(json::boolean)?,
            "active_only" => c.active_only = field.read(json::boolean)?,
            "region" => c.region = Some(field.read(filled)?),
            "profile" => c.profile = Some(field.read(filled)?),
            "endpoint" => c.endpoint = Some(field.read(filled)?),
            "allow_http" => c.allow_http = field.read(json::boolean)?,
            "format" => {
                let words = [
                    ("auto", BodyFormat::Auto),
                    ("command", BodyFormat::Command),
                    ("record", BodyFormat::Record),
                ];
                c.format = field.read(|raw| one_of(raw, &words))?;
            }
            "queue" => {
                c.queue = field.read(|raw| {
                    let text = json::string(raw)?;
                    QueueName::new(&text).map_err(|e| format!("the name {e}"))
                })?;
            }
            "slots" => c.slots = Some(field.integer(1..=10_000)?),
            "prefetch" => c.prefetch = field.integer(0..=10_000)?,
            "wait" => c.wait = field.read(|raw| span_up_to(raw, LONGEST_WAIT))?,
            "pollers" => c.pollers = field.integer(1..=100)?,
            "lease" => c.lease = field.read(|raw| span_up_to(raw, LONGEST_LEASE))?,
            "lease_max" => c.lease_max = field.read(|raw| span_up_to(raw, LONGEST_LEASE))?,
            "on_lost" => {
                let words = [("keep", OnLost::Keep), ("cancel", OnLost::Cancel)];
                c.on_lost = field.read(|raw| one_of(raw, &words))?;
            }
            "ack" => {
                let words = [("done", AckWhen::Done), ("accepted", AckWhen::Accepted)];
                c.ack = field.read(|raw| one_of(raw, &words))?;
            }
            "job" => c.job = JobFields::read(field)?,
            "results" => results = Some(field.read(self::results)?),
            "start" => c.start = field.read(json::boolean)?,
            _ => return Err(field.unknown(&REMOTE_FIELDS)),
        }
    }
    c.results = results.unwrap_or_else(|| usual_results(&c.urls));
    c.check().map_err(|what| whole.error(what))?;
    Ok(c)
}

impl RemoteConfig {
    /// The settings of a bridge for this URL alone.
    pub fn of_url(url: RemoteUrl) -> Self {
        Self {
            results: usual_results(std::slice::from_ref(&url)),
            urls: vec![url],
            ..Self::default()
        }
    }

    /// True if a bridge with these settings can extend and end the leases of one with those.
    pub fn can_take_leases_of(&self, other: &Self) -> bool {
        self.urls == other.urls
            && self.include_failed == other.include_failed
            && self.region == other.region
            && self.profile == other.profile
            && self.endpoint == other.endpoint
            && self.allow_http == other.allow_http
    }

    fn check(&mut self) -> Result<(), String> {
        let is_sqs = |url: &RemoteUrl| matches!(url, RemoteUrl::Sqs(_));
        let sqs = self.urls.iter().filter(|url| is_sqs(url)).count();
        if self.urls.is_empty() {
            return Err("url is missing: sqs:QUEUE or redis://HOST#QUEUE".to_owned());
        }
        if sqs != 0 && sqs != self.urls.len() {
            return Err("urls: SQS and Redis are two bridges".to_owned());
        }
        match (&self.results, sqs) {
            (ResultsTo::Kept, 1..) => {
                return Err("results: SQS keeps none; give the name of a queue".to_owned());
            }
            (ResultsTo::Queue(_), 0) => {
                return Err("results: Redis keeps them itself; say true".to_owned());
            }
            (ResultsTo::Nowhere | ResultsTo::Kept | ResultsTo::Queue(_), _) => {}
        }
        if self.lease < Duration::from_secs(1) {
            return Err("lease: at least a second".to_owned());
        }
        if self.wait < Duration::from_secs(1) {
            return Err("wait: at least a second: each request costs".to_owned());
        }
        self.lease_max = self.lease_max.max(self.lease);
        Ok(())
    }

    /// The most jobs at a time, without those beyond the slots, if the local queue has so many.
    pub fn slots(&self, of_queue: Option<usize>) -> usize {
        self.slots.or(of_queue).unwrap_or(1).max(1)
    }
}

impl JobFields {
    /// The fields that only the sender or the bridge decides about.
    const NOT_HERE: [&'static str; 9] = [
        "command",
        "script",
        "args",
        "url",
        "queue",
        "id",
        "after",
        "after_failed",
        "after_any",
    ];

    fn read(field: Field<'_, '_>) -> Result<Self, JsonError> {
        let o = field.child()?;
        let mut fields = vec![("command".to_owned(), "\"true\"".to_owned())];
        for inner in o.fields() {
            if Self::NOT_HERE.contains(&inner.key) {
                let what = "not here: the message, or the bridge, decides about it".to_owned();
                return Err(inner.error(what));
            }
            fields.push((inner.key.to_owned(), inner.raw.get().to_owned()));
        }
        let whole = Self(fields);
        let record = Record::from_json(&whole.to_json()).map_err(|e| field.error(e.to_string()))?;
        if let Some((key, _)) = record.extra.iter().find(|(key, _)| key != "x") {
            return Err(field.error(format!("{key}: a job has no such field")));
        }
        let Self(mut fields) = whole;
        fields.remove(0);
        Ok(Self(fields))
    }

    /// The object with these fields.
    pub fn to_json(&self) -> String {
        let quoted = |key: &str| serde_json::to_string(key).unwrap_or_default();
        let pairs = self.0.iter();
        let pairs: Vec<_> = pairs
            .map(|(key, raw)| format!("{}: {raw}", quoted(key)))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    }
}

fn url(raw: &RawValue) -> Result<RemoteUrl, String> {
    RemoteUrl::parse(&json::string(raw)?)
}

fn filled(raw: &RawValue) -> Result<String, String> {
    let text = json::string(raw)?;
    match text.is_empty() {
        true => Err("is empty".to_owned()),
        false => Ok(text),
    }
}

fn one_of<T: Copy>(raw: &RawValue, words: &[(&str, T)]) -> Result<T, String> {
    let text = json::string(raw)?;
    let found = words.iter().find(|(word, _)| *word == text);
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("expected {}, got {text:?}", known().join(" or ")))
}

fn span_up_to(raw: &RawValue, most: Duration) -> Result<Duration, String> {
    match json::span(raw)? {
        span if span <= most => Ok(span),
        _ => Err(format!("at most {} seconds", most.as_secs())),
    }
}

/// Where results go unless the settings say otherwise: Redis keeps them, SQS would need a queue for them.
fn usual_results(urls: &[RemoteUrl]) -> ResultsTo {
    match urls.first() {
        Some(RemoteUrl::Redis(_)) => ResultsTo::Kept,
        Some(RemoteUrl::Sqs(_)) | None => ResultsTo::Nowhere,
    }
}

fn results(raw: &RawValue) -> Result<ResultsTo, String> {
    match raw.get() {
        "true" => Ok(ResultsTo::Kept),
        "false" => Ok(ResultsTo::Nowhere),
        text if text.starts_with('"') => filled(raw).map(ResultsTo::Queue),
        _ => Err(expected("the name of a queue, or true", raw)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::config::Config;

    #[test]
    fn every_field_is_read() {
        let text = r#"{"remote": {"work": {"url": "sqs:qdone_work", "prefix": "p_", "fail_suffix": "_f",
            "include_failed": true, "active_only": true, "region": "eu-west-1", "profile": "jobs", "endpoint": null,
            "allow_http": false, "format": "command", "queue": "work", "slots": 4, "prefetch": 2, "wait": "10s",
            "pollers": 3, "lease": "3m", "lease_max": "20m", "on_lost": "cancel", "ack": "accepted",
            "job": {"tries": 2, "timeout": "1h", "x": {"a": 1}}, "results": "work_results", "start": true}}}"#;
        let config = Config::parse(text).unwrap();
        let (name, work) = config.remote.iter().next().unwrap();
        assert_eq!(name.as_str(), "work");
        assert_eq!(
            *work,
            RemoteConfig {
                urls: vec![RemoteUrl::parse("sqs:qdone_work").unwrap()],
                prefix: "p_".to_owned(),
                fail_suffix: "_f".to_owned(),
                include_failed: true,
                active_only: true,
                region: Some("eu-west-1".to_owned()),
                profile: Some("jobs".to_owned()),
                endpoint: None,
                allow_http: false,
                format: BodyFormat::Command,
                queue: QueueName::new("work").unwrap(),
                slots: Some(4),
                prefetch: 2,
                wait: Duration::from_secs(10),
                pollers: 3,
                lease: Duration::from_secs(180),
                lease_max: Duration::from_secs(1200),
                on_lost: OnLost::Cancel,
                ack: AckWhen::Accepted,
                job: JobFields(vec![
                    ("tries".to_owned(), "2".to_owned()),
                    ("timeout".to_owned(), "\"1h\"".to_owned()),
                    ("x".to_owned(), "{\"a\": 1}".to_owned()),
                ]),
                results: ResultsTo::Queue("work_results".to_owned()),
                start: true,
            }
        );
    }

    #[test]
    fn a_broken_entry_is_named() {
        for (entry, part) in [
            ("{}", "remote.w: url is missing"),
            (
                r#"{"url": "sqs:a", "slot": 1}"#,
                "remote.w.slot: unknown field; did you mean \"slots\"?",
            ),
            (r#"{"url": "amqp://h"}"#, "remote.w.url: expected sqs:QUEUE"),
            (
                r#"{"urls": ["sqs:a", "redis://h#q"]}"#,
                "SQS and Redis are two bridges",
            ),
            (
                r#"{"url": "sqs:a", "results": true}"#,
                "give the name of a queue",
            ),
            (r#"{"url": "redis://h#q", "results": "r"}"#, "say true"),
            (
                r#"{"url": "sqs:a", "ack": "later"}"#,
                "remote.w.ack: expected done or accepted, got \"later\"",
            ),
            (
                r#"{"url": "sqs:a", "wait": "1m"}"#,
                "remote.w.wait: at most 20 seconds",
            ),
            (
                r#"{"url": "sqs:a", "wait": 0.1}"#,
                "wait: at least a second",
            ),
            (
                r#"{"url": "sqs:a", "job": {"queue": "x"}}"#,
                "remote.w.job.queue: not here",
            ),
            (
                r#"{"url": "sqs:a", "job": {"tires": 1}}"#,
                "tires: a job has no such field",
            ),
            (r#"{"url": "sqs:a", "job": {"tries": 0}}"#, "tries"),
        ] {
            let text = format!("{{\"remote\": {{\"w\": {entry}}}}}");
            let error = Config::parse(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{entry}: {error}");
        }
        let short = r#"{"keep": "5m", "remote": {"w": {"url": "sqs:a"}}}"#;
        let error = Config::parse(short).unwrap_err().to_string();
        assert!(error.contains("keep"), "{error}");
    }
}
