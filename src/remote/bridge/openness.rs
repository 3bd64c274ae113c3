//! Whether the spool would take a job now. No message is asked for while it would not.

use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::os::written;
use crate::spool::{self, Holder, Role, Spool, SpoolLock};
use std::io;

/// How many jobs the spool would take, and its settings. Errors say why it takes none.
pub(super) fn openness(spool: &Spool, queue: &QueueName) -> Result<(usize, Config), String> {
    let holder = SpoolLock::holder(spool.path()).map_err(|e| e.to_string())?;
    let holder = holder
        .filter(|holder| holder.role == Role::Serve)
        .ok_or("no daemon serves the spool")?;
    if !holder.syncs {
        return Err("the daemon serves with --no-sync: a message must not be acknowledged before its record is durable".to_owned());
    }
    let config = settings(spool, &holder)?;
    let pauses = spool.pauses().map_err(|e| e.to_string())?;
    if config.is_paused(queue, &pauses) {
        return Err(format!("the queue {queue} is paused"));
    }
    spool.admit(&config).map_err(|e| e.to_string())?;
    let room = spool.room(&config).map_err(|e| e.to_string())?;
    Ok((usize::try_from(room).unwrap_or(usize::MAX), config))
}

/// The settings that hold for the daemon.
fn settings(spool: &Spool, holder: &Holder) -> Result<Config, String> {
    let own = || spool.path().join("config.json");
    let file = holder.config.clone().unwrap_or_else(own);
    match written::read_finished(&file, spool::read_config) {
        Ok(config) => config,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(format!("{}: {e}", file.display())),
    }
}
