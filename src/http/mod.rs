//! The HTTP door: the same state as the directory, for those who are elsewhere.
//!
//! It speaks to the spool as the command line does, and needs nothing else of the daemon. It is open only while the
//! daemon serves, and only if asked for (`pirn serve --http`).
//!
//! # For those who write handlers
//!
//! A [`Handler`] is asked for an [`Answer`] to each complete [`Request`]; `None` means that the path is not its own,
//! and the next one is asked. It runs on one of a few worker threads and may use the disk, but must not sleep: what
//! is not ready is a [`Wait`], what is long or endless a [`Source`]. It must not panic.
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
//! - Ask `request.caller.may(Right::Push)` and the like for everything: the wire has checked host, origin and token,
//!   but not what the request does. Requests with safe methods never have more than `Right::Read`.
//! - [`Request::segments`] takes a path apart; only [`crate::core::id::JobId`] makes a file name of a part.
//! - [`wait_for_end`] is how to answer when a job has ended; [`Door::submit`] is how to accept one.
//! - Nothing of a job's `env` may go out: use [`shown`].

pub mod answer;
pub mod dialect;
pub mod door;
pub mod events;
mod gate;
mod guesses;
mod native;
pub mod problem;
pub mod request;
pub mod sse;
pub mod submit;
mod together;
pub mod tokens;
mod ui;
pub mod wake;
pub mod wire;

pub use answer::{Answer, Next, PIECE, Response, Source, Wait, Woken};
pub use door::Door;
pub use gate::check_site;
pub use request::{Headers, Method, Peer, Request};
pub use submit::Refusal;
pub use wake::Topic;

pub use crate::core::config::rights::{Caller, Right, Rights};

use crate::core::config::http::Dialect;
use crate::core::id::JobId;
use crate::core::time::Boot;
use crate::daemon::Service;
use crate::spool::{Found, Where};
use dialect::jobrunner;
use problem::Rebuff;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use wire::listen::Listener;
use wire::{Limits, Running};

/// Refuses callers without this right, in the form of one's own protocol: `say` makes an answer of status and text.
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

/// Answers a method that is not among those `allowed` at a path: with what is allowed to OPTIONS, else with `refused`.
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

/// Something that answers requests.
pub trait Handler: Send + Sync {
    /// The answer; `None` if the path is not one of this handler's.
    fn answer(&self, request: &Request, door: &Arc<Door>) -> Option<Answer>;

    /// How clients of this handler are told that a request was refused before the handler could be asked. Of the
    /// request only method, path and query are known. `None`: its path is not one of this handler's, or a problem is
    /// what its clients expect.
    fn rebuff(&self, _request: &Request, _status: u16, _why: &str) -> Option<Response> {
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

    /// Adds a handler that is asked while the config has this dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect, handler: impl Handler + 'static) -> Self {
        self.0.push((Some(dialect), Box::new(handler)));
        self
    }

    /// The answer of the first handler that has one.
    pub fn answer(&self, request: &Request, door: &Arc<Door>) -> Answer {
        let config = door.config();
        self.asked(&config.http.dialects)
            .find_map(|handler| handler.answer(request, door))
            .unwrap_or_else(|| problem::new(404, "there is nothing at this path").into())
    }

    /// What a client is told that is refused before any handler is asked; `request` is what is known of its request.
    pub fn say(&self, rebuff: Rebuff, request: Option<&Request>, door: &Door) -> Response {
        let config = door.config();
        let (status, why) = (rebuff.status, rebuff.why);
        let known = request.and_then(|request| {
            self.asked(&config.http.dialects)
                .find_map(|handler| handler.rebuff(request, status, &why))
        });
        let mut response = known.unwrap_or_else(|| problem::new(status, &why));
        for (name, value) in rebuff.headers {
            response.headers.retain(|(known, _)| *known != name);
            response = response.header(name, value);
        }
        response.after(rebuff.delay)
    }

    fn asked<'r>(&'r self, dialects: &'r [Dialect]) -> impl Iterator<Item = &'r dyn Handler> {
        let is_on = |dialect: Option<Dialect>| dialect.is_none_or(|d| dialects.contains(&d));
        let handlers = self.0.iter().filter(move |(dialect, _)| is_on(*dialect));
        handlers.map(|(_, handler)| handler.as_ref())
    }
}

/// All that is understood here.
fn router(jobrunner: Option<jobrunner::Settings>) -> Router {
    let router = Router::default().with(native::Native);
    #[cfg(feature = "url")]
    let router = router.with_dialect(Dialect::Hq, dialect::hq::Hq);
    // After hq's, which answers below /ui/internal.
    let router = router
        .with(ui::Ui)
        .with_dialect(Dialect::Qmd, dialect::qmd::Qmd);
    match jobrunner {
        Some(settings) => {
            router.with_dialect(Dialect::Jobrunner, jobrunner::Jobrunner::new(settings))
        }
        None => router,
    }
}

/// A job as clients see it: its record with its state, without what may hold secrets.
pub fn shown(found: &Found) -> String {
    let mut record = found.record.clone();
    record.hide_secrets();
    record.to_json_in(found.at.state())
}

/// A job as this request may see it: without `read` its id and its state, which steering it needs.
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

/// How a [`wait_for_end`] ended.
#[derive(Debug)]
pub enum Ended {
    /// The job is over; its record carries its end.
    Over(Box<Found>),
    /// It is not over, and time is up.
    Late(Box<Found>),
    /// There is no such job, or not any more.
    Gone,
    /// The spool could not be read.
    Failed(io::Error),
}

/// Answers with what `then` makes of a job's end, or of the job as it is at `until`. Costs no thread meanwhile.
pub fn wait_for_end(
    door: Arc<Door>,
    id: JobId,
    until: Option<Boot>,
    then: impl FnOnce(Ended) -> Answer + Send + 'static,
) -> Answer {
    look_for_end(door, id, until, Box::new(then), Woken::Changed)
}

type Then = Box<dyn FnOnce(Ended) -> Answer + Send>;

fn look_for_end(
    door: Arc<Door>,
    id: JobId,
    until: Option<Boot>,
    then: Then,
    woken: Woken,
) -> Answer {
    let waits = matches!(woken, Woken::Changed | Woken::Draining);
    match door.spool().find(&id) {
        // Its record may be large, and those who wait for it many: it is read when it is told.
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) if waits => {
            return wait_on(door, id, until, then);
        }
        Ok(_) => {}
        Err(e) => return then(Ended::Failed(e)),
    }
    match door.spool().get(&id) {
        Ok(Some(found)) if found.is_over() => then(Ended::Over(Box::new(found))),
        Ok(Some(_)) if waits => wait_on(door, id, until, then),
        Ok(Some(found)) => then(Ended::Late(Box::new(found))),
        Ok(None) => then(Ended::Gone),
        Err(e) => then(Ended::Failed(e)),
    }
}

fn wait_on(door: Arc<Door>, id: JobId, until: Option<Boot>, then: Then) -> Answer {
    Answer::Wait(Wait {
        on: vec![Topic::Job(id.clone())],
        until,
        again: Box::new(move |woken| look_for_end(door, id, until, then, woken)),
    })
}

/// The door while it is open.
pub struct Server {
    running: Running,
    kept: Vec<Listener>,
}

/// How long answers that are on their way may take when the daemon exits, and when it is replaced.
const AT_EXIT: Duration = Duration::from_secs(5);
const AT_UPGRADE: Duration = Duration::from_secs(1);

impl Server {
    /// Opens the door; with jobrunner's paths, if there is a command for them.
    pub fn open(
        door: Door,
        listeners: Vec<Listener>,
        jobrunner: Option<jobrunner::Settings>,
    ) -> io::Result<Self> {
        let limits = Limits {
            connections: door.config().http.connections,
            ..Limits::default()
        };
        for listener in &listeners {
            log::info!("http: listening on {}", listener.address);
            listener.check_owners();
        }
        let running = Running::start(Arc::new(door), router(jobrunner), limits, listeners)?;
        Ok(Self {
            running,
            kept: Vec::new(),
        })
    }
}

impl Service for Server {
    fn drain(&mut self) {
        self.running.drain();
    }

    fn pass_on(&mut self) -> Vec<(&'static str, String)> {
        self.kept = self.running.close(AT_UPGRADE, true);
        vec![Listener::pass_on(&self.kept)]
    }

    fn resume(&mut self) {
        let listeners = std::mem::take(&mut self.kept);
        if let Err(e) = self.running.resume(listeners) {
            log::error!("http: {e}; no more requests are answered");
        }
    }

    fn close(&mut self) {
        drop(self.running.close(AT_EXIT, false));
    }
}
