//! A child from its clone to its exec.
//!
//! The child shares our memory until its exec, and the calling thread waits until then (CLONE_VM|CLONE_VFORK, as in
//! glibc's posix_spawn), so that a start takes as long with a large daemon as with a small one. For every child,
//! posix_spawn would ask for the actions of 64 signals and set them, and map and unmap a stack. Without that, two slots
//! do a tenth more no-op jobs a second (measured).

use super::clone::{self, Cloned};
use super::confine::{Confinement, FailedCall};
use super::fault::Fault;
use super::limits::Limit;
use super::step::{ChildStep, StartError, last_error};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::cell::{Cell, UnsafeCell};
use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

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
    /// Its file mode creation mask, if not ours.
    pub umask: Option<u32>,
    /// Its nice value, if not ours.
    pub nice: Option<i32>,
    /// Its resource limits where they differ from ours.
    pub limits: &'a [Limit],
    /// The directory of the control group that it is born in, if not ours.
    pub group: Option<BorrowedFd<'a>>,
    /// The rights that it gives up.
    pub confinement: Option<&'a Confinement>,
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
    /// The file `cgroup.procs` of the group that the child has to enter by itself.
    procs: Option<OwnedFd>,
    /// The step that failed, with the number of the error.
    failure: Cell<Option<(ChildStep, c_int)>>,
    /// A failed step is passed over, for negative controls.
    ignores_failures: bool,
}

/// Starts the child as leader of a new session, with the default actions of signals and none blocked. Gives its pid, and a
/// descriptor of the process (pidfd_open(2)). If any step fails, nothing is executed.
pub fn start(plan: &Plan<'_>) -> Result<Cloned, StartError> {
    let mut pid = [0; PID_LENGTH];
    pid[..PID.len()].copy_from_slice(PID.as_bytes());
    pid[PID.len()] = b'=';
    let pid = UnsafeCell::new(pid);
    let mut shared = ChildStart {
        plan,
        argv: pointers(plan.argv, None),
        env: pointers(plan.env, Some(pid.get().cast())),
        pid: &pid,
        actions: not_default(),
        procs: None,
        failure: Cell::new(None),
        ignores_failures: Fault::IgnoreStep.is_on(),
    };
    // A handler must not run in the child, which shares our memory, before it has the default actions.
    let mask = block_all();
    let cloned = clone_child(&mut shared);
    let started = match (cloned, shared.failure.get()) {
        (Err(error), _) => Err(StartError {
            step: ChildStep::Clone,
            error,
        }),
        (Ok(child), None) => Ok(child),
        (Ok((pid, _)), Some((step, error))) => {
            // SAFETY: no status is asked for. The child ends at once; signals are blocked, so that none interrupts
            // this.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            let error = io::Error::from_raw_os_error(error);
            Err(StartError { step, error })
        }
    };
    // SAFETY: the mask was filled by the call that this one undoes.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
    started
}

fn clone_child(shared: &mut ChildStart<'_>) -> io::Result<Cloned> {
    if let Some(group) = shared.plan.group {
        // SAFETY: as below.
        match unsafe { clone::into_group(become_program, argument(shared), group) } {
            Err(e) if clone::is_unknown(&e) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                shared.procs = Some(openat(group, c"cgroup.procs", flags, Mode::empty())?);
            }
            cloned => return cloned,
        }
    }
    // SAFETY: `become_program` makes system calls on what is prepared in `shared`, which lives until the call returns.
    // `start` has blocked signals.
    unsafe { clone::plain(become_program, argument(shared)) }
}

fn argument(shared: &ChildStart<'_>) -> *mut c_void {
    (&raw const *shared).cast_mut().cast()
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
extern "C" fn become_program(shared: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to its own value, and waits.
    let shared = unsafe { &*shared.cast_const().cast::<ChildStart<'_>>() };
    let Err(failure) = shared.steps();
    shared.failure.set(Some(failure));
    // The code of a shell; `start` does not look at it.
    127
}

impl ChildStart<'_> {
    /// Returns only when a step fails: with the step, and the error's number.
    fn steps(&self) -> Result<Infallible, (ChildStep, c_int)> {
        let plan = self.plan;
        // Without CLONE_SIGHAND, CLONE_FILES, CLONE_FS and CLONE_THREAD, the child changes only its own attributes.
        for signal in self.actions {
            self.check(ChildStep::Actions, set_default(*signal))?;
        }
        tell_pid(self.pid);
        // SAFETY: system calls with integers, and with strings, arrays and structures that end and live (`ChildStart`).
        unsafe {
            if let Some(procs) = &self.procs {
                let written = libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1);
                self.check(ChildStep::Group, written as c_long)?;
            }
            let session = libc::syscall(libc::SYS_setsid);
            self.check(ChildStep::Session, session)?;
            let entered = libc::syscall(libc::SYS_chdir, plan.cwd.as_ptr());
            self.check(ChildStep::Directory, entered)?;
            for (number, fd) in (0..).zip(&plan.descriptors) {
                let copied = libc::dup2(fd.as_raw_fd(), number);
                self.check(ChildStep::Descriptors, c_long::from(copied))?;
            }
            if let Some(umask) = plan.umask {
                let set = libc::syscall(libc::SYS_umask, umask);
                self.check(ChildStep::Umask, set)?;
            }
            if let Some(nice) = plan.nice {
                let set = libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice);
                self.check(ChildStep::Nice, set)?;
            }
            // Not before the descriptors: a program may have two.
            for limit in plan.limits {
                let none = std::ptr::null_mut::<[u64; 2]>();
                let (number, value) = (libc::SYS_prlimit64, &raw const limit.value);
                let set = libc::syscall(number, 0, limit.resource, value, none);
                self.check(ChildStep::Limit(limit.name), set)?;
            }
        }
        if let Some(confinement) = plan.confinement {
            self.confined(confinement.restrict())?;
        }
        // Close-on-exec alone is too late: execve lets the parent of a vfork go on before it closes descriptors, and the
        // parent may then find a log still locked (measured). Linux before 5.9 has only that.
        // SAFETY: the descriptors of the child are its own.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
        match self.check(ChildStep::Close, closed) {
            // The second is how old filters of containers say so.
            Ok(()) | Err((_, libc::ENOSYS | libc::EPERM)) => {}
            failed => failed?,
        }
        // SAFETY: an all-zero mask is the empty set.
        let unblocked = unsafe {
            let none: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
        };
        self.check(ChildStep::Mask, c_long::from(unblocked))?;
        if let Some(confinement) = plan.confinement {
            self.confined(confinement.filter())?;
        }
        // SAFETY: the strings and arrays end and live (`ChildStart`).
        unsafe {
            let (argv, env) = (self.argv.as_ptr(), self.env.as_ptr());
            libc::execve(plan.program.as_ptr(), argv, env);
        }
        Err((ChildStep::Exec, last_error()))
    }

    fn confined(&self, done: Result<(), FailedCall>) -> Result<(), (ChildStep, c_int)> {
        match done {
            Err(e) if !self.ignores_failures => Err((ChildStep::Confine(e.call), e.error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn check(&self, step: ChildStep, result: c_long) -> Result<(), (ChildStep, c_int)> {
        match result {
            ..0 if !self.ignores_failures => Err((step, last_error())),
            _ => Ok(()),
        }
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

fn set_default(signal: c_int) -> c_long {
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
    }
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
