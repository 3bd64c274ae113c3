//! Errors as RFC 9457 has them: `application/problem+json`.

use super::answer::Response;
use super::wire::head::Refused;
use super::wire::send::reason;
use serde_json::json;
use std::fmt::Display;
use std::time::Duration;

/// A problem with this status. `detail` says what was wrong and what to do, in a sentence without a full stop.
pub fn new(status: u16, detail: impl Display) -> Response {
    let body = json!({
        "type": "about:blank", "title": reason(status), "status": status, "detail": detail.to_string(),
    });
    Response::with(status, "application/problem+json", format!("{body}\n"))
}

/// What is refused before any handler is asked: by the wire, or at the gate. [`super::Router::say`] makes an answer of
/// it, in the form that the clients of its path know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuff {
    /// 400 to 505.
    pub status: u16,
    /// What was wrong and what to do, in a sentence without a full stop.
    pub why: String,
    /// Fields of the answer that do not depend on its form.
    pub headers: Vec<(&'static str, String)>,
    /// How long the answer is kept back.
    pub delay: Duration,
}

impl Rebuff {
    /// One without fields.
    pub fn new(status: u16, why: impl Display) -> Self {
        Self {
            status,
            why: why.to_string(),
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

impl From<Refused> for Rebuff {
    fn from(e: Refused) -> Self {
        Self::new(e.status, e.why)
    }
}
