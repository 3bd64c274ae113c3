//! `pirn wait`.

use super::existing;
use super::exit::{self, CommandResult, Failure, NOT_NOW, OK};
use super::follow::Moves;
use super::served;
use crate::core::id::JobId;
use crate::core::units::parse_span;
use crate::os::clock::{self, Timer};
use crate::os::poll::Poller;
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

/// Exits with the first code that is not 0, in the order the jobs were named.
pub fn wait(spool: &Path, args: &WaitArgs) -> CommandResult {
    let spool = existing::spool(spool)?;
    let mut moves = Moves::new()?;
    for place in [
        Place::Pending,
        Place::Held,
        Place::Active,
        Place::Complete,
        Place::Failed,
    ] {
        moves.watch(&spool, &place)?;
    }
    let poller = Poller::new()?;
    poller.add(&moves.watcher, 0)?;
    let mut timer = Timer::boot()?;
    let deadline = args.timeout.map(|span| clock::now().boot.after(span));
    if let Some(deadline) = deadline {
        timer.set(Some(deadline.0))?;
        poller.add(&timer, 1)?;
    }
    for id in &args.ids {
        existing::job(&spool, id)?;
    }
    let mut codes: Vec<Option<u8>> = vec![None; args.ids.len()];
    let mut is_told = false;
    loop {
        for (id, code) in args
            .ids
            .iter()
            .zip(&mut codes)
            .filter(|(_, code)| code.is_none())
        {
            *code = finished(&spool, id, &mut moves)?;
        }
        if let Some(codes) = codes.iter().copied().collect::<Option<Vec<u8>>>() {
            return Ok(codes.into_iter().find(|code| *code != OK).unwrap_or(OK));
        }
        if deadline.is_some_and(|deadline| clock::now().boot >= deadline) {
            return Err(Failure::new(NOT_NOW, "not all jobs have ended in time"));
        }
        if !is_told {
            let rest = args.ids.iter().zip(&codes);
            let rest = rest.filter(|(_, code)| code.is_none());
            served::tell_waiting(&spool, &rest.map(|(id, _)| id).collect::<Vec<_>>());
            is_told = true;
        }
        poller.wait(None)?;
        while !moves.watcher.read()?.is_empty() {}
    }
}

/// The exit code of a job that has ended.
fn finished(spool: &Spool, id: &JobId, moves: &mut Moves) -> Result<Option<u8>, Failure> {
    let mut found = existing::job(spool, id)?;
    while moves.watch_queue(spool, &found.at)? {
        found = existing::job(spool, id)?;
    }
    match found.at {
        Where::Complete | Where::Failed if found.is_over() => Ok(Some(exit::of_job(&found.record))),
        // Put there by hand, and nobody is there to write its end.
        Where::Complete | Where::Failed if !served::is_served(spool)? => {
            Ok(Some(exit::of_job(&found.record)))
        }
        Where::Complete | Where::Failed | Where::Pending(_) | Where::Held | Where::Active => {
            Ok(None)
        }
    }
}
