//! Judging the files in `active/` when nobody has the spool, after a kill or a power cut.

use super::follow_up::RunMark;
use super::{Fs, Place, Placed, Spool, Target, Where};
use crate::core::id::JobId;
use crate::core::record::Record;
use crate::os::fault::Fault;
use std::io;

/// A file that an earlier daemon left in `active/`.
#[derive(Debug)]
pub enum Left {
    /// Its record carries the end: only the rename is missing, see [`Spool::move_on`].
    Ended(Box<Record>),
    /// Its record is ready for the next try: it belongs into `pending/`.
    Between(Box<Record>),
    /// Its try began and has no end. `attempt` counts it.
    Begun(Box<Record>),
    /// It is no job, for this reason.
    Bad(String),
}

impl<F: Fs> Spool<F> {
    /// Judges a file in `active/`.
    ///
    /// An older run of its name is archived first: this was done before the claim, but a power cut may have undone it
    /// and not the claim.
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
        // A further try is noted before it begins: this one has no note and did not begin.
        let tried = record.attempts.last().map(|last| last.attempt);
        if record.started_at.is_none() && record.attempt > 0 && tried == Some(record.attempt) {
            return Ok(Left::Between(record));
        }
        // Without a note it is the record that was claimed, which does not count this try yet.
        if record.started_at.is_none() && !Fault::NoTryCount.is_on() {
            record.attempt += 1;
        }
        Ok(Left::Begun(record))
    }

    /// Moves a job back to `pending/` for its next try. If a newer file of its name waits there by now, the job has
    /// failed.
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

    /// Archives the older run of each name that is both in `complete/` and in `failed/`.
    ///
    /// An older run is archived when a new job of its name is taken in. A power cut may undo that rename and not the
    /// new job's last one. A sync would prevent that, but each reused name would wait for it.
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

    /// Makes an end visible that was recorded: the rename from `active/` is missing.
    pub fn move_on(&self, id: &JobId, record: &Record) -> io::Result<Placed> {
        let target = Target::of_end(record);
        // The daemon that wrote the end may have been killed before it synced it.
        self.sync_active()?;
        if let Some(state) = target.end() {
            self.follow_up(id, record, state, RunMark::Ended)?;
        }
        self.place(id, &target)
    }
}
