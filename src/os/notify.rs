//! sd_notify(3): messages to the service manager, if there is one.

use super::{clock, front, spawn};
use crate::core::time::Boot;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, or the front, which passes on to it what it is told.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

/// The service manager wants to hear of us.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    due: Boot,
}

impl Notifier {
    /// The message that a service is ready.
    pub const READY: &str = "READY=1";

    /// Tells the process at the other end of this socket.
    pub fn to(socket: UnixDatagram) -> Self {
        Self {
            socket: Some(socket),
            watchdog: None,
        }
    }

    /// Reads the variables of sd_notify(3) and sd_watchdog_enabled(3), or the descriptor that our front has given us.
    /// An address that cannot be used counts as none.
    pub fn from_env() -> Self {
        let socket = match front::pid() {
            Some(_) => from_front(),
            None => from_manager(),
        };
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let is_ours =
            number("WATCHDOG_PID").is_none_or(|pid: u64| pid == u64::from(front::main_pid()));
        let span = number("WATCHDOG_USEC").filter(|span| is_ours && *span > 0);
        let watchdog = span.filter(|_| socket.is_some()).map(|span| Watchdog {
            every: Duration::from_micros(span) / 2,
            due: Boot(0),
        });
        Self { socket, watchdog }
    }

    /// Sends [`Self::READY`] and the like, one or more lines. When nobody listens there any more, nothing is sent again.
    pub fn send(&mut self, state: &str) {
        self.pass_on(state.as_bytes());
    }

    /// Sends what another process has said.
    pub fn pass_on(&mut self, state: &[u8]) {
        let is_gone = |e: io::Error| {
            use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
            matches!(e.kind(), BrokenPipe | ConnectionRefused | ConnectionReset)
        };
        let sent = self.socket.as_ref().map(|socket| socket.send(state));
        if sent.is_some_and(|sent| sent.is_err_and(is_gone)) {
            self.socket = None;
        }
    }

    /// True if there is a service manager.
    pub fn is_on(&self) -> bool {
        self.socket.is_some()
    }

    /// Says that we are alive, twice in the time within which the manager wants to hear it. Gives the time until it is
    /// to be said again.
    pub fn say_alive(&mut self) -> Option<Duration> {
        let now = clock::now().boot;
        let watchdog = self.watchdog.as_mut()?;
        let is_due = watchdog.due <= now;
        if is_due {
            watchdog.due = now.after(watchdog.every);
        }
        let left = watchdog.due.since(now);
        if is_due {
            self.send("WATCHDOG=1");
        }
        Some(left)
    }

    /// Keeps what our front has given us through an exec of this process. Gives the variable that tells the next image.
    pub fn keep_on_exec(&self) -> (&'static str, String) {
        let ours = self.socket.as_ref().filter(|_| front::pid().is_some());
        let number = ours.map(|socket| {
            spawn::keep_on_exec(socket.as_fd());
            socket.as_raw_fd().to_string()
        });
        (front::NOTIFY, number.unwrap_or_default())
    }
}

fn from_front() -> Option<UnixDatagram> {
    let number = std::env::var(front::NOTIFY).ok()?.parse().ok()?;
    let fd = OwnedFd::from(spawn::inherit_descriptor(number)?);
    Some(UnixDatagram::from(fd))
}

fn from_manager() -> Option<UnixDatagram> {
    let name = std::env::var_os("NOTIFY_SOCKET")?;
    open(name.as_bytes()).ok()
}

fn open(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
