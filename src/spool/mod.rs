//! The protocol of the spool: who writes which file, in which order. Nothing else writes the spool's files.
//!
//! All operations go through [`Fs`], so that the same code runs on the real file system and on a simulated one that
//! forgets what was not synced. A rename is the only change of state. The promises of pirn-spool(5) depend on the
//! order of syncs and renames in `commit.rs`.

mod accept;
mod admit;
mod archive;
mod batch;
mod by_hand;
mod claim;
mod commit;
mod daemon_log;
mod edit;
mod follow_up;
mod fs;
mod group;
mod held_dirs;
mod hold;
mod holder;
mod intake;
mod list;
mod lock;
mod lock_part;
mod logs;
mod look;
mod modes;
mod newest;
mod overview;
mod ownership;
mod pause;
mod place;
mod progress;
mod qmd_result;
mod quarantine;
mod real;
mod recover;
mod remote;
mod remove;
mod reorder;
mod reserve;
mod retain;
mod rewrite;
mod scratch;
mod seq;
mod settings;
mod starting;
mod steer;
mod ticket;
mod users;
mod view;
mod waits;

pub use accept::{NewId, Submit, SubmitError};
pub use admit::NotAdmitted;
pub use batch::{Batch, JobText};
pub use commit::{Ending, Placed, Target};
pub use daemon_log::DaemonLog;
pub use edit::{Editing, HeldText, edit_copy};
pub use fs::{Ask, DirNames, Fs, NewFile, NewSeq, Taken};
pub use holder::{Holder, HolderLine, Role};
pub use intake::{DropLimits, Intake};
pub use lock::{LockError, SpoolLock, Tenure};
pub use logs::{OpenLogs, SilentLogs, stderr_log};
pub use newest::NewestFirst;
pub use overview::{Overview, QueueStatus};
pub use pause::PAUSED;
pub use place::Place;
pub use progress::progress_path;
pub use qmd_result::{QMD_QUEUE, QmdResult, is_of_qmd};
pub use quarantine::InBad;
pub use real::RealFs;
pub use recover::Left;
pub use remote::{BridgeFiles, LeaseDir, LeaseSummary};
pub use reserve::Reserve;
pub use retain::Finished;
pub use rewrite::IfSame;
pub use settings::{Edit, EditError, read_config};
pub use starting::Starting;
pub use steer::{CancelledWaiting, NOT_RUNNING, OLD_HELD, Steered};
pub use ticket::stamp;
pub use users::UserSpools;
pub use view::{Found, Where};
pub use waits::Waits;

use crate::core::config::Config;
use crate::core::config::ids::IdForm;
use crate::core::id::QueueName;
use crate::os::fault::Fault;
use crate::os::ownership::Ownership;
use group::GroupSync;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// An open spool.
#[derive(Debug)]
pub struct Spool<F: Fs = RealFs> {
    fs: F,
    path: PathBuf,
    durable: bool,
    groups: [GroupSync; GROUPED.len()],
    staged: AtomicU64,
    pid: u32,
    /// The queues that were there when `pending/` was last read.
    queues: Mutex<Vec<QueueName>>,
    /// The settings that accepting and ending jobs depend on.
    settings: RwLock<Arc<Config>>,
    /// Held while older runs are renamed, and while the belongings of removed jobs are removed.
    naming: Mutex<()>,
    /// Held while a file gets its name in `bad/`.
    names_in_bad: Mutex<()>,
}

/// The most characters of an id in the name of a staging file.
const STAGED_CHARS: usize = 40;

/// The directories for which callers share syncs.
const GROUPED: [Place; 5] = [
    Place::Active,
    Place::Held,
    Place::Pending,
    Place::Complete,
    Place::Failed,
];

impl Spool<RealFs> {
    /// Opens a spool and all its directories, and makes what is missing. `durable: false` leaves out every sync.
    pub fn create(path: &Path, durable: bool) -> io::Result<Self> {
        Ok(Self::over(RealFs::create(path)?, path, durable))
    }

    /// The same for a command that needs few of the directories: each is opened when it is first used.
    pub fn open(path: &Path, durable: bool) -> io::Result<Self> {
        Ok(Self::over(RealFs::open(path)?, path, durable))
    }

    /// Opens a spool for a command that makes nothing. `None` if there is no spool.
    pub fn existing(path: &Path) -> io::Result<Option<Self>> {
        Ok(RealFs::existing(path)?.map(|fs| Self::over(fs, path, true)))
    }

    /// False if the spool was removed, or its path leads to another one now.
    pub fn is_at_its_path(&self) -> io::Result<bool> {
        let inode = |spool: &Self| -> io::Result<Option<u64>> {
            Ok(spool.look(&Place::Root, b".")?.map(|look| look.inode))
        };
        match Self::existing(&self.path)? {
            None => Ok(false),
            Some(here) => Ok(inode(&here)? == inode(self)?),
        }
    }
}

impl<F: Fs> Spool<F> {
    /// A spool on any file system. `path` is for messages and the jobs' environment.
    pub fn over(fs: F, path: &Path, durable: bool) -> Self {
        Self {
            fs,
            path: path.to_owned(),
            durable,
            groups: Default::default(),
            staged: AtomicU64::new(0),
            pid: std::process::id(),
            queues: Mutex::default(),
            settings: RwLock::default(),
            naming: Mutex::new(()),
            names_in_bad: Mutex::new(()),
        }
    }

    /// Sets the form of the ids that jobs get from now on, and the command that follows the ends of jobs without one.
    pub fn use_settings(&self, config: &Arc<Config>) {
        let mut settings = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *settings = Arc::clone(config);
    }

    fn id_form(&self) -> IdForm {
        self.settings().ids
    }

    fn settings(&self) -> Arc<Config> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&settings)
    }

    /// The path of the spool.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a directory of the spool.
    pub fn path_of(&self, place: &Place) -> PathBuf {
        // Without the dot of the spool itself.
        self.path.join(place.relative()).components().collect()
    }

    /// Makes the names in a directory durable, unless syncs are off. Callers share syncs.
    fn sync(&self, place: &Place) -> io::Result<()> {
        if !self.durable {
            return Ok(());
        }
        match GROUPED.iter().zip(&self.groups).find(|(p, _)| *p == place) {
            Some((_, group)) => group.run(|| self.fs.sync(place)),
            None => self.fs.sync(place),
        }
    }

    /// Makes the names in `active/` durable.
    fn sync_active(&self) -> io::Result<()> {
        if Fault::NoActiveSync.is_on() {
            return Ok(());
        }
        self.sync(&Place::Active)
    }

    /// A name in `tmp/` for a staging file, which no other thread or process uses.
    fn staging_name(&self, id: &str) -> Vec<u8> {
        let n = self
            .staged
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id: String = id.chars().take(STAGED_CHARS).collect();
        format!(".{id}.{}.{n}", self.pid).into_bytes()
    }

    /// Writes a staging file and syncs it. After a failed sync the file cannot be trusted, even if a second sync
    /// succeeds (measured on ext4): so it is written once more under another name.
    fn stage(&self, id: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.stage_like(id, bytes, None)
    }

    /// The same for a record that is to replace one of this ownership.
    fn stage_like(
        &self,
        id: &str,
        bytes: &[u8],
        ownership: Option<Ownership>,
    ) -> io::Result<Vec<u8>> {
        let first = match self.write_staged(id, bytes, ownership) {
            Err(e) if e.raw_os_error() == Some(libc::EIO) => e,
            staged => return staged,
        };
        let spool = self.path.display();
        log::warn!("{spool}: writing {id} to tmp/ failed ({first}); trying under a new name");
        self.write_staged(id, bytes, ownership)
    }

    /// Stages several files. A file that fails is staged once more, alone.
    fn stage_all(&self, texts: &[(&str, &[u8], Option<Ownership>)]) -> Vec<io::Result<Vec<u8>>> {
        let durable = self.durable && !Fault::NoFileSync.is_on();
        let names = texts.iter().map(|(id, ..)| self.staging_name(id));
        let names: Vec<Vec<u8>> = names.collect();
        let files: Vec<NewFile<'_>> = names
            .iter()
            .zip(texts)
            .map(|(name, &(_, bytes, ownership))| NewFile {
                name,
                bytes,
                ownership,
            })
            .collect();
        let written = self.fs.write_all(&Place::Tmp, &files, durable);
        let all = names.iter().zip(texts).zip(written);
        all.map(|((name, &(id, bytes, ownership)), written)| match written {
            Ok(()) => Ok(name.clone()),
            Err(e) => {
                if e.kind() != io::ErrorKind::AlreadyExists {
                    let _ = self.fs.unlink(&Place::Tmp, name);
                }
                self.stage_like(id, bytes, ownership)
            }
        })
        .collect()
    }

    fn write_staged(
        &self,
        id: &str,
        bytes: &[u8],
        ownership: Option<Ownership>,
    ) -> io::Result<Vec<u8>> {
        let durable = self.durable && !Fault::NoFileSync.is_on();
        loop {
            let name = self.staging_name(id);
            let file = NewFile {
                name: &name,
                bytes,
                ownership,
            };
            match self.fs.write(&Place::Tmp, &file, durable) {
                Ok(()) => return Ok(name),
                // A crash left this file under a pid that is ours now, or it belongs to a process in another pid
                // namespace, where the same pid is usual (it is 1 in every container).
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let _ = self.fs.unlink(&Place::Tmp, &name);
                    return Err(e);
                }
            }
        }
    }
}
