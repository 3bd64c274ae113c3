//! Sending: whole answers, and bodies that are made while they are sent.

use super::link::Activity;
use super::waiter::{Waiter, Woken};
use super::wake::Topic;
use crate::core::time::Boot;
use crate::http::message::send::{self, Extent};
use crate::os::{clock, socket};
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

/// The rate in bytes a second at which a client must read, beside a pause of [`PAUSE`].
const SLOWEST: u64 = 8 * 1024;
/// How long a client may pause for each answer or piece.
const PAUSE: Duration = Duration::from_secs(30);

/// The shortest time between two pieces of a stream that waits for changes: with many changes and many streams, a
/// piece for each change would leave no processor time for others.
const REST: Duration = Duration::from_millis(50);

/// The size in bytes that a piece should not exceed.
pub const PIECE: usize = 64 * 1024;

/// Writes to a connection, and counts the bytes.
pub struct Sender {
    waiter: Rc<Waiter>,
    /// Bytes written so far.
    pub sent: u64,
}

impl Sender {
    /// A sender for this waiter's connection.
    pub fn new(waiter: Rc<Waiter>) -> Self {
        Self { waiter, sent: 0 }
    }

    /// Writes all of `bytes`. If the client does not read them at once, the thread has the activity `slowly` and a
    /// deadline.
    pub fn send(&mut self, bytes: &[u8], slowly: Activity) -> io::Result<()> {
        let rest = match socket::send_now(&self.waiter.link.stream, bytes) {
            Ok(sent) => {
                self.sent += sent as u64;
                &bytes[sent..]
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => bytes,
            Err(e) => return Err(e),
        };
        if rest.is_empty() {
            return Ok(());
        }
        self.send_slowly(rest, bytes.len(), slowly)
    }

    /// Writes the rest of an answer or a piece of `all` bytes, and waits for the client to read it.
    fn send_slowly(&mut self, mut rest: &[u8], all: usize, slowly: Activity) -> io::Result<()> {
        let (link, wire) = (&self.waiter.link, &self.waiter.wire);
        let before = {
            let mut standing = link.standing();
            if slowly == Activity::Sending {
                standing.unread = all;
            }
            standing.enter(slowly)
        };
        if slowly == Activity::Sending {
            wire.connections.bound_unread(link.key);
        }
        if wire.stage().is_closing() {
            wire.connections.made_progress();
        }
        let span = PAUSE + Duration::from_secs(all as u64 / SLOWEST);
        let deadline = clock::now().boot.after(span);
        while !rest.is_empty() {
            let left = deadline.since(clock::now().boot);
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            link.stream.set_write_timeout(Some(left))?;
            match (&link.stream).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.sent += n as u64;
                    rest = &rest[n..];
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        let mut standing = link.standing();
        standing.unread = 0;
        standing.enter(before);
        Ok(())
    }
}

/// A body that is sent while its handler makes it.
pub struct Outgoing<'s> {
    sender: &'s mut Sender,
    /// Bytes that are sent with the next piece: the head.
    buffer: Vec<u8>,
    extent: Extent,
    /// Bytes that are still to be sent, if the length is known.
    left: Option<u64>,
}

impl<'s> Outgoing<'s> {
    /// A body that follows this head.
    pub(in crate::http) fn new(sender: &'s mut Sender, head: Vec<u8>, extent: Extent) -> Self {
        Self {
            sender,
            buffer: head,
            extent,
            left: match extent {
                Extent::Length(length) => Some(length),
                Extent::Chunks | Extent::UntilClose => None,
            },
        }
    }

    /// Sends the next piece, of about [`PIECE`] bytes at most. Returns when the kernel has taken all of it, so that
    /// nothing piles up for a slow client. Errors: the client is gone or too slow, or the body is longer than was
    /// promised.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut most = piece.len();
        if let Some(left) = &mut self.left {
            most = most.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= most as u64;
        }
        match self.extent {
            Extent::Chunks => send::chunk(&mut self.buffer, piece),
            Extent::Length(_) | Extent::UntilClose => {
                self.buffer.extend_from_slice(&piece[..most]);
            }
        }
        self.flush()?;
        match most == piece.len() {
            true => Ok(()),
            false => Err(io::Error::other("the body is longer than was promised")),
        }
    }

    /// Waits for a change of one of these topics, or until `until`. As [`Waiter::wait`], it returns at once the first
    /// time. False: the caller looks once more, and ends the body. Errors: the client is gone.
    pub fn wait(&mut self, on: &[Topic], until: Boot) -> io::Result<bool> {
        self.flush()?;
        let rested = clock::now().boot.after(REST);
        let waiter = &self.sender.waiter;
        match waiter.watch(on) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) => log::warn!("http: watching the spool: {e}"),
        }
        loop {
            match waiter.sleep(Some(until), rested) {
                Woken::Changed | Woken::Late => return Ok(true),
                Woken::Leaving => return Ok(false),
                Woken::Draining => {}
                Woken::HungUp | Woken::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Ends the body. Errors: the body is shorter than was promised, or the client is gone.
    pub(in crate::http) fn finish(mut self) -> io::Result<()> {
        if self.left.is_some_and(|left| left > 0) {
            self.flush()?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.extent == Extent::Chunks {
            self.buffer.extend_from_slice(send::LAST_CHUNK);
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let sized = self.left.is_some();
        let buffer = std::mem::take(&mut self.buffer);
        let waiter = Rc::clone(&self.sender.waiter);
        waiter.without_permit(|| {
            let slowly = Activity::SendingPiece { sized };
            self.sender.send(&buffer, slowly)
        })?;
        self.buffer = buffer;
        self.buffer.clear();
        if self.buffer.capacity() > PIECE / 4 && !sized {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}
