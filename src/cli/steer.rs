//! `pirn cancel`, `pirn retry`, `pirn rm`, `pirn hold`, `pirn release`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, OK};
use super::served;
use crate::core::id::JobId;
use crate::spool::{IfActive, Place, Spool, Steered, Where};
use std::collections::BTreeSet;
use std::io;
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

pub fn cancel(spool: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(spool)?;
    each(&spool, &args.ids, |id, _| match spool.cancel(id)? {
        Steered::Done(_) => Ok(()),
        Steered::Missing => Err(Failure::no_job(id)),
        Steered::Wrong(state) => Err(Failure::new(
            FAILURE,
            format!("job {id} has ended already: it is in {state}/"),
        )),
    })
}

pub fn retry(spool: &Path, args: &RetryArgs) -> CommandResult {
    let spool = existing::spool(spool)?;
    let ids = if args.failed {
        spool.ids(&Where::Failed)?
    } else {
        args.ids.clone()
    };
    each(&spool, &ids, |id, changed| {
        match spool.retry(id, changed)? {
            Steered::Done(_) => Ok(()),
            Steered::Missing => Err(Failure::no_job(id)),
            Steered::Wrong(state) => Err(Failure::new(
                FAILURE,
                format!("job {id} has not ended yet: it is in {state}/"),
            )),
        }
    })
}

pub fn hold(path: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(path)?;
    each(&spool, &args.ids, |id, _| waits(id, spool.hold(id)))
}

pub fn release(path: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(path)?;
    each(&spool, &args.ids, |id, _| waits(id, spool.release(id)))
}

/// What came of a request that only a waiting job can be given.
fn waits(id: &JobId, steered: io::Result<Steered>) -> Result<(), Failure> {
    match steered {
        Ok(Steered::Done(_)) => Ok(()),
        Ok(Steered::Missing) => Err(Failure::no_job(id)),
        Ok(Steered::Wrong(state)) => Err(Failure::new(
            FAILURE,
            format!("job {id} does not wait: it is in {state}/"),
        )),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(
            FAILURE,
            format!("job {id}: another job of that name is in the way"),
        )),
        Err(e) => Err(e.into()),
    }
}

pub fn rm(spool: &Path, args: &RmArgs) -> CommandResult {
    let spool = existing::spool(spool)?;
    each(&spool, &args.ids, |id, changed| {
        remove(&spool, id, args.kill, changed)
    })
}

fn remove(
    spool: &Spool,
    id: &JobId,
    kill: bool,
    changed: &mut BTreeSet<Place>,
) -> Result<(), Failure> {
    let if_active = if kill {
        IfActive::End
    } else {
        IfActive::Refuse
    };
    match spool.forget(id, if_active, changed)? {
        Steered::Done(_) => Ok(()),
        Steered::Missing => Err(Failure::no_job(id)),
        Steered::Wrong(_) => Err(Failure::new(
            FAILURE,
            format!("job {id} is running; --kill ends and removes it"),
        )),
    }
}

/// Does it for all, reports each that failed, and exits as the first of them says. What was done is durable then.
fn each(
    spool: &Spool,
    ids: &[JobId],
    mut work: impl FnMut(&JobId, &mut BTreeSet<Place>) -> Result<(), Failure>,
) -> CommandResult {
    let (mut code, mut changed) = (OK, BTreeSet::new());
    for id in ids {
        if let Err(failure) = work(id, &mut changed) {
            eprintln!("pirn: {}", failure.message);
            code = if code == OK { failure.code } else { code };
        }
    }
    spool.sync_all(&changed)?;
    Ok(code)
}
