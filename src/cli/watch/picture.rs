//! The spool as the screen shows it. Of all jobs only names are read, and the records of those that may be shown.

use crate::cli::rows::{Form, Row};
use crate::cli::settings;
use crate::cli::when;
use crate::core::config::Config;
use crate::core::id::{JobId, keep_first, natural_order};
use crate::core::progress::JobProgress;
use crate::core::record::{Record, State};
use crate::core::time::Wall;
use crate::core::waiting::WaitReason;
use crate::os::clock;
use crate::spool::{Holder, QueueStatus, Spool, SpoolLock, Where};
use std::io;

/// The most jobs of a state whose records are read: the first of those that wait, the newest of those that have ended.
const READ: usize = 100;

/// A job on the screen.
pub struct ShownJob {
    pub row: Row,
    /// Why it waits.
    pub why: Option<WaitReason>,
    pub progress: Option<JobProgress>,
    /// The start of the try that runs.
    pub started: Option<Wall>,
    /// The local time of its end.
    pub ended: String,
}

/// All that is shown of a spool.
#[derive(Default)]
pub struct Picture {
    pub path: String,
    pub holder: Option<Holder>,
    /// The slots that are in use, and how many there are.
    pub slots: (usize, usize),
    pub is_paused: bool,
    pub queues: Vec<QueueStatus>,
    /// Tokens: how many are in use, and how many there are.
    pub tokens: Vec<(String, usize, usize)>,
    pub troubles: Vec<String>,
    /// The number of jobs in pending/, held/, complete/ and failed/, and of files in bad/.
    pub pending: usize,
    pub held: usize,
    pub complete: usize,
    pub failed: usize,
    pub bad: usize,
    /// The jobs that run, the first of those that wait, and those that ended last, in this order.
    pub running: Vec<ShownJob>,
    pub waiting: Vec<ShownJob>,
    pub ended: Vec<ShownJob>,
}

impl Picture {
    /// Looks at a spool. `seen` are jobs that were seen to end.
    pub fn read(spool: &Spool, seen: impl Iterator<Item = JobId>) -> io::Result<Self> {
        let path = spool.path();
        let (config, problem) = match settings::read(path) {
            Ok(config) => (config, None),
            Err(e) => (Config::default(), Some(e)),
        };
        let holder = SpoolLock::holder(path)?;
        let waits = spool.waits(&config)?;
        let facts = waits.facts();
        let mut picture = Self {
            path: path.display().to_string(),
            slots: (waits.slots_used(None), facts.policy.slots),
            is_paused: facts.policy.are_all_paused(),
            tokens: waits
                .tokens()
                .map(|(name, used, total)| (name.to_string(), used, total))
                .collect(),
            bad: spool.count_bad()?,
            ..Self::default()
        };
        let trouble = holder.as_ref().and_then(|holder| holder.trouble.clone());
        let troubles = [trouble, problem, facts.shortage.clone()];
        picture.troubles = troubles.into_iter().flatten().collect();
        picture.holder = holder;

        let now = clock::wall();
        let load = |id: JobId, at: &Where| match spool.load(&id, at) {
            Ok(Some(record)) => Some(ShownJob::new(spool, id, at, &record, now)),
            // It has moved on, or `bad/` will tell.
            Ok(None) | Err(_) => None,
        };
        for id in spool.ids_there(&Where::Active)? {
            picture.running.extend(load(id, &Where::Active));
        }
        let mut first = Vec::new();
        for at in spool.places_of(State::Pending)? {
            let ids = spool.ids_there(&at)?;
            picture.pending += ids.len();
            if let Where::Pending(name) = &at {
                let queue = QueueStatus::of(name.clone(), ids.len(), &waits);
                picture.queues.push(queue);
            }
            first.extend(first_of(ids).into_iter().map(|id| (id, at.clone())));
        }
        let held = spool.ids_there(&Where::Held)?;
        picture.held = held.len();
        first.extend(first_of(held).into_iter().map(|id| (id, Where::Held)));
        let order = |a: &(JobId, Where), b: &(JobId, Where)| {
            let by_state = a.1.state().cmp(&b.1.state());
            by_state.then_with(|| natural_order(a.0.as_str(), b.0.as_str()))
        };
        first.sort_unstable_by(order);
        first.truncate(READ);
        for (id, at) in first {
            let Ok(Some(record)) = spool.load(&id, &at) else {
                continue;
            };
            let mut shown = ShownJob::new(spool, id, &at, &record, now);
            let why = waits.of(&shown.row.id, &at, &record);
            shown.why = why.map(|why| when::in_local_time(why, &record, now));
            picture.waiting.push(shown);
        }
        let mut ended: Vec<(JobId, Where)> = Vec::new();
        for (at, count) in [
            (Where::Complete, &mut picture.complete),
            (Where::Failed, &mut picture.failed),
        ] {
            let newest = spool.newest_first(vec![at])?;
            *count = newest.count_left();
            for job in newest.take(READ / 2) {
                ended.push(job?);
            }
        }
        for id in seen {
            if !ended.iter().any(|(other, _)| *other == id) {
                let at = spool.find_ended(&id)?;
                ended.extend(at.map(|at| (id, at)));
            }
        }
        for (id, at) in ended {
            picture.ended.extend(load(id, &at));
        }
        picture.running.sort_unstable_by(by_turn);
        picture
            .waiting
            .sort_by(|a, b| a.row.state.cmp(&b.row.state).then_with(|| by_turn(a, b)));
        picture.ended.sort_unstable_by(|a, b| by_turn(b, a));
        picture.ended.truncate(READ);
        Ok(picture)
    }

    /// Reads again how far the running jobs are.
    pub fn read_progress(&mut self, spool: &Spool) {
        for shown in &mut self.running {
            shown.progress = spool.progress(&shown.row.id, &Where::Active);
        }
    }

    /// All jobs on the screen, in its order.
    pub fn jobs(&self) -> impl Iterator<Item = &ShownJob> {
        self.running.iter().chain(&self.waiting).chain(&self.ended)
    }

    /// The pid of the daemon; 0 if it is not known.
    pub fn daemon(&self) -> Option<i32> {
        self.holder.as_ref().and_then(Holder::daemon)
    }
}

fn by_turn(a: &ShownJob, b: &ShownJob) -> std::cmp::Ordering {
    a.row.order(&b.row)
}

/// The first ids by their numbers, as many as are read of a state at most.
fn first_of(mut ids: Vec<JobId>) -> Vec<JobId> {
    keep_first(&mut ids, READ, |a, b| natural_order(a.as_str(), b.as_str()));
    ids
}

impl ShownJob {
    fn new(spool: &Spool, id: JobId, at: &Where, record: &Record, now: Wall) -> Self {
        let progress = spool.progress(&id, at);
        let ended = record.finished_at;
        Self {
            row: Row::new(id, at, record, None, progress.as_ref(), Form::Table, now),
            why: None,
            progress,
            started: record.started_at,
            ended: ended.map_or_else(String::new, |ended| ended.brief(clock::zone(ended), now)),
        }
    }
}
