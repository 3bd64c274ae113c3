//! The jobs that run, and the slots and tokens that they hold.

use super::config::Config;
use super::id::{JobId, QueueName};
use super::scheduler::{Demand, TokenUse};
use super::tokens::{TokenName, Units};

/// A job in `active/`, as far as others wait for it.
#[derive(Debug, Clone)]
pub struct Busy {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its group.
    pub group: Option<String>,
    /// The slots and tokens that it takes.
    pub demand: Demand,
    /// The units that it has, as far as they are known.
    pub units: Units,
}

/// How many slots jobs hold: those of this queue, or the ones that all queues share.
pub fn slots_used(active: &[Busy], queue: Option<&QueueName>) -> usize {
    let counts = |of: &QueueName| match queue {
        Some(queue) => of == queue,
        None => !Config::is_beside(of),
    };
    let jobs = active.iter().filter(|busy| counts(&busy.queue));
    jobs.map(|busy| busy.demand.weight()).sum()
}

/// How many tokens of this name jobs hold, and which.
pub fn tokens_used(active: &[Busy], token: &TokenName) -> TokenUse {
    let mut used = TokenUse::default();
    for busy in active {
        if let Some(n) = busy.demand.uses.get(token) {
            used.add(*n, busy.units.get(token).map_or(&[], Vec::as_slice));
        }
    }
    used
}
