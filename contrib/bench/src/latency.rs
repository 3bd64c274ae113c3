//! From the rename into `pending/` to the first instruction of the job.

use crate::daemon::{Daemon, NO_OP, NO_OP_PROGRAM, Spool};
use crate::ground::Ground;
use crate::report::{Bound, Row, table};
use crate::stats::{most, quantile};
use crate::sys::{self, Arrivals, Program};
use crate::{Context, progress};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The FIFO into which the probe writes its time, held open so that neither side waits for the other.
pub struct Clock {
    pub path: PathBuf,
    file: File,
}

impl Clock {
    pub fn new(dir: &Path) -> io::Result<Self> {
        let path = dir.join("clock");
        sys::make_fifo(&path)?;
        let file = File::options().read(true).write(true).open(&path)?;
        Ok(Self { path, file })
    }

    /// The time of the next probe's first instruction.
    pub fn read(&mut self) -> io::Result<u64> {
        let mut words = [0_u8; 16];
        self.file.read_exact(&mut words)?;
        let word = |at: usize| u64::from_ne_bytes(words[at..at + 8].try_into().unwrap());
        Ok(word(0) * 1_000_000_000 + word(8))
    }
}

/// Drops `text` `count` times, 20 to 40 ms apart, and gives the milliseconds until each probe ran.
pub fn drops(
    dir: &Path,
    pending: &Path,
    clock: &mut Clock,
    text: &str,
    count: usize,
) -> io::Result<Vec<f64>> {
    (0..count)
        .map(|n| {
            // The pauses need not be random, only out of step with any period of the system.
            std::thread::sleep(Duration::from_micros(20_000 + (n as u64 * 7_919) % 20_000));
            let staged = dir.join(format!("probe{n}"));
            fs::write(&staged, text)?;
            let start = sys::now();
            fs::rename(&staged, pending.join(format!("probe{n}")))?;
            Ok((clock.read()? - start) as f64 / 1e6)
        })
        .collect()
}

/// The minimum for any program: wait for inotify, spawn, wait. `first` is done with each file before its spawn.
pub fn bare(
    c: &Context,
    ground: &Ground,
    count: usize,
    load: usize,
    first: impl Fn(&Path) -> io::Result<()> + Sync,
) -> io::Result<Vec<f64>> {
    let dir = ground.fresh("bare")?;
    let pending = dir.join("pending");
    fs::create_dir(&pending)?;
    let mut clock = Clock::new(&dir)?;
    let probe = Program::new(&[c.stamp.as_path(), clock.path.as_path()]);
    let noise = Program::new(&NO_OP_PROGRAM);
    let mut arrivals = Arrivals::new(&pending)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut done = 0;
            while done < count {
                let some = arrivals.next(Duration::from_secs(10)).unwrap_or(0);
                if some == 0 {
                    return;
                }
                for n in done..done + some {
                    drop(first(&pending.join(format!("probe{n}"))).and_then(|()| probe.run()));
                }
                done += some;
            }
        });
        for _ in 0..load {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = noise.run();
                }
            });
        }
        let times = drops(&dir, &pending, &mut clock, NO_OP, count);
        over.store(true, Ordering::Relaxed);
        times
    })
}

/// The same with pirn. Under load, a backlog of no-op jobs keeps all slots busy, and the probes have priority.
fn through_pirn(c: &Context, ground: &Ground, count: usize, load: usize) -> io::Result<Vec<f64>> {
    let dir = ground.fresh("latency")?;
    let spool = Spool::new(dir.join("spool"), c.cpus)?;
    // More jobs than can be run in the time.
    spool.fill(1, if load > 0 { count * 150 } else { 0 }, NO_OP)?;
    let mut clock = Clock::new(&dir)?;
    let daemon = Daemon::start(&c.pirn, &spool, true)?;
    daemon.settle()?;
    spool.configure(c.cpus, false)?;
    let text = format!(
        r#"{{"command":["{}","{}"],"priority":10}}"#,
        c.stamp.display(),
        clock.path.display()
    );
    let times = drops(&dir, &spool.dir.join("pending"), &mut clock, &text, count)?;
    daemon.stop()?;
    Ok(times)
}

pub fn report(c: &Context) -> io::Result<()> {
    for ground in &c.grounds.list {
        let mut rows = Vec::new();
        for (state, load) in [("idle", 0), ("under load", c.cpus)] {
            let mut of =
                [("p50", Some(1.5)), ("p99", Some(2.5)), ("max", None)].map(|(name, bound)| {
                    let row = Row::new(format!("{state}, {name}"));
                    match bound {
                        Some(bound) if load == 0 => row.bound(Bound::AtMost(bound)),
                        Some(_) | None => row,
                    }
                });
            for rep in 0..c.reps {
                progress(&format!(
                    "latency: {} {state} {}/{}",
                    ground.name,
                    rep + 1,
                    c.reps
                ));
                let limit = bare(c, ground, c.scaled(100), load, |_| Ok(()))?;
                let times = through_pirn(c, ground, c.scaled(100), load)?;
                of[0].push_beside(quantile(&times, 0.5), quantile(&limit, 0.5));
                of[1].push_beside(quantile(&times, 0.99), quantile(&limit, 0.99));
                of[2].push_beside(most(&times), most(&limit));
            }
            rows.extend(of);
        }
        table(
            &format!("From drop to first instruction, {}", ground.name),
            "ms",
            "inotify + posix_spawn of the same probe; under load beside as many spawn loops as processors (pirn: all slots busy with a backlog, the probe has priority)",
            &rows,
        );
    }
    Ok(())
}
