//! `pirn wait`.

use super::existing;
use super::exit::{self, CommandResult, Failure, NOT_NOW, OK};
use super::follow::Moves;
use super::served;
use crate::core::id::JobId;
use crate::core::units::parse_span;
use crate::os::clock::{self, Timer};
use crate::spool::{Place, Spool, Where};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// The jobs
    #[arg(required = true)]
    ids: Vec<JobId>,
    /// Give up after this time, with exit code 75
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
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
    for id in &args.ids {
        existing::job(&spool, id)?;
    }
    let mut waiting: Vec<usize> = (0..args.ids.len()).collect();
    let mut codes = vec![OK; args.ids.len()];
    let mut is_told = false;
    loop {
        let mut unfinished = Vec::new();
        for n in waiting {
            match finished(&spool, &args.ids[n], &mut moves)? {
                Some(code) => codes[n] = code,
                None => unfinished.push(n),
            }
        }
        if unfinished.is_empty() {
            return Ok(codes.into_iter().find(|code| *code != OK).unwrap_or(OK));
        }
        if deadline.is_some_and(|deadline| clock::now().boot >= deadline) {
            return Err(Failure::new(NOT_NOW, "not all jobs have ended in time"));
        }
        if !is_told {
            let ids: Vec<&JobId> = unfinished.iter().map(|n| &args.ids[*n]).collect();
            served::tell_waiting(&spool, &ids);
            is_told = true;
        }
        waiting = unfinished;
        moves.wait()?;
    }
}

/// The exit code of a job, if it has ended.
fn finished(spool: &Spool, id: &JobId, moves: &mut Moves) -> Result<Option<u8>, Failure> {
    let mut found = existing::job(spool, id)?;
    while moves.watch_queue(spool, &found.at)? {
        found = existing::job(spool, id)?;
    }
    let has_ended = match found.at {
        // A user may have put the file there while no daemon was there to write its end.
        Where::Complete | Where::Failed => found.is_over() || !served::is_served(spool)?,
        Where::Pending(_) | Where::Held | Where::Active => false,
    };
    Ok(has_ended.then(|| exit::of_job(&found.record)))
}
