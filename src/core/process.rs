//! Processes: how one is told from another, how it is asked to end, and how it ended.

/// A process, described well enough to tell it from a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proc {
    /// Process id, which is also that of its group and session if it leads a job.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat: clock ticks from boot to its start (proc(5)).
    pub start: u64,
    /// The boot in which it ran: /proc/sys/kernel/random/boot_id.
    pub boot: String,
}

/// The two ways to ask a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// SIGTERM and SIGCONT.
    Term,
    /// SIGKILL.
    Kill,
}

/// How a process ended, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: nobody saw its end.
    Lost,
}
