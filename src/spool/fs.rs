//! What the protocol needs of a file system. Two implementations: [`super::RealFs`], and a simulated one in the
//! tests that forgets what was not synced.

use super::place::Place;
use crate::core::id::QueueName;
use crate::os::dir::{FileType, How, Look};
use crate::os::lease::Writers;
use std::fmt::{self, Debug};
use std::io;

/// A file opened for judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing has this name.
    Missing,
    /// Not a regular file; it was not read.
    Strange(Look),
    /// More than the limit; it was not read.
    TooLarge(Look),
    /// A regular file: what it is, who else has it, and all its bytes.
    File {
        /// From the descriptor, not the name.
        look: Look,
        /// From the descriptor as well.
        writers: Writers,
        /// The whole content, or what there was of it if somebody is writing.
        bytes: Vec<u8>,
    },
}

/// Whether to find out who else has a file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Find out. That locks the file for a moment, and may raise a signal that only the daemon ignores.
    Writers,
    /// Find out only whether somebody has it open for writing. Any process may ask.
    Writing,
    /// Just read.
    Nothing,
}

/// What is to become of the text of `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeq {
    /// Stored first, and synced with the name of the file.
    pub synced: Option<String>,
    /// What it says in the end.
    pub text: String,
}

/// The names in a directory, in its order.
pub struct DirNames(Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>);

impl DirNames {
    /// DirNames from any source.
    pub fn new(names: impl Iterator<Item = io::Result<Vec<u8>>> + Send + 'static) -> Self {
        Self(Box::new(names))
    }
}

impl Iterator for DirNames {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Debug for DirNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirNames")
    }
}

/// The operations. DirNames are raw bytes of one path component; no call follows a symbolic link.
pub trait Fs: Debug + Send + Sync {
    /// Makes a file that must not exist, with mode 0600; synced if `durable`.
    fn write_new(&self, place: &Place, name: &[u8], bytes: &[u8], durable: bool) -> io::Result<()>;
    /// Renames.
    fn rename(
        &self,
        from: &Place,
        name: &[u8],
        to: &Place,
        new_name: &[u8],
        how: How,
    ) -> io::Result<()>;
    /// Removes a file. True if it was there.
    fn unlink(&self, place: &Place, name: &[u8]) -> io::Result<bool>;
    /// Removes a directory with all that is in it; that it is not there is no error.
    fn remove_tree(&self, place: &Place, name: &[u8]) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync(&self, place: &Place) -> io::Result<()>;
    /// What a name is.
    fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>>;
    /// Opens and reads a file of at most `limit` bytes, and finds out who else has it open if asked to.
    fn take(&self, place: &Place, name: &[u8], limit: u64, ask: Ask) -> io::Result<Taken>;
    /// The end of a file from the byte `from` on, or from its beginning if it is shorter than that: at most `most`
    /// bytes. `None` if there is none. Not every file system keeps what jobs write.
    fn tail(
        &self,
        _place: &Place,
        _name: &[u8],
        _from: u64,
        _most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Cuts a file to this many bytes. Not every file system keeps what jobs write.
    fn cut(&self, _place: &Place, _name: &[u8], _size: u64) -> io::Result<()> {
        Ok(())
    }
    /// True when another process, or another open file of ours, has a lock on this file. Not every file system knows
    /// processes.
    fn is_locked(&self, _place: &Place, _name: &[u8]) -> io::Result<bool> {
        Ok(false)
    }
    /// Removes a file that is empty and not locked.
    fn unlink_if_empty(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        match self.look(place, name)? {
            Some(look) if look.size == 0 => self.unlink(place, name).map(drop),
            Some(_) | None => Ok(()),
        }
    }
    /// Reads a file of at most `limit` bytes in a sub-directory, or its beginning. Not every file system keeps what
    /// jobs write.
    fn read_inside(
        &self,
        _place: &Place,
        _directory: &[u8],
        _name: &[u8],
        _limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Calls `each` with every name in a directory.
    fn names(&self, place: &Place, each: &mut dyn FnMut(&[u8])) -> io::Result<()>;
    /// The names in a directory, read while they are asked for.
    fn listing(&self, place: &Place) -> io::Result<DirNames> {
        let mut names = Vec::new();
        self.names(place, &mut |name| names.push(Ok(name.to_vec())))?;
        Ok(DirNames::new(names.into_iter()))
    }
    /// Lets go of the directory that had a queue's name, and opens the one that has it now; an error if none has.
    /// Not every file system holds directories open.
    fn reopen_queue(&self, queue: &QueueName) -> io::Result<()> {
        match self.look(&Place::Pending, queue.as_str().as_bytes())? {
            Some(look) if look.kind == FileType::Directory => Ok(()),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    /// Makes a queue's directory unless it is there. True if it was not.
    fn make_queue(&self, queue: &QueueName) -> io::Result<bool>;
    /// Removes a queue's directory, which must be empty.
    fn remove_queue(&self, queue: &QueueName) -> io::Result<()>;
    /// Makes a directory of the spool again, or finds the one that has its name by now: it was removed or replaced.
    /// Not every file system has directories that can be lost.
    fn renew(&self, _place: &Place) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    /// Hands the text of `seq`, empty if there is none, to `edit` while nobody else can, and stores what it gives
    /// back. A sync that fails ends it before the second text is stored.
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()>;
}
