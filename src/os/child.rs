//! A child from its clone to its exec.
//!
//! The child shares our memory until its exec, and the calling thread waits until then (CLONE_VM|CLONE_VFORK, as in
//! glibc's posix_spawn), so that a start takes as long with a large daemon as with a small one. For every child,
//! posix_spawn would ask for the actions of 64 signals and set them, and map and unmap a stack. Without that, two slots
//! do a tenth more no-op jobs a second (measured).

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// The program that the child becomes.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program's path.
    pub program: &'a CStr,
    /// Its arguments, its name first.
    pub argv: &'a [CString],
    /// Its whole environment.
    pub env: &'a [CString],
    /// Its working directory.
    pub cwd: &'a CStr,
    /// Its descriptors 0, 1 and 2. In this process they have other numbers, since Rust's start-up makes sure that 0, 1
    /// and 2 are open.
    pub descriptors: [BorrowedFd<'a>; 3],
}

/// The variable with the child's own pid. The processes of a job inherit it, so that its value names the job's leader.
pub const PID: &str = "PIRN_PID";

/// Where its value begins, and its length with any pid and a NUL.
const PID_AT: usize = PID.len() + 1;
const PID_LENGTH: usize = PID_AT + 11;

/// The memory that the child reads, prepared by its parent.
struct ChildStart<'a> {
    plan: &'a Plan<'a>,
    /// Pointers to the strings of the plan, with a NULL at the end.
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The string of [`PID`] in `env`; the child writes its value.
    pid: &'a UnsafeCell<[u8; PID_LENGTH]>,
    /// The signals that get their default action.
    actions: &'a [c_int],
    /// The number of the error, if the exec failed.
    error: AtomicI32,
}

/// Enough for a few system calls, each in one small function of the C library.
const STACK: usize = 16 * 1024;

/// Stacks begin at a multiple of this (System V ABI; the AArch64 one asks the same).
#[repr(align(16))]
struct Stack([MaybeUninit<u8>; STACK]);

/// Starts the child as leader of a new session, with the default actions of signals and none blocked. Gives its pid, and a
/// descriptor of the process (pidfd_open(2)).
///
/// Errors are those of clone(2), setsid(2), chdir(2), dup2(2) and execve(2).
pub fn start(plan: &Plan<'_>) -> io::Result<(i32, OwnedFd)> {
    let mut pid = [0; PID_LENGTH];
    pid[..PID.len()].copy_from_slice(PID.as_bytes());
    pid[PID.len()] = b'=';
    let pid = UnsafeCell::new(pid);
    let shared = ChildStart {
        plan,
        argv: pointers(plan.argv, None),
        env: pointers(plan.env, Some(pid.get().cast())),
        pid: &pid,
        actions: not_default(),
        error: AtomicI32::new(0),
    };
    let mut stack = Stack([MaybeUninit::uninit(); STACK]);
    let top = stack.0.as_mut_ptr_range().end;
    // A handler must not run in the child, which shares our memory, before it has the default actions.
    let mask = block_all();
    let mut pidfd: c_int = -1;
    // SAFETY: the child runs `become_job` with `shared`, on `stack`, which nothing else uses. Both live until the child
    // has become another program or ended, because this thread is suspended until then (CLONE_VFORK).
    let pid = unsafe {
        libc::clone(
            become_job,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
            (&raw const shared).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let cloned = match pid {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: with CLONE_PIDFD a clone that succeeds gives a new descriptor, which nobody else has.
        _ => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    };
    let started = match (cloned, shared.error.load(Ordering::Relaxed)) {
        (Err(e), _) => Err(e),
        (Ok(child), 0) => Ok(child),
        (_, error) => {
            // SAFETY: no status is asked for. The child ends at once; signals are blocked, so that none interrupts
            // this.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            Err(io::Error::from_raw_os_error(error))
        }
    };
    // SAFETY: the mask was filled by the call that this one undoes.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
    started
}

fn pointers(strings: &[CString], last: Option<*const c_char>) -> Vec<*const c_char> {
    let ends = last.into_iter().chain([std::ptr::null()]);
    strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
}

/// Writes the pid of the calling process into the variable [`PID`].
fn tell_pid(variable: &UnsafeCell<[u8; PID_LENGTH]>) {
    // SAFETY: getpid always succeeds. Only the child uses the variable, since its parent waits.
    let (mut rest, variable) = unsafe { (libc::getpid(), &mut *variable.get()) };
    let length = rest.ilog10() as usize + 1;
    for digit in variable.iter_mut().skip(PID_AT).take(length).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn block_all() -> libc::sigset_t {
    // SAFETY: an all-zero set is a valid one; both live until after the calls, which fill them.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

/// The child. It may call only async-signal-safe functions (signal-safety(7)), and must neither allocate nor unwind:
/// the other threads of the parent run on, in the same memory.
extern "C" fn become_job(shared: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to its own value, and waits.
    let shared = unsafe { &*shared.cast_const().cast::<ChildStart<'_>>() };
    let error = failure_of(shared);
    shared.error.store(error, Ordering::Relaxed);
    // The code of a shell; `start` does not look at it.
    127
}

/// Returns only when something fails, with the error's number.
fn failure_of(shared: &ChildStart<'_>) -> c_int {
    let plan = shared.plan;
    // Without CLONE_SIGHAND, CLONE_FILES, CLONE_FS and CLONE_THREAD, the child changes only its own attributes.
    for signal in shared.actions {
        set_default(*signal);
    }
    tell_pid(shared.pid);
    // SAFETY: system calls with integers, with strings and arrays that end and live (`ChildStart`), and with a mask
    // that is the empty set when all-zero.
    unsafe {
        let mut failed = libc::setsid() < 0 || libc::chdir(plan.cwd.as_ptr()) < 0;
        for (number, fd) in (0..).zip(&plan.descriptors) {
            failed = failed || libc::dup2(fd.as_raw_fd(), number) < 0;
        }
        if !failed {
            // Close-on-exec alone is too late: execve lets the parent of a vfork go on before it closes descriptors,
            // and the parent may then find a log still locked (measured). Linux before 5.9 has only that.
            libc::close_range(3, libc::c_uint::MAX, 0);
            let none: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::execve(
                plan.program.as_ptr(),
                shared.argv.as_ptr(),
                shared.env.as_ptr(),
            );
        }
        *libc::__errno_location()
    }
}

/// The kernel's structure: the handler first, then flags and mask (rt_sigaction(2)). All-zero, it is SIG_DFL.
///
/// It is used with the system call, since the function of the C library refuses the two signals that the library uses
/// itself. A process that was started with posix_spawn ignores these (measured: SigIgn 0x180000000).
type SignalAction = [usize; 8];
static DEFAULT: SignalAction = [0; 8];

/// The size of the kernel's signal mask, in bytes.
const MASK: usize = 8;

fn set_default(signal: c_int) {
    let none = std::ptr::null_mut::<SignalAction>();
    // SAFETY: the action is valid, runs no code of ours, and is a static; the old one is not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const DEFAULT,
            none,
            MASK,
        )
    };
}

fn is_default(signal: c_int) -> bool {
    let (none, mut action) = (std::ptr::null::<SignalAction>(), DEFAULT);
    // SAFETY: nothing is set; `action` is at least as large as the kernel's structure on every machine.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, MASK) };
    action[0] == libc::SIG_DFL
}

/// The signals whose action is not the default, at the first start. Exec resets actions that are handlers, but not
/// those that ignore a signal, and a handler must not run in a child that shares our memory.
fn not_default() -> &'static [c_int] {
    static SIGNALS: OnceLock<Vec<c_int>> = OnceLock::new();
    SIGNALS.get_or_init(|| (1..=64).filter(|signal| !is_default(*signal)).collect())
}
