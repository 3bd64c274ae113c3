//! Whether another process is writing a file.

use super::fault::Fault;
use super::{flock, spawning};
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The other processes that have a file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// None has it open for writing, and none has locked it.
    None,
    /// One has it open for writing.
    Open,
    /// One holds a flock(2) on it.
    Locked,
    /// The kernel does not tell: leases are for the file's owner, and not every file system has them.
    Unknown,
}

/// Asks for a read lease, which the kernel grants only if no descriptor is open for writing (fcntl(2), measured on
/// 6.18), and for an exclusive flock, which fails while another process holds any.
///
/// The lease lasts until the file is closed. Until then, a process that opens the file for writing waits for us, and
/// the kernel sends us SIGIO, which the daemon ignores. The flock is released here: a child between its clone and its
/// exec would hold it longer, and the next call would find it.
pub fn settle(file: &File) -> io::Result<Writers> {
    if Fault::NoWriterCheck.is_on() {
        return Ok(Writers::None);
    }
    let mut taken = take(file);
    if matches!(&taken, Err(e) if e.raw_os_error() == Some(libc::EAGAIN)) {
        // The writer may be ourselves: until its exec, a child that another thread spawns has a copy of our descriptor.
        spawning::await_execs();
        taken = take(file);
    }
    if let Err(e) = taken {
        return match e.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Writers::Open),
            Some(libc::EACCES | libc::EINVAL | libc::ENOLCK) => Ok(Writers::Unknown),
            Some(_) | None => Err(e),
        };
    }
    match flock::try_exclusive(file)? {
        true => FileExt::unlock(file).map(|()| Writers::None),
        false => Ok(Writers::Locked),
    }
}

/// True if another process has the file open for writing, as far as the kernel tells. If not, none can begin to write
/// it while we have it open. Every process may call this: the kernel sends it SIGURG when another process wants to
/// write, which by default is ignored.
pub fn is_being_written(file: &File) -> bool {
    // SAFETY: fcntl with F_SETSIG takes an integer and touches no memory of ours; the descriptor is open.
    let is_quiet = unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } == 0;
    is_quiet && take(file).is_err_and(|e| e.raw_os_error() == Some(libc::EAGAIN))
}

/// The value in `<linux/fcntl.h>`.
const F_SETSIG: libc::c_int = 10;

/// Takes a read lease.
fn take(file: &File) -> io::Result<()> {
    // SAFETY: fcntl with F_SETLEASE takes an integer and touches no memory of ours; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
