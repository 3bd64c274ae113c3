//! `pirn slots`.

use super::config;
use super::existing;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, OK};
use super::output;
use super::settings;
use crate::core::id::QueueName;
use crate::daemon::Options;
use crate::spool::{Spool, SpoolLock};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct SlotsArgs {
    /// How many of this queue
    #[arg(short, long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// So many jobs at a time [default: print how many there are]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    slots: Option<u32>,
}

/// The slots that the daemon was given on its command line, with a name for it.
fn given(spool: &Spool) -> Result<Option<(String, u32)>, Failure> {
    let holder = SpoolLock::holder(spool.path())?;
    Ok(holder.and_then(|holder| Some((holder.to_string(), holder.slots?))))
}

pub fn slots(path: &Path, args: &SlotsArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    match args.slots {
        Some(slots) => set(&spool, args.queue.as_ref(), slots),
        None => print(&spool, args.queue.as_ref()),
    }
}

fn set(spool: &Spool, queue: Option<&QueueName>, slots: u32) -> CommandResult {
    let keys = match queue {
        Some(queue) => vec!["queues", queue.as_str(), "slots"],
        None => vec!["slots"],
    };
    if queue.is_none()
        && let Some((daemon, given)) = given(spool)?
    {
        let what = format!(
            "the daemon ({daemon}) was started with --slots {given}, which overrules the setting; start it without"
        );
        return Err(Failure::new(FAILURE, what));
    }
    config::set(spool, &keys, Some(slots.to_string()))
}

/// A queue without slots of its own has those of all.
fn print(spool: &Spool, queue: Option<&QueueName>) -> CommandResult {
    if let Some(queue) = queue {
        existing::queue(spool, queue)?;
    }
    let config = settings::read(spool.path()).map_err(|e| Failure::new(BAD_CONFIG, e))?;
    let options = Options {
        slots: given(spool)?.and_then(|(_, slots)| usize::try_from(slots).ok()),
        ..Options::default()
    };
    let all = options.slots(&config);
    let of_queue = queue.and_then(|queue| config.slots_of(queue));
    output::line(of_queue.map_or(all, |slots| slots.min(all)))?;
    Ok(OK)
}
