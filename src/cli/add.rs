//! `pirn add`.

use super::batch;
use super::exit::{CommandResult, Failure, OK};
use super::job::JobArgs;
use super::output;
use super::served;
use crate::spool::Spool;
use clap::ArgGroup;
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["command", "script", "batch"]).required(true).multiple(true))]
pub struct AddArgs {
    /// Jobs on standard input, one a line: shell lines, or records as JSON
    #[arg(long, conflicts_with_all = ["command", "script", "id"])]
    batch: bool,
    /// Sync nothing: a power cut may lose the job
    #[arg(long)]
    no_sync: bool,
    #[command(flatten)]
    job: JobArgs,
}

pub fn add(path: &Path, args: AddArgs) -> CommandResult {
    let spool = Spool::open(path, !args.no_sync).map_err(|e| Failure::at(path, e))?;
    if args.batch {
        return batch::add(&spool, args.job);
    }
    let id = args.job.prepare(&spool)?.submit(&spool)?;
    output::line(&id)?;
    served::tell_unserved(&spool);
    Ok(OK)
}
