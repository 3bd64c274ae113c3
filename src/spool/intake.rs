//! Judging what was dropped: a job, not yet a job, or never one.

use super::Spool;
use super::fs::{Ask, Fs, Taken};
use super::place::Place;
use crate::core::id::{JobId, QueueName, is_foreign};
use crate::core::record::{Origin, Record, RecordError};
use crate::core::scheduler::{Need, Parent, ParentState, Stamp, Ticket};
use crate::core::time::{Now, Wall};
use crate::os::dir::{FileType, How, Look};
use crate::os::lease::Writers;
use std::io;
use std::time::Duration;

/// How much larger than a dropped file the record of a job may be that has run before: its output, its result and
/// its history are added to what was dropped.
const GROWTH: u64 = 16 << 20;

fn too_large(size: u64, limits: DropLimits) -> Intake {
    let most = limits.max_job_bytes;
    bad(format!(
        "the file is {size} bytes long; max_job_bytes is {most}"
    ))
}

/// How long an odd state (empty, two links, no lease to be had) may last before it is judged.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What files are measured by.
#[derive(Debug, Clone, Copy)]
pub struct DropLimits {
    /// Largest file.
    pub max_job_bytes: u64,
    /// Whose files are jobs, besides root's.
    pub uid: u32,
}

/// The judgement.
#[derive(Debug)]
pub enum Intake {
    /// A job.
    Job(Box<Record>, Look, Origin),
    /// Somebody else's file, or nothing: leave it alone.
    Nothing,
    /// Being written: an event will tell when that is over.
    Open,
    /// Perhaps a job soon: look again after this time.
    Later(Duration),
    /// A directory in `pending/`: a queue.
    Queue(QueueName),
    /// Not a job, with the reason.
    Bad {
        /// What is wrong.
        why: String,
        /// Which file that is said of; `None` if its name is wrong, whatever it is.
        inode: Option<u64>,
    },
}

impl Intake {
    /// Says which file was judged.
    fn seen_as(self, judged: u64) -> Self {
        match self {
            Self::Bad { why, inode: _ } => Self::Bad {
                why,
                inode: Some(judged),
            },
            Self::Job(..) | Self::Queue(_) | Self::Open | Self::Later(_) | Self::Nothing => self,
        }
    }
}

fn bad(why: String) -> Intake {
    Intake::Bad { why, inode: None }
}

impl<F: Fs> Spool<F> {
    /// Judges a name in `pending/` or in a queue.
    pub fn judge(
        &self,
        place: &Place,
        name: &[u8],
        limits: DropLimits,
        now: Wall,
    ) -> io::Result<Intake> {
        if is_foreign(name) {
            return Ok(Intake::Nothing);
        }
        if let Err(e) = JobId::from_bytes(name) {
            return Ok(bad(format!("the file name {e}")));
        }
        match self
            .fs
            .take(place, name, limits.max_job_bytes + GROWTH, Ask::Writers)?
        {
            Taken::Missing => Ok(Intake::Nothing),
            Taken::Strange(look) => Ok(strange(place, name, &look).seen_as(look.inode)),
            Taken::TooLarge(look) => Ok(too_large(look.size, limits).seen_as(look.inode)),
            Taken::File {
                look,
                writers,
                bytes,
            } => {
                let inode = look.inode;
                Ok(regular(look, writers, &bytes, limits, now).seen_as(inode))
            }
        }
    }

    /// What the scheduler needs to know of a waiting job. `longest` is the longest that its backoff may be.
    pub fn ticket(
        &self,
        id: &JobId,
        queue: &QueueName,
        record: &Record,
        look: &Look,
        now: Now,
        longest: Duration,
    ) -> Ticket {
        let need = |ids: &[JobId], need| {
            ids.iter()
                .map(move |id| (id.clone(), need))
                .collect::<Vec<_>>()
        };
        let parents = need(&record.after, Need::Complete)
            .into_iter()
            .chain(need(&record.after_any, Need::End));
        Ticket {
            id: id.clone(),
            queue: queue.clone(),
            stamp: stamp(look),
            priority: record.priority,
            made: record.created_at.unwrap_or(Wall(look.modified)),
            not_before: record.not_before,
            wait: rest_of_backoff(record, now.wall, longest),
            expires: record.expires,
            group: record.group.as_deref().map(Into::into),
            parents: parents
                .map(|(id, need)| Parent {
                    seen: self.parent_state(&id),
                    id,
                    need,
                })
                .collect(),
        }
    }

    fn parent_state(&self, id: &JobId) -> ParentState {
        let is_there = |place| {
            self.fs
                .look(&place, id.as_str().as_bytes())
                .ok()
                .flatten()
                .is_some()
        };
        if is_there(Place::Held) {
            // An end of an older run of its name does not count.
            ParentState::Open
        } else if is_there(Place::Complete) {
            ParentState::Complete
        } else if is_there(Place::Failed) {
            ParentState::Failed
        } else {
            ParentState::Open
        }
    }

    /// Moves what is no job to `bad/`, its reason written first, and gives its name there. `None` if it is gone.
    pub fn quarantine(
        &self,
        place: &Place,
        name: &[u8],
        reason: &str,
    ) -> io::Result<Option<String>> {
        let shown = presentable(name);
        for n in 0u32.. {
            let target = if n == 0 {
                shown.clone()
            } else {
                format!("{shown}~{n}")
            };
            let reason_name = format!("{target}.reason");
            if self.fs.look(&Place::Bad, target.as_bytes())?.is_some() {
                continue;
            }
            match self.fs.write_new(
                &Place::Bad,
                reason_name.as_bytes(),
                format!("{reason}\n").as_bytes(),
                false,
            ) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
            }
            match self
                .fs
                .rename(place, name, &Place::Bad, target.as_bytes(), How::NoReplace)
            {
                Ok(()) => return Ok(Some(target)),
                Err(e) => {
                    self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                    match e.kind() {
                        io::ErrorKind::AlreadyExists => continue,
                        io::ErrorKind::NotFound => return Ok(None),
                        _ => return Err(e),
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// As [`Self::quarantine`], for the file that was judged. One that has taken its place meanwhile is put back to be
    /// judged itself: then `None`, too. If there is a newer one still, it stays in `bad/`.
    pub fn quarantine_judged(
        &self,
        place: &Place,
        name: &[u8],
        reason: &str,
        inode: u64,
    ) -> io::Result<Option<String>> {
        let Some(target) = self.quarantine(place, name, reason)? else {
            return Ok(None);
        };
        let moved = self.fs.look(&Place::Bad, target.as_bytes())?;
        if moved.is_none_or(|look| look.inode == inode) {
            return Ok(Some(target));
        }
        let reason_name = format!("{target}.reason");
        let from = target.as_bytes();
        match self.rename_back(&Place::Bad, from, place, name) {
            Ok(()) => {
                self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                Ok(None)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                let why = b"replaced by a newer file of its name before it was looked at\n";
                self.fs
                    .write_new(&Place::Bad, reason_name.as_bytes(), why, false)?;
                Ok(Some(target))
            }
            Err(e) => Err(e),
        }
    }

    /// Puts a job where its record's `queue` says, if it was dropped into `pending/` itself. If a job of its name
    /// waits there already, neither is to be lost, and which of them is wanted is not for us to say: the one in
    /// `pending/` goes to `bad/`, and its name there and the reason are given back. `inode`: the file that was judged.
    pub fn route(
        &self,
        id: &JobId,
        record: &Record,
        inode: u64,
    ) -> io::Result<Option<(String, String)>> {
        let Some(queue) = record.queue.as_ref().filter(|queue| !queue.is_default()) else {
            return Ok(None);
        };
        self.fs.make_queue(queue)?;
        let (name, to) = (id.as_str().as_bytes(), Place::of_queue(queue));
        match self
            .fs
            .rename(&Place::Pending, name, &to, name, How::NoReplace)
        {
            Ok(()) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let why = format!(
                    "a job of that name waits in queue {queue}, which its record asks for; to replace that one, drop it into pending/{queue}/"
                );
                let target = self.quarantine_judged(&Place::Pending, name, &why, inode)?;
                Ok(target.map(|target| (target, why)))
            }
            Err(e) => Err(e),
        }
    }

    /// Keeps the record of an earlier run of this name out of the way of the job that is in `now_in`: what is in
    /// `complete/` or `failed/` is an older run only if the job is still in its place after that was seen. A user may
    /// be moving it there at this moment.
    pub fn make_room(&self, id: &JobId, now_in: &Place) -> io::Result<()> {
        let name = id.as_str().as_bytes();
        for place in [Place::Complete, Place::Failed] {
            if self.fs.look(&place, name)?.is_some() && self.fs.look(now_in, name)?.is_some() {
                self.archive(id, &place)?;
            }
        }
        Ok(())
    }
}

/// Tells this file from a later one of the same name.
pub(super) fn stamp(look: &Look) -> Stamp {
    Stamp {
        inode: look.inode,
        modified: look.modified,
        size: u32::try_from(look.size).unwrap_or(u32::MAX),
    }
}

/// The clock may have jumped since `retry_at` was written: never wait longer than the longest backoff.
fn rest_of_backoff(record: &Record, now: Wall, longest: Duration) -> Option<Duration> {
    record
        .retry_at
        .map(|at| at.since(now).min(longest))
        .filter(|wait| !wait.is_zero())
}

fn strange(place: &Place, name: &[u8], look: &Look) -> Intake {
    match (look.kind, place) {
        (FileType::Directory, Place::Pending) => match QueueName::from_bytes(name) {
            Ok(queue) if queue.is_default() => bad(
                "the queue default is pending/ itself and has no directory of its own".to_owned(),
            ),
            Ok(queue) => Intake::Queue(queue),
            Err(e) => bad(format!("no queue can be called that: the name {e}")),
        },
        (FileType::Directory, _) => {
            bad("a directory within a queue; queues are not nested".to_owned())
        }
        (
            FileType::File
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::Device,
            _,
        ) => bad(format!("{}; a job is a regular file", look.kind.as_str())),
    }
}

fn regular(look: Look, writers: Writers, bytes: &[u8], limits: DropLimits, now: Wall) -> Intake {
    // A date ahead of our clock says nothing about the file's age.
    let ahead = Wall(look.modified).since(now) > PATIENCE;
    let young = PATIENCE
        .checked_sub(now.since(Wall(look.modified)))
        .filter(|rest| !rest.is_zero() && !ahead);
    if look.uid != limits.uid && look.uid != 0 {
        return bad(format!(
            "the file belongs to user {}; jobs here run as user {}, and only on their own word or root's",
            look.uid, limits.uid
        ));
    }
    match (writers, young) {
        (Writers::Open, _) => return Intake::Open,
        (Writers::Locked, _) => return Intake::Later(Duration::from_millis(200)),
        (Writers::Unknown, Some(rest)) => return Intake::Later(rest),
        (Writers::Unknown, None) | (Writers::None, _) => {}
    }
    if look.links != 1 {
        // link(2) and unlink(2) are a way to put a file into place: for a moment it has two names.
        return match young {
            Some(rest) => Intake::Later(rest),
            None => bad(format!(
                "the file has {} hard links; a job is nobody else's file",
                look.links
            )),
        };
    }
    match (Record::from_bytes(bytes), young) {
        (Ok(mut record), _) => {
            let origin = record.origin();
            if origin == Origin::Dropped && look.size > limits.max_job_bytes {
                return too_large(look.size, limits);
            }
            record.renew();
            Intake::Job(Box::new(record), look, origin)
        }
        (Err(RecordError::Empty), Some(rest)) => Intake::Later(rest),
        (Err(e), _) => bad(e.to_string()),
    }
}

/// A name that is safe to show and not too long: bytes that are not, as `%XX`.
fn presentable(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' || (shown.is_empty() && matches!(c, '.' | '-')) {
                let mut buffer = [0; 4];
                shown.extend(
                    c.encode_utf8(&mut buffer)
                        .bytes()
                        .map(|b| format!("%{b:02X}")),
                );
            } else {
                shown.push(c);
            }
        }
        shown.extend(chunk.invalid().iter().map(|b| format!("%{b:02X}")));
    }
    let end = (0..=shown.len().min(200))
        .rev()
        .find(|end| shown.is_char_boundary(*end))
        .unwrap_or(0);
    shown.truncate(end);
    shown
}

#[cfg(test)]
mod tests {
    use super::presentable;

    #[test]
    fn names_become_presentable() {
        assert_eq!(presentable(b"a\nb"), "a%0Ab");
        assert_eq!(presentable(b"-rf"), "%2Drf");
        assert_eq!(presentable(b"\xff.x"), "%FF.x");
        assert_eq!(presentable(&[b'a'; 255]).len(), 200);
        assert_eq!(presentable("ä".repeat(127).as_bytes()).len(), 200);
    }
}
