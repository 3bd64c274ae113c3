//! `pirn wait`.

use super::ends::how_it_failed;
use super::existing;
use super::exit::{self, CommandResult, Failure, NO_INPUT, NOT_NOW, OK};
use super::follow::Moves;
use super::output;
use super::select::Selection;
use super::served;
use crate::core::id::JobId;
use crate::core::record::{Reason, Record, State};
use crate::core::units::parse_span;
use crate::os::clock::{self, Timer};
use crate::spool::{Place, Spool, Where};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// Wait until one of them has ended, print its id, and exit as it did
    #[arg(long)]
    any: bool,
    /// Give up after this time, with exit code 75
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    #[command(flatten)]
    jobs: Selection,
}

/// Exits with the first code that is not 0, in the order in which the jobs were named.
pub fn wait(path: &Path, args: &WaitArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let places = [
        Place::Pending,
        Place::Held,
        Place::Active,
        Place::Complete,
        Place::Failed,
    ];
    let mut moves = Moves::of(&spool, &places)?;
    let mut timer = Timer::boot()?;
    let deadline = args.timeout.map(|span| clock::now().boot.after(span));
    if let Some(deadline) = deadline {
        timer.set(Some(deadline.0))?;
        moves.also_wait_for(&timer)?;
    }
    // The ends of a batch count also if they have come before the wait for it; those of all jobs since ever do not.
    let (states, code_of_none) = match args.jobs.filter.describes_jobs() {
        true => (&State::ALL[..], NO_INPUT),
        false => (&[State::Pending, State::Held, State::Active][..], OK),
    };
    let ids = args.jobs.to_look_at(&spool, states)?.ids;
    if ids.is_empty() {
        return Ok(code_of_none);
    }
    for id in &ids {
        existing::job(&spool, id)?;
    }
    let mut waiting: Vec<usize> = (0..ids.len()).collect();
    let mut codes = vec![OK; ids.len()];
    let mut is_told = false;
    loop {
        let mut unfinished = Vec::new();
        for n in waiting {
            let Some(record) = finished(&spool, &ids[n], &mut moves)? else {
                unfinished.push(n);
                continue;
            };
            codes[n] = tell_end(&ids[n], &record);
            if args.any {
                output::line(&ids[n])?;
                return Ok(codes[n]);
            }
        }
        if unfinished.is_empty() {
            return Ok(codes.into_iter().find(|code| *code != OK).unwrap_or(OK));
        }
        if deadline.is_some_and(|deadline| clock::now().boot >= deadline) {
            let which = if args.any {
                "no job has"
            } else {
                "not all jobs have"
            };
            return Err(Failure::new(NOT_NOW, format!("{which} ended in time")));
        }
        if !is_told {
            let ids: Vec<&JobId> = unfinished.iter().map(|n| &ids[*n]).collect();
            served::tell_waiting(&spool, &ids);
            is_told = true;
        }
        waiting = unfinished;
        moves.wait()?;
    }
}

/// The exit code of an ended job. Says why if it did not end well, or did not run.
fn tell_end(id: &JobId, record: &Record) -> u8 {
    let code = exit::of_job(record);
    if code != OK {
        eprintln!("pirn: job {id} failed: {}", how_it_failed(record));
    } else if record.reason == Some(Reason::Skipped) {
        eprintln!("pirn: job {id} was not run: {}", how_it_failed(record));
    }
    code
}

/// The record of a job, if it has ended.
fn finished(spool: &Spool, id: &JobId, moves: &mut Moves) -> Result<Option<Record>, Failure> {
    let mut found = existing::job(spool, id)?;
    while moves.watch_queue(spool, &found.at)? {
        found = existing::job(spool, id)?;
    }
    let has_ended = match found.at {
        // A user may have put the file there while no daemon was there to write its end.
        Where::Complete | Where::Failed => found.is_over() || !served::is_served(spool)?,
        Where::Pending(_) | Where::Held | Where::Active => false,
    };
    Ok(has_ended.then_some(found.record))
}
