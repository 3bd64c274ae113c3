//! Judging a dropped file: it is a job, may become one, or never will.

use super::Spool;
use super::fs::{Ask, Fs, Taken};
use super::place::Place;
use super::ticket::stamp;
use crate::core::id::{JobId, QueueName, is_foreign};
use crate::core::record::{Origin, Record, RecordError};
use crate::core::scheduler::Stamp;
use crate::core::time::Wall;
use crate::os::dir::{FileType, How, Look};
use crate::os::lease::Writers;
use std::io;
use std::time::Duration;

/// How much larger than a dropped file the record of a job may be that has run before: its output, its result and its
/// history were added.
const GROWTH: u64 = 16 << 20;

fn too_large(size: u64, limits: DropLimits) -> Intake {
    let most = limits.max_job_bytes;
    bad(format!(
        "the file is {size} bytes long; max_job_bytes is {most}"
    ))
}

/// How long an odd state (empty, two links, no lease to be had) may last before the file is judged.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The bounds of a dropped file.
#[derive(Debug, Clone, Copy)]
pub struct DropLimits {
    /// The largest file.
    pub max_job_bytes: u64,
    /// The user whose files are jobs, beside root.
    pub uid: u32,
}

/// The judgement.
#[derive(Debug)]
pub enum Intake {
    /// A job.
    Job(Box<Record>, Look, Origin),
    /// Nothing, or a name that is not ours: leave it alone.
    Nothing,
    /// A file that is being written. An event follows when the writer closes it.
    Open,
    /// A file that may become a job: judge it again after this time.
    Later(Duration),
    /// A directory in `pending/`, which is a queue.
    Queue(QueueName),
    /// Not a job, for this reason.
    Bad {
        /// The reason.
        why: String,
        /// The file that was judged; `None` if its name alone is wrong.
        file: Option<Stamp>,
    },
}

impl Intake {
    /// Adds the file that was judged.
    fn seen_as(self, judged: &Look) -> Self {
        match self {
            Self::Bad { why, file: _ } => Self::Bad {
                why,
                file: Some(stamp(judged)),
            },
            Self::Job(..) | Self::Queue(_) | Self::Open | Self::Later(_) | Self::Nothing => self,
        }
    }
}

fn bad(why: String) -> Intake {
    Intake::Bad { why, file: None }
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
            Taken::Strange(look) => Ok(strange(place, name, &look).seen_as(&look)),
            Taken::TooLarge(look) => Ok(too_large(look.size, limits).seen_as(&look)),
            Taken::File {
                look,
                writers,
                bytes,
            } => {
                let intake = regular(look, writers, &bytes, limits, now);
                Ok(intake.seen_as(&look))
            }
        }
    }

    /// Moves a job that was dropped into `pending/` to the queue that its record names. If a job of its name waits
    /// there already, the daemon cannot know which one is wanted: the one in `pending/`, the file `judged`, goes to
    /// `bad/`. Then its name there and the reason are returned.
    pub fn route(
        &self,
        id: &JobId,
        record: &Record,
        judged: Stamp,
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
                let target = self.quarantine_judged(&Place::Pending, name, &why, judged)?;
                Ok(target.map(|target| (target, why)))
            }
            Err(e) => Err(e),
        }
    }

    /// Archives the record of an earlier run of this name, to make room for the job that is in `now_in`. A record in
    /// `complete/` or `failed/` is an earlier run only if the job is still in `now_in` after it was seen: a user may
    /// be moving the job there.
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
    if look.ownership.uid != limits.uid && look.ownership.uid != 0 {
        return bad(format!(
            "the file belongs to user {}; jobs here run as user {}, and only on their own word or root's",
            look.ownership.uid, limits.uid
        ));
    }
    match (writers, young) {
        (Writers::Open, _) => return Intake::Open,
        (Writers::Locked, _) => return Intake::Later(Duration::from_millis(200)),
        (Writers::Unknown, Some(rest)) => return Intake::Later(rest),
        (Writers::Unknown, None) | (Writers::None, _) => {}
    }
    if look.links != 1 {
        // A program may put a file into place with link(2) and unlink(2): for a moment it has two names.
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
