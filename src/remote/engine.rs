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
    /// Its text.
    pub body: String,
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

/// A lease whose job has ended well, to be acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct WellEnded<'a> {
    /// The lease.
    pub key: LeaseKey<'a>,
    /// The record to keep as the result, if results are asked for.
    pub result: Option<&'a str>,
}

/// The engine's answer about one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It has done so.
    Done,
    /// The lease is no longer ours, for this reason.
    Lost(String),
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

/// A server that keeps queues. Each call makes one attempt: the caller repeats it.
pub trait Engine: Send + Sync {
    /// The queues that the settings name. Those that do not exist are left out.
    fn queues(&self) -> Result<Vec<RemoteQueue>, Trouble>;

    /// Waits at most `wait` for messages, and leases at most `most` of them for `lease`.
    fn receive(
        &self,
        queue: &RemoteQueue,
        most: usize,
        wait: Duration,
        lease: Duration,
    ) -> Result<Vec<Message>, Trouble>;

    /// Extends leases, so that each has `lease` left. One answer for each, in order.
    fn extend(
        &self,
        queue: &RemoteQueue,
        keys: &[LeaseKey<'_>],
        lease: Duration,
    ) -> Result<Vec<LeaseAnswer>, Trouble>;

    /// Acknowledges messages: nobody receives them again. Repeating it succeeds. One answer for each, in order.
    fn ack(
        &self,
        queue: &RemoteQueue,
        ended: &[WellEnded<'_>],
    ) -> Result<Vec<LeaseAnswer>, Trouble>;

    /// Gives a message back: it is received again after `delay`, at the latest when its lease would have ended, or moved
    /// to the failed queue if it was received `max_receives` times. `result` is the record to keep as the result of a job
    /// that has failed.
    fn nack(
        &self,
        queue: &RemoteQueue,
        key: LeaseKey<'_>,
        delay: Duration,
        result: Option<&str>,
    ) -> Result<LeaseAnswer, Trouble>;
}
