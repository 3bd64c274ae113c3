//! The thread that accepts connections and starts a thread for each. It also wakes connection threads that wait: when
//! the spool changes, and when their client hangs up.

use super::conn::{self, Answerer};
use crate::core::time::Boot;
use crate::http::message::problem;
use crate::http::message::send::{self, ReplyForm};
use crate::http::wire::listen::Listener;
use crate::http::wire::peer::Peer;
use crate::http::wire::shared::{HUB, LISTENERS, WAKER, Wire};
use crate::http::wire::stop::StopStage;
use crate::os::poll::Readiness;
use crate::os::{clock, socket, thread};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// The pause before the next accept when the system has no descriptor for a connection.
const BREATHER: Duration = Duration::from_millis(100);

/// The most connections that are accepted without looking at anything else.
const AT_ONCE: usize = 64;

/// The shortest time between two lines of the log about the same complaint.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// A condition that many clients may cause again and again.
#[derive(Clone, Copy)]
enum Complaint {
    Shortage,
    Full,
}

/// The thread's state.
pub struct Acceptor {
    wire: Arc<Wire>,
    answerer: Arc<Answerer>,
    listeners: Vec<Listener>,
    /// The end of a pause: until then nothing is accepted.
    accept_again: Option<Boot>,
    /// Until when each complaint is not logged again.
    silent_until: [Option<Boot>; 2],
}

impl Acceptor {
    /// An acceptor for these listeners.
    pub fn new(
        wire: Arc<Wire>,
        answerer: Arc<Answerer>,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let acceptor = Self {
            wire,
            answerer,
            listeners,
            accept_again: None,
            silent_until: [None; 2],
        };
        acceptor.listen()?;
        Ok(acceptor)
    }

    /// Runs until answers end. Gives the listeners back, unless it has drained before.
    pub fn run(mut self) -> Vec<Listener> {
        let mut is_drained = false;
        loop {
            match self.wire.stage() {
                StopStage::Open => {}
                StopStage::Draining if is_drained => {}
                StopStage::Draining => {
                    is_drained = true;
                    self.drain();
                }
                StopStage::LastCall | StopStage::Closing => {
                    self.stop_listening();
                    return self.listeners;
                }
            }
            let wait = self.next_deadline();
            let wait = wait.map(|at| at.since(clock::now().boot));
            match self.wire.poller.wait_for(wait) {
                Ok(ready) => ready.into_iter().for_each(|ready| self.on_ready(ready)),
                Err(e) => {
                    log::error!("http: epoll: {e}; no more connections are accepted");
                    return self.listeners;
                }
            }
            self.on_time(clock::now().boot);
        }
    }

    fn next_deadline(&self) -> Option<Boot> {
        let rests_at = self.wire.hub().rests_at();
        self.accept_again.into_iter().chain(rests_at).min()
    }

    fn on_time(&mut self, now: Boot) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            if let Err(e) = self.listen() {
                log::error!("http: epoll: {e}; no more connections are accepted");
            }
        }
        self.wire.hub().rest(now);
    }

    fn on_ready(&mut self, ready: Readiness) {
        match ready.number {
            WAKER => self.wire.waker.clear(),
            HUB => {
                let woken = self.wire.hub().read();
                let links = woken.into_iter();
                for link in links.filter_map(|key| self.wire.connections.get(key)) {
                    link.tell(|standing| standing.changed = true);
                }
            }
            number => match usize::try_from(number - LISTENERS) {
                Ok(index) if index < self.listeners.len() => {
                    self.accept(index);
                }
                Ok(_) | Err(_) => {
                    if let Some(link) = self.wire.connections.get(number) {
                        link.tell(|standing| {
                            standing.hung_up |= ready.hangup;
                            standing.gone |= ready.gone;
                        });
                    }
                }
            },
        }
    }

    fn listen(&self) -> io::Result<()> {
        for (listener, number) in self.listeners.iter().zip(LISTENERS..) {
            self.wire.poller.add(listener, number)?;
        }
        Ok(())
    }

    fn stop_listening(&mut self) {
        for listener in &self.listeners {
            // In a pause the poller does not have them.
            let _ = self.wire.poller.remove(listener);
        }
        self.accept_again = None;
    }

    /// Closes the listeners, and tells all connections that new requests are refused.
    fn drain(&mut self) {
        // Clients that have connected by now are told of the stop.
        for index in 0..self.listeners.len() {
            // The kernel's queue of connections is no longer than that.
            let mut turns = 4096 / AT_ONCE;
            while turns > 0 && self.accept(index) {
                turns -= 1;
            }
        }
        self.stop_listening();
        self.listeners.clear();
        for link in self.wire.connections.all() {
            link.come_to_an_end(StopStage::Draining);
        }
    }

    /// Accepts connections of a listener. True if there may be more.
    fn accept(&mut self, index: usize) -> bool {
        for _ in 0..AT_ONCE {
            match self.listeners[index].accept() {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                Err(e) => {
                    let shortage = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                    if e.raw_os_error()
                        .is_some_and(|code| shortage.contains(&code))
                    {
                        let address = &self.listeners[index].address;
                        let what = format!("{address}: {e}; connections have to wait");
                        self.complain(Complaint::Shortage, &what);
                        self.stop_listening();
                        self.accept_again = Some(clock::now().boot.after(BREATHER));
                        return false;
                    }
                    // Other errors are of this one connection, which is gone (accept(2)).
                }
            }
        }
        true
    }

    /// Starts a thread for a connection. When there are too many, the slowest makes room; when all wait for the
    /// daemon, the new one is refused.
    fn welcome(&mut self, stream: TcpStream, peer: Peer) {
        let connections = &self.wire.connections;
        if connections.is_full() {
            let most = connections.most();
            let has_room = connections.make_room();
            let what = format!("all {most} connections are taken; the slowest are closed");
            self.complain(Complaint::Full, &what);
            if !has_room {
                return refuse(&stream);
            }
        }
        let link = self.wire.connections.add(stream, peer);
        let (wire, answerer) = (Arc::clone(&self.wire), Arc::clone(&self.answerer));
        let of_thread = Arc::clone(&link);
        let started = thread::spawn("http-conn", move || {
            conn::serve(&answerer, &wire, of_thread);
        });
        if let Err(e) = started {
            self.complain(Complaint::Shortage, &format!("no thread to be had: {e}"));
            refuse(&link.stream);
            self.wire.connections.remove(link.key);
        }
    }

    /// Logs a complaint, unless it was logged a short time ago.
    fn complain(&mut self, about: Complaint, what: &str) {
        let now = clock::now().boot;
        let silent_until = &mut self.silent_until[about as usize];
        if silent_until.is_none_or(|until| until <= now) {
            *silent_until = Some(now.after(COMPLAINTS));
            log::warn!("http: {what}");
        }
    }
}

/// Refuses a connection for which there is no room.
fn refuse(stream: &TcpStream) {
    let full = problem::new(503, "too many connections").header("Retry-After", 1);
    let mut out = Vec::new();
    send::full(&mut out, &full, ReplyForm::REFUSAL, clock::wall());
    // Closing a socket with unread bytes would reset the connection before the client sees the answer.
    let _ = socket::receive_now(stream, &mut [0; 4096]);
    let _ = socket::send_now(stream, &out);
    let _ = stream.shutdown(Shutdown::Write);
}
