//! `http` in `config.json`: settings of the HTTP server. `pirn serve --http` starts it.

use super::allow::Allow;
use super::network::IpNetwork;
use super::rights::{Rights, Tokenless, Trust, Who};
use crate::core::json::{self, JsonError, Object};
use base64::Engine as _;
use serde_json::value::RawValue;
use std::fmt;

/// A protocol of another job server that the HTTP server understands beside pirn's own.
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
    /// Host names that a request may name, beside `localhost` and the addresses that the server listens on.
    pub hosts: Vec<String>,
    /// The file with the tokens; relative to the spool.
    pub tokens: String,
    /// The rights of callers without a token.
    pub tokenless: Tokenless,
    /// The dialects that the server understands.
    pub dialects: Vec<Dialect>,
    /// Most connections at a time. Read at the start only.
    pub connections: usize,
    /// The hosts that jobs may call.
    pub url_allow: Allow,
    /// The secret that signs calls.
    pub webhook_secret: Option<Secret>,
    /// The file with the names of the scripts that qmd's callers may run; relative to the spool. `None`: all.
    pub qmd_whitelist: Option<String>,
}

/// A secret of Standard Webhooks as the config has it: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Checks the text. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let secret = Self(text.to_owned());
        match secret.key() {
            Some(key) if (24..=64).contains(&key.len()) => Ok(secret),
            // Errors go to logs, so that they do not repeat the secret.
            Some(_) | None => {
                Err("expected whsec_ followed by 24 to 64 bytes in base64".to_owned())
            }
        }
    }

    /// The text in the config.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes to sign with.
    pub fn key(&self) -> Option<Vec<u8>> {
        let text = self.0.strip_prefix("whsec_")?;
        base64::engine::general_purpose::STANDARD.decode(text).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            tokens: "tokens".to_owned(),
            tokenless: Tokenless::default(),
            dialects: Dialect::ALL.to_vec(),
            connections: 512,
            url_allow: Allow::default(),
            webhook_secret: None,
            qmd_whitelist: None,
        }
    }
}

const HTTP_FIELDS: [&str; 9] = [
    "hosts",
    "tokens",
    "anonymous",
    "trust",
    "dialects",
    "connections",
    "url_allow",
    "webhook_secret",
    "qmd_whitelist",
];

/// Reads the object `http`.
pub fn read(o: &Object<'_>) -> Result<HttpConfig, JsonError> {
    let mut http = HttpConfig::default();
    for field in o.fields() {
        match field.key {
            key if field.is_null() && HTTP_FIELDS.contains(&key) => {}
            "hosts" => http.hosts = field.read(json::strings)?,
            "tokens" => http.tokens = field.read(json::string)?,
            "anonymous" => http.tokenless.set_own(field.read(rights)?),
            "trust" => {
                let entries = field.objects()?;
                http.tokenless.trust = entries.iter().map(trust).collect::<Result<_, _>>()?;
            }
            "dialects" => http.dialects = field.read(dialects)?,
            "connections" => http.connections = field.integer(1..=1_000_000)?,
            "url_allow" => {
                http.url_allow = field.read(|r| Allow::parse(&json::strings(r)?))?;
            }
            "qmd_whitelist" => {
                let path = field.read(json::string)?;
                http.qmd_whitelist = Some(path).filter(|path| !path.is_empty());
            }
            "webhook_secret" => {
                let secret = field.read(|r| Secret::parse(&json::string(r)?))?;
                http.webhook_secret = Some(secret);
            }
            _ => return Err(field.unknown(&HTTP_FIELDS)),
        }
    }
    Ok(http)
}

fn rights(raw: &RawValue) -> Result<Rights, String> {
    Rights::parse(&json::strings(raw)?.join(","))
}

/// Reads an entry of `trust`: an address or a user, and the rights.
fn trust(o: &Object<'_>) -> Result<Trust, JsonError> {
    let (mut who, mut granted) = (None, None);
    for field in o.fields() {
        let named = match field.key {
            "from" => field.read(network).map(Who::From)?,
            "user" => field.read(user)?,
            "rights" => {
                granted = Some(field.read(rights)?);
                continue;
            }
            _ => return Err(field.unknown(&["from", "user", "rights"])),
        };
        if who.replace(named).is_some() {
            let what = "\"from\" and \"user\" are two entries".to_owned();
            return Err(field.error(what));
        }
    }
    Ok(Trust {
        who: who.ok_or_else(|| o.missing("from", "an entry has \"from\" or \"user\""))?,
        rights: granted
            .ok_or_else(|| o.missing("rights", "a list out of read, push, run, admin"))?,
    })
}

fn network(raw: &RawValue) -> Result<IpNetwork, String> {
    let text = json::string(raw)?;
    IpNetwork::parse(&text)
        .ok_or_else(|| format!("expected an address or a network such as 10.0.0.0/8, got {text:?}"))
}

/// A user by name or number. A text of digits only is a number: no user has such a name.
fn user(raw: &RawValue) -> Result<Who, String> {
    let text = match raw.get().starts_with('"') {
        true => json::string(raw)?,
        false => raw.get().to_owned(),
    };
    match text.parse() {
        Ok(number) => Ok(Who::User(number)),
        Err(_) if raw.get().starts_with('"') && !text.is_empty() => Ok(Who::Name(text)),
        Err(_) => Err(json::expected("the name or the number of a user", raw)),
    }
}

fn dialects(raw: &RawValue) -> Result<Vec<Dialect>, String> {
    let known = |word: String| {
        let dialect = Dialect::ALL.into_iter().find(|d| d.as_str() == word);
        dialect.ok_or_else(|| format!("expected dialects out of hq, qmd, jobrunner, got {word:?}"))
    };
    json::strings(raw)?.into_iter().map(known).collect()
}
