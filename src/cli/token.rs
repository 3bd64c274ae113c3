//! `pirn token`.

use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, OK, USAGE};
use super::output;
use super::settings;
use crate::core::config::rights::Rights;
use crate::http::tokens;
use crate::spool::Spool;
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token for HTTP and print it; only its hash is kept
    New {
        /// Its owner, for people
        name: String,
        /// The rights that it gives: read, push, run, admin; separated by commas
        #[arg(value_parser = Rights::parse)]
        rights: Rights,
        /// The file to add it to [default: the one that the settings name, else `tokens` in the spool]
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

pub fn token(path: &Path, args: TokenArgs) -> CommandResult {
    let TokenCommand::New { name, rights, file } = args.command;
    if rights == Rights::NONE {
        return Err(Failure::new(USAGE, "a token without rights is of no use"));
    }
    let file = match file {
        Some(file) => file,
        None => {
            let spool = Spool::open(path, true).map_err(|e| Failure::at(path, e))?;
            let config = settings::read(path).map_err(|e| Failure::new(BAD_CONFIG, e))?;
            spool.path().join(&config.http.tokens)
        }
    };
    let token = tokens::make(&file, &name, rights).map_err(|e| Failure::new(FAILURE, e))?;
    output::line(token)?;
    Ok(OK)
}
