//! Reading requests: from the bytes of a connection to a head and a body.

use crate::core::time::Boot;
use crate::http::message::body::Body;
use crate::http::message::head::{self, Head};
use crate::http::message::problem::Refused;
use crate::http::wire::link::{Activity, Link};
use crate::http::wire::shared::{BodyWeight, Wire};
use crate::os::{clock, socket, thread};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of requests that all connections together may hold before those with large bodies are refused.
const MOST_WEIGHT: usize = 32 << 20;

/// The largest body that is not refused for the bytes of others.
const SMALL_BODY: usize = 64 * 1024;

/// How long after a request a connection gives back the memory of its stack: many may be idle, and for long.
const REST_AFTER: Duration = Duration::from_millis(500);
/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(60);
/// How long a head may take, from its first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Most bytes of a head.
const MOST_HEAD: usize = 16 * 1024;

/// Bytes that are read at a time: of a head, of a body, and of a body that is large.
const OF_HEAD: usize = 1024;
const OF_BODY: usize = 16 * 1024;
const OF_LARGE_BODY: usize = 64 * 1024;

/// A reason why no handler gets the request.
pub enum Unanswered {
    /// The request is refused, and the connection ends after the answer.
    Refused(Refused),
    /// The connection has ended, or is idle for too long.
    Over,
}

impl From<Refused> for Unanswered {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The reason that follows from an error of a read.
fn cut_short(e: io::Error) -> Unanswered {
    match e.kind() {
        io::ErrorKind::TimedOut => Refused::new(408, "the request took too long").into(),
        _ => Unanswered::Over,
    }
}

/// Reads the requests of a connection.
pub struct RequestReader {
    wire: Arc<Wire>,
    link: Arc<Link>,
    /// Bytes that were read and do not belong to a request yet.
    bytes: Vec<u8>,
    /// The time limit of the socket's reads.
    limit: Duration,
}

impl RequestReader {
    /// A reader for this connection.
    pub fn new(wire: Arc<Wire>, link: Arc<Link>) -> Self {
        Self {
            wire,
            link,
            bytes: Vec::new(),
            limit: Duration::ZERO,
        }
    }

    /// The bytes that were read and do not belong to a request yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Waits for a request and reads its head.
    pub fn head(&mut self) -> Result<Head, Unanswered> {
        // Many connections may be idle, and for long.
        if self.bytes.is_empty() && self.bytes.capacity() > OF_HEAD {
            self.bytes = Vec::new();
        }
        self.link.standing().enter(Activity::Idle);
        let now = clock::now().boot;
        let (rest_at, idle_until) = (now.after(REST_AFTER), now.after(IDLE));
        let mut until = rest_at;
        while self.is_at_empty_line() {
            let is_empty = self.bytes.is_empty();
            match self.first(until) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut && until == rest_at => {
                    until = idle_until;
                    thread::release_stack();
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut && is_empty => {
                    return Err(Unanswered::Over);
                }
                read => read.map_err(cut_short)?,
            }
        }
        self.link.standing().enter(Activity::Asking);
        let until = clock::now().boot.after(HEAD_TIME);
        let mut scanned = 0;
        loop {
            match head::end_of_head(&self.bytes, scanned)? {
                Some(end) if end <= MOST_HEAD => {
                    let head = head::parse(&self.bytes[..end])?;
                    self.bytes.drain(..end);
                    return Ok(head);
                }
                None if self.bytes.len() < MOST_HEAD => scanned = self.bytes.len(),
                Some(_) | None => return Err(head::too_large(&self.bytes).into()),
            }
            self.more(OF_HEAD, until).map_err(cut_short)?;
        }
    }

    /// Removes empty lines from the front. True if no byte of a head has come.
    ///
    /// Some old clients send an empty line behind a body (RFC 9112 section 2.2). It may come in two parts.
    fn is_at_empty_line(&mut self) -> bool {
        let empty = self.bytes.chunks(2).take_while(|pair| pair == b"\r\n");
        let end = 2 * empty.count();
        self.bytes.drain(..end);
        matches!(self.bytes.as_slice(), [] | [b'\r'])
    }

    /// Reads the first bytes of a request. While the daemon stops, only those that have come already.
    fn first(&mut self, until: Boot) -> io::Result<()> {
        let stage = self.wire.stage();
        // The first request may be on its way.
        let is_last = match stage.is_closing() {
            true => !stage.serves() || self.link.standing().served,
            false => !stage.serves(),
        };
        match is_last {
            true => self.read(OF_HEAD, |link, buffer| {
                socket::receive_now(&link.stream, buffer)
            }),
            false => self.more(OF_HEAD, until),
        }
    }

    /// Reads a body, and keeps its weight up to date.
    pub fn body(&mut self, mut body: Body, weight: &mut BodyWeight) -> Result<Vec<u8>, Unanswered> {
        let until = clock::now().boot.after(BODY_TIME);
        loop {
            body.feed(&mut self.bytes)?;
            let of_others = weight.set(body.len());
            if body.is_done() {
                return Ok(body.into_bytes());
            }
            if body.len() > SMALL_BODY && of_others > MOST_WEIGHT {
                let what = "too much is being sent at the same time";
                return Err(Refused::new(503, what).header("Retry-After", 1).into());
            }
            let room = match body.len() > SMALL_BODY {
                true => OF_LARGE_BODY,
                false => OF_BODY,
            };
            self.more(room, until).map_err(cut_short)?;
        }
    }

    /// Reads at most `room` bytes. Errors: `TimedOut` at `until`, `UnexpectedEof` at the end.
    fn more(&mut self, room: usize, until: Boot) -> io::Result<()> {
        let left = until.since(clock::now().boot);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Rounded to half seconds, so that few reads need a new limit.
        let halves = left.as_millis().div_ceil(500);
        let limit = Duration::from_millis(500 * u64::try_from(halves).unwrap_or(1));
        if limit != self.limit {
            self.link.stream.set_read_timeout(Some(limit))?;
            self.limit = limit;
        }
        self.read(room, |link, buffer| (&link.stream).read(buffer))
    }

    fn read(
        &mut self,
        room: usize,
        read: impl Fn(&Link, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let start = self.bytes.len();
        self.bytes.resize(start + room, 0);
        let done = loop {
            match read(&self.link, &mut self.bytes[start..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        self.bytes
            .truncate(start + done.as_ref().copied().unwrap_or(0));
        match done {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
        }
    }

    /// Reads and drops what the client sends, until it ends or until `until`.
    pub fn forget_all(&mut self, until: Boot) {
        self.bytes.clear();
        while self.more(OF_BODY, until).is_ok() {
            self.bytes.clear();
        }
    }
}
