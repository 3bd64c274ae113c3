//! What a handler can answer: everything at once, piece by piece, or later.

use super::wake::Topic;
use crate::core::time::Boot;
use std::fmt;
use std::time::Duration;

/// Status, header and, unless it comes in pieces, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Fields beside those that the wire adds (`Date`, `Content-Length` or `Transfer-Encoding`, `Connection`).
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it is kept back, which costs no thread.
    pub delay: Duration,
}

impl Response {
    /// One without fields and body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// One with a body of this type.
    pub fn with(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    /// Plain text.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::with(status, "text/plain; charset=utf-8", body)
    }

    /// JSON text.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::with(status, "application/json", body)
    }

    /// Keeps it back for so long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a field. What it holds of control characters is left out: no value can begin another field.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        let value = value.to_string().replace(char::is_control, "");
        self.headers.push((name, value));
        self
    }
}

/// The answer to a request.
pub enum Answer {
    /// All of it.
    Full(Response),
    /// A body that comes in pieces. `length`: its size in bytes when that is known; else it is sent in chunks.
    Stream {
        /// Status and header; its body is not used.
        head: Response,
        /// All bytes that `source` will give.
        length: Option<u64>,
        /// Where they come from.
        source: Box<dyn Source>,
    },
    /// Not yet: see [`Wait`].
    Wait(Wait),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Full(response)
    }
}

/// A body that is made while it is sent. A worker calls it; between the calls it costs no thread.
pub trait Source: Send {
    /// Appends the next piece, of about [`PIECE`] bytes at most, and says how to go on. It is called again only
    /// when all of the piece has gone out, so that a slow reader makes a slow source, not a long queue.
    fn fill(&mut self, out: &mut Vec<u8>) -> Next;
}

/// How large a piece should be at most, in bytes.
pub const PIECE: usize = 64 * 1024;

/// What follows a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another one, as soon as this one is sent.
    More,
    /// Nothing until something happens, or until then. The source is called once more right after the first time
    /// that it names its topics, so that nothing is missed between its look and the watch.
    Sleep {
        /// What to be woken by.
        on: Vec<Topic>,
        /// When to be woken at the latest.
        until: Option<Boot>,
    },
    /// That was all.
    End,
}

/// An answer that has to wait for something. It costs no thread.
pub struct Wait {
    /// What to be woken by.
    pub on: Vec<Topic>,
    /// When to be woken at the latest.
    pub until: Option<Boot>,
    /// Called by a worker when it is time; may wait again. As with [`Next::Sleep`], it is called once at the start.
    pub again: Box<dyn FnOnce(Woken) -> Answer + Send>,
}

/// Why a [`Wait`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Something may have happened: look.
    Changed,
    /// It is `until`, or others need the place: answer now.
    Late,
    /// The client says nothing more; it may listen still. Said once.
    HungUp,
    /// The daemon was told to stop and starts nothing more. Said once; it may wait on for what runs.
    Draining,
    /// The daemon is about to exit: answer now, whatever there is to say.
    Closing,
}
