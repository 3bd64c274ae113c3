//! Holding jobs and releasing them.

use super::{Ask, Fs, OLD_HELD, Place, Spool, Steered, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, State};
use std::collections::BTreeSet;
use std::io;

impl<F: Fs> Spool<F> {
    /// Holds a waiting job: moves its file to `held/`, from which nothing is started. `changed` is that of
    /// [`Self::retry`].
    ///
    /// The queue is written into the file once it is there: in its queue the daemon may be rewriting it for a start,
    /// and somebody may drop a newer one. A crash in between leaves a held job that will be released to the default
    /// queue.
    pub fn hold(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        self.act_on_waiting(id, |at| {
            let queue = match at {
                Where::Held => {
                    // The rename that brought it there may not be durable.
                    changed.insert(Place::Held);
                    return Ok(Some(Steered::Done(State::Held)));
                }
                Where::Pending(queue) => queue,
                Where::Active | Where::Complete | Where::Failed => {
                    return Ok(Some(Steered::Wrong(at.state())));
                }
            };
            if !self.move_file(id, &at.place(), &Place::Held, changed)? {
                return Ok(None);
            }
            if let Err(e) = self.say_queue(id, queue, changed) {
                // Without its queue it could not be released to it.
                self.move_file(id, &Place::Held, &at.place(), changed)?;
                return Err(e);
            }
            Ok(Some(Steered::Done(at.state())))
        })
    }

    /// Writes the queue in which a held job waited into its file. The file may name none (a shell line) or another
    /// (it was moved by hand).
    fn say_queue(
        &self,
        id: &JobId,
        queue: &QueueName,
        changed: &mut BTreeSet<Place>,
    ) -> io::Result<()> {
        if queue.is_default() || queue.as_str() == OLD_HELD {
            return Ok(());
        }
        let name = |record: &mut Record| record.queue = Some(queue.clone());
        self.edit_record(id, &Place::Held, changed, name)?;
        Ok(())
    }

    /// Releases a held job to the queue that its record names. A waiting job stays. `changed` is that of
    /// [`Self::retry`].
    pub fn release(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        let old = QueueName::new(OLD_HELD).map_err(io::Error::other)?;
        self.act_on_waiting(id, |at| {
            // `act_on` may have found another job of its name first.
            let is_held = self
                .fs
                .look(&Place::Held, id.as_str().as_bytes())?
                .is_some();
            let from = match at {
                _ if is_held => Place::Held,
                Where::Pending(queue) if *queue == old => at.place(),
                Where::Held => return Ok(None),
                Where::Pending(_) => return Ok(Some(Steered::Done(at.state()))),
                Where::Active | Where::Complete | Where::Failed => {
                    return Ok(Some(Steered::Wrong(at.state())));
                }
            };
            let to = self.waiting_place(self.queue_named(id, &from)?.unwrap_or_default())?;
            let moved = self.move_file(id, &from, &to, changed)?;
            Ok(moved.then_some(Steered::Done(State::Held)))
        })
    }

    /// Moves the jobs that an older version held to `held/`, durably, and removes their queue. Returns how many there
    /// were.
    pub fn take_over_held(&self) -> io::Result<usize> {
        let old = QueueName::new(OLD_HELD).map_err(io::Error::other)?;
        let ids = self.ids(&Where::Pending(old.clone()))?;
        let from = Place::of_queue(&old);
        let mut moved = 0;
        self.durably(|changed| {
            for id in &ids {
                match self.move_file(id, &from, &Place::Held, changed) {
                    Ok(was_there) => moved += usize::from(was_there),
                    // A job of its name is held already. Neither is lost, and neither is started.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        })?;
        match self.fs.remove_queue(&old) {
            Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => Err(e),
            Ok(()) | Err(_) => Ok(moved),
        }
    }

    /// The queue that a held job's file names.
    fn queue_named(&self, id: &JobId, place: &Place) -> io::Result<Option<QueueName>> {
        match self.read_record(id, place, Ask::Nothing) {
            Ok(read) => Ok(read.and_then(|(_, record)| record.queue)),
            // It will be judged when it waits, and then the daemon says what is wrong with it.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(e),
        }
    }
}
