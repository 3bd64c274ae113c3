//! The report of `status`: what the files of a spool tell about it.

use super::existing;
use super::exit::Failure;
use super::settings;
use crate::core::config::Config;
use crate::core::id::{JobId, QueueName, keep_first, natural_order};
use crate::core::progress::JobProgress;
use crate::core::time::Wall;
use crate::os::clock;
use crate::os::confine::Ability;
use crate::spool::{BridgeFiles, Holder, Spool, SpoolLock, Waits, Where};
use serde_json::json;
use std::path::Path;

/// The most waiting jobs whose records are read.
const MOST_READ: usize = 10_000;

/// A queue.
pub struct QueueStatus {
    pub name: QueueName,
    pub waiting: usize,
    /// How many slots its jobs have, and how many they may have at most.
    pub used: usize,
    pub slots: Option<usize>,
    pub paused: bool,
}

impl QueueStatus {
    /// A queue in which so many jobs wait.
    pub fn of(name: QueueName, waiting: usize, waits: &Waits<'_>) -> Self {
        let policy = &waits.scene().policy;
        Self {
            waiting,
            used: waits.slots_used(Some(&name)),
            slots: policy.config.slots_of(&name),
            paused: policy.is_paused(&name),
            name,
        }
    }

    /// False for a queue about which the numbers for all queues say enough.
    pub fn is_worth_a_line(&self) -> bool {
        self.paused || self.slots.is_some() || !self.name.is_default()
    }
}

/// Dates of waiting jobs.
#[derive(Default)]
pub struct WaitingDates {
    /// The age of the oldest.
    pub oldest: Option<Wall>,
    /// The next date at which one may start; not known if more than [`MOST_READ`] wait.
    pub next: Option<Wall>,
}

/// The spool as it is now. All of it is read from files: the daemon is not asked.
pub struct StatusReport {
    pub holder: Option<Holder>,
    pub is_paused: bool,
    /// How many slots jobs have, and how many there are.
    pub used: usize,
    pub slots: usize,
    pub queues: Vec<QueueStatus>,
    pub dates: WaitingDates,
    pub held: usize,
    pub active: usize,
    /// The running jobs that tell how far they are.
    pub progress: Vec<(JobId, JobProgress)>,
    pub complete: usize,
    pub failed: usize,
    pub bad: usize,
    pub bridges: Vec<BridgeFiles>,
    /// The tokens of the settings, with how many are in use and how many there are.
    pub tokens: Vec<(String, usize, usize)>,
    config_error: Option<String>,
    shortage: Option<String>,
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
        let holder = SpoolLock::holder(path)?;
        let waits = spool.waits(&config)?;
        let scene = waits.scene();
        let count = |at: Where| spool.ids(&at).map(|ids| ids.len());
        let mut running = spool.ids(&Where::Active)?;
        running.sort_unstable_by(|a, b| natural_order(a.as_str(), b.as_str()));
        let (queues, dates) = queues(&spool, &waits)?;
        Ok(Self {
            is_paused: scene.policy.are_all_paused(),
            used: waits.slots_used(None),
            slots: scene.policy.slots,
            queues,
            dates,
            held: count(Where::Held)?,
            active: running.len(),
            progress: running
                .into_iter()
                .filter_map(|id| Some((id.clone(), spool.progress(&id, &Where::Active)?)))
                .collect(),
            complete: count(Where::Complete)?,
            failed: count(Where::Failed)?,
            bad: spool.count_bad()?,
            bridges: spool.bridges()?,
            tokens: waits
                .tokens()
                .map(|(name, used, total)| (name.to_string(), used, total))
                .collect(),
            config_error,
            shortage: scene.shortage.clone(),
            holder,
        })
    }

    /// How many jobs wait.
    pub fn pending(&self) -> usize {
        self.queues.iter().map(|queue| queue.waiting).sum()
    }

    /// The daemon's pid; 0 if it is not known.
    pub fn daemon(&self) -> Option<i32> {
        self.holder.as_ref().and_then(Holder::daemon)
    }

    /// The controllers whose limits jobs can have.
    pub fn groups(&self) -> &[String] {
        self.holder.as_ref().map_or(&[], |holder| &holder.groups)
    }

    fn trouble(&self) -> Option<&String> {
        self.holder.as_ref()?.trouble.as_ref()
    }

    /// All that is wrong.
    pub fn troubles(&self) -> impl Iterator<Item = &String> {
        let all = [
            self.trouble(),
            self.config_error.as_ref(),
            self.shortage.as_ref(),
        ];
        all.into_iter().flatten()
    }

    /// All of it as JSON.
    pub fn to_json(&self, path: &Path) -> serde_json::Value {
        let queues = self.queues.iter();
        let queues: Vec<_> = queues
            .map(|q| json!({
                "name": q.name.as_str(), "waiting": q.waiting, "used": q.used, "slots": q.slots, "paused": q.paused,
            }))
            .collect();
        let tokens = self.tokens.iter();
        let tokens: Vec<_> = tokens
            .map(|(name, used, total)| json!({"name": name, "used": used, "total": total}))
            .collect();
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
        json!({
            "spool": path.to_string_lossy(), "daemon": self.daemon(), "pending": self.pending(), "held": self.held,
            "active": self.active, "progress": progress, "complete": self.complete, "failed": self.failed, "bad": self.bad,
            "used": self.used, "slots": self.slots, "oldest_waiting": self.dates.oldest.map(|at| now.since(at).as_secs_f64()),
            "next_start": self.dates.next, "paused": self.is_paused, "queues": queues, "tokens": tokens, "remote": bridges, "sandbox": sandbox, "config_error": self.config_error,
            "shortage": self.shortage, "trouble": self.trouble(),
        })
    }
}

/// The queues, and the dates of the jobs that wait in them.
fn queues(spool: &Spool, waits: &Waits<'_>) -> Result<(Vec<QueueStatus>, WaitingDates), Failure> {
    let names = spool.known_queues(&waits.scene().policy.config)?;
    let (mut queues, mut jobs) = (Vec::new(), Vec::new());
    for name in names {
        let at = Where::Pending(name.clone());
        // A queue may have settings, but no directory, since it was never used.
        let ids = spool.ids_there(&at)?;
        queues.push(QueueStatus::of(name, ids.len(), waits));
        jobs.extend(ids.into_iter().map(|id| (id, queues.len() - 1)));
    }
    let dates = dates(spool, &queues, jobs);
    Ok((queues, dates))
}

/// Reads the records of jobs, each with the index of its queue; of very many only those of the lowest numbers, among
/// which the oldest is.
fn dates(spool: &Spool, queues: &[QueueStatus], mut jobs: Vec<(JobId, usize)>) -> WaitingDates {
    let are_all = jobs.len() <= MOST_READ;
    keep_first(&mut jobs, MOST_READ, |(a, _), (b, _)| {
        natural_order(a.as_str(), b.as_str())
    });
    let now = clock::wall();
    let mut dates = WaitingDates::default();
    let earlier = |a: Option<Wall>, b: Option<Wall>| a.into_iter().chain(b).min();
    for (id, queue) in jobs {
        let at = Where::Pending(queues[queue].name.clone());
        // A file that is gone or no record has no dates.
        let Ok(Some(record)) = spool.load(&id, &at) else {
            continue;
        };
        dates.oldest = earlier(dates.oldest, record.created_at);
        let start = record.start_date(now).filter(|_| are_all);
        dates.next = earlier(dates.next, start);
    }
    dates
}
