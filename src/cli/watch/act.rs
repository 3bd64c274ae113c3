//! The changes that keys make. They are those of the commands of the same names, which may start a daemon too.

use super::picture::{Picture, ShownJob};
use crate::cli::pause::{self, QueueArgs};
use crate::cli::served;
use crate::cli::start;
use crate::cli::steer::{self, NotDone};
use crate::core::id::{JobId, QueueName};
use crate::core::record::State;
use crate::spool::Spool;

/// Cancels a job. Gives the text for the last line.
pub fn cancel(spool: &Spool, id: &JobId) -> String {
    told(
        &format!("job {id} is cancelled"),
        steer::cancel_one(spool, id),
    )
}

/// Runs a job again.
pub fn retry(spool: &Spool, id: &JobId) -> String {
    let done = spool.durably(|changed| steer::retry_one(spool, id, changed));
    told_with_daemon(spool, &format!("job {id} is to run again"), done)
}

/// Holds a job that waits, releases one that is held.
pub fn hold_or_release(spool: &Spool, job: &ShownJob) -> String {
    if let Err(failure) = served::refuse_old_daemon(spool) {
        return failure.message;
    }
    let id = &job.row.id;
    match job.row.state {
        State::Held => told_with_daemon(
            spool,
            &format!("job {id} is released"),
            spool.durably(|changed| steer::release_one(spool, id, changed)),
        ),
        State::Pending | State::Active | State::Complete | State::Failed => {
            let done = spool.durably(|changed| steer::hold_one(spool, id, changed));
            told(&format!("job {id} is held"), done)
        }
    }
}

/// Pauses a queue, or all of them for `None`; lets them go on if they are paused.
pub fn pause_or_resume(spool: &Spool, picture: &Picture, queue: Option<QueueName>) -> String {
    let is_paused = match &queue {
        None => picture.is_paused,
        Some(name) => {
            let mut queues = picture.queues.iter();
            queues.any(|queue| queue.name == *name && queue.paused)
        }
    };
    let what = queue
        .as_ref()
        .map_or("all queues".to_owned(), |queue| format!("queue {queue}"));
    let args = QueueArgs::of(queue);
    let done = match is_paused {
        true => pause::resume_alone(spool.path(), &args).map(|spool| {
            start::provide_daemon(&spool).unwrap_or(format!("{what}: no longer paused"))
        }),
        false => pause::pause(spool.path(), &args).map(|_| format!("{what}: paused")),
    };
    done.unwrap_or_else(|failure| failure.message)
}

/// [`told`], unless there is something to tell of the daemon that is to run the job.
fn told_with_daemon(spool: &Spool, done: &str, result: Result<(), NotDone>) -> String {
    let said = result
        .as_ref()
        .ok()
        .and_then(|()| start::provide_daemon(spool));
    said.unwrap_or_else(|| told(done, result))
}

fn told(done: &str, result: Result<(), NotDone>) -> String {
    match result {
        Ok(()) => done.to_owned(),
        Err(NotDone::Elsewhere(failure) | NotDone::Failed(failure)) => failure.message,
    }
}
