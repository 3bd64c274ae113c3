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
    /// Accept a job for each line of standard input, and print their ids in the same order
    ///
    /// A line that begins with `{` is a record, as in `pirn help record`; any other is a line for sh(1); blank lines
    /// are left out. One slot runs the jobs of a queue in the order of their lines. The options hold for each line, but
    /// a record's own fields overrule them; a field that is `null` there stays absent, whatever the option says. A
    /// record's `id` and the fields that an earlier run has added to it are ignored.
    ///
    /// Lines are accepted as they come; those that have arrived are synced together. An id is printed once its job
    /// survives a power cut. The first line that cannot be accepted ends the command. Standard error says its number
    /// and how many jobs were accepted before it; these stay, and no later line is accepted.
    #[arg(long, conflicts_with_all = ["command", "script", "id", "max", "dedup"])]
    batch: bool,
    /// Sync nothing: faster, but a power cut may lose jobs whose ids were printed
    #[arg(long)]
    no_sync: bool,
    /// Hold the job, or all of a batch: it is accepted into `held/`, and waits for `pirn release`
    ///
    /// No daemon starts it in between.
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
    #[arg(value_name = "TIME", value_parser = time_word, help_heading = "Command")]
    time: (String, Wall),
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
    /// Refuse the job with exit code 75 while N or more jobs wait, in all queues together
    ///
    /// Of several that are added at the same moment, more may be accepted.
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// With --id: if a job of that id waits, is held or runs, add none, print the id, and exit with 0
    ///
    /// The job that is there stays as it is. If it has ended, its record and log are kept as for --replace.
    #[arg(long, requires = "id", conflicts_with = "replace")]
    dedup: bool,
}

fn time_word(text: &str) -> Result<(String, Wall), String> {
    Ok((text.to_owned(), when::parse(text)?))
}

pub fn at(path: &Path, args: AtArgs) -> CommandResult {
    let (word, time) = &args.time;
    args.job.refuse_rest_of_time(word)?;
    let spool = Spool::open(path, true).map_err(|e| Failure::at(path, e))?;
    args.start.check(&spool)?;
    let job = args.job.starting_at(*time)?;
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
