//! Editing the text of a held job: a copy of it in `tmp/`, and its way back.

use super::rewrite::IfSame;
use super::ticket::stamp;
use super::view::MAX_RECORD_BYTES;
use super::{Ask, Fs, Place, RealFs, Spool, Taken};
use crate::core::id::JobId;
use crate::core::scheduler::Stamp;
use crate::os::{dir, flock};
use std::fs::File;
use std::io;

/// The text of a held job, and the file that it was read from.
#[derive(Debug)]
pub struct HeldText {
    /// The text.
    pub bytes: Vec<u8>,
    file: Stamp,
}

/// How the name of a copy begins.
const EDITED: &str = ".edit.";

/// How the name of a file begins that is locked while a job is edited.
const EDITING: &str = ".editing.";

/// The held job whose copy, or whose lock, has this name in `tmp/`.
pub(super) fn edited_job(name: &[u8]) -> Option<JobId> {
    let mut prefixes = [EDITED, EDITING].into_iter();
    let id = prefixes.find_map(|prefix| name.strip_prefix(prefix.as_bytes()))?;
    JobId::from_bytes(id).ok()
}

/// The name in `tmp/` of the copy of a job that is being edited.
pub fn edit_copy(id: &JobId) -> String {
    format!("{EDITED}{id}")
}

impl<F: Fs> Spool<F> {
    /// The text of a held job; `None` if it is not held any more. An error if its file cannot be edited.
    pub fn held_text(&self, id: &JobId) -> io::Result<Option<HeldText>> {
        let name = id.as_str().as_bytes();
        Ok(
            match self
                .fs
                .take(&Place::Held, name, MAX_RECORD_BYTES, Ask::Nothing)?
            {
                Taken::File { look, bytes, .. } => Some(HeldText {
                    bytes,
                    file: stamp(&look),
                }),
                Taken::Missing => None,
                Taken::Strange(_) => return Err(io::Error::other("it is no regular file")),
                Taken::TooLarge(_) => return Err(io::ErrorKind::FileTooLarge.into()),
            },
        )
    }

    /// Makes the copy of a job that is to be edited, with mode 0600. False if there is one already: an earlier editing
    /// has left it.
    pub fn make_edit_copy(&self, id: &JobId, bytes: &[u8]) -> io::Result<bool> {
        let name = edit_copy(id);
        match self
            .fs
            .write_new(&Place::Tmp, name.as_bytes(), bytes, false)
        {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }

    /// The text of the copy; `None` if it is gone, or is no file of at most this size any more.
    pub fn read_edit_copy(&self, id: &JobId, most: u64) -> io::Result<Option<Vec<u8>>> {
        let name = edit_copy(id);
        Ok(
            match self
                .fs
                .take(&Place::Tmp, name.as_bytes(), most, Ask::Nothing)?
            {
                Taken::File { bytes, .. } => Some(bytes),
                Taken::Missing | Taken::Strange(_) | Taken::TooLarge(_) => None,
            },
        )
    }

    /// Removes the copy.
    pub fn remove_edit_copy(&self, id: &JobId) -> io::Result<()> {
        let name = edit_copy(id);
        self.fs.unlink(&Place::Tmp, name.as_bytes()).map(drop)
    }

    /// Puts an edited text in the place of a held job, durably, if its file is still the one that was read.
    pub fn put_edited(&self, id: &JobId, read: &HeldText, text: &[u8]) -> io::Result<IfSame<()>> {
        Ok(match self.rewrite(&Place::Held, id, read.file, text)? {
            IfSame::Done(_) => IfSame::Done(self.sync(&Place::Held)?),
            IfSame::Gone => IfSame::Gone,
            IfSame::Changed => IfSame::Changed,
        })
    }
}

/// The right to edit a job. It is flock(2) on an empty file in `tmp/`: those of the job itself and of the copy are
/// replaced by others meanwhile.
#[derive(Debug)]
pub struct Editing<'s> {
    spool: &'s Spool<RealFs>,
    name: String,
    _locked: File,
}

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        let _ = self.spool.fs.unlink(&Place::Tmp, self.name.as_bytes());
    }
}

impl Spool<RealFs> {
    /// `None` while another process edits the job.
    pub fn begin_editing(&self, id: &JobId) -> io::Result<Option<Editing<'_>>> {
        let name = format!("{EDITING}{id}");
        self.fs.with(&Place::Tmp, |tmp| {
            loop {
                let file = dir::open_edit(tmp, name.as_bytes())?;
                if !flock::try_exclusive(&file)? {
                    return Ok(None);
                }
                // The process that had it locked may have removed it since.
                if dir::has_name(tmp, name.as_bytes(), &file)? {
                    let (spool, name) = (self, name.clone());
                    return Ok(Some(Editing {
                        spool,
                        name,
                        _locked: file,
                    }));
                }
            }
        })
    }
}
