//! `GET /stats`, with the keys of both releases.

use super::list::{self, numbers};
use super::{HqResult, require};
use crate::http::{Door, Request, Right};
use crate::os::clock;
use crate::spool::Where;
use serde_json::json;
use std::io;
use std::time::Duration;

/// The size of a queue that has no bound: the largest number that every reader of JSON reads exactly (RFC 8259
/// section 6), so that a client's "so many of so many" still comes out right.
const NO_BOUND: u64 = (1 << 53) - 1;

pub fn show(request: &Request, door: &Door) -> HqResult {
    require(request, Right::Read)?;
    Ok(stats(door)?)
}

/// The answer for the page of hq 2.0.0.
pub fn dashboard(request: &Request, door: &Door) -> HqResult {
    let jobs = list::list(request, door)?;
    let stats = stats(door)?;
    Ok(format!("{{\"stats\":{stats},\"jobList\":{jobs}}}"))
}

fn stats(door: &Door) -> io::Result<String> {
    let config = door.config();
    let all = numbers(door)?;
    let count = |is: fn(&Where) -> bool| all.iter().filter(|(.., at)| is(at)).count();
    let waiting = count(|at| matches!(at, Where::Pending(_)));
    let running = count(|at| matches!(at, Where::Active));
    Ok(json!({
        "queues": config.max_pending.unwrap_or(NO_BOUND),
        "dispatchers": door.slots(),
        // As in hq: no workers beside the dispatchers.
        "maxWorkers": 0,
        "queueUsage": waiting, "numJobsInQueue": waiting,
        "numWaitingJobs": waiting, "numJobsWaiting": waiting,
        "numRunningJobs": running, "numJobsRunning": running,
        "numWorkers": running,
        "numJobs": all.len(), "numStoredJobs": all.len(),
        "numJobsInLastMinute": of_late(door, &all),
    })
    .to_string())
}

/// Counts the latest jobs, whose numbers are in the order of time.
fn of_late(door: &Door, all: &[(u64, crate::core::id::JobId, Where)]) -> usize {
    let now = clock::wall();
    let is_new = |made| now.since(made) < Duration::from_secs(60);
    all.iter()
        .rev()
        .map_while(|(_, id, at)| match door.spool().load(id, at) {
            Ok(Some(record)) => Some(record.created_at),
            Ok(None) | Err(_) => Some(None),
        })
        .take_while(|made| made.is_none_or(is_new))
        .flatten()
        .count()
}
