//! The spool on the real file system: every directory held open, every name relative to one of them.

use super::fs::{Ask, DirNames, Fs, NewSeq, Taken};
use super::place::Place;
use crate::core::id::QueueName;
use crate::os::dir::{self, FileType, How, Listing, Look};
use crate::os::lease::{self, Writers};
use crate::os::{limits, spawning};
use fs2::FileExt;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Held directories. They are opened when they are first used; queues again when their directory was replaced.
#[derive(Debug)]
pub struct RealFs {
    root: OwnedFd,
    /// Whether a missing directory is made as soon as it is asked for, or only when something is to go into it.
    makes_missing: bool,
    fixed: RwLock<BTreeMap<Place, Arc<OwnedFd>>>,
    queues: RwLock<BTreeMap<QueueName, Arc<OwnedFd>>>,
    most_queues: OnceLock<usize>,
}

impl RealFs {
    /// Opens a spool, making the directories that are missing with mode 0700, and holds them all.
    pub fn create(path: &Path) -> io::Result<Self> {
        let spool = Self::make(path)?;
        for place in &Place::FIXED {
            spool.with(place, |_| Ok(()))?;
        }
        Ok(spool)
    }

    /// As [`Self::create`], but holds a directory, or makes one that somebody has removed, only when it is used.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = match dir::open_path(path) {
            Ok(root) => root,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::make(path),
            Err(e) => return Err(e),
        };
        // The last that is made: with it the others were, too.
        let last = Place::FIXED
            .last()
            .map(|place| dir::look(&root, name_of(place).as_bytes()));
        match last.transpose()?.flatten() {
            Some(look) if look.kind == FileType::Directory => Ok(Self::over(root)),
            Some(_) | None => Self::make(path),
        }
    }

    /// Opens a spool and makes nothing; `None` where there is none.
    pub fn existing(path: &Path) -> io::Result<Option<Self>> {
        let is_missing = |e: &io::Error| {
            matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        };
        let root = match dir::open_path(path) {
            Ok(root) => root,
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        let pending = dir::look(&root, name_of(&Place::Pending).as_bytes())?;
        let is_spool = pending.is_some_and(|look| look.kind == FileType::Directory);
        Ok(is_spool.then(|| Self {
            makes_missing: false,
            ..Self::over(root)
        }))
    }

    /// Makes what is missing. What was made is made durable: a job is no safer than the directory it is in.
    fn make(path: &Path) -> io::Result<Self> {
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)?;
        let root = dir::open_path(path)?;
        let mut made = false;
        for place in &Place::FIXED {
            made |= dir::make_dir(&root, name_of(place).as_bytes())?;
        }
        if made {
            dir::sync(&root)?;
        }
        for parent in missing.into_iter().filter_map(Path::parent) {
            let parent = match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            };
            // Where we may make a directory but not read, we cannot do more.
            if let Ok(parent) = dir::open_path(parent) {
                dir::sync(parent)?;
            }
        }
        Ok(Self::over(root))
    }

    fn over(root: OwnedFd) -> Self {
        Self {
            root,
            makes_missing: true,
            fixed: RwLock::default(),
            queues: RwLock::default(),
            most_queues: OnceLock::new(),
        }
    }

    /// The descriptor of a directory that every spool has, if it was opened before.
    fn held(&self, place: &Place) -> Option<Arc<OwnedFd>> {
        let fixed = self.fixed.read().unwrap_or_else(PoisonError::into_inner);
        fixed.get(place).cloned()
    }

    fn hold(&self, place: &Place, make: bool) -> io::Result<Arc<OwnedFd>> {
        let name = name_of(place);
        let opened = match dir::open_dir(&self.root, name.as_bytes()) {
            Err(e) if make && e.kind() == io::ErrorKind::NotFound => {
                dir::make_dir(&self.root, name.as_bytes())?;
                dir::sync(&self.root)?;
                dir::open_dir(&self.root, name.as_bytes())
            }
            opened => opened,
        };
        let fd = Arc::new(opened.map_err(|e| io::Error::new(e.kind(), format!("{name}/: {e}")))?);
        let mut fixed = self.fixed.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(fixed.entry(place.clone()).or_insert(fd)))
    }

    /// Runs `f` with the directory's descriptor.
    pub(super) fn with<T>(
        &self,
        place: &Place,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with_or_make(place, self.makes_missing, f)
    }

    /// As [`Self::with`], for what goes into the directory: makes it if it is missing.
    fn making<T>(&self, place: &Place, f: impl FnOnce(&OwnedFd) -> io::Result<T>) -> io::Result<T> {
        self.with_or_make(place, true, f)
    }

    fn with_or_make<T>(
        &self,
        place: &Place,
        make: bool,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Place::Queue(queue) = place {
            f(&*self.queue(queue)?)
        } else if place.is_fixed() {
            f(&*match self.held(place) {
                Some(fd) => fd,
                None => self.hold(place, make)?,
            })
        } else {
            f(&self.root)
        }
    }

    fn held_queue(&self, queue: &QueueName) -> Option<Arc<OwnedFd>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).cloned()
    }

    fn queue(&self, queue: &QueueName) -> io::Result<Arc<OwnedFd>> {
        match self.held_queue(queue) {
            Some(fd) => Ok(fd),
            None => self.open_queue(queue),
        }
    }

    /// Opens a queue's directory, also when another one of that name was held before.
    fn open_queue(&self, queue: &QueueName) -> io::Result<Arc<OwnedFd>> {
        let fd = Arc::new(self.with(&Place::Pending, |pending| {
            dir::open_dir(pending, queue.as_str().as_bytes())
        })?);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        // Beyond that many, a queue's directory is opened anew each time: descriptors are needed for jobs.
        let most = || usize::try_from(limits::descriptors() / 8).unwrap_or(0);
        if queues.len() < *self.most_queues.get_or_init(most) || queues.contains_key(queue) {
            queues.insert(queue.clone(), Arc::clone(&fd));
        }
        Ok(fd)
    }

    /// Forgets a queue whose directory is gone.
    fn close_queue(&self, queue: &QueueName) {
        self.queues
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(queue);
    }
}

fn name_of(place: &Place) -> String {
    place.relative().to_string_lossy().into_owned()
}

impl Fs for RealFs {
    fn write_new(&self, place: &Place, name: &[u8], bytes: &[u8], durable: bool) -> io::Result<()> {
        self.making(place, |fd| dir::write_new(fd, name, bytes, durable))
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
            self.making(to, |to| dir::rename(from, name, to, new_name, how))
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
        if place.is_fixed() && self.held(place).is_none() {
            // One look is not worth opening a directory for.
            return dir::look(
                &self.root,
                &[name_of(place).as_bytes(), b"/", name].concat(),
            );
        }
        self.with(place, |fd| dir::look(fd, name))
    }

    fn take(&self, place: &Place, name: &[u8], limit: u64, ask: Ask) -> io::Result<Taken> {
        self.with(place, |fd| {
            let file = match dir::open_read(fd, name) {
                Ok(file) => file,
                Err(e) => return unopened(fd, name, e),
            };
            // What is looked at and read under the lease is one version of the file.
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
        let size = dir::look_at(&file)?.size;
        let from = if from <= size { from } else { 0 };
        let from = size.saturating_sub(most).max(from);
        file.seek(SeekFrom::Start(from))?;
        dir::read_up_to(&file, size - from, most).map(Some)
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
                    && !self.makes_missing
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
        match self.open_queue(queue) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.close_queue(queue);
                Err(e)
            }
            opened => opened.map(drop),
        }
    }

    fn make_queue(&self, queue: &QueueName) -> io::Result<bool> {
        let name = queue.as_str().as_bytes();
        let made = self.with(&Place::Pending, |pending| dir::make_dir(pending, name))?;
        // The directory that is held may have been renamed since, and be another queue's now.
        if let Some(held) = self.held_queue(queue) {
            let held = dir::look_at(&*held)?.inode;
            let named = self.look(&Place::Pending, name)?;
            if named.is_none_or(|named| named.inode != held) {
                self.close_queue(queue);
            }
        }
        Ok(made)
    }

    fn remove_queue(&self, queue: &QueueName) -> io::Result<()> {
        self.with(&Place::Pending, |pending| {
            dir::remove_dir(pending, queue.as_str().as_bytes())
        })?;
        self.close_queue(queue);
        Ok(())
    }

    fn renew(&self, place: &Place) -> io::Result<()> {
        if let Place::Queue(queue) = place {
            self.make_queue(queue)?;
            return self.open_queue(queue).map(drop);
        }
        let name = name_of(place);
        dir::make_dir(&self.root, name.as_bytes())?;
        let fd = Arc::new(dir::open_dir(&self.root, name.as_bytes())?);
        self.fixed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place.clone(), fd);
        Ok(())
    }

    fn edit_seq(&self, edit: &mut dyn FnMut(&str) -> io::Result<NewSeq>) -> io::Result<()> {
        let file = dir::open_edit(&self.root, b"seq")?;
        FileExt::lock_exclusive(&file)?;
        let mut bytes = [0; 256];
        let mut length = file.read_at(&mut bytes, 0)?;
        let new = edit(&String::from_utf8_lossy(
            bytes.get(..length).unwrap_or_default(),
        ))?;
        if let Some(text) = &new.synced {
            store(&file, text, &mut length)?;
            file.sync_data()?;
            // Its name may be as new as its text, or a sync of that may have failed.
            dir::sync(&self.root)?;
        }
        if new.synced.as_ref() != Some(&new.text) {
            store(&file, &new.text, &mut length)?;
        }
        Ok(())
    }
}

/// Replaces what the file says, which is this long, or longer than what is read of it.
fn store(file: &File, text: &str, length: &mut usize) -> io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)?;
    if *length > text.len() {
        file.set_len(text.len() as u64)?;
    }
    *length = text.len();
    Ok(())
}

/// What could not be opened: a link (ELOOP), a socket or a device without driver (ENXIO), or nothing at all.
fn unopened(fd: &OwnedFd, name: &[u8], e: io::Error) -> io::Result<Taken> {
    match dir::look(fd, name)? {
        None => Ok(Taken::Missing),
        Some(look) if look.kind != FileType::File => Ok(Taken::Strange(look)),
        Some(_) => Err(e),
    }
}
