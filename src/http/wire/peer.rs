//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address. `None` on a socket in the file system.
    pub address: Option<SocketAddr>,
    /// Our address that it has connected to. `None` on a socket in the file system, which browsers cannot reach.
    pub reached: Option<IpAddr>,
    /// The user of its process, if the kernel knows.
    pub user: Option<u32>,
    /// True if it came by a socket in the file system, and its process is known to be in no sandbox.
    pub is_free: bool,
    /// True if only processes of this machine can connect to the listener.
    pub is_local: bool,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", address.ip()),
            None => f.write_str("unix"),
        }
    }
}
