//! The steps of a child on its way to the program, and the error of one that failed.

use std::ffi::c_int;
use std::fmt;
use std::io;

/// The number of the calling thread's last error; a child that shares our memory uses its parent's, which waits.
pub(super) fn last_error() -> c_int {
    // SAFETY: the place lives as long as its thread.
    unsafe { *libc::__errno_location() }
}

/// One step of a child on its way to the program, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildStep {
    /// The clone itself, into its control group.
    Clone,
    /// Entering the control group, where a clone cannot.
    Group,
    /// The actions of signals.
    Actions,
    /// A new session.
    Session,
    /// The working directory.
    Directory,
    /// Descriptors 0, 1 and 2.
    Descriptors,
    /// The umask.
    Umask,
    /// The nice value.
    Nice,
    /// The resource limit of this name.
    Limit(&'static str),
    /// Closing the other descriptors.
    Close,
    /// The signal mask.
    Mask,
    /// The call of this name, which takes rights away. System calls are taken last.
    Confine(&'static str),
    /// Becoming the program.
    Exec,
}

impl fmt::Display for ChildStep {
    /// The field of the record that asks for the step, else its system call.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clone => "clone",
            Self::Group => "control group",
            Self::Actions => "rt_sigaction",
            Self::Session => "setsid",
            Self::Directory => "cwd",
            Self::Descriptors => "dup2",
            Self::Umask => "umask",
            Self::Nice => "nice",
            Self::Limit(name) => return write!(f, "limits.{name}"),
            Self::Close => "close_range",
            Self::Mask => "rt_sigprocmask",
            Self::Confine(call) => call,
            Self::Exec => "execve",
        })
    }
}

/// A program that was not started: the step that failed, and how.
#[derive(Debug)]
pub struct StartError {
    /// Which step.
    pub step: ChildStep,
    /// How it failed.
    pub error: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}
