//! A request, complete and taken apart.

use crate::core::config::rights::Caller;
use std::fmt;
use std::net::SocketAddr;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Show.
    Get,
    /// As GET, without the body. Handlers answer it as they answer GET; the wire leaves the body out.
    Head,
    /// Do.
    Post,
    /// Put there.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
    /// Which methods are there?
    Options,
    /// Anything else.
    Other(Box<str>),
}

impl Method {
    /// Reads a method's name; they are case-sensitive (RFC 9110 section 9.1).
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other(name.into()),
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other(name) => name,
        }
    }

    /// True for those that change nothing (RFC 9110 section 9.2.1).
    pub fn is_safe(&self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options => true,
            Self::Post | Self::Put | Self::Patch | Self::Delete | Self::Other(_) => false,
        }
    }

    /// True for GET and HEAD, which a handler answers alike.
    pub fn is_get(&self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Header fields in the order given. Names are kept in lower case.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// Adds a field.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// The first field of this name, if it is UTF-8 text. The name's case does not matter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name)
            .next()
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every field of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// True if there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// True if there is a field whose name begins so.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// True if a list such as `Connection: close, te` has this word, in any case.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address. `None` on a socket in the file system.
    pub address: Option<SocketAddr>,
    /// The user whose process it is, if the kernel knows.
    pub user: Option<u32>,
    /// Only processes of this machine can connect to the listener.
    pub is_local: bool,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", address.ip()),
            None => f.write_str("unix"),
        }
    }
}

/// A request with all of its body.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The path as it was sent, without the query: `/v1/jobs/a%20b`.
    pub raw_path: String,
    /// The path decoded: `/v1/jobs/a b`. To take it apart use [`Self::segments`], which tells `%2F` from `/`.
    pub path: String,
    /// The query as it was sent, without `?`; empty if there is none.
    pub raw_query: String,
    /// The query's fields, decoded, in the order given.
    pub query: Vec<(String, String)>,
    /// The header.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// Who is at the other end.
    pub peer: Peer,
    /// Who asks, and what they may do.
    pub caller: Caller,
}

impl Request {
    /// The parts of the path, each decoded by itself: `/v1/jobs/a%2Fb` is `["v1", "jobs", "a/b"]`, `/a/` is
    /// `["a", ""]`, `/` is `[""]`. Nothing is normalised: `..` is a part like any other, and names nothing.
    pub fn segments(&self) -> Vec<String> {
        self.raw_path
            .strip_prefix('/')
            .unwrap_or(&self.raw_path)
            .split('/')
            .map(|part| decode(part, false).unwrap_or_default())
            .collect()
    }

    /// The first value of a query field; `Some("")` for one without a value.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Decodes `%xx`, and `+` if it stands for a space. `None`: not two hex digits behind a `%`, or not UTF-8.
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Decodes a query, or a body of type `application/x-www-form-urlencoded`. `None` as for [`decode`].
pub fn decode_form(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(key, true)?, decode(value, true)?))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        assert_eq!(decode("a%20b+c", false).unwrap(), "a b+c");
        assert_eq!(decode("a%20b+c", true).unwrap(), "a b c");
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(bad, false), None, "{bad}");
        }
        let pairs = decode_form("a=1&b&&c=%3D=").unwrap();
        let texts: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(texts, [("a", "1"), ("b", ""), ("c", "==")]);
    }

    #[test]
    fn headers_in_any_case() {
        let mut headers = Headers::default();
        headers.add("Connection", b"TE, close");
        assert!(headers.lists("connection", "Close") && !headers.lists("connection", "clos"));
        assert_eq!(headers.get("CONNECTION"), Some("TE, close"));
    }
}
