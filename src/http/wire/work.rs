//! What the loop has the workers do, and what they send back.

use super::conn::Again;
use super::table::Key;
use crate::core::time::Boot;
use crate::http::answer::{Answer, Next, PIECE, Source, Woken};
use crate::http::request::Request;
use crate::http::{Door, Router};
use std::sync::Arc;

/// A task for a worker.
pub enum Work {
    /// Answer this.
    Handle(Key, Box<Request>),
    /// Go on with an answer that has waited.
    Again(Key, Again, Woken),
    /// Make the next piece of a body.
    Fill(Key, Box<dyn Source>),
}

/// What the loop is told.
pub enum Letter {
    /// The answer to a request.
    Answer(Key, Answer),
    /// A piece of a body.
    Piece {
        /// For whom.
        key: Key,
        /// Where it comes from.
        source: Box<dyn Source>,
        /// The piece.
        bytes: Vec<u8>,
        /// What follows it.
        next: Next,
    },
    /// Take no new requests, and listen no more.
    Drain,
    /// Finish what is being answered, and end.
    Close {
        /// By then, as far as that is up to clients.
        until: Boot,
        /// By then in any case.
        at_last: Boot,
        /// Also answer what has just been asked.
        serve: bool,
    },
}

impl Work {
    /// Does it.
    pub fn carry_out(self, door: &Arc<Door>, router: &Router) -> Letter {
        match self {
            Self::Handle(key, request) => Letter::Answer(key, router.answer(&request, door)),
            Self::Again(key, again, woken) => Letter::Answer(key, again(woken)),
            Self::Fill(key, mut source) => {
                let mut bytes = Vec::with_capacity(PIECE);
                let next = source.fill(&mut bytes);
                Letter::Piece {
                    key,
                    source,
                    bytes,
                    next,
                }
            }
        }
    }
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not in sight.
    Open,
    /// No new requests; what is being answered goes on.
    Draining,
    /// What is being answered must be done soon.
    Closing {
        /// When all connections are closed whose answer is not being made.
        until: Boot,
        /// When all are closed.
        at_last: Boot,
        /// Whether requests are still taken.
        serve: bool,
    },
}

impl Mode {
    /// True while requests are taken.
    pub fn serves(self) -> bool {
        match self {
            Self::Open => true,
            Self::Draining => false,
            Self::Closing { serve, .. } => serve,
        }
    }

    /// True when all is to come to an end.
    pub fn is_closing(self) -> bool {
        match self {
            Self::Open | Self::Draining => false,
            Self::Closing { .. } => true,
        }
    }
}
