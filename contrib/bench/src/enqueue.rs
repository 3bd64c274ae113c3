//! The speed at which jobs are accepted. The daemon is paused: it takes in the jobs, and runs none.

use crate::daemon::{Daemon, NO_OP, Spool};
use crate::ground::Ground;
use crate::limits::{Syncs, rate, spawn_rate, write_rate};
use crate::peers::{NqQueue, TaskSpooler};
use crate::report::{Bound, Row, remark, table};
use crate::sys::{self, Program, quietly};
use crate::{Context, progress};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// True if this command of pirn has this option.
fn has_option(c: &Context, command: &str, option: &str) -> bool {
    let help = Command::new(&c.pirn).args([command, "--help"]).output();
    help.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(option))
}

fn with_daemon<T>(
    c: &Context,
    ground: &Ground,
    work: impl FnOnce(&Spool) -> io::Result<T>,
) -> io::Result<T> {
    let spool = Spool::new(ground.fresh("enqueue")?, c.cpus)?;
    let daemon = Daemon::start(&c.pirn, &spool, true)?;
    daemon.settle()?;
    let done = work(&spool)?;
    daemon.settle()?;
    daemon.stop()?;
    Ok(done)
}

/// One process for each job, one after the other.
fn single(c: &Context, ground: &Ground, count: usize) -> io::Result<f64> {
    with_daemon(c, ground, |spool| {
        let words = [
            &c.pirn,
            Path::new("-S"),
            &spool.dir,
            Path::new("add"),
            Path::new("/bin/true"),
        ]
        .map(|w| w.as_os_str().to_owned());
        let add = Program::new(&words);
        quietly(|| rate(1, count, |_, _| add.run()))
    })
}

/// Many jobs in one call, as lines of JSON.
fn batch(c: &Context, ground: &Ground, count: usize, sync: bool) -> io::Result<f64> {
    with_daemon(c, ground, |spool| {
        let mut command = Command::new(&c.pirn);
        command.arg("-S").arg(&spool.dir).args(["add", "--batch"]);
        if !sync {
            command.arg("--no-sync");
        }
        let lines = format!("{NO_OP}\n").repeat(count);
        let start = sys::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.as_bytes())?;
        }
        match child.wait()?.success() {
            true => Ok(count as f64 / sys::since(start)),
            false => Err(io::Error::other("pirn add --batch failed")),
        }
    })
}

/// Existing files are renamed into the spool, and into a directory that nobody watches.
fn moves(c: &Context, ground: &Ground, count: usize) -> io::Result<(f64, f64)> {
    let timed = |from: &Path, to: &Path| -> io::Result<f64> {
        let names: Vec<_> = (0..count)
            .map(|n| (from.join(format!("m{n}")), to.join(format!("m{n}"))))
            .collect();
        names
            .iter()
            .try_for_each(|(from, _)| fs::write(from, NO_OP))?;
        let start = sys::now();
        names
            .iter()
            .try_for_each(|(from, to)| fs::rename(from, to))?;
        Ok(count as f64 / sys::since(start))
    };
    let bare = ground.fresh("bare")?;
    fs::create_dir_all(bare.join("a"))?;
    fs::create_dir_all(bare.join("b"))?;
    let limit = timed(&bare.join("a"), &bare.join("b"))?;
    let into = with_daemon(c, ground, |spool| {
        timed(&spool.dir.join("tmp"), &spool.dir.join("pending"))
    })?;
    Ok((into, limit))
}

/// One process creates and writes files and renames them into `pending/`, without syncs.
fn drops(c: &Context, ground: &Ground, count: usize) -> io::Result<(f64, f64)> {
    let limit = write_rate(&ground.fresh("bare")?, 1, count, Syncs::Nothing)?;
    let into = with_daemon(c, ground, |spool| {
        let (tmp, pending) = (spool.dir.join("tmp"), spool.dir.join("pending"));
        rate(1, count, |_, n| {
            let staged = tmp.join(format!(".d{n}"));
            fs::write(&staged, NO_OP)?;
            fs::rename(staged, pending.join(format!("d{n}")))
        })
    })?;
    Ok((into, limit))
}

/// The time from the first of many drops until the daemon has taken in the last.
fn intake(c: &Context, ground: &Ground, count: usize) -> io::Result<f64> {
    let spool = Spool::new(ground.fresh("intake")?, c.cpus)?;
    let daemon = Daemon::start(&c.pirn, &spool, true)?;
    daemon.settle()?;
    let before = daemon.cpu_time();
    for n in 0..count {
        let staged = spool.dir.join(format!("tmp/.d{n}"));
        fs::write(&staged, NO_OP)?;
        fs::rename(staged, spool.dir.join(format!("pending/d{n}")))?;
    }
    daemon.settle()?;
    let used = daemon.cpu_time() - before;
    daemon.stop()?;
    Ok(used as f64 / 1e3 / count as f64)
}

pub fn report(c: &Context) -> io::Result<()> {
    let batch_is_there = has_option(c, "add", "--batch");
    let no_sync_is_there = has_option(c, "add", "--no-sync");
    for ground in &c.grounds.list {
        let mut add = Row::new("`pirn add`, a process a job, durable");
        let mut beside_tsp = Row::new("the same, beside `tsp`").bound(Bound::AtLeast(1.0));
        let mut beside_nq = Row::new("the same, beside `nq`");
        let mut mv = Row::new("rename into `pending/`");
        let mut drop = Row::new("create + write + rename into `pending/`");
        let mut many = Row::new("`pirn add --batch`, durable").bound(Bound::AtLeast(0.9));
        let mut many_unsynced = Row::new("`pirn add --batch --no-sync`").bound(Bound::AtLeast(0.7));
        let mut taking = Row::new("daemon's CPU for taking in a drop, µs");
        for rep in 0..c.reps {
            progress(&format!("enqueue: {} {}/{}", ground.name, rep + 1, c.reps));
            let count = c.scaled(300);
            let limit = spawn_rate(1, c.scaled(600))?;
            let rate = single(c, ground, count)?;
            add.push_beside(rate, limit);
            if c.has("tsp") {
                let tsp = TaskSpooler::start(&ground.fresh("tsp")?, 1)?;
                beside_tsp.push_beside(rate, tsp.enqueue(count)?);
            }
            if c.has("nq") {
                let nq = NqQueue::start(&ground.fresh("nq")?)?;
                beside_nq.push_beside(rate, nq.enqueue(c.scaled(100))?);
            }
            let (into, limit) = moves(c, ground, c.scaled(4000))?;
            mv.push_beside(into, limit);
            let (into, limit) = drops(c, ground, c.scaled(4000))?;
            drop.push_beside(into, limit);
            taking.push(intake(c, ground, c.scaled(4000))?);
            if batch_is_there {
                let count = c.scaled(4000);
                let limit = write_rate(&ground.fresh("bare")?, 16, count, Syncs::Both)?;
                many.push_beside(batch(c, ground, count, true)?, limit);
                if no_sync_is_there {
                    let limit = write_rate(&ground.fresh("bare")?, 1, count, Syncs::Nothing)?;
                    many_unsynced.push_beside(batch(c, ground, count, false)?, limit);
                }
            }
        }
        let rows: Vec<Row> = [
            add,
            beside_tsp,
            beside_nq,
            mv,
            drop,
            many,
            many_unsynced,
            taking,
        ]
        .into_iter()
        .filter(|row| !row.values.is_empty())
        .collect();
        table(
            &format!("Accepting jobs, {}", ground.name),
            "jobs/s",
            "posix_spawn + wait of `/bin/true`, one at a time, for `pirn add`; `tsp` and `nq` with the same loop where named; the same calls in a directory that nobody watches for files; 16 threads of create + write + fdatasync + rename + fsync for the durable batch",
            &rows,
        );
    }
    if !batch_is_there {
        remark("`pirn add --batch`: not built.");
    }
    Ok(())
}
