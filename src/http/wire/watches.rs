//! The hub's inotify watches.

use crate::core::id::{JobId, QueueName};
use crate::os::dir;
use crate::os::inotify::{FileChange, Interest, Watch, Watcher};
use crate::spool::{Place, Spool, Where};
use std::collections::HashMap;
use std::io;

/// The watches, with the directory or log of each.
pub struct Armed {
    /// The queue of their events.
    pub watcher: Watcher,
    /// The watched directories.
    pub places: HashMap<Watch, Place>,
    /// The watched logs.
    pub logs: HashMap<Watch, String>,
}

impl Armed {
    /// Watches every directory that jobs move through.
    pub fn new(spool: &Spool) -> io::Result<Self> {
        let mut armed = Self {
            watcher: Watcher::new()?,
            places: HashMap::new(),
            logs: HashMap::new(),
        };
        for place in [Place::Pending, Place::Log] {
            armed.watch(spool, place, Interest::Everything)?;
        }
        for place in [Place::Held, Place::Active, Place::Complete, Place::Failed] {
            armed.watch(spool, place, Interest::Moves)?;
        }
        for queue in spool.queues()? {
            armed.watch(spool, Place::Queue(queue), Interest::Moves)?;
        }
        Ok(armed)
    }

    fn watch(&mut self, spool: &Spool, place: Place, interest: Interest) -> io::Result<()> {
        let watch = match spool.watch(&place, &self.watcher, interest) {
            Ok(watch) => watch,
            // A queue may be removed at any time.
            Err(_) if matches!(place, Place::Queue(_)) => return Ok(()),
            Err(e) => return Err(e),
        };
        self.places.insert(watch, place);
        Ok(())
    }

    /// True if a name in `pending/` is or was a queue's.
    pub fn is_queue(&self, spool: &Spool, name: &str) -> bool {
        let is_known =
            |place: &Place| matches!(place, Place::Queue(queue) if queue.as_str() == name);
        let look = spool.look(&Place::Pending, name.as_bytes());
        match look {
            Ok(Some(look)) => look.kind == dir::FileType::Directory,
            Ok(None) | Err(_) => self.places.values().any(is_known),
        }
    }

    /// Watches a new queue. Gives the jobs in it.
    pub fn watch_queue(&mut self, spool: &Spool, name: &str, change: FileChange) -> Vec<JobId> {
        let (Ok(queue), FileChange::Came) = (QueueName::new(name), change) else {
            return Vec::new();
        };
        let at = Where::Pending(queue);
        if let Err(e) = self.watch(spool, at.place(), Interest::Moves) {
            log::warn!("http: watching the queue {name}: {e}");
        }
        spool.ids(&at).unwrap_or_default()
    }

    /// Watches a log, if its file exists.
    pub fn watch_log(&mut self, spool: &Spool, name: &str) {
        if let Ok(watch) = spool.watch_log(name, &self.watcher) {
            self.logs.insert(watch, name.to_owned());
        }
    }

    /// Ends the watch of a log.
    pub fn leave_log(&mut self, name: &str) {
        let of_name: Vec<Watch> = self
            .logs
            .iter()
            .filter(|(_, of)| *of == name)
            .map(|(watch, _)| *watch)
            .collect();
        for watch in of_name {
            self.watcher.remove(watch);
            self.logs.remove(&watch);
        }
    }
}
