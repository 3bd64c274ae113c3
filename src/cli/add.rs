//! `pirn add`.

use super::exit::{OK, Outcome};
use super::job::JobArgs;
use super::output;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: JobArgs,
}

pub fn add(spool: &Path, args: Args) -> Outcome {
    let spool = super::open(spool)?;
    let id = args.job.submit(&spool)?;
    output::line(&id)?;
    Ok(OK)
}
