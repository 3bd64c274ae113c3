//! `pirn serve`.

use super::confined;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, NOT_NOW, OK};
use super::logging;
use super::output;
use super::sandbox::SandboxArgs;
use super::serve_plan::{ServePlan, jobrunner};
use crate::core::config::Only;
use crate::core::units::parse_span;
use crate::daemon::detach::DetachedStart;
use crate::daemon::front::{self, Behind};
use crate::daemon::{self, Given, Options, ServeError};
use crate::http::wire::listen::Address;
use crate::os::advice::advice;
use crate::os::notify::Notifier;
use crate::os::{cgroup, detach, limits};
use crate::spool::{Spool, SpoolLock, Starting};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The spool
    #[arg(value_name = "SPOOL")]
    pub path: Option<PathBuf>,
    /// Jobs at a time [default: what the settings say, else one for each processor; with --jobrunner at least one for
    /// each of its workers]
    ///
    /// Overrules the settings. With 0, nothing is started.
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Exit when nothing is left to run
    ///
    /// That is when no job runs and no waiting job can start any more: those that still wait are paused, are in a queue
    /// that is not served, or come after such a job. A date or a backoff is waited for. With a DURATION, exit when it has
    /// been so for so long. No bridge is started. A job that is accepted while the daemon leaves is not left behind: the
    /// daemon unlocks the spool, looks once more, and stays if there is something to run.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        value_parser = parse_span
    )]
    drain: Option<Duration>,
    /// Serve only these queues: a name, or the beginning of names and `*` (repeat)
    ///
    /// The queue of files that are in `pending/` itself is called `default`.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Read the settings from this file [default: `config.json` in the spool]
    ///
    /// It is read at the start and upon SIGHUP, and not watched.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sync nothing: faster, but a power cut may lose accepted jobs, records and order
    #[arg(long)]
    no_sync: bool,
    /// Serve also a spool into which other users can put files
    ///
    /// Without this option, the exit code is 78 if the spool's directories are another user's, or writable by group or
    /// others; see `pirn help spool`.
    #[arg(long)]
    lax_modes: bool,
    /// Make the control groups of jobs in this directory of cgroup v2
    ///
    /// It is made if it is missing, and the daemon runs in the group `daemon` there. For service managers that delegate
    /// no group; systemd needs `Delegate=yes` and `DelegateSubgroup=daemon` instead. The exit code is 78 if no groups
    /// can be made there.
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// Answer HTTP requests at this address: `127.0.0.1:8080`, `[::1]:8080`, `unix:PATH` or `fd:NAME` (repeat)
    ///
    /// `fd:NAME` is the socket of that name that a service manager passes (sd_listen_fds(3)). Port 0 lets the system
    /// choose one, which is logged. An address that other machines can reach is refused while there are no tokens and
    /// nobody is in `http.trust` in the settings. See `pirn help http`.
    #[arg(long, value_name = "ADDR")]
    http: Vec<Address>,
    /// Serve the clients of a jobrunner too, as its variables ($JOBRUNNER_CMD and others) say
    #[arg(long)]
    jobrunner: bool,
    /// Go on in the background, and log to `daemon.log` in the spool; returns once the daemon is ready
    ///
    /// The daemon has a session of its own without a terminal, and works in the directory `/`, without the descriptors
    /// of the caller; the environment stays. The command returns when the daemon has the spool and is ready, with 0. If
    /// the daemon ends before that, the command prints the last line of its log, and exits as it did. If a `pirn run`
    /// has the spool, the command returns at once, and the daemon begins after that. The log becomes `daemon.log.1`
    /// when it would be larger than 1 MiB. A file there that is a link or has other names is refused. Not for service
    /// managers, which want to be the parent.
    #[arg(long)]
    detach: bool,
    /// Be one process: the exit codes of jobs that end while no daemon is there are lost
    ///
    /// For tests, and for supervisors that are to see at once that the daemon was killed.
    #[arg(long)]
    no_front: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

/// The part of a daemon's start that is behind it.
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
                let why = match line.is_empty() {
                    true => "it has logged nothing",
                    false => &line,
                };
                let what = format!("the daemon has ended with exit code {code}: {why}");
                return Err(Failure::new(code, what));
            }
        }
    }
    logging::start_logging("info", Some(&plan.options.spool));
    match serve_plan(plan, prelude) {
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
    let opening = plan.opening()?;
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

/// The failure for a daemon that could not serve.
pub fn failure(e: ServeError) -> Failure {
    let code = match e {
        ServeError::Held(_) | ServeError::Starting(_) => NOT_NOW,
        ServeError::Config(_) => BAD_CONFIG,
        ServeError::Io(..) => FAILURE,
    };
    let advice = match &e {
        ServeError::Io(what, e) => advice(e, Path::new(what)),
        ServeError::Held(_) => "; pirn status shows it, pirn stop ends it".to_owned(),
        ServeError::Starting(_) | ServeError::Config(_) => String::new(),
    };
    Failure::new(code, format!("{e}{advice}"))
}
