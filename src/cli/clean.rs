//! `pirn clean`.

use super::bar::Bar;
use super::existing;
use super::exit::{CommandResult, OK};
use crate::core::record::State;
use crate::core::units::parse_span;
use crate::os::clock;
use crate::spool::Place;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    /// Only jobs that ended longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    older: Option<Duration>,
    /// Those in this state: `complete` or `failed` (repeat)
    #[arg(long, default_value = "complete", value_parser = parse_final())]
    state: Vec<State>,
    /// Those in both states
    #[arg(short, long, conflicts_with = "state")]
    all: bool,
}

fn finals() -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(|state| state.is_final())
}

fn parse_final() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(finals().map(State::as_str)).try_map(|word| {
        let state = finals().find(|state| state.as_str() == word);
        state.ok_or("expected a state")
    })
}

/// Removes jobs that have ended, with their logs. A job that is retried meanwhile stays.
pub fn clean(path: &Path, args: &CleanArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let now = clock::wall();
    let states = match args.all {
        true => finals().collect(),
        false => args.state.clone(),
    };
    let places: BTreeSet<Place> = states.into_iter().map(Place::of_state).collect();
    let is_old = |finished| args.older.is_none_or(|older| now.since(finished) > older);
    let jobs = spool.finished(false)?;
    let mut bar = Bar::new(Some(jobs.len() as u64), false);
    for job in jobs {
        bar.advance(1, 1);
        if places.contains(&job.place) && is_old(job.finished) {
            spool.remove_finished(&job.id, &job.place)?;
        }
    }
    spool.sync_all(&places)?;
    Ok(OK)
}
