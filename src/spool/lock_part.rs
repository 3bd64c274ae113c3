//! The two parts of the lock of a spool, each locked by itself.

use crate::os::{dir, flock, spawn};
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A part of the lock. Every process takes them in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockPart {
    File,
    Active,
}

impl LockPart {
    pub(super) const BOTH: [Self; 2] = [Self::File, Self::Active];

    fn name(self) -> &'static str {
        match self {
            Self::File => "lock",
            Self::Active => "active",
        }
    }

    /// The variable that names the descriptor which a daemon passes to its next image.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::File => "PIRN_LOCK_FD",
            Self::Active => "PIRN_ACTIVE_FD",
        }
    }

    /// Opens it to lock it, and makes it if it is missing.
    fn open(self, root: &OwnedFd) -> io::Result<File> {
        let name = self.name().as_bytes();
        match self {
            Self::File => dir::open_edit(root, name),
            Self::Active => {
                dir::make_dir(root, name)?;
                Ok(dir::open_dir(root, name)?.into())
            }
        }
    }

    /// Opens it to ask who has it. `None` if it is missing.
    pub(super) fn open_to_ask(self, root: &OwnedFd) -> io::Result<Option<File>> {
        let opened = match self {
            Self::File => dir::open_read(root, self.name().as_bytes()),
            Self::Active => dir::open_dir(root, self.name().as_bytes()).map(File::from),
        };
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// True if this file has the name now.
    pub(super) fn is_named(self, root: &OwnedFd, file: &File) -> io::Result<bool> {
        dir::has_name(root, self.name().as_bytes(), file)
    }

    /// Locks the file that has the name now, or returns the one that another process has locked.
    pub(super) fn lock(self, root: &OwnedFd) -> io::Result<Result<File, File>> {
        loop {
            let file = self.open(root)?;
            if !lock_again(&file)? {
                return Ok(Err(file));
            }
            if self.is_named(root, &file)? {
                return Ok(Ok(file));
            }
            // Another file has the name since it was opened: try again.
        }
    }

    /// Takes over the descriptor that the earlier image of this process locked. A variable can name any descriptor,
    /// so it is locked again: that succeeds if the lock is its own, or free.
    pub(super) fn inherited(self, root: &OwnedFd) -> Option<File> {
        let number = std::env::var(self.variable()).ok()?.parse().ok()?;
        let passed = std::fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
        let named = dir::look(root, self.name().as_bytes()).ok()??;
        let file = (passed.ino() == named.inode)
            .then(|| spawn::inherit_descriptor(number))
            .flatten()?;
        FileExt::try_lock_exclusive(&file).ok().map(|()| file)
    }
}

/// Locks an open file; false if another process has locked it.
pub(super) fn lock_again(file: &File) -> io::Result<bool> {
    while !flock::try_exclusive(file)? {
        if flock::is_held(file)? {
            return Ok(false);
        }
        // A process was only asking who has it: try again.
    }
    Ok(true)
}

/// Lets others lock a file.
pub(super) fn unlock(file: &File) -> io::Result<()> {
    FileExt::unlock(file)
}

/// Waits until nobody has the lock.
pub(super) fn await_release(spool: &Path) -> io::Result<()> {
    let root = dir::open_path(spool)?;
    for part in LockPart::BOTH {
        // A shared lock, as those take who only ask: a process that takes the lock at this moment is not refused.
        FileExt::lock_shared(&part.open(&root)?)?;
    }
    Ok(())
}
