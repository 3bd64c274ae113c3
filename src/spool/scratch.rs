//! The files of jobs in `tmp/`: their scratch directories, `tmp/ID/`, and the private copies from which scripts run.

use super::{Fs, Place, RealFs, Spool};
use crate::core::id::JobId;
use crate::core::record::{Record, Work};
use crate::os::dir;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// The most of a `$PIRN_OUT` that is kept in the record.
const RESULT_BYTES: u64 = 256 * 1024;

/// The name of the private copy from which a `#!` job runs.
pub(super) fn script_copy(id: &JobId) -> String {
    format!(".script.{id}")
}

impl<F: Fs> Spool<F> {
    /// Removes a job's scratch directory, its private copy and its progress.
    pub fn remove_scratch(&self, id: &JobId) -> io::Result<()> {
        self.remove_script_copy(id)?;
        self.remove_progress(id)?;
        self.remove_scratch_directory(id)
    }

    /// Removes a job's scratch directory, if it has one.
    pub fn remove_scratch_directory(&self, id: &JobId) -> io::Result<()> {
        self.fs.remove_tree(&Place::Tmp, id.as_str().as_bytes())
    }

    /// Writes the private copy of a script. Returns its name in `tmp/`.
    pub fn write_script_copy(&self, id: &JobId, text: &str) -> io::Result<String> {
        let copy = script_copy(id);
        self.remove_script_copy(id)?;
        self.fs
            .write_new(&Place::Tmp, copy.as_bytes(), text.as_bytes(), false)?;
        Ok(copy)
    }

    /// Removes a job's private copy, if it has one.
    pub fn remove_script_copy(&self, id: &JobId) -> io::Result<()> {
        self.fs
            .unlink(&Place::Tmp, script_copy(id).as_bytes())
            .map(drop)
    }

    /// The text that a job wrote to `$PIRN_OUT`, if any.
    pub fn read_result(&self, id: &JobId, record: &Record) -> io::Result<Option<String>> {
        let (id, out) = (id.as_str().as_bytes(), record.work.out_name());
        let read = self
            .fs
            .read_inside(&Place::Tmp, id, out.as_bytes(), RESULT_BYTES)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(read.filter(|bytes| !bytes.is_empty()).map(text))
    }
}

impl Spool<RealFs> {
    /// Makes the scratch directory of a job, with the files that its record asks for.
    pub fn make_scratch(&self, id: &JobId, record: &Record) -> io::Result<()> {
        let name = id.as_str().as_bytes();
        self.remove_scratch_directory(id)?;
        self.fs.with(&Place::Tmp, |tmp| {
            dir::make_dir(tmp, name)?;
            let scratch = dir::open_dir(tmp, name)?;
            let mode = match &record.work {
                // A script of qmd may pass its files on to other users.
                Work::Script { .. } => 0o644,
                Work::Text(_) | Work::Argv(_) | Work::Url(_) => 0o600,
            };
            record.files.iter().try_for_each(|(file, bytes)| {
                let file = dir::write_unsynced(&scratch, file.as_bytes(), bytes, None)?;
                file.set_permissions(Permissions::from_mode(mode))
            })
        })
    }

    /// Opens a file in a job's scratch directory for reading.
    pub fn open_in_scratch(&self, id: &JobId, name: &str) -> io::Result<File> {
        self.fs.with(&Place::Tmp, |tmp| {
            let scratch = dir::open_dir(tmp, id.as_str().as_bytes())?;
            dir::open_read(&scratch, name.as_bytes())
        })
    }
}
