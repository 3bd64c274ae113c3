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

/// A file that nobody can begin to write while this lives: whoever opens it for that waits for us (fcntl(2), "Leases").
#[derive(Debug)]
pub struct Settled<'a> {
    file: &'a File,
    leased: bool,
    /// Who had it when we asked.
    pub writers: Writers,
}

/// Asks the kernel with a read lease, which it grants only when no descriptor is open for writing (fcntl(2),
/// measured on 6.18), and with an exclusive flock, which fails while a producer holds any and is given back at once.
///
/// A writer that opens the file makes the kernel send SIGIO: the daemon ignores it.
pub fn settle(file: &File) -> io::Result<Settled<'_>> {
    let mut settled = Settled {
        file,
        leased: false,
        writers: Writers::None,
    };
    if Fault::NoWriterCheck.is_on() {
        return Ok(settled);
    }
    // SAFETY: fcntl with F_SETLEASE takes an integer and touches no memory of ours; the descriptor is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } == -1 {
        let e = io::Error::last_os_error();
        settled.writers = match e.raw_os_error() {
            Some(libc::EAGAIN) => Writers::Open,
            Some(libc::EACCES | libc::EINVAL | libc::ENOLCK) => Writers::Unknown,
            Some(_) | None => return Err(e),
        };
        return Ok(settled);
    }
    settled.leased = true;
    match FileExt::try_lock_exclusive(file) {
        Ok(()) => FileExt::unlock(file)?,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => settled.writers = Writers::Locked,
        Err(e) => return Err(e),
    }
    Ok(settled)
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        if self.leased {
            // SAFETY: as above. It fails only when the kernel has taken the lease back, after 45 seconds.
            unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        }
    }
}
