//! Attributes of a process: umask, resource limits, and the memory that it keeps.

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// The file mode creation mask of this process. To read it, it must be set (umask(2)): this is to be called before
/// other threads make files.
pub fn current_umask() -> u32 {
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}

/// Sets a mask under which this process can read the files that it makes. Gives the mask from before.
pub fn readable_by_us() -> u32 {
    let mask = current_umask();
    set_umask(mask & 0o077);
    mask
}

/// A resource limit for a child (setrlimit(2)).
#[derive(Debug)]
pub struct Limit {
    /// Its name: that of the constant, in lower case.
    pub(super) name: &'static str,
    /// Its number.
    pub(super) resource: u32,
    /// The soft and the hard limit, as prlimit64(2) has them.
    pub(super) value: [u64; 2],
}

impl Limit {
    /// The soft and the hard limit; without a value, unlimited. `None` if there is no limit of this name.
    pub fn new(name: &str, value: Option<u64>) -> Option<Self> {
        let (name, resource) = match name {
            "as" => ("as", Resource::RLIMIT_AS),
            "core" => ("core", Resource::RLIMIT_CORE),
            "cpu" => ("cpu", Resource::RLIMIT_CPU),
            "data" => ("data", Resource::RLIMIT_DATA),
            "fsize" => ("fsize", Resource::RLIMIT_FSIZE),
            "memlock" => ("memlock", Resource::RLIMIT_MEMLOCK),
            "nofile" => ("nofile", Resource::RLIMIT_NOFILE),
            "nproc" => ("nproc", Resource::RLIMIT_NPROC),
            "stack" => ("stack", Resource::RLIMIT_STACK),
            _ => return None,
        };
        Some(Self {
            name,
            resource: resource as u32,
            value: [value.unwrap_or(u64::MAX); 2],
        })
    }
}

/// Lets the allocator return large pieces of memory to the system as soon as they are freed. By itself it raises its
/// bound for large pieces with each one that is freed, and would keep the memory of a few large records.
pub fn keep_no_large_memory() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: mallopt takes integers, and may be called at any time.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// How many descriptors this process may have open.
pub fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}
