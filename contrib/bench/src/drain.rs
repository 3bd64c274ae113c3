//! No-op jobs per second, from the end of the pause to the last record in `complete/`.

use crate::daemon::{Daemon, NO_OP, Spool, drain};
use crate::limits::spawn_rate;
use crate::report::{Bound, Row, table};
use crate::{Context, progress};
use std::io;

const SLOTS: [usize; 4] = [1, 2, 4, 16];

/// One drain of a fresh spool.
pub fn once(
    c: &Context,
    ground: &crate::ground::Ground,
    slots: usize,
    sync: bool,
    count: usize,
    job: &str,
) -> io::Result<f64> {
    let spool = Spool::new(ground.fresh("drain")?, slots)?;
    spool.fill(1, count, job)?;
    let daemon = Daemon::start(&c.pirn, &spool, sync)?;
    daemon.settle()?;
    let rate = drain(&spool, slots, count)?;
    daemon.stop()?;
    Ok(rate)
}

pub fn report(c: &Context) -> io::Result<()> {
    for ground in &c.grounds.list {
        let mut rows: Vec<(usize, bool, Row)> = SLOTS
            .iter()
            .flat_map(|&slots| [(slots, true), (slots, false)])
            .map(|(slots, sync)| {
                let (how, bound) = if sync {
                    ("durable", 0.75)
                } else {
                    ("`--no-sync`", 0.85)
                };
                let s = if slots == 1 { "" } else { "s" };
                let row = Row::new(format!("{slots} slot{s}, {how}"));
                // The bound applies if all processors are busy; with one slot, each job is waited for in turn.
                let row = if slots >= 2 {
                    row.bound(Bound::AtLeast(bound))
                } else {
                    row
                };
                (slots, sync, row)
            })
            .collect();
        for rep in 0..c.reps {
            progress(&format!("drain: {} {}/{}", ground.name, rep + 1, c.reps));
            for pair in rows.chunks_mut(2) {
                let slots = pair[0].0;
                // The limit is measured before, between and after, so that each drain is compared with the limit at its
                // time.
                let mut before = spawn_rate(slots, c.scaled(600))?;
                for (_, sync, row) in pair {
                    let rate = once(c, ground, slots, *sync, c.scaled(1500), NO_OP)?;
                    let after = spawn_rate(slots, c.scaled(600))?;
                    row.push_beside(rate, (before + after) / 2.0);
                    before = after;
                }
            }
        }
        let rows: Vec<Row> = rows.into_iter().map(|(_, _, row)| row).collect();
        table(
            &format!("No-op jobs per second, {}", ground.name),
            "jobs/s",
            "posix_spawn + wait of the same program, as many in flight as slots",
            &rows,
        );
    }
    Ok(())
}
