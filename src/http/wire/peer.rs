//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address. `None` on a socket in the file system.
    pub address: Option<SocketAddr>,
    /// The address of ours that it has connected to. `None` on a socket in the file system, which no browser gets to.
    pub reached: Option<IpAddr>,
    /// The user whose process it is, if the kernel knows.
    pub user: Option<u32>,
    /// Only processes of this machine can connect to the listener.
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
