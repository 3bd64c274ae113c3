//! The way in: from the bytes of a connection to a head and a body.

use crate::core::time::Boot;
use crate::http::message::body::Body;
use crate::http::message::head::{self, Head};
use crate::http::message::problem::Refused;
use crate::http::wire::link::{Activity, Link};
use crate::http::wire::shared::{BodyWeight, Wire};
use crate::os::{clock, socket};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of requests that all connections together may hold before those with large bodies are refused.
const MOST_WEIGHT: usize = 32 << 20;

/// A body that is never too large.
const SMALL_BODY: usize = 64 * 1024;

/// How long a connection may be without a request.
const IDLE: Duration = Duration::from_secs(60);
/// How long a head may take, from its first byte to its last.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Most bytes of a head.
const MOST_HEAD: usize = 16 * 1024;

/// Bytes that are read at a time: of a head, of a body, and of a body that has turned out to be large.
const OF_HEAD: usize = 2 * 1024;
const OF_BODY: usize = 16 * 1024;
const OF_LARGE_BODY: usize = 64 * 1024;

/// Why there will be no answer by a handler.
pub enum Unanswered {
    /// The request is refused, and the connection ends with that.
    Refused(Refused),
    /// The connection has ended, or is idle for too long.
    Over,
}

impl From<Refused> for Unanswered {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Why nothing more was read.
fn cut_short(e: io::Error) -> Unanswered {
    match e.kind() {
        io::ErrorKind::TimedOut => Refused::new(408, "the request took too long").into(),
        _ => Unanswered::Over,
    }
}

/// The bytes that come in.
pub struct RequestReader {
    wire: Arc<Wire>,
    link: Arc<Link>,
    /// Bytes that have come in and are not used yet.
    bytes: Vec<u8>,
    /// The time limit that the socket has.
    limit: Duration,
}

impl RequestReader {
    /// For this connection.
    pub fn new(wire: Arc<Wire>, link: Arc<Link>) -> Self {
        Self {
            wire,
            link,
            bytes: Vec::new(),
            limit: Duration::ZERO,
        }
    }

    /// The bytes that have come in and are not used yet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Waits for a request and reads its head.
    pub fn head(&mut self) -> Result<Head, Unanswered> {
        // A connection may be idle for long, and there may be many.
        if self.bytes.is_empty() && self.bytes.capacity() > OF_HEAD {
            self.bytes = Vec::new();
        }
        self.link.standing().enter(Activity::Idle);
        let idle_until = clock::now().boot.after(IDLE);
        while self.is_at_empty_line() {
            match self.first(idle_until) {
                Err(e) if e.kind() == io::ErrorKind::TimedOut && self.bytes.is_empty() => {
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

    /// Takes empty lines off the front. True if there is no byte of a head yet.
    ///
    /// An empty line before a request is the end of a former one's body, for some old clients (RFC 9112 section 2.2).
    /// It may come in two parts, and buys no time.
    fn is_at_empty_line(&mut self) -> bool {
        let empty = self.bytes.chunks(2).take_while(|pair| pair == b"\r\n");
        let end = 2 * empty.count();
        self.bytes.drain(..end);
        matches!(self.bytes.as_slice(), [] | [b'\r'])
    }

    /// Reads the first bytes of a request. While the wire stops, those that are there already are the last.
    fn first(&mut self, until: Boot) -> io::Result<()> {
        let stage = self.wire.stage();
        // A connection that has just come may have its request on the way.
        let is_last = match stage.is_closing() {
            true => !stage.serves() || self.link.standing().was_served(),
            false => !stage.serves(),
        };
        match is_last {
            true => self.read(OF_HEAD, |link, buffer| {
                socket::receive_now(&link.stream, buffer)
            }),
            false => self.more(OF_HEAD, until),
        }
    }

    /// Reads the body that the head announces, and says how much memory it takes.
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

    /// Reads some more bytes. Errors: `TimedOut` when it is `until`, `UnexpectedEof` at the end.
    fn more(&mut self, room: usize, until: Boot) -> io::Result<()> {
        let left = until.since(clock::now().boot);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // In whole seconds, so that the socket is not told a new limit for each read.
        let limit = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
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

    /// Reads and forgets what the client sends, until it ends or it is `until`.
    pub fn forget_all(&mut self, until: Boot) {
        self.bytes.clear();
        while self.more(OF_BODY, until).is_ok() {
            self.bytes.clear();
        }
    }
}
