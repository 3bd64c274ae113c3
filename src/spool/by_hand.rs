//! Writing the end of a job whose file a *user* has put into `failed/` or `complete/`.
//!
//! Its end must be written there. First the directory is synced, since the user's rename may not be on the disk, and
//! losing it would lose an end that people have seen. Then follow the exchange and a second sync, before anybody is
//! told. A power cut between the two syncs may undo the end but not the user's rename.

use super::follow_up::RunMark;
use super::{CancelledWaiting, Fs, Place, Spool, Where};
use crate::core::id::JobId;
use crate::core::record::{Reason, Record, State};
use crate::core::time::Wall;
use crate::os::clock;
use crate::os::dir::Look;
use std::io;

impl<F: Fs> Spool<F> {
    /// Writes the end into a record that a user has put into `failed/` or `complete/`, and makes both durable. `put`
    /// is the file as it was before the caller saw that it has no end. False if it is not there any more.
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

    /// Writes the end of a job whose file a user has moved to `failed/` or `complete/` while it ran.
    pub(super) fn follow(&self, id: &JobId, record: &Record) -> io::Result<()> {
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

    /// Writes the end into the record of a job that has none and does not run. False if it has one, or is gone.
    pub fn end_withdrawn(&self, id: &JobId, at: &Where, now: Wall) -> io::Result<bool> {
        let put = self.fs.look(&at.place(), id.as_str().as_bytes())?;
        let (Some(put), Some(mut record)) = (put, self.load(id, at)?) else {
            return Ok(false);
        };
        // The daemon writes the end of a job that runs when its processes have ended.
        if record.is_over() || self.log_is_held(id) {
            return Ok(false);
        }
        let log = self.fs.look(&Place::Log, id.as_str().as_bytes())?;
        let started_at = record.started_at;
        let error = match (started_at, log) {
            (Some(_), _) => "ended by hand while no daemon ran",
            (None, Some(_)) if record.attempt == 0 => {
                // It has a log, so it was started: that try counts.
                record.attempt = 1;
                "ended by hand while no daemon ran"
            }
            (None, _) => "withdrawn by hand",
        };
        record.end_unrun(now, Reason::Cancelled, error);
        record.started_at = started_at;
        self.complete_by_hand(id, &at.place(), &put, &record)
    }

    /// Writes the ends of cancelled jobs that waited, durably. Their move to `failed/` is durable already: an end is not
    /// written before, since only the daemon may go through `active/` (see [`Self::end_unrun`]). Returns the first error.
    pub fn end_cancelled(&self, jobs: &[CancelledWaiting]) -> io::Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let ends: Vec<io::Result<Option<Record>>> =
            jobs.iter().map(|job| self.end_of_cancelled(job)).collect();
        let with_ends = jobs.iter().zip(&ends);
        let records: Vec<(&JobId, &Record)> = with_ends
            .filter_map(|(job, end)| Some((&job.id, end.as_ref().ok()?.as_ref()?)))
            .collect();
        let replaced = self.replace_all(&Place::Failed, &records);
        self.sync(&Place::Failed)?;
        ends.into_iter().try_for_each(|end| end.map(drop))?;
        replaced.into_iter().try_for_each(|done| done.map(drop))
    }

    /// The record with the end that is to be written, unless it has one.
    fn end_of_cancelled(&self, job: &CancelledWaiting) -> io::Result<Option<Record>> {
        let CancelledWaiting { id, was, was_over } = job;
        let put = self.fs.look(&Place::Failed, id.as_str().as_bytes())?;
        let record = self.load(id, &Where::Failed)?;
        let (Some(put), Some(mut record)) = (put, record) else {
            return Ok(None);
        };
        if record.is_over() && !was_over {
            // The daemon has seen the move and has written the end already. It does not know in which queue a file
            // was that names none.
            return Ok(match was {
                Where::Pending(queue) if !queue.is_default() && record.queue.is_none() => {
                    record.queue = Some(queue.clone());
                    Some(record)
                }
                Where::Pending(_)
                | Where::Held
                | Where::Active
                | Where::Complete
                | Where::Failed => None,
            });
        }
        if let Where::Pending(queue) = was {
            record.queue = (!queue.is_default()).then(|| queue.clone());
        }
        record.renew();
        record.end_unrun(clock::wall(), Reason::Cancelled, "withdrawn before it ran");
        self.follow_up(id, &record, State::Failed, RunMark::Put(&put))?;
        Ok(Some(record))
    }
}
