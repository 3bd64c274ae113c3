//! The clone of a child that shares our memory, and for which the calling thread waits, until it becomes another
//! program (CLONE_VM|CLONE_VFORK). The child runs one function, on a stack of its own.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// The function of the child, which gets an argument and returns an exit code.
pub type ChildEntry = extern "C" fn(*mut c_void) -> c_int;

/// A new child: its pid, and a descriptor of the process (pidfd_open(2)).
pub type Cloned = (i32, OwnedFd);

/// Enough for a few system calls, each in one small function of the C library.
const STACK: usize = 16 * 1024;

/// Stacks begin at a multiple of this (System V ABI; the AArch64 one asks the same).
#[repr(align(16))]
struct Stack([MaybeUninit<u8>; STACK]);

const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// Clones a child. Errors are those of clone(2).
///
/// # Safety
/// `entry` may call only async-signal-safe functions, must neither allocate nor unwind, and must be sound with
/// `argument`. Signals are blocked.
pub unsafe fn plain(entry: ChildEntry, argument: *mut c_void) -> io::Result<Cloned> {
    let mut stack = Stack([MaybeUninit::uninit(); STACK]);
    let top = stack.0.as_mut_ptr_range().end;
    let mut pidfd: c_int = -1;
    // SAFETY: nothing else uses the stack, which lives until the child has become another program or ended, because
    // this thread is suspended until then. The rest is as the caller promises.
    let pid = unsafe {
        libc::clone(
            entry,
            top.cast(),
            FLAGS | libc::SIGCHLD,
            argument,
            &raw mut pidfd,
        )
    };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: with CLONE_PIDFD a clone that succeeds gives a new descriptor, which nobody else has.
        _ => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

/// Clones a child that is born in the control group of this directory (Linux 5.7). To move a process into a group
/// later means waiting for all processors: 8 to 16 ms on an idle machine (measured). The C library has no function
/// for it. Errors are those of clone3(2), and ENOSYS where we cannot make the call.
///
/// # Safety
/// As for [`plain`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub unsafe fn into_group(
    entry: ChildEntry,
    argument: *mut c_void,
    group: BorrowedFd<'_>,
) -> io::Result<Cloned> {
    use std::os::fd::AsRawFd;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut stack = Stack([MaybeUninit::uninit(); STACK]);
    let mut pidfd: c_int = -1;
    let arguments = CloneArguments {
        flags: u64::from(FLAGS.unsigned_abs()) | CLONE_INTO_CGROUP,
        pidfd: &raw mut pidfd as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        cgroup: u64::from(group.as_raw_fd().unsigned_abs()),
        ..CloneArguments::default()
    };
    // SAFETY: the arguments are those of `plain`, where the stack is explained.
    let result = unsafe { clone3(&arguments, entry, argument) };
    match i32::try_from(result) {
        // SAFETY: with CLONE_PIDFD a clone that succeeds gives a new descriptor, which nobody else has.
        Ok(pid @ 1..) => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// We can make the call on two kinds of machine.
///
/// # Safety
/// There is nothing to promise.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub unsafe fn into_group(_: ChildEntry, _: *mut c_void, _: BorrowedFd<'_>) -> io::Result<Cloned> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// True when the kernel does not know [`into_group`], or is forbidden to do it: older than 5.3, older than 5.7, or a
/// container whose filter was written before.
pub fn is_unknown(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ENOSYS | libc::E2BIG | libc::EPERM)
    )
}

/// `struct clone_args` of clone3(2).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[derive(Default)]
#[repr(C, align(8))]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The system call. It returns in the parent only: a pid, or an error below 0. The child, on its own stack, calls
/// `entry` and exits with what that returns.
///
/// # Safety
/// As for [`plain`], on the stack in `arguments`.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: &CloneArguments, entry: ChildEntry, argument: *mut c_void) -> isize {
    let result;
    // SAFETY: the parent's part is one system call, which changes the named registers, and `pidfd` in memory. The
    // child's part never leaves this text.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments,
            in("rsi") size_of::<CloneArguments>(),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// As on x86_64.
///
/// # Safety
/// The same.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: &CloneArguments, entry: ChildEntry, argument: *mut c_void) -> isize {
    let result;
    // SAFETY: as on x86_64; the system call changes no register but x0.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "mov x8, {exit}",
            "svc #0",
            "brk #1",
            "2:",
            exit = const libc::SYS_exit,
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments => result,
            in("x1") size_of::<CloneArguments>(),
            in("x20") argument,
            in("x21") entry,
            options(nostack),
        );
    }
    result
}
