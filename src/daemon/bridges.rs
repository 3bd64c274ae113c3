//! The bridges that the settings have the daemon start: each is a `pirn pull NAME`. It is started again when it ends, and
//! with other settings. It dies with the daemon: the kernel tells it when the watcher, which started it, is gone.

use super::Options;
use super::proof::program;
use crate::core::config::Config;
use crate::core::config::remote::RemoteConfig;
use crate::core::id::QueueName;
use crate::core::process::Stop;
use crate::core::time::Boot;
use crate::os::{clock, signals, wait};
use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The wait before a start after the first end, doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A bridge to be run.
#[derive(Debug)]
struct WantedBridge {
    settings: RemoteConfig,
    process: Option<BridgeProcess>,
    start_at: Boot,
    /// Ends in a row that came soon.
    failures: u32,
    /// The settings name it no more: it is forgotten when it has ended.
    is_dropped: bool,
}

#[derive(Debug)]
struct BridgeProcess {
    pid: i32,
    /// The settings that it was started with.
    settings: RemoteConfig,
    began: Boot,
    told: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Bridges {
    config: Option<Arc<Config>>,
    all: BTreeMap<QueueName, WantedBridge>,
    stopping: bool,
}

impl Bridges {
    /// Starts those that are due, and tells those to end whose settings have changed.
    pub fn turn(&mut self, options: &Options, config: &Arc<Config>) {
        if options.single.is_some() || options.drain.is_some() || self.stopping {
            return;
        }
        if !self
            .config
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, config))
        {
            self.config = Some(Arc::clone(config));
            self.set(options, config);
        }
        let now = clock::now().boot;
        for (name, bridge) in &mut self.all {
            if bridge.process.is_none() && !bridge.is_dropped && bridge.start_at <= now {
                bridge.start(options, name, now);
            }
        }
    }

    fn set(&mut self, options: &Options, config: &Config) {
        let wanted = config.remote.iter().filter(|(_, own)| own.start);
        let wanted: BTreeMap<_, _> = wanted.collect();
        if options.no_sync && !wanted.is_empty() {
            log::warn!("remote: no bridge is started under --no-sync");
            return;
        }
        for (name, bridge) in &mut self.all {
            let own = wanted.get(name);
            bridge.is_dropped = own.is_none();
            if let Some(process) = &mut bridge.process {
                match own {
                    Some(own) if **own == process.settings && !process.told => {}
                    Some(own) if own.can_take_leases_of(&process.settings) => process.tell_leave(),
                    Some(_) | None => process.tell_stop(),
                }
            }
        }
        self.all
            .retain(|_, bridge| bridge.process.is_some() || !bridge.is_dropped);
        for (name, settings) in wanted {
            let bridge = self
                .all
                .entry(name.clone())
                .or_insert_with(|| WantedBridge {
                    settings: settings.clone(),
                    process: None,
                    start_at: Boot(0),
                    failures: 0,
                    is_dropped: false,
                });
            bridge.settings = settings.clone();
        }
    }

    /// Takes in that a child has ended. False if it was no bridge.
    pub fn ended(&mut self, pid: i32) -> bool {
        let is_it = |bridge: &WantedBridge| bridge.process.as_ref().is_some_and(|p| p.pid == pid);
        let Some((name, bridge)) = self.all.iter_mut().find(|(_, bridge)| is_it(bridge)) else {
            return false;
        };
        let now = clock::now().boot;
        if let Some(process) = bridge.process.take() {
            let was_short = now.since(process.began) < LONGEST_WAIT && !process.told;
            bridge.failures = if was_short { bridge.failures + 1 } else { 0 };
            let wait = match bridge.failures {
                0 => Duration::ZERO,
                n => (FIRST_WAIT * 2u32.saturating_pow(n - 1)).min(LONGEST_WAIT),
            };
            bridge.start_at = now.after(wait);
            if !process.told && !self.stopping {
                log::warn!(
                    "remote: pull {name} has ended; it is started again in {}s",
                    wait.as_secs()
                );
            }
        }
        self.all
            .retain(|_, bridge| bridge.process.is_some() || !bridge.is_dropped);
        true
    }

    /// How long until one is to be started.
    pub fn due(&self) -> Option<Duration> {
        let waits = |bridge: &&WantedBridge| bridge.process.is_none() && !bridge.is_dropped;
        let times = self
            .all
            .values()
            .filter(waits)
            .map(|bridge| bridge.start_at);
        let first = times.min().filter(|_| !self.stopping)?;
        Some(first.since(clock::now().boot))
    }

    /// Has all of them take no more messages. They end with their last job, or with the daemon.
    pub fn stop(&mut self) {
        self.stopping = true;
        for bridge in self.all.values_mut() {
            if let Some(process) = &mut bridge.process {
                process.tell_stop();
            }
        }
    }

    /// Ends all of them at once: the next image of the daemon starts them again, and they take up their leases.
    pub fn end(&mut self) {
        for bridge in self.all.values_mut() {
            if let Some(process) = bridge.process.take() {
                signals::signal_one(process.pid, Stop::Kill);
                let _ = wait::end_of(process.pid);
                wait::reap(process.pid);
                bridge.start_at = Boot(0);
            }
        }
    }
}

impl WantedBridge {
    fn start(&mut self, options: &Options, name: &QueueName, now: Boot) {
        match spawn(options, name) {
            Ok(pid) => {
                log::info!("remote: pull {name} is process {pid}");
                let told = false;
                self.process = Some(BridgeProcess {
                    pid,
                    settings: self.settings.clone(),
                    began: now,
                    told,
                });
            }
            Err(e) => {
                log::error!("remote: pull {name} could not be started: {e}");
                self.start_at = now.after(LONGEST_WAIT);
            }
        }
    }
}

impl BridgeProcess {
    /// It ends with its last job.
    fn tell_stop(&mut self) {
        // Told twice, it would end at once.
        if !std::mem::replace(&mut self.told, true) {
            signals::signal_one(self.pid, Stop::Term);
        }
    }

    /// It ends when the requests under way are answered, and the next process takes up its leases.
    fn tell_leave(&mut self) {
        self.told = true;
        signals::hang_up(self.pid);
    }
}

fn spawn(options: &Options, name: &QueueName) -> io::Result<i32> {
    let child = Command::new(program())
        .arg("-S")
        .arg(&options.spool)
        .args(["pull", "--watched", &std::process::id().to_string()])
        .args(["--", name.as_str()])
        .stdin(Stdio::null())
        .spawn()?;
    // It is reaped with the other children of the watcher.
    i32::try_from(child.id()).map_err(io::Error::other)
}
