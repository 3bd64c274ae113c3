//! Accepting a job from a door: when this returns, the job survives a power cut.

use super::{Found, Fs, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use crate::os::dir::How;
use crate::os::fault::Fault;
use std::fmt;
use std::io;

/// How the job is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewId {
    /// The next number.
    Next,
    /// This, unless it is taken.
    Exact(JobId),
    /// This; a waiting job of that name is replaced.
    Replace(JobId),
}

/// A job to accept.
#[derive(Debug)]
pub struct Submit<'a> {
    /// What is asked for.
    pub record: &'a mut Record,
    /// Where it waits.
    pub queue: QueueName,
    /// How it is called.
    pub id: NewId,
}

/// Why a job was not accepted.
#[derive(Debug)]
pub enum SubmitError {
    /// The id is taken.
    Taken(JobId),
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

impl<F: Fs> Spool<F> {
    /// Stages, syncs, renames into `pending/`, syncs that: accepted. `boot` is the boot id of this machine.
    pub fn submit(&self, job: Submit<'_>, boot: &str) -> Result<JobId, SubmitError> {
        let place = Place::of_queue(&job.queue);
        if !job.queue.is_default() {
            self.fs.make_queue(&job.queue)?;
            self.sync(&Place::Pending)?;
        }
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
            match self
                .fs
                .rename(&Place::Tmp, &staged, &place, id.as_str().as_bytes(), how)
            {
                Ok(()) => {
                    if !Fault::NoPendingSync.is_on() {
                        self.sync(&place).inspect_err(|_| {
                            // Not accepted: take it back, unless it runs by now, or there is nothing to go back to.
                            if how == How::NoReplace {
                                let _ = self.fs.unlink(&place, id.as_str().as_bytes());
                            }
                        })?;
                    }
                    return Ok(id);
                }
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

    /// Makes sure that a job that was found to be there survives a power cut: whoever accepts it may not be done yet.
    pub fn confirm(&self, found: &Found) -> io::Result<()> {
        let queue = match &found.at {
            Where::Pending(queue) => queue.clone(),
            Where::Active => found.record.queue.clone().unwrap_or_default(),
            // A finished record is durable before it is there.
            Where::Complete | Where::Failed => return Ok(()),
        };
        match self.sync(&Place::of_queue(&queue)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        match found.at {
            Where::Active => self.sync_active(),
            Where::Pending(_) | Where::Complete | Where::Failed => Ok(()),
        }
    }

    /// The next number that no file has yet: somebody may have dropped a file named `57` by hand.
    fn fresh_number(&self, boot: &str) -> io::Result<JobId> {
        loop {
            let number = self.take_numbers(1, boot)?.to_string();
            let mut free = true;
            for place in [
                Place::Pending,
                Place::Active,
                Place::Complete,
                Place::Failed,
            ] {
                free &= self.fs.look(&place, number.as_bytes())?.is_none();
            }
            if let (true, Ok(id)) = (free, JobId::new(&number)) {
                return Ok(id);
            }
        }
    }
}
