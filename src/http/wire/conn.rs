//! One connection: what has come in, what is to go out, and how far its request is.

use super::body::Body;
use super::exchange::Exchange;
use super::head::Head;
use super::listen::Stream;
use super::send::{self, Extent, Manner};
use crate::core::config::rights::Caller;
use crate::core::time::Boot;
use crate::http::answer::{Response, Source, Wait, Woken};
use crate::http::request::Peer;
use crate::http::wake::Topic;
use crate::os::clock;
use crate::os::poll::Want;
use std::io;
use std::time::Duration;

/// What is called when a wait is over.
pub type Again = Box<dyn FnOnce(Woken) -> crate::http::answer::Answer + Send>;

/// How far a connection is.
pub enum Phase {
    /// Between requests, or in the middle of a head.
    Head,
    /// In the middle of a body.
    Body(Box<Head>, Caller, Body),
    /// A worker has the request.
    Working,
    /// An answer that waits.
    Waiting {
        /// Whom to call; `None` while a worker does so.
        again: Option<Again>,
        /// Something happened while the worker was looking.
        woken: bool,
        /// The worker was told that nothing more is started.
        told: bool,
        /// The worker was told that there will be no other time.
        last: bool,
    },
    /// An answer that is kept back until the deadline.
    Late(Box<Response>),
    /// An answer that is sent whole.
    Sending,
    /// An answer that comes in pieces.
    Streaming(Flow),
    /// All is said; what still comes in is thrown away, so that the client sees the answer and no reset.
    Lingering,
}

/// A body on its way out.
pub struct Flow {
    /// Where it comes from; `None` while a worker has it.
    pub source: Option<Box<dyn Source>>,
    /// How it is delimited.
    pub extent: Extent,
    /// Bytes still to come, if that is known.
    pub left: Option<u64>,
    /// The source has something, or may have.
    pub ready: bool,
    /// Something happened while the worker was looking.
    pub woken: bool,
    /// When to ask it at the latest, while it has nothing.
    pub until: Option<Boot>,
    /// It is not asked again before that because something happened.
    pub rested: Boot,
    /// Something did.
    pub held: bool,
    /// The source has given all.
    pub ended: bool,
}

impl Flow {
    /// Something happened, so soon after the last piece that it is told with what follows: when much happens and many
    /// listen, a piece for each would keep everybody else waiting.
    pub fn hold(&mut self) {
        self.held = true;
        self.until = Some(self.until.map_or(self.rested, |at| at.min(self.rested)));
    }
}

/// A connection.
pub struct Conn {
    /// The socket.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: Peer,
    /// Bytes that have come in and are not used yet.
    pub input: Vec<u8>,
    /// How many of them were searched for the end of a head.
    pub scanned: usize,
    /// Bytes to go out.
    pub output: Vec<u8>,
    /// How many of them are out.
    pub written: usize,
    /// How far it is.
    pub phase: Phase,
    /// What wakes it.
    pub topics: Vec<Topic>,
    /// When it is out of time.
    pub deadline: Option<Boot>,
    /// The deadline that the table knows of.
    pub scheduled: Option<Boot>,
    /// What the poller was told last.
    pub want: Want,
    /// The request that is being answered.
    pub exchange: Option<Exchange>,
    /// The client may still be sending what nobody will read.
    pub linger: bool,
    /// It has had an answer.
    pub served: bool,
    /// Its answer is brought to an end to make room.
    pub leaving: bool,
    /// The client says nothing more; whether it listens is not known.
    pub hung_up: bool,
    /// Since when it is idle, sends its request, is sent an answer, or lingers.
    pub since: Boot,
    /// Bytes of the body that was handed over with the request.
    pub handed_over: usize,
    /// What [`Self::weight`] was when it was asked last.
    pub weighed: usize,
}

/// Slowest reader that is put up with, in bytes a second, beside a pause of [`PAUSE`].
const SLOWEST: u64 = 8 * 1024;
/// How long a reader may take for whatever is sent at a time.
const PAUSE: Duration = Duration::from_secs(30);

impl Conn {
    /// A fresh one.
    pub fn new(stream: Stream, peer: Peer, now: Boot) -> Self {
        Self {
            stream,
            peer,
            input: Vec::new(),
            scanned: 0,
            output: Vec::new(),
            written: 0,
            phase: Phase::Head,
            topics: Vec::new(),
            deadline: None,
            scheduled: None,
            linger: false,
            served: false,
            leaving: false,
            hung_up: false,
            want: Want::default(),
            exchange: None,
            since: now,
            handed_over: 0,
            weighed: 0,
        }
    }

    /// Bytes of memory that its request takes up.
    pub fn weight(&self) -> usize {
        let body = match &self.phase {
            Phase::Body(_, _, body) => body.len(),
            Phase::Head
            | Phase::Working
            | Phase::Waiting { .. }
            | Phase::Late(_)
            | Phase::Sending
            | Phase::Streaming(_)
            | Phase::Lingering => self.handed_over,
        };
        self.input.len() + body
    }

    /// True between requests.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Head) && self.input.is_empty() && self.output.is_empty()
    }

    /// How little is lost if it is closed, and since when that is so; the least first. `None`: it waits for us, not
    /// for its client.
    pub fn dispensable(&self) -> Option<(u8, Boot)> {
        let rank = match self.phase {
            Phase::Lingering | Phase::Late(_) => 0,
            Phase::Head if self.is_idle() => 1,
            Phase::Head | Phase::Body(..) => 2,
            // What there is room for in the kernel is out already.
            Phase::Sending => 3,
            Phase::Streaming(Flow { ended: true, .. }) => 3,
            Phase::Streaming(Flow { left: Some(_), .. })
                if !self.output.is_empty() && self.can_ask_again() =>
            {
                4
            }
            // A worker makes its last word, which may take a while.
            Phase::Waiting { .. } if self.leaving && self.can_ask_again() => 5,
            Phase::Working | Phase::Waiting { .. } | Phase::Streaming(_) => return None,
        };
        Some((rank, self.since))
    }

    /// True while its answer waits for something, or is a stream without a known end, and it was not asked to leave.
    pub fn is_waiting(&self) -> bool {
        let waits = match &self.phase {
            Phase::Waiting { .. } => true,
            Phase::Streaming(flow) => flow.left.is_none() && !flow.ended,
            Phase::Head
            | Phase::Body(..)
            | Phase::Working
            | Phase::Late(_)
            | Phase::Sending
            | Phase::Lingering => false,
        };
        waits && !self.leaving
    }

    /// True while its answer waits or streams, and no worker has it.
    fn is_at_hand(&self) -> bool {
        match &self.phase {
            Phase::Waiting { again, .. } => again.is_some(),
            Phase::Streaming(flow) => flow.source.is_some(),
            Phase::Head
            | Phase::Body(..)
            | Phase::Working
            | Phase::Late(_)
            | Phase::Sending
            | Phase::Lingering => false,
        }
    }

    /// When the request came, if its answer can be brought to an end now for others who wait: no token was shown.
    pub fn may_leave(&self) -> Option<Boot> {
        let exchange = self.exchange.as_ref()?;
        (self.is_waiting() && self.is_at_hand() && exchange.caller.is_none())
            .then_some(exchange.began)
    }

    /// True if the answer is the first to be cut off for others who wait: no token was shown, and nothing was changed.
    pub fn can_ask_again(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.caller.is_none() && exchange.is_safe())
    }

    /// True while a worker makes its answer.
    pub fn is_in_work(&self) -> bool {
        matches!(
            self.phase,
            Phase::Working | Phase::Waiting { again: None, .. }
        )
    }

    /// Gives back the memory that a request took: a connection may be idle for long, and there may be many.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        self.output = Vec::new();
    }

    /// What to be told about its socket.
    pub fn wants(&self) -> Want {
        Want {
            read: matches!(self.phase, Phase::Head | Phase::Body(..) | Phase::Lingering),
            write: !self.output.is_empty(),
            hangup: self.is_at_hand()
                && !(self.hung_up && matches!(self.phase, Phase::Waiting { .. })),
        }
    }

    fn manner(&self) -> Manner {
        self.exchange
            .as_ref()
            .map_or(Manner::REFUSAL, |exchange| exchange.manner)
    }

    fn note(&mut self, status: u16) {
        if let Some(exchange) = &mut self.exchange {
            exchange.status = status;
        }
    }

    /// Puts a whole answer into the output, or keeps it back for as long as it says.
    pub fn send(&mut self, mut response: Response) {
        let delay = std::mem::take(&mut response.delay);
        self.since = clock::now().boot;
        self.note(response.status);
        if !delay.is_zero() {
            self.deadline = Some(self.since.after(delay));
            self.phase = Phase::Late(Box::new(response));
            return;
        }
        let manner = self.manner();
        send::full(&mut self.output, &response, manner, clock::wall());
        self.phase = Phase::Sending;
        self.set_pace();
    }

    /// Puts the head of an answer in pieces into the output.
    pub fn stream(&mut self, head: &Response, length: Option<u64>, source: Box<dyn Source>) {
        self.note(head.status);
        let mut manner = self.manner();
        let extent = match length {
            Some(length) => Extent::Length(length),
            None if manner.is_old => Extent::UntilClose,
            None => Extent::Chunks,
        };
        manner.keep &= extent != Extent::UntilClose;
        if let Some(exchange) = &mut self.exchange {
            exchange.manner = manner;
        }
        send::head(&mut self.output, head, extent, manner, clock::wall());
        self.phase = match manner.head_only {
            true => Phase::Sending,
            false => Phase::Streaming(Flow {
                source: Some(source),
                extent,
                left: length,
                ready: true,
                woken: false,
                until: None,
                rested: Boot(0),
                held: false,
                ended: false,
            }),
        };
        self.set_pace();
    }

    /// Puts a piece of the body into the output. False if the source gave less or more than it had promised: then
    /// the connection must end, since nobody could tell where the next answer begins.
    pub fn piece(&mut self, mut bytes: Vec<u8>, is_last: bool) -> bool {
        let Phase::Streaming(flow) = &mut self.phase else {
            return false;
        };
        let mut is_right = true;
        if let Some(left) = &mut flow.left {
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            is_right = bytes.len() <= most && (!is_last || bytes.len() == most);
            bytes.truncate(most);
            *left -= bytes.len() as u64;
        }
        let is_last = is_last || flow.left == Some(0);
        match flow.extent {
            Extent::Chunks => send::chunk(&mut self.output, &bytes),
            Extent::Length(_) | Extent::UntilClose => self.output.extend_from_slice(&bytes),
        }
        if is_last {
            flow.ended = true;
            if flow.extent == Extent::Chunks {
                self.output.extend_from_slice(send::LAST_CHUNK);
            }
        }
        self.set_pace();
        is_right
    }

    /// Gives the reader time for what is in the output.
    fn set_pace(&mut self) {
        let span = PAUSE + Duration::from_secs(self.output.len() as u64 / SLOWEST);
        self.deadline = Some(clock::now().boot.after(span));
    }

    /// Writes what there is room for. Errors: the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n;
                    if let Some(exchange) = &mut self.exchange {
                        exchange.sent += n as u64;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Puts a wait in place of the answer.
    pub fn wait(&mut self, wait: Wait, told: bool) {
        self.phase = Phase::Waiting {
            again: Some(wait.again),
            woken: false,
            told,
            last: false,
        };
        self.deadline = wait.until;
    }

    /// Writes the line of the access log.
    pub fn log(&self, now: Boot) {
        if let Some(exchange) = &self.exchange {
            exchange.log(self.peer, now);
        }
    }
}
