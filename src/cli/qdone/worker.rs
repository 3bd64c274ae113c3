//! `worker`: a bridge with one slot, whose jobs run in the spool of a daemon, or in a spool of its own.

use super::archive;
use super::listener::QueueListener;
use super::options::{Common, WorkerArgs};
use super::own::{self, Identity};
use super::progress::WorkProgress;
use super::say::Say;
use super::trouble::{QdoneError, other};
use crate::cli::exit::FAILURE;
use crate::cli::{inputs, logging};
use crate::core::config::remote::{BodyFormat, JobFields, RemoteConfig};
use crate::core::id::QueueName;
use crate::daemon::{self, Given, Options};
use crate::os::limits;
use crate::os::notify::Notifier;
use crate::os::poll::Poller;
use crate::os::signals::{Signals, Teller};
use crate::remote::bridge::{self, BridgeError, BridgePlan, BridgeStop, LookUp};
use crate::spool::{Spool, SpoolLock};
use serde_json::json;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The first lease. A worker that a service manager starts again finds its leases still open.
const LEASE: Duration = Duration::from_secs(120);

/// No message is leased for longer (SQS API reference, ChangeMessageVisibility).
const LONGEST_LEASE: u32 = 43_200;

/// A failed job whose queue gives it more receives comes again after so many seconds.
const RETRY: u32 = 30;

/// The text is that of qdone.
const SHUTDOWN: &str =
    "Shutdown requested. Will stop when current job is done or a second signal is recieved.";

/// The time from TERM to KILL.
const GRACE: Duration = Duration::from_secs(1);

pub fn worker(
    common: &Common,
    args: &WorkerArgs,
    spool: &Path,
    say: Say,
) -> Result<(), QdoneError> {
    check(args)?;
    logging::start_logging("warn", None);
    let signals = Signals::install().map_err(|e| other(format!("signals: {e}")))?;
    let told = Arc::new(AtomicBool::new(false));
    let progress = match args.archive {
        true => archive_queues(common, args, signals, &told, say)?,
        false => run_jobs(common, args, spool, signals, &told, say)?,
    };
    match told.load(Ordering::SeqCst) {
        true => say.step("Shutting down as requested."),
        false => progress.tell_drained(),
    }
    Ok(())
}

fn check(args: &WorkerArgs) -> Result<(), QdoneError> {
    let what = if args.queues.is_empty() {
        "worker requires one or more <queue> arguments".to_owned()
    } else if args.drain && args.wait_time == 0 {
        "cannot use --drain with --wait-time 0 (SQS limitation)".to_owned()
    } else if !(1..=LONGEST_LEASE).contains(&args.kill_after) {
        format!("--kill-after is from 1 to {LONGEST_LEASE} seconds (SQS limitation)")
    } else {
        return Ok(());
    };
    Err(QdoneError::Usage(what))
}

fn archive_queues(
    common: &Common,
    args: &WorkerArgs,
    signals: Signals,
    told: &Arc<AtomicBool>,
    say: Say,
) -> Result<Arc<WorkProgress>, QdoneError> {
    let progress = Arc::new(WorkProgress::new(None, say));
    let listener = QueueListener::new(common, args, &progress, told, say)?;
    let stop = Arc::clone(told);
    let first = move || stop.store(true, Ordering::SeqCst);
    act_on(signals, say, first, || exit(FAILURE.into()))?;
    archive::archive(&listener, args, &progress, told)?;
    Ok(progress)
}

fn run_jobs(
    common: &Common,
    args: &WorkerArgs,
    spool: &Path,
    signals: Signals,
    told: &Arc<AtomicBool>,
    say: Say,
) -> Result<Arc<WorkProgress>, QdoneError> {
    let sqs = common.client()?;
    let keys = sqs.access().keys()?;
    let identity = Identity {
        endpoint: sqs.endpoint(),
        access_key_id: keys.token.is_none().then_some(&keys.access_key_id),
        prefix: &common.prefix,
        queues: &args.queues,
    };
    let (spool, lock) = own::choose(spool, &identity)?;
    let path = spool.path().to_owned();
    let progress = Arc::new(WorkProgress::new(Some(spool), say));
    let listener = QueueListener::new(common, args, &progress, told, say)?;
    let stop = BridgeStop::new().map_err(other)?;
    let (halt, stopped) = (stop.clone(), Arc::clone(told));
    let first = move || {
        stopped.store(true, Ordering::SeqCst);
        halt.stop();
    };
    // The umask is asked for before there are other threads.
    let plan = plan(args)?;
    let pull = || pull(plan, &identity, &listener, &progress, &path, &stop);
    match lock {
        None => {
            let jobs = Arc::clone(&progress);
            act_on(signals, say, first, move || {
                jobs.cancel_open();
                exit(FAILURE.into());
            })?;
            pull()?;
        }
        Some(lock) => serve_own(&path, lock, args.slots, signals, say, first, pull)?,
    }
    Ok(progress)
}

/// Serves the worker's own spool while another thread pulls. A second signal ends the daemon at once, and so the worker.
fn serve_own(
    path: &Path,
    lock: SpoolLock,
    slots: u16,
    signals: Signals,
    say: Say,
    first: impl Fn() + Send + 'static,
    pull: impl FnOnce() -> Result<(), QdoneError> + Send,
) -> Result<(), QdoneError> {
    let (orders, teller) = Signals::told_by_us().map_err(other)?;
    let teller = Arc::new(teller);
    let is_ending = Arc::new(AtomicBool::new(false));
    let (end, ending) = (Arc::clone(&teller), Arc::clone(&is_ending));
    act_on(signals, say, first, move || {
        ending.store(true, Ordering::SeqCst);
        tell(&end, 2);
    })?;
    let options = Options {
        spool: path.to_owned(),
        slots: Some(slots.into()),
        ..Options::default()
    };
    thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            let pulled = pull();
            tell(&teller, 1);
            pulled
        });
        let given = Given {
            lock,
            signals: Some(orders),
            notifier: Notifier::from_env(),
        };
        // Orphans of jobs are children of the first thread of a process: the daemon has to be that.
        let served = daemon::serve(options, given, None);
        if let Err(e) = &served {
            say.error(&format!("{}: {e}", path.display()));
        }
        if served.is_err() || is_ending.load(Ordering::SeqCst) {
            // The leases stay for the next worker. A poll may be under way, which is not waited for.
            exit(FAILURE.into());
        }
        let lost = || Err(other("the bridge has ended without a word"));
        pulling.join().unwrap_or_else(|_| lost())
    })
}

/// Pulls jobs until told to stop, or until the queues are drained. Workers of one identity that share a spool have
/// numbers; each takes the first that is free, and so the leases of one that crashed.
fn pull(
    mut plan: BridgePlan,
    identity: &Identity<'_>,
    listener: &QueueListener<'_>,
    progress: &WorkProgress,
    path: &Path,
    stop: &BridgeStop,
) -> Result<(), QdoneError> {
    let spool = Spool::open(path, true).map_err(other)?;
    for n in 1u32.. {
        let name = format!("qdone-{}-{n}", identity.name());
        plan.name = QueueName::new(&name).map_err(other)?;
        match bridge::run(&plan, listener, &spool, stop, progress) {
            Err(BridgeError::Busy(_)) => {}
            pulled => return pulled.map_err(other),
        }
    }
    Err(other("too many workers"))
}

fn plan(args: &WorkerArgs) -> Result<BridgePlan, QdoneError> {
    let env = inputs::environment(&[], false)?;
    let umask = format!("{:04o}", limits::current_umask());
    let fields = [
        ("nice", json!(10)),
        ("tries", json!(1)),
        ("split", json!(true)),
        ("timeout", json!(args.kill_after)),
        ("grace", json!(GRACE.as_secs())),
        ("backoff", json!({"first": RETRY, "max": RETRY})),
        ("cwd", json!(inputs::directory(None)?)),
        ("umask", json!(umask)),
        ("env", json!(env)),
    ];
    let fields = fields.map(|(key, value)| (key.to_owned(), value.to_string()));
    let slots = usize::from(args.slots);
    let config = RemoteConfig {
        format: BodyFormat::Command,
        slots: Some(slots),
        wait: Duration::from_secs(args.wait_time.into()),
        pollers: 1,
        lease: LEASE,
        lease_max: args.lease_max.max(LEASE),
        job: JobFields(fields.into()),
        ..RemoteConfig::default()
    };
    Ok(BridgePlan {
        name: QueueName::default(),
        config,
        slots,
        drain: args.drain,
        look_up: LookUp::EachRound,
        needs: Some(Duration::from_secs(args.kill_after.into()) + GRACE),
    })
}

/// Tells the daemon of this process to end, `times` times.
fn tell(teller: &Teller, times: u32) {
    for _ in 0..times {
        if let Err(e) = teller.stop() {
            log::error!("the daemon could not be told to stop: {e}");
        }
    }
}

/// Does `first` at the first signal to stop, and `second` at the second.
fn act_on(
    mut signals: Signals,
    say: Say,
    first: impl Fn() + Send + 'static,
    second: impl Fn() + Send + 'static,
) -> Result<(), QdoneError> {
    let poller = Poller::new().map_err(other)?;
    poller.add(&signals, 0).map_err(other)?;
    let mut stops = 0;
    let watch = move || {
        while poller.wait(None).is_ok() {
            for _ in signals.read().into_iter().filter(|told| told.is_end()) {
                stops += 1;
                match stops {
                    1 => {
                        say.step(SHUTDOWN);
                        first();
                    }
                    2 => second(),
                    _ => {}
                }
            }
        }
    };
    let spawned = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch);
    spawned.map(drop).map_err(other)
}
