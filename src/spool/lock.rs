//! The lock of a spool: flock(2) on the directory `active/`, which nobody can unlink while jobs are in it, and on the
//! file `lock`, for older versions and for people. If `lock` is removed, the daemon writes it again.
//!
//! `lock` says who has the spool. Its first line is the pid. Each further line is `key: value`; readers skip keys
//! that they do not know.

use super::holder::{Holder, HolderLine, Role, about_us, read_holder};
use super::lock_part::{LockPart, await_release, lock_again, unlock};
use crate::os::{clock, dir, flock, procfs, signals, spawn};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// The present holder of a lock that we took.
#[derive(Debug)]
pub enum Tenure {
    /// We still have it.
    Ours,
    /// Another process has `lock` but not `active/`: a daemon older than 0.2.0, a person, or a daemon that starts and
    /// is about to be refused.
    Disputed(Holder),
    /// Another daemon has it.
    Lost(Holder),
}

/// Why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon has the spool.
    Held(Box<Holder>),
    /// The system refused what the text names.
    Io(String, io::Error),
}

/// The lock, held until this value is dropped.
#[derive(Debug)]
pub struct SpoolLock {
    /// The spool's directory.
    root: OwnedFd,
    /// `lock`.
    file: File,
    /// `active/`.
    active: File,
    /// The text of `lock`.
    text: String,
}

impl SpoolLock {
    /// Takes the lock for a daemon, or says who has it. Waits for a `pirn run` that has it, and some seconds for the
    /// last children of a process that was killed. `waits` is told of a `pirn run` that is waited for.
    ///
    /// After that, signals wait for their handlers: a reader of our pid in `lock` may send one. Before, they end us
    /// like any program.
    pub fn take(spool: &Path, waits: impl FnOnce()) -> Result<Self, LockError> {
        let in_lock = |e| LockError::Io(spool.join("lock").display().to_string(), e);
        let began = clock::now().boot;
        let mut waits = Some(waits);
        loop {
            signals::block().map_err(|e| LockError::Io("blocking signals".to_owned(), e))?;
            let taken = Self::try_take(spool, Role::Serve);
            let holder = match taken.map_err(in_lock)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => holder,
            };
            signals::unblock().map_err(|e| LockError::Io("unblocking signals".to_owned(), e))?;
            // Until the holder has written `lock`, the file is empty or says who had it before.
            let since = clock::now().boot.since(began);
            if !holder.is_known() && since < WRITTEN_WITHIN
                || !holder.is_alive() && since < DEAD_FOR
            {
                std::thread::sleep(Duration::from_millis(20));
            } else if holder.role == Role::Run {
                if let Some(waits) = waits.take() {
                    log::info!("waiting: the spool is in use by {holder}");
                    waits();
                }
                await_release(spool).map_err(in_lock)?;
            } else {
                return Err(LockError::Held(Box::new(holder)));
            }
        }
    }

    /// Takes the lock if it is free, or says who has it.
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
            // The `lock` of the holder was removed, and it has not written it again yet.
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

    /// Waits for the lock and takes it.
    pub fn wait(spool: &Path, role: Role) -> io::Result<Self> {
        loop {
            if let Ok(lock) = Self::try_take(spool, role)? {
                return Ok(lock);
            }
            await_release(spool)?;
        }
    }

    /// Locks what was removed or replaced under the daemon again, and says who has the spool then.
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

    /// Unlocks both parts, also for the process in front. Until [`Self::take_back`] they are another daemon's to take.
    pub fn let_go(&self) -> io::Result<()> {
        // The next holder has the lock before it has written that it has: until then, nobody is to read that it is us.
        self.file.set_len(0)?;
        // In this order: a process that has the first part finds the second one free.
        unlock(&self.active)?;
        unlock(&self.file)
    }

    /// Locks both parts again. Else says who has them, if that is known yet.
    pub fn take_back(&self) -> io::Result<Result<(), Option<Holder>>> {
        if !lock_again(&self.file)? {
            return Ok(Err(Some(read_holder(&self.file)).filter(Holder::is_known)));
        }
        if !lock_again(&self.active)? {
            unlock(&self.file)?;
            return Ok(Err(None));
        }
        self.write();
        Ok(Ok(()))
    }

    /// Writes `lock`, for people and commands.
    pub fn write(&self) {
        let written = self.file.set_len(0).and_then(|()| self.write_over());
        warn_unwritten(written);
    }

    /// Adds a line to `lock`, unless it is there.
    pub fn tell(&mut self, line: HolderLine<'_>) {
        let Some(text) = line.text() else {
            let key = line.key();
            return log::warn!(
                "lock: commands are not told of `{key}`: they could not read its value"
            );
        };
        if !self.text.lines().any(|known| known == text) {
            self.text.push_str(&text);
            self.text.push('\n');
            // Readers find the earlier lines at any moment.
            warn_unwritten(self.write_over());
        }
    }

    fn write_over(&self) -> io::Result<()> {
        self.file.write_all_at(self.text.as_bytes(), 0)
    }

    /// Takes over the lock from the earlier image of this process. To be called before any file is opened.
    pub fn inherited(spool: &Path) -> Option<Self> {
        let root = dir::open_path(spool).ok()?;
        match LockPart::BOTH.map(|part| part.inherited(&root)) {
            [None, None] => None,
            // Versions before 0.2.0 pass `lock` only.
            [file, active] => Self::complete(root, Role::Serve, file, active).ok()?.ok(),
        }
    }

    /// Keeps the lock through an exec of this process, and returns the variables that tell the next image. An image
    /// older than 0.2.0 does not write `lock`, so our version is removed from it.
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

    /// True if anybody has the lock of a spool. Reads no file, so that root may ask about a user's spool.
    pub fn is_taken(spool: &Path) -> io::Result<bool> {
        match LockPart::Active.open_to_ask(&dir::open_path(spool)?)? {
            Some(active) => flock::is_held(&active),
            None => Ok(false),
        }
    }

    /// True if this process, or a child of it, has the lock.
    pub fn is_held_by(spool: &Path, pid: i32) -> io::Result<bool> {
        let root = dir::open_path(spool)?;
        let Some(file) = LockPart::File.open_to_ask(&root)? else {
            return Ok(false);
        };
        let meta = file.metadata()?;
        let has_it = |pid| procfs::has_locked(pid, meta.dev(), meta.ino());
        let is_child = |stat: &procfs::Stat| stat.parent == pid;
        Ok(has_it(pid) || procfs::all()?.iter().any(|s| is_child(s) && has_it(s.pid)))
    }

    /// As [`Self::holder`]. A process that has the lock is given the time to say so.
    pub fn settled_holder(spool: &Path) -> io::Result<Option<Holder>> {
        let began = clock::now().boot;
        loop {
            match Self::holder(spool)? {
                Some(holder)
                    if !holder.is_known() && clock::now().boot.since(began) < WRITTEN_WITHIN =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                holder => return Ok(holder),
            }
        }
    }

    /// The holder of a spool's lock, if anybody has it.
    pub fn holder(spool: &Path) -> io::Result<Option<Holder>> {
        let root = match dir::open_path(spool) {
            Ok(root) => root,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if let Some(file) = LockPart::File.open_to_ask(&root)?
            && flock::is_held(&file)?
        {
            return Ok(Some(read_holder(&file)));
        }
        match LockPart::Active.open_to_ask(&root)? {
            Some(active) if flock::is_held(&active)? => Ok(Some(Holder::UNKNOWN)),
            Some(_) | None => Ok(None),
        }
    }
}

/// How long a process may take to write that it has the lock.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// How long after its end a process may still be found to have the lock.
const DEAD_FOR: Duration = Duration::from_secs(5);

/// On a full disk the lock holds without the text.
fn warn_unwritten(written: io::Result<()>) {
    if let Err(e) = written {
        log::warn!("lock: who has the spool could not be written: {e}");
    }
}
