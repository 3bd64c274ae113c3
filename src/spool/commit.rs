//! Writing down what came of a job, and moving its file to where it belongs.
//!
//! The order: stage and sync the record; exchange it with the file that is there, which fails when a user has
//! taken that file away; sync the directory, so that the end is on the disk; only then the rename that shows it.
//! That rename is not synced: whatever is left of it, the record is in one of the two places, and one with an end
//! in `active/` can only mean that it was to be shown ([`Spool::move_on`]).
//!
//! `active/` is the only place where that holds. An end in `pending/` asks for another run (`mv failed/7 pending/`),
//! so that a job which is failed while it waits goes through `active/` too: were its end synced in `pending/` and
//! then shown by a rename to `failed/`, a power cut would undo the rename and run what people have seen as failed.
//!
//! Where a *user* has put a file into `failed/` or `complete/`, its end can only be written into it there. First the
//! directory is synced: the user's rename is not, and may be lost, together with an end that had been seen. Then
//! the exchange, and a second sync before anybody is told. A cut between these two may take the end away
//! again, never the place; so much is not in our hands once the file is where it is to be shown.

use super::claim::{Brought, is_stale};
use super::follow_up::RunMark;
use super::{Fs, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, State};
use crate::core::scheduler::Stamp;
use crate::os::dir::{How, Look};
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

    /// The state that is the end of a job, if it is.
    pub(super) fn end(&self) -> Option<State> {
        match self {
            Self::Complete => Some(State::Complete),
            Self::Failed => Some(State::Failed),
            Self::Pending(_) => None,
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

    /// As [`Self::note`], but also where a user has put the file of a job that is being ended. For a job whose end is
    /// not recorded only: it would be overwritten there.
    pub fn note_anywhere(&self, id: &JobId, record: &Record) -> io::Result<()> {
        for place in [Place::Active, Place::Failed, Place::Complete] {
            if self.fs.look(&place, id.as_str().as_bytes())?.is_some()
                && self.replace(&place, id, record)?
            {
                return self.sync(&place);
            }
        }
        Ok(())
    }

    /// Records the end of a job that is in `active/` and moves its file. The record must carry its end, or be
    /// ready for the next try.
    ///
    /// `announce` is called when the record is safe and before it is shown, with its inode: by that it can be told
    /// from a file that a user drops under the same name.
    pub fn finish(
        &self,
        id: &JobId,
        record: &Record,
        target: &Target,
        announce: impl FnOnce(u64),
    ) -> io::Result<Placed> {
        if !self.note(id, record)? {
            self.follow(id, record)?;
            return Ok(Placed::UserMoved);
        }
        if let Some(state) = target.end() {
            self.follow_up(id, record, state, RunMark::Ended)?;
        }
        if let Some(look) = self.fs.look(&Place::Active, id.as_str().as_bytes())? {
            announce(look.inode);
        }
        self.place(id, target)
    }

    /// Moves a file in `active/` that says all there is to say.
    pub fn place(&self, id: &JobId, target: &Target) -> io::Result<Placed> {
        let name = id.as_str().as_bytes();
        let mut renewed = false;
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
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    if self.fs.look(&Place::Active, name)?.is_none() {
                        return Ok(Placed::UserMoved);
                    }
                    // The directory it is to go to was removed under us.
                    if std::mem::replace(&mut renewed, true) {
                        return Err(e);
                    }
                    self.fs.renew(&target.place())?;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Records the end of a job that never ran, and moves it from its queue to `failed/`, by way of `active/` (see
    /// above). A file that is not the one seen as `expected` is left alone. For the daemon only, which knows of
    /// the job: it would take a file that somebody else puts into `active/` for a mistake.
    ///
    /// As in a claim, what is there is moved first and looked at then: an exchange in `pending/` would take a newer
    /// file that somebody drops meanwhile into `tmp/`.
    pub fn fail_waiting(
        &self,
        id: &JobId,
        queue: &QueueName,
        expected: Stamp,
        record: &Record,
    ) -> io::Result<Placed> {
        let at = Where::Pending(queue.clone());
        let mut found = match self.load(id, &at) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Placed::UserMoved),
            // Not what was seen: that was a job.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(Placed::UserMoved),
            Err(e) => return Err(e),
        };
        let stale = is_stale(&found);
        found.renew();
        match self.bring(id, queue, expected, stale.then_some(&found))? {
            Brought::Active => {}
            Brought::Gone | Brought::Changed => return Ok(Placed::UserMoved),
        }
        self.finish(id, record, &Target::Failed, |_| {})
    }

    /// Gives a record that a user put into `failed/` or `complete/` its end, and makes both durable. `put` is the file,
    /// looked at before it was seen that it has no end. False if it is not there any more.
    pub fn complete_by_hand(
        &self,
        id: &JobId,
        place: &Place,
        put: &Look,
        record: &Record,
    ) -> io::Result<bool> {
        let state = if *place == Place::Complete {
            State::Complete
        } else {
            State::Failed
        };
        self.follow_up(id, record, state, RunMark::Put(put))?;
        self.sync(place)?;
        let done = self.replace(place, id, record)?;
        if done {
            self.sync(place)?;
        }
        Ok(done)
    }

    /// Swaps the file of this name for the record, if there still is one. False if not.
    pub(super) fn replace(&self, place: &Place, id: &JobId, record: &Record) -> io::Result<bool> {
        let staged = self.stage(id.as_str(), record.to_json().as_bytes())?;
        let name = id.as_str().as_bytes();
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
                if let Some(put) = self.fs.look(&place, id.as_str().as_bytes())?
                    && self.complete_by_hand(id, &place, &put, record)?
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
