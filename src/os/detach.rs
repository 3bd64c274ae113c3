//! A process that goes on without the one that started it, and without its terminal, session and descriptors.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

/// The variable with the directory in which a detached process was started: its later images find the paths of their
/// options from there.
const START_DIR: &str = "PIRN_START_DIR";

/// The variables by which a manager of services speaks to the process that it has started, and not to this one.
const OF_MANAGERS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The sides of a fork.
#[derive(Debug)]
pub enum Detaching {
    /// The parent, with the pid of its child, and what the child says. That ends with the child.
    Starter(i32, UnixStream),
    /// The child, and what it tells its parent by.
    Detached(UnixDatagram),
}

/// Splits this process, which must have one thread and no descriptors of others. The child works in `/`, reads nothing,
/// and writes to this log.
pub fn detach(log: &File) -> io::Result<Detaching> {
    let start = std::env::current_dir()?;
    let null = File::open("/dev/null")?;
    let (ear, mouth) = UnixStream::pair()?;
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("it has several threads"));
    }
    // SAFETY: there is one thread, so that the child may do what its parent may.
    if let nix::unistd::ForkResult::Parent { child } = unsafe { nix::unistd::fork()? } {
        return Ok(Detaching::Starter(child.as_raw(), ear));
    }
    // First, so that the log says what fails here.
    write_to(log)?;
    nix::unistd::setsid()?;
    for name in OF_MANAGERS {
        // SAFETY: there is one thread, so that nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    // SAFETY: as above.
    unsafe { std::env::set_var(START_DIR, start) };
    leave_start_dir()?;
    nix::unistd::dup2_stdin(null)?;
    // The other end is a stream, so that the parent reads to the end of this process.
    Ok(Detaching::Detached(OwnedFd::from(mouth).into()))
}

/// Has standard output and standard error go to this file.
pub fn write_to(log: impl AsFd) -> io::Result<()> {
    nix::unistd::dup2_stdout(&log)?;
    Ok(nix::unistd::dup2_stderr(&log)?)
}

/// Goes back to where this process was started, if it is a later image of a detached one.
pub fn return_to_start_dir() -> io::Result<()> {
    std::env::var_os(START_DIR).map_or(Ok(()), std::env::set_current_dir)
}

/// Keeps no directory in use.
pub fn leave_start_dir() -> io::Result<()> {
    std::env::set_current_dir("/")
}

/// Closes every descriptor but the first three. To be called before any file is opened.
pub fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // SAFETY: nothing of this process has opened a file yet that is still open.
        unsafe { libc::close(number) };
    }
    Ok(())
}
