//! `pirn pull`.

use super::existing;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, IO_ERROR, NOT_NOW, OK, USAGE};
use super::logging;
use super::settings;
use super::{lease_rows, output};
use crate::core::config::Config;
use crate::core::config::remote::RemoteConfig;
use crate::core::config::remote_url::RemoteUrl;
use crate::core::hex::hex;
use crate::core::id::QueueName;
use crate::core::json::nearest;
use crate::os::poll::{Poller, Waker};
use crate::os::signals::{Signals, Told, hang_up_with};
use crate::remote::bridge::{self, BridgeError, BridgeObserver, BridgePlan, BridgeStop, LookUp};
use crate::remote::engine::{Engine, Trouble};
use crate::remote::open;
use crate::spool::Spool;
use sha2::{Digest, Sha256};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Bridges that the settings name under `remote`, or URLs of queues
    #[arg(value_name = "NAME|URL")]
    targets: Vec<String>,
    /// The most jobs that are held and have not ended
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Jobs that are held beyond that
    #[arg(long, value_name = "N")]
    prefetch: Option<usize>,
    /// Exit when all queues are empty and all jobs have ended
    #[arg(long)]
    drain: bool,
    /// Print the open leases and exit
    ///
    /// A line has the id of the job, the bridge, the queue, the age, the time that the lease has left, and the state.
    /// It needs no network. Without a name: those of all bridges.
    #[arg(long)]
    status: bool,
    /// End when this parent does: a daemon starts a bridge so
    #[arg(long, value_name = "PID", hide = true)]
    watched: Option<u32>,
}

/// A bridge that is ready to run.
struct ReadyBridge {
    plan: BridgePlan,
    engine: Box<dyn Engine>,
    stop: BridgeStop,
}

struct Silent;

impl BridgeObserver for Silent {}

pub fn pull(path: &Path, args: PullArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    if args.status {
        let wanted = args.targets.iter().map(|target| name_of(target));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        output::bytes(lease_rows::text(&spool, &wanted)?.as_bytes())?;
        return Ok(OK);
    }
    if args.targets.is_empty() {
        return Err(Failure::new(
            USAGE,
            "name a bridge of the settings, or the URL of a queue: sqs:QUEUE, redis://HOST#QUEUE",
        ));
    }
    logging::start_logging("info", Some(path));
    let config = settings::read(path).map_err(|e| Failure::new(BAD_CONFIG, e))?;
    let mut bridges = Vec::new();
    for target in &args.targets {
        bridges.push(ready(&spool, &config, target, &args)?);
    }
    let signals = Signals::install()?;
    let is_watched = args.watched.is_some();
    if let Some(parent) = args.watched
        && !hang_up_with(parent)?
    {
        return Ok(OK);
    }
    run_all(&spool, &bridges, signals, is_watched)
}

fn ready(
    spool: &Spool,
    config: &Config,
    target: &str,
    args: &PullArgs,
) -> Result<ReadyBridge, Failure> {
    let name = name_of(target)?;
    let mut own = match is_url(target) {
        true => RemoteConfig::of_url(parse_url(target)?),
        false => named(config, &name)?,
    };
    if let Some(prefetch) = args.prefetch {
        own.prefetch = prefetch;
    }
    let shown = shown(target, &own);
    let wrong = |what: String| Failure::new(BAD_CONFIG, format!("{shown}: {what}"));
    let slots = args.slots.or(own.slots).or(config.slots_of(&own.queue));
    // The path is part of our name to the server: no two spools may have the same one.
    let dir = std::path::absolute(spool.path())?
        .join("remote")
        .join(name.as_str());
    Ok(ReadyBridge {
        engine: open::open(&own, &dir).map_err(wrong)?,
        stop: BridgeStop::new()?,
        plan: BridgePlan {
            name,
            slots: slots.unwrap_or(1).max(1),
            config: own,
            drain: args.drain,
            look_up: LookUp::Sometimes,
            needs: None,
        },
    })
}

/// True for a URL, false for a name in the settings.
pub fn is_url(target: &str) -> bool {
    target.contains(':')
}

/// The target for people: of a URL without the password.
pub fn shown(target: &str, config: &RemoteConfig) -> String {
    match config.urls.first() {
        Some(url) if is_url(target) => url.to_string(),
        Some(_) | None => target.to_owned(),
    }
}

/// Reads a URL. The error does not repeat it: it may hold a password.
pub fn parse_url(target: &str) -> Result<RemoteUrl, Failure> {
    RemoteUrl::parse(target).map_err(|e| Failure::new(BAD_CONFIG, e))
}

/// The settings of this name.
pub fn named(config: &Config, name: &QueueName) -> Result<RemoteConfig, Failure> {
    if let Some(own) = config.remote.get(name) {
        return Ok(own.clone());
    }
    let known: Vec<&str> = config.remote.keys().map(QueueName::as_str).collect();
    let hint = match nearest(name.as_str(), &known) {
        Some(right) => format!("did you mean {right}?"),
        None => format!("set remote.{name}.url in config.json, or give a URL"),
    };
    let what = format!("the settings name no bridge {name}; {hint}");
    Err(Failure::new(BAD_CONFIG, what))
}

/// The name of the bridge: that of the settings, or one made of a URL, always the same for the same queue.
fn name_of(target: &str) -> Result<QueueName, Failure> {
    let text = match is_url(target) {
        true => {
            let url = parse_url(target)?;
            let plain = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
                true => c,
                false => '_',
            };
            let queue: String = url.queue().chars().take(40).map(plain).collect();
            let place = match &url {
                RemoteUrl::Sqs(sqs) => format!("{url} {:?} {:?}", sqs.region, sqs.endpoint),
                RemoteUrl::Redis(_) => url.to_string(),
            };
            let digest = hex(&Sha256::digest(place.as_bytes()));
            format!("{}.{}", queue.trim_start_matches(['.', '-']), &digest[..8])
        }
        false => target.to_owned(),
    };
    QueueName::new(&text).map_err(|e| Failure::new(BAD_CONFIG, format!("{text}: the name {e}")))
}

/// Runs the bridges, each on a thread, until all have ended. If one fails, all stop.
fn run_all(
    spool: &Spool,
    bridges: &[ReadyBridge],
    mut signals: Signals,
    is_watched: bool,
) -> CommandResult {
    const SIGNALS: u64 = 0;
    const ENDED: u64 = 1;
    let ended = Waker::new()?;
    let poller = Poller::new()?;
    poller.add(&signals, SIGNALS)?;
    poller.add(&ended, ENDED)?;
    let mut stops = 0;
    let (sender, ends) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for one in bridges {
            let (ended, sender) = (&ended, sender.clone());
            let run = move || {
                let done = bridge::run(&one.plan, &*one.engine, spool, &one.stop, &Silent);
                let _ = sender.send(done);
                ended.wake();
            };
            let builder = std::thread::Builder::new().name("remote".to_owned());
            builder
                .spawn_scoped(scope, run)
                .inspect_err(|_| stop_all(bridges))?;
        }
        let (mut left, mut failure) = (bridges.len(), None);
        while left > 0 {
            for number in poller.wait(None)? {
                if number == ENDED {
                    ended.clear();
                }
            }
            stops += pass_on(&signals.read(), bridges, is_watched);
            if stops > 1 {
                log::info!(
                    "told again to stop: the jobs go on, and the next pull takes up the leases"
                );
                std::process::exit(i32::from(OK));
            }
            for end in ends.try_iter() {
                left -= 1;
                if let Err(e) = end {
                    stop_all(bridges);
                    failure.get_or_insert(failed(e));
                }
            }
        }
        failure.map_or(Ok(OK), Err)
    })
}

fn leave_all(bridges: &[ReadyBridge]) {
    bridges.iter().for_each(|one| one.stop.leave());
}

/// Tells the bridges what the signals ask for. Gives how many of them say to stop.
fn pass_on(signals: &[Told], bridges: &[ReadyBridge], is_watched: bool) -> usize {
    let mut stops = 0;
    for signal in signals {
        match signal {
            Told::Stop | Told::Drain => {
                stops += 1;
                stop_all(bridges);
            }
            // The daemon is gone, or starts another process with new settings: that one takes up the leases.
            Told::Reload if is_watched => leave_all(bridges),
            Told::Leave => leave_all(bridges),
            Told::Reload | Told::Upgrade => {}
        }
    }
    stops
}

fn stop_all(bridges: &[ReadyBridge]) {
    bridges.iter().for_each(|one| one.stop.stop());
}

fn failed(e: BridgeError) -> Failure {
    let code = match &e {
        BridgeError::Engine(Trouble::Unreachable(_)) | BridgeError::Busy(_) => NOT_NOW,
        BridgeError::Engine(Trouble::NoQueue(_) | Trouble::Refused(_)) => BAD_CONFIG,
        BridgeError::Settings(_) => BAD_CONFIG,
        BridgeError::Spool(e) => match Failure::from(std::io::Error::from(e.kind())).code {
            FAILURE => IO_ERROR,
            code => code,
        },
    };
    Failure::new(code, e.to_string())
}
