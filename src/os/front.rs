//! A process and the one in front of it, its parent, which others know it by.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

/// The variable with the pid of the process in front of this one; 0 where there is to be none.
pub const FRONT: &str = "PIRN_FRONT";

/// The variable with the descriptor by which this process tells its front what the service manager is to know.
pub const NOTIFY: &str = "PIRN_NOTIFY_FD";

/// The sides of a fork.
#[derive(Debug)]
pub enum Side {
    /// The parent, with the pid of its child.
    Front(i32),
    /// The child. It is killed when its parent ends.
    Behind,
}

/// Splits this process, which must have one thread. The child gets the descriptor, if there is one, by [`NOTIFY`].
pub fn split(notify: Option<OwnedFd>) -> io::Result<Side> {
    let front = std::process::id();
    debug_assert_eq!(std::fs::read_dir("/proc/self/task")?.count(), 1);
    // SAFETY: there is one thread, so that the child may do what its parent may.
    if let nix::unistd::ForkResult::Parent { child } = unsafe { nix::unistd::fork()? } {
        return Ok(Side::Front(child.as_raw()));
    }
    // SAFETY: this option of prctl(2) takes one number and no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if nix::unistd::getppid().as_raw().cast_unsigned() != front {
        return Err(io::Error::other("the parent has ended"));
    }
    let number = notify.map(|fd| fd.into_raw_fd().to_string());
    let notify = (NOTIFY, number.unwrap_or_default());
    for (name, value) in [(FRONT, front.to_string()), notify] {
        // SAFETY: there is one thread, so that nobody reads the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(Side::Behind)
}

/// The pid of the process in front of this one, if there is one.
pub fn pid() -> Option<u32> {
    let named = std::env::var(FRONT).ok()?.parse().ok()?;
    let parent = nix::unistd::getppid().as_raw().cast_unsigned();
    // The first process of a container has the parent 0.
    (named == parent && named != 0).then_some(named)
}

/// The pid that others know this process by, such as the service manager: its front's, or its own.
pub fn main_pid() -> u32 {
    pid().unwrap_or_else(std::process::id)
}
