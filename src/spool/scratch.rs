//! The scratch directories of jobs, `tmp/ID/`.

use super::{Place, RealFs, Spool};
use crate::core::id::JobId;
use crate::os::dir;
use std::fs::File;
use std::io;

impl Spool<RealFs> {
    /// Opens for reading whatever has this name in a job's scratch directory.
    pub fn open_in_scratch(&self, id: &JobId, name: &str) -> io::Result<File> {
        self.fs.with(&Place::Tmp, |tmp| {
            let scratch = dir::open_dir(tmp, id.as_str().as_bytes())?;
            dir::open_read(&scratch, name.as_bytes())
        })
    }
}
