//! Jobs that call a URL, and the messages between the daemon and the process that calls, `pirn deliver`.

use crate::core::json::{self, Field, JsonError, Object, expected};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The rules that a call follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// pirn's rules: any status from 200 to 299 is a success.
    #[default]
    Own,
    /// hq's rules: only 200 is a success; hq's header fields and error messages.
    Hq,
}

impl Manner {
    /// The value of `dialect` in the record; pirn's own rules need none.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Hq => Some("hq"),
        }
    }

    /// True if this status is a success.
    pub fn is_success(self, status: u16) -> bool {
        match self {
            Self::Own => (200..300).contains(&status),
            Self::Hq => status == 200,
        }
    }
}

/// One POST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Call {
    /// Its URL.
    pub url: String,
    /// Fields of the request's header. No list and an empty list differ in hq's answers.
    pub headers: Option<BTreeMap<String, String>>,
    /// The body: JSON text, byte for byte as in the job.
    pub payload: Option<String>,
    /// The rules that it follows.
    pub manner: Manner,
    /// It is signed as in Standard Webhooks, if there is a secret.
    pub sign: bool,
}

/// The fields of a call that were read so far.
#[derive(Default)]
pub(super) struct CallParts {
    url: Option<String>,
    rest: Call,
    stray: Option<&'static str>,
}

impl CallParts {
    /// Reads a field. False if `key` is none of a call.
    pub(super) fn read(&mut self, field: Field<'_, '_>) -> Result<bool, JsonError> {
        self.stray = match field.key {
            "url" => {
                self.url = Some(field.read(url)?);
                return Ok(true);
            }
            "headers" => {
                self.rest.headers = Some(headers(&field.child()?)?);
                Some("headers")
            }
            "payload" => {
                self.rest.payload = Some(field.raw.get().to_owned());
                Some("payload")
            }
            "dialect" => {
                self.rest.manner = field.read(manner)?;
                Some("dialect")
            }
            "sign" => {
                self.rest.sign = field.read(json::boolean)?;
                Some("sign")
            }
            _ => return Ok(false),
        };
        Ok(true)
    }

    /// The call, if there is one.
    pub(super) fn finish(self) -> Result<Option<Call>, &'static str> {
        match (self.url, self.stray) {
            (Some(url), _) => Ok(Some(Call { url, ..self.rest })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err("headers, payload, dialect and sign go with url, and there is none")
            }
        }
    }
}

/// Reads a URL. A malformed URL fails only when it is called, but a wrong port is an error at once.
pub(super) fn url(raw: &RawValue) -> Result<String, String> {
    let text = json::string(raw)?;
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    check_port(&text)?;
    Ok(text)
}

/// Errors: the URL has a port that is no number from 0 to 65535. A client would call the usual port instead.
pub fn check_port(url: &str) -> Result<(), String> {
    let Some((_, authority, _)) = around_authority(url.trim()) else {
        return Ok(());
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    // Colons within brackets belong to an address.
    let behind = host.rsplit(']').next().unwrap_or(host);
    match behind.rsplit_once(':') {
        None | Some((_, "")) => Ok(()),
        Some((_, port)) => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            match is_number && port.parse::<u16>().is_ok() {
                true => Ok(()),
                false => Err(format!(
                    "{port:?} is no port; expected a number from 0 to 65535"
                )),
            }
        }
    }
}

/// The URL without the user name and the password that it may have.
pub fn without_userinfo(url: &str) -> Cow<'_, str> {
    match around_authority(url).and_then(|(head, authority, rest)| {
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{head}{host}{rest}"))
    }) {
        Some(short) => Cow::Owned(short),
        None => Cow::Borrowed(url),
    }
}

/// Splits a URL into the text before its authority (user, host and port), the authority, and the text after it.
fn around_authority(url: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = url.split_at(url.find("//")? + 2);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some((head, authority, rest))
}

fn headers(object: &Object<'_>) -> Result<BTreeMap<String, String>, JsonError> {
    let mut headers = BTreeMap::new();
    for field in object.fields() {
        headers.insert(field.key.to_owned(), field.read(json::string)?);
    }
    Ok(headers)
}

fn manner(raw: &RawValue) -> Result<Manner, String> {
    match raw.get() {
        "\"hq\"" => Ok(Manner::Hq),
        _ => Err(expected("\"hq\"", raw)),
    }
}

/// The standard input of `pirn deliver`. Other users cannot see it, as they can arguments.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The job.
    pub id: String,
    /// The number of this try.
    pub attempt: u32,
    /// The URL to call.
    pub url: String,
    /// Fields of the header.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub payload: Option<Box<RawValue>>,
    /// The rules that it follows.
    pub manner: Manner,
    /// True if it is to be signed; then no redirect is followed.
    pub sign: bool,
    /// The secret to sign with, in the text of the config.
    pub secret: Option<String>,
    /// The hosts that it may call, in the texts of the config.
    pub allow: Vec<String>,
    /// Most bytes of an answer.
    pub most: Option<u64>,
}

/// The report of `pirn deliver`, in `$PIRN_OUT`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The status of the last answer.
    pub status_code: Option<u16>,
    /// An error message.
    pub error: Option<String>,
    /// Seconds after which the server wants to be called again.
    pub retry_after: Option<u64>,
    /// The answer was larger than `most` bytes.
    #[serde(default)]
    pub is_too_large: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (url, is_right) in [
            ("http://127.0.0.1:99999/", false),
            ("http://127.0.0.1:65536", false),
            ("http://127.0.0.1:65535?a:99999", true),
            (" http://127.0.0.1:80 ", true),
            ("http://127.0.0.1:+80/", false),
            ("http://127.0.0.1:-1/", false),
            ("http://127.0.0.1:8o/", false),
            ("http://127.0.0.1:/", true),
            ("http://a:99999@b/c:99999", true),
            ("http://a:1@b:99999#c", false),
            ("http://[::1]/", true),
            ("http://[::1]:80/", true),
            ("http://[::1]:99999/", false),
            ("//a:99999", false),
            ("a:99999", true),
            ("", true),
        ] {
            assert_eq!(check_port(url).is_ok(), is_right, "{url}");
        }
    }

    #[test]
    fn who_asks_is_not_repeated() {
        for (url, wanted) in [
            ("http://a:b@c/d@e?f@g", "http://c/d@e?f@g"),
            ("http://a@b@c:1", "http://c:1"),
            ("http://c/d@e", "http://c/d@e"),
            ("http://c?d@e", "http://c?d@e"),
            ("a@b", "a@b"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(url), wanted);
        }
    }
}
