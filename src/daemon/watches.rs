//! The watches of inotify: on directories of the spool, and on the logs of jobs with a `max_log`.

use super::ServeError;
use crate::core::id::JobId;
use crate::os::inotify::{Interest, Watch, Watcher};
use crate::spool::{Place, Spool};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The watches and what they are on. Any thread may add and remove some; the watcher reads their events.
#[derive(Debug)]
pub struct Watches {
    /// The kernel's queue of events.
    pub watcher: Watcher,
    on: Mutex<HashMap<Watch, Watched>>,
}

/// A thing that is watched.
#[derive(Debug, Clone)]
pub enum Watched {
    /// A directory of the spool.
    Place(Place),
    /// The log of a job.
    Log(JobId),
}

impl Watches {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            on: Mutex::default(),
        })
    }

    fn on(&self) -> MutexGuard<'_, HashMap<Watch, Watched>> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the poller.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }

    /// True when there are events that were not read yet.
    pub fn has_news(&self) -> bool {
        crate::os::poll::is_readable(self.fd())
    }

    /// The thing that a watch is on.
    pub fn thing(&self, watch: Watch) -> Option<Watched> {
        self.on().get(&watch).cloned()
    }

    /// Refuses a spool on a file system that cannot keep the promises.
    pub fn try_out(&self, spool: &Spool) -> Result<(), ServeError> {
        let path = spool.path().display();
        match spool.probe(&self.watcher) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                Err(ServeError::Config(format!("{path}: {e}")))
            }
            // A full disk, perhaps: that shows nothing, and the daemon may make room.
            Err(e) => {
                log::warn!("{path}: its file system could not be tried out: {e}");
                Ok(())
            }
        }
    }

    /// Watches a directory; true if it was not watched before.
    pub fn watch(&self, spool: &Spool, place: &Place) -> io::Result<bool> {
        let mut on = self.on();
        let watch = spool.watch(place, &self.watcher, interest(place))?;
        let before = on.insert(watch, Watched::Place(place.clone()));
        Ok(!matches!(before, Some(Watched::Place(before)) if before == *place))
    }

    /// True if this directory is watched.
    pub fn has(&self, place: &Place) -> bool {
        let is_it = |thing: &Watched| matches!(thing, Watched::Place(p) if p == place);
        self.on().values().any(is_it)
    }

    /// Watches the directories that are always there.
    pub fn watch_fixed(&self, spool: &Spool) -> io::Result<()> {
        for place in [
            Place::Root,
            Place::Pending,
            Place::Held,
            Place::Active,
            Place::Complete,
            Place::Failed,
        ] {
            self.watch(spool, &place)?;
        }
        Ok(())
    }

    /// Watches the log of a job.
    pub fn watch_log(&self, spool: &Spool, id: &JobId) -> io::Result<()> {
        let mut on = self.on();
        let watch = spool.watch_log(id.as_str(), &self.watcher)?;
        on.insert(watch, Watched::Log(id.clone()));
        Ok(())
    }

    /// Watches the log of a job no more.
    pub fn unwatch_log(&self, job: &JobId) {
        self.drop_if(|thing| matches!(thing, Watched::Log(id) if id == job));
    }

    /// Watches this directory no more.
    pub fn unwatch(&self, place: &Place) {
        self.drop_if(|thing| matches!(thing, Watched::Place(p) if p == place));
    }

    fn drop_if(&self, is_it: impl Fn(&Watched) -> bool) {
        self.on().retain(|watch, thing| {
            let goes = is_it(thing);
            if goes {
                self.watcher.remove(*watch);
            }
            !goes
        });
    }
}

/// The events that matter in a directory: nobody writes to finished records any more.
fn interest(place: &Place) -> Interest {
    if matches!(place, Place::Held | Place::Complete | Place::Failed) {
        Interest::Moves
    } else {
        Interest::Everything
    }
}
