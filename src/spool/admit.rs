//! Whether new work is accepted now.

use super::fs::Fs;
use super::{Place, RealFs, Reserve, Spool, SpoolLock, Where};
use crate::core::config::{Config, MinFree};
use crate::core::id::QueueName;
use crate::core::units::{jobs_wait, show_size};
use std::fmt;
use std::io;

/// Why new work is refused.
#[derive(Debug)]
pub enum NotAdmitted {
    /// The daemon cannot record the ends of jobs, for this reason.
    Trouble(String),
    /// The disk is nearly full.
    Shortage(String),
    /// Too many jobs wait.
    Full {
        /// Jobs that wait.
        waiting: u64,
        /// `max_pending`.
        most: u64,
    },
    /// The spool could not be read.
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
                    "not accepted: {}, max_pending is {most}",
                    jobs_wait(*waiting)
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
    /// Refuses new work while the disk has failed or is nearly full.
    pub fn admit(&self, config: &Config) -> Result<(), NotAdmitted> {
        let holder = SpoolLock::holder(self.path())?;
        let served = holder.is_some();
        if let Some(trouble) = holder.and_then(|holder| holder.trouble) {
            return Err(NotAdmitted::Trouble(trouble));
        }
        match self.shortage(config, served) {
            Some(why) => Err(NotAdmitted::Shortage(why)),
            None => Ok(()),
        }
    }

    /// Why nothing should be accepted or started, if the disk is nearly full. `served`: a daemon has the spool, and
    /// holds a reserve.
    pub fn shortage(&self, config: &Config, served: bool) -> Option<String> {
        let space = self.free_space().ok()?;
        let (bytes, inodes) = match config.min_free {
            MinFree::Bytes(bytes) => (bytes, 0),
            MinFree::Percent(share) => {
                let of = |total: u64| (total as f64 * share / 100.0) as u64;
                (of(space.total_bytes), of(space.total_inodes))
            }
        };
        // New work may use neither the reserve nor, once the reserve was given up, the room that it had.
        let reserved = !served || self.fs.look(&Place::Tmp, Reserve::MARK).ok()?.is_some();
        let (kept_bytes, kept_inodes) = if reserved {
            (0, 0)
        } else {
            (Reserve::BYTES, Reserve::INODES)
        };
        let (bytes, inodes) = (bytes + kept_bytes, inodes.max(8) + kept_inodes);
        if space.free_bytes < bytes {
            return Some(format!(
                "{} are free on the spool's file system, less than the {} of min_free",
                show_size(space.free_bytes),
                show_size(bytes)
            ));
        }
        // A file system that makes inodes as it needs them reports none.
        if space.total_inodes > 0 && space.free_inodes < inodes {
            return Some(format!(
                "{} inodes are free on the spool's file system, at least {} are wanted",
                space.free_inodes, inodes
            ));
        }
        None
    }

    /// How many more jobs may wait. Refuses new work when none may.
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
