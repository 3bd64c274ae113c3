//! Attributes of a process: umask, nice value, resource limits, and the memory that it keeps.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use std::io;

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

/// Sets the nice value, -20 to 19. Errors: EACCES without the right to lower it.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes integers only; PRIO_PROCESS with 0 is this process.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the soft and the hard limit; `None` is unlimited. Errors: an unknown name, or EPERM above the hard limit.
pub fn set_limit(name: &str, value: Option<u64>) -> io::Result<()> {
    let resource = match name {
        "as" => Resource::RLIMIT_AS,
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "stack" => Resource::RLIMIT_STACK,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such limit")),
    };
    let value = value.unwrap_or(RLIM_INFINITY);
    Ok(setrlimit(resource, value, value)?)
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
