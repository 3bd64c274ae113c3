//! Steering as the doors do it: the same renames that a user would make by hand.

use super::view::MAX_RECORD_BYTES;
use super::{Ask, Fs, Place, Spool, Taken, Where};
use crate::core::config::{Config, MinFree};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Reason, Record, State};
use crate::os::clock;
use crate::os::dir::{self, How};
use crate::spool::{RealFs, Reserve};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steered {
    /// Done, or under way.
    Done,
    /// There is no such job.
    Missing,
    /// The job's state does not allow it.
    Wrong(State),
}

/// The queue of jobs that are held.
pub const HELD: &str = "held";

fn held_queue() -> io::Result<QueueName> {
    QueueName::new(HELD).map_err(io::Error::other)
}

impl<F: Fs> Spool<F> {
    /// Cancels a job, for good: its file is moved to `failed/`, durably. The record of a waiting one gets its end
    /// there; a running one is ended by the daemon, which then writes its record.
    pub fn cancel(&self, id: &JobId) -> io::Result<Steered> {
        let mut changed = BTreeSet::new();
        for _ in 0..5 {
            match self.find(id)? {
                None => return Ok(Steered::Missing),
                Some(Where::Complete) => return Ok(Steered::Wrong(State::Complete)),
                Some(Where::Failed) => return Ok(Steered::Wrong(State::Failed)),
                Some(Where::Active) => {
                    if self.move_file(id, &Place::Active, &Place::Failed, &mut changed)? {
                        self.sync_all(&changed)?;
                        return Ok(Steered::Done);
                    }
                }
                Some(at @ Where::Pending(_)) => {
                    // What cannot be read is an error before it has been moved.
                    if let Some(waiting) = self.load(id, &at)?
                        && self.move_file(id, &at.place(), &Place::Failed, &mut changed)?
                    {
                        self.end_cancelled(id, &at, waiting.is_over())?;
                        self.sync_all(&changed)?;
                        return Ok(Steered::Done);
                    }
                }
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{id} keeps changing its state; try again"),
        ))
    }

    /// Writes its end into a file that waited as `was` and has just been moved to `failed/`. The end is not written
    /// before the move: see [`Self::fail_waiting`], whose way through `active/` is the daemon's alone. `was_over` is true
    /// for one that carried the end of an earlier run while it waited.
    fn end_cancelled(&self, id: &JobId, was: &Where, was_over: bool) -> io::Result<()> {
        let Some(mut record) = self.load(id, &Where::Failed)? else {
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
        self.complete_by_hand(id, &Place::Failed, &record).map(drop)
    }

    /// Runs a finished job again: its file goes back to its queue. `changed` gets the directories that are to be
    /// synced ([`Self::sync_all`]) before anybody is told: once for many jobs.
    pub fn retry(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        let from = match self.find(id)? {
            None => return Ok(Steered::Missing),
            Some(Where::Complete) => Where::Complete,
            Some(Where::Failed) => Where::Failed,
            Some(at @ (Where::Active | Where::Pending(_))) => {
                return Ok(Steered::Wrong(at.state()));
            }
        };
        let queue = self
            .load(id, &from)?
            .and_then(|record| record.queue)
            .unwrap_or_default();
        if !queue.is_default() {
            self.fs.make_queue(&queue)?;
            self.sync(&Place::Pending)?;
        }
        match self.move_file(id, &from.place(), &Place::of_queue(&queue), changed)? {
            true => Ok(Steered::Done),
            false => Ok(Steered::Missing),
        }
    }

    /// Withdraws a waiting job or forgets a finished one, with its log. `changed` is as for [`Self::retry`].
    pub fn forget(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        match self.find(id)? {
            None => Ok(Steered::Missing),
            Some(Where::Active) => Ok(Steered::Wrong(State::Active)),
            Some(at @ (Where::Pending(_) | Where::Complete | Where::Failed)) => {
                self.remove_finished(id, &at.place())?;
                changed.insert(at.place());
                Ok(Steered::Done)
            }
        }
    }

    /// Ends a running job and forgets it: as `rm active/ID` does. `changed` is as for [`Self::retry`].
    pub fn kill_and_forget(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<()> {
        changed.insert(Place::Active);
        self.fs.unlink(&Place::Active, id.as_str().as_bytes())
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

    /// Holds a waiting job: its file goes to the queue [`HELD`], from which nothing is started while that is paused.
    pub fn hold(&self, id: &JobId) -> io::Result<Steered> {
        let held = held_queue()?;
        match self.find(id)? {
            None => Ok(Steered::Missing),
            Some(Where::Pending(queue)) if queue == held => Ok(Steered::Done),
            Some(Where::Pending(queue)) => match self.say_queue(id, &queue)? {
                true => self.move_queue(id, &queue, &held),
                false => Ok(Steered::Missing),
            },
            Some(at @ (Where::Active | Where::Complete | Where::Failed)) => {
                Ok(Steered::Wrong(at.state()))
            }
        }
    }

    /// Writes the queue that a job waits in into its file, which may say nothing of it (a shell line) or name another
    /// (it was moved by hand): else nobody would know where it came from. False if it is gone.
    fn say_queue(&self, id: &JobId, queue: &QueueName) -> io::Result<bool> {
        if queue.is_default() || self.queue_named(id, queue)?.as_ref() == Some(queue) {
            return Ok(true);
        }
        let at = Where::Pending(queue.clone());
        match self.load(id, &at)? {
            Some(record) => self.replace(&at.place(), id, &record),
            None => Ok(false),
        }
    }

    /// Lets a held job go: back to the queue that its record names. Another one is left where it is.
    pub fn release(&self, id: &JobId) -> io::Result<Steered> {
        let held = held_queue()?;
        match self.find(id)? {
            None => Ok(Steered::Missing),
            Some(Where::Pending(queue)) if queue == held => {
                let to = self.queue_named(id, &held)?;
                let to = to.filter(|to| *to != held).unwrap_or_default();
                self.move_queue(id, &held, &to)
            }
            Some(Where::Pending(_)) => Ok(Steered::Done),
            Some(at @ (Where::Active | Where::Complete | Where::Failed)) => {
                Ok(Steered::Wrong(at.state()))
            }
        }
    }

    /// The queue that a waiting job's file names, which may not be the one that it waits in.
    pub fn queue_named(&self, id: &JobId, at: &QueueName) -> io::Result<Option<QueueName>> {
        let place = Place::of_queue(at);
        let name = id.as_str().as_bytes();
        match self.fs.take(&place, name, MAX_RECORD_BYTES, Ask::Nothing)? {
            Taken::File { bytes, .. } => Ok(Record::from_bytes(&bytes).ok().and_then(|r| r.queue)),
            Taken::Missing | Taken::Strange(_) | Taken::TooLarge(_) => Ok(None),
        }
    }

    fn move_queue(&self, id: &JobId, from: &QueueName, to: &QueueName) -> io::Result<Steered> {
        if !to.is_default() {
            self.fs.make_queue(to)?;
            self.sync(&Place::Pending)?;
        }
        let (from, to) = (Place::of_queue(from), Place::of_queue(to));
        match self.durably(|changed| self.move_file(id, &from, &to, changed))? {
            true => Ok(Steered::Done),
            false => Ok(Steered::Missing),
        }
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

/// Why nothing new should be accepted or started, if the disk is nearly full. `served`: a daemon has the spool, which
/// keeps room aside.
pub fn shortage(spool: &Spool<RealFs>, config: &Config, served: bool) -> Option<String> {
    let space = spool
        .fs()
        .with(&Place::Root, |fd| dir::free_space(fd.as_fd()))
        .ok()?;
    let (bytes, inodes) = match config.min_free {
        MinFree::Bytes(bytes) => (bytes, 0),
        MinFree::Percent(share) => {
            let of = |total: u64| (total as f64 * share / 100.0) as u64;
            (of(space.total_bytes), of(space.total_inodes))
        }
    };
    // The room that is kept aside for records is not for new work, nor is what it was given up for.
    let reserved = !served || spool.fs().look(&Place::Tmp, Reserve::MARK).ok()?.is_some();
    let (kept_bytes, kept_inodes) = if reserved {
        (0, 0)
    } else {
        (Reserve::BYTES, Reserve::INODES)
    };
    let (bytes, inodes) = (bytes + kept_bytes, inodes.max(8) + kept_inodes);
    if space.free_bytes < bytes {
        return Some(format!(
            "{} bytes are free on the spool's file system, min_free is {bytes}",
            space.free_bytes
        ));
    }
    // Some file systems make inodes as they need them and report none.
    if space.total_inodes > 0 && space.free_inodes < inodes {
        return Some(format!(
            "{} inodes are free on the spool's file system, at least {} are wanted",
            space.free_inodes, inodes
        ));
    }
    None
}
