//! Writing down what came of a job, and moving its file to where it belongs.
//!
//! The order: stage and sync the record; exchange it with the file that is there, which fails when a user has
//! taken that file away; sync the directory, so that the end is on the disk; only then the rename that shows it.

use super::{Fs, Place, Spool};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::scheduler::Stamp;
use crate::os::dir::How;
use crate::os::fault::Fault;
use std::io;

/// Where an ended job's file is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `complete/`.
    Complete,
    /// `failed/`.
    Failed,
    /// Back to `pending/`, in this queue.
    Pending(QueueName),
}

impl Target {
    fn place(&self) -> Place {
        match self {
            Self::Complete => Place::Complete,
            Self::Failed => Place::Failed,
            Self::Pending(queue) => Place::of_queue(queue),
        }
    }
}

/// Where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Where it was to go.
    There,
    /// It was to go to `pending/`, but a newer job of its name waits there.
    Superseded,
    /// A user has moved or removed it; the record went along if it could.
    UserMoved,
}

impl<F: Fs> Spool<F> {
    /// Replaces the text of a running job by its record: the note. True if the job's file was still there.
    pub fn note(&self, id: &JobId, record: &Record) -> io::Result<bool> {
        let done = self.replace(&Place::Active, id, record)?;
        if done {
            self.sync_active()?;
        }
        Ok(done)
    }

    /// Records the end of a job that is in `active/` and moves its file. The record must carry its end, or be
    /// ready for the next try.
    ///
    /// `announce` is told the inode of the record before it is shown, so that it can be told from a file that a
    /// user drops under the same name.
    pub fn finish(
        &self,
        id: &JobId,
        record: &Record,
        target: &Target,
        announce: impl Fn(u64),
    ) -> io::Result<Placed> {
        if !self.replace(&Place::Active, id, record)? {
            self.follow(id, record)?;
            return Ok(Placed::UserMoved);
        }
        self.sync_active()?;
        if matches!(target, Target::Pending(_)) {
            let look = self.fs.look(&Place::Active, id.as_str().as_bytes())?;
            look.iter().for_each(|look| announce(look.inode));
        }
        self.place(id, target)
    }

    /// Moves a file in `active/` that says all there is to say.
    pub fn place(&self, id: &JobId, target: &Target) -> io::Result<Placed> {
        let name = id.as_str().as_bytes();
        loop {
            match self
                .fs
                .rename(&Place::Active, name, &target.place(), name, How::NoReplace)
            {
                Ok(()) => return Ok(Placed::There),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match target {
                    Target::Complete | Target::Failed => self.archive(id, &target.place())?,
                    Target::Pending(_) => return Ok(Placed::Superseded),
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => match target {
                    Target::Pending(queue) if self.fs.look(&Place::Active, name)?.is_some() => {
                        // The queue's directory was removed while its job ran.
                        self.fs.make_queue(queue)?;
                    }
                    Target::Pending(_) | Target::Complete | Target::Failed => {
                        return Ok(Placed::UserMoved);
                    }
                },
                Err(e) => return Err(e),
            }
        }
    }

    /// Records the end of a job that never ran, and moves it from its queue to `failed/`. A file that is not the
    /// one seen as `expected` is left alone.
    pub fn fail_waiting(
        &self,
        id: &JobId,
        queue: &QueueName,
        expected: Stamp,
        record: &Record,
    ) -> io::Result<Placed> {
        let from = Place::of_queue(queue);
        let name = id.as_str().as_bytes();
        let staged = self.stage(id.as_str(), record.to_json().as_bytes())?;
        match self
            .fs
            .rename(&Place::Tmp, &staged, &from, name, How::Exchange)
        {
            Ok(()) => {}
            Err(e) => {
                self.fs.unlink(&Place::Tmp, &staged)?;
                return match e.kind() {
                    io::ErrorKind::NotFound => Ok(Placed::UserMoved),
                    _ => Err(e),
                };
            }
        }
        if self.fs.look(&Place::Tmp, &staged)?.map(|look| look.inode) != Some(expected.inode) {
            // Somebody dropped a newer file of that name: it gets its place back.
            self.fs
                .rename(&Place::Tmp, &staged, &from, name, How::Replace)?;
            return Ok(Placed::UserMoved);
        }
        self.fs.unlink(&Place::Tmp, &staged)?;
        self.sync(&from)?;
        loop {
            match self
                .fs
                .rename(&from, name, &Place::Failed, name, How::NoReplace)
            {
                Ok(()) => return Ok(Placed::There),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    self.archive(id, &Place::Failed)?
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Placed::UserMoved),
                Err(e) => return Err(e),
            }
        }
    }

    /// Gives a record that a user put into `failed/` or `complete/` its end.
    pub fn complete_by_hand(&self, id: &JobId, place: &Place, record: &Record) -> io::Result<bool> {
        self.replace(place, id, record)
    }

    /// Swaps the file of this name for the record, if there still is one. False if not.
    fn replace(&self, place: &Place, id: &JobId, record: &Record) -> io::Result<bool> {
        let name = id.as_str().as_bytes();
        let staged = self.stage(id.as_str(), record.to_json().as_bytes())?;
        let how = if Fault::NoExchange.is_on() {
            How::Replace
        } else {
            How::Exchange
        };
        let exchanged = self.fs.rename(&Place::Tmp, &staged, place, name, how);
        self.fs.unlink(&Place::Tmp, &staged)?;
        match exchanged {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The user moved the file of a running job: the record follows it to `failed/` or `complete/`.
    fn follow(&self, id: &JobId, record: &Record) -> io::Result<()> {
        if record.is_over() {
            for place in [Place::Failed, Place::Complete] {
                if self.replace(&place, id, record)? {
                    return self.sync(&place);
                }
            }
        }
        Ok(())
    }
}
