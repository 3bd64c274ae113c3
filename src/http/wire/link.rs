//! A connection as other threads see it: what its thread is doing, and how to wake or end it.

use super::peer::Peer;
use super::stop::StopStage;
use crate::core::time::Boot;
use crate::os::{clock, poll};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a connection's thread is doing.
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
    /// Waiting for something to happen, to tell of it in the answer.
    Waiting,
    /// Keeping an answer back.
    Delaying,
    /// Sending an answer, or the rest of it, that its client does not take at once.
    Sending,
    /// As [`Self::Sending`], for a piece that others follow. `sized`: how many is known.
    SendingPiece {
        /// The length of the body was promised.
        sized: bool,
    },
    /// Reading and forgetting what a client sends that was refused, so that it sees the answer and no reset.
    Lingering,
}

/// The request that is being answered, as far as it matters for who makes room.
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
    /// True if its answer is the first to be cut off for others: no token was shown, and nothing was changed.
    fn can_be_asked_again(&self) -> bool {
        !self.has_token && self.is_safe
    }
}

/// How a connection stands.
#[derive(Debug)]
pub struct Standing {
    activity: Activity,
    /// Since when a client keeps its place without need: since it came or was answered, or since its answer is sent.
    since: Boot,
    served: bool,
    pending: Option<Pending>,
    /// Bytes of a whole answer that its client has not taken.
    unread: usize,
    /// The answer waits, or is a stream without a known end.
    pub is_long: bool,
    /// The answer is to come to an end, because others need the place.
    pub is_leaving: bool,
    /// A watched thing has changed.
    pub changed: bool,
    /// The client sends nothing more.
    pub hung_up: bool,
    /// The client is gone, or the connection was ended by [`Link::cut_off`].
    pub gone: bool,
    /// Only what is there already is read: see [`Link::come_to_an_end`].
    pub read_ended: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// Its number, which no other ever has.
    pub key: u64,
    /// The socket.
    pub stream: TcpStream,
    /// Who is at the other end.
    pub peer: Peer,
    standing: Mutex<Standing>,
    /// Told when something in the standing was changed for the thread.
    pub news: Condvar,
}

impl Link {
    /// A connection that has just come.
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

    /// How it stands.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something has changed, and wakes the thread if it waits for that.
    pub fn tell(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing());
        self.news.notify_one();
    }

    /// Ends it from outside, whatever its thread is doing.
    pub fn cut_off(&self) {
        self.tell(|standing| standing.gone = true);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Tells the thread how near the end is. Those who wait for their client, and have nothing to lose by that, end.
    pub fn come_to_an_end(&self, stage: StopStage) {
        let mut standing = self.standing();
        let ends = match standing.activity {
            Activity::Lingering => stage.is_closing(),
            // A connection that has just come may have its request on the way.
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

    /// True if it waits for a request and none is on the way. One that has just come in is the thread's to read.
    pub fn is_idle(&self) -> bool {
        let mut standing = self.standing();
        if standing.activity == Activity::Idle && poll::is_readable(self.stream.as_fd()) {
            standing.activity = Activity::Asking;
        }
        standing.activity == Activity::Idle
    }
}

impl Standing {
    /// What the thread does from now on. Gives what it did before.
    pub fn enter(&mut self, activity: Activity) -> Activity {
        match activity {
            // Whoever has just come is judged by when that was: requests are not read in the order in which they came.
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

    /// What the thread does.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Notes whose answer is made from now on.
    pub fn begin(&mut self, pending: Pending) {
        self.pending = Some(pending);
        self.activity = Activity::Working;
    }

    /// Notes that the answer is out.
    pub fn finish(&mut self) {
        self.served = true;
        self.pending = None;
        self.is_long = false;
        self.is_leaving = false;
        self.changed = false;
        self.since = clock::now().boot;
    }

    /// True once it has had an answer.
    pub fn was_served(&self) -> bool {
        self.served
    }

    /// Notes how much of a whole answer the client has not taken.
    pub fn set_unread(&mut self, bytes: usize) {
        self.unread = bytes;
    }

    /// How much of a whole answer the client has not taken, and how early it is cut off for that.
    pub fn unread(&self) -> Option<(usize, (bool, Boot))> {
        let order = (!self.can_be_asked_again(), self.since);
        (self.unread > 0).then_some((self.unread, order))
    }

    fn can_be_asked_again(&self) -> bool {
        self.pending
            .is_some_and(|pending| pending.can_be_asked_again())
    }

    /// How little is lost if it is ended, and since when that is so; the least first. `None`: it waits for us, not for
    /// its client.
    pub fn dispensable(&self) -> Option<(u8, Boot)> {
        let rank = match self.activity {
            Activity::Lingering | Activity::Delaying => 0,
            Activity::Idle => 1,
            Activity::Asking => 2,
            // The kernel has taken what it has room for.
            Activity::Sending => 3,
            Activity::SendingPiece { .. } if self.is_leaving => 3,
            Activity::SendingPiece { sized: true } if self.can_be_asked_again() => 4,
            // Its last word is being made, which may take a while.
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

    /// True while its answer waits or has no known end, and it was not asked to leave.
    pub fn is_waiting(&self) -> bool {
        self.is_long && !self.is_leaving
    }

    /// When the request came, if its answer can be brought to an end for others: no token was shown.
    pub fn may_leave(&self) -> Option<Boot> {
        let pending = self.pending.filter(|pending| !pending.has_token)?;
        self.is_waiting().then_some(pending.began)
    }
}
