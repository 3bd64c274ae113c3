//! From `pending/` to `active/`: a job becomes a try.

use super::rewrite::IfSame;
use super::ticket::stamp;
use super::{Ask, Fs, Place, Spool, Taken};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::scheduler::Stamp;
use crate::core::time::Wall;
use crate::os::dir::How;
use crate::os::fault::Fault;
use crate::os::lease::Writers;
use std::io;

/// True for a record that tells of an earlier run: the job starts afresh.
pub(super) fn is_stale(record: &Record) -> bool {
    record.is_over() || record.started_at.is_some()
}

impl<F: Fs> Spool<F> {
    /// Claims the file that was seen as `expected`, and gives its record, which will be run whatever happens to the
    /// file. A file that is being written counts as changed.
    ///
    /// Its text is read before the rename, and the file looked at again after it. So the text that was judged is what
    /// runs, even if somebody replaces or edits the file in between.
    pub fn claim(
        &self,
        id: &JobId,
        queue: &QueueName,
        expected: Stamp,
    ) -> io::Result<IfSame<Box<Record>>> {
        let (from, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        let bytes = match self
            .fs
            .take(&from, name, u64::from(expected.size), Ask::Writers)?
        {
            Taken::Missing => return Ok(IfSame::Gone),
            Taken::File {
                look,
                writers: Writers::None | Writers::Unknown,
                bytes,
            } if stamp(&look) == expected => bytes,
            Taken::File { .. } | Taken::Strange(_) | Taken::TooLarge(_) => {
                return Ok(IfSame::Changed);
            }
        };
        match Record::from_bytes(&bytes) {
            Ok(record) => self.claim_as_read(id, queue, expected, record),
            Err(_) => Ok(IfSame::Changed),
        }
    }

    /// Claims the file that was read into `record` when it was seen as `expected`. It is not read again: if its stamp
    /// is the same, nobody has written to it.
    pub fn claim_as_read(
        &self,
        id: &JobId,
        queue: &QueueName,
        expected: Stamp,
        mut record: Record,
    ) -> io::Result<IfSame<Box<Record>>> {
        let from = Place::of_queue(queue);
        let stale = is_stale(&record);
        record.renew();
        record.created_at.get_or_insert(Wall(expected.modified));
        record.id = Some(id.clone());
        let homeless = !queue.is_default() && record.queue.as_ref() != Some(queue);
        record.queue = (!queue.is_default()).then(|| queue.clone());
        match self.bring(id, queue, expected, (homeless || stale).then_some(&record))? {
            IfSame::Done(()) => {}
            IfSame::Gone => return Ok(IfSame::Gone),
            IfSame::Changed => return Ok(IfSame::Changed),
        }
        if record.once && !Fault::NoOnceSync.is_on() {
            // The start of a `once` job must survive a power cut before the job begins.
            self.sync(&from)?;
            self.sync_active()?;
        }
        Ok(IfSame::Done(Box::new(record)))
    }

    /// Moves the file of a waiting job to `active/`, if it is the one seen as `expected`, and replaces it by
    /// `rewritten` before that. In `active/` only the record says which queue a job came from, and a record that
    /// carries the end of an earlier run (`mv failed/7 pending/`) would be taken for the end of this one.
    pub(super) fn bring(
        &self,
        id: &JobId,
        queue: &QueueName,
        mut expected: Stamp,
        rewritten: Option<&Record>,
    ) -> io::Result<IfSame<()>> {
        let (from, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        if let Some(record) = rewritten {
            match self.rewrite(&from, id, expected, record.to_json().as_bytes())? {
                IfSame::Done(stamp) => expected = stamp,
                IfSame::Gone => return Ok(IfSame::Gone),
                IfSame::Changed => return Ok(IfSame::Changed),
            }
        }
        match self
            .fs
            .rename(&from, name, &Place::Active, name, How::NoReplace)
        {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(IfSame::Gone),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(IfSame::Changed),
            Err(e) => return Err(e),
        }
        let brought = self.fs.look(&Place::Active, name)?;
        if brought.map(|look| stamp(&look)) != Some(expected) && !Fault::NoClaimCheck.is_on() {
            self.unclaim(id, queue)?;
            return Ok(IfSame::Changed);
        }
        Ok(IfSame::Done(()))
    }

    /// Moves a claimed file back to its queue, unchanged. If a newer file of its name waits there by now, that one is
    /// the job, and the claimed one goes to `bad/`.
    pub fn unclaim(&self, id: &JobId, queue: &QueueName) -> io::Result<()> {
        let (to, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        match self.rename_back(&Place::Active, name, &to, name) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self
                .quarantine(
                    &Place::Active,
                    name,
                    "a newer job of the same name was put into pending/",
                )
                .map(drop),
            Err(e) => Err(e),
        }
    }

    /// Renames a file back to where it was, if its name is free there. A directory that was removed or moved
    /// meanwhile is made again.
    pub(super) fn rename_back(
        &self,
        from: &Place,
        name: &[u8],
        to: &Place,
        new_name: &[u8],
    ) -> io::Result<()> {
        let back = || self.fs.rename(from, name, to, new_name, How::NoReplace);
        match back() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if self.fs.look(from, name)?.is_none() {
                    return Err(e);
                }
                self.fs.renew(to)?;
                back()
            }
            done => done,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::spool::{DropLimits, Intake};
    use std::fs;

    /// Judges `pending/7`, changes something with `meddle`, and claims the job as it was read.
    fn claim_after(meddle: impl FnOnce(&std::path::Path)) -> (IfSame<Box<Record>>, [bool; 2]) {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::create(home.path(), false).unwrap();
        let file = home.path().join("pending/7");
        fs::write(&file, "echo one").unwrap();
        let (id, queue) = (JobId::new("7").unwrap(), QueueName::default());
        let limits = DropLimits {
            max_job_bytes: 1000,
            uid: crate::os::user::account().uid,
        };
        let judged = spool.judge(&Place::Pending, b"7", limits, Wall(0)).unwrap();
        let Intake::Job(record, look, _) = judged else {
            panic!("{judged:?}");
        };
        meddle(&file);
        let claim = spool.claim_as_read(&id, &queue, stamp(&look), *record);
        let active = home.path().join("active/7");
        (claim.unwrap(), [file.exists(), active.exists()])
    }

    #[test]
    fn what_was_read_is_run_only_if_it_is_still_there() {
        let (claim, places) = claim_after(|_| {});
        let IfSame::Done(record) = claim else {
            panic!("{claim:?}");
        };
        assert_eq!(record.id, Some(JobId::new("7").unwrap()));
        assert!(record.created_at.is_some());
        assert_eq!(places, [false, true]);
    }

    #[test]
    fn what_was_edited_or_replaced_since_is_judged_again() {
        let edit = |file: &std::path::Path| {
            fs::write(file, "echo two").unwrap();
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_modified(later).unwrap();
        };
        let replace = |file: &std::path::Path| {
            let other = file.with_file_name(".other");
            fs::write(&other, "echo two").unwrap();
            fs::rename(other, file).unwrap();
        };
        for meddle in [&edit as &dyn Fn(&std::path::Path), &replace] {
            let (claim, places) = claim_after(meddle);
            assert!(matches!(claim, IfSame::Changed), "{claim:?}");
            assert_eq!(places, [true, false]);
        }
        let (claim, places) = claim_after(|file| fs::remove_file(file).unwrap());
        assert!(matches!(claim, IfSame::Gone), "{claim:?}");
        assert_eq!(places, [false, false]);
    }
}
