//! Starting threads.

use super::signals;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with a small stack. Signals to the process are delivered neither to it nor to the threads that it
/// starts: only the first thread handles them.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let builder = Builder::new().name(name.into()).stack_size(256 * 1024);
    // A thread begins with the signal mask of the one that starts it.
    signals::held_back(|| builder.spawn(run))
}

/// Gives back the memory of the calling thread's stack that it does not use now.
pub fn release_stack() {
    const PAGE: usize = 4096;
    /// More than this frame and that of the call need below the variables here.
    const MARGIN: usize = 1024;
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: all-zero is a valid value of the structure.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: the calls fill and read live variables of the types that they take; the thread is the calling one.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return;
        }
        libc::pthread_attr_getstack(&raw const attributes, &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
    }
    let in_use = (&raw const size).addr().saturating_sub(MARGIN) & !(PAGE - 1);
    let unused = in_use.saturating_sub(lowest.addr());
    if unused < size {
        // SAFETY: the range is a part of the calling thread's stack, which grows downwards; this frame and that of the
        // call are above it. Nothing in it is read again before it is written.
        unsafe { libc::madvise(lowest, unused, libc::MADV_DONTNEED) };
    }
}

/// The signal by which one thread interrupts another. No other part of the program uses it; Go's runtime has chosen the
/// same one for the same purpose.
const INTERRUPT: Signal = Signal::SIGURG;

/// Lets threads be interrupted: from here on the signal is kept back from the calling thread, and from those that it
/// starts, except while they wait in [`interruptible`].
pub fn allow_interrupts() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing.
    unsafe { signal(INTERRUPT, SigHandler::Handler(nothing))? };
    Ok(SigSet::from(INTERRUPT).thread_block()?)
}

/// The signal mask for a call that [`Interrupt::send`] interrupts (EINTR), also if it was sent before the call.
pub fn interruptible() -> io::Result<SigSet> {
    let mut mask = SigSet::thread_get_mask()?;
    mask.remove(INTERRUPT);
    Ok(mask)
}

/// Interrupts one thread.
#[derive(Debug, Clone, Copy)]
pub struct Interrupt(libc::pid_t);

impl Interrupt {
    /// For the calling thread.
    pub fn of_this_thread() -> Self {
        // SAFETY: no arguments; it always succeeds.
        Self(unsafe { libc::gettid() })
    }

    /// Interrupts the thread. A thread that has ended does not mind, nor does a later one of this process that has its
    /// number.
    pub fn send(self) {
        // SAFETY: integers only.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                libc::getpid(),
                self.0,
                INTERRUPT as libc::c_int,
            )
        };
    }
}

/// How many threads of this process can run at the same time.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
