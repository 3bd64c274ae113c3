//! `pirn token`.

use super::config;
use super::exit::{BAD_CONFIG, FAILURE, Failure, OK, Outcome, USAGE};
use super::output;
use crate::core::config::rights::Rights;
use crate::http::tokens;
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token for the HTTP door and print it; only its hash is kept
    New {
        /// Whose it is
        name: String,
        /// What it allows: read, push, run, admin; separated by commas
        #[arg(value_parser = Rights::parse)]
        rights: Rights,
        /// The file to add it to [default: the config's, else tokens in the spool]
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

pub fn token(path: &Path, args: Args) -> Outcome {
    let Action::New { name, rights, file } = args.command;
    if rights == Rights::NONE {
        return Err(Failure::new(USAGE, "a token without rights is of no use"));
    }
    let file = match file {
        Some(file) => file,
        None => {
            let spool = super::open(path, true)?;
            let file = config::path(path);
            let config = config::read(&file)
                .map_err(|e| Failure::new(BAD_CONFIG, format!("{}: {e}", file.display())))?;
            spool.path().join(&config.http.tokens)
        }
    };
    let token = tokens::make(&file, &name, rights).map_err(|e| Failure::new(FAILURE, e))?;
    output::line(token)?;
    Ok(OK)
}
