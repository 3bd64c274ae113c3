//! The directories of a spool on the real file system, held open.

use super::place::Place;
use crate::core::id::QueueName;
use crate::os::dir::{self, FileType};
use crate::os::limits;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// The directories that are held open. Each is opened when it is first used, and a queue's again when it was
/// replaced.
#[derive(Debug)]
pub(super) struct HeldDirs {
    root: OwnedFd,
    /// Whether a missing directory is made when it is asked for, or only when a file is to go into it.
    makes_missing: bool,
    fixed: RwLock<BTreeMap<Place, Arc<OwnedFd>>>,
    queues: RwLock<BTreeMap<QueueName, Arc<OwnedFd>>>,
    most_queues: OnceLock<usize>,
}

impl HeldDirs {
    /// Opens a spool, makes its missing directories with mode 0700, and opens them all.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let spool = Self::make(path)?;
        for place in &Place::FIXED {
            spool.with(place, |_| Ok(()))?;
        }
        Ok(spool)
    }

    /// Opens a spool. A directory is opened, or made if somebody has removed it, when it is first used.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = match dir::open_path(path) {
            Ok(root) => root,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::make(path),
            Err(e) => return Err(e),
        };
        // It is the last one made, so if it is there the others are.
        let last = Place::FIXED
            .last()
            .map(|place| dir::look(&root, name_of(place).as_bytes()));
        match last.transpose()?.flatten() {
            Some(look) if look.kind == FileType::Directory => Ok(Self::over(root)),
            Some(_) | None => Self::make(path),
        }
    }

    /// Opens a spool and makes nothing. `None` if there is no spool.
    pub(super) fn existing(path: &Path) -> io::Result<Option<Self>> {
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

    /// Makes the missing directories, durably: a job is no safer than the directory that it is in.
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
            // A directory that we may write but not read cannot be synced.
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

    /// The descriptor of a directory that every spool has, if it is open.
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
        let fd = Arc::new(opened.map_err(|e| {
            let why = match e.kind() {
                io::ErrorKind::NotADirectory => {
                    "it is no directory, and a link to one is not followed".to_owned()
                }
                _ => e.to_string(),
            };
            io::Error::new(e.kind(), format!("{name}/: {why}"))
        })?);
        let mut fixed = self.fixed.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(fixed.entry(place.clone()).or_insert(fd)))
    }

    /// False for a directory that every spool has and that was not used yet.
    pub(super) fn is_open(&self, place: &Place) -> bool {
        !place.is_fixed() || self.held(place).is_some()
    }

    /// True if a missing directory is made when it is asked for.
    pub(super) fn makes_missing(&self) -> bool {
        self.makes_missing
    }

    /// Calls `f` with the directory's descriptor.
    pub(super) fn with<T>(
        &self,
        place: &Place,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with_or_make(place, self.makes_missing, f)
    }

    /// The same, to put a file into the directory: it is made if it is missing.
    pub(super) fn making<T>(
        &self,
        place: &Place,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
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

    /// Opens a queue's directory, also if another one of that name is open.
    fn open_queue(&self, queue: &QueueName) -> io::Result<Arc<OwnedFd>> {
        let fd = Arc::new(self.with(&Place::Pending, |pending| {
            dir::open_dir(pending, queue.as_str().as_bytes())
        })?);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        // Beyond that many, a queue's directory is opened for each use: jobs need descriptors too.
        let most = || usize::try_from(limits::descriptors() / 8).unwrap_or(0);
        if queues.len() < *self.most_queues.get_or_init(most) || queues.contains_key(queue) {
            queues.insert(queue.clone(), Arc::clone(&fd));
        }
        Ok(fd)
    }

    pub(super) fn reopen_queue(&self, queue: &QueueName) -> io::Result<()> {
        match self.open_queue(queue) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.close_queue(queue);
                Err(e)
            }
            opened => opened.map(drop),
        }
    }

    pub(super) fn make_queue(&self, queue: &QueueName) -> io::Result<bool> {
        let name = queue.as_str().as_bytes();
        let made = self.with(&Place::Pending, |pending| dir::make_dir(pending, name))?;
        // The directory that is open may have been renamed, and be another queue's now.
        if let Some(held) = self.held_queue(queue) {
            let held = dir::look_at(&*held)?.inode;
            let named = self.with(&Place::Pending, |pending| dir::look(pending, name))?;
            if named.is_none_or(|named| named.inode != held) {
                self.close_queue(queue);
            }
        }
        Ok(made)
    }

    pub(super) fn remove_queue(&self, queue: &QueueName) -> io::Result<()> {
        self.with(&Place::Pending, |pending| {
            dir::remove_dir(pending, queue.as_str().as_bytes())
        })?;
        self.close_queue(queue);
        Ok(())
    }

    pub(super) fn renew(&self, place: &Place) -> io::Result<()> {
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

    /// Closes the directory of a queue that is gone.
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
