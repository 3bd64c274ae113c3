//! The costs of a long queue whose jobs take several slots or tokens, beside one whose jobs ask for nothing.

use crate::daemon::{Daemon, NO_OP, Spool, drain};
use crate::growth::named;
use crate::report::{Row, table};
use crate::{Context, progress};
use std::fs;
use std::io;

const TWO_SLOTS: &str = r#"{"command":["/bin/true"],"slots":2}"#;
const A_TOKEN: &str = r#"{"command":["/bin/true"],"use":{"key":1}}"#;
const A_RARE_TOKEN: &str = r#"{"command":["/bin/true"],"use":{"rare":1}}"#;
/// Has the one unit of that token until the daemon ends it.
const HOLDER: &str = r#"{"command":["/bin/sleep","3600"],"use":{"rare":1},"grace":0,"priority":9}"#;

/// Jobs that are drained in one repetition.
const DRAINED: usize = 2000;

/// A queue of many equal jobs, and those that are drained from it.
struct Case {
    name: &'static str,
    waiting: &'static str,
    drained: &'static str,
    /// The slots of which `drained` jobs keep as many processors busy as those of the first case.
    slots: fn(usize) -> usize,
    /// The job that has what the others wait for.
    holder: Option<&'static str>,
}

const CASES: [Case; 4] = [
    Case {
        name: "jobs that ask for nothing",
        waiting: NO_OP,
        drained: NO_OP,
        slots: |cpus| cpus,
        holder: None,
    },
    Case {
        name: "jobs of two slots",
        waiting: TWO_SLOTS,
        drained: TWO_SLOTS,
        slots: |cpus| 2 * cpus,
        holder: None,
    },
    Case {
        name: "jobs of a token",
        waiting: A_TOKEN,
        drained: A_TOKEN,
        slots: |cpus| cpus,
        holder: None,
    },
    Case {
        name: "jobs that pass others that wait for a token",
        waiting: A_RARE_TOKEN,
        drained: NO_OP,
        slots: |cpus| cpus + 1,
        holder: Some(HOLDER),
    },
];

pub fn report(c: &Context) -> io::Result<()> {
    let Some(ground) = c.grounds.list.first() else {
        return Ok(());
    };
    let depth = if c.quick { 10_000 } else { 100_000 };
    let mut spools = Vec::new();
    for case in &CASES {
        progress(&format!("demands: filling {}", case.name));
        let spool = Spool::new(ground.fresh("demands")?, (case.slots)(c.cpus))?;
        spool.fill(1, depth, case.waiting)?;
        spools.push(spool);
    }
    let empty = Spool::new(ground.fresh("empty")?, c.cpus)?;
    let mut rates = CASES.map(|case| Row::new(case.name));
    let mut memory = CASES.map(|case| Row::new(case.name));
    let mut next = depth + 1;
    for rep in 0..c.reps {
        progress(&format!("demands: {}/{}", rep + 1, c.reps));
        let (mut plain_rate, mut plain_size) = (None, None);
        let daemon = Daemon::start(&c.pirn, &empty, false)?;
        daemon.settle()?;
        let base = daemon.status("VmRSS:", false) as f64 * 1024.0;
        daemon.stop()?;
        let count = c.scaled(DRAINED);
        let rows = rates.iter_mut().zip(&mut memory);
        for ((case, spool), (rate_row, size_row)) in CASES.iter().zip(&spools).zip(rows) {
            let (rate, size) = once(c, case, spool, next, count)?;
            rate_row.push_beside(rate, *plain_rate.get_or_insert(rate));
            let each = (size - base) / depth as f64;
            size_row.push_beside(each, *plain_size.get_or_insert(each));
        }
        next += count;
    }
    let limit = "jobs that ask for nothing, in the same repetition";
    table(
        &format!("Drain rate with {} waiting", named(depth)),
        "jobs/s",
        limit,
        &rates,
    );
    table(
        &format!("Memory of the daemon with {} waiting", named(depth)),
        "bytes a job",
        limit,
        &memory,
    );
    Ok(())
}

/// The drain rate, and the bytes of the daemon's memory.
fn once(
    c: &Context,
    case: &Case,
    spool: &Spool,
    next: usize,
    count: usize,
) -> io::Result<(f64, f64)> {
    let slots = (case.slots)(c.cpus);
    let daemon = Daemon::start(&c.pirn, spool, false)?;
    daemon.settle()?;
    let size = daemon.status("VmRSS:", false) as f64 * 1024.0;
    if let Some(holder) = case.holder {
        fs::write(spool.dir.join("pending/holder"), holder)?;
    }
    spool.fill(next, count, case.drained)?;
    daemon.settle()?;
    let rate = drain(spool, slots, count)?;
    spool.configure(slots, true)?;
    daemon.settle()?;
    if case.holder.is_some() {
        fs::remove_file(spool.dir.join("active/holder"))?;
        daemon.settle()?;
    }
    daemon.stop()?;
    Ok((rate, size))
}
