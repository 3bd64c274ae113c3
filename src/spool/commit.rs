//! Writing the record of a try, its note or its end, and moving the job's file to its place.
//!
//! The order for an end: stage and sync the record; exchange it with the file in `active/`, which fails when a user
//! has taken that file away; sync `active/`, so that the end is on the disk; then rename the file to where users see
//! the end. That rename is not synced. After a power cut the record is in one of the two places, and
//! a record with an end in `active/` can only mean that the rename was to follow ([`Spool::move_on`]).
//!
//! This holds for `active/` only. An end in `pending/` asks for another run (`mv failed/7 pending/`). A job that
//! ends while it waits therefore goes through `active/` too: if its end were synced in `pending/` and the file then
//! renamed to `failed/`, a power cut could undo the rename, and a job that people have seen as failed would run.

use super::claim::is_stale;
use super::follow_up::RunMark;
use super::rewrite::IfSame;
use super::{Fs, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Reason, Record, State};
use crate::core::scheduler::Stamp;
use crate::os::dir::How;
use crate::os::fault::Fault;
use crate::os::ownership::Ownership;
use std::io;

/// Where the file of a job goes when a try has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `complete/`.
    Complete,
    /// `failed/`.
    Failed,
    /// Back to `pending/`, into this queue.
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

    /// Where a job goes whose record carries this end.
    pub(super) fn of_end(record: &Record) -> Self {
        let is_well = match record.reason {
            Some(Reason::Exited) => record.exit_code == Some(0),
            Some(Reason::Skipped) => true,
            Some(
                Reason::Signaled
                | Reason::Timeout
                | Reason::Cancelled
                | Reason::Expired
                | Reason::NotStarted
                | Reason::Interrupted
                | Reason::Dependency
                | Reason::LogLimit,
            )
            | None => false,
        };
        match is_well {
            true => Self::Complete,
            false => Self::Failed,
        }
    }

    /// The state of the job there, unless it is to be tried again.
    pub(super) fn end(&self) -> Option<State> {
        match self {
            Self::Complete => Some(State::Complete),
            Self::Failed => Some(State::Failed),
            Self::Pending(_) => None,
        }
    }
}

/// Where the file of a job went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// To its target.
    There,
    /// Nowhere: its target is `pending/`, and a newer job of its name waits there.
    Superseded,
    /// A user has moved or removed it. The record followed it, if it is in `failed/` or `complete/`.
    UserMoved,
}

/// The error of a sync that several jobs share.
fn same_error(e: &io::Error) -> io::Error {
    let code = e.raw_os_error();
    code.map_or_else(|| e.kind().into(), io::Error::from_raw_os_error)
}

/// The end of a job's try, to be recorded.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The job.
    pub id: &'a JobId,
    /// It carries the end, or is ready for the next try.
    pub record: &'a Record,
    /// Where the file goes.
    pub target: &'a Target,
}

impl<F: Fs> Spool<F> {
    /// Replaces a running job's file by its record: the note. True if the file was still there.
    pub fn note(&self, id: &JobId, record: &Record) -> io::Result<bool> {
        let done = self.replace(&Place::Active, id, record)?;
        if done {
            self.sync_active()?;
        }
        Ok(done)
    }

    /// Writes a note also where a user has put the file of a job that is being ended. Only for a job whose end is not
    /// recorded: the note would replace it.
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

    /// Records the end of a job's try and moves its file from `active/` to `target`. The record carries the end, or
    /// is ready for the next try.
    ///
    /// `announce` is called when the record is on the disk and before it is visible, with the inode that it has. By
    /// the inode the caller can tell it from a file that a user drops under the same name.
    pub fn finish(
        &self,
        id: &JobId,
        record: &Record,
        target: &Target,
        announce: impl FnOnce(u64),
    ) -> io::Result<Placed> {
        let is_there = self.note(id, record)?;
        self.show_end(&Ending { id, record, target }, is_there, announce)
    }

    /// Does for several jobs what [`Self::finish`] does for one. They share syncs: all records are on the disk before
    /// the first is visible. `announce` gets the number of the job as well.
    pub fn finish_all(
        &self,
        endings: &[Ending<'_>],
        announce: impl Fn(usize, u64),
    ) -> Vec<io::Result<Placed>> {
        let records: Vec<(&JobId, &Record)> = endings.iter().map(|e| (e.id, e.record)).collect();
        let exchanged = self.replace_all(&Place::Active, &records);
        let synced = match exchanged.iter().any(|done| matches!(done, Ok(true))) {
            true => self.sync_active(),
            false => Ok(()),
        };
        let show = |(n, (exchanged, ending)): (usize, (io::Result<bool>, &Ending<'_>))| {
            let is_there = exchanged?;
            if let (true, Err(e)) = (is_there, &synced) {
                return Err(same_error(e));
            }
            self.show_end(ending, is_there, |inode| announce(n, inode))
        };
        let all = exchanged.into_iter().zip(endings);
        all.enumerate().map(show).collect()
    }

    /// Moves the file whose end is on the disk to its target. `is_there`: it was in `active/` still.
    fn show_end(
        &self,
        ending: &Ending<'_>,
        is_there: bool,
        announce: impl FnOnce(u64),
    ) -> io::Result<Placed> {
        let &Ending { id, record, target } = ending;
        if !is_there {
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

    /// Moves a file in `active/` whose record is complete.
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
                    // Somebody has removed the directory.
                    if std::mem::replace(&mut renewed, true) {
                        return Err(e);
                    }
                    self.fs.renew(&target.place())?;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Records the end of a job that never ran, which `end` writes into its record, and moves it from its queue to
    /// `failed/` or `complete/` through `active/` (see above). A file that is not the one seen as `expected` stays. Only the daemon may
    /// do this: it takes a file that another process puts into `active/` for a mistake.
    ///
    /// As in a claim, the file is moved first and then looked at: an exchange in `pending/` could take a newer file,
    /// which somebody drops meanwhile, into `tmp/`.
    pub fn end_unrun(
        &self,
        id: &JobId,
        queue: &QueueName,
        expected: Stamp,
        end: impl FnOnce(&mut Record),
    ) -> io::Result<Placed> {
        let mut record = match self.load(id, &Where::Pending(queue.clone())) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Placed::UserMoved),
            // It is not the file that was seen, for that one was a job.
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(Placed::UserMoved),
            Err(e) => return Err(e),
        };
        let stale = is_stale(&record);
        record.renew();
        match self.bring(id, queue, expected, stale.then_some(&record))? {
            IfSame::Done(()) => {}
            IfSame::Gone | IfSame::Changed => return Ok(Placed::UserMoved),
        }
        end(&mut record);
        self.finish(id, &record, &Target::of_end(&record), |_| {})
    }

    /// Exchanges the file of this name for the record. False if there is none.
    pub(super) fn replace(&self, place: &Place, id: &JobId, record: &Record) -> io::Result<bool> {
        let ownership = self.ownership(place, id);
        let staged = self.stage_like(id.as_str(), record.to_json().as_bytes(), ownership)?;
        self.exchange(place, id, &staged, ownership)
    }

    /// Does for several jobs what [`Self::replace`] does for one. They share syncs.
    pub(super) fn replace_all(
        &self,
        place: &Place,
        records: &[(&JobId, &Record)],
    ) -> Vec<io::Result<bool>> {
        let json: Vec<String> = records.iter().map(|(_, r)| r.to_json()).collect();
        let texts: Vec<(&str, &[u8], Option<Ownership>)> = records
            .iter()
            .zip(&json)
            .map(|((id, _), json)| (id.as_str(), json.as_bytes(), self.ownership(place, id)))
            .collect();
        let all = self.stage_all(&texts).into_iter().zip(records).zip(&texts);
        all.map(|((staged, (id, _)), text)| self.exchange(place, id, &staged?, text.2))
            .collect()
    }

    /// Exchanges the file of this name for a staged one, which was made for this ownership. False if there is none.
    fn exchange(
        &self,
        place: &Place,
        id: &JobId,
        staged: &[u8],
        ownership: Option<Ownership>,
    ) -> io::Result<bool> {
        let name = id.as_str().as_bytes();
        let how = if Fault::NoExchange.is_on() {
            How::Replace
        } else {
            How::Exchange
        };
        let exchanged = self.fs.rename(&Place::Tmp, staged, place, name, how);
        if exchanged.is_ok()
            && let Some(old) = self.fs.look(&Place::Tmp, staged)?
        {
            self.keep_ownership(place, name, ownership, &old);
        }
        self.fs.unlink(&Place::Tmp, staged)?;
        match exchanged {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}
