//! Waiting for many descriptors at once, or for another thread.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A set of descriptors to wait for; each has a number that comes back when it is readable.
#[derive(Debug)]
pub struct Poller(Epoll);

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a descriptor. It leaves the set when it is closed.
    pub fn add(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self
            .0
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Removes a descriptor.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits until a descriptor is readable, at most this long; `None`: without limit. Gives the numbers.
    pub fn wait(&self, longest: Option<Duration>) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 32];
        loop {
            match self.0.wait(&mut events, timeout(longest)) {
                Ok(n) => return Ok(events[..n].iter().map(EpollEvent::data).collect()),
                // A wait without limit goes on: a tracer that attaches interrupts it.
                Err(nix::Error::EINTR) if longest.is_none() => {}
                Err(nix::Error::EINTR) => return Ok(Vec::new()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Rounds up: waits that end too early would follow each other until the deadline.
fn timeout(longest: Option<Duration>) -> EpollTimeout {
    match longest {
        None => EpollTimeout::NONE,
        Some(span) => u16::try_from(span.as_micros().div_ceil(1000))
            .unwrap_or(u16::MAX)
            .into(),
    }
}

/// A report of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Its number.
    pub number: u64,
    /// The other end sends no more.
    pub hangup: bool,
    /// The other end is gone: it receives no more either.
    pub gone: bool,
}

impl Poller {
    /// Adds a socket, to be reported once when the other end sends no more, and once when it is gone.
    pub fn add_hangup(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        Ok(self.0.add(fd, EpollEvent::new(flags, number))?)
    }

    /// Waits until a descriptor is to be reported, at most this long; `None`: without limit.
    pub fn wait_for(&self, longest: Option<Duration>) -> io::Result<Vec<Readiness>> {
        let mut events = [EpollEvent::empty(); 128];
        let n = match self.0.wait(&mut events, timeout(longest)) {
            Ok(n) => n,
            Err(nix::Error::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        let ready = |event: &EpollEvent| {
            let is = |flags| event.events().intersects(flags);
            Readiness {
                number: event.data(),
                hangup: is(EpollFlags::EPOLLRDHUP),
                gone: is(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
            }
        };
        Ok(events[..n].iter().map(ready).collect())
    }
}

/// True if a descriptor is readable.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut wanted = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut wanted, nix::poll::PollTimeout::ZERO).is_ok_and(|n| n > 0)
}

/// A descriptor that another thread can make readable.
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// A descriptor that is not readable.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
    }

    /// Makes it readable, if it is not.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
