//! `pirn serve`.

use super::confined;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, NOT_NOW, OK, USAGE};
use super::inputs;
use super::output;
use super::sandbox::SandboxArgs;
use crate::core::config::{Config, Only};
use crate::core::units::parse_span;
use crate::daemon::detach::DetachedStart;
use crate::daemon::front::{self, Behind};
use crate::daemon::{self, Given, Opening, Options, ServeError, Service};
use crate::http::dialect::jobrunner;
use crate::http::tokens::Tokens;
use crate::http::wire::listen::{Address, Listener};
use crate::http::{Door, Server};
use crate::os::notify::Notifier;
use crate::os::spawn::path_text;
use crate::os::{cgroup, clock, detach, limits, written};
use crate::spool::{self, DaemonLog, Spool, SpoolLock, Starting};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The spool
    #[arg(value_name = "SPOOL")]
    pub path: Option<PathBuf>,
    /// Jobs at a time [default: the config's, else one per CPU; with --jobrunner at least one per worker]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Exit when nothing is left to run, or when nothing has been for so long
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        value_parser = parse_span
    )]
    drain: Option<Duration>,
    /// Serve only these queues: a name, or a prefix and * (repeat)
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Settings [default: config.json in the spool]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sync nothing: faster, and a power cut may lose jobs
    #[arg(long)]
    no_sync: bool,
    /// Serve also a spool into which other users can put files
    #[arg(long)]
    lax_modes: bool,
    /// Make the control groups of jobs in this one, and move to a group there
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// Answer HTTP requests at this address: 127.0.0.1:8080, [::1]:8080, unix:PATH or fd:NAME (repeat)
    #[arg(long, value_name = "ADDR")]
    http: Vec<Address>,
    /// Act as a jobrunner as well, with the settings in JOBRUNNER_CMD and its other variables
    #[arg(long)]
    jobrunner: bool,
    /// Go on in the background, without a terminal, and log to daemon.log in the spool; returns once the daemon is ready
    #[arg(long)]
    detach: bool,
    /// Be one process: the exit codes of jobs that end while no daemon is there are lost. For tests and supervisors
    #[arg(long)]
    no_front: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

/// The options of `serve`, checked.
struct ServePlan {
    options: Options,
    addresses: Vec<Address>,
    jobrunner: Option<jobrunner::Settings>,
}

/// The part of a daemon's start that is behind it.
#[derive(Default)]
struct Prelude {
    /// The lock that an earlier image of this process has left.
    inherited: Option<SpoolLock>,
    /// Whether this process is to split in front and daemon.
    has_front: bool,
    /// The process that started this one waits for it.
    starter: Option<(Notifier, Starting)>,
}

pub fn serve(spool: PathBuf, args: ServeArgs) -> CommandResult {
    limits::keep_no_large_memory();
    if args.detach {
        detach::return_to_start_dir()?;
    }
    let inherited = SpoolLock::inherited(args.path.as_ref().unwrap_or(&spool));
    let is_first = front::is_missing(inherited.as_ref());
    let mut prelude = Prelude {
        inherited,
        has_front: !args.no_front && is_first,
        starter: None,
    };
    let is_detached = args.detach;
    if is_detached && is_first {
        detach::close_inherited()?;
    }
    let plan = plan(spool, args)?;
    if is_detached && !is_first {
        detach::leave_start_dir()?;
    } else if is_detached {
        match daemon::detach::start(&plan.options).map_err(failure)? {
            DetachedStart::Daemon(notifier, starting) => {
                prelude.starter = Some((notifier, starting))
            }
            DetachedStart::Ready => return Ok(OK),
            DetachedStart::Waits(holder) => {
                eprintln!("pirn: the daemon waits for {holder} to end");
                return Ok(OK);
            }
            DetachedStart::Failed(code, line) => {
                let what = format!("the daemon has ended with exit code {code}: {line}");
                return Err(Failure::new(code, what));
            }
        }
    }
    start_logging("info", Some(&plan.options.spool));
    let served = serve_plan(plan, prelude);
    match served {
        // The log has the date with every line.
        Err(failure) if is_detached => {
            log::error!("{}", failure.message);
            Ok(failure.code)
        }
        served => served,
    }
}

fn serve_plan(plan: ServePlan, prelude: Prelude) -> CommandResult {
    let options = plan.options.clone();
    let (mut notifier, starting) = match prelude.starter {
        Some((notifier, starting)) => (notifier, Some(starting)),
        None => (Notifier::from_env(), None),
    };
    if let Some(group) = &options.cgroup {
        let refused = |e| {
            let group = group.display();
            let what = format!(
                "--cgroup {group}: {e}; it must be a directory of cgroup v2 in which groups can be made"
            );
            Failure::new(BAD_CONFIG, what)
        };
        cgroup::enter(group).map_err(refused)?;
    }
    if options.sandbox.is_some() {
        // The rules are about files that are there.
        Spool::create(&options.spool, !options.no_sync)
            .map_err(|e| Failure::at(&options.spool, e))?;
        confined::confine(&options, &plan.addresses)
            .map_err(|e| Failure::new(BAD_CONFIG, e.to_string()))?;
    }
    let mut waits = || notifier.send("STATUS=waiting for a pirn run to end");
    let lock = match prelude.inherited {
        Some(lock) => lock,
        None => daemon::take_spool(&options, &mut waits).map_err(failure)?,
    };
    if starting.is_some() {
        log::info!(
            "process {} serves {}",
            std::process::id(),
            options.spool.display()
        );
    }
    drop(starting);
    if prelude.has_front {
        notifier = match front::stand_before_daemon(&lock, notifier).map_err(failure)? {
            Behind::Daemon(notifier) => notifier,
            Behind::Ended(code) => return Ok(code),
        };
    }
    let opening = opening(plan)?;
    let given = Given {
        lock,
        signals: None,
        notifier,
    };
    daemon::serve(options, given, opening).map_err(failure)?;
    Ok(OK)
}

/// Does the part of [`serve`] that changes nothing. A daemon runs it before it replaces itself with this binary.
pub fn prove(spool: PathBuf, args: ServeArgs) -> CommandResult {
    if args.detach {
        detach::return_to_start_dir()?;
    }
    let plan = plan(spool, args)?;
    daemon::read_settings(&plan.options).map_err(failure)?;
    output::line(concat!("pirn ", env!("CARGO_PKG_VERSION")))?;
    Ok(OK)
}

fn plan(spool: PathBuf, args: ServeArgs) -> Result<ServePlan, Failure> {
    let jobrunner = match args.jobrunner {
        true => Some(jobrunner()?),
        false => None,
    };
    let sandbox = args.sandbox.sandbox()?;
    let options = Options {
        spool: args.path.unwrap_or(spool),
        slots: args.slots,
        queue_slots: jobrunner.as_ref().map(|j| (j.queue.clone(), j.workers)),
        drain: args.drain,
        only: Only(args.only),
        config: args.config,
        no_sync: args.no_sync,
        lax_modes: args.lax_modes,
        cgroup: args.cgroup,
        sandbox,
        single: None,
        tally: Arc::default(),
    };
    let mut addresses = args.http;
    addresses.extend(jobrunner.as_ref().map(|j| j.address.clone()));
    let mut plan = ServePlan {
        options,
        addresses,
        jobrunner,
    };
    plan.check_addresses()?;
    if args.detach {
        plan.detach()?;
    }
    Ok(plan)
}

impl ServePlan {
    /// True for the address at which jobrunner's requests are answered.
    fn is_jobrunners(&self, address: &Address) -> bool {
        let jobrunner = self.jobrunner.as_ref();
        jobrunner.is_some_and(|j| j.address == *address)
    }

    /// The option or variables that ask for this address, for messages.
    fn named(&self, address: &Address) -> String {
        match self.is_jobrunners(address) {
            true => format!("JOBRUNNER_HTTP_LISTEN_ADDRESS and PORT: {address}"),
            false => format!("--http {address}"),
        }
    }

    /// A detached daemon works elsewhere, and has no descriptors of others.
    fn detach(&mut self) -> Result<(), Failure> {
        let options = &mut self.options;
        let paths = [&mut options.config, &mut options.cgroup];
        let paths = paths.into_iter().flatten();
        for path in paths.chain([&mut options.spool]) {
            *path = std::path::absolute(&*path).map_err(|e| Failure::at(path, e))?;
        }
        for address in &mut self.addresses {
            match address {
                Address::Unix(path) => {
                    *path = std::path::absolute(&*path).map_err(|e| Failure::at(path, e))?;
                }
                Address::Passed(_) => {
                    let what = format!("--http {address}: --detach passes on no descriptors");
                    return Err(Failure::new(USAGE, what));
                }
                Address::Tcp(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses an address that others can reach, if neither tokens, a password nor settings tell who may use it.
    fn check_addresses(&self) -> Result<(), Failure> {
        // A client at jobrunner's address needs no token, only the password.
        let has_password = self.jobrunner.as_ref().is_some_and(|j| j.has_password());
        let is_guarded = |address: &&Address| {
            address.is_local() || (has_password && self.is_jobrunners(address))
        };
        let Some(open) = self.addresses.iter().find(|address| !is_guarded(address)) else {
            return Ok(());
        };
        if lets_others_in(&self.options.spool, &self.options.config_path()) {
            return Ok(());
        }
        let remedy = match self.is_jobrunners(open) {
            true => "is no JOBRUNNER_PASSWORD; set one",
            false => "are no tokens; make one with pirn token new",
        };
        let open = self.named(open);
        let what = format!(
            "{open}: others can reach this address, and there {remedy}, or list the users and addresses that need \
             none in \"trust\" under \"http\" in the config"
        );
        Err(Failure::new(BAD_CONFIG, what))
    }
}

/// Reads jobrunner's variables.
fn jobrunner() -> Result<jobrunner::Settings, Failure> {
    let env = inputs::environment(&[], false)?;
    let cwd = path_text(&std::env::current_dir()?);
    jobrunner::Settings::read(env, cwd).map_err(|e| Failure::new(FAILURE, e))
}

/// Listens now, so that a daemon that cannot listen starts no job. Requests are answered once it has the spool.
fn opening(plan: ServePlan) -> Result<Option<Opening>, Failure> {
    if plan.addresses.is_empty() {
        return Ok(None);
    }
    // Only qmd's answers have local times.
    clock::learn_zone();
    let listen = |address| {
        Listener::open(address)
            .map_err(|e| Failure::new(FAILURE, format!("{}: {e}", plan.named(address))))
    };
    let listeners = plan.addresses.iter().map(listen);
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Box::new(move || {
        let (options, jobrunner) = (plan.options, plan.jobrunner);
        let spool = Spool::create(&options.spool, !options.no_sync)?;
        let door = Door::new(spool, options);
        Ok(Box::new(Server::open(door, listeners, jobrunner)?) as Box<dyn Service>)
    })))
}

/// True if tokens or settings give anybody rights. The daemon itself reports a mistake in the config.
fn lets_others_in(spool: &Path, config: &Path) -> bool {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let config = match written::read_finished(config, spool::read_config) {
        Ok(Ok(config)) => config,
        Ok(Err(_)) | Err(_) => Config::default(),
    };
    let tokens = Tokens::parse(&read(&spool.join(&config.http.tokens)));
    !config.http.tokenless.trust.is_empty() || tokens.is_ok_and(|tokens| !tokens.is_empty())
}

/// The failure for a daemon that could not serve.
pub fn failure(e: ServeError) -> Failure {
    let code = match e {
        ServeError::Held(_) => NOT_NOW,
        ServeError::Config(_) => BAD_CONFIG,
        ServeError::Io(..) => FAILURE,
    };
    Failure::new(code, e.to_string())
}

/// Logs to stderr, which may be the log of this spool. `PIRN_LOG` sets the level (`debug`, `warn` and so on).
pub fn start_logging(default: &str, spool: Option<&Path>) {
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::new().filter_or("PIRN_LOG", default));
    builder.format(|out, record| {
        // This module dumps the bytes of requests and answers. There are credentials in them.
        if record.target().starts_with("ureq_proto::util") {
            return Ok(());
        }
        let now = crate::os::clock::wall();
        writeln!(out, "{now} {:5} {}", record.level(), record.args())
    });
    if let Some(log) = spool.and_then(DaemonLog::of_stderr) {
        builder.target(env_logger::Target::Pipe(Box::new(log)));
    }
    let _ = builder.try_init();
}
