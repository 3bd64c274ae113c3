//! The options that say when a job runs.

use super::exit::{Failure, NO_INPUT, USAGE};
use super::select;
use super::when;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, settle_parents};
use crate::core::time::Wall;
use crate::core::tokens::{self, Uses};
use crate::core::units::parse_span;
use crate::os::clock;
use crate::spool::Spool;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Queue and time")]
pub struct ScheduleArgs {
    /// The queue to wait in; made if it is new [default: the queue `default`]
    #[arg(short, long, value_name = "QUEUE")]
    pub queue: Option<QueueName>,
    /// Higher runs first [default: 0]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Run after these jobs completed (repeat, or separate with commas)
    ///
    /// `last` and `3-7` are possible too. The jobs must exist. If one fails, this one fails with reason `dependency`.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub after: Vec<JobId>,
    /// Run after these jobs failed (repeat, or separate with commas)
    ///
    /// The jobs must exist. If one completes, this one is not needed: it goes to `complete/` with reason `skipped`, and
    /// does not run.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub after_failed: Vec<JobId>,
    /// Run after these jobs ended, well or not (repeat, or separate with commas)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub after_any: Vec<JobId>,
    /// Run one at a time with the others of this group, in order of age
    ///
    /// A job keeps its turn through its retries.
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// Take this many slots of the spool and of the queue [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=tokens::MOST))]
    slots: Option<u32>,
    /// Wait until these tokens, which the settings name, are free, and keep them while it runs (repeat)
    ///
    /// As `gpu`, `gpu=2` or `gpu=2,licence`; see `use` in `pirn help record`.
    #[arg(long = "use", value_name = "TOKENS", value_parser = tokens::parse_uses)]
    uses: Vec<Uses>,
    /// Not before this time: `16:00`, `tomorrow 4pm`, `90m` and so on
    ///
    /// See `pirn help times`. If it has passed, standard error says so, and the job may start at once.
    #[arg(long, value_name = "TIME", value_parser = when::parse, conflicts_with = "in_")]
    pub at: Option<Wall>,
    /// Not before this much time has passed
    #[arg(long = "in", id = "in_", value_name = "DURATION", value_parser = parse_span)]
    pub in_: Option<Duration>,
    /// Fail it if it has not started by this time
    ///
    /// The reason is `expired`; see `pirn help times`. If it has passed, standard error says so, and the job fails at
    /// once.
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    expires: Option<Wall>,
}

impl ScheduleArgs {
    pub fn check_parents(&mut self, spool: &Spool) -> Result<(), Failure> {
        for parents in [&mut self.after, &mut self.after_failed, &mut self.after_any] {
            *parents = select::meant_by(spool, parents)?;
        }
        settle_parents(&mut self.after, &mut self.after_failed, &mut self.after_any)
            .map_err(|why| Failure::new(USAGE, why))?;
        match spool.first_missing(
            self.after
                .iter()
                .chain(&self.after_failed)
                .chain(&self.after_any),
        )? {
            Some(id) => {
                let what = format!("there is no job {id} to come after");
                Err(Failure::new(NO_INPUT, what))
            }
            None => Ok(()),
        }
    }

    /// Warns of a date in the past: it is probably a mistake. The job is still accepted, since scripts compute dates.
    pub fn tell_passed_dates(&self) {
        let now = clock::wall();
        // `now` was read a moment ago.
        let has_passed = |date: &Wall| date.after(Duration::from_secs(1)) <= now;
        if let Some(at) = self.at.filter(has_passed) {
            eprintln!("pirn: --at: {at} has passed; the job may start at once");
        }
        if let Some(expires) = self.expires.filter(has_passed) {
            eprintln!(
                "pirn: --expires: {expires} has passed; the job will not run, and fails as expired"
            );
        }
    }

    pub fn fill(self, record: &mut Record) {
        record.priority = self.priority.unwrap_or(0);
        record.after = self.after;
        record.after_failed = self.after_failed;
        record.after_any = self.after_any;
        record.group = self.group;
        record.slots = self.slots;
        record.uses = self.uses.into_iter().flatten().collect();
        record.not_before = self.at.or(self.in_.map(|span| clock::wall().after(span)));
        record.expires = self.expires;
    }
}
