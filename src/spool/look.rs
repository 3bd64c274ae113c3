//! Looks at single names, listings and watches, for the layers above.

use super::{DirNames, Fs, Place, RealFs, Spool};
use crate::core::id::{JobId, QueueName};
use crate::os::dir::{self, Look, Space};
use crate::os::inotify::{Interest, Watch, Watcher};
use crate::os::probe;
use std::io;
use std::os::fd::AsFd;

impl<F: Fs> Spool<F> {
    /// The metadata of a name, without following a symbolic link. `None` if there is none.
    pub fn look(&self, place: &Place, name: &[u8]) -> io::Result<Option<Look>> {
        self.fs.look(place, name)
    }

    /// The same, in the directory that has the queue's name now.
    pub fn look_afresh(&self, queue: &QueueName, name: &[u8]) -> io::Result<Option<Look>> {
        let has_queue = match queue.is_default() {
            true => true,
            false => self.reopen_queue(queue)?,
        };
        match has_queue {
            true => self.fs.look(&Place::of_queue(queue), name),
            false => Ok(None),
        }
    }

    /// Closes a queue's directory and opens the one that has its name now. False if none has.
    pub fn reopen_queue(&self, queue: &QueueName) -> io::Result<bool> {
        match self.fs.reopen_queue(queue) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// True if a name is certainly in `active/`.
    pub fn is_active(&self, id: &JobId) -> bool {
        let look = self.fs.look(&Place::Active, id.as_str().as_bytes());
        look.is_ok_and(|look| look.is_some())
    }

    /// True if a name is certainly in `held/`.
    pub fn is_held(&self, id: &JobId) -> bool {
        let look = self.fs.look(&Place::Held, id.as_str().as_bytes());
        look.is_ok_and(|look| look.is_some())
    }

    /// Calls `each` with every name in a directory.
    pub fn names(&self, place: &Place, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.fs.names(place, each)
    }

    /// The names in a directory, read while they are asked for.
    pub fn listing(&self, place: &Place) -> io::Result<DirNames> {
        self.fs.listing(place)
    }

    /// The number of files in `bad/`, without those that give the reasons.
    pub fn count_bad(&self) -> io::Result<usize> {
        let mut bad = 0;
        self.fs.names(&Place::Bad, &mut |name| {
            bad += usize::from(!name.ends_with(b".reason"));
        })?;
        Ok(bad)
    }

    /// True if the directory that is open for a place has its name.
    pub fn is_in_place(&self, place: &Place) -> bool {
        self.fs.is_in_place(place)
    }

    /// Makes a directory of the spool again that was removed, or opens the one that has its name by now.
    pub fn renew(&self, place: &Place) -> io::Result<()> {
        self.fs.renew(place)
    }
}

impl Spool<RealFs> {
    /// Watches a directory.
    pub fn watch(&self, place: &Place, watcher: &Watcher, interest: Interest) -> io::Result<Watch> {
        self.fs.with(place, |fd| watcher.add(fd, interest))
    }

    /// Watches a job's log for growth: `id`, or the name that [`super::stderr_log`] gives.
    pub fn watch_log(&self, name: &str, watcher: &Watcher) -> io::Result<Watch> {
        watcher.add(self.open_log(name)?, Interest::Growth)
    }

    /// The inode of the directory that is open for a place.
    pub fn inode_of(&self, place: &Place) -> io::Result<u64> {
        Ok(self.fs.with(place, |fd| dir::look_at(fd))?.inode)
    }

    /// Tries out whether the file system can do what a spool needs. The error names what is missing.
    pub fn probe(&self, watcher: &Watcher) -> io::Result<()> {
        self.fs.with(&Place::Tmp, |tmp| probe::probe(tmp, watcher))
    }

    /// The free room on the spool's file system.
    pub fn free_space(&self) -> io::Result<Space> {
        self.fs
            .with(&Place::Root, |root| dir::free_space(root.as_fd()))
    }
}
