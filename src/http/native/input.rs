//! Reading requests: bodies that are jobs, and the parameters that several paths have.

use crate::core::id::QueueName;
use crate::core::json;
use crate::core::record::{Record, RecordError};
use crate::core::units::parse_span;
use crate::http::{Request, Response, problem};
use std::time::Duration;

/// The longest time that an answer waits for the end of a job. A client that wants to wait longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The job in a body: in any form that a file in `pending/` may have, or as JSON if the client says so.
pub fn job(request: &Request) -> Result<Record, Response> {
    let kind = request.headers.get("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.starts_with("multipart/") {
        return Err(problem::new(
            415,
            "send the job itself, as JSON or as plain text",
        ));
    }
    let is_json = kind.eq_ignore_ascii_case("application/json");
    read_job(&request.body, is_json)
}

/// As [`job`], from bytes.
pub fn read_job(bytes: &[u8], is_json: bool) -> Result<Record, Response> {
    let read = match std::str::from_utf8(bytes) {
        Ok(text) if is_json => Record::from_json(text),
        Ok(_) | Err(_) => Record::from_bytes(bytes),
    };
    read.map_err(|e| {
        let text = |e: &dyn std::fmt::Display| e.to_string().replace("the file", "the body");
        match &e {
            RecordError::Empty | RecordError::NotText => problem::new(400, text(&e)),
            RecordError::Json(json) if json.field.is_empty() => problem::new(400, text(json)),
            RecordError::Json(_) | RecordError::Work(_) | RecordError::Unsupported(_) => {
                problem::new(422, text(&e))
            }
        }
    })
}

/// Refuses a request with other parameters than these: a misspelt one that is ignored would change the answer.
pub fn only(request: &Request, known: &[&str]) -> Result<(), Response> {
    let mut names = request.query.iter().map(|(name, _)| name.as_str());
    let Some(name) = names.find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let hint = json::hint(name, known, "parameters");
    let what = format!("unknown parameter {name:?}; {hint}");
    Err(problem::new(400, what))
}

/// How long the answer may wait: `?wait=30s`, or `Prefer: wait=30` (RFC 7240).
pub fn wait(request: &Request) -> Result<Option<Duration>, Response> {
    let span = match request.query("wait") {
        Some(text) => Some(parse_span(text).map_err(|e| problem::new(400, format!("wait: {e}")))?),
        None => preferred_wait(request),
    };
    Ok(span.map(|span| span.min(LONGEST_WAIT)))
}

/// The wait of `Prefer`. A malformed one is ignored.
fn preferred_wait(request: &Request) -> Option<Duration> {
    request
        .headers
        .all("prefer")
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|item| item.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(Duration::from_secs)
}

/// The value of a parameter that is `true`, `false`, or there without a value.
pub fn flag(request: &Request, name: &str) -> Result<bool, Response> {
    match request.query(name) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => {
            let what = format!("{name}: expected true or false, got {other:?}");
            Err(problem::new(400, what))
        }
    }
}

/// A parameter that is a whole number.
pub fn number(request: &Request, name: &str) -> Result<Option<u64>, Response> {
    let Some(text) = request.query(name) else {
        return Ok(None);
    };
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => {
            let what = format!("{name}: expected a whole number, got {text:?}");
            Err(problem::new(400, what))
        }
    }
}

/// A queue's name.
pub fn queue(text: &str) -> Result<QueueName, Response> {
    QueueName::new(text).map_err(|e| problem::new(400, format!("queue: the name {e}")))
}
