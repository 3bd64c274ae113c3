//! Addresses, and the sockets that listen there.

use super::peer::Peer;
use crate::os::unix_peer::unix_peer;
use crate::os::{clock, front, limits, peer, spawn};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An address to listen at: `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH` or `fd:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// A socket of the service manager, by its name (sd_listen_fds(3)).
    Passed(String),
}

impl Address {
    /// True if only processes of this machine can get there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            // A socket that was not passed is refused when it is to be opened.
            Self::Passed(_) => passed_address(self).is_none_or(|address| address.is_local()),
        }
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("unix: a path is missing".to_owned()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("fd", "")) => Err("fd: a name is missing".to_owned()),
            Some(("fd", name)) => Ok(Self::Passed(name.to_owned())),
            Some(_) | None => text.parse().map(Self::Tcp).map_err(|_| {
                "expected 127.0.0.1:8080, [::1]:8080, unix:PATH or fd:NAME".to_owned()
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A socket that takes connections.
pub struct Listener {
    /// Its address.
    pub address: Address,
    /// The address that was asked for: with port 0, the system chooses one.
    asked: Address,
    socket: Socket,
}

/// Names the descriptors that a daemon left to its next image: `NUMBER=ADDRESS`, one a line.
const PASSED: &str = "PIRN_HTTP_FDS";

impl Listener {
    /// Listens. A socket that an earlier image of this process left open is taken over; one in the file system that
    /// nobody serves any more is replaced. A socket in the file system is its owner's alone (mode 0600).
    ///
    /// To be called while there are no other threads: it changes the umask for a moment.
    pub fn open(address: &Address) -> io::Result<Self> {
        let socket = match inherited(address) {
            Some(socket) => socket,
            None => bind_patiently(address)?,
        };
        match &socket {
            Socket::Tcp(socket) => socket.set_nonblocking(true)?,
            Socket::Unix(socket) => socket.set_nonblocking(true)?,
        }
        let asked = address.clone();
        let address = match (&socket, &asked) {
            (Socket::Tcp(socket), _) => Address::Tcp(socket.local_addr()?),
            (Socket::Unix(socket), Address::Passed(_)) => unix_address(socket)?,
            (Socket::Unix(_), Address::Tcp(_) | Address::Unix(_)) => asked.clone(),
        };
        Ok(Self {
            address,
            asked,
            socket,
        })
    }

    /// Accepts a connection, and asks the kernel whose it is before anything is read from it. `WouldBlock` when there
    /// is none. A stream over a socket in the file system has the same type: the calls are the same for both.
    pub fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address, reached, owner) = match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                // Answers are written whole: nothing is to be joined.
                stream.set_nodelay(true)?;
                let reached = stream.local_addr()?.ip().to_canonical();
                let owner = peer::tcp_user(&stream).map(|user| (user, false));
                (stream, Some(address), Some(reached), owner)
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                let owner = unix_peer(&stream).map(|peer| (peer.user, peer.is_free));
                (OwnedFd::from(stream).into(), None, None, owner)
            }
        };
        let (user, is_free) = owner.unwrap_or_else(|e| {
            log::debug!("http: {}: nobody's connection: {e}", self.address);
            (None, false)
        });
        let peer = Peer {
            address,
            reached,
            user,
            is_free,
            is_local: self.address.is_local(),
        };
        Ok((stream, peer))
    }

    /// Warns if the kernel does not tell whose connections are.
    pub fn check_owners(&self) {
        if let Address::Tcp(address) = self.address
            && address.ip().is_loopback()
            && let Err(e) = peer::can_ask(address)
        {
            log::warn!(
                "http: {address}: the kernel does not tell whose connections these are (sock_diag: {e}); callers \
                 need a token, an entry in \"trust\" under \"http\" in the config, or a socket in the file system"
            );
        }
    }

    /// Keeps the sockets through an exec of this process. Gives the variable that tells the next image.
    pub fn pass_on(listeners: &[Self]) -> (&'static str, String) {
        let lines = listeners.iter().map(|listener| {
            spawn::keep_on_exec(listener.as_fd());
            format!("{}={}", listener.as_fd().as_raw_fd(), listener.asked)
        });
        (PASSED, lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Removes the socket's file, unless it is the service manager's.
impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.asked {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

/// The descriptor for this address that an earlier image of this process, or the service manager, has left open.
fn passed_descriptor(address: &Address) -> Option<i32> {
    let passed = std::env::var(PASSED).unwrap_or_default();
    let of_image = passed.lines().find_map(|line| {
        let (number, of) = line.split_once('=')?;
        (of == address.to_string()).then(|| number.parse().ok())?
    });
    let (None, Address::Passed(name)) = (of_image, address) else {
        return of_image;
    };
    const FIRST: i32 = 3;
    let number = |variable| std::env::var(variable).ok()?.parse::<u32>().ok();
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(front::main_pid()))?;
    let names = std::env::var("LISTEN_FDNAMES").ok()?;
    let numbers = (FIRST..).zip(names.split(':')).take(count.try_into().ok()?);
    let mut found = numbers.filter(|(_, found)| found == name);
    found.next().map(|(number, _)| number)
}

/// The address of the socket that the service manager has left open by this name.
fn passed_address(address: &Address) -> Option<Address> {
    let number = passed_descriptor(address)?;
    let fd = spawn::copy_descriptor(number)?;
    match socket_of(fd).ok()? {
        Socket::Tcp(socket) => socket.local_addr().ok().map(Address::Tcp),
        Socket::Unix(socket) => unix_address(&socket).ok(),
    }
}

fn socket_of(fd: OwnedFd) -> io::Result<Socket> {
    let socket = UnixListener::from(fd);
    if socket.local_addr().is_ok() {
        return Ok(Socket::Unix(socket));
    }
    let socket = TcpListener::from(OwnedFd::from(socket));
    socket.local_addr()?;
    Ok(Socket::Tcp(socket))
}

fn unix_address(socket: &UnixListener) -> io::Result<Address> {
    let address = socket.local_addr()?;
    let path = address.as_pathname().unwrap_or(Path::new("@"));
    Ok(Address::Unix(path.to_owned()))
}

fn inherited(address: &Address) -> Option<Socket> {
    let fd = OwnedFd::from(spawn::inherit_descriptor(passed_descriptor(address)?)?);
    match address {
        Address::Passed(_) => socket_of(fd).ok(),
        Address::Tcp(wanted) => {
            let socket = TcpListener::from(fd);
            let is = socket.local_addr().ok()?;
            let is_same =
                is.ip() == wanted.ip() && (wanted.port() == 0 || is.port() == wanted.port());
            is_same.then_some(Socket::Tcp(socket))
        }
        Address::Unix(wanted) => {
            let socket = UnixListener::from(fd);
            let is_same = socket.local_addr().ok()?.as_pathname() == Some(wanted.as_path());
            is_same.then_some(Socket::Unix(socket))
        }
    }
}

/// How long an address may be taken by a daemon that was killed: its last child has its descriptors until it executes
/// its program.
const FREE_WITHIN: Duration = Duration::from_secs(5);

fn bind_patiently(address: &Address) -> io::Result<Socket> {
    let began = clock::now().boot;
    let mut told = false;
    loop {
        match bind(address) {
            Err(e)
                if e.kind() == io::ErrorKind::AddrInUse
                    && clock::now().boot.since(began) < FREE_WITHIN =>
            {
                if !std::mem::replace(&mut told, true) {
                    log::warn!("http: {address}: {e}; trying for {FREE_WITHIN:?}");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound,
        }
    }
}

fn bind(address: &Address) -> io::Result<Socket> {
    let path = match address {
        Address::Tcp(address) => return Ok(Socket::Tcp(TcpListener::bind(address)?)),
        Address::Unix(path) => path,
        Address::Passed(_) => {
            let what = "no socket of this name was passed (LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID)";
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let umask = limits::current_umask();
    limits::set_umask(0o177);
    let socket = UnixListener::bind(path);
    limits::set_umask(umask);
    Ok(Socket::Unix(socket?))
}
