//! All jobs the scheduler knows, by number and by id.
//!
//! A waiting job must cost little (DESIGN section 6: 150 bytes), so what most jobs do not have lives in boxes,
//! and the index keeps numbers, not ids.

use super::types::{Parent, Stage, Stamp};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::time::{Boot, Wall};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A job's number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ix(u32);

/// A queue's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueIx(pub u32);

/// What few waiting jobs have.
#[derive(Debug, Clone, Default)]
pub(super) struct More {
    pub not_before: Option<Wall>,
    pub due: Option<Boot>,
    pub expires: Option<Wall>,
    pub group: Option<Box<str>>,
    pub parents: Vec<Parent>,
    /// The parents have ended, or the job has run before.
    pub passed: bool,
    pub busy: u32,
}

/// What a live job has.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub stage: Stage,
    /// `None` once the slot is free for others.
    pub slot: Option<usize>,
    pub attempt: u32,
    pub terms: Option<Box<Terms>>,
    /// Timeout while running, KILL while stopping.
    pub deadline: Option<Boot>,
    /// When to write the note.
    pub note_at: Option<Boot>,
    /// A newer file of this name waits in this queue.
    pub successor: Option<QueueName>,
}

/// How far a job is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Parents have not ended.
    Blocked,
    /// Behind another of its group.
    Grouped,
    /// Its time has not come.
    Delayed,
    /// Could run now.
    Ready,
    /// Claimed, or about to be.
    Live(Box<Live>),
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub id: JobId,
    pub stamp: Stamp,
    pub made: Wall,
    pub priority: i32,
    pub queue: QueueIx,
    pub phase: Phase,
    pub more: Option<Box<More>>,
    /// Told apart from earlier holders of the same number, for timers that outlive their job.
    pub generation: u32,
}

impl Job {
    pub fn live(&self) -> Option<&Live> {
        match &self.phase {
            Phase::Live(live) => Some(live),
            Phase::Blocked | Phase::Grouped | Phase::Delayed | Phase::Ready => None,
        }
    }

    pub fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Live(live) => Some(live),
            Phase::Blocked | Phase::Grouped | Phase::Delayed | Phase::Ready => None,
        }
    }

    pub fn group(&self) -> Option<&str> {
        self.more.as_ref()?.group.as_deref()
    }

    /// True when something is to be done about this job at that moment.
    pub fn waits_for_boot(&self, at: Boot) -> bool {
        match &self.phase {
            Phase::Live(live) => match live.stage {
                Stage::Running => live.deadline == Some(at) || live.note_at == Some(at),
                Stage::Stopping { .. } => live.deadline == Some(at),
                Stage::Starting { .. } | Stage::Sweeping { .. } | Stage::Ending => false,
            },
            Phase::Delayed => self.more.as_ref().is_some_and(|more| more.due == Some(at)),
            Phase::Blocked | Phase::Grouped | Phase::Ready => false,
        }
    }

    /// As [`Self::waits_for_boot`], for dates.
    pub fn waits_for_wall(&self, at: Wall) -> bool {
        let Some(more) = &self.more else {
            return false;
        };
        match &self.phase {
            Phase::Live(_) => false,
            Phase::Delayed => more.expires == Some(at) || more.not_before == Some(at),
            Phase::Blocked | Phase::Grouped | Phase::Ready => more.expires == Some(at),
        }
    }

    /// Where the job stands among others of its priority: by age, then numbers by value, then names.
    pub fn rank(&self) -> (i64, u64) {
        let name = self.id.as_str();
        let leading = || {
            let mut first = [0u8; 8];
            let n = name.len().min(8);
            first[..n].copy_from_slice(&name.as_bytes()[..n]);
            u64::from_be_bytes(first)
        };
        (self.made.0, name.parse().unwrap_or_else(|_| leading()))
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: Vec<Option<Job>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    generation: u32,
}

impl Table {
    pub fn len(&self) -> usize {
        self.jobs.len() - self.free.len()
    }

    pub fn find(&self, id: &JobId) -> Option<Ix> {
        let hash = self.hasher.hash_one(id.as_str());
        self.index
            .find(hash, |&n| self.id_of(n) == Some(id))
            .map(|&n| Ix(n))
    }

    /// The job of this id, if it is live.
    pub fn find_live(&self, id: &JobId) -> Option<(Ix, &Live)> {
        let ix = self.find(id)?;
        Some((ix, self.get(ix)?.live()?))
    }

    /// As [`Self::find_live`], to change it.
    pub fn find_live_mut(&mut self, id: &JobId) -> Option<(Ix, &mut Live)> {
        let ix = self.find(id)?;
        Some((ix, self.get_mut(ix)?.live_mut()?))
    }

    pub fn insert(&mut self, mut job: Job) -> Ix {
        self.generation = self.generation.wrapping_add(1);
        job.generation = self.generation;
        let hash = self.hasher.hash_one(job.id.as_str());
        let n = match self.free.pop() {
            Some(n) => {
                self.jobs[n as usize] = Some(job);
                n
            }
            None => {
                self.jobs.push(Some(job));
                u32::try_from(self.jobs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let (jobs, hasher) = (&self.jobs, &self.hasher);
        self.index.insert_unique(hash, n, |&n| {
            hasher.hash_one(jobs[n as usize].as_ref().map_or("", |job| job.id.as_str()))
        });
        Ix(n)
    }

    pub fn remove(&mut self, ix: Ix) -> Option<Job> {
        let job = self.jobs.get_mut(ix.0 as usize)?.take()?;
        let hash = self.hasher.hash_one(job.id.as_str());
        if let Ok(entry) = self.index.find_entry(hash, |&n| n == ix.0) {
            entry.remove();
        }
        self.free.push(ix.0);
        Some(job)
    }

    pub fn get(&self, ix: Ix) -> Option<&Job> {
        self.jobs.get(ix.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, ix: Ix) -> Option<&mut Job> {
        self.jobs.get_mut(ix.0 as usize)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().flatten()
    }

    fn id_of(&self, n: u32) -> Option<&JobId> {
        self.jobs.get(n as usize)?.as_ref().map(|job| &job.id)
    }
}
