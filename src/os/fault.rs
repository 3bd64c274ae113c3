//! Faults for negative controls: a crash test must fail when the step that it is about is left out.
//!
//! `PIRN_FAULTS=a,b` leaves steps out, in debug builds only.

/// A step that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Staged files are not synced.
    NoFileSync,
    /// `pending/` is not synced when a job is accepted.
    NoPendingSync,
    /// `active/` is not synced before an end is shown.
    NoActiveSync,
    /// The start of a `once` job is not synced.
    NoOnceSync,
    /// A daemon that leaves does not look again for what has come meanwhile.
    NoSecondLook,
    /// A daemon that leaves takes its time before and after the unlock.
    SlowLeave,
    /// Logs are not locked for their jobs.
    NoLogLock,
    /// The daemon does not look for live processes of an earlier one.
    NoAdoption,
    /// A try that a killed daemon began is not counted.
    NoTryCount,
    /// The units that a job was given are not noted before it starts.
    NoUnitNote,
    /// A claimed file is not compared with the one that was judged.
    NoClaimCheck,
    /// A record replaces any file of its name, or none.
    NoExchange,
    /// Only the process group of a job's leader is killed.
    NoSweep,
    /// A file is taken while it is being written.
    NoWriterCheck,
    /// A process that connects to a socket is known by its user alone.
    NoSandboxCheck,
    /// A step of a child that fails is passed over.
    IgnoreStep,
    /// Sandboxes have no Landlock rules.
    NoLandlock,
    /// Landlock rules leave truncation to everybody.
    NoTruncateRight,
    /// A sandboxed job may not open its log again.
    NoLogRule,
    /// Filters of system calls do not look at the kind of machine.
    NoMachineCheck,
    /// Filters of system calls permit io_uring_setup.
    NoUringEntry,
    /// This kernel has no filters of system calls.
    NoSeccomp,
    /// Records that replace others are private, as new ones are.
    NoOwnership,
    /// The kernel does not tell how the child of another process has ended, as before Linux 6.15.
    NoPidfdInfo,
    /// Each image of a confined daemon confines itself.
    StackedLayers,
    /// A confined daemon cannot signal processes outside its layer.
    ScopedDaemon,
    /// A program that draws on the terminal panics.
    PanicOnScreen,
}

impl Fault {
    /// The word in `PIRN_FAULTS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoFileSync => "no-file-sync",
            Self::NoPendingSync => "no-pending-sync",
            Self::NoActiveSync => "no-active-sync",
            Self::NoOnceSync => "no-once-sync",
            Self::NoSecondLook => "no-second-look",
            Self::SlowLeave => "slow-leave",
            Self::NoLogLock => "no-log-lock",
            Self::NoAdoption => "no-adoption",
            Self::NoTryCount => "no-try-count",
            Self::NoUnitNote => "no-unit-note",
            Self::NoClaimCheck => "no-claim-check",
            Self::NoExchange => "no-exchange",
            Self::NoSweep => "no-sweep",
            Self::NoWriterCheck => "no-writer-check",
            Self::NoSandboxCheck => "no-sandbox-check",
            Self::IgnoreStep => "ignore-step",
            Self::NoLandlock => "no-landlock",
            Self::NoTruncateRight => "no-truncate-right",
            Self::NoLogRule => "no-log-rule",
            Self::NoMachineCheck => "no-machine-check",
            Self::NoUringEntry => "no-uring-entry",
            Self::NoSeccomp => "no-seccomp",
            Self::NoOwnership => "no-ownership",
            Self::NoPidfdInfo => "no-pidfd-info",
            Self::StackedLayers => "stacked-layers",
            Self::ScopedDaemon => "scoped-daemon",
            Self::PanicOnScreen => "panic-on-screen",
        }
    }

    /// True when this step is to be left out.
    #[cfg(debug_assertions)]
    pub fn is_on(self) -> bool {
        words().any(|word| word == self.as_str())
    }

    /// False: a release build leaves no step out.
    #[cfg(not(debug_assertions))]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(debug_assertions)]
fn words() -> impl Iterator<Item = &'static str> {
    static WORDS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let words = WORDS.get_or_init(|| std::env::var("PIRN_FAULTS").unwrap_or_default());
    words.split(',').filter(|word| !word.is_empty())
}

/// The version of Landlock that this kernel is to be taken to have: `landlock=N` in `PIRN_FAULTS`.
#[cfg(debug_assertions)]
pub fn pretended_landlock() -> Option<u8> {
    words().find_map(|word| word.strip_prefix("landlock=")?.parse().ok())
}

/// `None`: a release build pretends nothing.
#[cfg(not(debug_assertions))]
pub const fn pretended_landlock() -> Option<u8> {
    None
}
