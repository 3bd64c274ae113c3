//! `worker --archive`: commands are printed and removed from their queues, and nothing is run.

use super::listener::QueueListener;
use super::options::WorkerArgs;
use super::progress::WorkProgress;
use super::trouble::{QdoneError, other};
use crate::cli::output;
use crate::remote::sqs::client::ReceiveTerms;
use crate::remote::sqs::error::SqsFault;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A command that is not removed for so long comes again.
const LEASE: Duration = Duration::from_secs(120);

/// Archives until told to stop, or until a round brings nothing if the queues are to be drained.
pub fn archive(
    listener: &QueueListener<'_>,
    args: &WorkerArgs,
    progress: &WorkProgress,
    stop: &AtomicBool,
) -> Result<(), QdoneError> {
    let wait = Duration::from_secs(args.wait_time.into());
    loop {
        let queues = listener.round()?;
        let mut is_empty = true;
        for queue in &queues {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            listener.tell_asking(&queue.name, &queue.url);
            let terms = ReceiveTerms {
                most: 1,
                wait,
                lease: LEASE,
                attempt: None,
            };
            let received = match listener.client().receive(&queue.url, &terms) {
                Err(e) if e.fault == SqsFault::NoQueue => continue,
                received => received?,
            };
            for message in received {
                is_empty = false;
                progress.found_message(&message.message_id);
                let body = message.body().map_err(other)?;
                output::line(format_args!("nice {body}"))?;
                let mut deleted = listener
                    .client()
                    .delete(&queue.url, &[&message.receipt_handle])?;
                deleted.pop().transpose()?;
                progress.archived();
            }
        }
        if stop.load(Ordering::SeqCst) || (args.drain && is_empty) {
            return Ok(());
        }
        if queues.is_empty() {
            std::thread::sleep(wait.max(Duration::from_secs(1)));
        }
    }
}
