//! Taking connections in.

use super::conn::{Conn, Phase};
use super::listen::Stream;
use super::reactor::{LISTENERS, READING, Reactor};
use super::send::{self, Manner};
use super::table::Key;
use crate::http::answer::Woken;
use crate::http::problem;
use crate::http::request::Peer;
use crate::os::clock;
use crate::os::poll::Want;
use std::io;
use std::time::Duration;

/// How long no connection is accepted when the system has no descriptor for one.
const BREATHER: Duration = Duration::from_millis(100);

/// Connections that are accepted in one go.
const AT_ONCE: usize = 64;

/// Bytes of whole answers that all clients together may leave unread.
const MOST_UNREAD: usize = 128 << 20;

/// How often the log may speak of the same thing.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// What many clients may cause again and again.
#[derive(Clone, Copy)]
enum Complaint {
    Shortage,
    Full,
}

impl Reactor {
    /// Has the poller tell of new connections, or not.
    pub(super) fn want_connections(&self, want: Want) {
        for (listener, number) in self.listeners.iter().zip(LISTENERS..) {
            if let Err(e) = self.poller.change(listener, number, want) {
                log::error!("http: {}: {e}", listener.address);
            }
        }
    }

    /// Takes the connections that wait at a listener. True if there may be more.
    pub(super) fn accept(&mut self, number: u64) -> bool {
        let index = usize::try_from(number - LISTENERS).unwrap_or(usize::MAX);
        for _ in 0..AT_ONCE {
            let Some(listener) = self.listeners.get(index) else {
                return false;
            };
            match listener.accept() {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                Err(e) => {
                    let shortage = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                    if e.raw_os_error()
                        .is_some_and(|code| shortage.contains(&code))
                    {
                        let what = format!("{}: {e}; connections have to wait", listener.address);
                        self.complain(Complaint::Shortage, &what);
                        self.accept_again = Some(clock::now().boot.after(BREATHER));
                        self.want_connections(Want::default());
                        return false;
                    }
                    // Else it is of this one connection, which is gone (accept(2)).
                }
            }
        }
        true
    }

    /// Takes in who has connected already, so that they are told of the end.
    pub(super) fn take_last(&mut self) {
        for (_, number) in (0..self.listeners.len()).zip(LISTENERS..) {
            // As many as the kernel lets wait, and no flood.
            let mut turns = 4096 / AT_ONCE;
            while turns > 0 && self.accept(number) {
                turns -= 1;
            }
        }
    }

    /// Takes a connection in. When there are too many, one that waits for its client has to go, so that clients who
    /// are slow, by mistake or on purpose, keep nobody out; when all wait for us, the new one is turned away.
    fn welcome(&mut self, stream: Stream, peer: Peer) {
        if self.table.len() >= self.limits.connections {
            let most = self.limits.connections;
            let what = format!("all {most} connections are taken; the slowest are closed");
            self.complain(Complaint::Full, &what);
            let slow = |(key, conn): (Key, &Conn)| Some((conn.dispensable()?, key));
            match self.table.iter().filter_map(slow).min() {
                Some((_, key)) => self.close(key),
                None => return self.turn_away(&stream),
            }
        }
        let now = clock::now().boot;
        let key = self.table.add(Conn::new(stream, peer, now));
        if let Some(conn) = self.table.get(key) {
            conn.want = READING;
            conn.deadline = Some(now.after(self.limits.idle));
            if let Err(e) = self.poller.watch(&conn.stream, key.0, READING) {
                log::warn!("http: epoll: {e}");
                return self.close(key);
            }
        }
        self.settle(key);
    }

    /// Keeps an eighth of the places free of waits and streams: the oldest of those without a token is brought to an end.
    /// A wait is answered as at its timeout, and a stream gets its last chunk.
    pub(super) fn leave_room(&mut self) {
        let most = self.limits.connections - self.limits.connections / 8;
        let waiting = self.table.iter().filter(|(_, conn)| conn.is_waiting());
        for _ in most..waiting.count() {
            let may_leave = |(key, conn): (Key, &Conn)| Some((conn.may_leave()?, key));
            match self.table.iter().filter_map(may_leave).min() {
                Some((_, key)) => self.send_away(key),
                None => return,
            }
        }
    }

    fn send_away(&mut self, key: Key) {
        let Some(conn) = self.table.get(key) else {
            return;
        };
        conn.leaving = true;
        if matches!(conn.phase, Phase::Streaming(_)) {
            conn.piece(Vec::new(), true);
            self.flush(key);
            return self.settle(key);
        }
        self.go_on(key, Woken::Late);
    }

    /// Keeps the whole answers that clients have not taken yet within a bound: the oldest are cut off, those that can be
    /// asked for again first. The newest one stays.
    pub(super) fn bound_answers(&mut self, newest: Key) {
        let unread = self.table.iter().filter_map(|(key, conn)| {
            let order = (!conn.can_ask_again(), conn.since);
            let is_whole = matches!(conn.phase, Phase::Sending);
            is_whole.then_some((order, key, conn.output.len()))
        });
        let mut unread: Vec<_> = unread.collect();
        let mut all: usize = unread.iter().map(|(_, _, bytes)| bytes).sum();
        if all <= MOST_UNREAD {
            return;
        }
        unread.sort();
        for (_, key, bytes) in unread {
            if all > MOST_UNREAD && key != newest {
                self.close(key);
                all -= bytes;
            }
        }
    }

    /// Writes what many clients may cause, but not for each of them.
    fn complain(&mut self, about: Complaint, what: &str) {
        let now = clock::now().boot;
        let silent_until = &mut self.silent_until[about as usize];
        if silent_until.is_none_or(|until| until <= now) {
            *silent_until = Some(now.after(COMPLAINTS));
            log::warn!("http: {what}");
        }
    }

    fn turn_away(&mut self, stream: &Stream) {
        let full = problem::new(503, "too many connections").header("Retry-After", 1);
        let mut out = Vec::new();
        send::full(&mut out, &full, Manner::REFUSAL, clock::wall());
        // What was sent already is read, lest closing resets the connection before the answer is seen.
        let _ = stream.read(&mut self.buffer);
        let _ = stream.write(&out);
        stream.finish();
    }
}
