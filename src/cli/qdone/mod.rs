//! `pirn qdone`, and `qdone` if the binary is called so: commands in queues on SQS, with the options, the texts and the
//! exit codes of qdone. The exit code is 0 or 1. Text for people goes to stderr.

mod activity;
mod archive;
mod batch;
mod check;
mod enqueue;
mod idle;
mod listener;
mod monitor;
mod options;
mod own;
mod plan;
mod progress;
mod report;
mod resolve;
mod say;
mod trouble;
mod worker;

use super::exit::{CommandResult, FAILURE, OK};
use super::help;
use super::output;
use clap::{CommandFactory, FromArgMatches};
use options::{QdoneCli, QdoneCommand};
use say::Say;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use trouble::QdoneError;

/// The name of the binary that makes pirn behave as qdone.
const NAME: &str = "qdone";

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct QdoneArgs {
    /// A command of qdone, with its options
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    words: Vec<OsString>,
}

/// The words of the command line, if the binary is called as qdone is.
pub fn of_command_line() -> Option<QdoneArgs> {
    let mut words = std::env::args_os();
    let program = PathBuf::from(words.next()?);
    let words = words.collect();
    (program.file_name() == Some(NAME.as_ref())).then_some(QdoneArgs { words })
}

/// Carries out a command. `spool` is the spool if the options name none.
pub fn qdone(spool: &Path, args: QdoneArgs) -> CommandResult {
    let words = [OsString::from(NAME)].into_iter().chain(args.words.clone());
    let mut parser = help::fitted(command());
    let parsed = parser.try_get_matches_from_mut(words);
    let cli = match parsed.and_then(|matches| QdoneCli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() => {
            let text = e.to_string();
            let mut told = text.split("\n\n").next().unwrap_or_default();
            told = told.strip_prefix("error: ").unwrap_or(told);
            output::bytes(usage(&args.words).as_bytes())?;
            Say::new(true, false).error(&format!("Error: {told}"));
            return Ok(FAILURE);
        }
        Err(e) => {
            output::bytes(e.to_string().as_bytes())?;
            return Ok(OK);
        }
    };
    let QdoneCli { common, command } = cli;
    let Some(command) = command else {
        match common.version {
            true => output::line(env!("CARGO_PKG_VERSION"))?,
            false => output::bytes(usage(&[]).as_bytes())?,
        }
        return Ok(OK);
    };
    let say = Say::new(common.quiet, common.verbose);
    let done = match command {
        QdoneCommand::Enqueue(args) => enqueue::one(&common, &args, say),
        QdoneCommand::EnqueueBatch(args) => enqueue::batch(&common, &args, say),
        QdoneCommand::Worker(args) => {
            let spool = common.spool.as_deref().unwrap_or(spool);
            worker::worker(&common, &args, spool, say)
        }
        QdoneCommand::IdleQueues(args) => idle::idle_queues(&common, &args, say),
        QdoneCommand::Monitor(args) => monitor::monitor(&common, &args, say),
        QdoneCommand::Check(args) => check::check(&common, &args, say),
    };
    match done {
        Ok(()) => Ok(OK),
        Err(e) => {
            if let QdoneError::Usage(_) = e {
                output::bytes(usage(&args.words).as_bytes())?;
            }
            say.error(&e.to_string());
            Ok(FAILURE)
        }
    }
}

/// The commands with their options.
pub fn command() -> clap::Command {
    QdoneCli::command()
}

/// The help of the command that these words have, or of all.
fn usage(words: &[OsString]) -> String {
    let mut all = help::fitted(command());
    all.build();
    let mut words = words.iter().filter_map(|word| word.to_str());
    let name = words.find(|word| all.find_subcommand(word).is_some());
    match name.and_then(|name| all.find_subcommand_mut(name)) {
        Some(command) => command.render_help().to_string(),
        None => all.render_help().to_string(),
    }
}
