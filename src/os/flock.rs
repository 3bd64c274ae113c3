//! Locks of open files.

use fs2::FileExt;
use std::fs::File;
use std::io;

/// Locks a file for this process alone (flock(2)), and does not wait for it. False if another process has it locked.
pub fn try_exclusive(file: &File) -> io::Result<bool> {
    match FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// True if another process keeps the lock. Processes that only ask share it for a moment.
pub fn is_held(file: &File) -> io::Result<bool> {
    match FileExt::try_lock_shared(file) {
        Ok(()) => FileExt::unlock(file).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}
