//! The limits of the machine without any queue.

use crate::daemon::{NO_OP, NO_OP_PROGRAM};
use crate::report::{Row, table};
use crate::sys::{self, Program};
use crate::{Context, progress};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Runs `work` in `threads` threads, each with its number, and gives how many of `count` in all were done in a second.
pub fn rate(
    threads: usize,
    count: usize,
    work: impl Fn(usize, usize) -> io::Result<()> + Sync,
) -> io::Result<f64> {
    let each = count.div_ceil(threads);
    let start = sys::now();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || (0..each).try_for_each(|n| work(thread, n)))
            })
            .collect();
        handles
            .into_iter()
            .try_for_each(|h| h.join().expect("a thread panicked"))
    })?;
    Ok((each * threads) as f64 / sys::since(start))
}

/// posix_spawn and wait, with `in_flight` processes at a time.
pub fn spawn_rate(in_flight: usize, count: usize) -> io::Result<f64> {
    let program = Program::new(&NO_OP_PROGRAM);
    rate(in_flight, count, |_, _| program.run())
}

#[derive(Clone, Copy, PartialEq)]
pub enum Syncs {
    Nothing,
    /// The file before the rename, the directory after it.
    Both,
}

/// Creates files, writes a job into each, and renames them into another directory of `dir`, which must be fresh.
pub fn write_rate(dir: &Path, threads: usize, count: usize, sync: Syncs) -> io::Result<f64> {
    let (tmp, to) = (dir.join("tmp"), dir.join("to"));
    fs::create_dir_all(&tmp)?;
    fs::create_dir_all(&to)?;
    let directory = File::open(&to)?;
    rate(threads, count, |thread, n| {
        let name = format!("{thread}.{n}");
        let staged = tmp.join(&name);
        let mut file = File::create_new(&staged)?;
        file.write_all(NO_OP.as_bytes())?;
        if sync == Syncs::Both {
            file.sync_data()?;
        }
        fs::rename(staged, to.join(name))?;
        if sync == Syncs::Both {
            directory.sync_all()?;
        }
        Ok(())
    })
}

/// Reads a directory and every file in it once. Gives the seconds.
pub fn read_all(dir: &Path) -> io::Result<f64> {
    let start = sys::now();
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        total += fs::read(entry?.path())?.len();
    }
    std::hint::black_box(total);
    Ok(sys::since(start))
}

pub fn report(c: &Context) -> io::Result<()> {
    let mut spawns: Vec<Row> = [1, 2, 4, 16]
        .map(|k| Row::new(format!("posix_spawn + wait, {k} in flight")))
        .into();
    for rep in 0..c.reps {
        progress(&format!("limits: spawn {}/{}", rep + 1, c.reps));
        for (row, k) in spawns.iter_mut().zip([1, 2, 4, 16]) {
            row.push(spawn_rate(k, c.scaled(1000))?);
        }
    }
    table(
        "Limits: processes",
        "a second",
        "these are the limits",
        &spawns,
    );
    for ground in &c.grounds.list {
        let cases = [
            (1, Syncs::Nothing),
            (4, Syncs::Nothing),
            (1, Syncs::Both),
            (4, Syncs::Both),
            (16, Syncs::Both),
        ];
        let mut rows: Vec<Row> = cases
            .map(|(threads, sync)| {
                let how = match sync {
                    Syncs::Nothing => "create + write + rename",
                    Syncs::Both => "create + write + fdatasync + rename + fsync of the directory",
                };
                Row::new(format!("{how}, {threads} at a time"))
            })
            .into();
        for rep in 0..c.reps {
            progress(&format!("limits: {} {}/{}", ground.name, rep + 1, c.reps));
            for (row, (threads, sync)) in rows.iter_mut().zip(cases) {
                let count = match sync {
                    Syncs::Nothing => 4000,
                    Syncs::Both => 800,
                };
                row.push(write_rate(
                    &ground.fresh("limit")?,
                    threads,
                    c.scaled(count),
                    sync,
                )?);
            }
        }
        table(
            &format!("Limits: files, {}", ground.name),
            "a second",
            "these are the limits",
            &rows,
        );
    }
    Ok(())
}
