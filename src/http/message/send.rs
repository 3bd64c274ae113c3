//! Answers as bytes.

use super::head::Head;
use super::method::Method;
use super::response::{Response, reason};
use crate::core::time::Wall;
use std::fmt::Write;

/// How the body of an answer is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// By its length in bytes.
    Length(u64),
    /// In chunks.
    Chunks,
    /// By the end of the connection: for HTTP/1.0.
    UntilClose,
}

/// The form of an answer, as its request wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyForm {
    /// No body is sent: the request was HEAD.
    pub head_only: bool,
    /// The client knows HTTP/1.0.
    pub is_old: bool,
    /// The connection stays open.
    pub keep: bool,
}

impl ReplyForm {
    /// The form of the answer to this request.
    pub fn of(head: &Head) -> Self {
        Self {
            head_only: head.method == Method::Head,
            is_old: head.is_old,
            keep: head.keep_alive,
        }
    }

    /// The form of the answer to input that is no request.
    pub const REFUSAL: Self = Self {
        head_only: false,
        is_old: false,
        keep: false,
    };
}

/// Appends a head to `out`.
pub fn head(out: &mut Vec<u8>, response: &Response, extent: Extent, manner: ReplyForm, now: Wall) {
    let status = response.status;
    let mut text = format!(
        "HTTP/1.1 {status} {}\r\nDate: {}\r\n",
        reason(status),
        now.http_date()
    );
    for (name, value) in &response.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    match extent {
        Extent::Length(_) if matches!(status, 204 | 304) => {}
        Extent::Length(length) => {
            let _ = write!(text, "Content-Length: {length}\r\n");
        }
        Extent::Chunks => text.push_str("Transfer-Encoding: chunked\r\n"),
        Extent::UntilClose => {}
    }
    match (manner.keep, manner.is_old) {
        (false, _) => text.push_str("Connection: close\r\n"),
        (true, true) => text.push_str("Connection: keep-alive\r\n"),
        (true, false) => {}
    }
    text.push_str("\r\n");
    out.extend_from_slice(text.as_bytes());
}

/// Appends a whole answer to `out`.
pub fn full(out: &mut Vec<u8>, response: &Response, manner: ReplyForm, now: Wall) {
    let length = Extent::Length(response.body.len() as u64);
    head(out, response, length, manner, now);
    if !manner.head_only && !matches!(response.status, 204 | 304) {
        out.extend_from_slice(&response.body);
    }
}

/// Appends one chunk to `out`. An empty one is left out: it would end the body.
pub fn chunk(out: &mut Vec<u8>, piece: &[u8]) {
    if !piece.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
}

/// The end of a body in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The answer for which a client may wait before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_as_bytes() {
        let now = Wall::parse("2026-11-21T16:00:00Z").unwrap();
        let mut out = Vec::new();
        let response = Response::text(200, "hi").header("X-A", "b\r\nEvil: c");
        full(&mut out, &response, ReplyForm::REFUSAL, now);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 16:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-A: bEvil: c\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let mut out = Vec::new();
        chunk(&mut out, b"");
        chunk(&mut out, &[b'x'; 26]);
        assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
    }
}
