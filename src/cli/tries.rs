//! The options that say how often and how long a job is tried.

use super::exit::{Failure, USAGE};
use crate::core::record::{Record, Setting};
use crate::core::retry::{BackoffSpec, ExitRules};
use crate::core::units::parse_span;
use crate::core::warning::Warning;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tries and limits")]
pub struct TriesArgs {
    /// End a try that takes longer; 0 for no limit [default: what the settings say, else none]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// Warn each try once, this long before its --timeout: `30s` by SIGUSR1, or as in `30s=HUP` by another signal
    ///
    /// The timeout must be given too and be longer. Only processes of the job that expect the signal get it; see `warn`
    /// in `pirn help record`.
    #[arg(long, value_name = "DURATION[=SIGNAL]", value_parser = parse_warning)]
    warn: Option<Setting<Warning>>,
    /// The time from SIGTERM to SIGKILL [default: what the settings say, else 10 seconds]
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    grace: Option<Duration>,
    /// Tries in all [default: what the settings say for the queue, else for all jobs, else 1]
    ///
    /// While the settings are not valid it is 1, and standard error says so.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tries: Option<u32>,
    /// How many interruptions, by a crash or a forced stop, end the job; 0 is the same as 1 [default: what the settings
    /// say for the queue, else for all jobs, else 3]
    ///
    /// Interruptions use up no tries.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_interruptions: Option<u32>,
    /// The wait between tries [default: `first=1s,factor=2,max=10m`]
    ///
    /// Each part may be left out. Without `max`, the longest wait is 10 minutes, or `first` if that is longer.
    #[arg(long, value_name = "RULE", value_parser = parse_backoff)]
    backoff: Option<BackoffSpec>,
    /// Try again after these exit codes only, and after 75 and 111 (repeat, or separate with commas)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    retry_on: Vec<u8>,
    /// Do not try again after these exit codes, nor after 100 (repeat, or separate with commas)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    fail_on: Vec<u8>,
    /// Start it at most once, instead of at least once
    #[arg(long)]
    once: bool,
}

impl TriesArgs {
    pub fn fill(self, record: &mut Record) -> Result<(), Failure> {
        record.timeout = self.timeout.map_or(Setting::Default, Setting::of);
        record.warn = self.warn.unwrap_or_default();
        let refused = |why| Failure::new(USAGE, format!("--warn: {why}"));
        record.check_warning().map_err(refused)?;
        record.grace = self.grace;
        record.tries = self.tries;
        record.max_interruptions = self.max_interruptions;
        record.backoff = self.backoff.unwrap_or_default();
        let codes = |list: Vec<u8>| list.into_iter().map(i32::from).collect::<BTreeSet<_>>();
        record.rules = ExitRules::new(
            Some(codes(self.retry_on)).filter(|l| !l.is_empty()),
            codes(self.fail_on),
        );
        record.once = self.once;
        Ok(())
    }
}

fn parse_warning(text: &str) -> Result<Setting<Warning>, String> {
    Warning::parse(text).map(Setting::from)
}

fn parse_backoff(text: &str) -> Result<BackoffSpec, String> {
    let mut spec = BackoffSpec::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("first", value)) => spec.first = Some(parse_span(value)?),
            Some(("max", value)) => spec.max = Some(parse_span(value)?),
            Some(("factor", value)) => {
                let factor = value.parse().ok().filter(|n| (1.0..=1000.0).contains(n));
                spec.factor = Some(factor.ok_or_else(|| {
                    format!("factor: expected a number from 1 to 1000, got {value:?}")
                })?);
            }
            Some(_) | None => {
                return Err(format!("expected first=, factor= or max=, got {part:?}"));
            }
        }
    }
    Ok(spec)
}
