//! qmd: runs programs of a directory over HTTP, and answers with their output. Its jobs are `script` jobs in the queue
//! `qmd`.
//!
//! Differences from the original, where that was wrong:
//! - An unknown script is 404, not an empty 200 or, with a callback, nothing at all.
//! - A job is durable when it is accepted, and is run once: not again because it took long or the server was stopped.
//! - The body names neither script nor id nor status. A file name that holds a slash is refused before the job is
//!   queued, not stripped, nor run and failed.
//! - Scripts do not get the server's environment, the scratch directory is removed when they end, and a script that
//!   ignores
//!   TERM is killed.
//! - `GET /jobs/ID` knows the jobs that wait and run in `GET /jobs?format=json`; the logs of a script are those of its
//!   jobs.
//! - A wait that the end of the daemon cuts short is answered with 503 and where to ask again.

mod jobs;
pub mod request;
mod scripts;

use crate::core::id::{JobId, QueueName};
use crate::core::quote::without_codes;
use crate::http::{
    Answer, Door, Ended, Handled, Handler, JobRefusal, Method, Request, Response, Right,
    wait_for_end,
};
use crate::spool::{Found, QMD_QUEUE};
use std::io;
use std::sync::Arc;

/// The handler.
pub struct Qmd;

impl Handler for Qmd {
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer> {
        let segments = request.segments();
        let outcome = route(request, door, &parts(&segments))?;
        Some(outcome.unwrap_or_else(Answer::Full))
    }

    fn refusal(&self, request: &Request, status: u16, why: &str) -> Option<Response> {
        methods_of(&parts(&request.segments()))?;
        let why = match status {
            503 => "Service Unavailable",
            _ => why,
        };
        Some(Response::text(status, why))
    }
}

/// The parts of a path: `/jobs/` and `/jobs` are the same.
fn parts(segments: &[String]) -> Vec<&str> {
    let mut parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let [_, .., ""] = parts.as_slice() {
        parts.pop();
    }
    parts
}

fn route(request: &Request, door: &Arc<Door>, parts: &[&str]) -> Option<Handled> {
    let get = request.method.is_get();
    let outcome = match (parts, &request.method) {
        (["ping"], _) if get => Ok(Response::text(200, ".").into()),
        (["scripts"], _) if get => scripts::list(request, door),
        (["scripts"], Method::Put) => scripts::reload(request),
        (["scripts", name], Method::Post) => scripts::run(request, door, name),
        (["scripts", name, "logs"], _) if get => scripts::logs(request, door, name),
        (["scripts", name, "logs", id], _) if get => scripts::log(request, door, name, id),
        (["jobs"], _) if get => jobs::list(request, door),
        (["jobs", id], _) if get => jobs::wait(request, door, id),
        (path, method) => Err(wrong_method(method, methods_of(path)?)),
    };
    Some(outcome)
}

fn methods_of(path: &[&str]) -> Option<&'static str> {
    match path {
        ["ping"] | ["jobs"] | ["jobs", _] => Some("GET, HEAD, OPTIONS"),
        ["scripts", _, "logs"] | ["scripts", _, "logs", _] => Some("GET, HEAD, OPTIONS"),
        ["scripts"] => Some("GET, HEAD, OPTIONS, PUT"),
        ["scripts", _] => Some("OPTIONS, POST"),
        _ => None,
    }
}

fn wrong_method(method: &Method, allowed: &'static str) -> Response {
    crate::http::wrong_method(method, allowed, || {
        Response::text(405, "Method Not Allowed")
    })
}

fn require(request: &Request, right: Right) -> Result<(), Response> {
    crate::http::require(request, right, Response::text)
}

fn not_found() -> Response {
    Response::text(404, "not found")
}

fn refused(e: &JobRefusal) -> Response {
    let response = Response::text(e.status(), without_codes(&e.to_string()));
    match e.status() {
        401 => response.header("WWW-Authenticate", "Bearer"),
        503 | 507 => response.header("Retry-After", 10),
        _ => response,
    }
}

fn failed(e: io::Error) -> Response {
    refused(&JobRefusal::Io(e))
}

fn queue() -> Result<QueueName, Response> {
    QueueName::new(QMD_QUEUE).map_err(|e| failed(io::Error::other(e)))
}

/// The result of a job, with its output.
fn result(door: &Door, found: &Found) -> String {
    let result = door
        .spool()
        .qmd_result(&found.id, &found.record, found.at.state());
    format!("{result}\n")
}

/// Answers with a job's result as soon as there is one.
fn result_of(request: &Request, door: &Arc<Door>, id: &JobId) -> Response {
    match wait_for_end(request, door, id, None) {
        Ended::Over(found) => Response::json(200, result(door, &found)),
        // The job is safe, and its result will be there.
        Ended::Late(found) => Response::text(503, "Service Unavailable")
            .header("Location", format!("/jobs/{}", found.id)),
        Ended::Gone => not_found(),
        Ended::Failed(e) => failed(e),
    }
}
