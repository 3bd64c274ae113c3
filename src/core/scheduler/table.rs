//! All jobs the scheduler knows, by number and by id.
//!
//! A waiting job must cost little (DESIGN section 6: 150 bytes), so what most jobs do not have lives elsewhere, and
//! neither the index nor the order of those that are ready keeps more of a job than its number.

use super::types::{Parent, Slot, Stage, Stamp, Ticket};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName, natural_order};
use crate::core::time::{Boot, Wall};
use hashbrown::HashTable;
use std::cmp::Ordering;
use std::collections::HashMap;
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
    pub slot: Option<Slot>,
    pub attempt: u32,
    pub terms: Option<Box<Terms>>,
    /// Timeout while running, KILL while stopping.
    pub deadline: Option<Boot>,
    /// When to write the note.
    pub note_at: Option<Boot>,
    /// A newer file of this name waits in this queue.
    pub successor: Option<QueueName>,
}

impl Live {
    pub fn new(stage: Stage, slot: Option<Slot>) -> Self {
        Self {
            stage,
            slot,
            attempt: 0,
            terms: None,
            deadline: None,
            note_at: None,
            successor: None,
        }
    }
}

/// The gates before which jobs wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Parents have not ended.
    Parents,
    /// Behind another of its group.
    Group,
    /// Its time has not come.
    Date,
    /// Could run now: where it stands in its queue.
    Slot(Seat),
}

/// A place in [`super::ready::Ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(u32);

impl Seat {
    /// Jobs have numbers of 32 bits: there are no more seats than that.
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub id: JobId,
    pub made: Wall,
    pub more: Option<Box<More>>,
    inode: u64,
    modified: i64,
    size: u32,
    pub priority: i32,
    pub queue: QueueIx,
    /// Told apart from earlier holders of the same number, for timers that outlive their job.
    pub generation: u32,
    /// `None` once it is live: claimed, or about to be.
    gate: Option<Gate>,
}

impl Job {
    /// Before the first gate.
    pub fn new(ticket: &Ticket, queue: QueueIx) -> Self {
        let Stamp {
            inode,
            modified,
            size,
        } = ticket.stamp;
        Self {
            id: ticket.id.clone(),
            made: ticket.made,
            more: None,
            inode,
            modified,
            size,
            priority: ticket.priority,
            queue,
            generation: 0,
            gate: Some(Gate::Parents),
        }
    }

    /// Which file it is. (Its parts are kept one by one: a `Stamp` is four bytes larger.)
    pub fn stamp(&self) -> Stamp {
        Stamp {
            inode: self.inode,
            modified: self.modified,
            size: self.size,
        }
    }

    pub fn set_stamp(&mut self, stamp: Stamp) {
        (self.inode, self.modified, self.size) = (stamp.inode, stamp.modified, stamp.size);
    }

    /// The gate before which it waits; `None` if it is live.
    pub fn gate(&self) -> Option<Gate> {
        self.gate
    }

    pub fn is_live(&self) -> bool {
        self.gate.is_none()
    }

    pub fn group(&self) -> Option<&str> {
        self.more.as_ref()?.group.as_deref()
    }

    /// Where the job stands among others of its priority.
    pub fn rank(&self) -> Rank {
        Rank(self.made, self.id.clone())
    }
}

/// When a job was made, and its id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rank(Wall, JobId);

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        by_age((self.0, &self.1), (other.0, &other.1))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The older job first; among those of one age, as `pirn ls` sorts ids: numbers are given in the order of acceptance.
fn by_age((a_made, a): (Wall, &JobId), (b_made, b): (Wall, &JobId)) -> Ordering {
    a_made
        .cmp(&b_made)
        .then_with(|| natural_order(a.as_str(), b.as_str()))
}

#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: Vec<Option<Job>>,
    /// For each job without a gate.
    live: HashMap<Ix, Live>,
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
        Some((ix, self.live(ix)?))
    }

    /// As [`Self::find_live`], to change it.
    pub fn find_live_mut(&mut self, id: &JobId) -> Option<(Ix, &mut Live)> {
        let ix = self.find(id)?;
        Some((ix, self.live_mut(ix)?))
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
        self.live.remove(&ix);
        Some(job)
    }

    pub fn get(&self, ix: Ix) -> Option<&Job> {
        self.jobs.get(ix.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, ix: Ix) -> Option<&mut Job> {
        self.jobs.get_mut(ix.0 as usize)?.as_mut()
    }

    pub fn live(&self, ix: Ix) -> Option<&Live> {
        self.live.get(&ix)
    }

    pub fn live_mut(&mut self, ix: Ix) -> Option<&mut Live> {
        self.live.get_mut(&ix)
    }

    /// The job waits no more.
    pub fn go_live(&mut self, ix: Ix, live: Live) {
        if let Some(job) = self.get_mut(ix) {
            job.gate = None;
            self.live.insert(ix, live);
        }
    }

    /// The job waits before this gate, whatever it did until now.
    pub fn wait_at(&mut self, ix: Ix, gate: Gate) {
        if let Some(job) = self.get_mut(ix)
            && job.gate.replace(gate).is_none()
        {
            self.live.remove(&ix);
        }
    }

    /// True when the first is to run before the second: higher priority, then age.
    pub fn precedes(&self, a: Ix, b: Ix) -> bool {
        match (self.get(a), self.get(b)) {
            (Some(a), Some(b)) => {
                let by_priority = b.priority.cmp(&a.priority);
                let by_age = || by_age((a.made, &a.id), (b.made, &b.id));
                by_priority.then_with(by_age).is_lt()
            }
            (_, _) => false,
        }
    }

    /// True when something is to be done about this job of that generation at that moment.
    pub fn waits_for_boot(&self, ix: Ix, generation: u32, at: Boot) -> bool {
        let Some(job) = self.get(ix).filter(|job| job.generation == generation) else {
            return false;
        };
        match job.gate {
            None => self.live(ix).is_some_and(|live| match live.stage {
                Stage::Running => live.deadline == Some(at) || live.note_at == Some(at),
                Stage::Stopping { .. } => live.deadline == Some(at),
                Stage::Starting { .. } | Stage::Sweeping { .. } | Stage::Ending => false,
            }),
            Some(Gate::Date) => job.more.as_ref().is_some_and(|more| more.due == Some(at)),
            Some(Gate::Parents | Gate::Group | Gate::Slot(_)) => false,
        }
    }

    /// As [`Self::waits_for_boot`], for dates.
    pub fn waits_for_wall(&self, ix: Ix, generation: u32, at: Wall) -> bool {
        let job = self.get(ix).filter(|job| job.generation == generation);
        let Some((job, more)) = job.and_then(|job| Some((job, job.more.as_ref()?))) else {
            return false;
        };
        match job.gate {
            None => false,
            Some(Gate::Date) => more.expires == Some(at) || more.not_before == Some(at),
            Some(Gate::Parents | Gate::Group | Gate::Slot(_)) => more.expires == Some(at),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().flatten()
    }

    /// The jobs among `count` numbers from this one on, and the first number behind them if there are more.
    pub fn some(&self, from: usize, count: usize) -> (impl Iterator<Item = &Job>, Option<usize>) {
        let end = from.saturating_add(count).min(self.jobs.len());
        let jobs = self.jobs.get(from..end).unwrap_or_default();
        (
            jobs.iter().flatten(),
            (end < self.jobs.len()).then_some(end),
        )
    }

    fn id_of(&self, n: u32) -> Option<&JobId> {
        self.jobs.get(n as usize)?.as_ref().map(|job| &job.id)
    }
}
