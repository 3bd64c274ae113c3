//! The progress of running jobs: each writes its own to a file, whose path it is told in PIRN_PROGRESS. Nothing is made
//! for jobs that do not.

use super::{Fs, Place, RealFs, Spool, Where};
use crate::core::id::JobId;
use crate::core::progress::JobProgress;
use crate::os::dir;
use std::io;

/// The name of the file in a scratch directory, to which the sandbox of a job lets it write.
const IN_SCRATCH: &str = ".progress";

/// Most bytes of the end of a file that are read.
const MOST_READ: u64 = 4096;

/// The name in `tmp/` of the file of a job without scratch directory. No id begins with a hyphen, so that it is no
/// staging file either.
fn progress_file(id: &JobId) -> String {
    format!("{PREFIX}{id}")
}

const PREFIX: &str = ".-progress.";

/// The job whose file has this name in `tmp/`.
pub(super) fn progress_of(name: &[u8]) -> Option<JobId> {
    JobId::from_bytes(name.strip_prefix(PREFIX.as_bytes())?).ok()
}

/// The path from `tmp/` of the file that a job may write.
pub fn progress_path(id: &JobId, has_scratch: bool) -> String {
    match has_scratch {
        true => format!("{id}/{IN_SCRATCH}"),
        false => progress_file(id),
    }
}

impl<F: Fs> Spool<F> {
    /// Removes the file of a job without scratch directory, if it has written one.
    pub fn remove_progress(&self, id: &JobId) -> io::Result<()> {
        self.fs
            .remove_tree(&Place::Tmp, progress_file(id).as_bytes())
    }
}

impl Spool<RealFs> {
    /// How far a job is, if it runs and has said so.
    pub fn progress(&self, id: &JobId, at: &Where) -> Option<JobProgress> {
        if *at != Where::Active {
            return None;
        }
        let open = |tmp: &_| match dir::open_read(tmp, progress_file(id).as_bytes()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let scratch = dir::open_dir(tmp, id.as_str().as_bytes())?;
                dir::open_read(scratch, IN_SCRATCH.as_bytes())
            }
            opened => opened,
        };
        let mut file = self.fs.with(&Place::Tmp, open).ok()?;
        let (bytes, from) = dir::read_end(&mut file, 0, MOST_READ).ok()?;
        JobProgress::read(&bytes, from == 0)
    }
}
