//! The spool on the real file system. Every name is relative to a directory that is held open.

use super::fs::{Ask, DirNames, Fs, NewFile, NewSeq, Taken};
use super::held_dirs::HeldDirs;
use super::place::Place;
use crate::core::id::QueueName;
use crate::os::dir::{self, FileType, How, Listing, Look};
use crate::os::lease::{self, Writers};
use crate::os::ownership::Ownership;
use crate::os::spawning;
use fs2::FileExt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The real file system.
#[derive(Debug)]
pub struct RealFs(HeldDirs);

impl RealFs {
    /// Opens a spool, makes its missing directories with mode 0700, and opens them all.
    pub fn create(path: &Path) -> io::Result<Self> {
        HeldDirs::create(path).map(Self)
    }

    /// Opens a spool. A directory is opened, or made if somebody has removed it, when it is first used.
    pub fn open(path: &Path) -> io::Result<Self> {
        HeldDirs::open(path).map(Self)
    }

    /// Opens a spool and makes nothing. `None` if there is no spool.
    pub fn existing(path: &Path) -> io::Result<Option<Self>> {
        Ok(HeldDirs::existing(path)?.map(Self))
    }

    /// Calls `f` with the directory's descriptor.
    pub(super) fn with<T>(
        &self,
        place: &Place,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.with(place, f)
    }
}

impl Fs for RealFs {
    fn write(&self, place: &Place, file: &NewFile<'_>, durable: bool) -> io::Result<()> {
        let &NewFile {
            name,
            bytes,
            ownership,
        } = file;
        self.0.making(place, |fd| {
            dir::write_new(fd, name, bytes, ownership, durable)
        })
    }

    fn write_all(
        &self,
        place: &Place,
        files: &[NewFile<'_>],
        durable: bool,
    ) -> Vec<io::Result<()>> {
        let write = |file: &NewFile<'_>| {
            let &NewFile {
                name,
                bytes,
                ownership,
            } = file;
            self.0
                .making(place, |fd| dir::write_unsynced(fd, name, bytes, ownership))
        };
        let written: Vec<io::Result<File>> = files.iter().map(write).collect();
        if durable && files.len() > 1 {
            // With all data on its way, the first sync commits the journal for the others too.
            written.iter().flatten().for_each(dir::start_writing);
        }
        let sync = |file: File| if durable { file.sync_data() } else { Ok(()) };
        written
            .into_iter()
            .map(|file| file.and_then(sync))
            .collect()
    }

    fn give(
        &self,
        place: &Place,
        name: &[u8],
        ownership: Ownership,
        before: Option<Ownership>,
    ) -> io::Result<()> {
        let record = self.with(place, |fd| dir::open_read(fd, name))?;
        ownership.give_record(&record, before)
    }

    fn rename(
        &self,
        from: &Place,
        name: &[u8],
        to: &Place,
        new_name: &[u8],
        how: How,
    ) -> io::Result<()> {
        self.with(from, |from| {
            self.0
                .making(to, |to| dir::rename(from, name, to, new_name, how))
        })
    }

    fn unlink(&self, place: &Place, name: &[u8]) -> io::Result<bool> {
        self.with(place, |fd| dir::unlink(fd, name))
    }

    fn remove_tree(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        self.with(place, |fd| dir::remove_tree(fd.as_fd(), name))
    }

    fn sync(&self, place: &Place) -> io::Result<()> {
        self.with(place, |fd| dir::sync(fd))
    }

    fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>> {
        match self.0.is_open(place) {
            true => self.with(place, |fd| dir::look(fd, name)),
            // A single look is not worth opening a directory.
            false => {
                let path = [place.relative().as_os_str().as_bytes(), b"/", name].concat();
                self.with(&Place::Root, |root| dir::look(root, &path))
            }
        }
    }

    fn take(&self, place: &Place, name: &[u8], limit: u64, ask: Ask) -> io::Result<Taken> {
        self.with(place, |fd| {
            let file = match dir::open_read(fd, name) {
                Ok(file) => file,
                Err(e) => return unopened(fd, name, e),
            };
            // Metadata and bytes that are read under the lease belong to one version of the file.
            let settled = match ask {
                Ask::Writers => Some(lease::settle(&file)?),
                Ask::Writing => lease::is_being_written(&file).then_some(Writers::Open),
                Ask::Nothing => None,
            };
            let look = dir::look_at(&file)?;
            if look.kind != FileType::File {
                return Ok(Taken::Strange(look));
            }
            if look.size > limit {
                return Ok(Taken::TooLarge(look));
            }
            let bytes = dir::read_up_to(&file, look.size, limit)?;
            let writers = if bytes.len() as u64 == look.size {
                settled.unwrap_or(Writers::None)
            } else {
                Writers::Open
            };
            Ok(Taken::File {
                look,
                writers,
                bytes,
            })
        })
    }

    fn tail(
        &self,
        place: &Place,
        name: &[u8],
        from: u64,
        most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let opened = self.with(place, |fd| dir::open_read(fd, name));
        let mut file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        dir::read_end(&mut file, from, most).map(|(bytes, _)| Some(bytes))
    }

    fn cut(&self, place: &Place, name: &[u8], size: u64) -> io::Result<()> {
        let file = self.with(place, |fd| dir::open_append(fd, name))?;
        file.set_len(size)
    }

    fn is_locked(&self, place: &Place, name: &[u8]) -> io::Result<bool> {
        let file = self.with(place, |fd| dir::open_read(fd, name))?;
        Ok(!spawning::try_lock(&file)?)
    }

    fn unlink_if_empty(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        let file = self.with(place, |fd| dir::open_read(fd, name))?;
        if dir::look_at(&file)?.size == 0 && spawning::try_lock(&file)? {
            self.unlink(place, name)?;
        }
        Ok(())
    }

    fn read_inside(
        &self,
        place: &Place,
        directory: &[u8],
        name: &[u8],
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let open = |fd: &OwnedFd| dir::open_read(dir::open_dir(fd, directory)?, name);
        match self.with(place, open) {
            Ok(file) => dir::read_up_to(&file, 0, limit).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn names(&self, place: &Place, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self.with(place, |fd| dir::names(fd, each)) {
            // A directory that was not made yet is empty.
            Err(e)
                if e.kind() == io::ErrorKind::NotFound
                    && !self.0.makes_missing()
                    && place.is_fixed() =>
            {
                Ok(())
            }
            listed => listed,
        }
    }

    fn listing(&self, place: &Place) -> io::Result<DirNames> {
        let mut listing = self.with(place, |fd| Listing::open(fd))?;
        Ok(DirNames::new(std::iter::from_fn(move || {
            listing.next_name().transpose()
        })))
    }

    fn reopen_queue(&self, queue: &QueueName) -> io::Result<()> {
        self.0.reopen_queue(queue)
    }

    fn is_in_place(&self, place: &Place) -> bool {
        let held = self.with(place, |fd| dir::look_at(fd));
        let named = self.look(&Place::Root, place.relative().as_os_str().as_bytes());
        matches!((held, named), (Ok(held), Ok(Some(named))) if held.inode == named.inode)
    }

    fn make_queue(&self, queue: &QueueName) -> io::Result<bool> {
        self.0.make_queue(queue)
    }

    fn remove_queue(&self, queue: &QueueName) -> io::Result<()> {
        self.0.remove_queue(queue)
    }

    fn renew(&self, place: &Place) -> io::Result<()> {
        self.0.renew(place)
    }

    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()> {
        let file = self.with(&Place::Root, |root| dir::open_edit(root, b"seq"))?;
        FileExt::lock_exclusive(&file)?;
        let mut bytes = [0; 256];
        let mut length = file.read_at(&mut bytes, 0)?;
        let new = edit(&String::from_utf8_lossy(
            bytes.get(..length).unwrap_or_default(),
        ))?;
        if let Some(text) = &new.synced {
            store(&file, text, &mut length)?;
            file.sync_data()?;
            // The file may be as new as its text, or an earlier sync of its name may have failed.
            self.sync(&Place::Root)?;
        }
        if new.synced.as_ref() != Some(&new.text) {
            store(&file, &new.text, &mut length)?;
        }
        Ok(())
    }
}

/// Replaces the text of a file that has `length` bytes, or more if it was longer than the buffer.
fn store(file: &File, text: &str, length: &mut usize) -> io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)?;
    if *length > text.len() {
        file.set_len(text.len() as u64)?;
    }
    *length = text.len();
    Ok(())
}

/// Says what could not be opened: a link (ELOOP), a socket or a device without driver (ENXIO), or nothing at all.
fn unopened(fd: &OwnedFd, name: &[u8], e: io::Error) -> io::Result<Taken> {
    match dir::look(fd, name)? {
        None => Ok(Taken::Missing),
        Some(look) if look.kind != FileType::File => Ok(Taken::Strange(look)),
        Some(_) => Err(e),
    }
}
