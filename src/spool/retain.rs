//! Removing what nobody needs any more: the file work of retention and of its clean-up. The daemon decides when, and
//! by which clock.

use super::logs::names_of_logs;
use super::progress::progress_of;
use super::{Ask, Fs, Place, Spool, Taken, Where};
use crate::core::id::JobId;
use crate::core::record::Scratch;
use crate::core::time::Wall;
use crate::os::procfs;
use std::io;
use std::time::Duration;

/// A job that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its name.
    pub id: JobId,
    /// `complete/` or `failed/`.
    pub place: Place,
    /// When it ended.
    pub finished: Wall,
    /// The bytes of its record, and of its logs if the caller asked for them.
    pub bytes: u64,
}

/// An answer that has not begun this long after the end of its job will not be sent.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The largest record that is searched for an end.
const MAX_UNENDED: u64 = 64 << 20;

/// No process writes a staging file for this long.
const STAGED_WITHIN: Duration = Duration::from_secs(3600);

impl<F: Fs> Spool<F> {
    /// All jobs that have ended, in no order. The date of a record's file is that of its end.
    pub fn finished(&self, with_logs: bool) -> io::Result<Vec<Finished>> {
        let mut all = Vec::new();
        for place in [Place::Complete, Place::Failed] {
            let mut ids = Vec::new();
            self.fs
                .names(&place, &mut |name| ids.extend(JobId::from_bytes(name)))?;
            for id in ids {
                let Some(look) = self.fs.look(&place, id.as_str().as_bytes())? else {
                    continue;
                };
                let mut bytes = look.size;
                if with_logs {
                    for log in names_of_logs(&id) {
                        let look = self.fs.look(&Place::Log, log.as_bytes())?;
                        bytes += look.map_or(0, |look| look.size);
                    }
                }
                all.push(Finished {
                    finished: Wall(look.modified),
                    bytes,
                    id,
                    place: place.clone(),
                });
            }
        }
        Ok(all)
    }

    /// The jobs that have logs, in order.
    pub fn ids_of_logs(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        self.fs.names(&Place::Log, &mut |name| {
            let name = name.strip_suffix(b"~err").unwrap_or(name);
            ids.extend(JobId::from_bytes(name));
        })?;
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Removes what a job without processes has left behind: all its belongings if the job is gone; if it has ended,
    /// its empty logs, which a daemon that was killed could not remove.
    pub fn clear_after(&self, id: &JobId) -> io::Result<()> {
        let at = match self.find(id) {
            Ok(None) => return self.remove_belongings(id),
            Ok(Some(at @ (Where::Complete | Where::Failed))) => at,
            Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) | Err(_) => return Ok(()),
        };
        // Until the end is recorded, the log shows that the job was started.
        let is_recorded = || matches!(self.load(id, &at), Ok(Some(record)) if record.is_over());
        for log in names_of_logs(id) {
            let look = self.fs.look(&Place::Log, log.as_bytes());
            let is_empty = look.is_ok_and(|look| look.is_some_and(|look| look.size == 0));
            if is_empty && is_recorded() {
                let _ = self.fs.unlink(&Place::Log, log.as_bytes());
            }
        }
        Ok(())
    }

    /// Removes scratch directories that were kept for an answer, if nobody waits for it any more: the client or the
    /// daemon went away.
    pub fn remove_unanswered(&self, now: Wall) -> io::Result<()> {
        let mut ids = Vec::new();
        self.fs
            .names(&Place::Tmp, &mut |name| ids.extend(JobId::from_bytes(name)))?;
        for id in ids {
            let Some(found) = self.get(&id)? else {
                continue;
            };
            let is_old = |at| now.since(at) > ANSWERED_WITHIN;
            if found.record.tmp == Scratch::Answer && found.record.finished_at.is_some_and(is_old) {
                self.remove_scratch(&id)?;
            }
        }
        Ok(())
    }

    /// The jobs in `failed/` and `complete/` whose records have no end: a user put them there while no daemon ran.
    pub fn unended(&self) -> Vec<JobId> {
        let is_unended = |at: &Where, id: &JobId| {
            let name = id.as_str().as_bytes();
            let taken = self.fs.take(&at.place(), name, MAX_UNENDED, Ask::Nothing);
            // This is faster than parsing every record.
            matches!(taken, Ok(Taken::File { bytes, .. }) if !contains(&bytes, b"\"finished_at\""))
        };
        let mut ids = Vec::new();
        for at in [Where::Failed, Where::Complete] {
            let listed = self.ids(&at).unwrap_or_default();
            ids.extend(listed.into_iter().filter(|id| is_unended(&at, id)));
        }
        ids
    }

    /// Removes staging files whose writers are gone. Their names end in the writer's pid and a number.
    pub fn clear_staging(&self, now: Wall) -> io::Result<()> {
        let mut staged = Vec::new();
        self.fs.names(&Place::Tmp, &mut |name| {
            if name.starts_with(b".") {
                staged.push(name.to_vec());
            }
        })?;
        for name in staged {
            let Some(look) = self.fs.look(&Place::Tmp, &name)? else {
                continue;
            };
            let old = now.since(Wall(look.modified)) > STAGED_WITHIN;
            if let Some(id) = progress_of(&name) {
                if !self.is_active(&id) {
                    self.remove_progress(&id)?;
                }
                continue;
            }
            let copy_of = name.strip_prefix(b".script.").map(JobId::from_bytes);
            if let Some(Ok(id)) = copy_of
                && self.is_active(&id)
            {
                continue;
            }
            if super::edit::edited_job(&name).is_some_and(|id| self.is_held(&id)) {
                continue;
            }
            if old || writer_of(&name).is_some_and(|pid| procfs::stat(pid).is_none()) {
                self.discard_staged(&name)?;
            }
        }
        Ok(())
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// The pid in the name of a staging file (see `Spool::staging_name`).
fn writer_of(name: &[u8]) -> Option<i32> {
    let mut parts = std::str::from_utf8(name).ok()?.rsplit('.');
    parts.next()?.parse::<u64>().ok()?;
    parts.next()?.parse().ok()
}
