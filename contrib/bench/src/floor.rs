//! The file operations of pirn's protocol alone: no queue, no scheduler, no inotify, no JSON. No program that keeps the
//! same promises with the same files can be faster than this.

use crate::daemon::{NO_OP, NO_OP_PROGRAM};
use crate::ground::Ground;
use crate::latency;
use crate::limits::spawn_rate;
use crate::peers::TaskSpooler;
use crate::report::{Bound, Row, table};
use crate::stats::quantile;
use crate::sys::{self, Program};
use crate::{Context, progress};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// The option that makes this program do only the calls of `pirn add`.
pub const ADD: &str = "--only-the-calls-of-add";

/// About as long as the record of a no-op job.
const RECORD: [u8; 500] = [b' '; 500];

/// As many records as pirn writes together.
const BATCH: usize = 32;

struct Dirs {
    pending: PathBuf,
    active: PathBuf,
    complete: PathBuf,
    failed: PathBuf,
    tmp: PathBuf,
    log: PathBuf,
}

impl Dirs {
    fn make(base: &Path) -> io::Result<Self> {
        let dir = |name: &str| {
            let dir = base.join(name);
            fs::create_dir_all(&dir).map(|()| dir)
        };
        Ok(Self {
            pending: dir("pending")?,
            active: dir("active")?,
            complete: dir("complete")?,
            failed: dir("failed")?,
            tmp: dir("tmp")?,
            log: dir("log")?,
        })
    }

    /// Judges a job: checks that nobody is writing its file, and that it overwrites no earlier run of its name.
    fn judge(&self, name: &str) -> io::Result<()> {
        let mut file = File::open(self.pending.join(name))?;
        sys::ask_for_writers(&file);
        let mut text = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
        file.read_exact(&mut text)?;
        drop(file);
        let ended = [&self.complete, &self.failed];
        std::hint::black_box((text, ended.map(|dir| dir.join(name).exists())));
        Ok(())
    }

    /// Claims a job, and opens the log whose lock shows that it is alive.
    fn claim(&self, name: &str) -> io::Result<File> {
        fs::rename(self.pending.join(name), self.active.join(name))?;
        std::hint::black_box(fs::metadata(self.active.join(name))?);
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log.join(name))?;
        sys::lock(&log)?;
        Ok(log)
    }

    /// Records the ends of several jobs, and shows them.
    fn end(&self, names: &[String], active: &File, sync: bool) -> io::Result<()> {
        let stage = |name: &String| {
            let mut file = File::create_new(self.tmp.join(name))?;
            file.write_all(&RECORD)?;
            if sync {
                // The writing of all files begins before the first one is waited for.
                sys::begin_writing(&file);
            }
            Ok(file)
        };
        let staged = names.iter().map(stage).collect::<io::Result<Vec<_>>>()?;
        for (name, file) in names.iter().zip(staged) {
            if sync {
                file.sync_data()?;
            }
            let path = self.tmp.join(name);
            sys::exchange(&path, &self.active.join(name))?;
            fs::remove_file(&path)?;
        }
        if sync {
            active.sync_all()?;
        }
        for name in names {
            fs::remove_file(self.log.join(name))?;
            fs::rename(self.active.join(name), self.complete.join(name))?;
        }
        Ok(())
    }
}

/// Runs `count` jobs, `slots` at a time. As in pirn, two threads write the ends, several together.
fn drain(base: &Path, slots: usize, count: usize, sync: bool) -> io::Result<f64> {
    let dirs = Dirs::make(base)?;
    for n in 0..count {
        fs::write(dirs.pending.join(n.to_string()), NO_OP)?;
    }
    let active = File::open(&dirs.active)?;
    let program = Program::new(&NO_OP_PROGRAM);
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel::<String>();
    let receiver = Mutex::new(receiver);
    let start = sys::now();
    std::thread::scope(|scope| {
        let run = |sender: mpsc::Sender<String>| -> io::Result<()> {
            loop {
                let name = next.fetch_add(1, Ordering::Relaxed).to_string();
                if name.parse::<usize>().is_ok_and(|n| n >= count) {
                    return Ok(());
                }
                std::hint::black_box(fs::read(dirs.pending.join(&name))?);
                let log = dirs.claim(&name)?;
                let pid = program.spawn()?;
                drop(log);
                sys::wait(pid)?;
                sender.send(name).map_err(io::Error::other)?;
            }
        };
        let record = || -> io::Result<()> {
            loop {
                let names: Vec<String> = {
                    let receiver = receiver.lock().expect("a thread panicked");
                    let Ok(first) = receiver.recv() else {
                        return Ok(());
                    };
                    std::iter::once(first)
                        .chain(receiver.try_iter().take(BATCH - 1))
                        .collect()
                };
                dirs.end(&names, &active, sync)?;
            }
        };
        let slots: Vec<_> = (0..slots)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || run(sender))
            })
            .collect();
        drop(sender);
        let recorders = [scope.spawn(record), scope.spawn(record)];
        let mut threads = slots.into_iter().chain(recorders);
        threads.try_for_each(|thread| thread.join().expect("a thread panicked"))
    })?;
    Ok(count as f64 / sys::since(start))
}

/// The calls of a process that accepts one job durably.
pub fn add(base: &Path, name: &str) -> io::Result<()> {
    let (staged, pending) = (base.join("tmp").join(name), base.join("pending"));
    let mut file = File::create_new(&staged)?;
    file.write_all(NO_OP.as_bytes())?;
    file.sync_data()?;
    fs::rename(&staged, pending.join(name))?;
    File::open(pending)?.sync_all()
}

fn adds(base: &Path, count: usize) -> io::Result<f64> {
    Dirs::make(base)?;
    let this = std::env::current_exe()?;
    let start = sys::now();
    for n in 0..count {
        let name = n.to_string();
        let words = [
            this.as_os_str(),
            ADD.as_ref(),
            base.as_os_str(),
            name.as_ref(),
        ];
        Program::new(&words).run()?;
    }
    Ok(count as f64 / sys::since(start))
}

pub fn report(c: &Context) -> io::Result<()> {
    for ground in &c.grounds.list {
        of(c, ground)?;
    }
    Ok(())
}

fn of(c: &Context, ground: &Ground) -> io::Result<()> {
    let cases = [(2, true), (2, false), (16, true), (16, false)];
    let mut drains: Vec<Row> = cases
        .map(|(slots, sync)| {
            let (how, bound) = if sync {
                ("durable", 0.75)
            } else {
                ("`--no-sync`", 0.85)
            };
            Row::new(format!("{slots} slots, {how}")).bound(Bound::AtLeast(bound))
        })
        .into();
    let mut idle = Row::new("drop to first instruction, idle, p50, ms").bound(Bound::AtMost(1.5));
    let mut add = Row::new("an accepted job, a process each, durable, beside `tsp`")
        .bound(Bound::AtLeast(1.0));
    for rep in 0..c.reps {
        progress(&format!("floor: {} {}/{}", ground.name, rep + 1, c.reps));
        for (row, (slots, sync)) in drains.iter_mut().zip(cases) {
            let before = spawn_rate(slots, c.scaled(600))?;
            let rate = drain(&ground.fresh("floor")?, slots, c.scaled(1500), sync)?;
            let after = spawn_rate(slots, c.scaled(600))?;
            row.push_beside(rate, (before + after) / 2.0);
        }
        let limit = latency::bare(c, ground, c.scaled(100), 0, |_| Ok(()))?;
        let dirs = Dirs::make(&ground.fresh("floor")?)?;
        let times = latency::bare(c, ground, c.scaled(100), 0, |file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            fs::rename(file, dirs.pending.join(&*name))?;
            dirs.judge(&name)?;
            dirs.claim(&name).map(drop)
        })?;
        idle.push_beside(quantile(&times, 0.5), quantile(&limit, 0.5));
        if c.has("tsp") {
            let count = c.scaled(300);
            let tsp = TaskSpooler::start(&ground.fresh("tsp")?, 1)?;
            add.push_beside(adds(&ground.fresh("floor")?, count)?, tsp.enqueue(count)?);
        }
    }
    let rows = drains.into_iter().chain([idle, add]);
    let rows: Vec<Row> = rows.filter(|row| !row.values.is_empty()).collect();
    table(
        &format!("The protocol's file operations alone, {}", ground.name),
        "jobs/s",
        "as for pirn itself",
        &rows,
    );
    Ok(())
}
