//! The live config: read at start, and again whenever the file changes or SIGHUP says so.

use super::engine::Engine;
use super::{Options, ServeError};
use crate::core::config::Config;
use crate::core::pauses::Pauses;
use crate::core::scheduler::{Event, Policy};
use crate::os::user;
use crate::spool::Place;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// Reads and checks the config. A missing file is an empty one, unless it was named on the command line.
pub fn read(options: &Options) -> Result<Config, ServeError> {
    let path = options.config_path();
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let config = user::read_config(&text).map(|config| options.in_force(config));
            config.map_err(|e| ServeError::Config(format!("{}: {e}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && options.config.is_none() => {
            Ok(options.in_force(Config::default()))
        }
        Err(e) => Err(ServeError::Config(format!("{}: {e}", path.display()))),
    }
}

impl Options {
    /// Where the config is.
    pub fn config_path(&self) -> PathBuf {
        let ours = || self.spool.join("config.json");
        self.config.clone().unwrap_or_else(ours)
    }

    /// The settings that hold: those of the config, with what this start adds to them.
    pub fn in_force(&self, mut config: Config) -> Config {
        if let Some((queue, slots)) = &self.queue_slots {
            let of_queue = config.queues.entry(queue.clone()).or_default();
            of_queue.slots.get_or_insert(*slots);
        }
        config
    }

    /// Jobs at a time under these settings. The default leaves room for a queue that was given slots at the start.
    pub fn slots(&self, config: &Config) -> usize {
        let told = self.slots.or(config.slots);
        told.unwrap_or_else(|| {
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            cpus.max(self.given_slots(config).unwrap_or(0))
        })
    }

    fn given_slots(&self, config: &Config) -> Option<usize> {
        let (queue, _) = self.queue_slots.as_ref()?;
        config.queues.get(queue)?.slots
    }
}

/// The part of the settings that the scheduler needs.
pub fn policy(options: &Options, config: &Arc<Config>, pauses: &Pauses) -> Policy {
    let slots = options.slots(config);
    if let (Some((queue, _)), Some(wanted)) = (&options.queue_slots, options.given_slots(config))
        && wanted > slots
    {
        log::warn!(
            "the queue {queue} has {wanted} slots, and all queues together have {slots}: at most {slots} of its jobs run at a time"
        );
    }
    Policy {
        slots,
        config: Arc::clone(config),
        pauses: pauses.clone(),
        only: options.only.clone(),
    }
}

impl Engine {
    /// Takes in the config file as it is now; one that is not valid changes nothing.
    pub(super) fn reload(&mut self) {
        match read(&self.options) {
            Ok(config) => {
                let config = Arc::new(config);
                let mut current = self
                    .shared
                    .config
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                if **current == *config {
                    return;
                }
                *current = Arc::clone(&config);
                drop(current);
                self.look_at_space_now();
                self.configure();
                self.plan_retention();
                log::info!("config: read {}", self.options.config_path().display());
            }
            Err(e) => log::error!("config: not used: {e}; the settings stay as they were"),
        }
    }

    /// Tells the scheduler of the settings and the pauses as they are now.
    fn configure(&mut self) {
        let policy = policy(&self.options, &self.shared.config(), &self.pauses);
        self.feed(Event::Configured(Box::new(policy)));
    }

    /// Takes in whether `pending/` or a queue has the file of a pause now.
    pub(super) fn look_at_pause(&mut self, place: &Place) {
        let is_paused = match self.shared.spool.has_pause(place) {
            Ok(is_paused) => is_paused,
            Err(e) => {
                log::error!("{}: {e}", self.shared.spool.path_of(place).display());
                return self.rescan_soon();
            }
        };
        let pauses = &mut self.pauses;
        let changed = match (place, is_paused) {
            (Place::Queue(queue), true) => pauses.queues.insert(queue.clone()),
            (Place::Queue(queue), false) => pauses.queues.remove(queue),
            (_, _) => std::mem::replace(&mut pauses.all, is_paused) != is_paused,
        };
        if changed {
            let word = if is_paused { "paused" } else { "resumed" };
            log::info!("{}: {word}", self.shared.spool.path_of(place).display());
            self.configure();
        }
    }
}
