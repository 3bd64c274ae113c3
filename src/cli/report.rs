//! The report of `status`: what the files of a spool tell about it.

use super::existing;
use super::exit::Failure;
use super::settings;
use crate::core::config::Config;
use crate::core::id::{JobId, natural_order};
use crate::core::json;
use crate::core::progress::JobProgress;
use crate::core::record::{Record, State};
use crate::core::time::Wall;
use crate::os::clock;
use crate::os::confine::Ability;
use crate::spool::{BridgeFiles, Holder, Overview, Spool, Where};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// The most waiting jobs whose ages are read.
const MOST_READ: usize = 10_000;

/// The most waiting jobs that are searched for dates.
const MOST_SEARCHED: usize = 100_000;

/// The fields that are read of a waiting job.
const DATES: [&str; 3] = [
    "created_at",
    Record::START_FIELDS[0],
    Record::START_FIELDS[1],
];

/// Dates of waiting jobs.
#[derive(Default)]
pub struct WaitingDates {
    /// The age of the oldest.
    pub oldest: Option<Wall>,
    /// The next date at which one may start; not known if `are_many`.
    pub next: Option<Wall>,
    /// True if more than [`MOST_SEARCHED`] jobs wait.
    pub are_many: bool,
}

/// The spool as it is now. All of it is read from files: the daemon is not asked.
pub struct StatusReport {
    pub overview: Overview,
    pub dates: WaitingDates,
    /// The running jobs that tell how far they are.
    pub progress: Vec<(JobId, JobProgress)>,
    pub complete: usize,
    pub failed: usize,
    pub bad: usize,
    pub bridges: Vec<BridgeFiles>,
}

impl StatusReport {
    /// Reads it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let spool = existing::spool(path)?;
        let file = settings::path(path);
        let (config, config_error) = match settings::read_file(&file) {
            Ok(config) => (config, None),
            Err(e) => {
                let name = file.strip_prefix(path).unwrap_or(&file).display();
                (Config::default(), Some(format!("{name} is not used: {e}")))
            }
        };
        let count = |at: Where| spool.ids(&at).map(|ids| ids.len());
        let mut running = spool.ids(&Where::Active)?;
        running.sort_unstable_by(|a, b| natural_order(a.as_str(), b.as_str()));
        Ok(Self {
            overview: Overview::read(&spool, &config, config_error)?,
            dates: WaitingDates::read(&spool)?,
            progress: running
                .into_iter()
                .filter_map(|id| Some((id.clone(), spool.progress(&id, &Where::Active)?)))
                .collect(),
            complete: count(Where::Complete)?,
            failed: count(Where::Failed)?,
            bad: spool.count_bad()?,
            bridges: spool.bridges()?,
        })
    }

    /// How many jobs wait.
    pub fn pending(&self) -> usize {
        let queues = self.overview.queues.iter();
        queues.map(|queue| queue.waiting).sum()
    }

    /// The daemon's pid; 0 if it is not known.
    pub fn daemon(&self) -> Option<i32> {
        self.overview.holder.as_ref().and_then(Holder::daemon)
    }

    /// The controllers whose limits jobs can have.
    pub fn groups(&self) -> &[String] {
        let holder = self.overview.holder.as_ref();
        holder.map_or(&[], |holder| &holder.groups)
    }

    /// All of it as JSON.
    pub fn to_json(&self, path: &Path) -> serde_json::Value {
        let progress = self.progress.iter();
        let progress: Vec<_> = progress
            .map(|(id, far)| json!({"id": id.as_str(), "done": far.done, "text": far.text}))
            .collect();
        let now = clock::wall();
        let bridges = self.bridges.iter().map(|bridge| {
            let sum = bridge.summary(now);
            json!({
                "name": bridge.name.as_str(), "running": bridge.is_running, "leases": sum.open,
                "oldest": sum.oldest.map(|age| age.as_secs_f64()), "lost": sum.lost, "refused": sum.refused,
            })
        });
        let bridges: Vec<_> = bridges.collect();
        let ability = Ability::get();
        let sandbox = json!({
            "landlock": ability.landlock, "seccomp": ability.seccomp, "groups": self.groups(),
        });
        let own = json!({
            "spool": path.to_string_lossy(), "daemon": self.daemon(), "pending": self.pending(), "progress": progress,
            "complete": self.complete, "failed": self.failed, "bad": self.bad,
            "oldest_waiting": self.dates.oldest.map(|at| now.since(at).as_secs_f64()), "next_start": self.dates.next,
            "remote": bridges, "sandbox": sandbox,
        });
        joined(self.overview.to_json(), own)
    }
}

/// One object with the members of two.
fn joined(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

impl WaitingDates {
    /// Reads them from the waiting jobs. Ages are read of those with the lowest numbers only: the oldest is among them.
    fn read(spool: &Spool) -> io::Result<Self> {
        let mut jobs = Vec::new();
        for at in spool.places_of(State::Pending)? {
            let ids = spool.ids_there(&at)?;
            jobs.extend(ids.into_iter().map(|id| (id, at.clone())));
        }
        let mut dates = Self {
            are_many: jobs.len() > MOST_SEARCHED,
            ..Self::default()
        };
        if jobs.len() > MOST_READ {
            jobs.select_nth_unstable_by(MOST_READ, |(a, _), (b, _)| {
                natural_order(a.as_str(), b.as_str())
            });
        }
        if dates.are_many {
            jobs.truncate(MOST_READ);
        }
        let now = clock::wall();
        let earlier = |a: Option<Wall>, b: Option<Wall>| a.into_iter().chain(b).min();
        let has_date = |file: &[u8]| {
            let mut fields = Record::START_FIELDS.into_iter();
            fields.any(|field| json::may_have(file, field))
        };
        for (n, (id, at)) in jobs.into_iter().enumerate() {
            let read = match n < MOST_READ {
                true => spool.load_only(&DATES, &id, &at),
                false => spool.load_if(&id, &at, has_date),
            };
            // A file that is gone or no record has no dates.
            let Ok(Some(record)) = read else {
                continue;
            };
            if n < MOST_READ {
                dates.oldest = earlier(dates.oldest, record.created_at);
            }
            if !dates.are_many {
                dates.next = earlier(dates.next, record.start_date(now));
            }
        }
        Ok(dates)
    }
}
