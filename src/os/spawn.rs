//! Starting a job: posix_spawn(3) into its own session, with nothing of ours left in it.
//!
//! Measured: glibc's posix_spawn uses CLONE_VM|CLONE_VFORK, so that the size of the daemon does not matter; the
//! kernel's answer to execve comes back as the call's own error.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A program ready to start. All strings are checked for NUL when this is made.
#[derive(Debug)]
pub struct Launch {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Launch {
    /// `program` is a path: no search is made. It and `cwd` are the job's, `env` its whole environment.
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
        })
    }

    /// Starts it with these three descriptors, as leader of a new session, with default signal handling and an
    /// empty signal mask. Gives its pid.
    ///
    /// Errors are those of clone(2), chdir(2) and execve(2).
    pub fn start(
        &self,
        stdin: BorrowedFd<'_>,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
    ) -> io::Result<i32> {
        let mut actions = Actions::new()?;
        actions.chdir(&self.cwd)?;
        for (fd, number) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            actions.dup2(fd.as_raw_fd(), number)?;
        }
        actions.close_from(3)?;
        let attributes = Attributes::for_job()?;
        let argv = pointers(&self.argv);
        let env = pointers(&self.env);
        let mut pid = 0;
        // SAFETY: every pointer is to a live, NUL-terminated string or a NULL-terminated array of such; `actions`
        // and `attributes` were initialised by their constructors and live until after the call.
        let error = unsafe {
            libc::posix_spawn(
                &mut pid,
                self.program.as_ptr(),
                &actions.0,
                &attributes.0,
                argv.as_ptr(),
                env.as_ptr(),
            )
        };
        check(error)?;
        Ok(pid)
    }
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "contains a NUL character"))
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr().cast_mut())
        .chain(std::iter::once(std::ptr::null_mut()))
        .collect()
}

/// The posix_spawn family returns its error instead of setting errno.
fn check(error: libc::c_int) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = std::mem::MaybeUninit::uninit();
        // SAFETY: init fills the structure when it returns 0.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Self(actions.assume_init()))
        }
    }

    fn chdir(&mut self, path: &CString) -> io::Result<()> {
        // SAFETY: initialised; glibc copies the path.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&mut self.0, path.as_ptr()) })
    }

    fn dup2(&mut self, fd: i32, number: i32) -> io::Result<()> {
        // SAFETY: initialised; integers only.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, fd, number) })
    }

    /// Closes the rest. Close-on-exec alone would do it too late: execve lets the parent of a vfork go on before it
    /// closes descriptors, and whoever then looks at a log finds it still locked (measured).
    fn close_from(&mut self, number: i32) -> io::Result<()> {
        // SAFETY: initialised; integers only.
        check(unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&mut self.0, number) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn for_job() -> io::Result<Self> {
        let mut attributes = std::mem::MaybeUninit::uninit();
        let flags = libc::POSIX_SPAWN_SETSID
            | libc::c_short::try_from(libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF)
                .unwrap_or(0);
        // SAFETY: init fills the structure when it returns 0; the setters copy the signal sets.
        unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut this = Self(attributes.assume_init());
            let none: libc::sigset_t = std::mem::zeroed();
            check(libc::posix_spawnattr_setsigmask(&mut this.0, &none))?;
            check(libc::posix_spawnattr_setsigdefault(&mut this.0, &ignored()))?;
            check(libc::posix_spawnattr_setflags(&mut this.0, flags))?;
            Ok(this)
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

/// The signals that a job would find ignored, as they are at the first start: exec resets those that have handlers.
/// To reset all 64 takes a system call for each.
fn ignored() -> libc::sigset_t {
    static IGNORED: OnceLock<libc::sigset_t> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        // SAFETY: all-zero is the empty set, and a valid action.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        for signal in 1..=64 {
            // SAFETY: as above; with no new action, the call only fills the old one.
            let ignored = unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                    && action.sa_sigaction == libc::SIG_IGN
            };
            // posix_spawn ignores in the child the two signals that glibc keeps for itself, unless they are in the
            // set (measured: SigIgn 0x180000000).
            if ignored || GLIBC_SIGNALS.contains(&signal) {
                add(&mut set, signal);
            }
        }
        set
    })
}

/// SIGCANCEL and SIGSETXID. sigaddset(3) refuses them.
const GLIBC_SIGNALS: [libc::c_int; 2] = [32, 33];

fn add(set: &mut libc::sigset_t, signal: libc::c_int) {
    let bit = 1u64 << (signal - 1);
    // SAFETY: the set is larger than 64 bits, one for each signal from the lowest on (the kernel's layout), and aligned
    // for them.
    unsafe { *(&raw mut *set).cast::<u64>() |= bit };
}

/// Where `program` is, looked for as execvp(3) does, but in the job's PATH and from the job's directory.
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

/// Marks every descriptor but the first three to be closed on exec: what a parent left open is not for jobs.
pub fn hide_descriptors() {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC (5.11+) closes nothing now and touches no memory.
    let done = unsafe {
        libc::close_range(
            3,
            libc::c_uint::MAX,
            libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0),
        )
    };
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

/// Takes over a descriptor that an earlier image of this process left open. `None` if there is no such.
pub fn inherit_descriptor(number: i32) -> Option<std::fs::File> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_SETFD takes an integer; a number that is not open gives -1.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: the descriptor is open, and the caller was told its number by the image that left it to us alone.
    open.then(|| unsafe { std::fs::File::from_raw_fd(number) })
}

/// Becomes another program. Returns only if that fails.
pub fn replace_process(program: &str, argv: &[OsString], env: &[(&str, String)]) -> io::Error {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(program);
    if let Some(name) = argv.first() {
        command.arg0(name);
    }
    command
        .args(argv.iter().skip(1))
        .envs(env.iter().map(|(key, value)| (key, value)))
        .exec()
}

/// A file that exists in memory only, with these bytes, ready to be read from its start.
pub fn memory_file(bytes: &[u8]) -> io::Result<std::fs::File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::{Seek, Write};
    let mut file = std::fs::File::from(memfd_create("pirn-stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The path as text for a child's environment; our own paths are UTF-8 or not ours.
pub fn path_text(path: &std::path::Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
