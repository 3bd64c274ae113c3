//! The one thread that has all connections: it waits in epoll, reads requests, hands them to the workers and writes
//! what they answer. It never blocks on a client, and leaves files to the workers, but for a stat(2) now and then.

use super::conn::Again;
use super::hub::Hub;
use super::listen::Listener;
use super::table::{FIRST_KEY, Key, Table};
use super::work::{Letter, Mode, Work};
use super::{Limits, Wire};
use crate::core::time::Boot;
use crate::http::answer::{Source, Woken};
use crate::http::problem::Rebuff;
use crate::os::clock;
use crate::os::poll::{Poller, Ready, Want};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const BELL: u64 = 0;
const HUB: u64 = 1;
pub(super) const LISTENERS: u64 = 2;

pub(super) const READING: Want = Want {
    read: true,
    write: false,
    hangup: false,
};

/// The thread's state.
pub struct Reactor {
    pub(super) poller: Poller,
    pub(super) wire: Arc<Wire>,
    pub(super) limits: Limits,
    pub(super) listeners: Vec<Listener>,
    pub(super) table: Table,
    pub(super) hub: Hub<Key>,
    hub_known: u64,
    pub(super) mode: Mode,
    pub(super) accept_again: Option<Boot>,
    /// No more complaints before that.
    pub(super) silent_until: [Option<Boot>; 2],
    pub(super) buffer: Vec<u8>,
    /// The weight of the requests of all connections together, in bytes.
    pub(super) weight: usize,
}

impl Reactor {
    /// Takes over the listeners.
    pub fn new(wire: Arc<Wire>, listeners: Vec<Listener>) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.watch(&wire.mail, BELL, READING)?;
        for (listener, number) in listeners.iter().zip(LISTENERS..) {
            poller.watch(listener, number, READING)?;
        }
        let spool = Arc::clone(wire.door.spool());
        let hub = Hub::new(spool, Arc::clone(wire.door.events()));
        Ok(Self {
            poller,
            limits: wire.limits,
            wire,
            listeners,
            table: Table::default(),
            hub,
            hub_known: 0,
            mode: Mode::Open,
            accept_again: None,
            silent_until: [None; 2],
            buffer: vec![0; 64 * 1024],
            weight: 0,
        })
    }

    /// Runs until told to close. Gives the listeners back, unless it was told to drain before.
    pub fn run(mut self) -> Vec<Listener> {
        while !self.is_closed() {
            let wait = match self.wire.mail.may_sleep(false) {
                true => self.next_deadline().map(|at| at.since(clock::now().boot)),
                false => Some(Duration::ZERO),
            };
            let ready = match self.poller.wait_for(wait) {
                Ok(ready) => ready,
                Err(e) => {
                    log::error!("http: epoll: {e}; no more requests are answered");
                    break;
                }
            };
            self.wire.mail.awake(ready.iter().any(|r| r.number == BELL));
            for letter in self.wire.mail.take() {
                self.take_in(letter);
            }
            for ready in ready {
                self.on_ready(ready);
            }
            self.on_time(clock::now().boot);
            self.watch_hub();
        }
        self.listeners
    }

    fn is_closed(&self) -> bool {
        match self.mode {
            Mode::Open | Mode::Draining => false,
            Mode::Closing { until, at_last, .. } => {
                let now = clock::now().boot;
                let in_work = || self.table.iter().any(|(_, conn)| conn.is_in_work());
                self.table.len() == 0 || (until <= now && (at_last <= now || !in_work()))
            }
        }
    }

    fn next_deadline(&self) -> Option<Boot> {
        let closing = match self.mode {
            Mode::Open | Mode::Draining => None,
            Mode::Closing { until, at_last, .. } => match until <= clock::now().boot {
                true => Some(at_last),
                false => Some(until),
            },
        };
        let deadlines = [
            self.table.next_deadline(),
            self.accept_again,
            self.hub.rests_at(),
            closing,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn take_in(&mut self, letter: Letter) {
        match letter {
            Letter::Answer(key, answer) => self.answer(key, answer),
            Letter::Piece {
                key,
                source,
                bytes,
                next,
            } => self.piece(key, source, bytes, next),
            Letter::Drain => {
                self.mode = Mode::Draining;
                self.take_last();
                self.stop_listening();
                self.listeners.clear();
                for key in self.table.keys() {
                    self.read_what_is_there(key);
                    if self.table.get(key).is_some_and(|conn| conn.is_idle()) {
                        self.close(key);
                    } else {
                        self.go_on(key, Woken::Draining);
                    }
                }
            }
            Letter::Close {
                until,
                at_last,
                serve,
            } => {
                self.mode = Mode::Closing {
                    until,
                    at_last,
                    serve,
                };
                self.stop_listening();
                for key in self.table.keys() {
                    self.come_to_an_end(key);
                }
            }
        }
    }

    fn stop_listening(&mut self) {
        for listener in &self.listeners {
            let _ = self.poller.remove(listener);
        }
        self.accept_again = None;
    }

    fn on_ready(&mut self, ready: Ready) {
        match ready.number {
            BELL => {}
            HUB => {
                for key in self.hub.read() {
                    self.wake(key);
                }
            }
            number if number < FIRST_KEY => {
                self.accept(number);
            }
            number => {
                let key = Key(number);
                if ready.gone {
                    return self.close(key);
                }
                if ready.hangup {
                    return self.hang_up(key);
                }
                if ready.write {
                    self.flush(key);
                }
                if ready.read {
                    self.read(key);
                }
                self.settle(key);
            }
        }
    }

    fn on_time(&mut self, now: Boot) {
        while let Some(key) = self.table.overdue(now) {
            self.out_of_time(key);
            self.settle(key);
        }
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.want_connections(READING);
        }
        self.hub.rest(now);
    }

    fn read(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        if !conn.wants().read {
            return;
        }
        let n = match conn.stream.read(&mut self.buffer) {
            Ok(0) => return self.close(key),
            Ok(n) => n,
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return,
                _ => return self.close(key),
            },
        };
        if !matches!(conn.phase, super::conn::Phase::Lingering) {
            conn.input.extend_from_slice(&self.buffer[..n]);
            self.advance(key);
        }
    }

    /// Reads what a client that seems to be idle has just asked: to close would be to reset the connection.
    pub(super) fn read_what_is_there(&mut self, key: Key) {
        if self.table.get(key).is_some_and(|conn| conn.is_idle()) {
            self.read(key);
            self.settle(key);
        }
    }

    /// Gives a worker something to do.
    pub(super) fn submit(&self, work: Work) {
        let pool = match &work {
            Work::Handle(_, request) if request.method.is_safe() => &self.wire.pool,
            Work::Handle(..) => &self.wire.changing,
            Work::Again(..) | Work::Fill(..) => &self.wire.later,
        };
        pool.submit(work);
    }

    pub(super) fn submit_again(&self, key: Key, again: Again, woken: Woken) {
        self.submit(Work::Again(key, again, woken));
    }

    pub(super) fn submit_fill(&self, key: Key, source: Box<dyn Source>) {
        self.submit(Work::Fill(key, source));
    }

    /// Ends a connection, whatever it is doing.
    pub(super) fn close(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let (scheduled, topics) = (conn.scheduled.take(), std::mem::take(&mut conn.topics));
        conn.log(clock::now().boot);
        self.weight -= conn.weighed;
        self.table.reschedule(key, scheduled, None);
        for topic in &topics {
            self.hub.remove(key, topic);
        }
        // Closing the socket takes it out of the poller.
        self.table.remove(key);
    }

    /// Tells the poller and the table what a connection waits for now.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        let want = conn.wants();
        if want != conn.want {
            conn.want = want;
            if self.poller.change(&conn.stream, key.0, want).is_err() {
                return self.close(key);
            }
        }
        let weight = conn.weight();
        self.weight = self.weight - conn.weighed + weight;
        conn.weighed = weight;
        let (old, new) = (conn.scheduled, conn.deadline);
        conn.scheduled = new;
        self.table.reschedule(key, old, new);
    }

    /// Waits for the hub's watches too, which may be others than before.
    fn watch_hub(&mut self) {
        if self.hub_known != self.hub.armings {
            self.hub_known = self.hub.armings;
            if let Some(fd) = self.hub.fd()
                && let Err(e) = self.poller.watch(fd, HUB, READING)
            {
                log::error!("http: epoll: {e}; nobody is woken by events");
            }
        }
    }
}

impl Rebuff {
    /// What clients are told while the daemon ends or is replaced.
    pub(super) fn not_any_more() -> Self {
        Self::new(503, "the daemon is stopping").header("Retry-After", 5)
    }
}
