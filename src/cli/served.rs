//! Messages on stderr about what a job waits for, and that no daemon is there to start it. Without them, `add` to a
//! spool without a daemon looks like any other, and `wait` seems to hang.

use super::exit::{Failure, NOT_NOW};
use super::output::tame;
use super::settings;
use super::when;
use crate::core::id::JobId;
use crate::core::waiting::{WaitReason, WaitWord};
use crate::os::clock;
use crate::spool::{Found, Role, Spool, SpoolLock, Waits, Where};
use std::io;

/// The most jobs that are named; further ones are counted.
const NAMED: usize = 3;

/// True if a daemon serves the spool. A `pirn run` that holds the lock runs its own job and no other.
pub fn is_served(spool: &Spool) -> io::Result<bool> {
    let holder = SpoolLock::holder(spool.path())?;
    Ok(holder.is_some_and(|holder| holder.role == Role::Serve))
}

/// Refuses to hold or pause under a daemon of an older version, which would not notice and start the jobs.
pub fn refuse_old_daemon(spool: &Spool) -> Result<(), Failure> {
    let holder = SpoolLock::holder(spool.path())?;
    let Some(holder) = holder.filter(|holder| holder.pid.is_some() && holder.version.is_none())
    else {
        return Ok(());
    };
    let what = format!(
        "the daemon ({holder}) is of a version that knows neither held/ nor .paused: restart it with this one, or \
         send it SIGUSR2"
    );
    Err(Failure::new(NOT_NOW, what))
}

/// Prints [`unserved`] if no daemon serves the spool.
pub fn tell_unserved(spool: &Spool) {
    if let Ok(false) = is_served(spool) {
        eprintln!("pirn: {}", unserved(spool));
    }
}

/// The message that no daemon serves the spool, and how to start one.
pub fn unserved(spool: &Spool) -> String {
    let path = spool.path().display();
    format!("no daemon serves {path} yet; pirn serve {path} starts what waits there")
}

/// Says which jobs the caller is about to wait for, why they wait, and whether a daemon serves the spool.
pub fn tell_waiting(spool: &Spool, ids: &[&JobId]) {
    let waits = settings::waits(spool).ok();
    let named = ids.iter().take(NAMED).map(|id| match spool.get(id) {
        Ok(Some(found)) => match whereabouts(waits.as_ref(), &found) {
            Some(text) => format!("{id} ({text})"),
            None => id.to_string(),
        },
        // The wait itself will report this.
        Ok(None) | Err(_) => id.to_string(),
    });
    let mut all = named.collect::<Vec<_>>().join(", ");
    if let Some(more) = ids.len().checked_sub(NAMED).filter(|more| *more > 0) {
        all.push_str(&format!(" and {more} more"));
    }
    eprintln!("pirn: waiting for {all}");
    tell_unserved(spool);
}

/// Says why a job that waits has not run yet.
pub fn tell_unstarted(spool: &Spool, found: &Found) {
    let waits = settings::waits(spool).ok();
    let reason = waits.and_then(|waits| reason(&waits, found));
    let text = reason.map_or_else(String::new, |reason| format!(": {}", reason.text));
    eprintln!(
        "pirn: job {} has not run yet{text}",
        tame(found.id.as_str())
    );
}

/// Why a job waits, if it does.
fn reason(waits: &Waits<'_>, found: &Found) -> Option<WaitReason> {
    let record = &found.record;
    let reason = waits.of(&found.id, &found.at, record)?;
    let WaitReason { why, text } = when::in_local_time(reason, record, clock::wall());
    let text = tame(&text);
    Some(WaitReason { why, text })
}

/// Why a job has not ended. That no daemon serves the spool is said once for all jobs.
fn whereabouts(waits: Option<&Waits<'_>>, found: &Found) -> Option<String> {
    let text = match found.at {
        Where::Pending(_) | Where::Held => {
            let reason = reason(waits?, found)?;
            return (reason.why != WaitWord::NoDaemon).then_some(reason.text);
        }
        Where::Active => "running",
        Where::Complete | Where::Failed => "its end is not written yet",
    };
    Some(text.to_owned())
}
