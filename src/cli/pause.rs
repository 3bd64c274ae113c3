//! `pirn pause` and `pirn resume` create and remove the same files as touch(1) and rm(1) would.

use super::existing;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, OK, USAGE};
use super::served;
use super::settings;
use super::start::see_to_daemon;
use crate::core::id::QueueName;
use crate::spool::Spool;
use std::io;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    /// The queue [default: all of them]
    queue: Option<QueueName>,
    /// The queue, given as in other commands
    #[arg(
        short = 'q',
        long = "queue",
        value_name = "QUEUE",
        conflicts_with = "queue",
        hide = true
    )]
    by_option: Option<QueueName>,
}

impl QueueArgs {
    /// As if this queue was named on the command line.
    pub fn of(queue: Option<QueueName>) -> Self {
        Self {
            queue,
            by_option: None,
        }
    }

    fn queue(&self) -> Option<&QueueName> {
        self.queue.as_ref().or(self.by_option.as_ref())
    }
}

/// Opens the spool, which must have the queue.
fn open(path: &Path, args: &QueueArgs) -> Result<Spool, Failure> {
    let spool = existing::spool(path)?;
    if let Some(queue) = args.queue() {
        existing::queue(&spool, queue)?;
    }
    Ok(spool)
}

pub fn pause(path: &Path, args: &QueueArgs) -> CommandResult {
    let spool = open(path, args)?;
    served::refuse_old_daemon(&spool)?;
    match spool.pause(args.queue()) {
        Ok(()) => Ok(OK),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            Err(Failure::new(USAGE, e.to_string()))
        }
        Err(e) => Err(e.into()),
    }
}

/// Resumes a queue or all, and sees to a daemon.
pub fn resume(path: &Path, args: &QueueArgs) -> CommandResult {
    see_to_daemon(&resume_alone(path, args)?);
    Ok(OK)
}

/// Resumes, and starts no daemon. Fails if the queue is still paused for another reason.
pub fn resume_alone(path: &Path, args: &QueueArgs) -> Result<Spool, Failure> {
    let spool = open(path, args)?;
    let queue = args.queue();
    spool.resume(queue)?;
    let config = settings::read(path).map_err(|e| {
        let what =
            format!("{e}; until that is mended, it is not known whether a setting pauses too");
        Failure::new(BAD_CONFIG, what)
    })?;
    let file = settings::path(path);
    let still = match config.pausing_setting(queue) {
        Some(setting) if file == path.join("config.json") => {
            format!(
                "the setting {setting} in config.json pauses it (pirn config set {setting} null)"
            )
        }
        Some(setting) => format!("the setting {setting} in {} pauses it", file.display()),
        None if queue.is_some() && spool.pauses()?.all => {
            "pending/.paused pauses all queues (pirn resume)".to_owned()
        }
        None => return Ok(spool),
    };
    let what = format!("nothing is resumed yet: {still}");
    Err(Failure::new(FAILURE, what))
}
