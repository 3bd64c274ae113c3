//! Starting programs, and the descriptors that they get or do not get.

use super::child;
use super::confine::Confinement;
use super::limits::Limit;
use super::spawning;
use super::step::StartError;
use super::wait::PidFd;
use crate::core::process::Exit;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The binary that is running, even when its file was replaced.
pub const OWN_BINARY: &str = "/proc/self/exe";

/// Follows the message that a program was not executed (EACCES), if it may read only the files in this list.
pub fn outside_rules(list: &str) -> String {
    format!(" (its loader or libraries may be outside {list})")
}

/// A program that is ready to start.
#[derive(Debug)]
pub struct Launch {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    /// Its umask, if not ours.
    pub umask: Option<u32>,
    /// Its nice value, if not ours.
    pub nice: Option<i32>,
    /// Its resource limits where they differ from ours.
    pub limits: Vec<Limit>,
    /// The rights that it gives up.
    pub confinement: Option<Confinement>,
}

impl Launch {
    /// `program` is a path, and `env` the whole environment. Errors: a text contains NUL.
    pub fn new(program: &str, argv: &[String], env: &[String], cwd: &str) -> io::Result<Self> {
        let list = |texts: &[String]| {
            texts
                .iter()
                .map(|t| c_string(t))
                .collect::<io::Result<Vec<_>>>()
        };
        Ok(Self {
            program: c_string(program)?,
            argv: list(argv)?,
            env: list(env)?,
            cwd: c_string(cwd)?,
            umask: None,
            nice: None,
            limits: Vec::new(),
            confinement: None,
        })
    }

    /// Starts the program with these descriptors 0, 1 and 2, in the control group of this directory; see
    /// [`child::start`]. Gives its pid, and a descriptor to wait for it by.
    pub fn start(
        &self,
        descriptors: [BorrowedFd<'_>; 3],
        group: Option<BorrowedFd<'_>>,
    ) -> Result<(i32, PidFd), StartError> {
        let _spawn = spawning::begin();
        let (pid, pidfd) = child::start(&child::Plan {
            program: &self.program,
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            descriptors,
            umask: self.umask,
            nice: self.nice,
            limits: &self.limits,
            group,
            confinement: self.confinement.as_ref(),
        })?;
        Ok((pid, PidFd::from(pidfd)))
    }
}

fn c_string(text: &str) -> io::Result<CString> {
    os_c_string(OsStr::new(text))
}

fn os_c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "contains a NUL character"))
}

/// The PATH of those who have none.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds a program as execvp(3) does, but in the job's PATH, and relative to the job's directory.
pub fn find_program(program: &str, path: &str, cwd: &str) -> io::Result<String> {
    if program.contains('/') {
        return Ok(program.to_owned());
    }
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = if dir.is_empty() {
            PathBuf::from(".")
        } else {
            PathBuf::from(dir)
        }
        .join(program);
        let absolute = PathBuf::from(cwd).join(&candidate);
        match nix::unistd::access(&absolute, nix::unistd::AccessFlags::X_OK) {
            Ok(()) if absolute.is_file() => return Ok(absolute.to_string_lossy().into_owned()),
            Ok(()) => {}
            Err(nix::Error::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    Err(io::Error::from_raw_os_error(if denied {
        libc::EACCES
    } else {
        libc::ENOENT
    }))
}

/// Marks every descriptor but the first three to be closed on exec, so that jobs do not get those that our parent left
/// open.
pub fn hide_descriptors() {
    let (number, flags) = (libc::SYS_close_range, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC (5.11+) closes nothing now and touches no memory.
    let done = unsafe { libc::syscall(number, 3, libc::c_uint::MAX, flags) };
    if done == 0 {
        return;
    }
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    for fd in entries
        .flatten()
        .filter_map(|e| e.file_name().to_str().and_then(|n| n.parse::<i32>().ok()))
    {
        if fd > 2 {
            // SAFETY: F_SETFD takes an integer; a number that is not open only gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Lets a descriptor live through the next exec of this process.
pub fn keep_on_exec(fd: BorrowedFd<'_>) {
    // SAFETY: F_SETFD takes an integer; the descriptor is open.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) };
}

/// Takes over a descriptor that an earlier image of this process left open. `None` if it is not open.
pub fn inherit_descriptor(number: i32) -> Option<std::fs::File> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_SETFD takes an integer; a number that is not open gives -1.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: the descriptor is open, and the earlier image, which told the caller its number, left it to us alone.
    open.then(|| unsafe { std::fs::File::from_raw_fd(number) })
}

/// A further descriptor of a file that another process left open. `None` if it is not open.
pub fn copy_descriptor(number: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_DUPFD_CLOEXEC takes an integer; a number that is not open gives -1.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the kernel has just given us this descriptor, and nothing else owns it.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A variable that the program gets which this process becomes.
static KEPT: OnceLock<(&str, String)> = OnceLock::new();

/// Sets this variable for the program that this process becomes. Only the first one counts.
pub fn keep_variable(name: &'static str, value: String) {
    let _ = KEPT.set((name, value));
}

/// Becomes another program, with these variables added to our own. Returns only if that fails. A file that the kernel
/// does not execute is not given to a shell.
///
/// The other program has the default action of SIGPIPE, which Rust's start-up ignores.
pub fn replace_process(program: &str, argv: &[OsString], env: &[(&str, String)]) -> io::Error {
    let new: Vec<&(&str, String)> = env.iter().chain(KEPT.get()).collect();
    let ours = std::env::vars_os().filter(|(key, _)| new.iter().all(|(new, _)| key != new));
    let new = new.iter().map(|(key, value)| (key.into(), value.into()));
    replace_all(program, argv, ours.chain(new))
}

/// The same, with this environment alone.
pub fn replace_all(
    program: &str,
    argv: &[OsString],
    env: impl Iterator<Item = (OsString, OsString)>,
) -> io::Error {
    let replaced = || {
        let program = c_string(program)?;
        let argv = argv.iter().map(|word| os_c_string(word));
        let argv = argv.collect::<io::Result<Vec<_>>>()?;
        let env = env.map(|(key, value)| os_c_string(&[key, value].join(OsStr::new("="))));
        let env = env.collect::<io::Result<Vec<_>>>()?;
        // SAFETY: SIG_DFL runs no code of ours.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let failed = nix::unistd::execve(&program, &argv, &env);
        // SAFETY: this restores the action from before.
        unsafe { libc::signal(libc::SIGPIPE, before) };
        Ok(failed?)
    };
    match replaced() {
        Ok(never) => match never {},
        Err(e) => e,
    }
}

/// Errors that pass by themselves: what met one can be tried again.
pub fn is_shortage(e: &io::Error) -> bool {
    let passing = [
        libc::EAGAIN,
        libc::ENOMEM,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOSPC,
        libc::EDQUOT,
        libc::EIO,
    ];
    e.raw_os_error().is_some_and(|code| passing.contains(&code))
}

/// True if the kernel tells how a process has ended that another one has reaped (Linux 6.15): asked of one that is
/// started for this. To be called by the thread that reaps orphans.
pub fn tells_ends_of_others() -> bool {
    let told = || -> io::Result<bool> {
        let mut child = Command::new(OWN_BINARY)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let process = i32::try_from(child.id()).map(PidFd::open);
        child.wait()?;
        Ok(process.map_err(io::Error::other)??.exit() == Exit::Code(0))
    };
    told().unwrap_or(false)
}

/// A file in memory with these bytes, to be read from its start.
pub fn memory_file(bytes: &[u8]) -> io::Result<std::fs::File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{Seek, Write};
    let mut file = std::fs::File::from(memfd_create("pirn-stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A path as text for a child's environment. The paths that pirn makes are UTF-8.
pub fn path_text(path: &std::path::Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
