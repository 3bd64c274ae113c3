//! hq's API, as of its release 1.1.0 with what 2.0.0 added: jobs that call a URL, by number.
//!
//! All jobs with a `url` and a number are hq's jobs, however they came; others are not seen here. Every success has the
//! status 200, every error is `{"status":N,"error":"..."}`, and `?pretty` indents both.

mod input;
mod list;
mod one;
mod show;
mod stats;
mod text;

use crate::core::id::JobId;
use crate::core::quote::without_codes;
use crate::core::record::Record;
use crate::http::{Answer, Door, Handler, JobRefusal, Request, Response, Right};
use crate::spool::Found;
use input::Input;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// The release whose clients are served.
const VERSION: &str = "1.1.0";

/// The handler.
pub struct Hq;

/// An error: its status and hq's text.
#[derive(Debug)]
struct Fail(u16, String);

/// The JSON text of a success.
type HqResult = Result<String, Fail>;

impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Self {
        JobRefusal::Io(e).into()
    }
}

impl From<JobRefusal> for Fail {
    fn from(refusal: JobRefusal) -> Self {
        Self(refusal.status(), refusal.to_string())
    }
}

impl Handler for Hq {
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer> {
        let segments = request.segments();
        let mut parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        if !is_ours(&parts) {
            return None;
        }
        match parts.as_slice() {
            ["ui", "internal"] => parts = vec![""],
            ["ui", "internal", rest @ ..] => parts = rest.to_vec(),
            _ => {}
        }
        if let [_, .., ""] = parts.as_slice() {
            return Some(without_slash(request).into());
        }
        Some(response(request, route(request, door, &parts)).into())
    }

    fn refusal(&self, request: &Request, status: u16, why: &str) -> Option<Response> {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        is_ours(&parts).then(|| response(request, Err(Fail(status, why.to_owned()))))
    }
}

/// True for hq's paths.
fn is_ours(path: &[&str]) -> bool {
    matches!(path, ["ui", "internal", ..] | [""] | ["job" | "stats", ..])
}

fn route(request: &Request, door: &Arc<Door>, parts: &[&str]) -> HqResult {
    let get = request.method.is_get();
    match (parts, request.method.as_str()) {
        ([""], _) => Ok(info()),
        (["stats"], _) if get => stats::show(request, door),
        (["dashboard"], _) if get => stats::dashboard(request, door),
        (["job"], _) if get => list::list(request, door),
        (["job"], "POST") => one::push(request, door),
        (["job", id], _) if get => one::get(request, door, id),
        (["job", id], "DELETE") => one::delete(request, door, id),
        (["job", id, "restart"], "POST") => one::restart(request, door, id),
        (["job", id, "stop"], "POST") => one::stop(request, door, id),
        (["stats" | "dashboard" | "job"] | ["job", _] | ["job", _, "restart" | "stop"], _) => {
            Err(Fail(405, "Method Not Allowed".to_owned()))
        }
        _ => Err(not_found()),
    }
}

fn not_found() -> Fail {
    Fail(404, "Not Found".to_owned())
}

fn info() -> String {
    let ours = concat!("pirn ", env!("CARGO_PKG_VERSION"));
    format!(
        "{{\"version\":{},\"commitHash\":{}}}",
        json!(VERSION),
        json!(ours)
    )
}

/// The same path without the slash at its end.
fn without_slash(request: &Request) -> Response {
    let path = request.raw_path.trim_end_matches('/');
    let query = match request.raw_query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    Response::new(302).header("Location", format!("{path}{query}"))
}

fn response(request: &Request, outcome: HqResult) -> Response {
    let (status, body) = match outcome {
        Ok(body) => (200, body),
        Err(Fail(status, error)) => (status, error_text(status, &error)),
    };
    let body = match request.query("pretty") {
        Some(_) => text::pretty(&body),
        None => text::compact(&body),
    };
    let response = Response::with(status, "application/json; charset=UTF-8", body + "\n");
    match status {
        401 => response.header("WWW-Authenticate", "Bearer"),
        503 => response.header("Retry-After", 10),
        507 => response.header("Retry-After", 60),
        _ => response,
    }
}

/// The JSON text of an error.
fn error_text(status: u16, error: &str) -> String {
    format!(
        "{{\"status\":{status},\"error\":{}}}",
        json!(without_codes(error))
    )
}

/// The job that the body of a push asks for, or the error's status and text.
pub fn read_push(content_type: &str, body: &[u8]) -> Result<Record, (u16, String)> {
    Input::new(&[], content_type, body)
        .and_then(|input| one::asked_for(&input))
        .map_err(|Fail(status, error)| (status, error))
}

/// Refuses callers without this right.
fn require(request: &Request, right: Right) -> Result<(), Fail> {
    if request.caller.may(right) {
        return Ok(());
    }
    let what = format!("This needs the right '{}'", right.as_str());
    Err(Fail(request.caller.refusal(), what))
}

/// The job of this number.
fn find(door: &Door, id: &str) -> Result<(u64, Found), Fail> {
    let number: u64 = match id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => id.parse().ok(),
        false => None,
    }
    .ok_or_else(|| Fail(422, format!("The job id  must be a number but '{id}'.")))?;
    let missing = || Fail(422, format!("Job '{number}' is not found"));
    let id = JobId::new(&number.to_string()).map_err(|_| missing())?;
    match door.spool().get(&id)? {
        Some(found) if show::call(&found.record).is_some() => Ok((number, found)),
        Some(_) | None => Err(missing()),
    }
}
