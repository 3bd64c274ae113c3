//! Whether a door may take new work just now.

use super::SpoolLock;
use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::spool::{Spool, Where, shortage};
use std::fmt;
use std::io;

/// Why new work is not taken.
#[derive(Debug)]
pub enum NotNow {
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

impl fmt::Display for NotNow {
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

impl std::error::Error for NotNow {}

impl From<io::Error> for NotNow {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Refuses new work while there is too little room for it on the disk, or the disk has failed.
pub fn admit(spool: &Spool, config: &Config) -> Result<(), NotNow> {
    let holder = SpoolLock::holder(spool.path())?;
    let served = holder.is_some();
    if let Some(trouble) = holder.and_then(|holder| holder.trouble) {
        return Err(NotNow::Trouble(trouble));
    }
    match shortage(spool, config, served) {
        Some(why) => Err(NotNow::Shortage(why)),
        None => Ok(()),
    }
}

/// How many more jobs may wait. Refuses new work when that is none.
pub fn room(spool: &Spool, config: &Config) -> Result<u64, NotNow> {
    let Some(most) = config.max_pending else {
        return Ok(u64::MAX);
    };
    let mut waiting = spool.ids(&Where::Pending(QueueName::default()))?.len() as u64;
    for queue in spool.queues()? {
        waiting += spool.ids(&Where::Pending(queue))?.len() as u64;
    }
    match most.checked_sub(waiting) {
        Some(room) if room > 0 => Ok(room),
        Some(_) | None => Err(NotNow::Full { waiting, most }),
    }
}
