//! Taking connections in.

use super::conn::Conn;
use super::listen::Stream;
use super::reactor::{LISTENERS, READING, Reactor};
use super::send::{self, Manner};
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

impl Reactor {
    /// Has the poller tell of new connections, or not.
    pub(super) fn want_connections(&self, want: Want) {
        for (listener, number) in self.listeners.iter().zip(LISTENERS..) {
            if let Err(e) = self.poller.change(listener, number, want) {
                log::error!("http: {}: {e}", listener.address);
            }
        }
    }

    /// Takes the connections that wait at a listener.
    pub(super) fn accept(&mut self, number: u64) {
        let index = usize::try_from(number - LISTENERS).unwrap_or(usize::MAX);
        for _ in 0..AT_ONCE {
            let Some(listener) = self.listeners.get(index) else {
                return;
            };
            let local = listener.address.is_local();
            match listener.accept() {
                Ok((stream, peer)) => self.welcome(stream, peer, local),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => {
                    let shortage = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                    if e.raw_os_error()
                        .is_some_and(|code| shortage.contains(&code))
                    {
                        log::warn!("http: {}: {e}; connections have to wait", listener.address);
                        self.accept_again = Some(clock::now().boot.after(BREATHER));
                        return self.want_connections(Want::default());
                    }
                    // Else it is of this one connection, which is gone (accept(2)).
                }
            }
        }
    }

    /// Takes a connection in. When there are too many, the one that has been idle for longest has to go; when none
    /// is idle, the new one is turned away.
    fn welcome(&mut self, stream: Stream, peer: Peer, local: bool) {
        if self.table.len() >= self.limits.connections {
            let idle = self.table.iter().filter(|(_, conn)| conn.is_idle());
            match idle
                .min_by_key(|(_, conn)| conn.idle_since)
                .map(|(key, _)| key)
            {
                Some(key) => self.close(key),
                None => return self.turn_away(&stream),
            }
        }
        let now = clock::now().boot;
        let key = self.table.add(Conn::new(stream, peer, local, now));
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
