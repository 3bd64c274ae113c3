//! The logs of jobs: one file a job, in which each of its tries goes on.

use super::{Place, RealFs, Spool};
use crate::os::dir;
use std::fs::File;
use std::io;

impl Spool<RealFs> {
    /// Opens a log for reading: `id`, or the name that [`super::stderr_log`] gives.
    pub fn open_log(&self, name: &str) -> io::Result<File> {
        self.fs
            .with(&Place::Log, |log| dir::open_read(log, name.as_bytes()))
    }
}
