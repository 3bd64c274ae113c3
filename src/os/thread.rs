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
