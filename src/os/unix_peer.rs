//! The process at the other end of a socket in the file system, as the kernel has kept it since it connected.

use super::fault::Fault;
use super::{procfs, user};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The process that connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixPeer {
    /// Its user; `None` if the user has no number here.
    pub user: Option<u32>,
    /// True if it may gain privileges. False for a process in a sandbox, for one that has ended, and where the kernel
    /// does not tell (before Linux 6.5).
    pub is_free: bool,
}

/// Asks the kernel about the process that connected.
pub fn unix_peer(stream: &UnixStream) -> io::Result<UnixPeer> {
    let mut known = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    option(stream, libc::SO_PEERCRED, &mut known)?;
    Ok(UnixPeer {
        user: user::known(known.uid),
        is_free: Fault::NoSandboxCheck.is_on()
            || pidfd(stream).is_ok_and(|pidfd| is_free(&pidfd) == Some(true)),
    })
}

/// `SO_PEERPIDFD` of the kernel's asm-generic/socket.h, which the libc crate does not have.
const SO_PEERPIDFD: libc::c_int = 77;

fn pidfd(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut number: libc::c_int = -1;
    option(stream, SO_PEERPIDFD, &mut number)?;
    match number {
        // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Reads the flag from /proc. The process may end meanwhile, and another one get its pid: if it has the pid afterwards,
/// the flag is its own.
fn is_free(pidfd: &OwnedFd) -> Option<bool> {
    let pid = procfs::pid_of(pidfd)?;
    let may_gain = !procfs::has_no_new_privs(pid)?;
    (procfs::pid_of(pidfd)? == pid).then_some(may_gain)
}

/// Reads an option of a socket.
fn option<T: Copy>(stream: &UnixStream, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut size = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open; the pointers are to a live value of plain integers and to its size, which is all
    // that is written.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut *value).cast(),
            &raw mut size,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_other_end() {
        let (client, server) = UnixStream::pair().unwrap();
        drop(client);
        let us = user::known(user::uid());
        assert_eq!(unix_peer(&server).unwrap().user, us);
    }
}
