//! Whether a door may take new work just now.

use super::{RealFs, Spool, SpoolLock, Where, shortage};
use crate::core::config::Config;
use crate::core::id::QueueName;
use std::fmt;
use std::io;

/// Why new work is not taken.
#[derive(Debug)]
pub enum NotAdmitted {
    /// The daemon cannot write what comes of jobs.
    Trouble(String),
    /// The disk is nearly full.
    Shortage(String),
    /// Too many jobs wait.
    Full {
        /// So many.
        waiting: u64,
        /// `max_pending`.
        most: u64,
    },
    /// The spool could not be looked at.
    Io(io::Error),
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trouble(why) => write!(f, "not accepted: the daemon is in trouble: {why}"),
            Self::Shortage(why) => write!(f, "not accepted: {why}"),
            Self::Full { waiting, most } => {
                write!(
                    f,
                    "not accepted: {waiting} jobs wait, max_pending is {most}"
                )
            }
            Self::Io(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for NotAdmitted {}

impl From<io::Error> for NotAdmitted {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl Spool<RealFs> {
    /// Refuses new work while there is too little room for it on the disk, or the disk has failed.
    pub fn admit(&self, config: &Config) -> Result<(), NotAdmitted> {
        let holder = SpoolLock::holder(self.path())?;
        let served = holder.is_some();
        if let Some(trouble) = holder.and_then(|holder| holder.trouble) {
            return Err(NotAdmitted::Trouble(trouble));
        }
        match shortage(self, config, served) {
            Some(why) => Err(NotAdmitted::Shortage(why)),
            None => Ok(()),
        }
    }

    /// How many more jobs may wait. Refuses new work when that is none.
    pub fn room(&self, config: &Config) -> Result<u64, NotAdmitted> {
        let Some(most) = config.max_pending else {
            return Ok(u64::MAX);
        };
        let mut waiting = self.ids(&Where::Pending(QueueName::default()))?.len() as u64;
        for queue in self.queues()? {
            waiting += self.ids(&Where::Pending(queue))?.len() as u64;
        }
        match most.checked_sub(waiting) {
            Some(room) if room > 0 => Ok(room),
            Some(_) | None => Err(NotAdmitted::Full { waiting, most }),
        }
    }
}
