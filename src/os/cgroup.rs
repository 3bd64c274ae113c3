//! Control groups (cgroup v2), used if a part of their tree was delegated to us. A job's processes cannot leave its
//! group by forking, and the kernel kills a whole group at once.
//!
//! A job is born in its group. If its leader were moved there just after its start, children that it had by then would
//! stay outside (seen, with a shell that lives for a millisecond).

use super::{dir, user};
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The part of the tree in which this process may make groups.
#[derive(Debug)]
pub struct Delegated {
    /// The groups of jobs are made here.
    unit: PathBuf,
    /// The group of this process: `unit` itself, or [`SUBGROUP`] in it.
    own: PathBuf,
    /// The beginning of the names of our groups.
    prefix: String,
    /// The controllers that the groups of jobs have.
    controllers: Vec<&'static str>,
}

/// The name of a group that the daemon has to itself, so that the groups of its jobs are siblings of its own
/// (`DelegateSubgroup=`). Where a process runs, no controller can be enabled for groups below.
const SUBGROUP: &str = "daemon";

/// The controllers with limits that a job may ask for.
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// The group of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(PathBuf);

impl Delegated {
    /// The group of this process, or the one around it if ours is called [`SUBGROUP`], if it was delegated to us: its
    /// groups can be killed as a whole (Linux 5.14), and made. `was_told` says that it is the group around ours, and
    /// that it is ours.
    ///
    /// Root could write to any group. For root, a group counts as delegated if the service manager gave it an
    /// attribute that says so (`Delegate=`, systemd.resource-control(5)), or if it is the root of a namespace
    /// (cgroup_namespaces(7)).
    pub fn find(prefix: String, was_told: bool) -> Option<Self> {
        let name = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = mounts
            .lines()
            .find_map(|line| path_below(line, Path::new(&name)))?;
        let around = own.parent().filter(|_| own.ends_with(SUBGROUP));
        let around = around.filter(|unit| was_told || is_handed_as_unit(unit));
        let is_handed = around.is_some() || is_handed(&own, &name);
        let mut found = Self {
            unit: around.unwrap_or(&own).to_owned(),
            own,
            prefix,
            controllers: Vec::new(),
        };
        let may_be_killed = found.own.join("cgroup.kill").exists();
        if !(is_handed && may_be_killed && found.can_be_used()) {
            return None;
        }
        found.enable_controllers();
        Some(found)
    }

    /// The group in which those of jobs are made.
    pub fn unit(&self) -> &Path {
        &self.unit
    }

    /// Enables the controllers that are there, if no process runs in the group itself.
    fn enable_controllers(&mut self) {
        if self.unit == self.own {
            return;
        }
        let offered = fs::read_to_string(self.unit.join("cgroup.controllers"));
        let offered = offered.unwrap_or_default();
        let is_enabled = |controller: &&str| {
            let enabled = || {
                fs::write(
                    self.unit.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                )
            };
            offered.split_whitespace().any(|name| name == *controller) && enabled().is_ok()
        };
        self.controllers = CONTROLLERS.into_iter().filter(is_enabled).collect();
    }

    /// The controllers whose limits a job's group can have; none where the daemon has no group to itself.
    pub fn controllers(&self) -> &[&'static str] {
        &self.controllers
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
        self.group_in(&self.unit, job)
    }

    /// The group of a job that an earlier daemon may have started. Some made groups in their own.
    pub fn group_of_earlier(&self, job: &str) -> Cgroup {
        let below = self.group_in(&self.own, job);
        match below.0.exists() {
            true => below,
            false => self.group(job),
        }
    }

    fn group_in(&self, parent: &Path, job: &str) -> Cgroup {
        Cgroup(parent.join(format!("{}{job}", self.prefix)))
    }

    /// Removes the groups of jobs without processes.
    pub fn remove_empty(&self) {
        let below = (self.own != self.unit).then_some(&self.own);
        for parent in below.into_iter().chain([&self.unit]) {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
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
}

/// Moves this process, which has one thread, to the group [`SUBGROUP`] in this one; makes both if they are missing.
pub fn enter(unit: &Path) -> io::Result<()> {
    let own = unit.join(SUBGROUP);
    fs::create_dir_all(&own)?;
    // Not to be made in another file system.
    let mut procs = fs::OpenOptions::new()
        .write(true)
        .open(own.join("cgroup.procs"))?;
    procs.write_all(b"0")
}

/// True when a group was delegated to this process, which runs in it.
fn is_handed(own: &Path, name: &str) -> bool {
    match user::is_root() {
        true => name == "/" || is_marked(own),
        false => is_ours(own),
    }
}

/// True when a group was delegated to this process, which runs in its [`SUBGROUP`]. The service manager of a user marks
/// nothing.
fn is_handed_as_unit(unit: &Path) -> bool {
    let is_service = unit.extension().is_some_and(|kind| kind == "service");
    is_marked(unit) || (!user::is_root() && is_service && is_ours(unit))
}

fn is_ours(group: &Path) -> bool {
    fs::metadata(group).is_ok_and(|meta| meta.uid() == user::uid())
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

    /// True if the kernel has killed a process in it because all of them needed more than `memory.max`.
    pub fn had_oom_kill(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        let mut counts = events.lines().filter_map(|line| line.split_once(' '));
        counts.any(|(name, count)| name == "oom_kill" && count != "0")
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

    /// A plain directory stands in for a control group.
    #[test]
    fn limits_and_what_came_of_them() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let group = Cgroup(dir.path().join("job"));
        group.create(&[("memory.max", "1".to_owned()), ("pids.max", "2".to_owned())])?;
        let read = |name: &str| fs::read_to_string(group.0.join(name));
        assert_eq!(
            (read("memory.max")?, read("pids.max")?),
            ("1".to_owned(), "2".to_owned())
        );
        assert!(!group.had_oom_kill());
        fs::write(group.0.join("memory.events"), "low 0\noom 1\noom_kill 0\n")?;
        assert!(!group.had_oom_kill());
        fs::write(group.0.join("memory.events"), "low 0\noom 1\noom_kill 2\n")?;
        assert!(group.had_oom_kill());
        let refused = group.create(&[("no/such", "1".to_owned())]);
        assert!(refused.is_err_and(|e| e.to_string().starts_with("no/such: ")));
        Ok(())
    }

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
