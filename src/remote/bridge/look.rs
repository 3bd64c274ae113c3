//! Where a job is, and word of moves.

use super::BridgePlan;
use super::judge::{is_of, lease_in};
use crate::core::config::Config;
use crate::core::id::JobId;
use crate::core::lease::{Lease, Sighting};
use crate::core::record::Record;
use crate::core::time::Wall;
use crate::os::clock;
use crate::os::inotify::{FileChange, Interest, Watch, Watcher};
use crate::spool::{Found, LeaseDir, Place, Spool, Where};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// The longest delay of a message that is given back: the limit of SQS.
const LONGEST_DELAY: Duration = Duration::from_secs(43_200);

/// How often a job is looked for whose name another job's record has.
const LOOKS: usize = 5;

/// A look at a job.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) sighting: Sighting,
    /// Its record, if it was found.
    pub(super) record: Option<Record>,
}

/// Where the job of this lease is.
pub(super) fn look(
    spool: &Spool,
    config: &Config,
    id: &JobId,
    lease: &Lease,
) -> io::Result<Looked> {
    for _ in 0..LOOKS {
        match spool.get(id) {
            Err(e) => return unreadable(e),
            Ok(None) => break,
            // While the job is being moved, the record of an earlier run may be found.
            Ok(Some(found)) if found.is_over() && !is_of(&found.record, lease) => {}
            Ok(Some(found)) => return Ok(at(config, found, lease.count)),
        }
    }
    Ok(Looked {
        sighting: Sighting::Nowhere,
        record: None,
    })
}

/// Where the job of a message is that has just come. `since`: what its record says of when the message came.
pub(super) fn look_for_new(
    spool: &Spool,
    config: &Config,
    id: &JobId,
    lease: &Lease,
) -> io::Result<(Looked, Option<Wall>)> {
    let nowhere = Looked {
        sighting: Sighting::Nowhere,
        record: None,
    };
    let found = match spool.get(id) {
        Err(e) => return unreadable(e).map(|looked| (looked, None)),
        Ok(None) => return Ok((nowhere, None)),
        Ok(Some(found)) => found,
    };
    match lease_in(&found.record) {
        Some((own, _)) if own.is_same_message(lease) => {
            Ok((at(config, found, lease.count), Some(own.since)))
        }
        Some(_) | None if found.is_over() => Ok((nowhere, None)),
        Some(_) | None => Ok((at(config, found, lease.count), None)),
    }
}

/// A job whose file is no record: somebody may be editing it. It keeps its lease until the file says what came of it.
fn unreadable(e: io::Error) -> io::Result<Looked> {
    match e.kind() {
        io::ErrorKind::InvalidData => Ok(Looked {
            sighting: Sighting::Running,
            record: None,
        }),
        _ => Err(e),
    }
}

fn at(config: &Config, found: Found, count: u32) -> Looked {
    let sighting = match found.at {
        Where::Pending(_) | Where::Held => Sighting::Waiting,
        Where::Active => Sighting::Running,
        Where::Complete | Where::Failed if !found.record.is_over() => Sighting::Running,
        Where::Complete => Sighting::Well,
        Where::Failed => {
            let queue = found.record.queue.clone().unwrap_or_default();
            let backoff = config.terms(&queue, &found.record).backoff.rule();
            let wait = backoff.wait(count, clock::now().boot.0 / 1000);
            Sighting::Badly(wait.min(LONGEST_DELAY))
        }
    };
    Looked {
        sighting,
        record: Some(found.record),
    }
}

/// The changes that the watches have reported.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Names that came or went.
    pub(super) names: BTreeSet<JobId>,
    /// Anything may have changed.
    pub(super) all: bool,
    /// A directory was replaced: its watch has ended.
    pub(super) lost: bool,
    /// Whether the spool takes jobs may have changed.
    pub(super) openness: bool,
}

/// The watches on the spool.
pub(super) struct SpoolMoves<'a> {
    spool: &'a Spool,
    watcher: Watcher,
    /// The directories in which names are jobs.
    jobs: Vec<(Watch, Place)>,
    root: Watch,
    lock: Option<Watch>,
}

impl<'a> SpoolMoves<'a> {
    pub(super) fn new(spool: &'a Spool, plan: &BridgePlan, dir: &LeaseDir) -> io::Result<Self> {
        let watcher = Watcher::new()?;
        let own = spool.waiting_dir(&plan.config.queue)?;
        let root = spool.watch(&Place::Root, &watcher, Interest::Everything)?;
        let mut moves = Self {
            spool,
            root,
            lock: spool.watch_lock(&watcher)?,
            watcher,
            jobs: Vec::new(),
        };
        moves.watch(&Place::Pending, Interest::Everything)?;
        if own != Place::Pending {
            moves.watch(&own, Interest::Everything)?;
        }
        for place in [Place::Held, Place::Active, Place::Complete, Place::Failed] {
            moves.watch(&place, Interest::Moves)?;
        }
        let leases = spool.watch_leases(dir, &moves.watcher)?;
        moves.jobs.push((leases, Place::Root));
        Ok(moves)
    }

    fn watch(&mut self, place: &Place, interest: Interest) -> io::Result<()> {
        let watch = self.spool.watch(place, &self.watcher, interest)?;
        self.jobs.push((watch, place.clone()));
        Ok(())
    }

    pub(super) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Reads what was reported.
    pub(super) fn read(&mut self) -> io::Result<Moved> {
        let mut moved = Moved::default();
        loop {
            let (events, more) = self.watcher.read_some()?;
            for event in events {
                let name = event.name.as_encoded_bytes();
                match (event.change, event.watch) {
                    (FileChange::Lost, _) => (moved.all, moved.lost) = (true, true),
                    (FileChange::Overflow, _) | (_, None) => moved.all = true,
                    (_, Some(watch)) if watch == self.root => {
                        moved.openness |= name == b"lock" || name == b"config.json";
                        if name == b"lock" {
                            self.lock = self.spool.watch_lock(&self.watcher)?;
                        }
                    }
                    (_, watch) if watch == self.lock => moved.openness = true,
                    (_, Some(_)) => {
                        moved.openness |= name == crate::spool::PAUSED;
                        moved.names.extend(JobId::from_bytes(name));
                    }
                }
            }
            if !more {
                return Ok(moved);
            }
        }
    }
}
