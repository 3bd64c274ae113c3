//! The HTTP API: the state of the spool for clients that cannot reach its directory.
//!
//! It uses the spool as the command line does, and needs nothing else of the daemon. It is there while the daemon runs
//! with `pirn serve --http`.
//!
//! # Writing handlers
//!
//! A [`Handler`] is asked for an [`Answer`] to each complete [`Request`]; `None` means that the path is not its own,
//! and the next one is asked. It runs on the thread of its connection, and may use the disk. A few requests are
//! answered at a time: a handler that waits for a change uses [`Request::waiter`], which lets others go on meanwhile.
//! It must not panic.
//!
//! ```ignore
//! struct Ping;
//! impl Handler for Ping {
//!     fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer> {
//!         match (&request.method, request.path.as_str()) {
//!             (method, "/ping") if method.is_get() => Some(Response::text(200, ".").into()),
//!             (_, "/ping") => Some(Response::new(405).header("Allow", "GET, HEAD").into()),
//!             _ => None,
//!         }
//!     }
//! }
//! ```
//! - GET and HEAD are answered alike; the wire leaves the body of an answer to HEAD out.
//! - Check rights with `request.caller.may(Right::Push)` and the like: until then only host, origin and token were
//!   checked. Requests with safe methods never have more than `Right::Read`.
//! - [`Request::segments`] takes a path apart; only [`crate::core::id::JobId`] makes a file name of a part.
//! - [`wait_for_end`] waits until a job has ended; [`Door::submit`] accepts one.
//! - An answer that is large or endless is an [`Answer::Stream`], a loop over [`Outgoing::write`] and
//!   [`Outgoing::wait`].
//! - No answer shows a job's `env`: use [`shown`].

pub mod answer;
pub mod dialect;
pub mod door;
mod gate;
mod guesses;
pub mod message;
mod native;
pub mod request;
mod server;
pub mod sse;
pub mod submit;
mod together;
pub mod tokens;
mod ui;
mod waiting;
pub mod wire;

pub use answer::{Answer, Handled};
pub use door::Door;
pub use gate::check_site;
pub use message::headers::Headers;
pub use message::method::Method;
pub use message::problem;
pub use message::response::Response;
pub use request::Request;
pub use server::Server;
pub use submit::JobRefusal;
pub use waiting::{Ended, look_for_end, wait_for_end};
pub use wire::outgoing::{Outgoing, PIECE};
pub use wire::peer::Peer;
pub use wire::waiter::Woken;
pub use wire::wake::Topic;

pub use crate::core::config::rights::{Caller, Right, Rights};

use crate::core::config::Config;
use crate::core::config::http::Dialect;
use crate::spool::{Found, Spool, Waits};
use problem::Refused;
use std::sync::Arc;

/// Refuses callers without this right. `say` makes an answer of status and text in the form of the handler's protocol.
fn require(
    request: &Request,
    right: Right,
    say: impl FnOnce(u16, String) -> Response,
) -> Result<(), Response> {
    if request.caller.may(right) {
        return Ok(());
    }
    let what = format!("this needs the right {:?}", right.as_str());
    let response = say(request.caller.refusal(), what);
    Err(match response.status {
        401 => response.header("WWW-Authenticate", "Bearer"),
        _ => response,
    })
}

/// Answers a method that a path does not have: OPTIONS with those `allowed`, other methods with `refused`.
fn wrong_method(
    method: &Method,
    allowed: &'static str,
    refused: impl FnOnce() -> Response,
) -> Response {
    match method {
        Method::Options => Response::new(204),
        _ => refused(),
    }
    .header("Allow", allowed)
}

/// Answers the requests for some paths.
pub trait Handler: Send + Sync {
    /// The answer; `None` if the path is not one of this handler's.
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer>;

    /// The answer to a request that was refused before it came to the handler, in the form that its clients know. The
    /// request has only method, path and query. `None`: the path is not one of this handler's, or its clients expect a
    /// problem.
    fn refusal(&self, _request: &Request, _status: u16, _why: &str) -> Option<Response> {
        None
    }
}

/// All handlers, in the order in which they are asked.
#[derive(Default)]
pub struct Router(Vec<(Option<Dialect>, Box<dyn Handler>)>);

impl Router {
    /// Adds a handler that is always asked.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        self.0.push((None, Box::new(handler)));
        self
    }

    /// Adds a handler that is asked while the settings have this dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect, handler: impl Handler + 'static) -> Self {
        self.0.push((Some(dialect), Box::new(handler)));
        self
    }

    /// The answer of the first handler that has one.
    pub fn answer(&self, request: &Request, door: &Arc<Door>, config: &Config) -> Answer {
        self.asked(&config.http.dialects)
            .find_map(|handler| handler.answer(request, door))
            .unwrap_or_else(|| problem::new(404, "there is nothing at this path").into())
    }

    /// The answer to a request that is refused before a handler is asked. `request`: its first line, if it could be
    /// read.
    pub fn refuse(&self, refused: Refused, request: Option<&Request>, door: &Door) -> Response {
        let config = door.config();
        let (status, why) = (refused.status, refused.why);
        let known = request.and_then(|request| {
            self.asked(&config.http.dialects)
                .find_map(|handler| handler.refusal(request, status, &why))
        });
        let mut response = known.unwrap_or_else(|| problem::new(status, &why));
        for (name, value) in refused.headers {
            response.headers.retain(|(known, _)| *known != name);
            response = response.header(name, value);
        }
        response.after(refused.delay)
    }

    fn asked<'r>(&'r self, dialects: &'r [Dialect]) -> impl Iterator<Item = &'r dyn Handler> {
        let is_on = |dialect: Option<Dialect>| dialect.is_none_or(|d| dialects.contains(&d));
        let handlers = self.0.iter().filter(move |(dialect, _)| is_on(*dialect));
        handlers.map(|(_, handler)| handler.as_ref())
    }
}

/// A job as clients see it: its record with its state, without fields that may hold secrets.
pub fn shown(found: &Found) -> String {
    let mut record = found.record.clone();
    record.hide_secrets();
    record.to_json_in(found.at.state())
}

/// The same, and why the job waits, or how far it is, if that is known.
pub fn shown_now(found: &Found, spool: &Spool, waits: Option<&Waits<'_>>) -> String {
    let mut record = found.record.clone();
    record.hide_secrets();
    let waiting = waits.and_then(|waits| waits.of(&found.id, &found.at, &found.record));
    let progress = spool.progress(&found.id, &found.at);
    record.to_json_now(found.at.state(), waiting.as_ref(), progress.as_ref())
}

/// A job as this request may see it: without `read` only its id and its state.
pub fn shown_to(request: &Request, found: &Found) -> String {
    match request.caller.may(Right::Read) {
        true => shown(found),
        false => brief(found),
    }
}

/// The id and the state of a job.
fn brief(found: &Found) -> String {
    let (id, state) = (found.id.as_str(), found.at.state().as_str());
    format!("{}\n", serde_json::json!({"id": id, "state": state}))
}
