//! `pirn cancel`, `pirn retry`, `pirn rm`, `pirn hold`, `pirn release`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, OK};
use super::served;
use crate::core::id::JobId;
use crate::core::record::State;
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
    /// All jobs in failed/
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// End those that are running
    #[arg(long)]
    kill: bool,
}

pub fn cancel(path: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(path)?;
    each(&spool, &args.ids, |id, _| {
        let wrong = |state| format!("has ended already: it is in {state}/");
        judge(id, spool.cancel(id), wrong)
    })
}

pub fn retry(path: &Path, args: &RetryArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let ids = match args.failed {
        true => spool.ids(&Where::Failed)?,
        false => args.ids.clone(),
    };
    each(&spool, &ids, |id, changed| {
        let wrong = |state| format!("has not ended yet: it is in {state}/");
        judge(id, spool.retry(id, changed), wrong)
    })
}

pub fn hold(path: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(&spool)?;
    each(&spool, &args.ids, |id, _| {
        judge(id, spool.hold(id), does_not_wait)
    })
}

pub fn release(path: &Path, args: &Ids) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(&spool)?;
    each(&spool, &args.ids, |id, _| {
        judge(id, spool.release(id), does_not_wait)
    })
}

fn does_not_wait(state: State) -> String {
    format!("does not wait: it is in {state}/")
}

pub fn rm(path: &Path, args: &RmArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let if_active = match args.kill {
        true => IfActive::End,
        false => IfActive::Refuse,
    };
    each(&spool, &args.ids, |id, changed| {
        let wrong = |_| "is running; --kill ends and removes it".to_owned();
        judge(id, spool.forget(id, if_active, changed), wrong)
    })
}

/// Turns the result for one job into a failure, unless it is done. `wrong` says why the job's state does not allow it.
fn judge(
    id: &JobId,
    steered: io::Result<Steered>,
    wrong: impl Fn(State) -> String,
) -> Result<(), Failure> {
    let what = match steered {
        Ok(Steered::Done(_)) => return Ok(()),
        Ok(Steered::Missing) => return Err(Failure::no_job(id)),
        Ok(Steered::Wrong(state)) => format!("job {id} {}", wrong(state)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            format!("job {id}: another job of that name is in the way")
        }
        Err(e) => return Err(e.into()),
    };
    Err(Failure::new(FAILURE, what))
}

/// Does `work` for each job and reports each failure; the exit code is that of the first. At the end, all changes are
/// durable.
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
