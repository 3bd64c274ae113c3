//! The queues, their lanes and slots, and the choice of the next job.
//!
//! The jobs of a queue that take the same slots and tokens are a *lane*. If the first of them that could run lacks
//! something, so do all behind it: only the first of each lane has to be looked at, however many wait.

use super::policy::{Demand, Policy};
use super::ready::Ready;
use super::slots::SlotNumbers;
use super::table::{Gate, Ix, Job, LaneIx, QueueIx, Table};
use super::tokens::FreeTokens;
use crate::core::config::CALLBACKS;
use crate::core::id::QueueName;
use crate::core::tokens::Uses;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(super) struct Queue {
    pub name: QueueName,
    /// How many slots its jobs may hold at a time.
    slots: Option<usize>,
    /// No job is started from it: it is paused, or this daemon does not serve it.
    closed: bool,
    /// Its directory is being read: the next job can be chosen only when all are known.
    pub unread: bool,
    /// The slots that its jobs hold.
    pub busy: SlotNumbers,
    served: u64,
}

impl Queue {
    /// True if jobs of it are started, now or when others have ended.
    fn is_open(&self) -> bool {
        !self.closed && self.slots != Some(0)
    }

    /// True while jobs of it may be chosen.
    fn is_served(&self) -> bool {
        !self.closed && !self.unread
    }

    fn has_room(&self, weight: usize) -> bool {
        let fits = |slots| self.busy.used().saturating_add(weight) <= slots;
        self.slots.is_none_or(fits)
    }
}

/// The jobs of a queue that take the same.
#[derive(Debug)]
pub(super) struct Lane {
    pub queue: QueueIx,
    pub demand: Demand,
    /// The settings have as much as its jobs take.
    fits: bool,
    /// How many jobs are in it, live ones included.
    jobs: usize,
    ready: Ready,
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    all: Vec<Queue>,
    by_name: HashMap<QueueName, QueueIx>,
    lanes: Vec<Lane>,
    by_demand: HashMap<(QueueIx, Demand), LaneIx>,
    /// The lanes that hold no job and may be used for another demand.
    free_lanes: Vec<LaneIx>,
    /// How many lanes in use take tokens.
    with_tokens: usize,
    /// The queue of the callbacks, once a job of it or its directory was seen.
    callbacks: Option<QueueIx>,
    turn: u64,
}

impl Index<QueueIx> for Queues {
    type Output = Queue;

    fn index(&self, ix: QueueIx) -> &Queue {
        &self.all[ix.0 as usize]
    }
}

impl IndexMut<QueueIx> for Queues {
    fn index_mut(&mut self, ix: QueueIx) -> &mut Queue {
        &mut self.all[ix.0 as usize]
    }
}

impl Index<LaneIx> for Queues {
    type Output = Lane;

    fn index(&self, ix: LaneIx) -> &Lane {
        &self.lanes[ix.0 as usize]
    }
}

impl IndexMut<LaneIx> for Queues {
    fn index_mut(&mut self, ix: LaneIx) -> &mut Lane {
        &mut self.lanes[ix.0 as usize]
    }
}

impl Queues {
    /// The queue's number.
    pub fn intern(&mut self, name: &QueueName, policy: &Policy) -> QueueIx {
        if let Some(ix) = self.by_name.get(name) {
            return *ix;
        }
        let ix = QueueIx(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let (slots, closed) = policy.of(name);
        self.all.push(Queue {
            name: name.clone(),
            slots,
            closed,
            unread: false,
            busy: SlotNumbers::default(),
            served: 0,
        });
        self.by_name.insert(name.clone(), ix);
        if name.as_str() == CALLBACKS {
            self.callbacks = Some(ix);
        }
        ix
    }

    /// Enters a job with this demand into its lane.
    pub fn enter_lane(&mut self, queue: QueueIx, demand: &Demand, policy: &Policy) -> LaneIx {
        let key = (queue, demand.clone());
        if let Some(ix) = self.by_demand.get(&key).copied() {
            self[ix].jobs += 1;
            return ix;
        }
        let lane = Lane {
            queue,
            demand: demand.clone(),
            fits: policy.excess(&self[queue].name, demand).is_none(),
            jobs: 1,
            ready: Ready::default(),
        };
        self.with_tokens += usize::from(!demand.uses.is_empty());
        let ix = match self.free_lanes.pop() {
            Some(ix) => {
                self[ix] = lane;
                ix
            }
            None => {
                self.lanes.push(lane);
                LaneIx(u32::try_from(self.lanes.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.by_demand.insert(key, ix);
        ix
    }

    /// A job leaves its lane for good. The lane of the usual demand stays, as its queue does.
    pub fn leave_lane(&mut self, ix: LaneIx) {
        let lane = &mut self[ix];
        lane.jobs -= 1;
        if lane.jobs == 0 && !lane.demand.is_plain() {
            debug_assert!(lane.ready.is_empty());
            let key = (lane.queue, std::mem::take(&mut lane.demand));
            self.with_tokens -= usize::from(!key.1.uses.is_empty());
            self.by_demand.remove(&key);
            self.free_lanes.push(ix);
        }
    }

    /// The settings have changed.
    pub fn configure(&mut self, policy: &Policy) {
        for queue in &mut self.all {
            (queue.slots, queue.closed) = policy.of(&queue.name);
        }
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let excess = policy.excess(&self[lane.queue].name, &lane.demand);
            self.lanes[at].fits = excess.is_none();
        }
    }

    /// The name of a job's queue.
    pub fn name_of(&self, job: &Job) -> &QueueName {
        &self[self[job.lane].queue].name
    }

    /// A job's queue, and how many slots it takes.
    pub fn weight_of(&self, job: &Job) -> (QueueIx, usize) {
        let lane = &self[job.lane];
        (lane.queue, lane.demand.weight())
    }

    /// The job could run now: it gets a seat in its lane.
    pub fn insert(&mut self, ix: Ix, table: &mut Table) {
        let lane = table[ix].lane;
        self[lane].ready.insert(ix, table);
    }

    /// Takes a job's seat, if it has one. The caller puts it before another gate, or makes it live.
    pub fn remove(&mut self, ix: Ix, table: &mut Table) {
        let job = &table[ix];
        if let Some(Gate::Slot(seat)) = job.gate() {
            let lane = job.lane;
            self[lane].ready.remove(ix, seat, table);
            table.wait_at(ix, Gate::Parents);
        }
    }

    /// True for the queue whose jobs run beside those of all others, in slots of its own.
    pub fn is_beside(&self, queue: QueueIx) -> bool {
        self.callbacks == Some(queue)
    }

    /// How many jobs run beside the others.
    pub fn beside(&self) -> usize {
        self.callbacks.map_or(0, |ix| self[ix].busy.jobs())
    }

    /// How many jobs hold slots of a queue.
    pub fn busy(&self) -> usize {
        self.all.iter().map(|queue| queue.busy.jobs()).sum()
    }

    /// True if some jobs take tokens.
    pub fn uses_tokens(&self) -> bool {
        self.with_tokens > 0
    }

    /// Takes the next job: the one with the highest priority of all queues; among queues whose best jobs are equal,
    /// that of the queue that was served longest ago, so that a flood in one queue does not starve another. If all
    /// shared slots are taken, only a job that runs beside them.
    ///
    /// If the job whose turn it is lacks slots, those that are free are kept for it: those of its queue, or else those
    /// that are shared.
    pub fn take_next(
        &mut self,
        table: &mut Table,
        free_slots: usize,
        free_tokens: FreeTokens,
    ) -> Option<Ix> {
        let granted = self.grant(table, free_tokens);
        let mut has_slot = free_slots > 0;
        let mut full = HashSet::new();
        loop {
            let may_start = |(ix, lane): &(LaneIx, &Lane)| {
                let queue = &self[lane.queue];
                lane.fits
                    && (has_slot || self.is_beside(lane.queue))
                    && queue.is_served()
                    && queue.has_room(1)
                    && !full.contains(&lane.queue)
                    && (lane.demand.uses.is_empty() || granted.contains(ix))
            };
            let firsts = self
                .lanes()
                .filter(may_start)
                .filter_map(|(_, lane)| Some((lane, lane.ready.first()?)));
            let (lane, ix) = firsts.min_by(|(a, first), (b, second)| {
                let key = |lane: &Lane, ix: Ix| {
                    (
                        Reverse(table[ix].priority),
                        self[lane.queue].served,
                        lane.queue,
                    )
                };
                let by_turn = key(a, *first).cmp(&key(b, *second));
                by_turn.then_with(|| table.order(*first, *second))
            })?;
            if !self[lane.queue].has_room(lane.demand.weight()) {
                full.insert(lane.queue);
            } else if lane.demand.weight() > free_slots && !self.is_beside(lane.queue) {
                has_slot = false;
            } else {
                self.remove(ix, table);
                return Some(ix);
            }
        }
    }

    fn lanes(&self) -> impl Iterator<Item = (LaneIx, &Lane)> {
        (0..).map(LaneIx).zip(&self.lanes)
    }

    /// The lanes whose first jobs have all their tokens. The jobs are served in order: tokens that do not suffice for one
    /// are kept for it. Those of a queue without a free slot take part, or else they would miss each token that becomes
    /// free while others of their queue run.
    fn grant(&self, table: &Table, mut free: FreeTokens) -> HashSet<LaneIx> {
        if self.with_tokens == 0 {
            return HashSet::new();
        }
        let mut heads: Vec<(Ix, LaneIx, &Uses)> = self
            .lanes()
            .filter(|(_, lane)| lane.fits && !lane.demand.uses.is_empty())
            .filter(|(_, lane)| self[lane.queue].is_served())
            .filter_map(|(ix, lane)| Some((lane.ready.first()?, ix, &lane.demand.uses)))
            .collect();
        heads.sort_by(|(a, ..), (b, ..)| table.order(*a, *b));
        let mut granted = HashSet::new();
        for (_, lane, uses) in heads {
            let mut is_enough = true;
            for (name, n) in uses {
                let wanted = usize::try_from(*n).unwrap_or(usize::MAX);
                let Some(left) = free.get_mut(name) else {
                    is_enough = false;
                    continue;
                };
                is_enough &= wanted <= *left;
                *left = left.saturating_sub(wanted);
            }
            if is_enough {
                granted.insert(lane);
            }
        }
        granted
    }

    /// A job of this queue got a slot: it is the last queue to be served again.
    pub fn serve(&mut self, queue: QueueIx) {
        self.turn += 1;
        let turn = self.turn;
        self[queue].served = turn;
    }

    /// True when jobs of this lane will be started by themselves.
    pub fn may_ever_start(&self, lane: LaneIx) -> bool {
        self[lane].fits && self[self[lane].queue].is_open()
    }

    /// True when a job could be started if there were a slot.
    pub fn any_startable(&self) -> bool {
        let mut ready = self.lanes().filter(|(_, lane)| !lane.ready.is_empty());
        ready.any(|(ix, _)| self.may_ever_start(ix))
    }
}
