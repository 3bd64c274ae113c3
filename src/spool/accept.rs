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
    /// This id. A waiting job that has it is replaced, in whichever queue it waits.
    Replace(JobId),
}

/// A job to accept.
#[derive(Debug)]
pub struct Submit<'a> {
    /// The record.
    pub record: &'a mut Record,
    /// The queue in which it waits.
    pub queue: QueueName,
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

/// Refuses the one name that a queue cannot have.
pub(super) fn check_queue(queue: &QueueName) -> Result<(), SubmitError> {
    match queue.as_str() {
        OLD_HELD => Err(SubmitError::NoJob(no_queue(queue).to_string())),
        _ => Ok(()),
    }
}

impl<F: Fs> Spool<F> {
    /// Accepts a job: stages and syncs its record, renames it into its queue, syncs the queue. `boot` is the id of
    /// this boot.
    pub fn submit(&self, job: Submit<'_>, boot: &str) -> Result<JobId, SubmitError> {
        check_queue(&job.queue)?;
        job.record.queue = (!job.queue.is_default()).then(|| job.queue.clone());
        let (exact, how) = match job.id {
            NewId::Next => (None, How::NoReplace),
            NewId::Exact(id) => {
                if self.find(&id)?.is_some() {
                    return Err(SubmitError::Taken(id));
                }
                (Some(id), How::NoReplace)
            }
            NewId::Replace(id) => (Some(id), How::Replace),
        };
        loop {
            let id = match &exact {
                Some(id) => id.clone(),
                None => self.fresh_number(boot)?,
            };
            job.record.id = Some(id.clone());
            let staged = self.stage(id.as_str(), job.record.to_json().as_bytes())?;
            match self.enter(&staged, &id, &job.queue, how) {
                Ok(()) => return Ok(id),
                Err(e) => {
                    self.fs.unlink(&Place::Tmp, &staged)?;
                    match (e.kind(), &exact) {
                        (io::ErrorKind::AlreadyExists, None) => continue,
                        (io::ErrorKind::AlreadyExists, Some(_)) => {
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

    /// Renames a staged job into its queue, durably. A queue that was made for it is removed again if that fails.
    fn enter(&self, staged: &[u8], id: &JobId, queue: &QueueName, how: How) -> io::Result<()> {
        let made = !queue.is_default() && self.fs.make_queue(queue)?;
        let entered = self.enter_queue(staged, id, queue, how);
        if entered.is_err() && made {
            // Unless another process has put something into it meanwhile.
            let _ = self.fs.remove_queue(queue);
        }
        entered
    }

    fn enter_queue(
        &self,
        staged: &[u8],
        id: &JobId,
        queue: &QueueName,
        how: How,
    ) -> io::Result<()> {
        let (place, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        if !queue.is_default() {
            self.sync(&Place::Pending)?;
        }
        if how == How::Replace {
            self.gather(id, queue)?;
        }
        self.fs.rename(&Place::Tmp, staged, &place, name, how)?;
        if Fault::NoPendingSync.is_on() {
            return Ok(());
        }
        self.sync(&place).inspect_err(|_| {
            // The job is not accepted, so its file is removed, unless it runs by now or has replaced another one.
            if how == How::NoReplace {
                let _ = self.fs.unlink(&place, name);
            }
        })?;
        // A held job of this name is replaced too: its file is removed last. In a queue it could be started.
        if how == How::Replace && self.fs.unlink(&Place::Held, name)? {
            self.sync(&Place::Held)?;
        }
        Ok(())
    }

    /// Moves a waiting job of this name from any other queue into this one, so that the rename which replaces it here
    /// leaves none in another queue.
    fn gather(&self, id: &JobId, queue: &QueueName) -> io::Result<()> {
        let (to, name) = (Place::of_queue(queue), id.as_str().as_bytes());
        let queues = self.queues()?;
        let places = queues.iter().map(Place::of_queue);
        for from in places.chain([Place::Pending]) {
            if from == to {
                continue;
            }
            let waits = match self.fs.look(&from, name) {
                Ok(look) => look.is_some_and(|look| look.kind != FileType::Directory),
                Err(e) if e.kind() == io::ErrorKind::NotFound => false,
                Err(e) => return Err(e),
            };
            if waits {
                match self.fs.rename(&from, name, &to, name, How::Replace) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => self.sync(&from)?,
                }
            }
        }
        Ok(())
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
