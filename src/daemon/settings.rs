//! The live config: read at start, and again whenever the file changes or SIGHUP says so.

use super::state::Machine;
use super::watcher::Scanner;
use super::{Options, ServeError, confine, doing, not_served};
use crate::core::config::Config;
use crate::core::config::pauses::Pauses;
use crate::core::scheduler::{Event, Policy};
use crate::os::written::{self, Written};
use crate::os::{limits, thread};
use crate::spool::{self, Place, Spool, SpoolLock};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Reads and checks the config; waits for who is just writing it.
pub fn read(options: &Options) -> Result<Config, ServeError> {
    let path = options.config_path();
    match written::read_finished(&path, |text| options.read_config(text)) {
        Ok(config) => config.map_err(|e| ServeError::Config(format!("{}: {e}", path.display()))),
        Err(e) => options.without_file(e),
    }
}

/// Makes the spool if it is missing, and takes its lock for a daemon that begins, unless others can put files into it,
/// which would run as this user. A daemon that becomes a new image has the lock, and goes on with the modes that there
/// are. `waits` is told if a `pirn run` has to end first.
pub fn take_spool(options: &Options, waits: impl FnOnce()) -> Result<SpoolLock, ServeError> {
    let umask = limits::readable_by_us();
    let spool = Spool::create(&options.spool, !options.no_sync);
    let lock = spool
        .map_err(not_served(&options.spool))
        .and_then(|spool| options.take_lock(&spool, waits));
    limits::set_umask(umask);
    lock
}

impl Options {
    /// Where the config is.
    pub fn config_path(&self) -> PathBuf {
        let ours = || self.spool.join("config.json");
        self.config.clone().unwrap_or_else(ours)
    }

    fn read_config(&self, text: &str) -> Result<Config, String> {
        spool::read_config(text).map(|config| self.in_force(config))
    }

    /// The settings where the file cannot be read. A missing file is an empty one, unless it was named on the command
    /// line.
    fn without_file(&self, e: io::Error) -> Result<Config, ServeError> {
        match e.kind() {
            io::ErrorKind::NotFound if self.config.is_none() => {
                Ok(self.in_force(Config::default()))
            }
            _ => {
                let path = self.config_path();
                Err(ServeError::Config(format!("{}: {e}", path.display())))
            }
        }
    }

    fn take_lock(&self, spool: &Spool, waits: impl FnOnce()) -> Result<SpoolLock, ServeError> {
        let lock = SpoolLock::take(&self.spool, waits)?;
        self.refuse_strangers(spool).map(|()| lock)
    }

    /// Refuses a spool into which others can put files.
    pub(super) fn refuse_strangers(&self, spool: &Spool) -> Result<(), ServeError> {
        let strangers = match self.lax_modes {
            true => None,
            false => spool
                .open_to_strangers()
                .or_else(doing(self.spool.display()))?,
        };
        strangers.map_or(Ok(()), |why| Err(ServeError::Config(why)))
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
        let given = self.given_slots(config).unwrap_or(0);
        config.slots_in_all(self.slots, thread::cpus().max(given))
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

/// An event says that a file was closed a moment before the kernel counts it as closed.
const IS_CLOSED_AFTER: Duration = Duration::from_millis(100);

impl<M: Machine> Scanner<M> {
    /// The config file in the spool has changed, or may have. While somebody writes it, it is left alone: the event
    /// that it was closed is still to come, or has come too early.
    pub(super) fn config_changed(&mut self) {
        self.daemon.agenda.forget(&Place::Root);
        if !self.reload() {
            let at = self.daemon.now().boot.after(IS_CLOSED_AFTER);
            self.daemon
                .agenda
                .judge_later(at, &Place::Root, b"config.json");
        }
    }

    /// Takes in the config file as it is now; one that is not valid changes nothing. False if somebody is just writing
    /// it.
    pub(super) fn reload(&mut self) -> bool {
        let path = self.daemon.options.config_path();
        let read = match written::read(&path, |text| self.daemon.options.read_config(text)) {
            Ok(Written::Valid(config)) => Ok(config),
            Ok(Written::Invalid(why)) => {
                Err(ServeError::Config(format!("{}: {why}", path.display())))
            }
            Ok(Written::Unfinished(_)) => return false,
            Err(e) => self.daemon.options.without_file(e),
        };
        match read {
            Ok(config) => match confine::check(&config, &self.daemon.home) {
                Ok(()) => self.put_in_force(config),
                Err(why) => {
                    let path = path.display();
                    log::error!("config: not used: {path}: {why}; the settings stay as they were");
                }
            },
            Err(e) => log::error!("config: not used: {e}; the settings stay as they were"),
        }
        true
    }

    fn put_in_force(&mut self, config: Config) {
        if !self.daemon.replace_config(Arc::new(config)) {
            return;
        }
        self.daemon.look_at_room_now();
        self.configure();
        if self.daemon.options.single.is_none() {
            self.daemon.agenda.retain_now(self.daemon.now().boot);
        }
        log::info!(
            "config: read {}",
            self.daemon.options.config_path().display()
        );
    }

    /// Tells the scheduler of the settings and the pauses as they are now.
    fn configure(&mut self) {
        let daemon = &self.daemon;
        let config = daemon.config();
        daemon.spool.use_settings(&config);
        let policy = policy(&daemon.options, &config, &self.pauses);
        daemon.step(Event::Configured(Box::new(policy)));
    }

    /// Takes in whether `pending/` or a queue has the file of a pause now.
    pub(super) fn look_at_pause(&mut self, place: &Place) {
        let is_paused = match self.daemon.spool.has_pause(place) {
            Ok(is_paused) => is_paused,
            Err(e) => {
                log::error!("{}: {e}", self.daemon.spool.path_of(place).display());
                return self.daemon.agenda.rescan_soon(self.daemon.now().boot);
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
            log::info!("{}: {word}", self.daemon.spool.path_of(place).display());
            self.configure();
        }
    }
}
