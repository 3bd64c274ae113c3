//! Retention: forgetting finished records, oldest first, as the config says.

use super::state::{Daemon, Machine};
use crate::core::id::JobId;
use crate::core::time::{Boot, Now};
use crate::core::units::brief_span;
use crate::spool::Finished;
use std::io;
use std::time::Duration;

/// A clock that is further ahead of the newest record than this is doubted.
const PLAUSIBLE: Duration = Duration::from_secs(7 * 86_400);

/// For so long a doubted clock says nothing about how old a record is.
const DOUBTED: Duration = Duration::from_secs(86_400);

/// Whether the wall clock is believed. A clock that is years ahead makes every record look old, and all would be
/// forgotten at once; so it must agree with the dates of the records, and advance as the boot clock does.
#[derive(Debug)]
pub struct Doubt {
    /// The clocks at the last look; at first, when the daemon started.
    seen: Now,
    looked: bool,
    /// When the clock was found to be ahead.
    since: Option<Boot>,
}

impl Doubt {
    /// Of a daemon that has just started.
    pub fn new(now: Now) -> Self {
        Self {
            seen: now,
            looked: false,
            since: None,
        }
    }

    /// True if records may be forgotten for their age now. `all` are those that there are.
    fn allows(&mut self, now: Now, all: &[Finished]) -> bool {
        // Jobs that ended between the start of this daemon and its first look have the dates of the clock in question.
        let before = |old: &&Finished| self.looked || old.finished <= self.seen.wall;
        let newest = all.iter().filter(before).map(|old| old.finished).max();
        let expected = self.seen.wall.after(now.boot.since(self.seen.boot));
        let jump = now.wall.since(expected);
        let ahead = newest.map_or(jump, |newest| jump.max(now.wall.since(newest)));
        (self.seen, self.looked) = (now, true);
        if jump > PLAUSIBLE || (ahead > PLAUSIBLE && self.since.is_none()) {
            self.since = Some(now.boot);
            log::warn!(
                "retention: the clock says {}, which is {} ahead of the newest record or of the last look: in case it is wrong, nothing is forgotten for its age in the next {}",
                now.wall,
                brief_span(ahead),
                brief_span(DOUBTED)
            );
        }
        let is_over = self
            .since
            .is_none_or(|since| now.boot.since(since) >= DOUBTED);
        self.since.take_if(|_| is_over && ahead <= PLAUSIBLE);
        is_over
    }
}

/// Removes what is older than `keep`, more than `keep_count`, or beyond `keep_bytes`.
pub fn retain<M: Machine>(daemon: &Daemon<M>, doubt: &mut Doubt) {
    if let Err(e) = try_retain(daemon, doubt) {
        log::error!("retention: {e}");
    }
}

/// Removes the logs whose records were removed while no daemon was there to see it: a log lives as long as its
/// record is in the spool. Gives the jobs whose logs are held by processes.
pub fn orphans<M: Machine>(daemon: &Daemon<M>) -> Vec<JobId> {
    let spool = &daemon.spool;
    if let Err(e) = spool.separate_twins() {
        log::error!("names that have ended both ways: {e}");
    }
    if let Err(e) = spool.remove_unanswered(daemon.now().wall) {
        log::error!("tmp/: {e}");
    }
    let ids = spool.ids_of_logs();
    let ids = ids.inspect_err(|e| log::error!("log/: {e}"));
    let (held, free) = ids
        .unwrap_or_default()
        .into_iter()
        .partition(|id| spool.log_is_held(id));
    let free: Vec<JobId> = free;
    for id in free {
        if let Err(e) = spool.clear_after(&id) {
            log::error!("{id}: {e}");
        }
    }
    held
}

/// Removes what belonged to a job that is gone, unless processes of it still write there.
pub fn forget_belongings<M: Machine>(daemon: &Daemon<M>, id: &JobId) {
    if daemon.spool.log_is_held(id) {
        return;
    }
    if let Err(e) = daemon.spool.remove_belongings(id) {
        log::error!("{id}: {e}");
    }
}

fn try_retain<M: Machine>(daemon: &Daemon<M>, doubt: &mut Doubt) -> io::Result<()> {
    let config = daemon.config();
    if config.keep.is_none() && config.keep_count.is_none() && config.keep_bytes.is_none() {
        return Ok(());
    }
    let mut all = daemon.spool.finished(config.keep_bytes.is_some())?;
    all.sort_by_key(|old| std::cmp::Reverse(old.finished));
    let now = daemon.now();
    let keep = config.keep.filter(|_| doubt.allows(now, &all));
    let (mut count, mut bytes, mut removed) = (0u64, 0u64, 0u64);
    for old in all {
        count += 1;
        bytes = bytes.saturating_add(old.bytes);
        let too_old = keep.is_some_and(|keep| now.wall.since(old.finished) > keep);
        let too_many = config.keep_count.is_some_and(|most| count > most);
        let too_much = config.keep_bytes.is_some_and(|most| bytes > most);
        if too_old || too_many || too_much {
            daemon.spool.remove_finished(&old.id, &old.place)?;
            removed += 1;
        }
    }
    if removed > 0 {
        log::info!("retention: forgot {removed} finished jobs");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::time::Wall;
    use crate::spool::Place;

    const DAY: u64 = 86_400_000_000_000;

    /// Days after the start on either clock.
    fn at(boot: u64, wall: u64) -> Now {
        Now {
            boot: Boot(boot * DAY),
            wall: Wall(i64::try_from(wall * DAY).unwrap()),
        }
    }

    fn records(days: &[u64]) -> Vec<Finished> {
        let record = |day: &u64| Finished {
            finished: at(0, *day).wall,
            bytes: 0,
            id: JobId::new("1").unwrap(),
            place: Place::Complete,
        };
        days.iter().map(record).collect()
    }

    #[test]
    fn a_clock_that_is_ahead_at_the_start_is_doubted_for_a_day() {
        let mut doubt = Doubt::new(at(0, 700));
        // Records that this daemon has finished itself vouch for nothing.
        assert!(!doubt.allows(at(0, 700), &records(&[1, 2, 701])));
        assert!(!doubt.allows(at(0, 700), &records(&[1, 2, 700])));
        assert!(doubt.allows(at(1, 701), &records(&[1, 2, 700])));
        assert!(doubt.allows(at(2, 702), &records(&[1, 2, 700])));
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_doubted_too() {
        let mut doubt = Doubt::new(at(0, 10));
        assert!(doubt.allows(at(0, 10), &records(&[9])));
        assert!(doubt.allows(at(1, 11), &records(&[9])));
        assert!(!doubt.allows(at(1, 400), &records(&[9, 400])));
        // And set right again: the day passes all the same.
        assert!(!doubt.allows(at(1, 11), &records(&[9, 400])));
        assert!(doubt.allows(at(2, 12), &records(&[9, 400])));
        assert!(!doubt.allows(at(2, 400), &records(&[9, 400])));
    }

    #[test]
    fn a_spool_where_nothing_ends_for_long_waits_one_day_once() {
        let mut doubt = Doubt::new(at(0, 10));
        let all = records(&[10]);
        let allowed: Vec<bool> = (0..12)
            .map(|day| doubt.allows(at(day, 10 + day), &all))
            .collect();
        let waits: Vec<usize> = (0..12).filter(|day| !allowed[*day]).collect();
        assert_eq!(waits, [8]);
        assert!(Doubt::new(at(0, 10)).allows(at(0, 10), &records(&[])));
    }
}
