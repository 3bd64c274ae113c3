//! `remote/NAME/`: the open leases of a bridge. `ID` is a lease, `.ID` the record of a job that is still to be dropped.
//! Nothing here is synced but the records that are accepted: the engine has the message until it is acknowledged.

use super::{Found, Place, RealFs, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::lease::Lease;
use crate::core::record::Record;
use crate::core::time::Wall;
use crate::os::dir::{self, How};
use crate::os::flock;
use crate::os::inotify::{Interest, Watch, Watcher};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// The directory with a directory for each bridge.
const REMOTE: &str = "remote";

/// Held (flock) by the one process that is the bridge.
const LOCK: &[u8] = b"lock";

/// The boot in which all leases were taken up.
const BOOT: &[u8] = b"boot";

/// How many messages were refused and leases lost, for people.
const COUNTS: &[u8] = b"counts";

/// The names that are no leases.
const NO_LEASES: [&[u8]; 3] = [LOCK, BOOT, COUNTS];

/// How often the lock is tried, and the wait between two tries.
const LOCK_TRIES: usize = 5;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// Largest lease file. Receipts of SQS have up to 1 KiB or so.
const MAX_LEASE_BYTES: u64 = 64 << 10;

/// The directory of a bridge, locked.
#[derive(Debug)]
pub struct LeaseDir {
    dir: OwnedFd,
    _lock: File,
}

/// A bridge that has a directory, as its files show it.
#[derive(Debug)]
pub struct BridgeFiles {
    /// Its name.
    pub name: QueueName,
    /// True if its process runs.
    pub is_running: bool,
    /// The open leases and their texts.
    pub leases: Vec<(JobId, String)>,
    /// The text of `counts`.
    pub counts: String,
}

/// A bridge in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseSummary {
    /// Open leases.
    pub open: usize,
    /// The age of the oldest one.
    pub oldest: Option<Duration>,
    /// Leases that were lost, since the bridge's directory was made.
    pub lost: u64,
    /// Messages that could not be jobs, since then.
    pub refused: u64,
}

impl BridgeFiles {
    /// The figures at this time.
    pub fn summary(&self, now: Wall) -> LeaseSummary {
        let leases = self.leases.iter();
        let ages = leases.filter_map(|(_, text)| Some(now.since(Lease::parse(text).ok()?.since)));
        let counts: Option<serde_json::Value> = serde_json::from_str(&self.counts).ok();
        let count = |key: &str| {
            let count = counts.as_ref().and_then(|counts| counts.get(key)?.as_u64());
            count.unwrap_or(0)
        };
        LeaseSummary {
            open: self.leases.len(),
            oldest: ages.max(),
            lost: count("lost"),
            refused: count("refused"),
        }
    }
}

impl Spool<RealFs> {
    /// Opens the directory of a bridge, and makes it if it is missing. `None`: another process has locked it.
    pub fn lease_dir(&self, name: &QueueName) -> io::Result<Option<LeaseDir>> {
        let dir = self.fs.with(&Place::Root, |root| {
            dir::make_dir(root, REMOTE.as_bytes())?;
            let remote = dir::open_dir(root, REMOTE.as_bytes())?;
            dir::make_dir(&remote, name.as_str().as_bytes())?;
            dir::open_dir(&remote, name.as_str().as_bytes())
        })?;
        let lock = dir::open_edit(&dir, LOCK)?;
        for _ in 0..LOCK_TRIES {
            if flock::try_exclusive(&lock)? {
                return Ok(Some(LeaseDir { dir, _lock: lock }));
            }
            // A process that asks whether it is locked locks it for a moment.
            thread::sleep(LOCK_WAIT);
        }
        Ok(None)
    }

    /// The bridges that have directories, in the order of their names.
    pub fn bridges(&self) -> io::Result<Vec<BridgeFiles>> {
        let remote = self
            .fs
            .with(&Place::Root, |root| dir::open_dir(root, REMOTE.as_bytes()));
        let remote = match remote {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            remote => remote?,
        };
        let mut names = Vec::new();
        dir::names(&remote, |name: &[u8]| {
            names.extend(QueueName::from_bytes(name))
        })?;
        names.sort();
        let mut all = Vec::new();
        for name in names {
            if let Ok(dir) = dir::open_dir(&remote, name.as_str().as_bytes()) {
                all.push(BridgeFiles {
                    is_running: is_locked(&dir)?,
                    leases: leases(&dir)?,
                    counts: read(&dir, COUNTS)?.unwrap_or_default(),
                    name,
                });
            }
        }
        Ok(all)
    }

    /// Moves a staged record into its queue without replacing a file there. With `durable` it is accepted: it survives a
    /// power cut.
    pub fn drop_staged(
        &self,
        from: &LeaseDir,
        id: &JobId,
        queue: &QueueName,
        durable: bool,
    ) -> io::Result<()> {
        let place = self.waiting_place(queue.clone())?;
        let name = id.as_str().as_bytes();
        let renamed = self.fs.with(&place, |to| {
            dir::rename(&from.dir, &staged(id), to, name, How::NoReplace)
        });
        match renamed {
            // A file of this name is there: the job was dropped before, or a user has put it there.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => from.unstage(id)?,
            renamed => renamed?,
        }
        match durable {
            true => self.sync(&place),
            false => Ok(()),
        }
    }

    /// Takes a waiting job out of the spool: it is held first, so that it cannot be started meanwhile. False if it does
    /// not wait any more.
    pub fn withdraw(&self, id: &JobId) -> io::Result<bool> {
        use super::{NOT_RUNNING, Steered};
        use crate::core::record::State;
        match self.durably(|changed| self.hold(id, changed))? {
            Steered::Done(State::Pending | State::Held) => {}
            Steered::Done(State::Active | State::Complete | State::Failed)
            | Steered::Missing
            | Steered::Wrong(_) => return Ok(false),
        }
        let forgotten = self.durably(|changed| self.forget(id, &NOT_RUNNING, changed))?;
        Ok(matches!(forgotten, Steered::Done(State::Held)))
    }

    /// The directory in which jobs of this queue wait, which is made if it is missing.
    pub fn waiting_dir(&self, queue: &QueueName) -> io::Result<Place> {
        self.waiting_place(queue.clone())
    }

    /// Watches the bridge's directory.
    pub fn watch_leases(&self, dir: &LeaseDir, watcher: &Watcher) -> io::Result<Watch> {
        watcher.add(&dir.dir, Interest::Moves)
    }

    /// Watches `lock`, which a daemon writes when it begins. `None` if there is none.
    pub fn watch_lock(&self, watcher: &Watcher) -> io::Result<Option<Watch>> {
        let opened = self
            .fs
            .with(&Place::Root, |root| dir::open_read(root, b"lock"));
        match opened {
            Ok(lock) => watcher.add(lock, Interest::Growth).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The jobs in these places that `is_wanted`, of ended ones those that were written after `since` (nanoseconds since
    /// the epoch).
    pub fn jobs_with(
        &self,
        places: &[Where],
        since: i64,
        is_wanted: impl Fn(&Record) -> bool,
    ) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for at in places {
            for id in self.ids(at)? {
                if at.state().is_final() {
                    let look = self.look(&at.place(), id.as_str().as_bytes())?;
                    if look.is_none_or(|look| look.modified < since) {
                        continue;
                    }
                }
                // A file that is gone, or is no job, is none of ours.
                if let Ok(Some(record)) = self.load(&id, at)
                    && is_wanted(&record)
                {
                    let at = at.clone();
                    found.push(Found { id, at, record });
                }
            }
        }
        Ok(found)
    }
}

impl LeaseDir {
    /// Writes the record of a job that is still to be dropped, and then its lease. With `durable` the record is synced.
    pub fn stage(&self, id: &JobId, record: &str, lease: &str, durable: bool) -> io::Result<()> {
        // In no order of these steps there is a lease without its record.
        self.remove(id)?;
        dir::write_new(&self.dir, &staged(id), record.as_bytes(), None, durable)?;
        self.store(id, lease)
    }

    /// False for an id that is the name of a file of the bridge.
    pub fn can_hold(id: &JobId) -> bool {
        !NO_LEASES.contains(&id.as_str().as_bytes())
    }

    /// Writes a lease, in place of an older one.
    pub fn store(&self, id: &JobId, lease: &str) -> io::Result<()> {
        self.replace(id.as_str().as_bytes(), lease.as_bytes())
    }

    /// Writes how many messages were refused and leases lost.
    pub fn store_counts(&self, text: &str) -> io::Result<()> {
        self.replace(COUNTS, text.as_bytes())
    }

    fn replace(&self, name: &[u8], bytes: &[u8]) -> io::Result<()> {
        let new = [name, b"~"].concat();
        dir::unlink(&self.dir, &new)?;
        dir::write_new(&self.dir, &new, bytes, None, false)?;
        dir::rename(&self.dir, &new, &self.dir, name, How::Replace)
    }

    /// Removes a record that is not to be dropped any more.
    pub fn unstage(&self, id: &JobId) -> io::Result<()> {
        dir::unlink(&self.dir, &staged(id)).map(drop)
    }

    /// Removes all files of a lease. The record comes last: a lease without one is that of a job which was dropped.
    pub fn remove(&self, id: &JobId) -> io::Result<()> {
        dir::unlink(&self.dir, id.as_str().as_bytes())?;
        self.unstage(id)
    }

    /// The leases and their texts.
    pub fn leases(&self) -> io::Result<Vec<(JobId, String)>> {
        leases(&self.dir)
    }

    /// Removes files that were being written when a process ended.
    pub fn remove_unfinished(&self) -> io::Result<()> {
        let mut names = Vec::new();
        dir::names(&self.dir, |name: &[u8]| {
            if name.ends_with(b"~") {
                names.push(name.to_vec());
            }
        })?;
        for name in names {
            dir::unlink(&self.dir, &name)?;
        }
        Ok(())
    }

    /// The jobs whose records are still to be dropped.
    pub fn staged(&self) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        dir::names(&self.dir, |name: &[u8]| {
            let name = name.strip_prefix(b".");
            ids.extend(name.and_then(|name| JobId::from_bytes(name).ok()));
        })?;
        Ok(ids)
    }

    /// The text of `counts`; empty if there is none.
    pub fn counts(&self) -> io::Result<String> {
        Ok(read(&self.dir, COUNTS)?.unwrap_or_default())
    }

    /// The boot whose leases have all been taken up.
    pub fn last_boot(&self) -> io::Result<Option<String>> {
        read(&self.dir, BOOT)
    }

    /// Notes that all leases have been taken up in this boot.
    pub fn note_boot(&self, boot: &str) -> io::Result<()> {
        self.replace(BOOT, boot.as_bytes())
    }
}

fn staged(id: &JobId) -> Vec<u8> {
    [b".", id.as_str().as_bytes()].concat()
}

fn is_locked(dir: &OwnedFd) -> io::Result<bool> {
    let lock = match dir::open_read(dir, LOCK) {
        Ok(lock) => lock,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    flock::is_held(&lock)
}

fn leases(dir: &OwnedFd) -> io::Result<Vec<(JobId, String)>> {
    let mut ids = Vec::new();
    dir::names(dir, |name: &[u8]| {
        if !NO_LEASES.contains(&name) {
            ids.extend(JobId::from_bytes(name));
        }
    })?;
    ids.sort();
    let mut leases = Vec::new();
    for id in ids {
        if let Some(text) = read(dir, id.as_str().as_bytes())? {
            leases.push((id, text));
        }
    }
    Ok(leases)
}

fn read(dir: &OwnedFd, name: &[u8]) -> io::Result<Option<String>> {
    let file = match dir::open_read(dir.as_fd(), name) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let bytes = dir::read_up_to(&file, 0, MAX_LEASE_BYTES)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
