//! Is anybody still writing this file?

use super::fault::Fault;
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What a file's other holders do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has it open for writing or locked.
    None,
    /// Somebody has it open for writing.
    Open,
    /// Somebody holds flock(2) on it.
    Locked,
    /// The kernel or the file system cannot say (leases are for owners, and not on every file system).
    Unknown,
}

/// Asks the kernel with a read lease, which it grants only when no descriptor is open for writing (fcntl(2),
/// measured on 6.18), and with an exclusive flock, which fails while a producer holds any and is given back at once.
///
/// The lease lasts until the file is closed: nobody can begin to write it while we have it open, and whoever opens
/// it for that waits for us. The kernel sends SIGIO then: the daemon ignores it. The flock is given back here,
/// since a child that is between clone and exec would have it for longer, and the next to ask would find it.
pub fn settle(file: &File) -> io::Result<Writers> {
    if Fault::NoWriterCheck.is_on() {
        return Ok(Writers::None);
    }
    if let Err(e) = take(file) {
        return match e.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Writers::Open),
            Some(libc::EACCES | libc::EINVAL | libc::ENOLCK) => Ok(Writers::Unknown),
            Some(_) | None => Err(e),
        };
    }
    match FileExt::try_lock_exclusive(file) {
        Ok(()) => FileExt::unlock(file).map(|()| Writers::None),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Writers::Locked),
        Err(e) => Err(e),
    }
}

/// True if somebody has the file open for writing, as far as the kernel says; if not, nobody begins to while we have it
/// open. Any process of ours may ask: the signal that the kernel sends for who wants to is one that is ignored unless a
/// process asks for it.
pub fn is_being_written(file: &File) -> bool {
    // SAFETY: fcntl with F_SETSIG takes an integer and touches no memory of ours; the descriptor is open.
    let is_quiet = unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } == 0;
    is_quiet && take(file).is_err_and(|e| e.raw_os_error() == Some(libc::EAGAIN))
}

/// As `<linux/fcntl.h>` has it.
const F_SETSIG: libc::c_int = 10;

/// Takes a read lease.
fn take(file: &File) -> io::Result<()> {
    // SAFETY: fcntl with F_SETLEASE takes an integer and touches no memory of ours; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
