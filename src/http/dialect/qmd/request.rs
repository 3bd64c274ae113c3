//! The body of a request to run a script.

use crate::core::id::JobId;
use crate::core::json::JsonError;
use crate::core::record::{Record, RecordError};
use crate::http::dialect::go::GoFields;
use crate::spool::QMD_QUEUE;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One of qmd's three classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// The default.
    High,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Reads the word of a query.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "urgent" => Ok(Self::Urgent),
            "high" | "" => Ok(Self::High),
            "low" => Ok(Self::Low),
            _ => Err(format!("unknown priority {word:?}")),
        }
    }

    /// The priority in a record.
    pub fn number(self) -> i32 {
        match self {
            Self::Urgent => 10,
            Self::High => 0,
            Self::Low => -10,
        }
    }

    /// The class of a record's priority.
    pub fn of(number: i32) -> Self {
        match number {
            1.. => Self::Urgent,
            0 => Self::High,
            _ => Self::Low,
        }
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// A request to run a script. Other keys are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The arguments of the script.
    pub args: Vec<String>,
    /// Files to put into its directory.
    pub files: BTreeMap<String, String>,
    /// The URL to which the result is sent; then the answer does not wait for it.
    pub callback_url: Option<String>,
}

impl RunRequest {
    /// Reads a body. Errors are sentences.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let fields = GoFields::first(body)?;
        let wanted = Self {
            args: fields.strings("args")?,
            files: fields.texts("files")?,
            callback_url: match fields.string("callback_url")?.trim() {
                "" => None,
                url => Some(normal_url(url).map_err(|e| format!("callback_url: {e}"))?),
            },
        };
        if wanted.files.keys().any(|name| name.contains('/')) {
            return Err("extra files must not contain any slashes in the path".to_owned());
        }
        Ok(wanted)
    }

    /// The record of the job, without its tries. Errors are sentences.
    ///
    /// It is read as the record of any client is, so that the same rules hold.
    pub fn record(&self, script: &JobId, priority: Priority) -> Result<Record, String> {
        let mut record = json!({
            "script": script.as_str(),
            "args": self.args,
            "files": self.files,
            "queue": QMD_QUEUE,
            "priority": priority.number(),
            "tmp": true,
        });
        if let Some(url) = &self.callback_url {
            record["callback_url"] = json!(url);
        }
        Record::from_json(&record.to_string()).map_err(|e| match e {
            RecordError::Json(e) => JsonError { line: 0, ..e }.to_string(),
            RecordError::Empty
            | RecordError::NotText
            | RecordError::Work(_)
            | RecordError::Unsupported(_) => e.to_string(),
        })
    }
}

/// The address and the port of a normal URL; `None` if it names a host, which may lead anywhere.
pub fn address(url: &str) -> Option<(IpAddr, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let usual = if scheme == "https" { 443 } else { 80 };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Some((address.ip(), address.port()));
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Some((bare.unwrap_or(host).parse().ok()?, usual))
}

/// A URL with its scheme, `http` if it has none, and its host in lower case.
fn normal_url(url: &str) -> Result<String, String> {
    let wrong = || format!("{url:?} is no URL of http or https");
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (format!("{user}@"), host),
        None => (String::new(), authority),
    };
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    let name = host.split(':').next().unwrap_or_default();
    if !["http", "https"].contains(&scheme.as_str())
        || name.is_empty()
        || !url.chars().all(is_plain)
    {
        return Err(wrong());
    }
    Ok(format!(
        "{scheme}://{user}{}{path}",
        host.to_ascii_lowercase()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, wanted) in [
            ("http://example.org/a?b", Some("http://example.org/a?b")),
            ("HTTPS://Example.ORG:81/A", Some("https://example.org:81/A")),
            ("Example.org/A", Some("http://example.org/A")),
            ("localhost:81", Some("http://localhost:81")),
            ("u:P@Host", Some("http://u:P@host")),
            ("[::1]:81/x", Some("http://[::1]:81/x")),
            ("ftp://example.org", None),
            ("http://", None),
            ("http:///x", None),
            ("http://:80/", None),
            ("http://a b/", None),
            ("http://a\n/", None),
        ] {
            assert_eq!(normal_url(url).ok().as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn addresses() {
        for (url, wanted) in [
            ("http://10.0.0.1/a:9", Some(("10.0.0.1", 80))),
            ("https://u:p@10.0.0.1?q", Some(("10.0.0.1", 443))),
            ("http://10.0.0.1:81#f", Some(("10.0.0.1", 81))),
            ("http://[::1]:81/", Some(("::1", 81))),
            ("https://[::1]/", Some(("::1", 443))),
            ("http://localhost:81/", None),
            ("http://10.0.0.1.example/", None),
        ] {
            let wanted = wanted.map(|(ip, port)| (ip.parse().unwrap(), port));
            assert_eq!(address(url), wanted, "{url}");
        }
    }

    #[test]
    fn a_request_is_a_record() {
        let read = |text: &str| RunRequest::read(text.as_bytes());
        let wanted = read(r#"{"Args": ["a"], "files": {"f": "x"}, "script": "other", "id": 7}"#);
        let script = JobId::new("s.sh").unwrap();
        let record = wanted.unwrap().record(&script, Priority::Low).unwrap();
        assert_eq!((record.priority, record.tries), (-10, None));
        assert_eq!(record.work.summary(), "s.sh a");
        assert!(record.id.is_none() && record.wants_scratch());
        for (body, words) in [
            (r#"{"args": [1]}"#, "args"),
            (r#"{"files": {"a/b": ""}}"#, "slashes"),
            (r#"{"callback_url": "ftp://x"}"#, "callback_url"),
        ] {
            assert!(read(body).unwrap_err().contains(words), "{body}");
        }
        let hidden = read(r#"{"files": {".a": ""}}"#).unwrap();
        assert!(hidden.record(&script, Priority::High).is_ok());
        let hidden = read(r#"{"files": {"..": ""}}"#).unwrap();
        let error = hidden.record(&script, Priority::High).unwrap_err();
        assert!(error.starts_with("files"), "{error}");
    }
}
