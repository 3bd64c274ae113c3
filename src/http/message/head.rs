//! The head of a request: taken apart by `httparse`, judged by the strict reading of RFC 9112. A head that two readers
//! could understand differently is refused, since a proxy may be the other reader.

use super::headers::Headers;
use super::method::Method;
use super::problem::Refused;
use super::target::{self, RequestTarget};
use crate::core::percent::decode_form;
use std::mem::MaybeUninit;

/// Most header fields of a request.
pub const MAX_FIELDS: usize = 64;

/// How the body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes; 0 for no body.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path as sent.
    pub raw_path: String,
    /// The path decoded.
    pub path: String,
    /// The query as sent.
    pub raw_query: String,
    /// The query decoded.
    pub query: Vec<(String, String)>,
    /// The header.
    pub headers: Headers,
    /// The host that a target in absolute form names (`GET http://host/path`).
    pub authority: Option<String>,
    /// How the body is delimited.
    pub framing: Framing,
    /// True for HTTP/1.0, which knows no chunks.
    pub is_old: bool,
    /// The client wants another request on this connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
}

/// Where the head ends, if all of it is in `bytes`; those before `from` were looked at before. Errors: line ends
/// other than CR LF, and NUL.
pub fn end_of_head(bytes: &[u8], from: usize) -> Result<Option<usize>, Refused> {
    for i in from..bytes.len() {
        let after_cr = i > 0 && bytes[i - 1] == b'\r';
        match bytes[i] {
            b'\n' if !after_cr => return Err(Refused::new(400, "a line ends without CR")),
            b'\n' if bytes[..=i].ends_with(b"\r\n\r\n") => return Ok(Some(i + 1)),
            b'\n' => {}
            _ if after_cr => return Err(Refused::new(400, "a CR is not at the end of a line")),
            0 => return Err(Refused::new(400, "there is a NUL in the head")),
            _ => {}
        }
    }
    Ok(None)
}

/// The refusal of a head that has not ended within its limit.
pub fn too_large(bytes: &[u8]) -> Refused {
    match bytes.contains(&b'\n') {
        true => Refused::new(431, "the header is too large"),
        false => Refused::new(414, "the request target is too long"),
    }
}

/// Method and target of the first line of a head. `None`: the line is not complete, or malformed.
pub fn first_line(bytes: &[u8]) -> Option<(Method, RequestTarget)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let words: Vec<&str> = line.trim_end_matches('\r').split(' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let method = Method::parse(method);
    let target = target::read(&method, target).ok()?;
    (is_token && version.starts_with("HTTP/")).then_some((method, target))
}

/// Reads a head that is complete. Not inlined: idle threads need no frame for it.
#[inline(never)]
pub fn parse(bytes: &[u8]) -> Result<Head, Refused> {
    // `httparse` skips empty lines; here they are no part of a head.
    if bytes.starts_with(b"\r\n") {
        return Err(Refused::new(400, "the head is malformed"));
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(Refused::new(400, "the head is malformed")),
        Err(e) => return Err(malformed(e, bytes)),
    }
    let is_old = match request.version {
        Some(1) => false,
        Some(0) => true,
        Some(_) | None => {
            return Err(Refused::new(
                505,
                "only HTTP/1.1 and HTTP/1.0 are spoken here",
            ));
        }
    };
    let mut headers = Headers::default();
    for field in request.headers.iter() {
        headers.add(field.name, field.value);
    }
    let method = Method::parse(request.method.unwrap_or_default());
    let target = target::read(&method, request.path.unwrap_or_default())?;
    match (headers.all("host").count(), is_old) {
        (1, _) | (0, true) => {}
        (0, false) => return Err(Refused::new(400, "there is no Host")),
        (_, _) => return Err(Refused::new(400, "there is more than one Host")),
    }
    let expects_continue = match headers.get("expect") {
        None if headers.has("expect") => return Err(Refused::new(417, "this cannot be expected")),
        None => false,
        Some(word) if word.eq_ignore_ascii_case("100-continue") => !is_old,
        Some(_) => return Err(Refused::new(417, "only 100-continue can be expected")),
    };
    let keep_alive = !headers.lists("connection", "close")
        && (!is_old || headers.lists("connection", "keep-alive"));
    Ok(Head {
        framing: framing(&headers, is_old)?,
        path: target::decoded(&target.path)?,
        query: decode_form(&target.query)
            .ok_or_else(|| Refused::new(400, "the query is not UTF-8 in %xx"))?,
        raw_path: target.path,
        raw_query: target.query,
        authority: target.authority,
        method,
        headers,
        is_old,
        keep_alive,
        expects_continue,
    })
}

fn malformed(e: httparse::Error, bytes: &[u8]) -> Refused {
    match e {
        httparse::Error::TooManyHeaders => Refused::new(431, "there are too many header fields"),
        httparse::Error::Version if names_a_version(bytes) => {
            Refused::new(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        httparse::Error::Version => Refused::new(400, "the request line does not end in a version"),
        httparse::Error::HeaderName => Refused::new(400, "a field's name is malformed"),
        httparse::Error::HeaderValue => Refused::new(400, "a field's value is malformed"),
        httparse::Error::NewLine => Refused::new(400, "a line end is malformed"),
        httparse::Error::Token | httparse::Error::Status => {
            Refused::new(400, "the request line is malformed")
        }
    }
}

/// True if the first line ends like `HTTP/2.0`: in a version, but none that is spoken here.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or(line);
    let digits = word.strip_prefix(b"HTTP/").unwrap_or_default();
    let is_version = matches!(digits, [a, b'.', b] if a.is_ascii_digit() && b.is_ascii_digit());
    is_version && !matches!(digits, b"1.0" | b"1.1")
}

fn framing(headers: &Headers, is_old: bool) -> Result<Framing, Refused> {
    let mut codings = headers.all("transfer-encoding");
    let mut lengths = headers.all("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Refused::new(
            400,
            "there are both Transfer-Encoding and Content-Length",
        )),
        (Some(_), None) if is_old => Err(Refused::new(400, "HTTP/1.0 has no Transfer-Encoding")),
        (Some(coding), None) => {
            if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
                Ok(Framing::Chunked)
            } else {
                Err(Refused::new(
                    501,
                    "chunked is the only transfer coding known here",
                ))
            }
        }
        (None, Some(_)) if lengths.next().is_some() => {
            Err(Refused::new(400, "there is more than one Content-Length"))
        }
        (None, Some(length)) => {
            let digits = std::str::from_utf8(length)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            digits
                .and_then(|text| text.parse().ok())
                .map(Framing::Length)
                .ok_or_else(|| Refused::new(400, "Content-Length is not a number"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::message::target::MAX_TARGET;

    fn status(text: &str) -> u16 {
        match end_of_head(text.as_bytes(), 0) {
            Err(e) => e.status,
            Ok(None) => 0,
            Ok(Some(end)) => parse(&text.as_bytes()[..end]).map_or_else(|e| e.status, |_| 200),
        }
    }

    #[test]
    fn what_is_refused() {
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "x".repeat(MAX_TARGET)
        );
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_FIELDS)
        );
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET / HTTP/1.1\r\nHost: a\r\n", 0),
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nb@d: c\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                501,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n", 417),
            (&long, 414),
            (&many, 431),
        ] {
            assert_eq!(status(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn parts_of_a_head() {
        let head = parse(
            b"PUT http://h:1/a%2Fb/c?d=%20&e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            (head.raw_path.as_str(), head.path.as_str()),
            ("/a%2Fb/c", "/a/b/c")
        );
        assert_eq!(head.authority.as_deref(), Some("h:1"));
        assert_eq!(
            head.query,
            [
                ("d".to_owned(), " ".to_owned()),
                ("e".to_owned(), String::new())
            ]
        );
        assert_eq!(head.framing, Framing::Chunked);
        assert!(head.expects_continue && head.keep_alive && !head.is_old);
        let old = parse(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
        assert!(old.is_old && old.keep_alive);
    }
}
