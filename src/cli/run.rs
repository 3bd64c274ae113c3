//! `pirn run`: adds a job, shows its output, exits as it did. If no daemon serves the spool, it runs the job itself.

use super::exit::{self, CommandResult, Failure, NO_CODE};
use super::follow::{self, Follower};
use super::job::JobArgs;
use super::logging;
use super::serve;
use crate::core::id::JobId;
use crate::core::record::Reason;
use crate::daemon::{self, Given, Options};
use crate::os::notify::Notifier;
use crate::os::poll::Waker;
use crate::os::signals::Signals;
use crate::spool::{Found, Role, Spool, SpoolLock};
use clap::ArgGroup;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["command", "script"]).required(true).multiple(true))]
pub struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
}

/// Failures of pirn itself exit with [`NO_CODE`], so that they are not mistaken for the code of the job.
pub fn run(path: &Path, args: RunArgs) -> CommandResult {
    run_job(path, args.job).map_err(|failure| match failure.code {
        exit::USAGE => failure,
        _ => failure.with_code(NO_CODE),
    })
}

fn run_job(path: &Path, job: JobArgs) -> CommandResult {
    logging::start_logging("warn", None);
    let spool = Spool::open(path, true).map_err(|e| Failure::at(path, e))?;
    let job = job.prepare(&spool)?;
    let old_logs = job.id().map(|id| follow::old_logs(&spool, id));
    // The job may start at once: from here on, an interrupt cancels it.
    let signals = Signals::install()?;
    let id = job.submit(&spool, false)?;
    let follower = Follower::new(&spool, &id, old_logs.unwrap_or_default())?;
    let found = match SpoolLock::try_take(path, Role::Run)? {
        Ok(lock) => serve_one(follower, lock, signals)?,
        Err(_) => with_daemon(follower, signals)?,
    };
    let Some(found) = found else {
        let what = format!("job {id} was removed from the spool");
        return Err(Failure::new(NO_CODE, what));
    };
    let code = exit::of_job(&found.record);
    let is_skipped = found.record.reason == Some(Reason::Skipped);
    if let Some(error) = found.record.error
        && (code >= exit::TIMEOUT || is_skipped)
    {
        eprintln!("pirn: {id}: {error}");
    }
    Ok(code)
}

/// Runs this one job in this process, while a thread shows its output.
fn serve_one(
    mut follower: Follower<'_>,
    lock: SpoolLock,
    signals: Signals,
) -> Result<Option<Found>, Failure> {
    let (spool, id) = (follower.spool, follower.id.clone());
    let options = Options {
        spool: spool.path().to_owned(),
        slots: Some(1),
        single: Some(id.clone()),
        ..Options::default()
    };
    let waker = Waker::new()?;
    follower.moves.also_wait_for(&waker)?;
    let is_served = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let shown = scope.spawn(|| follower.follow(&mut || Ok(is_served.load(Ordering::SeqCst))));
        let given = Given {
            lock,
            signals: Some(signals),
            notifier: Notifier::from_env(),
        };
        let served = daemon::serve(options, given, None).map_err(serve::failure);
        is_served.store(true, Ordering::SeqCst);
        waker.wake();
        shown
            .join()
            .unwrap_or_else(|_| Err(Failure::new(NO_CODE, "showing the output failed")))
            .and_then(|found| served.map(|()| found))
    })?;
    let is_over = |found: &Option<Found>| found.as_ref().is_none_or(Found::is_over);
    if is_over(&found) {
        return Ok(found);
    }
    // The follower may have looked before the job ended. If it has not ended, it could not be ended.
    Some(spool.get(&id)?)
        .filter(is_over)
        .ok_or_else(|| left_to_itself(&id))
}

fn left_to_itself(id: &JobId) -> Failure {
    Failure::new(NO_CODE, format!("left job {id} to itself"))
}

/// The daemon or another `pirn run` has locked the spool and runs the job. If it ends first, this process runs the job.
fn with_daemon(mut follower: Follower<'_>, mut signals: Signals) -> Result<Option<Found>, Failure> {
    let (spool, id) = (follower.spool, follower.id.clone());
    let waker = Arc::new(Waker::new()?);
    follower.moves.also_wait_for(&signals)?;
    follower.moves.also_wait_for(&*waker)?;
    let (sender, receiver) = mpsc::channel();
    let (waiter, path) = (Arc::clone(&waker), spool.path().to_owned());
    std::thread::spawn(move || {
        let _ = sender.send(SpoolLock::wait(&path, Role::Run));
        waiter.wake();
    });
    let mut lock = None;
    let mut told = 0;
    let found = follower.follow(&mut || {
        for _ in signals.read().into_iter().filter(|t| t.is_end()) {
            told += 1;
            if told > 1 {
                return Err(left_to_itself(&id));
            }
            spool.cancel(&id)?;
        }
        lock = receiver.try_recv().ok();
        Ok(lock.is_some())
    })?;
    let Some(lock) = lock else { return Ok(found) };
    // From here on, `daemon::serve` acts on signals.
    follower.moves.wait_no_more_for(&signals)?;
    follower.moves.wait_no_more_for(&*waker)?;
    // The same follower goes on, so that no output is shown twice.
    serve_one(follower, lock?, signals)
}
