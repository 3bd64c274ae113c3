//! The calls that a bridge makes to an engine.

use crate::core::id::JobId;
use std::fmt;
use std::time::Duration;

/// A queue of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteQueue {
    /// Its full name there.
    pub name: String,
    /// Its address, in the engine's form.
    pub url: String,
    /// After this many receives without an acknowledgement the engine moves a message to the failed queue; `None`: never.
    pub max_receives: Option<u32>,
    /// The length of every lease of it, whatever is asked for; `None`: each call gives the length.
    pub lease: Option<Duration>,
    /// True if the engine keeps the order of each group.
    pub is_fifo: bool,
}

/// The form of a message's body, as its sender has marked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// A record in JSON.
    Record,
    /// Shell text.
    Command,
    /// The sender has said nothing.
    Unmarked,
}

/// A message that was received and is leased to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id that its job gets here. It is the same each time that the message comes.
    pub id: JobId,
    /// Names this receive of it to the engine.
    pub receipt: String,
    /// Its text, or the reason why it has none: it is not UTF-8, or was damaged on the way.
    pub body: Result<String, String>,
    /// The form of the text.
    pub form: BodyForm,
    /// How often it was received, this time included.
    pub count: u32,
    /// Messages of a group are run in their order, one at a time.
    pub group: Option<String>,
}

/// A lease to be extended or given back.
#[derive(Debug, Clone, Copy)]
pub struct LeaseKey<'a> {
    /// The id of the job.
    pub id: &'a JobId,
    /// The receipt of the last receive.
    pub receipt: &'a str,
}

/// A lease to be extended.
#[derive(Debug, Clone, Copy)]
pub struct Extension<'a> {
    /// The lease.
    pub key: LeaseKey<'a>,
    /// The time that it is to have left. Not read for queues with a fixed lease.
    pub lease: Duration,
}

/// A lease whose job has ended well, to be acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct WellEnded<'a> {
    /// The lease.
    pub key: LeaseKey<'a>,
    /// The record to keep or send as the result, if results are asked for.
    pub result: Option<&'a str>,
}

/// A lease to be given back.
#[derive(Debug, Clone, Copy)]
pub struct GivenBack<'a> {
    /// The lease.
    pub key: LeaseKey<'a>,
    /// The message may be received again after this time, or earlier if its lease would have ended earlier.
    pub delay: Duration,
    /// As in [`WellEnded`]; `None` also if the job did not run.
    pub result: Option<&'a str>,
}

/// The engine's answer about one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It has done so.
    Done,
    /// The lease is no longer ours, for this reason.
    Lost(String),
    /// It could not do so now, for this reason; the lease may still be ours.
    Again(String),
}

/// Why a call could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The server did not answer, or asked us to come again later.
    Unreachable(String),
    /// There is no such queue.
    NoQueue(String),
    /// The server refuses us, or the settings are wrong.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::NoQueue(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Trouble {}

/// A server that keeps queues. Each call makes one attempt: the caller repeats it. Calls come from several threads, so
/// that a call that waits must not hold up the others.
pub trait Engine: Send + Sync {
    /// The word for it in leases and messages: `sqs`, `redis`.
    fn kind(&self) -> &'static str;

    /// The longest that a message can be kept by extending its lease, from its receive on; `None`: as long as one likes.
    fn longest_hold(&self) -> Option<Duration>;

    /// The queues that the settings name, sorted within each pattern. Those that do not exist are left out.
    fn queues(&self) -> Result<Vec<RemoteQueue>, Trouble>;

    /// Waits at most `wait` for messages, and leases at most `most` of them (1 to 10) for `lease`.
    fn receive(
        &self,
        queue: &RemoteQueue,
        most: usize,
        wait: Duration,
        lease: Duration,
    ) -> Result<Vec<Message>, Trouble>;

    /// Extends at most 10 leases. One answer for each, in order.
    fn extend(
        &self,
        queue: &RemoteQueue,
        leases: &[Extension<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble>;

    /// Sends the results of at most 10 jobs out, then acknowledges their messages: nobody receives them again. Repeating
    /// it succeeds. One answer for each, in order.
    fn ack(
        &self,
        queue: &RemoteQueue,
        ended: &[WellEnded<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble>;

    /// Sends the results of at most 10 jobs out, then gives their messages back: each is received again after its delay,
    /// or moved to the failed queue if its `count` has reached `max_receives`. One answer for each, in order.
    fn nack(
        &self,
        queue: &RemoteQueue,
        given: &[GivenBack<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble>;
}
