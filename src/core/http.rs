//! `http` in `config.json`: settings of the HTTP door. They say nothing about whether it is open: `pirn serve
//! --http` does.

use super::json::{self, JsonError, Object, is_null};
use crate::core::rights::{Right, Rights};
use serde_json::value::RawValue;

/// A protocol of another job server that is understood beside pirn's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// hq.
    Hq,
    /// qmd.
    Qmd,
    /// jobrunner.
    Jobrunner,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hq, Self::Qmd, Self::Jobrunner];

    /// The word in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hq => "hq",
            Self::Qmd => "qmd",
            Self::Jobrunner => "jobrunner",
        }
    }
}

/// The settings.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    /// Host names that requests may be for, beside `localhost` and the addresses that are listened on.
    pub hosts: Vec<String>,
    /// The file with the tokens; relative to the spool.
    pub tokens: String,
    /// What callers without a token may do on loopback addresses and sockets in the file system.
    pub anonymous: Rights,
    /// The dialects that are understood.
    pub dialects: Vec<Dialect>,
    /// Most connections at a time. Read at the start only.
    pub connections: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            tokens: "tokens".to_owned(),
            anonymous: Rights::of(&[Right::Read, Right::Push]),
            dialects: Dialect::ALL.to_vec(),
            connections: 512,
        }
    }
}

const HTTP_FIELDS: [&str; 5] = ["hosts", "tokens", "anonymous", "dialects", "connections"];

/// Reads the object.
pub fn read(o: &Object<'_>) -> Result<HttpConfig, JsonError> {
    let mut http = HttpConfig::default();
    for (key, raw) in o.fields() {
        match key {
            _ if is_null(raw) && HTTP_FIELDS.contains(&key) => {}
            "hosts" => http.hosts = o.read(key, raw, json::strings)?,
            "tokens" => http.tokens = o.read(key, raw, json::string)?,
            "anonymous" => http.anonymous = o.read(key, raw, rights)?,
            "dialects" => http.dialects = o.read(key, raw, dialects)?,
            "connections" => http.connections = o.read(key, raw, connections)?,
            _ => return Err(o.unknown(key, raw, &HTTP_FIELDS)),
        }
    }
    Ok(http)
}

fn rights(raw: &RawValue) -> Result<Rights, String> {
    Rights::parse(&json::strings(raw)?.join(","))
}

fn dialects(raw: &RawValue) -> Result<Vec<Dialect>, String> {
    let known = |word: String| {
        let dialect = Dialect::ALL.into_iter().find(|d| d.as_str() == word);
        dialect.ok_or_else(|| format!("expected dialects out of hq, qmd, jobrunner, got {word:?}"))
    };
    json::strings(raw)?.into_iter().map(known).collect()
}

fn connections(raw: &RawValue) -> Result<usize, String> {
    json::integer(raw, 1..=1_000_000).and_then(|n| usize::try_from(n).map_err(|e| e.to_string()))
}
