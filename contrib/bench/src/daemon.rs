//! A spool, and a daemon that serves it.
//!
//! A queue is filled while no daemon runs. The daemon is then started with `"paused": true` in its settings, reads all
//! jobs and comes to rest. The measurement starts when the pause is lifted, so that it includes neither the filling nor
//! the start, which can be measured separately.

use crate::sys::{self, Arrivals};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The job of most measurements: the same program that the bare loop spawns.
pub const NO_OP: &str = r#"{"command":["/bin/true"]}"#;
pub const NO_OP_PROGRAM: [&str; 1] = ["/bin/true"];

pub struct Spool {
    pub dir: PathBuf,
}

impl Spool {
    pub fn new(dir: PathBuf, slots: usize) -> io::Result<Self> {
        for name in [
            "pending", "active", "complete", "failed", "bad", "log", "tmp", "store", "scripts",
        ] {
            fs::create_dir_all(dir.join(name))?;
        }
        let spool = Self { dir };
        spool.configure(slots, true)?;
        Ok(spool)
    }

    /// Writes the settings as a user would: to another file, which is renamed into place.
    pub fn configure(&self, slots: usize, paused: bool) -> io::Result<()> {
        let staged = self.dir.join("tmp/.config");
        // There are as many units of `key` as slots, and one of `rare`.
        fs::write(
            &staged,
            format!(
                "{{\"slots\": {slots}, \"paused\": {paused}, \"tokens\": {{\"key\": {slots}, \"rare\": 1}}}}\n"
            ),
        )?;
        fs::rename(staged, self.dir.join("config.json"))
    }

    /// Puts `count` jobs into `pending/`, as plain files, named by numbers from `first` on.
    pub fn fill(&self, first: usize, count: usize, text: &str) -> io::Result<()> {
        let pending = self.dir.join("pending");
        (first..first + count).try_for_each(|n| fs::write(pending.join(n.to_string()), text))
    }
}

pub struct Daemon {
    child: Child,
}

/// The variable that makes a daemon one process. Earlier versions know no option for that.
pub const NO_FRONT: (&str, &str) = ("PIRN_FRONT", "0");

/// The time after which the benchmark gives up on a daemon.
const PATIENCE: Duration = Duration::from_secs(600);

impl Daemon {
    pub fn start(pirn: &Path, spool: &Spool, sync: bool) -> io::Result<Self> {
        Self::start_with(pirn, spool, sync, |_| {})
    }

    /// Starts a daemon whose command is changed before.
    pub fn start_with(
        pirn: &Path,
        spool: &Spool,
        sync: bool,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Self> {
        let log = fs::File::create(spool.dir.with_extension("log"))?;
        let mut command = Command::new(pirn);
        command
            .arg("serve")
            .env(NO_FRONT.0, NO_FRONT.1)
            .arg(&spool.dir)
            .stdin(Stdio::null())
            .stderr(log);
        if !sync {
            command.arg("--no-sync");
        }
        prepare(&mut command);
        Ok(Self {
            child: command.spawn()?,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the daemon has nothing to do; gives the time at which its threads last used a processor, to about 2
    /// ms.
    pub fn settle(&self) -> io::Result<u64> {
        let begun = sys::now();
        let (mut used, mut since) = (self.cpu_time(), begun);
        loop {
            std::thread::sleep(Duration::from_millis(2));
            let now_used = self.cpu_time();
            if now_used != used {
                (used, since) = (now_used, sys::now());
            } else if sys::since(since) > 0.1 && used > 0 {
                return Ok(since);
            }
            if sys::since(begun) > PATIENCE.as_secs_f64() {
                return Err(io::Error::other("the daemon does not come to rest"));
            }
        }
    }

    /// Nanoseconds of processor that all threads have used.
    pub fn cpu_time(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| {
                let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
                text.split(' ').next()?.parse::<u64>().ok()
            })
            .sum()
    }

    /// Seconds of user and system time of the daemon without its jobs.
    pub fn user_and_system(&self) -> (f64, f64) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let after = stat.rsplit(") ").next().unwrap_or("");
        let ticks = |n: usize| after.split(' ').nth(n).and_then(|w| w.parse::<f64>().ok());
        // Fields 14 and 15 of proc_pid_stat(5); a tick is 10 ms on all common systems.
        (
            ticks(11).unwrap_or(0.0) / 100.0,
            ticks(12).unwrap_or(0.0) / 100.0,
        )
    }

    /// A value from /proc/PID/status: `VmRSS` and similar ones in KiB, counters as they are, summed over the threads.
    pub fn status(&self, key: &str, all_threads: bool) -> u64 {
        let of = |path: PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with(key))
                .unwrap_or("");
            line.split_whitespace()
                .nth(1)
                .and_then(|n| n.parse().ok())
                .unwrap_or(0_u64)
        };
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        if !all_threads {
            return of(proc.join("status"));
        }
        let tasks = fs::read_dir(proc.join("task"))
            .into_iter()
            .flatten()
            .flatten();
        tasks.map(|task| of(task.path().join("status"))).sum()
    }

    pub fn stop(mut self) -> io::Result<()> {
        sys::signal(self.pid() as i32, libc::SIGTERM);
        self.child.wait().map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Lifts the pause and waits until `count` records are in `complete/`. Gives jobs per second.
pub fn drain(spool: &Spool, slots: usize, count: usize) -> io::Result<f64> {
    drain_to(spool, slots, count, "complete")
}

/// Does the same for jobs that end in another directory.
pub fn drain_to(spool: &Spool, slots: usize, count: usize, place: &str) -> io::Result<f64> {
    let mut arrivals = Arrivals::new(&spool.dir.join(place))?;
    let start = sys::now();
    spool.configure(slots, false)?;
    let mut done = 0;
    while done < count {
        let more = arrivals.next(Duration::from_secs(60))?;
        if more == 0 {
            return Err(io::Error::other(format!(
                "{}: {done} of {count} jobs, then none for a minute",
                spool.dir.display()
            )));
        }
        done += more;
        // Gathers events for a while, so that this thread takes no time from the daemon.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(done as f64 / sys::since(start))
}
