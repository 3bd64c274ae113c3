//! The logs of jobs: one file for each job, to which each of its tries appends. The processes of a job inherit the
//! lock on it with their output, so the lock says that one of them lives.

use super::{Fs, Place, RealFs, Spool};
use crate::core::id::JobId;
use crate::core::record::{Reason, Record};
use crate::os::dir::{self, FileType, Look};
use crate::os::fault::Fault;
use crate::os::ownership::Ownership;
use crate::os::spawning;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// The logs of a job, open and locked: no process of an earlier try lives.
#[derive(Debug)]
pub struct OpenLogs {
    /// For its output, and for its errors unless they are split off.
    pub stdout: File,
    /// For its errors, if they are split off.
    pub stderr: Option<File>,
    /// Where the output of this try begins.
    pub offset: u64,
}

/// Names of logs that were empty when they were looked at.
pub type SilentLogs = Vec<String>;

/// The mode of a new log, and the bits that it may have.
const PRIVATE: u32 = 0o600;
const LOG_BITS: u32 = 0o644;

/// How much of the end of a log is kept in the record.
const OUTPUT_BYTES: u64 = 4096;

/// The name of the log of a job's errors, if they are split off.
pub fn stderr_log(id: &JobId) -> String {
    format!("{id}~err")
}

/// The names of a job's logs.
pub(super) fn names_of_logs(id: &JobId) -> [String; 2] {
    [id.as_str().to_owned(), stderr_log(id)]
}

impl<F: Fs> Spool<F> {
    /// True if a process still has the job's log open.
    pub fn log_is_held(&self, id: &JobId) -> bool {
        let is_held = || self.fs.is_locked(&Place::Log, id.as_str().as_bytes());
        !Fault::NoLogLock.is_on() && is_held().unwrap_or(false)
    }

    /// Puts the end of a try's output, which began at `offset`, into the record. If the try was ended for its
    /// `max_log`, cuts the log to that many bytes of output. Returns the logs that are empty.
    pub fn take_log(
        &self,
        id: &JobId,
        offset: u64,
        max_log: Option<u64>,
        record: &mut Record,
    ) -> io::Result<SilentLogs> {
        let mut silent = SilentLogs::new();
        let cut_to = max_log
            .filter(|_| record.reason == Some(Reason::LogLimit))
            .map(|most| offset + most);
        let [main, errors] = names_of_logs(id);
        for (name, is_main) in [(main, true), (errors, false)] {
            if !is_main && !record.split {
                continue;
            }
            let Some(look) = self.fs.look(&Place::Log, name.as_bytes())? else {
                continue;
            };
            let mut size = look.size;
            if let Some(most) = cut_to {
                size = size.min(most);
                self.fs.cut(&Place::Log, name.as_bytes(), size)?;
            }
            if is_main {
                record.log_bytes = Some(size);
            }
            if size == 0 {
                silent.push(name);
            } else if is_main {
                let end = self
                    .fs
                    .tail(&Place::Log, name.as_bytes(), offset, OUTPUT_BYTES)?;
                record.output = end
                    .filter(|end| !end.is_empty())
                    .map(|end| String::from_utf8_lossy(&end).into_owned());
            }
        }
        Ok(silent)
    }

    /// Removes an empty log, unless a process may still write to it. To be called when the end is recorded: before,
    /// the log shows that the job was started.
    pub fn remove_silent(&self, log: &str) -> io::Result<()> {
        match self.fs.unlink_if_empty(&Place::Log, log.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The size of a job's log; 0 if there is none.
    pub fn log_size(&self, id: &JobId) -> u64 {
        let look = self.fs.look(&Place::Log, id.as_str().as_bytes());
        look.ok().flatten().map_or(0, |look| look.size)
    }
}

impl Spool<RealFs> {
    /// Opens a log for reading: `id`, or the name that [`stderr_log`] gives.
    pub fn open_log(&self, name: &str) -> io::Result<File> {
        self.fs
            .with(&Place::Log, |log| dir::open_read(log, name.as_bytes()))
    }

    /// The device and the inode of a job's log.
    pub fn identify_log(&self, id: &JobId) -> io::Result<(u64, u64)> {
        let log = self.open_log(id.as_str())?.metadata()?;
        Ok((log.dev(), log.ino()))
    }

    /// Opens and locks the logs of a job that is about to start. `None` while a process of an earlier try has one.
    pub fn open_logs(&self, id: &JobId, split: bool) -> io::Result<Option<OpenLogs>> {
        let Some((stdout, offset)) = self.open_to_append(id, id.as_str())? else {
            return Ok(None);
        };
        let stderr = match split {
            true => match self.open_to_append(id, &stderr_log(id))? {
                Some((stderr, _)) => Some(stderr),
                None => return Ok(None),
            },
            false => None,
        };
        Ok(Some(OpenLogs {
            stdout,
            stderr,
            offset,
        }))
    }

    /// Opens and locks a log, and returns its size too.
    fn open_to_append(&self, id: &JobId, name: &str) -> io::Result<Option<(File, u64)>> {
        let open = || {
            let file = self
                .fs
                .with(&Place::Log, |log| dir::open_append(log, name.as_bytes()))?;
            if !spawning::try_lock(&file)? {
                return Ok(None);
            }
            let look = dir::look_at(&file)?;
            if look.size == 0 && look.ownership.mode == PRIVATE {
                self.own_log(id, &file, look.ownership)?;
            }
            Ok(Some((file, look)))
        };
        // A thing that is no file must not keep this job and all behind it from starting.
        let is_strange = |opened: &io::Result<Option<(File, Look)>>| match opened {
            Ok(Some((_, look))) => look.kind != FileType::File,
            Ok(None) => false,
            Err(e) => matches!(
                e.raw_os_error(),
                Some(libc::EISDIR | libc::ELOOP | libc::ENXIO)
            ),
        };
        let mut opened = open();
        if is_strange(&opened) {
            let why = "in the place of a job's log, and not a file";
            if let Some(moved) = self.quarantine(&Place::Log, name.as_bytes(), why)? {
                log::warn!("log/{name}: {why}: moved to bad/{moved}");
            }
            opened = open();
        }
        Ok(opened?.map(|(file, look)| (file, look.size)))
    }

    /// Lets those read a new log who may read the job's record.
    fn own_log(&self, id: &JobId, log: &File, made: Ownership) -> io::Result<()> {
        let record = self.ownership(&Place::Active, id);
        match record.filter(|_| !Fault::NoOwnership.is_on()) {
            Some(ownership) => ownership.masked(LOG_BITS).give(log, made),
            None => Ok(()),
        }
    }
}
