//! What is found in `active/` when nobody has the spool: after a kill or a power cut.

use super::follow_up::RunMark;
use super::{Fs, Place, Placed, Spool, Target, Where};
use crate::core::id::JobId;
use crate::core::record::{Reason, Record};
use crate::os::fault::Fault;
use std::io;

/// A file that an earlier daemon left in `active/`.
#[derive(Debug)]
pub enum Left {
    /// Its record carries its end: it is only to be moved on, see [`Spool::move_on`].
    Ended(Box<Record>),
    /// The record that was to go back to `pending/` for its next try, and belongs there.
    Between(Box<Record>),
    /// A try that began and did not report, counted in `attempt`.
    Begun(Box<Record>),
    /// No job, with the reason.
    Bad(String),
}

impl<F: Fs> Spool<F> {
    /// Judges a file in `active/`.
    ///
    /// An older run of its name is put out of the way first: that this had been done before the claim may not
    /// have reached the disk, though the claim has.
    pub fn left(&self, id: &JobId) -> io::Result<Left> {
        let mut record = match self.load(id, &Where::Active) {
            Ok(Some(record)) => Box::new(record),
            Ok(None) => return Ok(Left::Bad("not a regular file".to_owned())),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Ok(Left::Bad(format!("found in active/: {e}")));
            }
            Err(e) => return Err(e),
        };
        self.make_room(id, &Place::Active)?;
        if record.is_over() {
            return Ok(Left::Ended(record));
        }
        // A further try is noted before it begins: without the note it has not.
        let tried = record.attempts.last().map(|last| last.attempt);
        if record.started_at.is_none() && record.attempt > 0 && tried == Some(record.attempt) {
            return Ok(Left::Between(record));
        }
        // Without a note the record is the one that was claimed: the try that it began is not counted in it yet.
        if record.started_at.is_none() && !Fault::NoTryCount.is_on() {
            record.attempt += 1;
        }
        Ok(Left::Begun(record))
    }

    /// Puts a job back for its next try. If a newer file of its name waits there by now, its last try was the last.
    pub fn put_back(&self, id: &JobId, mut record: Record) -> io::Result<Placed> {
        let queue = record.queue.clone().unwrap_or_default();
        let placed = self.place(id, &Target::Pending(queue))?;
        if placed != Placed::Superseded {
            return Ok(placed);
        }
        if let Some(last) = record.attempts.last() {
            record.started_at = last.started_at;
            record.finished_at = Some(last.finished_at);
            record.reason = Some(last.reason);
            record.exit_code = last.exit_code;
            record.signal = last.signal;
            record.duration = last.duration;
        }
        record.retry_at = None;
        record.error =
            Some("not tried again: something else has its name in pending/ by now".to_owned());
        self.finish(id, &record, &Target::Failed, |_| {})
    }

    /// Names that are both in `complete/` and in `failed/`: the older run gets an older name.
    ///
    /// An older run is put out of the way when a new one of its name is taken in. That rename may be lost in a
    /// power cut though the new run's last one is not; syncing each would cost every reused name a sync, at once.
    pub fn separate_twins(&self) -> io::Result<()> {
        let mut twins = Vec::new();
        self.fs.names(&Place::Failed, &mut |name| {
            let other = self.fs.look(&Place::Complete, name);
            if other.is_ok_and(|look| look.is_some()) {
                twins.extend(JobId::from_bytes(name));
            }
        })?;
        for id in twins {
            let ended = |at| Ok::<_, io::Error>(self.load(&id, &at)?.and_then(|r| r.finished_at));
            let older = if ended(Where::Complete)? < ended(Where::Failed)? {
                Place::Complete
            } else {
                Place::Failed
            };
            self.archive(&id, &older)?;
        }
        Ok(())
    }

    /// Shows an end that was written but not shown.
    pub fn move_on(&self, id: &JobId, record: &Record) -> io::Result<Placed> {
        let complete = record.reason == Some(Reason::Exited) && record.exit_code == Some(0);
        let target = if complete {
            Target::Complete
        } else {
            Target::Failed
        };
        if let Some(state) = target.end() {
            self.follow_up(id, record, state, RunMark::Ended)?;
        }
        self.place(id, &target)
    }
}
