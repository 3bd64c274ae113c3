//! Processes as /proc shows them (proc(5)).

use crate::core::process::Proc;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Some fields of /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its process id.
    pub pid: i32,
    /// Its state letter; `Z` and `X` are dead.
    pub state: u8,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// The number of its threads; the first thread stays, as a zombie, until all have ended.
    pub threads: u32,
    /// Clock ticks from boot to its start.
    pub start: u64,
    /// Its status as in wait(2); 0 while it lives, and if we may not know it.
    pub status: Option<i32>,
}

impl Stat {
    /// True unless all its threads have ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X') || self.threads > 1
    }
}

/// The state of a process, if it exists and we may see it.
pub fn stat(pid: i32) -> Option<Stat> {
    read_stat(pid).ok().flatten()
}

fn read_stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => Ok(parse_stat(&String::from_utf8_lossy(&bytes))),
        // If /proc is mounted with hidepid, processes of other users are listed but not shown, or not even listed.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The program's name is in parentheses, and may contain parentheses itself: the last one ends it.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Stat {
        pid,
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        status: fields.get(49).and_then(|status| status.parse().ok()),
    })
}

/// The status of a process as in wait(2), if it is a zombie and we may know it.
pub fn status_of_zombie(proc: &Proc) -> Option<i32> {
    let stat = stat(proc.pid).filter(|stat| stat.start == proc.start && !stat.is_alive())?;
    // We can read this link if and only if we may see the status (ptrace(2), PTRACE_MODE_READ_FSCREDS).
    let may_know = || fs::read_link(format!("/proc/{}/ns/user", proc.pid)).is_ok();
    stat.status.filter(|status| *status != 0 || may_know())
}

/// The id of this boot of the machine.
pub fn boot_id() -> String {
    let mut text = [0; 64];
    let read = fs::File::open("/proc/sys/kernel/random/boot_id").and_then(|f| (&f).read(&mut text));
    let text = text.get(..read.unwrap_or(0)).unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

/// The name of this machine; `localhost` if it cannot be read.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Describes a process, so that it can be told from a later one.
pub fn identify(pid: i32, boot: &str) -> Option<Proc> {
    stat(pid).map(|stat| Proc {
        pid,
        start: stat.start,
        boot: boot.to_owned(),
    })
}

/// True if the process is alive.
pub fn is_same(proc: &Proc) -> bool {
    proc.boot == boot_id()
        && stat(proc.pid).is_some_and(|stat| stat.start == proc.start && stat.is_alive())
}

/// All live processes, also those that start during the search.
pub fn all() -> io::Result<Vec<Stat>> {
    let mut listed = HashSet::new();
    let mut found = Vec::new();
    // A process may fork and end between the listing and the look at it. Then only the next listing has its child.
    for _ in 0..MAX_LISTINGS {
        let new: Vec<i32> = pids()?.filter(|pid| listed.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            found.extend(read_stat(pid)?.filter(Stat::is_alive));
        }
    }
    Ok(found)
}

/// Mostly the second listing has no new process. The search must also end if processes fork all the time.
const MAX_LISTINGS: usize = 16;

fn pids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// False if the first thread of this process has no child. It gets the orphans among the descendants of a subreaper
/// (prctl(2)): if it has none, an ended child left no process behind.
pub fn may_have_orphans() -> bool {
    let us = std::process::id();
    fs::read(format!("/proc/self/task/{us}/children")).map_or(true, |pids| !pids.is_empty())
}

/// True if a process holds a flock(2) on this file.
pub fn has_locked(pid: i32, device: u64, inode: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let is_it = |meta: fs::Metadata| meta.ino() == inode && meta.dev() == device;
    entries.flatten().any(|entry| {
        fs::metadata(entry.path()).is_ok_and(is_it) && has_flock(pid, &entry.file_name())
    })
}

/// True if the open file of this descriptor has a flock(2) (proc_pid_fdinfo(5)).
fn has_flock(pid: i32, descriptor: &OsStr) -> bool {
    let path = Path::new("/proc")
        .join(pid.to_string())
        .join("fdinfo")
        .join(descriptor);
    fs::read_to_string(path).is_ok_and(|info| {
        info.lines()
            .any(|line| line.starts_with("lock:") && line.contains(" FLOCK "))
    })
}

/// True if a process has a handler for this signal, or blocks it to wait for it: it is not ended by it.
pub fn expects(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |mask: &str| {
        let mask = u64::from_str_radix(mask.trim(), 16);
        mask.is_ok_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    let masks = ["SigCgt:", "SigBlk:"];
    let of = |line: &str| masks.iter().find_map(|key| line.strip_prefix(key).map(has));
    status.lines().filter_map(of).any(|is_in| is_in)
}

/// The real user id of a process.
pub fn user_of(pid: i32) -> Option<u32> {
    let ids = field(&format!("{pid}/status"), "Uid:")?;
    ids.split_ascii_whitespace().next()?.parse().ok()
}

/// True if a process and its children can gain no privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
pub fn has_no_new_privs(pid: i32) -> Option<bool> {
    match field(&format!("{pid}/status"), "NoNewPrivs:")?.as_str() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// The pid of a pidfd's process. `None` if it has ended, or has no pid here.
pub fn pid_of(pidfd: impl AsFd) -> Option<i32> {
    let info = format!("self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let pid = field(&info, "Pid:")?.parse().ok()?;
    (pid > 0).then_some(pid)
}

/// The rest of the line of a file in /proc that begins with this word.
fn field(path: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc").join(path)).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    Some(rest.trim().to_owned())
}

/// True if a process was started with all these entries in its environment.
pub fn has_environment(pid: i32, wanted: &[String]) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    wanted.iter().all(|entry| {
        environ
            .split(|b| *b == 0)
            .any(|have| have == entry.as_bytes())
    })
}

/// The type of an open file's file system, by the name that mount(8) uses: `ext4`, `fuse.bindfs`.
pub fn file_system(file: impl AsFd) -> Option<String> {
    let info = format!("self/fdinfo/{}", file.as_fd().as_raw_fd());
    let id = field(&info, "mnt_id:")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let is_it = |line: &&str| line.split(' ').next() == Some(id.as_str());
    let (_, of_type) = mounts.lines().find(is_it)?.split_once(" - ")?;
    Some(of_type.split(' ').next()?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses() {
        let zeros = ["0"; 28].join(" ");
        let tail = format!("Z 1 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 1 0 777 0 {zeros} 1792");
        let stat = parse_stat(&format!("42 (a) b (c)) {tail}")).unwrap();
        assert_eq!(
            (stat.pid, stat.parent, stat.group, stat.session, stat.start),
            (42, 1, 42, 42, 777)
        );
        assert_eq!(
            (stat.threads, stat.status, stat.is_alive()),
            (1, Some(1792), false)
        );
        assert!(Stat { threads: 2, ..stat }.is_alive());
    }

    #[test]
    fn we_are_alive() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let proc = identify(pid, &boot_id()).unwrap();
        assert!(is_same(&proc));
        assert!(!is_same(&Proc {
            start: proc.start + 1,
            ..proc
        }));
        assert!(all().unwrap().iter().any(|stat| stat.pid == pid));
    }
}
