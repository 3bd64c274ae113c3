//! `pirn serve`.

use super::exit::{BAD_CONFIG, FAILURE, Failure, NOT_NOW, OK, Outcome};
use super::job::environment;
use crate::core::config::{Config, Only};
use crate::daemon::{self, Given, Opening, Options, ServeError, Service, SpoolLock};
use crate::http::dialect::jobrunner;
use crate::http::tokens::Tokens;
use crate::http::wire::listen::{Address, Listener};
use crate::http::{Door, Server};
use crate::os::clock;
use crate::os::spawn::path_text;
use crate::spool::Spool;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The spool
    #[arg(value_name = "SPOOL")]
    path: Option<PathBuf>,
    /// Jobs at a time [default: the config's, else one per CPU; with --jobrunner at least one per worker]
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
    /// Answer HTTP requests there: 127.0.0.1:8080, [::1]:8080 or unix:PATH (repeat)
    #[arg(long, value_name = "ADDR")]
    http: Vec<Address>,
    /// Be a jobrunner as well: JOBRUNNER_CMD and the other variables say how
    #[arg(long)]
    jobrunner: bool,
}

pub fn serve(spool: PathBuf, args: Args) -> Outcome {
    start_logging("info");
    let spool = args.path.unwrap_or(spool);
    let given = Given {
        lock: SpoolLock::inherited(&spool),
        signals: None,
    };
    let jobrunner = match args.jobrunner {
        true => Some(jobrunner()?),
        false => None,
    };
    let options = Options {
        spool,
        slots: args.slots,
        queue_slots: jobrunner.as_ref().map(|j| (j.queue.clone(), j.workers)),
        drain: args.drain,
        only: Only(args.only),
        config: args.config,
        no_sync: args.no_sync,
        single: None,
        tally: Arc::default(),
    };
    let opening = opening(&options, args.http, jobrunner)?;
    daemon::serve(options, given, opening).map_err(failure)?;
    Ok(OK)
}

/// Reads jobrunner's variables.
fn jobrunner() -> Result<jobrunner::Settings, Failure> {
    let env = environment(&[], false)?;
    let cwd = path_text(&std::env::current_dir()?);
    jobrunner::Settings::read(env, cwd).map_err(|e| Failure::new(FAILURE, e))
}

/// Listens, so that a daemon that cannot does not start; requests are answered once it has the spool.
fn opening(
    options: &Options,
    mut addresses: Vec<Address>,
    jobrunner: Option<jobrunner::Settings>,
) -> Result<Option<Opening>, Failure> {
    addresses.extend(jobrunner.as_ref().map(|j| j.address.clone()));
    if addresses.is_empty() {
        return Ok(None);
    }
    // qmd's times are local; nobody else needs the zone.
    clock::learn_zone();
    let is_jobrunners =
        |address: &Address| jobrunner.as_ref().is_some_and(|j| j.address == *address);
    let named = |address: &Address| match is_jobrunners(address) {
        true => format!("JOBRUNNER_HTTP_LISTEN_ADDRESS and PORT: {address}"),
        false => format!("--http {address}"),
    };
    let listen = |address| {
        Listener::open(address)
            .map_err(|e| Failure::new(FAILURE, format!("{}: {e}", named(address))))
    };
    let listeners = addresses
        .iter()
        .map(listen)
        .collect::<Result<Vec<_>, _>>()?;
    let (path, durable) = (options.spool.clone(), !options.no_sync);
    let config = options.config_path();
    // Who comes to jobrunner's address with no token has no rights, but may have the password.
    let has_password = jobrunner.as_ref().is_some_and(|j| j.has_password());
    let is_guarded =
        |address: &Address| address.is_local() || (has_password && is_jobrunners(address));
    if let Some(open) = addresses.iter().find(|address| !is_guarded(address))
        && !lets_others_in(&path, &config)
    {
        let remedy = match is_jobrunners(open) {
            true => "is no JOBRUNNER_PASSWORD; set one",
            false => {
                "are no tokens; make one with pirn token new, or say who is let in without in \"trust\" under \"http\""
            }
        };
        let open = named(open);
        let what = format!("{open}: others can reach this address, and there {remedy}");
        return Err(Failure::new(BAD_CONFIG, what));
    }
    let options = options.clone();
    Ok(Some(Box::new(move || {
        let door = Door::new(Spool::create(&path, durable)?, options);
        Ok(Box::new(Server::open(door, listeners, jobrunner)?) as Box<dyn Service>)
    })))
}

/// True if somebody can be let in from elsewhere: by a token, or because the settings say so. A config with a mistake
/// in it is reported by the daemon.
fn lets_others_in(spool: &Path, config: &Path) -> bool {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let config = Config::parse(&read(config)).unwrap_or_default();
    let tokens = Tokens::parse(&read(&spool.join(&config.http.tokens)));
    !config.http.tokenless.trust.is_empty() || tokens.is_ok_and(|tokens| !tokens.is_empty())
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
