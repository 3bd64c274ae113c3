//! The files of a job itself, which its sandbox leaves to it.

use super::start::{Setup, runs_from_copy};
use super::state::Daemon;
use crate::os::confine::OwnFiles;
use crate::spool::OpenLogs;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The paths of these files.
#[derive(Debug)]
pub struct OwnPaths {
    programs: Vec<PathBuf>,
    copy: Option<PathBuf>,
    scratch: Option<PathBuf>,
    store: PathBuf,
}

impl OwnPaths {
    /// Of a job that executes this program with these arguments in this directory.
    pub fn new(
        daemon: &Daemon,
        start: &Setup<'_>,
        scratch: Option<String>,
        program: &str,
        argv: &[String],
        cwd: &str,
    ) -> Self {
        let program = Path::new(cwd).join(program);
        let mut programs: Vec<PathBuf> = interpreter(&program).ok().flatten().into_iter().collect();
        programs.push(program);
        // A program that is not there is the concern of execve, whose error says so.
        programs.retain(|path| path.exists());
        Self {
            programs,
            copy: argv
                .last()
                .filter(|_| runs_from_copy(&start.record.work))
                .map(PathBuf::from),
            scratch: scratch.map(PathBuf::from),
            store: Path::new(&daemon.home.spool).join("store"),
        }
    }

    /// They, and the logs.
    pub fn own<'a>(&'a self, logs: &'a OpenLogs) -> OwnFiles<'a> {
        let logs = std::iter::once(&logs.stdout).chain(&logs.stderr);
        OwnFiles {
            programs: self.programs.iter().map(PathBuf::as_path).collect(),
            copy: self.copy.as_deref(),
            scratch: self.scratch.as_deref(),
            store: Some(&self.store),
            logs: logs.map(AsFd::as_fd).collect(),
        }
    }
}

/// Most bytes of the first line of a script that the kernel reads (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;

/// The program that the kernel executes for this one, if this is a script.
fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    if !program.metadata()?.is_file() {
        return Ok(None);
    }
    // Somebody may have put a FIFO there meanwhile.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(program)?;
    let mut head = Vec::new();
    file.take(FIRST_LINE).read_to_end(&mut head)?;
    let Some(rest) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    // Exactly as the kernel does: a job may have written the line, and may read what it names.
    let line = rest.split(|byte| *byte == b'\n').next();
    let mut words = line.into_iter().flat_map(|line| line.split(is_separator));
    let word = words.find(|word| !word.is_empty());
    Ok(word.map(|word| PathBuf::from(OsStr::from_bytes(word))))
}

/// True for what ends the name of an interpreter within its line (execve(2)).
fn is_separator(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\0')
}
