//! From `pending/` to `active/`: the moment a job becomes a try.

use super::intake::stamp;
use super::{Ask, Fs, Place, Spool, Taken};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::core::scheduler::Stamp;
use crate::core::time::Wall;
use crate::os::dir::How;
use crate::os::fault::Fault;
use crate::os::lease::Writers;
use std::io;

/// What came of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The file is in `active/` and will be run as it was read.
    Claimed(Box<Claimed>),
    /// The file was gone.
    Gone,
    /// The file is another one now, or is being written: judge it again.
    Changed,
}

/// A claimed job.
#[derive(Debug)]
pub struct Claimed {
    /// What was read from the file, and will be run whatever happens to the file from now on.
    pub record: Record,
}

/// What came of moving a waiting job's file to `active/`.
pub(super) enum Brought {
    /// It is there.
    Active,
    /// It was gone.
    Gone,
    /// It is another one now, or its place is taken.
    Changed,
}

/// True for a record that tells of a run that is over for this job: it is to start afresh.
pub(super) fn is_stale(record: &Record) -> bool {
    record.is_over() || record.started_at.is_some()
}

/// How the names of staging files begin that are exchanged with a file nobody has claimed yet.
const SWAP: &str = "swap.";

impl<F: Fs> Spool<F> {
    /// Removes a staging file whose writer is gone. One that may be a newer drop, displaced by a claim that was cut
    /// off before it could give it its place back, is kept in `bad/`.
    pub fn discard_staged(&self, name: &[u8]) -> io::Result<()> {
        if name
            .strip_prefix(b".")
            .is_some_and(|n| n.starts_with(SWAP.as_bytes()))
        {
            let reason =
                "in the way of a start that was cut off; if it is not elsewhere, drop it again";
            return self.quarantine(&Place::Tmp, name, reason).map(drop);
        }
        self.fs.unlink(&Place::Tmp, name)
    }

    /// Claims the file that was seen as `expected`.
    ///
    /// The text is read before the rename and the inode compared after it, so that what runs is what was judged,
    /// even if somebody replaces the file in between.
    pub fn claim(&self, id: &JobId, queue: &QueueName, expected: Stamp) -> io::Result<Claim> {
        let (from, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        let (look, bytes) =
            match self
                .fs
                .take(&from, name, u64::from(expected.size), Ask::Writers)?
            {
                Taken::Missing => return Ok(Claim::Gone),
                Taken::File {
                    look,
                    writers: Writers::None | Writers::Unknown,
                    bytes,
                } if stamp(&look) == expected => (look, bytes),
                Taken::File { .. } | Taken::Strange(_) | Taken::TooLarge(_) => {
                    return Ok(Claim::Changed);
                }
            };
        let Ok(mut record) = Record::from_bytes(&bytes) else {
            return Ok(Claim::Changed);
        };
        let stale = is_stale(&record);
        record.renew();
        record.created_at.get_or_insert(Wall(look.modified));
        record.id = Some(id.clone());
        let homeless = !queue.is_default() && record.queue.as_ref() != Some(queue);
        record.queue = (!queue.is_default()).then(|| queue.clone());
        match self.bring(
            id,
            queue,
            look.inode,
            (homeless || stale).then_some(&record),
        )? {
            Brought::Active => {}
            Brought::Gone => return Ok(Claim::Gone),
            Brought::Changed => return Ok(Claim::Changed),
        }
        if record.once && !Fault::NoOnceSync.is_on() {
            // At most once: that the job has begun must survive a power cut before it begins.
            self.sync(&from)?;
            self.sync_active()?;
        }
        Ok(Claim::Claimed(Box::new(Claimed { record })))
    }

    /// Moves the file of a waiting job, that is to be this inode, to `active/`; before that it is rewritten, if its
    /// text would not do there. In `active/` nothing but the record says which queue a job is of, and one that
    /// carries the end of an earlier run (`mv failed/7 pending/`) would be taken for ended by whoever finds it.
    pub(super) fn bring(
        &self,
        id: &JobId,
        queue: &QueueName,
        mut inode: u64,
        rewritten: Option<&Record>,
    ) -> io::Result<Brought> {
        let (from, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        if let Some(record) = rewritten {
            let staged = self.stage(&format!("{SWAP}{id}"), record.to_json().as_bytes())?;
            match self
                .fs
                .rename(&Place::Tmp, &staged, &from, name, How::Exchange)
            {
                Ok(()) => {}
                Err(e) => {
                    self.fs.unlink(&Place::Tmp, &staged)?;
                    return match e.kind() {
                        io::ErrorKind::NotFound => Ok(Brought::Gone),
                        _ => Err(e),
                    };
                }
            }
            let replaced = self.fs.look(&Place::Tmp, &staged)?.map(|look| look.inode);
            if replaced != Some(inode) {
                // Somebody dropped a newer file in between: give it its place back.
                self.fs
                    .rename(&Place::Tmp, &staged, &from, name, How::Replace)?;
                return Ok(Brought::Changed);
            }
            self.fs.unlink(&Place::Tmp, &staged)?;
            inode = self.fs.look(&from, name)?.map_or(inode, |look| look.inode);
        }
        match self
            .fs
            .rename(&from, name, &Place::Active, name, How::NoReplace)
        {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Brought::Gone),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Brought::Changed),
            Err(e) => return Err(e),
        }
        let brought = self.fs.look(&Place::Active, name)?.map(|look| look.inode);
        if brought != Some(inode) && !Fault::NoClaimCheck.is_on() {
            self.unclaim(id, queue)?;
            return Ok(Brought::Changed);
        }
        Ok(Brought::Active)
    }

    /// Puts a claimed job back, untouched. If a newer file of its name waits there by now, that one wins and the
    /// claimed one is kept in `bad/`.
    pub fn unclaim(&self, id: &JobId, queue: &QueueName) -> io::Result<()> {
        let (to, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        match self
            .fs
            .rename(&Place::Active, name, &to, name, How::NoReplace)
        {
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
}
