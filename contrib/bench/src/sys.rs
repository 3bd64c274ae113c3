//! The few system calls that the standard library does not have. All of the unsafe code is here.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Nanoseconds of CLOCK_MONOTONIC, which other processes see too.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Seconds since such a moment.
pub fn since(start: u64) -> f64 {
    (now() - start) as f64 / 1e9
}

pub fn text(path: impl AsRef<OsStr>) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("a path has no NUL")
}

/// A program with its arguments, ready for posix_spawn(3).
pub struct Program {
    words: Vec<CString>,
}

impl Program {
    pub fn new<S: AsRef<OsStr>>(words: &[S]) -> Self {
        Self {
            words: words.iter().map(text).collect(),
        }
    }

    /// Starts it like the bare loop: nothing is set up, and the environment is passed on.
    pub fn spawn(&self) -> io::Result<i32> {
        let mut argv: Vec<*mut libc::c_char> =
            self.words.iter().map(|w| w.as_ptr().cast_mut()).collect();
        argv.push(std::ptr::null_mut());
        let mut pid = 0;
        // SAFETY: `argv` is a NULL-terminated list of strings that live as long as the call; `environ` is libc's.
        let failed = unsafe {
            libc::posix_spawn(
                &mut pid,
                argv[0],
                std::ptr::null(),
                std::ptr::null(),
                argv.as_ptr(),
                environ,
            )
        };
        match failed {
            0 => Ok(pid),
            e => Err(io::Error::from_raw_os_error(e)),
        }
    }

    pub fn run(&self) -> io::Result<()> {
        wait(self.spawn()?)
    }
}

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

pub fn wait(pid: i32) -> io::Result<()> {
    // SAFETY: the status is not asked for.
    match unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// A watch on one directory for files that are moved into it.
pub struct Arrivals(File);

impl Arrivals {
    pub fn new(dir: &Path) -> io::Result<Self> {
        // SAFETY: the descriptor is new and owned by the file from here on; the path is a C string.
        unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let file = File::from_raw_fd(fd);
            if libc::inotify_add_watch(fd, text(dir).as_ptr(), libc::IN_MOVED_TO) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(file))
        }
    }

    /// Waits for arrivals, and gives their number; 0 if none came in this time.
    pub fn next(&mut self, patience: Duration) -> io::Result<usize> {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        if unsafe { libc::poll(&mut poll, 1, patience.as_millis() as i32) } <= 0 {
            return Ok(0);
        }
        let mut buffer = [0_u8; 64 * 1024];
        let n = self.0.read(&mut buffer)?;
        let head = size_of::<libc::inotify_event>();
        let (mut at, mut count) = (0, 0);
        while at + head <= n {
            let mask = u32::from_ne_bytes(buffer[at + 4..at + 8].try_into().unwrap());
            let length = u32::from_ne_bytes(buffer[at + 12..at + 16].try_into().unwrap());
            if mask & libc::IN_Q_OVERFLOW != 0 {
                return Err(io::Error::other("inotify dropped events"));
            }
            count += usize::from(mask & libc::IN_MOVED_TO != 0);
            at += head + length as usize;
        }
        Ok(count)
    }
}

pub fn make_fifo(path: &Path) -> io::Result<()> {
    // SAFETY: the path is a C string.
    match unsafe { libc::mkfifo(text(path).as_ptr(), 0o600) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Swaps two files.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let (a, b) = (text(a), text(b));
    let here = libc::AT_FDCWD;
    // SAFETY: both paths are C strings.
    let done =
        unsafe { libc::renameat2(here, a.as_ptr(), here, b.as_ptr(), libc::RENAME_EXCHANGE) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub fn lock(file: &File) -> io::Result<()> {
    // SAFETY: takes no pointers.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks whether somebody is still writing a file, as pirn does.
pub fn ask_for_writers(file: &File) {
    let fd = file.as_raw_fd();
    // SAFETY: none of them takes a pointer; their answers are not used.
    unsafe {
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK);
        libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB);
        libc::flock(fd, libc::LOCK_UN);
    }
}

/// Makes the kernel begin to write a file out, without waiting.
pub fn begin_writing(file: &File) {
    // SAFETY: takes no pointers; a failure does not matter, because a sync follows.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

pub fn is_root() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Free bytes of the file system that a directory is on.
pub fn free_bytes(dir: &Path) -> u64 {
    // SAFETY: an all-zero statvfs is valid, and the path is a C string.
    unsafe {
        let mut st: libc::statvfs = std::mem::zeroed();
        match libc::statvfs(text(dir).as_ptr(), &mut st) {
            0 => st.f_bavail * st.f_frsize,
            _ => 0,
        }
    }
}

/// Runs `work` with stdout closed for children, because the measured commands print ids.
pub fn quietly<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let kept = silence_stdout()?;
    let done = work();
    restore_stdout(kept)?;
    done
}

/// Points our standard output to /dev/null, and gives the earlier one.
fn silence_stdout() -> io::Result<File> {
    let null = File::options().write(true).open("/dev/null")?;
    // SAFETY: descriptor 1 is open; the duplicate is owned by the file from here on.
    unsafe {
        let kept = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        if kept < 0 || libc::dup2(null.as_raw_fd(), 1) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(kept))
    }
}

fn restore_stdout(kept: File) -> io::Result<()> {
    // SAFETY: both descriptors are open.
    match unsafe { libc::dup2(kept.as_raw_fd(), 1) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets a variable of our own environment, which the bare spawn loop passes on. Between measurements only.
pub fn set_env(key: &str, value: &Path) {
    // SAFETY: there is no other thread between measurements.
    unsafe { std::env::set_var(key, value) };
}

/// Makes clone3(2) fail with ENOSYS in a command that is started, as in containers with an older filter.
pub fn forbid_clone3(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let filter = [
        // The number of the call is the first word.
        step(LOAD, 0, 0),
        step(EQUAL, libc::SYS_clone3 as u32, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: two system calls; the second reads the program, which lives until then.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program)
        };
        if failed == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the function makes system calls only.
    unsafe { command.pre_exec(install) };
}
