//! All jobs that the scheduler knows, by number and by id.
//!
//! A waiting job must cost little memory, at most 150 bytes. So the fields that most jobs do not need are kept
//! elsewhere, and neither the index nor the order of those that are ready keeps more of a job than its number.

use super::live::{Live, Stage};
use super::types::{Parent, Stamp, Ticket};
use crate::core::id::{JobId, natural_order};
use crate::core::time::{Boot, Wall};
use hashbrown::HashTable;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::{Index, IndexMut};

/// A job's number in the table: valid until the job is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ix(u32);

/// A job's number together with its generation, for timers: they may outlive the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobRef {
    ix: Ix,
    generation: u32,
}

/// The number of a lane: valid while a job is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneIx(pub u32);

/// A queue's number: always valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueIx(pub u32);

/// Fields that few waiting jobs have.
#[derive(Debug, Default)]
pub(super) struct More {
    pub not_before: Option<Wall>,
    pub due: Option<Boot>,
    pub expires: Option<Wall>,
    pub group: Option<Box<str>>,
    pub parents: Vec<Parent>,
    /// The parents have ended, or the job has run before.
    pub passed: bool,
    /// How often it was not started for processes of an earlier try.
    pub busy: u32,
}

/// The gates before which jobs wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Parents have not ended.
    Parents,
    /// Another job of its group goes first.
    Group,
    /// Its time has not come.
    Date,
    /// It could run now: its seat among the ready jobs of its lane.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// This entry of the table holds no job.
    Free,
    Waiting(Gate),
    /// The rest is in `Table::live`.
    Live,
}

#[derive(Debug)]
pub(super) struct Job {
    pub id: JobId,
    pub made: Wall,
    pub more: Option<Box<More>>,
    // The parts of a `Stamp`, which itself is four bytes larger.
    inode: u64,
    modified: i64,
    size: u32,
    pub priority: i32,
    pub lane: LaneIx,
    generation: u32,
    progress: Progress,
}

const _: () = assert!(size_of::<Job>() <= 80);

impl Job {
    /// Before the first gate.
    pub fn new(ticket: &Ticket, lane: LaneIx) -> Self {
        Self {
            id: ticket.id.clone(),
            made: ticket.made,
            more: None,
            inode: ticket.stamp.inode,
            modified: ticket.stamp.modified,
            size: ticket.stamp.size,
            priority: ticket.priority,
            lane,
            generation: 0,
            progress: Progress::Waiting(Gate::Parents),
        }
    }

    fn free() -> Self {
        Self {
            id: JobId::NONE,
            made: Wall(0),
            more: None,
            inode: 0,
            modified: 0,
            size: 0,
            priority: 0,
            lane: LaneIx(0),
            generation: 0,
            progress: Progress::Free,
        }
    }

    fn is_free(&self) -> bool {
        self.progress == Progress::Free
    }

    /// Which file it is.
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
        match self.progress {
            Progress::Waiting(gate) => Some(gate),
            Progress::Live | Progress::Free => None,
        }
    }

    pub fn is_live(&self) -> bool {
        self.progress == Progress::Live
    }

    pub fn group(&self) -> Option<&str> {
        self.more.as_ref()?.group.as_deref()
    }

    pub fn not_before(&self) -> Option<Wall> {
        self.more.as_ref()?.not_before
    }

    pub fn expires(&self) -> Option<Wall> {
        self.more.as_ref()?.expires
    }

    /// The end of its backoff.
    pub fn due(&self) -> Option<Boot> {
        self.more.as_ref()?.due
    }

    pub fn parents(&self) -> &[Parent] {
        self.more.as_ref().map_or(&[], |more| &more.parents)
    }

    /// Where the job stands among others of its priority.
    pub fn rank(&self) -> Rank {
        Rank(self.made, self.id.clone())
    }
}

/// When a job was made, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank(pub Wall, pub JobId);

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

/// The older job comes first; among jobs of one age, the order is that of `pirn ls`: numbers by value.
fn by_age((a_made, a): (Wall, &JobId), (b_made, b): (Wall, &JobId)) -> Ordering {
    a_made
        .cmp(&b_made)
        .then_with(|| natural_order(a.as_str(), b.as_str()))
}

#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: Vec<Job>,
    live: HashMap<Ix, Live>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    generation: u32,
}

impl Index<Ix> for Table {
    type Output = Job;

    fn index(&self, ix: Ix) -> &Job {
        let job = &self.jobs[ix.0 as usize];
        debug_assert!(!job.is_free(), "{ix:?} was removed");
        job
    }
}

impl IndexMut<Ix> for Table {
    fn index_mut(&mut self, ix: Ix) -> &mut Job {
        let job = &mut self.jobs[ix.0 as usize];
        debug_assert!(!job.is_free(), "{ix:?} was removed");
        job
    }
}

impl Table {
    pub fn len(&self) -> usize {
        self.jobs.len() - self.free.len()
    }

    /// How many of the jobs are live.
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    pub fn find(&self, id: &JobId) -> Option<Ix> {
        let hash = self.hasher.hash_one(id.as_str());
        let found = self
            .index
            .find(hash, |&n| self.jobs[n as usize].id == *id)?;
        Some(Ix(*found))
    }

    /// The job of this id, if it is live.
    pub fn find_live(&self, id: &JobId) -> Option<&Live> {
        self.live(self.find(id)?)
    }

    /// The same, to change it.
    pub fn find_live_mut(&mut self, id: &JobId) -> Option<(Ix, &mut Live)> {
        let ix = self.find(id)?;
        Some((ix, self.live_mut(ix)?))
    }

    pub fn insert(&mut self, mut job: Job) -> Ix {
        debug_assert!(self.find(&job.id).is_none());
        self.generation = self.generation.wrapping_add(1);
        job.generation = self.generation;
        let hash = self.hasher.hash_one(job.id.as_str());
        let n = match self.free.pop() {
            Some(n) => {
                self.jobs[n as usize] = job;
                n
            }
            None => {
                self.jobs.push(job);
                u32::try_from(self.jobs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let (jobs, hasher) = (&self.jobs, &self.hasher);
        self.index
            .insert_unique(hash, n, |&n| hasher.hash_one(jobs[n as usize].id.as_str()));
        Ix(n)
    }

    /// Takes a job out. Its number may then be another job's.
    pub fn remove(&mut self, ix: Ix) -> Job {
        let job = std::mem::replace(&mut self[ix], Job::free());
        let hash = self.hasher.hash_one(job.id.as_str());
        if let Ok(entry) = self.index.find_entry(hash, |&n| n == ix.0) {
            entry.remove();
        }
        self.free.push(ix.0);
        if job.is_live() {
            self.live.remove(&ix);
        }
        job
    }

    /// The stage of the job; `None` if it waits.
    pub fn live(&self, ix: Ix) -> Option<&Live> {
        self.live.get(&ix)
    }

    pub fn live_mut(&mut self, ix: Ix) -> Option<&mut Live> {
        self.live.get_mut(&ix)
    }

    /// The waiting job, which has no seat, is live from now on.
    pub fn go_live(&mut self, ix: Ix, live: Live) {
        let job = &mut self[ix];
        debug_assert!(!matches!(job.gate(), None | Some(Gate::Slot(_))));
        job.progress = Progress::Live;
        self.live.insert(ix, live);
    }

    /// The live job is in this stage from now on.
    pub fn set_stage(&mut self, ix: Ix, stage: Stage) {
        debug_assert!(self[ix].is_live());
        if let Some(live) = self.live.get_mut(&ix) {
            live.stage = stage;
        }
    }

    /// The job, live or waiting, waits before this gate from now on.
    pub fn wait_at(&mut self, ix: Ix, gate: Gate) {
        if self[ix].is_live() {
            self.live.remove(&ix);
        }
        self[ix].progress = Progress::Waiting(gate);
    }

    /// True when the first is to run before the second.
    pub fn precedes(&self, a: Ix, b: Ix) -> bool {
        self.order(a, b).is_lt()
    }

    /// Higher priority first, then age.
    pub fn order(&self, a: Ix, b: Ix) -> Ordering {
        let (a, b) = (&self[a], &self[b]);
        let by_priority = b.priority.cmp(&a.priority);
        let by_age = || by_age((a.made, &a.id), (b.made, &b.id));
        by_priority.then_with(by_age)
    }

    pub fn reference(&self, ix: Ix) -> JobRef {
        let generation = self[ix].generation;
        JobRef { ix, generation }
    }

    /// The job that is referred to, unless it was removed.
    pub fn resolve(&self, job: JobRef) -> Option<Ix> {
        let entry = &self.jobs[job.ix.0 as usize];
        (!entry.is_free() && entry.generation == job.generation).then_some(job.ix)
    }

    /// True when something is to be done about this job at that moment.
    pub fn waits_for_boot(&self, job: JobRef, at: Boot) -> bool {
        self.resolve(job).is_some_and(|ix| match self[ix].gate() {
            None => self.live(ix).is_some_and(|live| live.waits_for(at)),
            Some(Gate::Date) => self[ix].due() == Some(at),
            Some(Gate::Parents | Gate::Group | Gate::Slot(_)) => false,
        })
    }

    /// As [`Self::waits_for_boot`], for dates.
    pub fn waits_for_wall(&self, job: JobRef, at: Wall) -> bool {
        self.resolve(job).is_some_and(|ix| {
            let job = &self[ix];
            let is_due = [job.not_before(), job.expires()].map(|date| date == Some(at));
            match job.gate() {
                None => false,
                Some(Gate::Date) => is_due[0] || is_due[1],
                Some(Gate::Parents | Gate::Group | Gate::Slot(_)) => is_due[1],
            }
        })
    }

    /// True if a live job is in such a stage.
    pub fn any_live(&self, is_such: impl Fn(&Stage) -> bool) -> bool {
        self.live.values().any(|live| is_such(&live.stage))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| !job.is_free())
    }

    /// The jobs among `count` numbers from this one on, and the first number behind them if there are more.
    pub fn some(&self, from: usize, count: usize) -> (impl Iterator<Item = &Job>, Option<usize>) {
        let end = from.saturating_add(count).min(self.jobs.len());
        let jobs = self.jobs.get(from..end).unwrap_or_default();
        (
            jobs.iter().filter(|job| !job.is_free()),
            (end < self.jobs.len()).then_some(end),
        )
    }
}
