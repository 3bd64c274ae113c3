//! The operations that the protocol needs of a file system. There are two implementations: [`super::RealFs`], and in
//! the tests a simulated one that forgets what was not synced.

use super::place::Place;
use crate::core::id::QueueName;
use crate::os::dir::{FileType, How, Look};
use crate::os::lease::Writers;
use crate::os::ownership::Ownership;
use std::fmt::{self, Debug};
use std::io;

/// A file that was opened and read to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing has this name.
    Missing,
    /// It is not a regular file, and was not read.
    Strange(Look),
    /// It is larger than the limit, and was not read.
    TooLarge(Look),
    /// A regular file.
    File {
        /// Its metadata, from the descriptor.
        look: Look,
        /// The processes that have it open, from the descriptor.
        writers: Writers,
        /// Its bytes, all of them unless somebody is writing.
        bytes: Vec<u8>,
    },
}

/// Whether to find out who else has a file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Find out. This takes a lease for a moment, and may raise a signal, which only the daemon ignores.
    Writers,
    /// Find out only whether a process has it open for writing. Any process may ask.
    Writing,
    /// Only read.
    Nothing,
}

/// A file to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The ownership of the record that it is to replace.
    pub ownership: Option<Ownership>,
}

/// The new text of `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeq {
    /// Written first, and synced together with the file's name.
    pub synced: Option<String>,
    /// The text in the end.
    pub text: String,
}

/// The names in a directory, in its order.
pub struct DirNames(Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>);

impl DirNames {
    /// Takes the names from any source.
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

/// The operations. A name is one component of a path, as raw bytes. No operation follows a symbolic link.
pub trait Fs: Debug + Send + Sync {
    /// Makes a file that must not exist, with mode 0600 or, for a record that is to replace another, with the ownership
    /// of that; syncs it if `durable`.
    fn write(&self, place: &Place, file: &NewFile<'_>, durable: bool) -> io::Result<()>;
    /// Makes several files as [`Self::write`] does. Their syncs may share the work.
    fn write_all(
        &self,
        place: &Place,
        files: &[NewFile<'_>],
        durable: bool,
    ) -> Vec<io::Result<()>> {
        files
            .iter()
            .map(|file| self.write(place, file, durable))
            .collect()
    }
    /// Makes a file that must not exist, with mode 0600, and syncs it if `durable`.
    fn write_new(&self, place: &Place, name: &[u8], bytes: &[u8], durable: bool) -> io::Result<()> {
        let file = NewFile {
            name,
            bytes,
            ownership: None,
        };
        self.write(place, &file, durable)
    }
    /// Gives a record those parts of an ownership that differ from `before`.
    fn give(
        &self,
        place: &Place,
        name: &[u8],
        ownership: Ownership,
        before: Option<Ownership>,
    ) -> io::Result<()>;
    /// Renames a file.
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
    /// Removes a directory with all that is in it. It is no error if there is none.
    fn remove_tree(&self, place: &Place, name: &[u8]) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync(&self, place: &Place) -> io::Result<()>;
    /// The metadata of a name.
    fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>>;
    /// Opens and reads a file of at most `limit` bytes, and finds out who else has it open if asked to.
    fn take(&self, place: &Place, name: &[u8], limit: u64, ask: Ask) -> io::Result<Taken>;
    /// The end of a file: at most `most` bytes, from the byte `from` on, or from the beginning if the file is shorter
    /// than that. `None` if there is no file. A file system that does not keep the output of jobs has none.
    fn tail(
        &self,
        _place: &Place,
        _name: &[u8],
        _from: u64,
        _most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Cuts a file to this many bytes. A file system that does not keep the output of jobs does nothing.
    fn cut(&self, _place: &Place, _name: &[u8], _size: u64) -> io::Result<()> {
        Ok(())
    }
    /// True when a file is locked by another process, or through another descriptor of this one. A file system
    /// without processes has no locks.
    fn is_locked(&self, _place: &Place, _name: &[u8]) -> io::Result<bool> {
        Ok(false)
    }
    /// Removes a file if it is empty and not locked.
    fn unlink_if_empty(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        match self.look(place, name)? {
            Some(look) if look.size == 0 => self.unlink(place, name).map(drop),
            Some(_) | None => Ok(()),
        }
    }
    /// Reads at most `limit` bytes of a file in a sub-directory. A file system that does not keep the output of jobs
    /// has none.
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
    /// Closes the directory that had a queue's name, and opens the one that has it now. It is an error if none has. A
    /// file system that holds no directories open only looks.
    fn reopen_queue(&self, queue: &QueueName) -> io::Result<()> {
        match self.look(&Place::Pending, queue.as_str().as_bytes())? {
            Some(look) if look.kind == FileType::Directory => Ok(()),
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    /// True if the directory that is open for a place has its name. Not every file system holds directories open.
    fn is_in_place(&self, _place: &Place) -> bool {
        true
    }
    /// Makes a queue's directory. False if it was there.
    fn make_queue(&self, queue: &QueueName) -> io::Result<bool>;
    /// Removes a queue's directory, which must be empty.
    fn remove_queue(&self, queue: &QueueName) -> io::Result<()>;
    /// Makes a directory of the spool again that was removed, or opens the one that has its name by now. A file
    /// system whose directories cannot be removed fails.
    fn renew(&self, _place: &Place) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
    /// Gives the text of `seq` (empty if there is none) to `edit`, while no other process can change it, and writes
    /// the text that `edit` returns. If the sync fails, the second text is not written.
    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()>;
}
