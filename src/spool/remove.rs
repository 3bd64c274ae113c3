//! Removing a job: its record, its logs and its files in `tmp/`.

use super::{Fs, Place, Spool, stderr_log};
use crate::core::id::JobId;
use std::io;
use std::sync::PoisonError;

impl<F: Fs> Spool<F> {
    /// Removes a job's file and all that belongs to it. False if there was none.
    pub fn remove_finished(&self, id: &JobId, place: &Place) -> io::Result<bool> {
        let removed = self.fs.unlink(place, id.as_str().as_bytes())?;
        self.remove_belongings(id)?;
        Ok(removed)
    }

    /// Removes the logs and the scratch directory of a job whose record is gone, unless there is a job of its name.
    pub fn remove_belongings(&self, id: &JobId) -> io::Result<()> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(id)?.is_some() {
            return Ok(());
        }
        self.fs.unlink(&Place::Log, id.as_str().as_bytes())?;
        self.fs.unlink(&Place::Log, stderr_log(id).as_bytes())?;
        self.remove_scratch(id)
    }
}
