//! Errors as RFC 9457 has them: `application/problem+json`.

use super::response::{Response, reason};
use crate::core::quote::without_codes;
use serde_json::json;
use std::fmt::Display;
use std::io;
use std::time::Duration;

/// A problem with this status. `detail` gives the reason, and what to do, in a sentence without a full stop.
pub fn new(status: u16, detail: impl Display) -> Response {
    let body = json!({
        "type": "about:blank", "title": reason(status), "status": status, "detail": without_codes(&detail.to_string()),
    });
    Response::with(status, "application/problem+json", format!("{body}\n"))
}

/// A request that is refused before a handler is asked: by the wire, or at the gate. The connection ends with that.
/// [`crate::http::Router::refuse`] makes an answer of it, in the form that the clients of its path know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// 400 to 505.
    pub status: u16,
    /// The reason, and what to do, in a sentence without a full stop.
    pub why: String,
    /// Fields of the answer that do not depend on its form.
    pub headers: Vec<(&'static str, String)>,
    /// How long the answer is kept back.
    pub delay: Duration,
}

impl Refused {
    /// A refusal without fields.
    pub fn new(status: u16, why: impl Display) -> Self {
        Self {
            status,
            why: without_codes(&why.to_string()),
            headers: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// The status for an error of the system.
pub fn status_of(e: &io::Error) -> u16 {
    match e.raw_os_error() {
        // A queue's directory and a job's file want the same name in `pending/`.
        Some(libc::ENOTDIR | libc::EISDIR) => 409,
        Some(libc::ENOSPC | libc::EDQUOT) => 507,
        Some(libc::EMFILE | libc::ENFILE | libc::EAGAIN | libc::ENOMEM) => 503,
        None if e.kind() == io::ErrorKind::ResourceBusy => 503,
        Some(_) | None => 500,
    }
}
