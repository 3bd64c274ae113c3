//! Starting threads.

use super::signals;
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
