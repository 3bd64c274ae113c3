//! Exit codes, as pirn(1) documents them. Those of sysexits.h keep their numbers. A job that ran gives its own code,
//! and 124 to 127 mean the same as for timeout(1) and the shell.

use crate::core::quote::without_codes;
use crate::core::record::{Reason, Record};
use crate::os::advice::advice;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Done.
pub const OK: u8 = 0;
/// Not done; stderr says why.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The input is no job (EX_DATAERR).
pub const BAD_DATA: u8 = 65;
/// There is no such job, queue, spool or input file (EX_NOINPUT).
pub const NO_INPUT: u8 = 66;
/// `status` has found trouble (EX_UNAVAILABLE).
pub const TROUBLE: u8 = 69;
/// The disk failed (EX_IOERR).
pub const IO_ERROR: u8 = 74;
/// Not now: queue full, disk nearly full, spool in use (EX_TEMPFAIL).
pub const NOT_NOW: u8 = 75;
/// The config is not valid, or the spool cannot be served where it is (EX_CONFIG).
pub const BAD_CONFIG: u8 = 78;
/// The job was ended by its timeout.
pub const TIMEOUT: u8 = 124;
/// The job has no exit code: it never ran, or pirn ended it.
pub const NO_CODE: u8 = 125;
/// `launch` could not confine the command, and did not run it.
pub const NOT_CONFINED: u8 = 125;
/// `launch` could not execute the command.
pub const NOT_EXECUTABLE: u8 = 126;
/// `launch` did not find the command.
pub const NOT_FOUND: u8 = 127;

/// The exit code of `run` and `wait` for a finished job.
pub fn of_job(record: &Record) -> u8 {
    let small = |code: i32| u8::try_from(code).unwrap_or(NO_CODE);
    match record.reason {
        Some(Reason::Exited | Reason::NotStarted) => record.exit_code.map_or(NO_CODE, small),
        Some(Reason::Signaled) => record.signal.map_or(NO_CODE, |signal| small(128 + signal)),
        Some(Reason::Timeout) => TIMEOUT,
        Some(Reason::Skipped) => OK,
        Some(
            Reason::Cancelled
            | Reason::Expired
            | Reason::Interrupted
            | Reason::Dependency
            | Reason::LogLimit,
        )
        | None => NO_CODE,
    }
}

/// A command that could not be carried out.
#[derive(Debug)]
pub struct Failure {
    /// One of the codes above.
    pub code: u8,
    /// The sentence for stderr.
    pub message: String,
    /// The system's error in the message, if it is not said yet where it was, and what to do about it.
    bare: Option<io::Error>,
    /// The message is to say which spool it is about.
    is_of_spool: bool,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: without_codes(&message.into()),
            bare: None,
            is_of_spool: false,
        }
    }

    /// A failure to open this file or spool.
    pub fn at(path: &Path, e: io::Error) -> Self {
        Self::from(e).in_place(path)
    }

    /// The same failure with this code.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same failure, with these words before it.
    #[must_use]
    pub fn about(self, what: impl Display) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }

    /// The same failure, which happened with this spool or file unless it says where it did.
    #[must_use]
    pub fn in_place(self, path: &Path) -> Self {
        if self.is_of_spool {
            return Self::new(self.code, format!("{} in {}", self.message, path.display()));
        }
        let Some(e) = &self.bare else {
            return self;
        };
        let message = format!("{}: {}{}", path.display(), self.message, advice(e, path));
        Self::new(self.code, message)
    }

    /// There is no such job.
    pub fn no_job(id: &impl Display) -> Self {
        Self {
            is_of_spool: true,
            ..Self::new(NO_INPUT, format!("there is no job {id}"))
        }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        let code = match e.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE) => NOT_NOW,
            Some(libc::EAGAIN | libc::ENOMEM) => NOT_NOW,
            Some(libc::EIO) => IO_ERROR,
            Some(_) | None => FAILURE,
        };
        let failure = Self::new(code, e.to_string());
        let bare = e.raw_os_error().map(|_| e);
        Self { bare, ..failure }
    }
}

/// An exit code, or a failure to report.
pub type CommandResult = Result<u8, Failure>;

/// Reports a failure on stderr; gives the exit code of the process.
pub fn finish(result: CommandResult) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("pirn: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
