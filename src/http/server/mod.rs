//! HTTP/1.1 on sockets: a thread for each connection, and one that accepts them.
//!
//! ```text
//!   listeners ──> acceptor ──starts──> connection: read a request ──> Router::answer ──> send the answer
//!                  ^    │                  ^            │                  │
//!       inotify ───┘    └──wakes who waits─┘            └──────<───────────┘
//! ```

mod acceptor;
mod conn;
mod exchange;
mod reader;

use super::dialect::{self, jobrunner};
use super::wire::listen::Listener;
use super::wire::shared::Wire;
use super::wire::stop::StopStage;
use super::{Door, Router, native, ui};
use crate::core::config::http::Dialect;
use crate::daemon::Service;
use crate::os::{clock, thread};
use acceptor::Acceptor;
use conn::Answerer;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The handlers of all paths.
fn router(jobrunner: Option<jobrunner::Settings>) -> Router {
    let router = Router::default().with(native::Native);
    #[cfg(feature = "url")]
    let router = router.with_dialect(Dialect::Hq, dialect::hq::Hq);
    // Behind hq's handler, which answers below /ui/internal.
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

/// How long clients may take for the answers that are on their way when the daemon exits, and when it is replaced.
const AT_EXIT: Duration = Duration::from_secs(5);
const AT_UPGRADE: Duration = Duration::from_secs(1);

/// The door while it is open.
pub struct Server {
    answerer: Arc<Answerer>,
    wire: Arc<Wire>,
    acceptor: Option<JoinHandle<Vec<Listener>>>,
    /// The listeners while the daemon tries to become its new image.
    kept: Vec<Listener>,
}

impl Server {
    /// Opens the door; with jobrunner's paths, if there is a command for them.
    pub fn open(
        door: Door,
        listeners: Vec<Listener>,
        jobrunner: Option<jobrunner::Settings>,
    ) -> io::Result<Self> {
        for listener in &listeners {
            log::info!("http: listening on {}", listener.address);
            listener.check_owners();
        }
        let answerer = Arc::new(Answerer {
            door: Arc::new(door),
            router: router(jobrunner),
        });
        let (wire, acceptor) = start(&answerer, listeners)?;
        Ok(Self {
            answerer,
            wire,
            acceptor: Some(acceptor),
            kept: Vec::new(),
        })
    }

    /// Ends all connections, and waits for at most `longest` for clients to read their answers. A handler that still
    /// runs has five times as long: it may have accepted a job that its client would not know of. Gives the listeners,
    /// unless they were closed by draining.
    fn end(&mut self, stage: StopStage, longest: Duration) -> Vec<Listener> {
        let now = clock::now().boot;
        self.wire.set_stage(stage);
        let listeners = self.acceptor.take().map(JoinHandle::join);
        for link in self.wire.connections.all() {
            link.come_to_an_end(stage);
        }
        let (until, at_last) = (now.after(longest), now.after(longest * 5));
        self.wire.connections.wait_for_ends(until, at_last);
        listeners.and_then(Result::ok).unwrap_or_default()
    }
}

/// Starts to accept connections.
fn start(
    answerer: &Arc<Answerer>,
    listeners: Vec<Listener>,
) -> io::Result<(Arc<Wire>, JoinHandle<Vec<Listener>>)> {
    let door = &answerer.door;
    let (spool, events) = (Arc::clone(door.spool()), Arc::clone(door.events()));
    let wire = Arc::new(Wire::new(door.config().http.connections, spool, events)?);
    let acceptor = Acceptor::new(Arc::clone(&wire), Arc::clone(answerer), listeners)?;
    let thread = thread::spawn("http", move || acceptor.run())?;
    Ok((wire, thread))
}

impl Service for Server {
    fn drain(&mut self) {
        self.wire.set_stage(StopStage::Draining);
    }

    fn pass_on(&mut self) -> Vec<(&'static str, String)> {
        self.kept = self.end(StopStage::LastCall, AT_UPGRADE);
        vec![Listener::pass_on(&self.kept)]
    }

    fn resume(&mut self) {
        // Threads that have not ended by now keep the old shared state.
        match start(&self.answerer, std::mem::take(&mut self.kept)) {
            Ok((wire, acceptor)) => {
                self.wire = wire;
                self.acceptor = Some(acceptor);
            }
            Err(e) => log::error!("http: {e}; no more requests are answered"),
        }
    }

    fn close(&mut self) {
        drop(self.end(StopStage::Closing, AT_EXIT));
    }
}
