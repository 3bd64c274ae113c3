//! What is found in `active/` when nobody has the spool: after a kill or a power cut.

use super::{Fs, Placed, Spool, Target, Where};
use crate::core::id::JobId;
use crate::core::record::{Reason, Record};
use crate::os::fault::Fault;
use std::io;

/// A file that an earlier daemon left in `active/`.
#[derive(Debug)]
pub enum Left {
    /// Its record carries its end: it is only to be moved on, see [`Spool::move_on`].
    Ended(Box<Record>),
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
        self.make_room(id)?;
        if record.is_over() {
            return Ok(Left::Ended(record));
        }
        // Without a note the record is the one that was claimed: the try that it began is not counted in it yet.
        if record.started_at.is_none() && !Fault::NoTryCount.is_on() {
            record.attempt += 1;
        }
        Ok(Left::Begun(record))
    }

    /// Shows an end that was written but not shown.
    pub fn move_on(&self, id: &JobId, record: &Record) -> io::Result<Placed> {
        let complete = record.reason == Some(Reason::Exited) && record.exit_code == Some(0);
        let target = if complete {
            Target::Complete
        } else {
            Target::Failed
        };
        self.place(id, &target)
    }
}
