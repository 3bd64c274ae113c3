//! `pirn cancel`, `pirn retry`, `pirn rm`, `pirn hold`, `pirn release`.

use super::bar::Bar;
use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, NO_INPUT, OK, USAGE};
use super::job::PreparedJob;
use super::output;
use super::select::{Selected, Selection};
use super::served;
use super::settings;
use super::start::see_to_daemon;
use crate::core::id::{JobId, QueueName};
use crate::core::record::State;
use crate::spool::{CancelledWaiting, NOT_RUNNING, Place, Spool, Steered};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct SteerArgs {
    #[command(flatten)]
    jobs: Selection,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// Leave the jobs as they are, add each once more under the next number, and print the new ids
    ///
    /// Words mean jobs in any state.
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    jobs: Selection,
}

#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    #[command(flatten)]
    jobs: Selection,
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Also running jobs: end them and forget them
    #[arg(long)]
    kill: bool,
    #[command(flatten)]
    jobs: Selection,
}

/// The ends of this many cancelled jobs are synced together.
const SHARED: usize = 64;

pub fn cancel(path: &Path, args: &SteerArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    // They name the command that follows the end. While they are not valid, it is not known here.
    spool.use_settings(&settings::read(path).unwrap_or_default().into());
    let states = [State::Pending, State::Held, State::Active];
    let jobs = args.jobs.to_change(&spool, &states)?;
    let mut cancelled: Vec<CancelledWaiting> = Vec::new();
    let code = each(&spool, &jobs, |id, changed| {
        // The record of one of its name that was just cancelled makes room only once it has its end.
        if cancelled.len() == SHARED || cancelled.iter().any(|job| job.id == *id) {
            spool.sync_all(changed)?;
            changed.clear();
            spool.end_cancelled(&std::mem::take(&mut cancelled))?;
        }
        let steered = spool.move_cancelled(id, changed, &mut cancelled);
        let did_run = matches!(steered, Ok(Steered::Done(State::Active)));
        judge(id, steered, has_ended)?;
        match did_run && !jobs.are_named {
            // Another job of this name may wait behind it.
            true => judge(
                id,
                spool.move_cancelled(id, changed, &mut cancelled),
                has_ended,
            ),
            false => Ok(()),
        }
    })?;
    spool.end_cancelled(&cancelled)?;
    Ok(code)
}

/// Cancels a job, durably.
pub fn cancel_one(spool: &Spool, id: &JobId) -> Result<(), NotDone> {
    judge(id, spool.cancel(id), has_ended)
}

fn has_ended(state: State) -> String {
    format!("has ended already: it is in {state}/")
}

pub fn retry(path: &Path, args: &RetryArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    // Options other than --all do not mean jobs that have done their work.
    let states = match args.jobs.all {
        true => &[State::Failed, State::Complete][..],
        false => &[State::Failed],
    };
    let jobs = args.jobs.to_change(&spool, states)?;
    if args.copy {
        return copy_each(&spool, &jobs).inspect(|_| see_to_daemon(&spool));
    }
    each(&spool, &jobs, |id, changed| retry_one(&spool, id, changed))
        .inspect(|_| see_to_daemon(&spool))
}

/// Runs a job again. `changed` is that of [`Spool::retry`].
pub fn retry_one(spool: &Spool, id: &JobId, changed: &mut BTreeSet<Place>) -> Result<(), NotDone> {
    let wrong = |state| format!("has not ended yet: it is in {state}/");
    judge(id, spool.retry(id, changed), wrong)
}

pub fn hold(path: &Path, args: &SteerArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(&spool)?;
    let jobs = args.jobs.to_change(&spool, &[State::Pending])?;
    each(&spool, &jobs, |id, changed| hold_one(&spool, id, changed))
}

/// Holds a job. The caller has asked [`served::refuse_old_daemon`]. `changed` is that of [`Spool::retry`].
pub fn hold_one(spool: &Spool, id: &JobId, changed: &mut BTreeSet<Place>) -> Result<(), NotDone> {
    judge(id, spool.hold(id, changed), does_not_wait)
}

pub fn release(path: &Path, args: &SteerArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    served::refuse_old_daemon(&spool)?;
    let jobs = args.jobs.to_change(&spool, &[State::Held])?;
    each(&spool, &jobs, |id, changed| {
        release_one(&spool, id, changed)
    })
    .inspect(|_| see_to_daemon(&spool))
}

/// Releases a job. The caller has asked [`served::refuse_old_daemon`]. `changed` is that of [`Spool::retry`].
pub fn release_one(
    spool: &Spool,
    id: &JobId,
    changed: &mut BTreeSet<Place>,
) -> Result<(), NotDone> {
    judge(id, spool.release(id, changed), does_not_wait)
}

fn does_not_wait(state: State) -> String {
    format!("does not wait: it is in {state}/")
}

/// The states of jobs whose turn can be changed.
const WAITING: [State; 2] = [State::Pending, State::Held];

pub fn urgent(path: &Path, args: &SteerArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let jobs = args.jobs.to_change(&spool, &WAITING)?;
    each(&spool, &jobs, |id, changed| {
        judge(id, spool.make_urgent(id, changed), does_not_wait)
    })
}

/// As with mv(1), the last word is where to.
pub fn move_to(path: &Path, mut args: MoveArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let queue = args
        .jobs
        .take_last_word()
        .ok_or_else(|| Failure::new(USAGE, "say which jobs, and last the queue to move them to"))?;
    let queue = QueueName::new(queue.as_str())
        .map_err(|e| Failure::new(USAGE, format!("the queue {queue}: its name {e}")))?;
    let jobs = args.jobs.to_change(&spool, &WAITING)?;
    each(&spool, &jobs, |id, changed| {
        judge(id, spool.move_to(id, &queue, changed), does_not_wait)
    })
    .inspect(|_| see_to_daemon(&spool))
}

/// Adds the same jobs once more, and prints their ids.
fn copy_each(spool: &Spool, jobs: &Selected) -> CommandResult {
    let bar = Bar::new(Some(jobs.ids.len() as u64), true);
    each_under(bar, spool, jobs, |id, _| {
        let copy = || {
            let found = existing::job(spool, id)?;
            output::line(PreparedJob::copy_of(spool, found.record)?.submit(spool, false)?)
        };
        copy().map_err(|e| match e.code {
            NO_INPUT => NotDone::Elsewhere(e),
            _ => NotDone::Failed(e),
        })
    })
}

pub fn rm(path: &Path, args: &RmArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let states = match args.kill {
        true => &State::ALL[..],
        false => &NOT_RUNNING,
    };
    let jobs = args.jobs.to_change(&spool, states)?;
    each(&spool, &jobs, |id, changed| {
        let wrong = |_| "is running; --kill ends and removes it".to_owned();
        judge(id, spool.forget(id, states, changed), wrong)
    })
}

/// Why nothing was done to a job.
pub enum NotDone {
    /// It is in another state, or gone.
    Elsewhere(Failure),
    /// Something failed.
    Failed(Failure),
}

impl From<io::Error> for NotDone {
    fn from(e: io::Error) -> Self {
        Self::Failed(e.into())
    }
}

/// Turns the result for one job into a failure, unless it is done. `wrong` says why the job's state does not allow it.
fn judge(
    id: &JobId,
    steered: io::Result<Steered>,
    wrong: impl Fn(State) -> String,
) -> Result<(), NotDone> {
    let failure = |what: &str| Failure::new(FAILURE, format!("job {id} {what}"));
    Err(match steered {
        Ok(Steered::Done(_)) => return Ok(()),
        Ok(Steered::Missing) => NotDone::Elsewhere(Failure::no_job(id)),
        Ok(Steered::Wrong(state)) => NotDone::Elsewhere(failure(&wrong(state))),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let what = format!("job {id}: another job of that name is in the way");
            NotDone::Failed(Failure::new(FAILURE, what))
        }
        Err(e) => NotDone::Failed(Failure::from(e).about(format!("job {id}"))),
    })
}

/// Does `work` for each job and reports each failure; the exit code is that of the first. A job that only its
/// properties have selected may have left its state since, which is no failure. At the end, all changes are durable.
pub fn each(
    spool: &Spool,
    jobs: &Selected,
    work: impl FnMut(&JobId, &mut BTreeSet<Place>) -> Result<(), NotDone>,
) -> CommandResult {
    each_under(
        Bar::new(Some(jobs.ids.len() as u64), false),
        spool,
        jobs,
        work,
    )
}

fn each_under(
    mut bar: Bar,
    spool: &Spool,
    jobs: &Selected,
    mut work: impl FnMut(&JobId, &mut BTreeSet<Place>) -> Result<(), NotDone>,
) -> CommandResult {
    let (mut code, mut changed) = (OK, BTreeSet::new());
    for id in &jobs.ids {
        bar.advance(1, 1);
        let failure = match work(id, &mut changed) {
            Ok(()) => continue,
            Err(NotDone::Elsewhere(_)) if !jobs.are_named => continue,
            Err(NotDone::Elsewhere(failure) | NotDone::Failed(failure)) => failure,
        };
        let failure = failure.in_place(spool.path());
        bar.say(&format!("pirn: {}", failure.message));
        code = if code == OK { failure.code } else { code };
    }
    spool.sync_all(&changed)?;
    Ok(code)
}
