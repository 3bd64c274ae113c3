//! A connection as other threads see it: the activity of its thread, and how to wake or end it.

use super::peer::Peer;
use super::stop::StopStage;
use crate::core::time::Boot;
use crate::os::clock;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a connection counts as one whose request is on its way: its thread may not have read the first bytes yet.
const FRESH: Duration = Duration::from_secs(1);

/// The activity of a connection's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for a request.
    Idle,
    /// Reading a request that has begun.
    Asking,
    /// Making an answer.
    Working,
    /// Making the next piece of an answer.
    Streaming,
    /// Waiting for a change of the spool that the answer needs.
    Waiting,
    /// Holding an answer back, because the client guessed a token.
    Delaying,
    /// Sending the rest of a whole answer that its client does not read at once.
    Sending,
    /// Sending the rest of a piece that its client does not read at once.
    SendingPiece {
        /// The length of the whole body is known.
        sized: bool,
    },
    /// Reading what a refused client still sends, so that it sees the answer and no reset.
    Lingering,
}

/// The facts about a request that decide whether its connection makes room.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// When its head was complete.
    pub began: Boot,
    /// Its client has shown a token.
    pub has_token: bool,
    /// It changes nothing.
    pub is_safe: bool,
}

impl Pending {
    /// True if its answer may be cut off first: its client has shown no token, and nothing was changed.
    fn can_be_asked_again(&self) -> bool {
        !self.has_token && self.is_safe
    }
}

/// The state of a connection, under its lock.
#[derive(Debug)]
pub struct Standing {
    /// The activity of the thread.
    pub activity: Activity,
    /// Since when the connection is idle, its answer is being sent, or its request is read.
    since: Boot,
    /// A request was answered before.
    pub served: bool,
    /// The request that is being answered.
    pending: Option<Pending>,
    /// Bytes of a whole answer that the client does not read at once.
    pub unread: usize,
    /// The handler waits, or the answer is a stream without a known end.
    pub is_long: bool,
    /// The answer is to end, because another connection needs the place.
    pub is_leaving: bool,
    /// A topic that the handler waits for has changed.
    pub changed: bool,
    /// The client sends nothing more.
    pub hung_up: bool,
    /// The client is gone, or another thread has called [`Link::cut_off`].
    pub gone: bool,
    /// [`Link::come_to_an_end`] has ended reading: only bytes that have come are read.
    pub read_ended: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// Its number, which no other connection ever has.
    pub key: u64,
    /// The socket.
    pub stream: TcpStream,
    /// The other end.
    pub peer: Peer,
    standing: Mutex<Standing>,
    /// Notified when another thread has changed the standing.
    pub news: Condvar,
}

impl Link {
    /// A connection without a request.
    pub fn new(key: u64, stream: TcpStream, peer: Peer) -> Self {
        Self {
            key,
            stream,
            peer,
            standing: Mutex::new(Standing {
                activity: Activity::Idle,
                since: clock::now().boot,
                served: false,
                pending: None,
                unread: 0,
                is_long: false,
                is_leaving: false,
                changed: false,
                hung_up: false,
                gone: false,
                read_ended: false,
            }),
            news: Condvar::new(),
        }
    }

    /// Locks its state.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes its state, and wakes the thread if its handler waits.
    pub fn tell(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing());
        self.news.notify_one();
    }

    /// Ends it, whatever its thread is doing.
    pub fn cut_off(&self) {
        self.tell(|standing| standing.gone = true);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Tells the thread of a new stage. A thread that waits for its client, and loses nothing by that, ends.
    pub fn come_to_an_end(&self, stage: StopStage) {
        let mut standing = self.standing();
        let ends = match standing.activity {
            Activity::Lingering => stage.is_closing(),
            // The first request may be on its way.
            Activity::Idle => !stage.serves() || standing.served,
            Activity::Asking => stage == StopStage::Closing,
            Activity::Working
            | Activity::Streaming
            | Activity::Waiting
            | Activity::Delaying
            | Activity::Sending
            | Activity::SendingPiece { .. } => false,
        };
        if ends {
            standing.read_ended = true;
            let _ = self.stream.shutdown(Shutdown::Read);
        }
        self.news.notify_one();
    }
}

impl Standing {
    /// Sets the activity. Gives the one before.
    pub fn enter(&mut self, activity: Activity) -> Activity {
        match activity {
            // Threads read first requests in any order; of these the connections' order counts.
            Activity::Asking if self.served => self.since = clock::now().boot,
            Activity::Delaying
            | Activity::Sending
            | Activity::SendingPiece { .. }
            | Activity::Lingering => self.since = clock::now().boot,
            Activity::Idle
            | Activity::Asking
            | Activity::Working
            | Activity::Streaming
            | Activity::Waiting => {}
        }
        std::mem::replace(&mut self.activity, activity)
    }

    /// A handler gets the request.
    pub fn begin(&mut self, pending: Pending) {
        self.pending = Some(pending);
        self.activity = Activity::Working;
    }

    /// The answer was sent.
    pub fn finish(&mut self) {
        self.served = true;
        self.pending = None;
        self.is_long = false;
        self.is_leaving = false;
        self.changed = false;
        self.since = clock::now().boot;
    }

    /// Where a connection with an unread answer comes in the order of those to cut off.
    pub fn unread_order(&self) -> (bool, Boot) {
        (!self.can_be_asked_again(), self.since)
    }

    fn can_be_asked_again(&self) -> bool {
        self.pending
            .is_some_and(|pending| pending.can_be_asked_again())
    }

    /// The order in which connections are ended to make room: with the least first, least is lost. `None`: the
    /// connection waits for the daemon, not for its client.
    pub fn dispensable(&self) -> Option<(u8, Boot)> {
        let rank = match self.activity {
            Activity::Lingering | Activity::Delaying => 0,
            Activity::Idle if clock::now().boot >= self.since.after(FRESH) => 1,
            Activity::Idle | Activity::Asking => 2,
            // The kernel's buffer is full: the client does not read.
            Activity::Sending => 3,
            Activity::SendingPiece { .. } if self.is_leaving => 3,
            Activity::SendingPiece { sized: true } if self.can_be_asked_again() => 4,
            // Its last answer may take a while to make.
            Activity::Working | Activity::Streaming | Activity::Waiting
                if self.is_leaving && self.can_be_asked_again() =>
            {
                5
            }
            Activity::Working
            | Activity::Streaming
            | Activity::Waiting
            | Activity::SendingPiece { .. } => return None,
        };
        Some((rank, self.since))
    }

    /// True while its handler waits or its answer has no known end, unless it was asked to leave.
    pub fn is_waiting(&self) -> bool {
        self.is_long && !self.is_leaving
    }

    /// When the request came, if its answer may be ended for others: its client has shown no token.
    pub fn may_leave(&self) -> Option<Boot> {
        let pending = self.pending.filter(|pending| !pending.has_token)?;
        self.is_waiting().then_some(pending.began)
    }
}
