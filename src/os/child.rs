//! A child from its clone to its exec, the least that becomes a job.
//!
//! The child shares our memory until its exec, and the calling thread waits until then (CLONE_VM|CLONE_VFORK, as in
//! glibc's posix_spawn), so that the size of the daemon does not matter. Why not posix_spawn: it asks for the action of
//! each of 64 signals and sets it, and maps and unmaps a stack, for every child. Without that, two slots do a tenth
//! more no-op jobs a second (measured).

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// What is to become of the child.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program's path.
    pub program: &'a CStr,
    /// Its arguments, its name first.
    pub argv: &'a [CString],
    /// Its whole environment.
    pub env: &'a [CString],
    /// Where it begins.
    pub cwd: &'a CStr,
    /// Its descriptors 0, 1 and 2. None of them is one of these three itself: Rust's start-up sees to it that they are
    /// open.
    pub descriptors: [BorrowedFd<'a>; 3],
}

/// The variable in which a child finds its own pid. The processes that it starts inherit it, so that it tells the leader
/// of a job from them.
pub const PID: &str = "PIRN_PID";

/// Where its value begins, and room for it with any pid and a NUL.
const PID_AT: usize = PID.len() + 1;
const PID_LENGTH: usize = PID_AT + 11;

/// What the child looks at.
struct ChildStart<'a> {
    plan: &'a Plan<'a>,
    /// The strings of the plan, each array with a NULL at its end.
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The string of `env` that is [`PID`]; the child adds its value.
    pid: &'a UnsafeCell<[u8; PID_LENGTH]>,
    /// The signals whose actions are to be set to the default.
    actions: &'a [c_int],
    /// What went wrong.
    error: AtomicI32,
}

/// Enough for a few system calls, each in one small function of the C library.
const STACK: usize = 16 * 1024;

/// Stacks begin at a multiple of this (System V ABI; the AArch64 one asks the same).
#[repr(align(16))]
struct Stack([MaybeUninit<u8>; STACK]);

/// Starts the child as leader of a new session, with default signal handling and an empty signal mask. Gives its pid.
///
/// Errors are those of clone(2), setsid(2), chdir(2), dup2(2) and execve(2).
pub fn start(plan: &Plan<'_>) -> io::Result<i32> {
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
    // No handler may run in the child, on memory that is ours too, before its actions are the default ones.
    let mask = block_all();
    // SAFETY: the child runs `become_job` on `stack`, which nobody else uses, with `shared`; both live until it has
    // become another program or ended, because this thread is suspended until then (CLONE_VFORK).
    let pid = unsafe {
        libc::clone(
            become_job,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw const shared).cast_mut().cast(),
        )
    };
    let started = match (pid, shared.error.load(Ordering::Relaxed)) {
        (..0, _) => Err(io::Error::last_os_error()),
        (_, 0) => Ok(pid),
        (_, error) => {
            // SAFETY: no status is asked for. It may be a moment until the child has ended; all signals are blocked,
            // so that nothing interrupts this.
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

/// Adds the pid of the calling process to [`PID`].
fn tell_pid(variable: &UnsafeCell<[u8; PID_LENGTH]>) {
    // SAFETY: getpid always succeeds. The child alone uses the variable: its parent waits.
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

/// The child. Only what is async-signal-safe may be called here (signal-safety(7)), and nothing may be allocated or
/// unwound: the other threads of the parent run on, in the same memory.
extern "C" fn become_job(shared: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to its own, and waits.
    let shared = unsafe { &*shared.cast_const().cast::<ChildStart<'_>>() };
    let error = failure_of(shared);
    shared.error.store(error, Ordering::Relaxed);
    // What a shell exits with; nobody sees it.
    127
}

/// Returns only when something fails, with the error's number.
fn failure_of(shared: &ChildStart<'_>) -> c_int {
    let plan = shared.plan;
    // All that is changed here is the child's own (no CLONE_SIGHAND, CLONE_FILES, CLONE_FS, CLONE_THREAD).
    for signal in shared.actions {
        set_default(*signal);
    }
    tell_pid(shared.pid);
    // SAFETY: system calls with integers, with strings and arrays that end and live (`ChildStart`), and with a mask that is
    // the empty set when all-zero.
    unsafe {
        let mut failed = libc::setsid() < 0 || libc::chdir(plan.cwd.as_ptr()) < 0;
        for (number, fd) in (0..).zip(&plan.descriptors) {
            failed = failed || libc::dup2(fd.as_raw_fd(), number) < 0;
        }
        if !failed {
            // Close-on-exec alone does it late: execve lets the parent of a vfork go on before it closes descriptors,
            // and whoever then looks at a log finds it still locked (measured). Before Linux 5.9 it must do.
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

/// As the kernel has it: the handler first, then flags and mask (rt_sigaction(2)). All-zero, it is SIG_DFL.
///
/// Actions are asked for and set by the system call: the C library keeps two signals for itself, which its own function
/// refuses, and which a process that was started by its posix_spawn ignores (measured: SigIgn 0x180000000).
type SignalAction = [usize; 8];
static DEFAULT: SignalAction = [0; 8];

/// How large the kernel's signal mask is, in bytes.
const MASK: usize = 8;

fn set_default(signal: c_int) {
    let none = std::ptr::null_mut::<SignalAction>();
    // SAFETY: the action is a valid one that runs no code of ours, and lives for ever; the old one is not asked for.
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
    // SAFETY: nothing is set; the old action has the room that the kernel needs, which is less on every machine.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, MASK) };
    action[0] == libc::SIG_DFL
}

/// The signals that are not left to their default action, as they are at the first start. Exec resets those that have
/// handlers, but not those that are ignored, and a handler must not run in a child that shares our memory.
fn not_default() -> &'static [c_int] {
    static SIGNALS: OnceLock<Vec<c_int>> = OnceLock::new();
    SIGNALS.get_or_init(|| (1..=64).filter(|signal| !is_default(*signal)).collect())
}
