//! The live config: read at start, and again whenever the file changes or SIGHUP says so.

use super::engine::Engine;
use super::{Options, ServeError};
use crate::core::config::Config;
use crate::core::scheduler::Policy;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// Where the config is.
pub fn path(options: &Options) -> PathBuf {
    options
        .config
        .clone()
        .unwrap_or_else(|| options.spool.join("config.json"))
}

/// Reads and checks the config. A missing file is an empty one, unless it was named on the command line.
pub fn read(options: &Options) -> Result<Config, ServeError> {
    let path = path(options);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            Config::parse(&text).map_err(|e| ServeError::Config(format!("{}: {e}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && options.config.is_none() => {
            Ok(Config::default())
        }
        Err(e) => Err(ServeError::Config(format!("{}: {e}", path.display()))),
    }
}

/// What the scheduler needs to know of a config.
pub fn policy(options: &Options, config: &Arc<Config>) -> Policy {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    let slots = options.slots.or(config.slots).unwrap_or_else(cpus);
    Policy {
        slots,
        config: Arc::clone(config),
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
                let policy = policy(&self.options, &config);
                self.look_at_space_now();
                self.feed(crate::core::scheduler::Event::Configured(Box::new(policy)));
                self.plan_retention();
                log::info!("config: read {}", path(&self.options).display());
            }
            Err(e) => log::error!("config: not used: {e}; the settings stay as they were"),
        }
    }
}
