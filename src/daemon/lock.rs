//! The one lock of a spool: flock(2) on `lock`, which says who holds it. Its first line is the pid; each further line
//! is `key: value`, and readers skip keys that they do not know.

use super::{ServeError, doing};
use crate::os::{dir, spawn};
use fs2::FileExt;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::Path;

/// Who has the lock, as far as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid; `None` when the file does not say.
    pub pid: Option<i32>,
    /// Its version; `None` for a daemon older than 0.2.0, which did not say.
    pub version: Option<String>,
    /// What it has to say, if it is in trouble.
    pub trouble: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => write!(f, "another process"),
        }
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct SpoolLock(File);

/// Names the descriptor that a daemon left to its next image (see [`SpoolLock::pass_on`]).
const PASSED: &str = "PIRN_LOCK_FD";

impl SpoolLock {
    /// Takes the lock, or says who has it.
    pub fn take(spool: &Path) -> Result<Self, ServeError> {
        match Self::try_take(spool).or_else(doing(spool.join("lock").display()))? {
            Ok(lock) => Ok(lock),
            Err(holder) => Err(ServeError::Held(holder)),
        }
    }

    /// As [`Self::take`], telling a held lock from a system error.
    pub fn try_take(spool: &Path) -> io::Result<Result<Self, Holder>> {
        loop {
            let file = dir::open_lock(&spool.join("lock"))?;
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => match is_held(&file)? {
                    true => return Ok(Err(read_holder(&file))),
                    // Somebody was just looking who holds it.
                    false => continue,
                },
                Err(e) => return Err(e),
            }
            if let Some(lock) = Self::confirmed(file, spool)? {
                return Ok(Ok(lock));
            }
        }
    }

    /// Waits for the lock.
    pub fn wait(spool: &Path) -> io::Result<Self> {
        loop {
            let file = dir::open_lock(&spool.join("lock"))?;
            FileExt::lock_exclusive(&file)?;
            if let Some(lock) = Self::confirmed(file, spool)? {
                return Ok(lock);
            }
        }
    }

    /// Somebody may have replaced the file between open and lock: then the lock is on nothing.
    fn confirmed(file: File, spool: &Path) -> io::Result<Option<Self>> {
        let held = file.metadata()?;
        match std::fs::symlink_metadata(spool.join("lock")) {
            Ok(named) if named.ino() == held.ino() && named.dev() == held.dev() => {}
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        }
        // The text is for people: on a full disk the lock holds without it.
        let noted = file
            .set_len(0)
            .and_then(|()| file.write_all_at(about_us().as_bytes(), 0));
        if let Err(e) = noted {
            log::warn!(
                "{}: the pid could not be written: {e}",
                spool.join("lock").display()
            );
        }
        Ok(Some(Self(file)))
    }

    /// Adds what everybody should know.
    pub fn tell(&self, trouble: &str) -> io::Result<()> {
        // The lines before it stay there to be read meanwhile.
        let line = format!("trouble: {trouble}\n");
        self.0
            .write_all_at(line.as_bytes(), about_us().len() as u64)
    }

    /// Takes over the lock that the former image of this process held when it became this one.
    pub fn inherited(spool: &Path) -> Option<Self> {
        let number = std::env::var(PASSED).ok()?.parse().ok()?;
        let held = std::fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
        let named = std::fs::symlink_metadata(spool.join("lock")).ok()?;
        let same = held.ino() == named.ino() && held.dev() == named.dev();
        same.then(|| spawn::inherit_descriptor(number))
            .flatten()
            .map(Self)
    }

    /// Keeps the lock through an exec of this process. Gives the variable that tells the next image.
    pub fn pass_on(&self) -> (&'static str, String) {
        spawn::keep_on_exec(self.0.as_fd());
        (PASSED, self.0.as_raw_fd().to_string())
    }

    /// Who holds the spool's lock just now, if anybody does.
    pub fn holder(spool: &Path) -> io::Result<Option<Holder>> {
        let file = match File::open(spool.join("lock")) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(is_held(&file)?.then(|| read_holder(&file)))
    }
}

/// True if somebody else has the lock for good. Who only asks has it for a moment, as all who ask may at a time.
fn is_held(file: &File) -> io::Result<bool> {
    match FileExt::try_lock_shared(file) {
        Ok(()) => FileExt::unlock(file).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) => Err(e),
    }
}

/// What the file says while all is well.
fn about_us() -> String {
    format!(
        "{}\nversion: {}\n",
        std::process::id(),
        env!("CARGO_PKG_VERSION")
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
    Holder {
        pid: pid.trim().parse().ok(),
        version,
        trouble,
    }
}
