//! Pauses that are files: `pending/.paused` and `pending/QUEUE/.paused`. touch(1) and rm(1) do the same.

use super::{Fs, OLD_HELD, Place, Spool};
use crate::core::config::pauses::Pauses;
use crate::core::id::QueueName;
use std::io;

/// The file's name.
pub const PAUSED: &[u8] = b".paused";

impl<F: Fs> Spool<F> {
    /// All pauses that are files now.
    pub fn pauses(&self) -> io::Result<Pauses> {
        let mut pauses = Pauses {
            all: self.has_pause(&Place::Pending)?,
            ..Pauses::default()
        };
        for queue in self.queues()? {
            if !queue.is_default() && self.has_pause(&Place::of_queue(&queue))? {
                pauses.queues.insert(queue);
            }
        }
        Ok(pauses)
    }

    /// True if this directory, `pending/` or a queue's, has the file.
    pub fn has_pause(&self, place: &Place) -> io::Result<bool> {
        match self.fs.look(place, PAUSED) {
            Ok(look) => Ok(look.is_some()),
            // The queue is gone, or was never used.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Pauses this queue, and makes its directory if it has none; all queues for `None`. Durable when it returns.
    pub fn pause(&self, queue: Option<&QueueName>) -> io::Result<()> {
        let place = match queue {
            None => Place::Pending,
            Some(queue) if queue.is_default() => return Err(no_file_for_default()),
            Some(queue) if queue.as_str() == OLD_HELD => return Err(no_queue(queue)),
            Some(queue) => self.waiting_place(queue.clone())?,
        };
        match self.fs.write_new(&place, PAUSED, b"", self.durable) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            Ok(()) | Err(_) => self.sync(&place),
        }
    }

    /// Removes the file of a pause. It is no error if there is none.
    pub fn resume(&self, queue: Option<&QueueName>) -> io::Result<()> {
        let place = match queue {
            None => Place::Pending,
            // The default queue has no such file.
            Some(queue) if queue.is_default() => return Ok(()),
            Some(queue) => Place::of_queue(queue),
        };
        if self.has_pause(&place)? {
            self.fs.unlink(&place, PAUSED).map_err(|e| {
                let name = place.relative().join(".paused");
                io::Error::new(e.kind(), format!("{}: {e}", name.display()))
            })?;
            self.sync(&place)?;
        }
        Ok(())
    }
}

pub(super) fn no_queue(queue: &QueueName) -> io::Error {
    let what = format!("no queue can be called {queue}: held/ is where held jobs are (pirn hold)");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The error for the default queue: `pending/` is its directory and that of all queues, and the file there pauses
/// them all.
fn no_file_for_default() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "pending/.paused pauses all queues: to pause the default queue alone, set queues.default.paused in \
         config.json (pirn config set queues.default.paused true)",
    )
}
