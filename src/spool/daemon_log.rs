//! `daemon.log`: what a detached daemon and its bridges log. When it is full, it becomes `daemon.log.1`.

use crate::core::quote::tame;
use crate::os::dir::{self, FileType, How, Look};
use crate::os::{detach, user};
use fs2::FileExt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const NAME: &[u8] = b"daemon.log";
const OLD_NAME: &[u8] = b"daemon.log.1";

/// The most bytes of each.
const MOST: u64 = 1 << 20;

/// How much is read of a file's end, to find its last line.
const LONGEST_LINE: u64 = 4096;

/// The log, open to append to. Each write is one line or more.
#[derive(Debug)]
pub struct DaemonLog {
    /// The spool's directory.
    root: OwnedFd,
    file: File,
}

impl DaemonLog {
    /// Opens the log of a spool, and makes it if it is missing.
    pub fn open(spool: &Path) -> io::Result<Self> {
        let root = dir::open_path(spool)?;
        let file = open_in(&root)?;
        Ok(Self { root, file })
    }

    /// The log of a spool, if standard error goes there.
    pub fn of_stderr(spool: &Path) -> Option<Self> {
        let ours = std::fs::metadata("/proc/self/fd/2").ok()?;
        let log = std::fs::symlink_metadata(spool.join("daemon.log")).ok()?;
        ((ours.dev(), ours.ino()) == (log.dev(), log.ino()))
            .then(|| Self::open(spool).ok())
            .flatten()
    }

    /// For standard output and error.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its bytes.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The last of the lines behind this many bytes, for a terminal; empty if there is none.
    pub fn last_line(&self, behind: u64) -> io::Result<String> {
        let mut file = dir::open_read(&self.root, NAME)?;
        let (tail, _) = dir::read_end(&mut file, behind, LONGEST_LINE)?;
        let text = String::from_utf8_lossy(&tail);
        Ok(tame(text.trim_end().lines().last().unwrap_or_default()))
    }

    /// Makes room for a line of this size. Follows when another process, or a person, has moved or removed the file.
    fn make_room(&mut self, size: u64) -> io::Result<()> {
        if !self.is_named()? {
            self.reopen()?;
        }
        let used = self.file.metadata()?.len();
        // Two processes at a time would move the file, and then the new one over it. Somebody who keeps the file locked
        // must not stop the daemon.
        if used == 0 || used + size <= MOST || FileExt::try_lock_exclusive(&self.file).is_err() {
            return Ok(());
        }
        let moved = match self.is_named() {
            Ok(true) => dir::rename(&self.root, NAME, &self.root, OLD_NAME, How::Replace),
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        FileExt::unlock(&self.file)?;
        moved?;
        self.reopen()
    }

    fn is_named(&self) -> io::Result<bool> {
        dir::has_name(&self.root, NAME, &self.file)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open_in(&self.root)?;
        detach::write_to(&self.file)
    }
}

impl Write for DaemonLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line in the wrong file is better than none.
        let _ = self.make_room(line.len() as u64);
        // The log could not be renamed: a directory has the name daemon.log.1, or somebody keeps the log locked.
        if self.file.metadata()?.len() > 2 * MOST {
            self.file.set_len(0)?;
        }
        self.file.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open_in(root: &OwnedFd) -> io::Result<File> {
    dir::look(root, NAME)?.as_ref().map_or(Ok(()), check)?;
    let file = dir::open_append(root, NAME)?;
    check(&dir::look_at(&file)?)?;
    Ok(file)
}

/// Refuses a file that somebody may have put there to have us write elsewhere.
fn check(look: &Look) -> io::Result<()> {
    let why = match look.kind {
        FileType::File if look.links > 1 => "has another name",
        FileType::File if look.ownership.uid != user::uid() => "belongs to another user",
        FileType::File => return Ok(()),
        FileType::Directory
        | FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::Device => "is no regular file",
    };
    Err(io::Error::other(format!("daemon.log {why}; remove it")))
}
