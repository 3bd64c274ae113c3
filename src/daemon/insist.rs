//! Errors that are only told, and work that is repeated until it succeeds.

use super::state::{Daemon, Machine};
use crate::core::id::JobId;
use crate::core::units::brief_span;
use crate::os::spawn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Logs an error that changes nothing.
pub fn report(id: &JobId, outcome: io::Result<()>) {
    if let Err(e) = outcome {
        log::error!("{id}: {e}");
    }
}

/// Does `work` until it succeeds: what a job did must be recorded. A full disk is helped by the reserve, and does
/// not stay full; a disk that has failed to sync twice (the spool tries a new name first) is trouble for all.
pub fn insist<T, M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    what: &str,
    mut work: impl FnMut() -> io::Result<T>,
) -> T {
    let mut wait = Duration::from_millis(100);
    loop {
        let e = match work() {
            Ok(done) => return done,
            Err(e) => e,
        };
        match e.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) if daemon.room.reserve.release(&daemon.spool) => {
                log::warn!("{id}: {what}: {e}; using the room that was kept for that");
                continue;
            }
            Some(libc::EIO) => daemon.fall_into_trouble(&format!("{what} failed: {e}")),
            Some(_) | None => {}
        }
        log::error!(
            "{id}: {what} failed: {e}; trying again in {}",
            brief_span(wait)
        );
        daemon.machine.wait(wait);
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Repeats what fails for want of descriptors or memory: what a job wrote is not given up for that.
pub fn while_short<T, M: Machine>(
    daemon: &Arc<Daemon<M>>,
    id: &JobId,
    mut work: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    insist(daemon, id, "reading what it wrote", || match work() {
        Err(e) if spawn::is_shortage(&e) => Err(e),
        other => Ok(other),
    })
}
