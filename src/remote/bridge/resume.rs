//! Taking up the leases of the bridge that ran before: those in its directory, and after a power cut, which may have
//! taken that directory, those in the records of jobs.

use super::BridgePlan;
use super::judge::lease_in;
use super::look::look;
use crate::core::config::Config;
use crate::core::config::remote::AckWhen;
use crate::core::id::{JobId, QueueName};
use crate::core::lease::{Lease, LeaseEvent, Sighting};
use crate::core::time::{Boot, Now};
use crate::spool::{LeaseDir, Spool, Where};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// Ended jobs that are older are not looked through: no message is leased for longer.
const OLDEST: Duration = Duration::from_secs(12 * 3600);

/// All leases that an earlier process of the bridge has left. Removes its files that mean nothing.
pub(super) fn resume(
    plan: &BridgePlan,
    config: &Config,
    spool: &Spool,
    dir: &LeaseDir,
    boot: &str,
    now: Now,
) -> io::Result<Vec<LeaseEvent>> {
    dir.remove_unfinished()?;
    let last = dir.last_boot()?;
    let mut leases = BTreeMap::new();
    for (id, text) in dir.leases()? {
        match Lease::parse(&text) {
            Ok(lease) => drop(leases.insert(id, lease)),
            Err(why) => {
                // It was being written when the process ended. The engine hands the message out again.
                log::warn!("{}: {id}: the lease is not readable: {why}", plan.name);
                dir.remove(&id)?;
            }
        }
    }
    let staged: BTreeSet<JobId> = dir.staged()?.into_iter().collect();
    for id in &staged {
        if !leases.contains_key(id) {
            dir.unstage(id)?;
        }
    }
    let is_new_boot = last.as_deref() != Some(boot);
    let accepted = plan.config.ack == AckWhen::Accepted;
    if is_new_boot || accepted {
        leases.extend(without_files(plan, spool, &leases, is_new_boot, now)?);
    }
    let mut events = Vec::new();
    for (id, mut lease) in leases {
        let same_boot = lease.boot == boot;
        if !same_boot {
            // The clock of that boot is gone; the wall clock is an estimate.
            lease.ends = Boot(now.boot.after(lease.until.since(now.wall)).0);
            boot.clone_into(&mut lease.boot);
        }
        let seen = match look(spool, config, &id, &lease) {
            Ok(looked) => looked.sighting,
            Err(e) => {
                log::error!("{}: {id}: {e}", plan.name);
                Sighting::Running
            }
        };
        events.push(LeaseEvent::Resumed {
            staged: staged.contains(&id),
            seen,
            same_boot,
            id,
            lease,
        });
    }
    Ok(events)
}

/// The leases that stand in the records of jobs only. Failed jobs are left out: their messages may have been given back
/// and be another machine's by now, and else their leases lapse.
fn without_files(
    plan: &BridgePlan,
    spool: &Spool,
    known: &BTreeMap<JobId, Lease>,
    is_new_boot: bool,
    now: Now,
) -> io::Result<Vec<(JobId, Lease)>> {
    let mut places = vec![
        Where::Pending(plan.config.queue.clone()),
        Where::Pending(QueueName::default()),
        Where::Held,
        Where::Active,
    ];
    if is_new_boot {
        places.push(Where::Complete);
    }
    let oldest = i64::try_from(OLDEST.as_nanos()).unwrap_or(i64::MAX);
    let ours = |lease: Option<(Lease, Option<String>)>| {
        lease.filter(|(_, by)| by.as_deref() == Some(plan.name.as_str()))
    };
    let found = spool.jobs_with(&places, now.wall.0 - oldest, |record| {
        ours(lease_in(record)).is_some()
    })?;
    let mut leases = Vec::new();
    for found in found {
        if let Some((lease, _)) = ours(lease_in(&found.record))
            && !known.contains_key(&found.id)
        {
            leases.push((found.id, lease));
        }
    }
    Ok(leases)
}
