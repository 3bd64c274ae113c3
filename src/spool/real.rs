//! The spool on the real file system: every directory held open, every name relative to one of them.

use super::fs::{Ask, Fs, Taken};
use super::place::Place;
use super::seq::NewSeq;
use crate::core::id::QueueName;
use crate::os::dir::{self, How, Kind, Look};
use crate::os::lease::{self, Writers};
use crate::os::limits;
use fs2::FileExt;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// Held directories. Queues are opened when they are first used, and again when their directory was replaced.
#[derive(Debug)]
pub struct RealFs {
    root: OwnedFd,
    fixed: RwLock<HashMap<Place, Arc<OwnedFd>>>,
    queues: RwLock<HashMap<QueueName, Arc<OwnedFd>>>,
    most_queues: usize,
}

impl RealFs {
    /// Opens a spool, making the directories that are missing with mode 0700. What was made is made durable: a job
    /// is no safer than the directory it is in.
    pub fn create(path: &Path) -> io::Result<Self> {
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
        Self::with_root(root)
    }

    /// Opens a spool that is complete.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_root(dir::open_path(path)?)
    }

    fn with_root(root: OwnedFd) -> io::Result<Self> {
        let mut fixed = HashMap::new();
        for place in Place::FIXED {
            let fd = dir::open_dir(&root, name_of(&place).as_bytes())
                .map_err(|e| io::Error::new(e.kind(), format!("{}/: {e}", name_of(&place))))?;
            fixed.insert(place, Arc::new(fd));
        }
        Ok(Self {
            root,
            fixed: RwLock::new(fixed),
            queues: RwLock::new(HashMap::new()),
            most_queues: usize::try_from(limits::descriptors() / 8).unwrap_or(0),
        })
    }

    /// Runs `f` with the directory's descriptor.
    pub fn with<T>(
        &self,
        place: &Place,
        f: impl FnOnce(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Place::Queue(queue) = place {
            f(&*self.queue(queue)?)
        } else if place.is_fixed() {
            let fixed = self.fixed.read().unwrap_or_else(PoisonError::into_inner);
            let fd = fixed.get(place).cloned();
            drop(fixed);
            f(&*fd.ok_or(io::ErrorKind::NotFound)?)
        } else {
            f(&self.root)
        }
    }

    fn queue(&self, queue: &QueueName) -> io::Result<Arc<OwnedFd>> {
        let known = self
            .queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(queue)
            .cloned();
        match known {
            Some(fd) => Ok(fd),
            None => self.open_queue(queue),
        }
    }

    /// Opens a queue's directory, also when another one of that name was held before.
    pub fn open_queue(&self, queue: &QueueName) -> io::Result<Arc<OwnedFd>> {
        let fd = Arc::new(self.with(&Place::Pending, |pending| {
            dir::open_dir(pending, queue.as_str().as_bytes())
        })?);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        // Beyond that many, a queue's directory is opened anew each time: descriptors are needed for jobs.
        if queues.len() < self.most_queues || queues.contains_key(queue) {
            queues.insert(queue.clone(), Arc::clone(&fd));
        }
        Ok(fd)
    }

    /// Forgets a queue whose directory is gone.
    pub fn close_queue(&self, queue: &QueueName) {
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
        self.with(place, |fd| dir::write_new(fd, name, bytes, durable))
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
            self.with(to, |to| dir::rename(from, name, to, new_name, how))
        })
    }

    fn unlink(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        self.with(place, |fd| dir::unlink(fd, name))
    }

    fn remove_tree(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        self.with(place, |fd| dir::remove_tree(fd.as_fd(), name))
    }

    fn sync(&self, place: &Place) -> io::Result<()> {
        self.with(place, |fd| dir::sync(fd))
    }

    fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>> {
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
                Ask::Nothing => None,
            };
            let look = dir::look_at(&file)?;
            if look.kind != Kind::File {
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

    fn names(&self, place: &Place, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.with(place, |fd| dir::names(fd, each))
    }

    fn make_queue(&self, queue: &QueueName) -> io::Result<bool> {
        self.with(&Place::Pending, |pending| {
            dir::make_dir(pending, queue.as_str().as_bytes())
        })
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
        let path = format!(
            "/proc/self/fd/{}/seq",
            std::os::fd::AsRawFd::as_raw_fd(&self.root)
        );
        let mut file = dir::open_lock(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())))?;
        FileExt::lock_exclusive(&file)?;
        let mut bytes = Vec::new();
        (&file).take(256).read_to_end(&mut bytes)?;
        let new = edit(&String::from_utf8_lossy(&bytes))?;
        if let Some(text) = &new.synced {
            store(&mut file, text)?;
            file.sync_data()?;
            // Its name may be as new as its text, or a sync of that may have failed.
            dir::sync(&self.root)?;
        }
        if new.synced.as_ref() != Some(&new.text) {
            store(&mut file, &new.text)?;
        }
        Ok(())
    }
}

fn store(file: &mut File, text: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// What could not be opened: a link (ELOOP), a socket or a device without driver (ENXIO), or nothing at all.
fn unopened(fd: &OwnedFd, name: &[u8], e: io::Error) -> io::Result<Taken> {
    match dir::look(fd, name)? {
        None => Ok(Taken::Missing),
        Some(look) if look.kind != Kind::File => Ok(Taken::Strange(look)),
        Some(_) => Err(e),
    }
}
