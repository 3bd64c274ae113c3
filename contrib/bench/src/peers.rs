//! Other queues with the same jobs. Each queue is filled while a gate job blocks it, and timed from the opening of the
//! gate to the stamp of the last job; programs without a queue are timed as a whole.

use crate::latency::Clock;
use crate::limits::{rate, spawn_rate};
use crate::report::{Row, remark, table};
use crate::sys::{self, Program, quietly};
use crate::{Context, beanstalkd, progress};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Debian's packages, each with the program that shows that it is installed.
pub const PACKAGES: [(&str, &str); 5] = [
    ("nq", "nq"),
    ("task-spooler", "tsp"),
    ("parallel", "parallel"),
    ("at", "atd"),
    ("beanstalkd", "beanstalkd"),
];

/// A FIFO that gate jobs wait to open for reading.
struct Gate(PathBuf);

impl Gate {
    fn new(dir: &Path) -> io::Result<Self> {
        let path = dir.join("gate");
        sys::make_fifo(&path)?;
        Ok(Self(path))
    }

    fn job(&self) -> [String; 3] {
        [
            "sh".to_owned(),
            "-c".to_owned(),
            format!("read x < {}", self.0.display()),
        ]
    }

    /// Lets all jobs go; gives the time.
    fn open(&self) -> io::Result<u64> {
        // By then, the gate jobs wait in their open(2).
        std::thread::sleep(Duration::from_millis(200));
        let start = sys::now();
        drop(File::options().write(true).open(&self.0)?);
        Ok(start)
    }

    /// Lets all remaining jobs go: a gate that was never opened would leave its jobs behind.
    fn leave_open(&self) {
        if let Ok(gate) = File::options().read(true).write(true).open(&self.0) {
            std::thread::sleep(Duration::from_millis(50));
            drop(gate);
        }
    }
}

fn quiet(command: &mut Command) -> io::Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// A task-spooler server whose slots are blocked.
pub struct TaskSpooler {
    gate: Gate,
    dir: PathBuf,
}

impl TaskSpooler {
    pub fn start(dir: &Path, slots: usize) -> io::Result<Self> {
        let gate = Gate::new(dir)?;
        sys::set_env("TS_SOCKET", &dir.join("socket"));
        sys::set_env("TMPDIR", dir);
        sys::set_env("TS_SLOTS", Path::new(&slots.to_string()));
        for _ in 0..slots {
            quiet(Command::new("tsp").args(gate.job()))?;
        }
        Ok(Self {
            gate,
            dir: dir.to_owned(),
        })
    }

    /// Jobs a second, with one process for each job.
    pub fn enqueue(&self, count: usize) -> io::Result<f64> {
        let add = Program::new(&["/usr/bin/tsp", "/bin/true"]);
        quietly(|| rate(1, count, |_, _| add.run()))
    }

    fn drain(&self, c: &Context, count: usize) -> io::Result<f64> {
        self.enqueue(count)?;
        let mut clock = Clock::new(&self.dir)?;
        quiet(Command::new("tsp").arg(&c.stamp).arg(&clock.path))?;
        let start = self.gate.open()?;
        Ok(count as f64 * 1e9 / (clock.read()? - start) as f64)
    }
}

impl Drop for TaskSpooler {
    fn drop(&mut self) {
        self.gate.leave_open();
        let _ = quiet(Command::new("tsp").arg("-K"));
    }
}

/// A directory of nq, blocked by its first job.
pub struct NqQueue {
    gate: Gate,
    dir: PathBuf,
}

impl NqQueue {
    pub fn start(dir: &Path) -> io::Result<Self> {
        let gate = Gate::new(dir)?;
        sys::set_env("NQDIR", dir);
        quiet(Command::new("nq").args(gate.job()))?;
        Ok(Self {
            gate,
            dir: dir.to_owned(),
        })
    }

    pub fn enqueue(&self, count: usize) -> io::Result<f64> {
        let add = Program::new(&["/usr/bin/nq", "/bin/true"]);
        quietly(|| rate(1, count, |_, _| add.run()))
    }

    fn drain(&self, c: &Context, count: usize) -> io::Result<f64> {
        self.enqueue(count)?;
        let mut clock = Clock::new(&self.dir)?;
        quiet(Command::new("nq").arg(&c.stamp).arg(&clock.path))?;
        let start = self.gate.open()?;
        Ok(count as f64 * 1e9 / (clock.read()? - start) as f64)
    }
}

impl Drop for NqQueue {
    fn drop(&mut self) {
        self.gate.leave_open();
        let _ = quiet(Command::new("nq").arg("-w"));
    }
}

/// `parallel` and `xargs` read their arguments from a file, and are timed as a whole, start included.
fn from_list(dir: &Path, words: &[&str], count: usize) -> io::Result<f64> {
    let list = dir.join("list");
    fs::write(
        &list,
        (0..count).map(|n| format!("{n}\n")).collect::<String>(),
    )?;
    let start = sys::now();
    let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(rest)
        .stdin(File::open(list)?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(count as f64 / sys::since(start))
}

/// True if at(1) must be left alone: its daemon runs already, or somebody has jobs in it.
fn at_is_in_use() -> bool {
    let runs = Command::new("pidof")
        .arg("atd")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    let waits = Command::new("atq")
        .output()
        .is_ok_and(|out| !out.stdout.is_empty());
    runs || waits
}

/// Jobs are queued while no atd runs; then one is started. It runs all of them at once: it has no slots.
fn at(c: &Context, dir: &Path, count: usize) -> io::Result<f64> {
    let mut clock = Clock::new(dir)?;
    let script = dir.join("job");
    // at does not say which job is the last: each job writes its start time.
    fs::write(
        &script,
        format!("{} {}\n", c.stamp.display(), clock.path.display()),
    )?;
    let script = script.to_string_lossy().into_owned();
    for _ in 0..count {
        quiet(Command::new("at").args(["-f", &script, "now"]))?;
    }
    let mut atd = Command::new("atd")
        .arg("-f")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = sys::now();
    let mut last = start;
    for _ in 0..count {
        last = last.max(clock.read()?);
    }
    atd.kill()?;
    atd.wait()?;
    Ok(count as f64 * 1e9 / (last - start) as f64)
}

pub fn report(c: &Context) -> io::Result<()> {
    let Some(ground) = c.grounds.list.first() else {
        return Ok(());
    };
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| !c.has(program))
        .map(|(package, _)| *package)
        .collect();
    let slots: &[usize] = if c.quick { &[1, 2] } else { &[1, 2, 4] };
    let mut rows: Vec<Row> = Vec::new();
    let mut note =
        |what: String, rate: f64, limit: f64| match rows.iter_mut().find(|row| row.what == what) {
            Some(row) => row.push_beside(rate, limit),
            None => {
                let mut row = Row::new(what);
                row.push_beside(rate, limit);
                rows.push(row);
            }
        };
    let at_is_free = c.has("atd") && sys::is_root() && !at_is_in_use();
    for rep in 0..c.reps {
        for &k in slots {
            progress(&format!("peers: {k} slots {}/{}", rep + 1, c.reps));
            let jobs = k.to_string();
            // The limit is measured before and after each, so that each is compared with the limit at its time.
            let mut before = spawn_rate(k, c.scaled(500))?;
            let mut note = |what: String, rate: f64| -> io::Result<()> {
                let after = spawn_rate(k, c.scaled(500))?;
                note(what, rate, (before + after) / 2.0);
                before = after;
                Ok(())
            };
            let s = if k == 1 { "" } else { "s" };
            for (sync, how) in [(true, "durable"), (false, "`--no-sync`")] {
                let rate =
                    crate::drain::once(c, ground, k, sync, c.scaled(1000), crate::daemon::NO_OP)?;
                note(format!("pirn, {how}, {k} slot{s}"), rate)?;
            }
            if c.has("tsp") {
                let rate = TaskSpooler::start(&ground.fresh("tsp")?, k)?.drain(c, c.scaled(600))?;
                note(format!("task-spooler, {k} slot{s}"), rate)?;
            }
            if c.has("nq") && k == 1 {
                let rate = NqQueue::start(&ground.fresh("nq")?)?.drain(c, c.scaled(200))?;
                note("nq".to_owned(), rate)?;
            }
            if c.has("beanstalkd") {
                for (binlog, how) in [(false, "in memory"), (true, "binlog, every write synced")] {
                    let dir = binlog.then(|| ground.fresh("beanstalkd")).transpose()?;
                    let rate = beanstalkd::drain(dir.as_deref(), k, c.scaled(1000))?;
                    note(format!("beanstalkd {how}, bare worker, {k} slot{s}"), rate)?;
                }
            }
            let dir = ground.fresh("list")?;
            let rate = from_list(
                &dir,
                &["xargs", "-P", &jobs, "-n", "1", "/bin/true"],
                c.scaled(600),
            )?;
            note(format!("xargs -n 1, {k} at a time (no queue)"), rate)?;
            if c.has("parallel") {
                let rate = from_list(&dir, &["parallel", "-j", &jobs, "/bin/true"], c.scaled(200))?;
                note(format!("GNU parallel, {k} at a time (no queue)"), rate)?;
            }
            if at_is_free && k == 1 {
                let rate = at(c, &ground.fresh("at")?, c.scaled(100))?;
                note("at (no slots: all at once)".to_owned(), rate)?;
            }
        }
    }
    rows.sort_by(|a, b| a.what.cmp(&b.what));
    table(
        "Beside other queues",
        "jobs/s",
        "posix_spawn + wait of `/bin/true`, as many in flight as slots, in the same repetition",
        &rows,
    );
    if !missing.is_empty() {
        remark(&format!(
            "Not installed, skipped: {} (`--install-peers` installs them).",
            missing.join(", ")
        ));
    }
    if c.has("atd") && !at_is_free {
        remark("at: skipped; it needs root, no atd that runs, and no jobs of somebody else's.");
    }
    Ok(())
}

/// Installs Debian's packages. Services that they start are left running.
pub fn install() -> io::Result<()> {
    let packages = PACKAGES.map(|(package, _)| package);
    let done = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .stdout(io::stderr())
        .status()?;
    match done.success() {
        true => Ok(()),
        false => Err(io::Error::other("apt-get install failed")),
    }
}
