//! pirn's own API, under `/v1`, and the paths for monitoring. `doc/openapi.yaml` describes it.

mod about;
mod batch;
mod create;
mod events;
mod follow;
mod input;
mod list;
mod log;
pub(super) mod log_file;
mod metrics;
mod one;
mod queues;

use super::{Answer, Door, Handled, Handler, Method, Request, Response, Right, problem};
use crate::core::id::JobId;
use std::io;
use std::sync::Arc;

/// The handler.
pub struct Native;

impl Handler for Native {
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer> {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let outcome = route(request, door, &parts)?;
        Some(outcome.unwrap_or_else(Answer::Full))
    }
}

fn route(request: &Request, door: &Arc<Door>, parts: &[&str]) -> Option<Handled> {
    let get = request.method.is_get();
    let outcome = match (parts, &request.method) {
        (["healthz"], _) if get => Ok(Response::text(200, "ok\n").into()),
        (["readyz"], _) if get => Ok(ready(door).into()),
        (["metrics"], _) if get => metrics::show(request, door),
        (["v1", "jobs"], _) if get => list::list(request, door),
        (["v1", "jobs"], Method::Post) => create::post(request, door),
        (["v1", "jobs:batch"], Method::Post) => batch::post(request, door),
        (["v1", "jobs", id], _) if get => one::get(request, door, id),
        (["v1", "jobs", id], Method::Put) => create::put(request, door, id),
        (["v1", "jobs", id], Method::Delete) => one::delete(request, door, id),
        (["v1", "jobs", id, "copy"], Method::Post) => create::copy(request, door, id),
        (["v1", "jobs", id, "log"], _) if get => log::get(request, door, id),
        (["v1", "jobs", id, verb], Method::Post) if one::VERBS.contains(verb) => {
            one::steer(request, door, id, verb)
        }
        (["v1", "events"], _) if get => events::get(request, door),
        (["v1"], _) if get => about::server(request, door),
        (["v1", "whoami"], _) if get => about::whoami(request),
        (["v1", "scripts"], _) if get => about::scripts(request, door),
        (["v1", "remote"], _) if get => about::remote(request, door),
        (["v1", "queues"], _) if get => queues::list(request, door),
        (["v1", "queues"], Method::Patch) => queues::patch(request, door, None),
        (["v1", "queues", queue], Method::Patch) => queues::patch(request, door, Some(queue)),
        (path, method) => Err(wrong_method(method, methods_of(path)?)),
    };
    Some(outcome)
}

/// The methods of a path of this API.
fn methods_of(path: &[&str]) -> Option<&'static str> {
    match path {
        ["healthz" | "readyz" | "metrics"]
        | ["v1"]
        | ["v1", "events" | "whoami" | "scripts" | "remote"]
        | ["v1", "jobs", _, "log"] => Some("GET, HEAD, OPTIONS"),
        ["v1", "jobs"] => Some("GET, HEAD, OPTIONS, POST"),
        ["v1", "jobs:batch"] => Some("OPTIONS, POST"),
        ["v1", "jobs", _] => Some("DELETE, GET, HEAD, OPTIONS, PUT"),
        ["v1", "jobs", _, "copy"] => Some("OPTIONS, POST"),
        ["v1", "jobs", _, verb] if one::VERBS.contains(verb) => Some("OPTIONS, POST"),
        ["v1", "queues"] => Some("GET, HEAD, OPTIONS, PATCH"),
        ["v1", "queues", _] => Some("OPTIONS, PATCH"),
        _ => None,
    }
}

fn wrong_method(method: &Method, allowed: &'static str) -> Response {
    super::wrong_method(method, allowed, || {
        problem::new(405, format!("{method} is not possible here"))
    })
}

/// Refuses callers without this right, and requests with another parameter than these.
fn require(request: &Request, right: Right, parameters: &[&str]) -> Result<(), Response> {
    super::require(request, right, problem::new)?;
    input::only(request, parameters)
}

/// The job id in a path. Errors: the text can be no id, so that there is no such job.
fn job_id(text: &str) -> Result<JobId, Response> {
    JobId::new(text).map_err(|e| problem::new(404, format!("there is no such job: the name {e}")))
}

fn no_job(id: &JobId) -> Response {
    problem::new(404, format!("there is no job {id}"))
}

/// The answer to an error of the system.
fn failed(e: io::Error) -> Response {
    let e = super::JobRefusal::Io(e);
    let response = problem::new(e.status(), &e);
    match response.status {
        503 | 507 => response.header("Retry-After", 10),
        _ => response,
    }
}

/// Answers 200 while new jobs are accepted.
fn ready(door: &Door) -> Response {
    let (spool, config) = (door.spool(), door.config());
    match spool.admit(&config).and_then(|()| spool.room(&config)) {
        Ok(_) => Response::text(200, "ready\n"),
        Err(why) => Response::text(503, format!("{why}\n")).header("Retry-After", 10),
    }
}

/// Encodes a part of a path for a URL.
fn in_path(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
