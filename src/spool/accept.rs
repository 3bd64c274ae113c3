//! Accepting one job. When `submit` returns, the job survives a power cut.

use super::pause::no_queue;
use super::{Found, Fs, OLD_HELD, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::os::dir::{FileType, How};
use crate::os::fault::Fault;
use std::collections::BTreeSet;
use std::fmt;
use std::io;

/// The directories in which a file makes a number taken; `pending/` comes first.
pub(super) const STATES: [Place; 5] = [
    Place::Pending,
    Place::Held,
    Place::Active,
    Place::Complete,
    Place::Failed,
];

/// How many taken numbers are tried one by one before the directories are searched for a free one.
const PATIENCE: u32 = 4;

/// The id that a job is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewId {
    /// The next number.
    Next,
    /// This id, unless it is taken.
    Exact(JobId),
    /// This id. A waiting job that has it is replaced, in whichever queue it waits, and a held one.
    Replace(JobId),
}

/// A job to accept.
#[derive(Debug)]
pub struct Submit<'a> {
    /// The record.
    pub record: &'a mut Record,
    /// The queue in which it waits.
    pub queue: QueueName,
    /// It waits in `held/` until it is released to its queue.
    pub held: bool,
    /// Its id.
    pub id: NewId,
}

/// Why a job was not accepted.
#[derive(Debug)]
pub enum SubmitError {
    /// The id is taken.
    Taken(JobId),
    /// The text is no job, for this reason.
    NoJob(String),
    /// The spool could not be written.
    Io(io::Error),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(id) => write!(
                f,
                "there is a job {id} already; choose another id, or use --replace"
            ),
            Self::NoJob(why) => f.write_str(why),
            Self::Io(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for SubmitError {}

impl From<io::Error> for SubmitError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// The directory in which a new job of this queue waits.
pub(super) fn waiting_in(queue: &QueueName, held: bool) -> Place {
    match held {
        true => Place::Held,
        false => Place::of_queue(queue),
    }
}

/// Refuses the one name that a queue cannot have.
pub(super) fn check_queue(queue: &QueueName) -> Result<(), SubmitError> {
    match queue.as_str() {
        OLD_HELD => Err(SubmitError::NoJob(no_queue(queue).to_string())),
        _ => Ok(()),
    }
}

impl<F: Fs> Spool<F> {
    /// Accepts a job: stages and syncs its record, renames it into its queue or into `held/`, syncs that. `boot` is the
    /// id of this boot.
    pub fn submit(&self, job: Submit<'_>, boot: &str) -> Result<JobId, SubmitError> {
        check_queue(&job.queue)?;
        job.record.queue = (!job.queue.is_default()).then(|| job.queue.clone());
        if let NewId::Exact(id) = &job.id
            && self.find(id)?.is_some()
        {
            return Err(SubmitError::Taken(id.clone()));
        }
        let to = waiting_in(&job.queue, job.held);
        loop {
            let id = match &job.id {
                NewId::Next => self.fresh_number(boot)?,
                NewId::Exact(id) | NewId::Replace(id) => id.clone(),
            };
            job.record.id = Some(id.clone());
            let staged = self.stage(id.as_str(), job.record.to_json().as_bytes())?;
            match self.enter(&staged, &id, &to, &job.id) {
                Ok(()) => return Ok(id),
                Err(e) => {
                    self.fs.unlink(&Place::Tmp, &staged)?;
                    match (e.kind(), &job.id) {
                        (io::ErrorKind::AlreadyExists, NewId::Next) => continue,
                        (io::ErrorKind::AlreadyExists, NewId::Exact(_) | NewId::Replace(_)) => {
                            return Err(SubmitError::Taken(id));
                        }
                        _ => return Err(e.into()),
                    }
                }
            }
        }
    }

    /// Makes a job durable that another process may still be accepting.
    pub fn confirm(&self, found: &Found) -> io::Result<()> {
        let queue = match &found.at {
            Where::Pending(queue) => queue.clone(),
            Where::Active => found.record.queue.clone().unwrap_or_default(),
            Where::Held => return self.sync(&Place::Held),
            // A finished record is durable before it is visible.
            Where::Complete | Where::Failed => return Ok(()),
        };
        match self.sync(&Place::of_queue(&queue)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        match found.at {
            Where::Active => self.sync_active(),
            Where::Pending(_) | Where::Held | Where::Complete | Where::Failed => Ok(()),
        }
    }

    /// Renames a staged job to where it waits, durably. A queue that was made for it is removed again if that fails.
    fn enter(&self, staged: &[u8], id: &JobId, to: &Place, new: &NewId) -> io::Result<()> {
        let made = self.make_place(to)?;
        let entered = self.enter_place(staged, id, to, new);
        if let (Err(_), Some(queue)) = (&entered, made) {
            // Unless another process has put something into it meanwhile.
            let _ = self.fs.remove_queue(queue);
        }
        entered
    }

    /// Makes the directory of a queue if it is missing. Gives the queue if it was.
    pub(super) fn make_place<'p>(&self, place: &'p Place) -> io::Result<Option<&'p QueueName>> {
        if let Place::Queue(queue) = place
            && self.fs.make_queue(queue)?
        {
            return Ok(Some(queue));
        }
        Ok(None)
    }

    fn enter_place(&self, staged: &[u8], id: &JobId, to: &Place, new: &NewId) -> io::Result<()> {
        let name = id.as_str().as_bytes();
        let is_held = *to == Place::Held;
        let how = match new {
            NewId::Next | NewId::Exact(_) => How::NoReplace,
            NewId::Replace(_) => How::Replace,
        };
        if !to.is_fixed() {
            self.sync(&Place::Pending)?;
        }
        if how == How::Replace && !is_held {
            // So that the rename which replaces the job here leaves none in another queue.
            for from in self.waiting_twins(id, to)? {
                match self.fs.rename(&from, name, to, name, How::Replace) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => self.sync(&from)?,
                }
            }
        }
        // Another process may have accepted this job since the first look, and it may have run to its end.
        if matches!(new, NewId::Exact(_)) && self.find(id)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.fs.rename(&Place::Tmp, staged, to, name, how)?;
        if Fault::NoPendingSync.is_on() {
            return Ok(());
        }
        self.sync(to).inspect_err(|_| {
            // The job is not accepted, so its file is removed, unless it runs by now or has replaced another one.
            if how == How::NoReplace {
                let _ = self.fs.unlink(to, name);
            }
        })?;
        if how == How::Replace {
            // The file of a held job is removed last, since in a queue it could be started. If the new job is held, the
            // old one waits until the new one is durable: a crash must not leave the old one held.
            let rest = match is_held {
                true => self.waiting_twins(id, to)?,
                false => vec![Place::Held],
            };
            for place in rest {
                if self.fs.unlink(&place, name)? {
                    self.sync(&place)?;
                }
            }
        }
        Ok(())
    }

    /// The directories of other queues than this place in which a job of this name waits.
    fn waiting_twins(&self, id: &JobId, than: &Place) -> io::Result<Vec<Place>> {
        let queues = self.queues()?;
        let places = queues.iter().map(Place::of_queue).chain([Place::Pending]);
        let mut twins = Vec::new();
        for place in places.filter(|place| place != than) {
            match self.fs.look(&place, id.as_str().as_bytes()) {
                Ok(Some(look)) if look.kind != FileType::Directory => twins.push(place),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(twins)
    }

    /// The next id that no job has, for a caller who makes the job's file.
    pub fn new_id(&self, boot: &str) -> io::Result<JobId> {
        loop {
            let id = self.fresh_number(boot)?;
            if self.find(&id)?.is_none() {
                return Ok(id);
            }
        }
    }

    /// The next number that no file has: somebody may have dropped a file named `57`.
    pub(super) fn fresh_number(&self, boot: &str) -> io::Result<JobId> {
        let mut least = 1;
        for tried in 1u32.. {
            let number = self.take_numbers(least, 1, boot)?.first;
            if let Some(id) = self.free_number(number, &STATES)? {
                return Ok(id);
            }
            if tried >= PATIENCE {
                least = self.first_gap(number + 1)?;
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// This number as an id, if no file in these places has it.
    pub(super) fn free_number(&self, number: u64, places: &[Place]) -> io::Result<Option<JobId>> {
        let number = number.to_string();
        for place in places {
            if self.fs.look(place, number.as_bytes())?.is_some() {
                return Ok(None);
            }
        }
        Ok(JobId::new(&number).ok())
    }

    /// Searches the directories for the first number from `from` on that no file has.
    fn first_gap(&self, from: u64) -> io::Result<u64> {
        let mut taken = BTreeSet::new();
        for place in STATES {
            self.fs.names(&place, &mut |name| {
                let number = str::from_utf8(name)
                    .ok()
                    .and_then(|name| name.parse::<u64>().ok());
                taken.extend(number.filter(|number| *number >= from));
            })?;
        }
        Ok((from..)
            .zip(&taken)
            .find(|(n, taken)| n < *taken)
            .map_or_else(|| from + taken.len() as u64, |(n, _)| n))
    }
}
