//! Steering as the doors do it: the same renames that a user would make by hand.

use super::claim::Rewritten;
use super::intake::stamp;
use super::{Ask, Fs, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Reason, State};
use crate::os::clock;
use crate::os::dir::How;
use std::collections::BTreeSet;
use std::io;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// Done, or under way; the job was in this state.
    Done(State),
    /// There is no such job.
    Missing,
    /// The job's state does not allow it.
    Wrong(State),
}

/// The treatment of a running job that is to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfActive {
    /// Leave it alone.
    Refuse,
    /// End it, as `rm active/ID` does.
    End,
}

/// How often a job that moves on whenever it has been found is looked for.
const ROUNDS: usize = 100;

/// The queue in which older versions kept held jobs, and paused it. No queue can have this name: nothing is started
/// from its directory.
pub const OLD_HELD: &str = "held";

impl<F: Fs> Spool<F> {
    /// Finds a job and acts on it where it is. `act` says nothing if the job was not there any more: it moved on in
    /// that moment, and is looked for again.
    fn act_on(
        &self,
        id: &JobId,
        mut act: impl FnMut(&Where) -> io::Result<Option<Steered>>,
    ) -> io::Result<Steered> {
        for _ in 0..ROUNDS {
            let Some(at) = self.find(id)? else {
                return Ok(Steered::Missing);
            };
            if let Some(steered) = act(&at)? {
                return Ok(steered);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{id} keeps changing its state; try again"),
        ))
    }

    /// Cancels a job, for good: its file is moved to `failed/`, durably. The record of a waiting one gets its end
    /// there; a running one is ended by the daemon, which then writes its record.
    pub fn cancel(&self, id: &JobId) -> io::Result<Steered> {
        let mut changed = BTreeSet::new();
        let steered = self.act_on(id, |at| {
            let was_over = match at {
                Where::Complete | Where::Failed => return Ok(Some(Steered::Wrong(at.state()))),
                Where::Active => None,
                Where::Pending(_) | Where::Held => match self.load(id, at)? {
                    // A record that cannot be read is an error before it is moved.
                    Some(waiting) => Some(waiting.is_over()),
                    None => return Ok(None),
                },
            };
            if !self.move_file(id, &at.place(), &Place::Failed, &mut changed)? {
                return Ok(None);
            }
            if let Some(was_over) = was_over {
                self.end_cancelled(id, at, was_over)?;
            }
            Ok(Some(Steered::Done(at.state())))
        })?;
        self.sync_all(&changed)?;
        Ok(steered)
    }

    /// Writes its end into a file that waited as `was` and has just been moved to `failed/`. The end is not written
    /// before the move: see [`Self::fail_waiting`], whose way through `active/` is the daemon's alone. `was_over` is true
    /// for one that carried the end of an earlier run while it waited.
    fn end_cancelled(&self, id: &JobId, was: &Where, was_over: bool) -> io::Result<()> {
        let put = self.fs.look(&Place::Failed, id.as_str().as_bytes())?;
        let record = self.load(id, &Where::Failed)?;
        let (Some(put), Some(mut record)) = (put, record) else {
            return Ok(());
        };
        if record.is_over() && !was_over {
            // The daemon has seen the move and was quicker.
            return Ok(());
        }
        if let Where::Pending(queue) = was {
            record.queue = (!queue.is_default()).then(|| queue.clone());
        }
        record.renew();
        record.end_unrun(clock::wall(), Reason::Cancelled, "withdrawn before it ran");
        self.complete_by_hand(id, &Place::Failed, &put, &record)
            .map(drop)
    }

    /// Runs a finished job again: its file goes back to its queue. `changed` gets the directories that are to be
    /// synced ([`Self::sync_all`]) before anybody is told: once for many jobs.
    pub fn retry(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        self.act_on(id, |at| {
            if !at.state().is_final() {
                return Ok(Some(Steered::Wrong(at.state())));
            }
            let queue = self.load(id, at)?.and_then(|record| record.queue);
            let to = self.waiting_place(queue.unwrap_or_default())?;
            let moved = self.move_file(id, &at.place(), &to, changed)?;
            Ok(moved.then_some(Steered::Done(at.state())))
        })
    }

    /// Where jobs wait whose records name this queue: a directory that is there.
    pub(super) fn waiting_place(&self, queue: QueueName) -> io::Result<Place> {
        if queue.is_default() || queue.as_str() == OLD_HELD {
            return Ok(Place::Pending);
        }
        if self.fs.make_queue(&queue)? {
            self.sync(&Place::Pending)?;
        }
        Ok(Place::of_queue(&queue))
    }

    /// Withdraws a waiting job or forgets a finished one, with its log. `changed` is as for [`Self::retry`].
    pub fn forget(
        &self,
        id: &JobId,
        if_active: IfActive,
        changed: &mut BTreeSet<Place>,
    ) -> io::Result<Steered> {
        self.act_on(id, |at| {
            let removed = match (at, if_active) {
                (Where::Active, IfActive::Refuse) => {
                    return Ok(Some(Steered::Wrong(State::Active)));
                }
                // The daemon ends it first, and then removes what belongs to it.
                (Where::Active, IfActive::End) => {
                    self.fs.unlink(&Place::Active, id.as_str().as_bytes())?
                }
                (Where::Pending(_) | Where::Held | Where::Complete | Where::Failed, _) => {
                    self.remove_finished(id, &at.place())?
                }
            };
            Ok(removed.then(|| {
                changed.insert(at.place());
                Steered::Done(at.state())
            }))
        })
    }

    /// Makes the names in all these directories durable. One that is gone has taken them along.
    pub fn sync_all(&self, changed: &BTreeSet<Place>) -> io::Result<()> {
        for place in changed {
            match self.sync(place) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Does one piece of steering; when this returns, it is durable.
    pub fn durably<T>(
        &self,
        steer: impl FnOnce(&mut BTreeSet<Place>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut changed = BTreeSet::new();
        let steered = steer(&mut changed)?;
        self.sync_all(&changed)?;
        Ok(steered)
    }

    /// Holds a waiting job: its file goes to `held/`, from which nothing is started, durably.
    ///
    /// The queue is written into the file once it is there: in its queue, the daemon may be rewriting it for a start,
    /// and somebody may drop a newer one. A crash in between leaves a job that is held and goes to the default queue.
    pub fn hold(&self, id: &JobId) -> io::Result<Steered> {
        let mut changed = BTreeSet::new();
        let steered = self.act_on(id, |at| {
            let queue = match at {
                Where::Held => {
                    // The move that brought it there may not be durable.
                    changed.insert(Place::Held);
                    return Ok(Some(Steered::Done(State::Held)));
                }
                Where::Pending(queue) => queue,
                Where::Active | Where::Complete | Where::Failed => {
                    return Ok(Some(Steered::Wrong(at.state())));
                }
            };
            if !self.move_file(id, &at.place(), &Place::Held, &mut changed)? {
                return Ok(None);
            }
            if let Err(e) = self.say_queue(id, queue) {
                // Nobody would know where it came from.
                self.move_file(id, &Place::Held, &at.place(), &mut changed)?;
                return Err(e);
            }
            Ok(Some(Steered::Done(at.state())))
        })?;
        self.sync_all(&changed)?;
        Ok(steered)
    }

    /// Writes the queue that a held job waited in into its file, which may say nothing of it (a shell line) or name
    /// another (it was moved by hand).
    fn say_queue(&self, id: &JobId, queue: &QueueName) -> io::Result<()> {
        if queue.is_default() || queue.as_str() == OLD_HELD {
            return Ok(());
        }
        while let Some((look, mut record)) = self.read_record(id, &Place::Held, Ask::Writing)? {
            if record.queue.as_ref() == Some(queue) {
                break;
            }
            record.queue = Some(queue.clone());
            match self.rewrite(&Place::Held, id, stamp(&look), &record)? {
                Rewritten::Done(_) | Rewritten::Gone => break,
                Rewritten::Changed => {}
            }
        }
        Ok(())
    }

    /// Lets a held job go: back to the queue that its record names. Another one is left where it is.
    pub fn release(&self, id: &JobId) -> io::Result<Steered> {
        let old = QueueName::new(OLD_HELD).map_err(io::Error::other)?;
        self.act_on(id, |at| {
            // Another job of its name may be found first.
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
            let moved = self.move_durably(id, &from, &to)?;
            Ok(moved.then_some(Steered::Done(State::Held)))
        })
    }

    /// Moves the jobs that an older version held to `held/`, durably, and removes the queue that they waited in. Gives
    /// how many they were.
    pub fn take_over_held(&self) -> io::Result<usize> {
        let old = QueueName::new(OLD_HELD).map_err(io::Error::other)?;
        let ids = self.ids(&Where::Pending(old.clone()))?;
        let from = Place::of_queue(&old);
        let mut moved = 0;
        self.durably(|changed| {
            for id in &ids {
                match self.move_file(id, &from, &Place::Held, changed) {
                    Ok(was_there) => moved += usize::from(was_there),
                    // One of its name is held already: neither is to be lost, and this one is not started either.
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
            // The daemon says what is wrong with it, once it waits.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// False if the job was not there any more.
    fn move_durably(&self, id: &JobId, from: &Place, to: &Place) -> io::Result<bool> {
        self.durably(|changed| self.move_file(id, from, to, changed))
    }

    fn move_file(
        &self,
        id: &JobId,
        from: &Place,
        to: &Place,
        changed: &mut BTreeSet<Place>,
    ) -> io::Result<bool> {
        let name = id.as_str().as_bytes();
        loop {
            match self.fs.rename(from, name, to, name, How::NoReplace) {
                Ok(()) => {
                    changed.extend([from.clone(), to.clone()]);
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e)
                    if e.kind() == io::ErrorKind::AlreadyExists
                        && matches!(to, Place::Failed | Place::Complete) =>
                {
                    self.archive(id, to)?;
                }
                Err(e) => return Err(e),
            }
        }
    }
}
