//! The CPU that a job costs the daemon. The number of instructions is about the same on every machine.

use crate::daemon::{Daemon, NO_FRONT, NO_OP, Spool, drain};
use crate::ground::Ground;
use crate::limits::spawn_rate;
use crate::report::{Row, remark, table};
use crate::{Context, progress};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn report(c: &Context) -> io::Result<()> {
    let Some(ground) = c.grounds.list.first() else {
        return Ok(());
    };
    let mut rows = [
        "user, µs a job",
        "system, µs a job",
        "user, µs a job, `--no-sync`",
        "system, µs a job, `--no-sync`",
    ]
    .map(Row::new);
    for rep in 0..c.reps {
        progress(&format!("cpu {}/{}", rep + 1, c.reps));
        let limit = 1e6 * c.cpus as f64 / spawn_rate(c.cpus, c.scaled(600))?;
        for (pair, sync) in rows.chunks_mut(2).zip([true, false]) {
            let (user, system) = once(c, ground, sync, c.scaled(3000))?;
            pair[0].push_beside(user, limit);
            pair[1].push_beside(system, limit);
        }
    }
    let mut rows: Vec<Row> = rows.into();
    if c.has("valgrind") {
        progress("cpu: callgrind");
        let (few, many) = (50, if c.quick { 150 } else { 450 });
        let cost = instructions(c, ground, many)?.saturating_sub(instructions(c, ground, few)?);
        let mut row = Row::new("user instructions a job, thousands (callgrind)");
        row.push(cost as f64 / (many - few) as f64 / 1e3);
        rows.push(row);
    }
    table(
        "CPU of the daemon",
        "a job",
        "CPU of one job in the bare loop, all of it, µs",
        &rows,
    );
    if !c.has("valgrind") {
        remark("Instructions: skipped, valgrind is not installed.");
    }
    Ok(())
}

fn once(c: &Context, ground: &Ground, sync: bool, count: usize) -> io::Result<(f64, f64)> {
    let spool = Spool::new(ground.fresh("cpu")?, c.cpus)?;
    spool.fill(1, count, NO_OP)?;
    let daemon = Daemon::start(&c.pirn, &spool, sync)?;
    daemon.settle()?;
    let before = daemon.user_and_system();
    drain(&spool, c.cpus, count)?;
    let after = daemon.user_and_system();
    daemon.stop()?;
    let each = |time: f64| time * 1e6 / count as f64;
    Ok((each(after.0 - before.0), each(after.1 - before.1)))
}

/// Instructions of a daemon that runs `count` jobs and exits.
fn instructions(c: &Context, ground: &Ground, count: usize) -> io::Result<u64> {
    let spool = Spool::new(ground.fresh("callgrind")?, c.cpus)?;
    spool.configure(c.cpus, false)?;
    spool.fill(1, count, NO_OP)?;
    let out = spool.dir.with_extension("callgrind");
    Command::new("valgrind")
        .args([
            "-q",
            "--tool=callgrind",
            &format!("--callgrind-out-file={}", out.display()),
        ])
        .arg(&c.pirn)
        .args(["serve", "--drain"])
        .env(NO_FRONT.0, NO_FRONT.1)
        .arg(&spool.dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    total(&out)
}

fn total(out: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(out)?;
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().parse().ok()
    };
    number("totals:")
        .or_else(|| number("summary:"))
        .ok_or_else(|| io::Error::other("callgrind wrote no total"))
}
