//! `pirn cancel`, `pirn retry`, `pirn rm`.

use super::exit::{FAILURE, Failure, OK, Outcome};
use crate::core::id::JobId;
use crate::core::record::State;
use crate::spool::{Spool, Steered, Where};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Ids {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The jobs
    #[arg(value_name = "ID", required_unless_present = "failed")]
    ids: Vec<JobId>,
    /// All that are in failed/
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// End those that run
    #[arg(long)]
    kill: bool,
}

pub fn cancel(spool: &Path, args: &Ids) -> Outcome {
    let spool = super::open(spool)?;
    each(&args.ids, |id| match spool.cancel(id)? {
        Steered::Done => Ok(()),
        Steered::Missing => Err(Failure::no_job(id)),
        Steered::Wrong(state) => Err(Failure::new(
            FAILURE,
            format!("job {id} has ended already: it is in {state}/"),
        )),
    })
}

pub fn retry(spool: &Path, args: &RetryArgs) -> Outcome {
    let spool = super::open(spool)?;
    let ids = if args.failed {
        spool.ids(&Where::Failed)?
    } else {
        args.ids.clone()
    };
    each(&ids, |id| match spool.retry(id)? {
        Steered::Done => Ok(()),
        Steered::Missing => Err(Failure::no_job(id)),
        Steered::Wrong(state) => Err(Failure::new(
            FAILURE,
            format!("job {id} has not ended yet: it is in {state}/"),
        )),
    })
}

pub fn rm(spool: &Path, args: &RmArgs) -> Outcome {
    let spool = super::open(spool)?;
    each(&args.ids, |id| remove(&spool, id, args.kill))
}

fn remove(spool: &Spool, id: &JobId, kill: bool) -> Result<(), Failure> {
    match spool.forget(id)? {
        Steered::Done => Ok(()),
        Steered::Missing => Err(Failure::no_job(id)),
        Steered::Wrong(State::Active) if kill => Ok(spool.kill_and_forget(id)?),
        Steered::Wrong(_) => Err(Failure::new(
            FAILURE,
            format!("job {id} is running; --kill ends and removes it"),
        )),
    }
}

/// Does it for all, reports each that failed, and exits as the first of them says.
fn each(ids: &[JobId], mut work: impl FnMut(&JobId) -> Result<(), Failure>) -> Outcome {
    let mut code = OK;
    for id in ids {
        if let Err(failure) = work(id) {
            eprintln!("pirn: {}", failure.message);
            code = if code == OK { failure.code } else { code };
        }
    }
    Ok(code)
}
