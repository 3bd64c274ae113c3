//! Swapping the file of a waiting or held job for a record.

use super::ticket::stamp;
use super::view::MAX_RECORD_BYTES;
use super::{Ask, Fs, Place, STAGED_CHARS, Spool, Taken, Where};
use crate::core::id::JobId;
use crate::core::record::Record;
use crate::core::scheduler::Stamp;
use crate::os::dir::How;
use std::io;

/// The outcome of swapping a waiting job's file for a record.
pub(super) enum Rewritten {
    /// The record is there, as a file with this stamp.
    Done(Stamp),
    /// The file was gone.
    Gone,
    /// It is another one now, which has its place.
    Changed,
}

/// How the names of staging files begin that are exchanged with a file nobody has claimed yet.
const SWAP: &str = "swap.";

/// The job that a file staged for [`Spool::rewrite`] is of. `None` for an id that is too long for the name of one.
fn swapped_job(staged: &[u8]) -> Option<JobId> {
    let mut parts = staged.strip_prefix(b".")?.rsplitn(3, |byte| *byte == b'.');
    let name = str::from_utf8(parts.nth(2)?).ok()?;
    let is_whole = name.chars().count() < STAGED_CHARS;
    is_whole.then(|| JobId::new(name.strip_prefix(SWAP)?).ok())?
}

impl<F: Fs> Spool<F> {
    /// Swaps the file of a waiting job, that is to be the one seen as `expected`, for this record.
    pub(super) fn rewrite(
        &self,
        place: &Place,
        id: &JobId,
        expected: Stamp,
        record: &Record,
    ) -> io::Result<Rewritten> {
        let name = id.as_str().as_bytes();
        let staged = self.stage(&format!("{SWAP}{id}"), record.to_json().as_bytes())?;
        let seen =
            |name: &[u8]| Ok::<_, io::Error>(self.fs.look(&Place::Tmp, name)?.map(|l| stamp(&l)));
        // Once it is in place, another file may have its name.
        let ours = seen(&staged)?.ok_or(io::ErrorKind::NotFound)?;
        match self
            .fs
            .rename(&Place::Tmp, &staged, place, name, How::Exchange)
        {
            Ok(()) => {}
            Err(e) => {
                self.fs.unlink(&Place::Tmp, &staged)?;
                return match e.kind() {
                    io::ErrorKind::NotFound => Ok(Rewritten::Gone),
                    _ => Err(e),
                };
            }
        }
        if seen(&staged)? != Some(expected) {
            self.give_back(&staged, place, name, ours.inode)?;
            return Ok(Rewritten::Changed);
        }
        self.fs.unlink(&Place::Tmp, &staged)?;
        Ok(Rewritten::Done(ours))
    }

    /// Gives a newer file, which an exchange took into `tmp/`, its place back. `older` is the inode that has it
    /// now. A plain rename would replace a still newer file that was dropped meanwhile: it is exchanged, and
    /// once more if that was another one than `older`.
    fn give_back(&self, staged: &[u8], place: &Place, name: &[u8], older: u64) -> io::Result<()> {
        let mut older = Some(older);
        loop {
            let newer = self.fs.look(&Place::Tmp, staged)?.map(|look| look.inode);
            match self
                .fs
                .rename(&Place::Tmp, staged, place, name, How::Exchange)
            {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    // The older one was taken away: the newer one waits now, unless it is replaced already.
                    return match self.rename_back(&Place::Tmp, staged, place, name) {
                        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                            self.fs.unlink(&Place::Tmp, staged).map(drop)
                        }
                        put => put,
                    };
                }
                Err(e) => return Err(e),
            }
            let displaced = self.fs.look(&Place::Tmp, staged)?.map(|look| look.inode);
            if displaced == older {
                return self.fs.unlink(&Place::Tmp, staged).map(drop);
            }
            older = newer;
        }
    }

    /// Removes a staging file whose writer is gone. A claim or a hold that was cut off may leave a newer drop, which it
    /// displaced and could not give its place back: such a file is kept in `bad/`, unless the job of its name waits
    /// and asks for the same.
    pub fn discard_staged(&self, name: &[u8]) -> io::Result<()> {
        let is_swapped = name
            .strip_prefix(b".")
            .is_some_and(|n| n.starts_with(SWAP.as_bytes()));
        if is_swapped && !self.is_waiting_alike(name)? {
            let reason =
                "in the way of a start that was cut off; if it is not elsewhere, drop it again";
            return self.quarantine(&Place::Tmp, name, reason).map(drop);
        }
        self.fs.unlink(&Place::Tmp, name).map(drop)
    }

    /// True if the job that this staging file was swapped for waits, and asks for the same.
    fn is_waiting_alike(&self, staged: &[u8]) -> io::Result<bool> {
        let Some(id) = swapped_job(staged) else {
            return Ok(false);
        };
        let place = match self.find(&id)? {
            Some(at @ (Where::Pending(_) | Where::Held)) => at.place(),
            Some(Where::Active | Where::Complete | Where::Failed) | None => return Ok(false),
        };
        let displaced = self.asked_for(&Place::Tmp, staged)?;
        Ok(displaced.is_some() && displaced == self.asked_for(&place, id.as_str().as_bytes())?)
    }

    /// The part of a job's file that a claim or a hold leaves as it is. `None` if it is no job.
    fn asked_for(&self, place: &Place, name: &[u8]) -> io::Result<Option<String>> {
        let bytes = match self.fs.take(place, name, MAX_RECORD_BYTES, Ask::Nothing)? {
            Taken::File { bytes, .. } => bytes,
            Taken::Missing | Taken::Strange(_) | Taken::TooLarge(_) => return Ok(None),
        };
        Ok(Record::from_bytes(&bytes).ok().map(|mut record| {
            record.renew();
            (record.id, record.queue, record.created_at) = (None, None, None);
            record.to_json()
        }))
    }
}
