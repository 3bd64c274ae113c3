//! The user at the other end of a TCP connection within this machine: it has a second socket here, and sock_diag(7)
//! tells its owner.

use super::user;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};

/// The user at the other end of a connection between two loopback addresses; `None` for other addresses, and if
/// the user has no number here. Errors: the kernel does not tell, or the other end is closed.
pub fn tcp_user(stream: &TcpStream) -> io::Result<Option<u32>> {
    let (theirs, ours) = (
        canonical(stream.peer_addr()?),
        canonical(stream.local_addr()?),
    );
    if !theirs.ip().is_loopback() || !ours.ip().is_loopback() {
        return Ok(None);
    }
    let found = ask(theirs, ours)?;
    // For a socket that was closed the kernel says uid 0 and inode 0. If there is no such connection, it answers about
    // a listener.
    let is_theirs = found.state == ESTABLISHED && found.inode != 0 && found.ends == (theirs, ours);
    match is_theirs {
        true => Ok(user::known(found.uid)),
        false => Err(io::Error::other("it was closed at once")),
    }
}

/// Errors: the kernel does not tell the owners of sockets. `listener` is the address of a socket that listens.
pub fn can_ask(listener: SocketAddr) -> io::Result<()> {
    let nowhere = match listener.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    ask(listener, SocketAddr::new(nowhere, 0)).map(drop)
}

/// `TCP_ESTABLISHED` of the kernel's tcp_states.h.
const ESTABLISHED: u8 = 1;
/// `SOCK_DIAG_BY_FAMILY`: the type of the question, and of its answer.
const BY_FAMILY: u16 = 20;
/// The sizes of `nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;
/// The number of the question, which its answer repeats.
const SEQUENCE: u32 = 1;

/// The kernel's answer about a socket.
#[derive(Debug, PartialEq, Eq)]
struct PeerSocket {
    state: u8,
    /// Its own address and the other one.
    ends: (SocketAddr, SocketAddr),
    uid: u32,
    inode: u32,
}

/// Asks about the socket with this address that is connected to the other one. The kernel answers during the write, so
/// that the read does not wait.
fn ask(its: SocketAddr, other: SocketAddr) -> io::Result<PeerSocket> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket() takes three numbers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor has just been opened, and nothing else owns it.
    let mut socket = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    socket.write_all(&question(its, other))?;
    let mut buffer = [0; 1024];
    let n = socket.read(&mut buffer)?;
    answer(&buffer[..n])
}

fn question(its: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = match its {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let request = 1_u16;
    let any = u32::MAX;
    let mut bytes = Vec::with_capacity(HEADER + QUESTION);
    bytes.extend(u32::to_ne_bytes((HEADER + QUESTION) as u32));
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(request.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend(u32::to_ne_bytes(0));
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(any.to_ne_bytes());
    bytes.extend(its.port().to_be_bytes());
    bytes.extend(other.port().to_be_bytes());
    bytes.extend(sixteen(its.ip()));
    bytes.extend(sixteen(other.ip()));
    // Any interface, and no cookie.
    bytes.extend(u32::to_ne_bytes(0));
    bytes.extend(any.to_ne_bytes());
    bytes.extend(any.to_ne_bytes());
    bytes
}

/// Reads the message that answers a question.
fn answer(bytes: &[u8]) -> io::Result<PeerSocket> {
    let malformed = || io::Error::other("the kernel's answer is malformed");
    let length =
        usize::try_from(word(bytes, 0).ok_or_else(malformed)?).map_err(io::Error::other)?;
    let message = bytes.get(HEADER..length).ok_or_else(malformed)?;
    let kind = bytes.get(4..6).and_then(|two| two.try_into().ok());
    if word(bytes, 8) != Some(SEQUENCE) {
        return Err(malformed());
    }
    match kind.map(u16::from_ne_bytes) {
        Some(BY_FAMILY) if message.len() >= ANSWER => {}
        Some(kind) if i32::from(kind) == libc::NLMSG_ERROR => {
            let code = word(message, 0).ok_or_else(malformed)?.cast_signed();
            return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
        }
        Some(_) | None => return Err(malformed()),
    }
    let family = i32::from(message[0]);
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes(message.get(port..port + 2)?.try_into().ok()?);
        let ip = address_of(family, message.get(address..address + 16)?)?;
        Some(canonical(SocketAddr::new(ip, port)))
    };
    Ok(PeerSocket {
        state: message[1],
        ends: end(4, 8).zip(end(6, 24)).ok_or_else(malformed)?,
        uid: word(message, 64).ok_or_else(malformed)?,
        inode: word(message, 68).ok_or_else(malformed)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The address as in a question: an IPv4 address fills the first four bytes.
fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn address_of(family: i32, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
        libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

/// The address without the form `::ffff:127.0.0.1`, which a socket for both families gives to IPv4 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A connection, and both of its ends.
    fn pair(listen: &str, connect: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((connect, port)).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn the_owner_of_the_other_end() {
        let us = crate::os::user::uid();
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.2"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::ffff:127.0.0.1"),
        ] {
            let (client, server) = pair(listen, connect);
            assert_eq!(tcp_user(&server).unwrap(), Some(us), "{listen} {connect}");
            drop(client);
            tcp_user(&server).unwrap_err();
        }
    }

    #[test]
    fn the_kernel_can_be_asked() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            can_ask(listener.local_addr().unwrap()).unwrap();
        }
        can_ask("127.0.0.1:1".parse().unwrap()).unwrap_err();
    }

    #[test]
    fn answers_are_read_with_care() {
        let (client, server) = pair("127.0.0.1:0", "127.0.0.1");
        let its = client.local_addr().unwrap();
        let other = server.local_addr().unwrap();
        let mut bytes = question(its, other);
        // An answer has the same ends at the same distance from its beginning, if a word less is before them.
        bytes.drain(HEADER + 4..HEADER + 8);
        bytes.resize(HEADER + ANSWER, 0);
        bytes[..4].copy_from_slice(&u32::to_ne_bytes((HEADER + ANSWER) as u32));
        let found = answer(&bytes).unwrap();
        assert_eq!((found.ends, found.uid, found.inode), ((its, other), 0, 0));
        for n in 0..bytes.len() {
            answer(&bytes[..n]).unwrap_err();
        }
        for (at, value) in [(0, 0_u8), (0, 15), (4, 0), (8, 2), (HEADER, 77)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            answer(&wrong).unwrap_err();
        }
        let mut refused = vec![20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        refused.extend((-libc::EPERM).to_ne_bytes());
        let e = answer(&refused).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::EPERM));
    }
}
