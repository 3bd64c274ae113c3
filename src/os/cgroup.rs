//! Control groups (cgroup v2), used if a part of their tree was delegated to us. A job's processes cannot leave its
//! group by forking, and the kernel kills a whole group at once.
//!
//! A job is born in its group. If its leader were moved there just after its start, children that it had by then would
//! stay outside (seen, with a shell that lives for a millisecond).

use super::dir;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The group in which this process runs and may make groups.
#[derive(Debug)]
pub struct Delegated {
    path: PathBuf,
    /// The beginning of the names of our groups.
    prefix: String,
}

/// The group of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(PathBuf);

impl Delegated {
    /// The group of this process, if it was delegated to us: it can be killed as a whole (Linux 5.14), and is ours to
    /// write. Root could write to any group. For root, a group counts as delegated if the service manager gave it an
    /// attribute that says so (`Delegate=`, systemd.resource-control(5)), or if it is the root of a namespace
    /// (cgroup_namespaces(7)).
    pub fn find(prefix: String) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let path = mounts
            .lines()
            .find_map(|line| path_below(line, Path::new(&own)))?;
        let may_be_killed = path.join("cgroup.kill").exists();
        let us = nix::unistd::geteuid();
        let handed = if us.is_root() {
            own == "/" || is_marked(&path)
        } else {
            fs::metadata(&path).is_ok_and(|meta| meta.uid() == us.as_raw())
        };
        let found = Self { path, prefix };
        (may_be_killed && handed && found.can_be_used()).then_some(found)
    }

    /// True when groups can be made in it: containers may forbid that in many ways.
    fn can_be_used(&self) -> bool {
        let group = self.group("try");
        let made = group.create(&[]);
        group.remove();
        made.is_ok()
    }

    /// The group of a job, which may not exist yet.
    pub fn group(&self, job: &str) -> Cgroup {
        Cgroup(self.path.join(format!("{}{job}", self.prefix)))
    }

    /// Removes the groups of jobs without processes.
    pub fn remove_empty(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .as_bytes()
                .starts_with(self.prefix.as_bytes())
            {
                Cgroup(entry.path()).remove();
            }
        }
    }
}

impl Cgroup {
    /// Makes the group, unless it is there, and writes these files of it.
    pub fn create(&self, files: &[(&str, String)]) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            Ok(()) | Err(_) => {}
        }
        for (name, value) in files {
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
            fs::write(self.0.join(name), value).map_err(named)?;
        }
        Ok(())
    }

    /// Its directory, for a child to be born in.
    pub fn open(&self) -> io::Result<OwnedFd> {
        dir::open_path(&self.0)
    }

    /// The processes in it, and in the groups that they made below it.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        self.walk(&mut |group| {
            let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            pids.extend(listed.lines().filter_map(|pid| pid.parse::<i32>().ok()));
        });
        pids
    }

    /// Kills all its processes at once, also those that are just being forked.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Removes the group, unless it has processes.
    pub fn remove(&self) {
        self.walk(&mut |group| {
            // EBUSY: it has processes; ENOENT: it was never made.
            let _ = fs::remove_dir(group);
        });
    }

    /// Calls `f` for this group and all below it, the lowest first.
    fn walk(&self, f: &mut dyn FnMut(&Path)) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                Self(entry.path()).walk(f);
            }
        }
        f(&self.0);
    }
}

/// The line of /proc/self/cgroup that is about version 2 (cgroups(7)).
fn own_group(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

/// The path of a group by a line of mountinfo (proc(5)), if the line is the mount of its hierarchy:
/// `ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS [FIELD...] - TYPE SOURCE OPTIONS`.
fn path_below(line: &str, group: &Path) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    Some(Path::new(point).join(group.strip_prefix(root).ok()?))
}

/// True when an attribute of the group says that it was delegated.
fn is_marked(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    [c"trusted.delegate", c"user.delegate"].iter().any(|name| {
        let mut value = [0u8; 2];
        // SAFETY: both strings end in NUL; the kernel writes at most the given length into `value`.
        let length = unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        length == 1 && value[0] == b'1'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_group_is() {
        let line = "31 30 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let found = |line, group| path_below(line, Path::new(group));
        assert_eq!(
            found(line, "/user.slice/a.service"),
            Some("/sys/fs/cgroup/user.slice/a.service".into())
        );
        assert_eq!(found(line, "/"), Some("/sys/fs/cgroup/".into()));
        let inner = line.replace(" / ", " /docker/1 ");
        assert_eq!(
            found(&inner, "/docker/1/job"),
            Some("/sys/fs/cgroup/job".into())
        );
        assert_eq!(found(&inner, "/docker/2"), None);
        assert_eq!(found(&line.replace("- cgroup2", "- cgroup"), "/"), None);
        assert_eq!(own_group("4:memory:/x\n0::/a b\n"), Some("/a b".to_owned()));
        assert_eq!(own_group("4:memory:/x\n"), None);
    }
}
