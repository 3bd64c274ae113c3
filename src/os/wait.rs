//! Waiting for children and for other processes.

use super::fault::Fault;
use super::thread;
use crate::core::process::Exit;
use nix::poll::{PollFd, PollFlags, poll, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The resources that a process used (getrusage(2)), with those of the children that it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor seconds, user and system.
    pub cpu: f64,
    /// Largest resident set in bytes.
    pub max_rss: u64,
}

/// A child that has ended. Until it is reaped, no other process gets its pid.
#[derive(Debug, Clone, Copy)]
pub struct ChildEnd {
    /// Its pid.
    pub pid: i32,
    /// How it ended.
    pub exit: Exit,
    /// The resources that it used.
    pub usage: Usage,
}

/// Waits until this child has ended, without reaping it.
pub fn end_of(pid: i32) -> io::Result<ChildEnd> {
    loop {
        match waitid(
            libc::P_PID,
            pid.unsigned_abs(),
            libc::WEXITED | libc::WNOWAIT,
        ) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// How this child has ended, without reaping it; `None` while it lives.
pub fn has_ended(pid: i32) -> io::Result<Option<ChildEnd>> {
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    waitid(libc::P_PID, pid.unsigned_abs(), options)
}

/// A child of the calling thread that has ended, without reaping it. The children of other threads are not its own, but
/// the first thread of a process also has the adopted ones (wait(2), `__WNOTHREAD`).
pub fn next_own_end() -> io::Result<Option<ChildEnd>> {
    let options = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG | libc::__WNOTHREAD;
    waitid(libc::P_ALL, 0, options)
}

/// A descriptor that is readable when a child has ended: SIGCHLD, which the calling thread and the threads that it
/// starts block.
#[derive(Debug)]
pub struct Ends(SignalFd);

impl Ends {
    /// Ends before this call are not reported.
    pub fn new() -> io::Result<Self> {
        let mask = SigSet::from(Signal::SIGCHLD);
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&mask, flags)?))
    }

    /// Makes it unreadable until the next end.
    pub fn clear(&self) {
        let _ = self.0.read_signal();
    }
}

impl AsFd for Ends {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reaps a child that has ended.
pub fn reap(pid: i32) {
    let _ = waitid(
        libc::P_PID,
        pid.unsigned_abs(),
        libc::WEXITED | libc::WNOHANG,
    );
}

/// The system call waitid(2). Unlike the C function, it gives the resource usage.
fn waitid(id_type: libc::idtype_t, id: u32, options: i32) -> io::Result<Option<ChildEnd>> {
    // SAFETY: all-zero is a valid value of both structures.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both pointers are to live structures of the types the call fills.
    let done = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            id_type,
            id,
            &raw mut info,
            options,
            &raw mut usage,
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so that the fields of a SIGCHLD siginfo are set (or zero with WNOHANG).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exit = if info.si_code == libc::CLD_EXITED {
        Exit::Code(status)
    } else {
        Exit::Signal(status)
    };
    Ok(Some(ChildEnd {
        pid,
        exit,
        usage: read_usage(&usage),
    }))
}

fn read_usage(usage: &libc::rusage) -> Usage {
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let cpu = ((seconds(usage.ru_utime) + seconds(usage.ru_stime)) * 1e6).round() / 1e6;
    Usage {
        cpu,
        max_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

/// A descriptor of a process (pidfd_open(2)). It is readable when the process has ended, and never stands for another
/// one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// For pidfd_send_signal(2): the group that the process leads.
const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

impl PidFd {
    /// Opens the descriptor. Errors: ESRCH if there is no such process.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: integers only; the kernel gives a new descriptor with close-on-exec set, or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Signals the process.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.send(signal, 0)
    }

    /// Signals the process group that this process, number `pid`, leads.
    pub fn signal_group(&self, pid: i32, signal: i32) -> io::Result<()> {
        match self.send(signal, PIDFD_SIGNAL_PROCESS_GROUP) {
            // Before Linux 6.9 the group cannot be named by a descriptor.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                // SAFETY: kill(2) takes two numbers.
                match unsafe { libc::kill(-pid, signal) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            }
            sent => sent,
        }
    }

    fn send(&self, signal: i32, flags: u32) -> io::Result<()> {
        let (fd, no_info) = (self.0.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open, and without siginfo the call takes numbers only.
        let done =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, flags) };
        match done {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until the process has ended, or an [`thread::Interrupt`] comes. True if it has ended.
    pub fn wait_interruptibly(&self) -> bool {
        let mut wanted = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let ended = thread::interruptible().map(|mask| ppoll(&mut wanted, None, Some(mask)));
        matches!(ended, Ok(Ok(n)) if n > 0)
    }

    /// Waits until the process has ended, or this long. True if it has ended.
    pub fn wait_for(&self, longest: Duration) -> bool {
        let timeout = u16::try_from(longest.as_millis()).unwrap_or(u16::MAX);
        let mut wanted = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut wanted, timeout).is_ok_and(|n| n > 0)
    }

    /// How the process ended, if the kernel tells (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15). Of a process that
    /// is not our child it tells once its parent has reaped it.
    pub fn exit(&self) -> Exit {
        // struct pidfd_info of linux/pidfd.h: the mask first, exit_code at byte 60 of 64 (version 0 of the layout).
        const SIZE: usize = 64;
        const EXIT_CODE_AT: usize = 60;
        const PIDFD_INFO_EXIT: u64 = 1 << 3;
        // _IOWR(0xFF, 11, struct pidfd_info)
        const PIDFD_GET_INFO: libc::Ioctl =
            ((3 << 30) | ((SIZE as u32) << 16) | (0xff << 8) | 11) as libc::Ioctl;
        let mut info = [0u8; SIZE];
        info[..8].copy_from_slice(&PIDFD_INFO_EXIT.to_ne_bytes());
        // SAFETY: the request's size field says how much the kernel may write, and the buffer is that large.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, info.as_mut_ptr()) };
        let word =
            |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let mask = u64::from(word(0).cast_unsigned());
        if done == -1 || mask & PIDFD_INFO_EXIT == 0 || Fault::NoPidfdInfo.is_on() {
            return Exit::Lost;
        }
        exit_of(word(EXIT_CODE_AT))
    }
}

/// Reads the status as in wait(2) of an ended process.
pub fn exit_of(status: i32) -> Exit {
    if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    }
}

impl From<OwnedFd> for PidFd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets orphans among our descendants become our children, so that none is lost (prctl(2)).
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}
