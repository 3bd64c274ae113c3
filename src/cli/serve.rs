//! `pirn serve`.

use super::exit::{BAD_CONFIG, FAILURE, Failure, NOT_NOW, OK, Outcome};
use crate::core::config::Only;
use crate::daemon::{self, Options, ServeError, SpoolLock};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The spool
    #[arg(value_name = "SPOOL")]
    path: Option<PathBuf>,
    /// Jobs at a time [default: the config's, else one per CPU]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Exit when nothing is left to run
    #[arg(long)]
    drain: bool,
    /// Serve only these queues: a name, or a prefix and * (repeat)
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Settings [default: config.json in the spool]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sync nothing: faster, and a power cut may lose jobs
    #[arg(long)]
    no_sync: bool,
}

pub fn serve(spool: PathBuf, args: Args) -> Outcome {
    start_logging("info");
    let spool = args.path.unwrap_or(spool);
    let lock = SpoolLock::inherited(&spool);
    let options = Options {
        spool,
        slots: args.slots,
        drain: args.drain,
        only: Only(args.only),
        config: args.config,
        no_sync: args.no_sync,
        single: None,
    };
    daemon::serve(options, lock).map_err(failure)?;
    Ok(OK)
}

/// What a daemon that did not run means for the exit code.
pub fn failure(e: ServeError) -> Failure {
    let code = match e {
        ServeError::Held(_) => NOT_NOW,
        ServeError::Config(_) => BAD_CONFIG,
        ServeError::Io(..) => FAILURE,
    };
    Failure::new(code, e.to_string())
}

/// Logs go to stderr. `PIRN_LOG` chooses the level (`debug`, `warn` ...).
pub fn start_logging(default: &str) {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::new().filter_or("PIRN_LOG", default));
    builder.format(|out, record| {
        let now = crate::os::clock::wall();
        writeln!(out, "{now} {:5} {}", record.level(), record.args())
    });
    let _ = builder.try_init();
}
