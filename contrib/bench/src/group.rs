//! The cost of a control group, from the rename into `pending/` to the first instruction of the job.

use crate::daemon::{Daemon, Spool};
use crate::ground::Ground;
use crate::latency::{Clock, drops};
use crate::report::{Bound, Row, remark, table};
use crate::stats::quantile;
use crate::{Context, progress, sys};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A control group that is removed in the end.
pub struct Group(PathBuf);

impl Group {
    /// A group below that of this process.
    pub fn make() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let point = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == "cgroup2").then_some(point)
        });
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let (Some(point), Some(own)) = (point, own) else {
            return Err(io::Error::other("there is no cgroup v2"));
        };
        let name = format!("pirn-bench-{}", std::process::id());
        let group = Path::new(point).join(own).join(name);
        fs::create_dir(&group)?;
        Ok(Self(group))
    }
}

impl Group {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// How jobs get to their groups.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// They have none.
    Without,
    /// They are born there.
    Born,
    /// They go there: the daemon may not call clone3.
    Moved,
}

/// The median of the milliseconds from a drop to its job.
fn p50(c: &Context, ground: &Ground, way: Way) -> io::Result<f64> {
    let dir = ground.fresh("group")?;
    let spool = Spool::new(dir.join("spool"), c.cpus)?;
    spool.configure(c.cpus, false)?;
    let mut clock = Clock::new(&dir)?;
    let group = match way {
        Way::Without => None,
        Way::Born | Way::Moved => Some(Group::make()?),
    };
    let prepare = |command: &mut Command| {
        if let Some(group) = &group {
            command.arg("--cgroup").arg(&group.0);
        }
        if way == Way::Moved {
            sys::forbid_clone3(command);
        }
    };
    let daemon = Daemon::start_with(&c.pirn, &spool, true, prepare)?;
    daemon.settle()?;
    let (program, path) = (c.stamp.display(), clock.path.display());
    let text = format!(r#"{{"command":["{program}","{path}"]}}"#);
    let pending = spool.dir.join("pending");
    let times = drops(&dir, &pending, &mut clock, &text, c.scaled(100))?;
    daemon.stop()?;
    Ok(quantile(&times, 0.5))
}

pub fn report(c: &Context) -> io::Result<()> {
    let ground = &c.grounds.list[0];
    if let Err(e) = Group::make() {
        remark(&format!("Control groups are not measured: {e}."));
        return Ok(());
    }
    let mut rows = [
        Row::new("born in its group, p50").bound(Bound::AtMost(1.2)),
        Row::new("moved there by cgroup.procs, p50"),
    ];
    for rep in 0..c.reps {
        progress(&format!("group: {}/{}", rep + 1, c.reps));
        let without = p50(c, ground, Way::Without)?;
        rows[0].push_beside(p50(c, ground, Way::Born)?, without);
        rows[1].push_beside(p50(c, ground, Way::Moved)?, without);
    }
    table(
        "From drop to first instruction in a control group",
        "ms",
        "the same without groups",
        &rows,
    );
    Ok(())
}
