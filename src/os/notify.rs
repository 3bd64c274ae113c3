//! sd_notify(3): messages to the service manager, if there is one.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket of the service manager.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// Reads NOTIFY_SOCKET. An address that cannot be used counts as none.
    pub fn from_env() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|name| open(name.as_bytes()).ok()))
    }

    /// Sends `READY=1` and the like, one or more lines. An error is ignored: the manager is gone.
    pub fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// True if there is a service manager.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }
}

fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
