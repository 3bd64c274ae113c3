//! The lock of a spool: flock(2) on the directory `active/`, and on the file `lock` for older versions and for people.
//! Nobody can unlink a directory with jobs in it, and a `lock` that is removed is written again.
//!
//! `lock` says who has the spool. Its first line is the pid; each further line is `key: value`, and readers skip keys
//! that they do not know.

use crate::os::{clock, dir, procfs, signals, spawn};
use fs2::FileExt;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who has the lock, as far as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid; `None` when the file does not say.
    pub pid: Option<i32>,
    /// Its version; `None` for a daemon older than 0.2.0, which did not say.
    pub version: Option<String>,
    /// Its use of the spool. Daemons older than 0.2.0 did not say.
    pub role: Role,
    /// The file of its settings; `None` for `config.json` in the spool.
    pub config: Option<PathBuf>,
    /// What it has to say, if it is in trouble.
    pub trouble: Option<String>,
}

impl Holder {
    /// Somebody of whom nothing is known.
    const UNKNOWN: Self = Self {
        pid: None,
        version: None,
        role: Role::Serve,
        config: None,
        trouble: None,
    };

    /// True for a process that is there. A killed one's last child has its locks until it executes its program.
    fn is_alive(&self) -> bool {
        let stat = |pid| procfs::stat(pid).is_some_and(|stat| stat.is_alive());
        self.pid.is_none_or(stat)
    }
}

/// The use that the holder of a spool makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves the spool until it is told to stop.
    Serve,
    /// It runs one job.
    Run,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Run => "run",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) if self.role == Role::Run => write!(f, "pirn run, process {pid}"),
            Some(pid) => write!(f, "process {pid}"),
            None => write!(f, "another process"),
        }
    }
}

/// Whose a spool is that was ours.
#[derive(Debug)]
pub enum Tenure {
    /// Still ours.
    Ours,
    /// Somebody else has `lock` but not `active/`: a daemon older than 0.2.0, a person, or a daemon that starts and is
    /// about to be refused.
    Disputed(Holder),
    /// Another daemon has it.
    Lost(Holder),
}

/// Why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon has the spool.
    Held(Holder),
    /// The system refused what the text names.
    Io(String, io::Error),
}

/// A part of the lock. All take them in this order.
#[derive(Debug, Clone, Copy)]
enum LockPart {
    File,
    Active,
}

impl LockPart {
    const BOTH: [Self; 2] = [Self::File, Self::Active];

    fn name(self) -> &'static str {
        match self {
            Self::File => "lock",
            Self::Active => "active",
        }
    }

    /// The variable that names the descriptor which a daemon left to its next image (see [`SpoolLock::pass_on`]).
    fn variable(self) -> &'static str {
        match self {
            Self::File => "PIRN_LOCK_FD",
            Self::Active => "PIRN_ACTIVE_FD",
        }
    }

    /// Opens it to be locked, and makes it if it is not there.
    fn open(self, root: &OwnedFd) -> io::Result<File> {
        let name = self.name().as_bytes();
        match self {
            Self::File => dir::open_edit(root, name),
            Self::Active => {
                dir::make_dir(root, name)?;
                Ok(dir::open_dir(root, name)?.into())
            }
        }
    }

    /// Opens it to ask who has it; `None` if it is not there.
    fn open_to_ask(self, root: &OwnedFd) -> io::Result<Option<File>> {
        let opened = match self {
            Self::File => dir::open_read(root, self.name().as_bytes()),
            Self::Active => dir::open_dir(root, self.name().as_bytes()).map(File::from),
        };
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// True when this is what has the name now.
    fn is_named(self, root: &OwnedFd, file: &File) -> io::Result<bool> {
        let named = dir::look(root, self.name().as_bytes())?;
        Ok(named.map(|look| look.inode) == Some(dir::look_at(file)?.inode))
    }

    /// Locks what has the name now; else gives what somebody else has locked.
    fn lock(self, root: &OwnedFd) -> io::Result<Result<File, File>> {
        loop {
            let file = self.open(root)?;
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) if self.is_named(root, &file)? => return Ok(Ok(file)),
                // It was replaced since it was opened.
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if is_held(&file)? {
                        return Ok(Err(file));
                    }
                    // Somebody was just looking who holds it.
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes over the descriptor that the former image of this process locked. A variable can name any descriptor, so
    /// it is locked again: that succeeds if the lock is this descriptor's own, or free.
    fn inherited(self, root: &OwnedFd) -> Option<File> {
        let number = std::env::var(self.variable()).ok()?.parse().ok()?;
        let passed = std::fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
        let named = dir::look(root, self.name().as_bytes()).ok()??;
        let file = (passed.ino() == named.inode)
            .then(|| spawn::inherit_descriptor(number))
            .flatten()?;
        FileExt::try_lock_exclusive(&file).ok().map(|()| file)
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct SpoolLock {
    /// The spool's directory.
    root: OwnedFd,
    /// `lock`.
    file: File,
    /// `active/`.
    active: File,
    /// The contents of `lock`.
    text: String,
}

impl SpoolLock {
    /// Takes the lock for a daemon, or says who has it. A `pirn run` that has it is waited for, and for some seconds
    /// what is left of a process that was killed.
    ///
    /// From then on signals wait for their handlers: whoever reads our pid in the lock may send us one. Before, they
    /// end us like any program.
    pub fn take(spool: &Path) -> Result<Self, LockError> {
        let in_lock = |e| LockError::Io(spool.join("lock").display().to_string(), e);
        let began = clock::now().boot;
        let mut told = false;
        loop {
            signals::block().map_err(|e| LockError::Io("blocking signals".to_owned(), e))?;
            let taken = Self::try_take(spool, Role::Serve);
            let holder = match taken.map_err(in_lock)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => holder,
            };
            signals::unblock().map_err(|e| LockError::Io("unblocking signals".to_owned(), e))?;
            // Before its holder has written it, the lock says who had it before.
            if !holder.is_alive() && clock::now().boot.since(began) < DEAD_FOR {
                std::thread::sleep(Duration::from_millis(20));
            } else if holder.role == Role::Run {
                if !std::mem::replace(&mut told, true) {
                    log::info!("waiting: the spool is in use by {holder}");
                }
                await_release(spool).map_err(in_lock)?;
            } else {
                return Err(LockError::Held(holder));
            }
        }
    }

    /// Takes the lock if it is free, else says who has it.
    pub fn try_take(spool: &Path, role: Role) -> io::Result<Result<Self, Holder>> {
        Self::complete(dir::open_path(spool)?, role, None, None)
    }

    /// Locks each part that the caller has not locked.
    fn complete(
        root: OwnedFd,
        role: Role,
        file: Option<File>,
        active: Option<File>,
    ) -> io::Result<Result<Self, Holder>> {
        let lock = |part: LockPart, file: Option<File>| match file {
            Some(file) => Ok(Ok(file)),
            None => part.lock(&root),
        };
        let file = match lock(LockPart::File, file)? {
            Ok(file) => file,
            Err(held) => return Ok(Err(read_holder(&held))),
        };
        let active = match lock(LockPart::Active, active)? {
            Ok(active) => active,
            // Its `lock` was removed, and it has not written it again yet.
            Err(_) => return Ok(Err(Holder::UNKNOWN)),
        };
        let lock = Self {
            root,
            file,
            active,
            text: about_us(role),
        };
        lock.write();
        Ok(Ok(lock))
    }

    /// Waits for the lock.
    pub fn wait(spool: &Path, role: Role) -> io::Result<Self> {
        loop {
            if let Ok(lock) = Self::try_take(spool, role)? {
                return Ok(lock);
            }
            await_release(spool)?;
        }
    }

    /// Locks again what was removed or replaced under the daemon, and says whose the spool is then.
    pub fn keep(&mut self) -> io::Result<Tenure> {
        let mut other = None;
        if !LockPart::File.is_named(&self.root, &self.file)? {
            match LockPart::File.lock(&self.root)? {
                Ok(file) => {
                    self.file = file;
                    self.write();
                    log::warn!("lock: was removed or replaced; it is written and locked again");
                }
                Err(held) => other = Some(read_holder(&held)),
            }
        }
        if LockPart::Active.is_named(&self.root, &self.active)? {
            return Ok(other.map_or(Tenure::Ours, Tenure::Disputed));
        }
        if let Some(holder) = other {
            return Ok(Tenure::Lost(holder));
        }
        match LockPart::Active.lock(&self.root)? {
            Ok(active) => self.active = active,
            Err(_) => return Ok(Tenure::Lost(Holder::UNKNOWN)),
        }
        Ok(Tenure::Ours)
    }

    /// Writes `lock`, for people and commands. On a full disk the lock holds without it.
    pub fn write(&self) {
        let written = self
            .file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(self.text.as_bytes(), 0));
        if let Err(e) = written {
            log::warn!("lock: the pid could not be written: {e}");
        }
    }

    /// Adds what everybody should know.
    pub fn tell(&mut self, trouble: &str) -> io::Result<()> {
        self.say("trouble", trouble)
    }

    /// Says where the settings are, if that is not in the spool: commands read them too.
    pub fn tell_config(&mut self, elsewhere: Option<&Path>) {
        let Some(config) = elsewhere else { return };
        let path = std::path::absolute(config).and_then(|path| {
            let text = path.to_str().filter(|text| !text.contains('\n'));
            text.map(str::to_owned)
                .ok_or_else(|| io::ErrorKind::InvalidFilename.into())
        });
        if let Err(e) = path.and_then(|path| self.say("config", &path)) {
            log::warn!("lock: commands are not told of {}: {e}", config.display());
        }
    }

    fn say(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.text.push_str(&format!("{key}: {value}\n"));
        // The lines before it stay there to be read meanwhile.
        self.file.write_all_at(self.text.as_bytes(), 0)
    }

    /// Takes over the lock that the former image of this process held when it became this one.
    ///
    /// To be called before anything else has opened a file.
    pub fn inherited(spool: &Path) -> Option<Self> {
        let root = dir::open_path(spool).ok()?;
        match LockPart::BOTH.map(|part| part.inherited(&root)) {
            [None, None] => None,
            // Versions before 0.2.0 pass `lock` only.
            [file, active] => Self::complete(root, Role::Serve, file, active).ok()?.ok(),
        }
    }

    /// Keeps the lock through an exec of this process. Gives the variables that tell the next image. One older than
    /// 0.2.0 leaves `lock` as it finds it, which must not say our version then.
    pub fn pass_on(&self, to_old: bool) -> [(&'static str, String); 2] {
        if to_old {
            let pid = self.text.find('\n').map_or(0, |end| end as u64 + 1);
            let _ = self.file.set_len(pid);
        }
        [
            (LockPart::File, &self.file),
            (LockPart::Active, &self.active),
        ]
        .map(|(part, held)| {
            spawn::keep_on_exec(held.as_fd());
            (part.variable(), held.as_raw_fd().to_string())
        })
    }

    /// Who holds the spool's lock just now, if anybody does.
    pub fn holder(spool: &Path) -> io::Result<Option<Holder>> {
        let root = match dir::open_path(spool) {
            Ok(root) => root,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if let Some(file) = LockPart::File.open_to_ask(&root)?
            && is_held(&file)?
        {
            return Ok(Some(read_holder(&file)));
        }
        match LockPart::Active.open_to_ask(&root)? {
            Some(active) if is_held(&active)? => Ok(Some(Holder::UNKNOWN)),
            Some(_) | None => Ok(None),
        }
    }
}

/// How long after its end a process may be found to have the lock.
const DEAD_FOR: Duration = Duration::from_secs(5);

/// Waits until nobody has the lock.
fn await_release(spool: &Path) -> io::Result<()> {
    let root = dir::open_path(spool)?;
    for part in LockPart::BOTH {
        // Shared, as those do who only ask: whoever takes the lock at this moment is not refused.
        FileExt::lock_shared(&part.open(&root)?)?;
    }
    Ok(())
}

/// True if somebody else has the lock for good. Who only asks has it for a moment, as all who ask may at a time.
fn is_held(file: &File) -> io::Result<bool> {
    match FileExt::try_lock_shared(file) {
        Ok(()) => FileExt::unlock(file).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

/// The text of the file while there is no trouble.
fn about_us(role: Role) -> String {
    format!(
        "{}\nversion: {}\ncommand: {}\n",
        std::process::id(),
        env!("CARGO_PKG_VERSION"),
        role.as_str()
    )
}

fn read_holder(mut file: &File) -> Holder {
    let mut text = String::new();
    let _ = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    let (pid, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let value = |key: &str| {
        let values = rest.lines().filter_map(|line| line.split_once(": "));
        values
            .filter(|(found, _)| *found == key)
            .map(|(_, value)| value.to_owned())
            .next()
    };
    let version = value("version");
    let trouble = match version {
        Some(_) => value("trouble"),
        // Before 0.2.0 the second line was the trouble, without a key.
        None => rest.lines().next().map(str::to_owned),
    };
    let role = match value("command") {
        Some(command) if command == Role::Run.as_str() => Role::Run,
        Some(_) | None => Role::Serve,
    };
    Holder {
        pid: pid.trim().parse().ok(),
        version,
        role,
        config: value("config").map(PathBuf::from),
        trouble,
    }
}
