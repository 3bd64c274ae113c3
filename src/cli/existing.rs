//! The spool, queue or job that a command names must exist: commands that look or steer create nothing. The error names
//! the most similar one that exists.

use super::exit::{Failure, NO_INPUT};
use super::settings;
use crate::core::config::Config;
use crate::core::id::{JobId, QueueName};
use crate::core::json::nearest;
use crate::spool::{Found, InBad, Spool, Where};
use std::io;
use std::path::{Path, PathBuf};

/// Opens a spool.
pub fn spool(path: &Path) -> Result<Spool, Failure> {
    let found = Spool::existing(path).map_err(|e| Failure::at(path, e))?;
    found.ok_or_else(|| no_spool(path))
}

/// The number of jobs in a spool that have not ended; 0 if there is no spool.
pub fn count_unfinished(path: &Path) -> io::Result<usize> {
    let Some(spool) = Spool::existing(path)? else {
        return Ok(0);
    };
    Ok(spool.count_waiting()? + spool.ids(&Where::Active)?.len())
}

fn no_spool(path: &Path) -> Failure {
    let what = match path.metadata() {
        Ok(about) if about.is_dir() => {
            format!("{} is no spool: it has no pending/", path.display())
        }
        Ok(_) => format!("{} is no directory, as a spool is", path.display()),
        Err(_) => format!("there is no spool {}", path.display()),
    };
    let hint = match similar(path) {
        Some(right) => format!("did you mean {}?", right.display()),
        None => "pirn serve, add and run make one".to_owned(),
    };
    Failure::new(NO_INPUT, format!("{what}; {hint}"))
}

/// The spool in the same directory whose name is most similar.
fn similar(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let parent = match path.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        parent => parent,
    };
    let entries = std::fs::read_dir(parent).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|other| other != name && parent.join(other).join("pending").is_dir())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    nearest(name, &names).map(|right| path.with_file_name(right))
}

/// Finds a job. If there is none, the error says whether a file of its name is in `bad/`, and why.
pub fn job(spool: &Spool, id: &JobId) -> Result<Found, Failure> {
    if let Some(found) = spool.get(id)? {
        return Ok(found);
    }
    Err(match spool.in_bad(id) {
        Ok(Some(InBad { path, reason })) => {
            let path = path.display();
            let what =
                format!("there is no job {id}: a file of this name was moved to {path}: {reason}");
            Failure::new(NO_INPUT, what)
        }
        Ok(None) | Err(_) => Failure::no_job(id),
    })
}

/// Fails for a queue that has no directory in `pending/` and no settings, and that no record names.
pub fn queue(spool: &Spool, queue: &QueueName) -> Result<(), Failure> {
    let config = settings::read(spool.path());
    let mut known = spool.known_queues(config.as_ref().unwrap_or(&Config::default()))?;
    if !known.contains(queue) {
        // Read last: there may be many records.
        known.extend(spool.queues_named()?);
    }
    if known.contains(queue) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().map(QueueName::as_str).collect();
    let hint = match (nearest(queue.as_str(), &known), config) {
        (Some(right), _) => format!("did you mean {right}?"),
        (None, Ok(_)) => format!("pirn add -q {queue} makes one"),
        (None, Err(e)) => format!("the settings may name one, but cannot be read: {e}"),
    };
    let what = format!("there is no queue {queue}; {hint}");
    Err(Failure::new(NO_INPUT, what))
}
