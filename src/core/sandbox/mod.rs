//! Sandboxes and limits of jobs, as settings and records ask for them.

mod limits;
mod read;
mod write;

pub use limits::GroupLimit;
pub use read::{MOST_TASKS, check_memory, check_path, parse_cpu};

/// The lists of paths, by the rules in them; [`list`] has their names.
const LISTS: [(Access, PathKind); 4] = [
    (Access::Read, PathKind::Any),
    (Access::Read, PathKind::File),
    (Access::Write, PathKind::Any),
    (Access::Write, PathKind::File),
];

/// The bounds of a job. One in which nothing is named still takes from the job the rights to gain privileges, to trace
/// processes outside, and to make the system calls that [`Syscalls::Basic`] refuses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// The directories of the system may be read, and programs in them executed.
    pub system: bool,
    /// Files and directories, each with what may be done below it.
    pub paths: Vec<PathRule>,
    /// The sockets that it may make.
    pub network: Network,
    /// The system calls that it may make.
    pub syscalls: Syscalls,
    /// It may make namespaces, though only basic system calls.
    pub namespaces: bool,
    /// The parts that the machine cannot keep are left out, and named in the record. Otherwise the job does not run.
    pub best_effort: bool,
}

impl Sandbox {
    /// True when only listed files can be opened.
    pub fn has_file_rules(&self) -> bool {
        self.system || !self.paths.is_empty()
    }
}

/// A file or directory with what may be done to it, or below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Absolute, or beginning with `$PIRN_TMP` or `$PIRN_STORE`.
    pub path: String,
    /// The rights.
    pub access: Access,
    /// The kind of file that must be there.
    pub kind: PathKind,
}

impl PathRule {
    /// The list that it is in.
    pub fn list(&self) -> &'static str {
        list(self.access, self.kind)
    }
}

fn list(access: Access, kind: PathKind) -> &'static str {
    match (access, kind) {
        (Access::Read, PathKind::Any) => "ro",
        (Access::Read, PathKind::File) => "rof",
        (Access::Write, PathKind::Any) => "rw",
        (Access::Write, PathKind::File) => "rwf",
    }
}

/// The rights that a [`PathRule`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and executing.
    Read,
    /// As `Read`, and making, writing and removing.
    Write,
}

/// The kind of file that a [`PathRule`] must find at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A file or a directory.
    Any,
    /// No directory.
    File,
}

/// The sockets that a job may make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// All.
    #[default]
    All,
    /// Those in the file system and abstract ones (unix(7)).
    Unix,
    /// None; pairs of sockets can be made.
    None,
    /// Unix sockets, TCP to and from certain ports, and perhaps UDP.
    Ports(Ports),
}

/// The ports that a job may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// It may connect to these TCP ports.
    pub connect: Vec<u16>,
    /// It may listen at these TCP ports.
    pub bind: Vec<u16>,
    /// It may use UDP, to and from any port.
    pub udp: bool,
}

/// The system calls that a job may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syscalls {
    /// Not those that change the system, or reach around the sandbox.
    #[default]
    Basic,
    /// All.
    All,
}

/// How much of the machine a job may take, all its processes together (cgroups(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Bytes of memory. The job is ended when it needs more.
    pub memory: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Thousandths of one processor.
    pub cpu_millis: Option<u64>,
    /// Share of processor time, 1 to 10000, beside others that want it; 100 is usual.
    pub cpu_weight: Option<u16>,
    /// Share of the disks, 1 to 10000.
    pub io_weight: Option<u16>,
    /// Limits that the machine cannot keep are left out, and named in the record. Otherwise the job does not run.
    pub best_effort: bool,
}

/// The sandbox and limits that a job had, in its record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandboxed {
    /// The version of Landlock's interface; 0 without it.
    pub landlock: u8,
    /// The number of Landlock rulesets, one for each place that asked for a sandbox.
    pub layers: u32,
    /// System calls were filtered.
    pub seccomp: bool,
    /// The controllers of its control group that had limits.
    pub groups: Vec<String>,
    /// The parts that were left out, because the machine lacks them.
    pub missing: Vec<String>,
}
