//! HTTP/1.1 on sockets: one thread that has all connections, and a few that answer requests.
//!
//! ```text
//!   sockets ──> reactor (epoll) ──Work──> workers: Router::answer, Wait::again, Source::fill
//!                  ^   ^                      │
//!      inotify ────┘   └────────Letter────────┘
//! ```
//! A connection costs memory, never a thread: it is in the reactor's table while it is idle or slow, while its answer
//! waits, and while a piece of its body goes out.

mod accept;
mod ask;
pub mod body;
mod conn;
mod exchange;
pub mod head;
mod hub;
pub mod listen;
mod reactor;
mod reply;
pub mod send;
mod table;
mod target;
mod watches;
mod work;

use super::{Door, Router};
use crate::daemon::{Mailbox, Pool};
use crate::os::{clock, limits, thread};
use listen::Listener;
use reactor::Reactor;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use work::{Letter, Work};

/// What clients may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of a head.
    pub head: usize,
    /// How long a head may take, from its first byte to its last.
    pub head_time: Duration,
    /// How long a body may take.
    pub body: Duration,
    /// How long a connection may be without a request.
    pub idle: Duration,
    /// Most connections.
    pub connections: usize,
    /// Threads that answer requests that change nothing.
    pub workers: usize,
    /// Threads that go on with answers that wait, or come in pieces.
    pub later: usize,
    /// Threads that answer the others. They wait for the disk to sync, and nobody else should.
    pub changing: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 16 * 1024,
            head_time: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            connections: 512,
            workers: 4,
            later: 2,
            changing: 8,
        }
    }
}

/// Descriptors that are not for connections, whatever the limit.
const OTHERS: usize = 64;

/// Connections that there is room for in any case.
const FEW: usize = 8;

/// What the reactor and the workers share.
pub struct Wire {
    door: Arc<Door>,
    router: Arc<Router>,
    mail: Arc<Mailbox<Letter>>,
    pool: Pool<Work>,
    changing: Pool<Work>,
    later: Pool<Work>,
    limits: Limits,
}

/// The wire while it runs.
pub struct Running {
    door: Arc<Door>,
    router: Arc<Router>,
    limits: Limits,
    mail: Arc<Mailbox<Letter>>,
    thread: Option<JoinHandle<Vec<Listener>>>,
}

impl Running {
    /// Starts answering.
    pub fn start(
        door: Arc<Door>,
        router: Router,
        limits: Limits,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        // Jobs need descriptors too, and the spool's directories.
        let all = usize::try_from(limits::descriptors()).unwrap_or(usize::MAX);
        let room = (all / 2).min(all.saturating_sub(OTHERS)).max(FEW);
        let mut running = Self {
            door,
            router: Arc::new(router),
            limits: Limits {
                connections: limits.connections.min(room),
                ..limits
            },
            mail: Arc::new(Mailbox::new()?),
            thread: None,
        };
        running.resume(listeners)?;
        Ok(running)
    }

    /// Goes on after [`Self::close`]. What workers have not answered by then goes to the mailbox of before, and
    /// reaches nobody.
    pub fn resume(&mut self, listeners: Vec<Listener>) -> io::Result<()> {
        self.mail = Arc::new(Mailbox::new()?);
        let pool = |name, most| {
            let (mail, door, router) = (
                Arc::clone(&self.mail),
                Arc::clone(&self.door),
                Arc::clone(&self.router),
            );
            Pool::new(name, most, move |work: Work| {
                mail.send(work.carry_out(&door, &router));
            })
        };
        let wire = Wire {
            door: Arc::clone(&self.door),
            router: Arc::clone(&self.router),
            mail: Arc::clone(&self.mail),
            pool: pool("http", self.limits.workers),
            changing: pool("http-push", self.limits.changing),
            later: pool("http-later", self.limits.later),
            limits: self.limits,
        };
        let reactor = Reactor::new(Arc::new(wire), listeners)?;
        self.thread = Some(thread::spawn("http", move || reactor.run())?);
        Ok(())
    }

    /// Takes no new requests, and listens no more. What is being answered goes on.
    pub fn drain(&self) {
        self.mail.send(Letter::Drain);
    }

    /// Ends all connections, and waits at most this long for clients to take the answers that are on their way; with
    /// `serve`, also for those to what has just been asked. Answers that are being made may take some times as long:
    /// then the disk is slow, and a job is perhaps accepted that its client would not know of.
    /// Gives the listeners, unless it was drained before.
    pub fn close(&mut self, longest: Duration, serve: bool) -> Vec<Listener> {
        let now = clock::now().boot;
        self.mail.send(Letter::Close {
            until: now.after(longest),
            at_last: now.after(longest * 5),
            serve,
        });
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_default()
    }
}
