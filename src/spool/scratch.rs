//! What jobs have in `tmp/`: their scratch directories, `tmp/ID/`, and the private copies that scripts run from.

use super::{Fs, Place, RealFs, Spool};
use crate::core::id::JobId;
use crate::core::record::{Record, Work};
use crate::os::dir;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// Most of a `$PIRN_OUT` that is kept in the record.
const RESULT_BYTES: u64 = 256 * 1024;

/// The name of the private copy that a `#!` job runs from.
pub(super) fn script_copy(id: &JobId) -> String {
    format!(".script.{id}")
}

impl<F: Fs> Spool<F> {
    /// Removes a job's scratch directory and the copy it ran from.
    pub fn remove_scratch(&self, id: &JobId) -> io::Result<()> {
        self.remove_script_copy(id)?;
        self.remove_scratch_directory(id)
    }

    /// Removes a job's scratch directory, if it has one.
    pub fn remove_scratch_directory(&self, id: &JobId) -> io::Result<()> {
        self.fs.remove_tree(&Place::Tmp, id.as_str().as_bytes())
    }

    /// Writes a private copy of a script, which nobody but its own job runs. Gives its name in `tmp/`.
    pub fn write_script_copy(&self, id: &JobId, text: &str) -> io::Result<String> {
        let copy = script_copy(id);
        self.remove_script_copy(id)?;
        self.fs
            .write_new(&Place::Tmp, copy.as_bytes(), text.as_bytes(), false)?;
        Ok(copy)
    }

    /// Removes the private copy that a job ran from, if there is one.
    pub fn remove_script_copy(&self, id: &JobId) -> io::Result<()> {
        self.fs
            .unlink(&Place::Tmp, script_copy(id).as_bytes())
            .map(drop)
    }

    /// What a job wrote to `$PIRN_OUT`, if anything.
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
    /// Makes the scratch directory of a job, empty but for the files that its record asks for.
    pub fn make_scratch(&self, id: &JobId, record: &Record) -> io::Result<()> {
        let name = id.as_str().as_bytes();
        self.remove_scratch_directory(id)?;
        self.fs.with(&Place::Tmp, |tmp| {
            dir::make_dir(tmp, name)?;
            let scratch = dir::open_dir(tmp, name)?;
            let mode = match &record.work {
                // qmd's scripts may hand their files on to other users.
                Work::Script { .. } => 0o644,
                Work::Text(_) | Work::Argv(_) | Work::Url(_) => 0o600,
            };
            record.files.iter().try_for_each(|(file, bytes)| {
                let file = dir::write_unsynced(&scratch, file.as_bytes(), bytes)?;
                file.set_permissions(Permissions::from_mode(mode))
            })
        })
    }

    /// Opens for reading whatever has this name in a job's scratch directory.
    pub fn open_in_scratch(&self, id: &JobId, name: &str) -> io::Result<File> {
        self.fs.with(&Place::Tmp, |tmp| {
            let scratch = dir::open_dir(tmp, id.as_str().as_bytes())?;
            dir::open_read(&scratch, name.as_bytes())
        })
    }
}
