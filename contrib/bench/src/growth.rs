//! The costs of a long queue: the drain rate with many waiting, the daemon's memory, a restart, and `pirn ls`.

use crate::daemon::{Daemon, NO_OP, Spool, drain};
use crate::ground::Ground;
use crate::limits::{read_all, spawn_rate};
use crate::report::{Bound, Row, table};
use crate::{Context, ls, progress};
use std::io;

/// The jobs that are drained from a long queue in one repetition; it is refilled afterwards.
const DRAINED: usize = 2000;

pub fn named(depth: usize) -> String {
    match depth {
        1_000_000 => "1 M".to_owned(),
        n if n >= 1000 => format!("{} k", n / 1000),
        n => n.to_string(),
    }
}

pub struct Tables {
    pub drain: Vec<Row>,
    pub memory: Vec<Row>,
    pub restart: Vec<Row>,
    pub ls: Vec<Row>,
}

pub fn report(c: &Context) -> io::Result<()> {
    for (number, ground) in c.grounds.list.iter().enumerate() {
        let mut tables = Tables {
            drain: Vec::new(),
            memory: Vec::new(),
            restart: Vec::new(),
            ls: Vec::new(),
        };
        let mut idle = Row::new("idle, nothing waiting, MiB").bound(Bound::AtMost(6.0));
        for _ in 0..c.reps {
            let spool = Spool::new(ground.fresh("idle")?, c.cpus)?;
            let daemon = Daemon::start(&c.pirn, &spool, true)?;
            daemon.settle()?;
            idle.push(daemon.status("VmRSS:", false) as f64 / 1024.0);
            daemon.stop()?;
        }
        let base = crate::stats::median(&idle.values);
        tables.memory.push(idle);
        let mut rates = Vec::new();
        // The image is too small for a million jobs.
        let most = if c.quick { 10_000 } else { 100_000 };
        let depths = c
            .depths
            .iter()
            .filter(|depth| number == 0 || **depth <= most);
        for &depth in depths {
            let row = one_depth(c, ground, depth, base, &mut tables)?;
            rates.push((depth, row));
        }
        compare(&mut tables.drain, &rates);
        table(
            &format!("Drain rate with many waiting, {}", ground.name),
            "jobs/s",
            &format!(
                "posix_spawn + wait, {} in flight; in the last lines the ratio at 1 k waiting",
                c.cpus
            ),
            &tables.drain,
        );
        table(
            &format!("Memory, {}", ground.name),
            "resident",
            "none",
            &tables.memory,
        );
        table(
            &format!("Restart with many waiting, {}", ground.name),
            "s",
            "readdir and read of the same files by one loop",
            &tables.restart,
        );
        table(
            &format!("`pirn ls`, {}", ground.name),
            "s",
            "readdir and read of the same files by one loop",
            &tables.ls,
        );
    }
    Ok(())
}

/// All measurements for one length of the queue, on the same files. Gives the ratios of the drain row.
fn one_depth(
    c: &Context,
    ground: &Ground,
    depth: usize,
    base: f64,
    tables: &mut Tables,
) -> io::Result<Vec<f64>> {
    let name = format!("{} waiting", named(depth));
    progress(&format!(
        "growth: {}: filling {}",
        ground.name,
        named(depth)
    ));
    let spool = Spool::new(ground.fresh("growth")?, c.cpus)?;
    spool.fill(1, depth, NO_OP)?;
    let pending = spool.dir.join("pending");
    read_all(&pending)?;
    let mut drained = Row::new(name.clone());
    // If few jobs wait, the start of a process and its first pages are the whole cost.
    let bounded = |row: Row, bound| {
        if depth >= 100_000 {
            row.bound(bound)
        } else {
            row
        }
    };
    let each = Row::new(format!("{name}, bytes a job"));
    let mut each = bounded(each, Bound::AtMost(150.0));
    let mut whole = Row::new(format!("{name}, MiB"));
    let mut restart = bounded(Row::new(name.clone()), Bound::AtMost(3.0));
    let mut listing = ls::rows(&name);
    let mut next = depth + 1;
    for rep in 0..c.reps {
        progress(&format!(
            "growth: {} {name} {}/{}",
            ground.name,
            rep + 1,
            c.reps
        ));
        let limit = read_all(&pending)?;
        let start = crate::sys::now();
        let daemon = Daemon::start(&c.pirn, &spool, true)?;
        let rested = daemon.settle()?;
        restart.push_beside((rested - start) as f64 / 1e9, limit);
        let resident = daemon.status("VmRSS:", false) as f64 / 1024.0;
        whole.push(resident);
        each.push((resident - base) * 1_048_576.0 / depth as f64);
        if depth >= 100_000 && (depth < 1_000_000 || rep < 3) {
            ls::measure(c, &spool, limit, &mut listing)?;
        }
        // The queue is refilled first, so that it has its full length even behind the last job that is drained.
        let count = c.scaled(DRAINED);
        spool.fill(next, count, NO_OP)?;
        next += count;
        daemon.settle()?;
        let before = spawn_rate(c.cpus, c.scaled(600))?;
        let rate = drain(&spool, c.cpus, count)?;
        spool.configure(c.cpus, true)?;
        daemon.settle()?;
        let after = spawn_rate(c.cpus, c.scaled(600))?;
        drained.push_beside(rate, (before + after) / 2.0);
        daemon.stop()?;
    }
    let ratios = crate::stats::ratios(&drained.values, &drained.limits);
    tables.drain.push(drained);
    if depth >= 10_000 {
        tables.memory.push(each);
    }
    tables.memory.push(whole);
    tables.restart.push(restart);
    tables
        .ls
        .extend(listing.into_iter().filter(|row| !row.values.is_empty()));
    Ok(ratios)
}

/// The cost of a job must be the same for any length: compares the ratios to the limit with those at the first length.
fn compare(rows: &mut Vec<Row>, rates: &[(usize, Vec<f64>)]) {
    let Some(((first, base), others)) = rates.split_first() else {
        return;
    };
    for (depth, ratios) in others {
        let row = Row::new(format!(
            "{} against {}, of the limit",
            named(*depth),
            named(*first)
        ));
        let mut row = if *depth >= 100_000 {
            row.bound(Bound::AtLeast(0.9))
        } else {
            row
        };
        ratios
            .iter()
            .zip(base)
            .for_each(|(value, base)| row.push_beside(*value, *base));
        rows.push(row);
    }
}
