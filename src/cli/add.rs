//! `pirn add`, `pirn at`.

use super::admission;
use super::batch;
use super::exit::{CommandResult, Failure, OK};
use super::job::JobArgs;
use super::output;
use super::start::StartArgs;
use super::when;
use crate::core::time::Wall;
use crate::spool::Spool;
use clap::ArgGroup;
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["command", "script", "batch"]).required(true).multiple(true))]
pub struct AddArgs {
    /// Jobs on standard input, one a line: shell lines, or records as JSON
    #[arg(long, conflicts_with_all = ["command", "script", "id", "max", "dedup"])]
    batch: bool,
    /// Sync nothing: a power cut may lose the job
    #[arg(long)]
    no_sync: bool,
    /// Hold the job: it waits for pirn release
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    unless: UnlessArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Debug, clap::Args)]
pub struct AtArgs {
    /// When to run it, as one word: 16:00, "tomorrow 4pm", "now + 5 minutes"; as for add --at
    #[arg(value_name = "TIME", value_parser = when::parse, help_heading = "Command")]
    time: Wall,
    #[command(flatten)]
    unless: UnlessArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    job: JobArgs,
}

/// The options that leave a job out.
#[derive(Debug, clap::Args)]
struct UnlessArgs {
    /// Refuse the job (exit code 75) while this many wait, in all queues
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// If a job of that id waits or runs, leave it at that: print the id, exit with 0
    #[arg(long, requires = "id", conflicts_with = "replace")]
    dedup: bool,
}

pub fn at(path: &Path, args: AtArgs) -> CommandResult {
    let spool = Spool::open(path, true).map_err(|e| Failure::at(path, e))?;
    args.start.check(&spool)?;
    let job = args.job.starting_at(args.time)?;
    add_one(&spool, job, &args.unless, false, args.start)
}

pub fn add(path: &Path, args: AddArgs) -> CommandResult {
    let spool = Spool::open(path, !args.no_sync).map_err(|e| Failure::at(path, e))?;
    args.start.check(&spool)?;
    match args.batch {
        true => batch::add(&spool, args.job, args.hold, args.start),
        false => add_one(&spool, args.job, &args.unless, args.hold, args.start),
    }
}

fn add_one(
    spool: &Spool,
    mut job: JobArgs,
    unless: &UnlessArgs,
    held: bool,
    start: StartArgs,
) -> CommandResult {
    if unless.dedup
        && let Some(id) = job.unfinished_twin(spool)?
    {
        output::line(&id)?;
        start.see_to_daemon(spool);
        return Ok(OK);
    }
    if let Some(most) = unless.max {
        admission::limit(spool, most)?;
    }
    let id = job.prepare(spool)?.submit(spool, held)?;
    output::line(&id)?;
    if !held {
        start.see_to_daemon(spool);
    }
    Ok(OK)
}
