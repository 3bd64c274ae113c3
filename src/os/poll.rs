//! Waiting for many descriptors at once, and being woken from other threads.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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

    /// Takes a descriptor out.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits until something is readable, or looks once if `block` is false. Gives the numbers.
    pub fn wait(&self, block: bool) -> io::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 32];
        let timeout = if block {
            EpollTimeout::NONE
        } else {
            EpollTimeout::ZERO
        };
        match self.0.wait(&mut events, timeout) {
            Ok(n) => Ok(events[..n].iter().map(EpollEvent::data).collect()),
            Err(nix::Error::EINTR) => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }
}

/// True when a descriptor can be read without waiting.
pub fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut wanted = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut wanted, nix::poll::PollTimeout::ZERO).is_ok_and(|n| n > 0)
}

/// A bell that another thread can ring.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// A silent one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
    }

    /// Rings it. EAGAIN means that it has been ringing for long: fine.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Silences it.
    pub fn silence(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
