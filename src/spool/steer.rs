//! Cancelling, retrying and forgetting jobs, by the renames that a user would make by hand.

use super::{Ask, Fs, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::State;
use crate::os::dir::How;
use std::collections::BTreeSet;
use std::io;

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// Done, or under way. The job was in this state.
    Done(State),
    /// There is no such job.
    Missing,
    /// The job's state does not allow it.
    Wrong(State),
}

/// A cancelled job that waited. Its file is in `failed/`, and its end is still to be written.
#[derive(Debug)]
pub struct CancelledWaiting {
    /// The job.
    pub id: JobId,
    /// Its place while it waited.
    pub(super) was: Where,
    /// Its file carried the end of an earlier run while it waited.
    pub(super) was_over: bool,
}

/// The states of jobs that do not run.
pub const NOT_RUNNING: [State; 4] = [State::Pending, State::Held, State::Complete, State::Failed];

/// How often a job is looked for that changes its place each time.
const ROUNDS: usize = 100;

/// The queue in which older versions kept held jobs. No queue can have this name, and nothing is started from its
/// directory.
pub const OLD_HELD: &str = "held";

impl<F: Fs> Spool<F> {
    /// Finds a job and calls `act` with its place. `act` returns nothing if the job has left that place meanwhile:
    /// then it is looked for again.
    pub(super) fn act_on(
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

    /// The same for what can be done to a waiting job only: if the job runs, one of its name that waits behind it is
    /// meant.
    pub(super) fn act_on_waiting(
        &self,
        id: &JobId,
        mut act: impl FnMut(&Where) -> io::Result<Option<Steered>>,
    ) -> io::Result<Steered> {
        self.act_on(id, |at| match at {
            Where::Active => match self.find_waiting(&mut None, id)? {
                Some(at) => act(&at),
                None => Ok(Some(Steered::Wrong(State::Active))),
            },
            Where::Pending(_) | Where::Held | Where::Complete | Where::Failed => act(at),
        })
    }

    /// Cancels a job, durably: moves its file to `failed/`. If it waited, its end is written there. If it runs, the
    /// daemon ends it and writes its record.
    pub fn cancel(&self, id: &JobId) -> io::Result<Steered> {
        let mut cancelled = Vec::new();
        let steered = self.durably(|changed| self.move_cancelled(id, changed, &mut cancelled))?;
        self.end_cancelled(&cancelled)?;
        Ok(steered)
    }

    /// The first part of [`Self::cancel`]: moves the job's file. If it waited, it is added to `cancelled`, and the
    /// caller does the second part, [`Self::end_cancelled`], once `changed` is synced.
    pub fn move_cancelled(
        &self,
        id: &JobId,
        changed: &mut BTreeSet<Place>,
        cancelled: &mut Vec<CancelledWaiting>,
    ) -> io::Result<Steered> {
        self.act_on(id, |at| {
            let was_over = match at {
                Where::Complete | Where::Failed => return Ok(Some(Steered::Wrong(at.state()))),
                Where::Active => None,
                Where::Pending(_) | Where::Held => match self.load(id, at)? {
                    // A record that cannot be read is an error, and stays where it is.
                    Some(waiting) => Some(waiting.is_over()),
                    None => return Ok(None),
                },
            };
            if was_over.is_some() {
                // A job that runs may have been put there: its end would be written over this one, in failed/.
                self.refuse_unended(id, &Place::Complete)?;
            }
            if !self.move_file(id, &at.place(), &Place::Failed, changed)? {
                return Ok(None);
            }
            cancelled.extend(was_over.map(|was_over| CancelledWaiting {
                id: id.clone(),
                was: at.clone(),
                was_over,
            }));
            Ok(Some(Steered::Done(at.state())))
        })
    }

    /// Runs a finished job again: moves its file to its queue. Adds the directories to `changed` that the caller must
    /// sync with [`Self::sync_all`] before it answers, once for many jobs.
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

    /// The directory of this queue, which is made if it is missing.
    pub(super) fn waiting_place(&self, queue: QueueName) -> io::Result<Place> {
        if queue.is_default() || queue.as_str() == OLD_HELD {
            return Ok(Place::Pending);
        }
        if self.fs.make_queue(&queue)? {
            self.sync(&Place::Pending)?;
        }
        Ok(Place::of_queue(&queue))
    }

    /// Removes a job and all that belongs to it, if it is in one of these states; one that runs is ended, as by
    /// `rm active/ID`. `changed` is that of [`Self::retry`].
    pub fn forget(
        &self,
        id: &JobId,
        states: &[State],
        changed: &mut BTreeSet<Place>,
    ) -> io::Result<Steered> {
        self.act_on(id, |at| {
            let state = at.state();
            if !states.contains(&state) {
                return Ok(Some(Steered::Wrong(state)));
            }
            let removed = match at {
                // The daemon ends it, and then removes what belongs to it.
                Where::Active => self.fs.unlink(&Place::Active, id.as_str().as_bytes())?,
                Where::Pending(_) | Where::Held | Where::Complete | Where::Failed => {
                    self.remove_finished(id, &at.place())?
                }
            };
            Ok(removed.then(|| {
                changed.insert(at.place());
                Steered::Done(state)
            }))
        })
    }

    /// Makes the names in all these directories durable. A directory that is gone needs no sync.
    pub fn sync_all(&self, changed: &BTreeSet<Place>) -> io::Result<()> {
        for place in changed {
            match self.sync(place) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Does one piece of steering, durably.
    pub fn durably<T, E: From<io::Error>>(
        &self,
        steer: impl FnOnce(&mut BTreeSet<Place>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut changed = BTreeSet::new();
        let steered = steer(&mut changed)?;
        self.sync_all(&changed)?;
        Ok(steered)
    }

    /// True if a file is there that has just been put there: its end is yet to be written into it, and its log may
    /// still be that of a running job.
    fn is_unended(&self, id: &JobId, place: &Place) -> bool {
        let read = self.read_record(id, place, Ask::Nothing);
        matches!(read, Ok(Some((_, record))) if !record.is_over())
    }

    fn refuse_unended(&self, id: &JobId, place: &Place) -> io::Result<()> {
        if self.is_unended(id, place) {
            let what = "another job of this name was ended, and the daemon has not recorded that yet; try again";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        Ok(())
    }

    /// Moves a job's file. False if it was not there any more. An error if it would replace a record without an end.
    pub(super) fn move_file(
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
                    self.refuse_unended(id, to)?;
                    self.archive(id, to)?;
                }
                Err(e) => return Err(e),
            }
        }
    }
}
