//! The daemon: the watcher, a thread for each job that is being started, run or recorded, and one for chores.
//!
//! `serve` is the first thread: what it sees goes through `intake` (dropped files) or `reconcile` (files that users
//! move) to [`state::Daemon::step`], which steps the scheduler and has `job` threads do what it asks for.

mod agenda;
pub mod background;
mod bridges;
mod calls;
pub mod chores;
mod confine;
pub mod detach;
mod ends;
mod events;
pub mod front;
pub mod home;
mod insist;
mod intake;
pub mod job;
mod launch;
mod leader;
mod leaving;
mod log_limit;
mod machine;
mod outcome;
mod own_paths;
mod proof;
mod real;
pub mod reconcile;
pub mod record;
mod recover;
pub mod retain;
pub mod room;
pub mod run;
mod scan;
mod serve;
mod settings;
mod spare;
pub mod start;
pub mod state;
mod sweep;
mod tally;
mod upgrade;
pub mod watcher;
mod watches;

pub use settings::{read as read_settings, take_spool};
pub use tally::{BUCKETS, Histogram, OfQueue, Tally};

use crate::core::config::Only;
use crate::core::id::{JobId, QueueName};
use crate::core::sandbox::Sandbox;
use crate::os::notify::Notifier;
use crate::os::signals::Signals;
use crate::spool::{Holder, LockError, SpoolLock};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The spool.
    pub spool: PathBuf,
    /// Jobs at a time; overrules the config.
    pub slots: Option<usize>,
    /// A queue that has so many slots unless the config gives it others.
    pub queue_slots: Option<(QueueName, usize)>,
    /// Exit when nothing has been left to run for so long.
    pub drain: Option<Duration>,
    /// The queues to serve; none means all.
    pub only: Only,
    /// The config, if it is not `config.json` in the spool.
    pub config: Option<PathBuf>,
    /// Leave out every sync.
    pub no_sync: bool,
    /// Serve also a spool into which others can put files.
    pub lax_modes: bool,
    /// The control group to make the groups of jobs in; the daemon runs in a group there.
    pub cgroup: Option<PathBuf>,
    /// The sandbox that no job can leave, whatever its record and the settings say.
    pub sandbox: Option<Sandbox>,
    /// Run this one job and nothing else (`pirn run` without a daemon).
    pub single: Option<JobId>,
    /// The counts for metrics.
    pub tally: Arc<Tally>,
}

/// Why the daemon did not start, or stopped.
#[derive(Debug)]
pub enum ServeError {
    /// Another daemon has the spool.
    Held(Box<Holder>),
    /// Another daemon is being started, and does not come to the spool's lock. This file is locked for it.
    Starting(PathBuf),
    /// The config is not valid, or the file system cannot hold a spool.
    Config(String),
    /// The system refused something.
    Io(String, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(holder) => write!(f, "the spool is in use by {holder}"),
            Self::Starting(locked) => write!(
                f,
                "another daemon is being started and is not ready; the process that keeps {} locked may be stopped (fg)",
                locked.display()
            ),
            Self::Config(what) => f.write_str(what),
            Self::Io(what, e) => write!(f, "{what}: {e}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<LockError> for ServeError {
    fn from(e: LockError) -> Self {
        match e {
            LockError::Held(holder) => Self::Held(holder),
            LockError::Io(what, e) => Self::Io(what, e),
        }
    }
}

/// Says what was being done when the system refused.
fn doing<T>(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Result<T, ServeError> {
    move |e| Err(ServeError::Io(what.to_string(), e))
}

/// Says of a spool that it cannot be opened, or that it is none.
fn not_served(spool: &Path) -> impl FnOnce(io::Error) -> ServeError {
    move |e| match e.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists if !spool.is_dir() => {
            ServeError::Config(format!(
                "{} is no directory, as a spool is",
                spool.display()
            ))
        }
        io::ErrorKind::NotADirectory => ServeError::Config(format!("{}: {e}", spool.display())),
        _ => ServeError::Io(spool.display().to_string(), e),
    }
}

/// A service that others can reach while the daemon serves: HTTP.
pub trait Service {
    /// The daemon was told to stop: take nothing new.
    fn drain(&mut self);
    /// The daemon is about to become its new image: let go of everything. Gives the variables that tell the next
    /// image what was kept open for it.
    fn pass_on(&mut self) -> Vec<(&'static str, String)>;
    /// It did not become the new image: go on as before.
    fn resume(&mut self);
    /// The daemon is about to exit: finish, within a few seconds.
    fn close(&mut self);
}

/// Starts a [`Service`] once the daemon has the spool.
pub type Opening = Box<dyn FnOnce() -> io::Result<Box<dyn Service>>>;

/// The resources that the caller passes in.
#[derive(Debug)]
pub struct Given {
    /// The spool's lock.
    pub lock: SpoolLock,
    /// The signals, if they are caught already.
    pub signals: Option<Signals>,
    /// Tells others how the daemon is.
    pub notifier: Notifier,
}

/// Serves a spool until told to stop (or drained).
pub fn serve(options: Options, given: Given, opening: Option<Opening>) -> Result<(), ServeError> {
    let mut watcher = watcher::WatcherThread::start(options, given)?;
    if let Some(open) = opening {
        watcher.service = Some(open().or_else(doing("opening the HTTP door"))?);
    }
    watcher.notifier.send(Notifier::READY);
    watcher.run()
}
