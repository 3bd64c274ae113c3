//! `pirn config`, `pirn pause`, `pirn resume`.

use super::existing;
use super::exit::{BAD_CONFIG, Failure, OK, Outcome};
use super::output;
use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::os::user;
use crate::spool::{EditError, Spool};
use clap::Subcommand;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether the settings are valid, and what is wrong where
    Check {
        /// The file [default: config.json in the spool]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    /// The queue [default: all of them]
    queue: Option<QueueName>,
}

pub fn config(spool: &Path, args: Args) -> Outcome {
    let Action::Check { file } = args.command;
    let named = file.is_some();
    let path = file.unwrap_or_else(|| spool.join("config.json"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !named => {
            existing::spool(spool)?;
            output::line(format!(
                "{}: not there; all settings have their defaults",
                path.display()
            ))?;
            return Ok(OK);
        }
        Err(e) => return Err(Failure::new(BAD_CONFIG, format!("{}: {e}", path.display()))),
    };
    check(&path, &text)?;
    output::line(format!("{}: valid", path.display()))?;
    Ok(OK)
}

fn check(path: &Path, text: &str) -> Result<Config, Failure> {
    user::read_config(text)
        .map_err(|e| Failure::new(BAD_CONFIG, format!("{}: {e}", path.display())))
}

/// The settings of a spool, or what is wrong with them.
pub fn read(spool: &Path) -> Result<Config, String> {
    match std::fs::read_to_string(spool.join("config.json")) {
        Ok(text) => user::read_config(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(e.to_string()),
    }
}

pub fn pause(path: &Path, args: &QueueArgs, paused: bool) -> Outcome {
    let spool = existing::spool(path)?;
    if let Some(queue) = &args.queue {
        existing::queue(&spool, queue)?;
    }
    pause_queue(&spool, args.queue.as_ref().map(QueueName::as_str), paused)?;
    Ok(OK)
}

/// Writes the pause of a queue, or of all, into `config.json`, where everybody can see it.
pub fn pause_queue(spool: &Spool, queue: Option<&str>, paused: bool) -> Result<(), Failure> {
    let keys = match queue {
        Some(queue) => vec!["queues", queue, "paused"],
        None => vec!["paused"],
    };
    spool
        .edit_settings(&[(&keys, paused.to_string())])
        .map_err(|e| match e {
            EditError::Io(e) => e.into(),
            EditError::Invalid(_) | EditError::Unreadable(_) => {
                let file = spool.path().join("config.json");
                Failure::new(BAD_CONFIG, format!("{}: {e}", file.display()))
            }
        })
}
