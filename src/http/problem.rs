//! Errors as RFC 9457 has them: `application/problem+json`.

use super::answer::Response;
use super::wire::head::Refused;
use super::wire::send::reason;
use serde_json::json;

/// A problem with this status. `detail` says what was wrong and what to do, in a sentence without a full stop.
pub fn new(status: u16, detail: impl std::fmt::Display) -> Response {
    let body = json!({
        "type": "about:blank", "title": reason(status), "status": status, "detail": detail.to_string(),
    });
    Response::with(status, "application/problem+json", format!("{body}\n"))
}

/// What the wire refused.
pub fn refused(e: Refused) -> Response {
    new(e.status, e.why)
}
