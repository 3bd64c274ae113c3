//! Swapping the file of a waiting or held job for a record.

use super::ticket::stamp;
use super::view::MAX_RECORD_BYTES;
use super::{Ask, Fs, Place, STAGED_CHARS, Spool, Taken, Where};
use crate::core::id::JobId;
use crate::core::record::Record;
use crate::core::scheduler::Stamp;
use crate::os::dir::How;
use std::io;

/// The outcome of doing something to a file, provided that it is the one that was seen.
#[derive(Debug)]
pub enum IfSame<T> {
    /// It was, and it is done.
    Done(T),
    /// It is gone.
    Gone,
    /// Another file has its name now and keeps it, or its new name is taken.
    Changed,
}

/// How the name of a staging file begins that is exchanged with a file which nobody has claimed.
const SWAP: &str = "swap.";

/// The job for which a file was staged by [`Spool::rewrite`]. `None` if the id was too long for the staging name.
fn swapped_job(staged: &[u8]) -> Option<JobId> {
    let mut parts = staged.strip_prefix(b".")?.rsplitn(3, |byte| *byte == b'.');
    let name = str::from_utf8(parts.nth(2)?).ok()?;
    let is_whole = name.chars().count() < STAGED_CHARS;
    is_whole.then(|| JobId::new(name.strip_prefix(SWAP)?).ok())?
}

impl<F: Fs> Spool<F> {
    /// Exchanges the file of a waiting or held job for this text, if it is the file seen as `expected`. Gives the stamp
    /// of the new file.
    pub(super) fn rewrite(
        &self,
        place: &Place,
        id: &JobId,
        expected: Stamp,
        text: &[u8],
    ) -> io::Result<IfSame<Stamp>> {
        let name = id.as_str().as_bytes();
        let ownership = self.ownership(place, id);
        let staged = self.stage_like(&format!("{SWAP}{id}"), text, ownership)?;
        // Looked at now: once it is in place, another file may take its name.
        let ours = self.fs.look(&Place::Tmp, &staged)?;
        let ours = stamp(&ours.ok_or(io::ErrorKind::NotFound)?);
        match self
            .fs
            .rename(&Place::Tmp, &staged, place, name, How::Exchange)
        {
            Ok(()) => {}
            Err(e) => {
                self.fs.unlink(&Place::Tmp, &staged)?;
                return match e.kind() {
                    io::ErrorKind::NotFound => Ok(IfSame::Gone),
                    _ => Err(e),
                };
            }
        }
        let old = self.fs.look(&Place::Tmp, &staged)?;
        let Some(old) = old.filter(|old| stamp(old) == expected) else {
            self.give_back(&staged, place, name, ours.inode)?;
            return Ok(IfSame::Changed);
        };
        self.keep_ownership(place, name, ownership, &old);
        self.fs.unlink(&Place::Tmp, &staged)?;
        Ok(IfSame::Done(ours))
    }

    /// Moves a newer file, which an exchange took into `tmp/`, back to its place. `older` is the inode that is there
    /// now. A plain rename would replace a still newer file that was dropped meanwhile. So the two are exchanged, and
    /// once more if the file that comes out is not `older`.
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
                    // Somebody has removed the older one. The newer one is moved back, unless it was replaced too.
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

    /// Removes a staging file whose writer is gone. A claim or a hold that was interrupted may leave a newer drop in
    /// `tmp/`, which it could not move back. Such a file goes to `bad/`, unless the job of its name waits and asks
    /// for the same.
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

    /// True if the job that this staging file was exchanged for waits, and asks for the same.
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

    /// The part of a job's file that a claim or a hold does not change. `None` if it is no job.
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
