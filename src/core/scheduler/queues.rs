//! The queues, their slots, and the choice of the next job.

use super::ready::Ready;
use super::table::{Gate, Ix, QueueIx, Table};
use crate::core::config::CALLBACKS;
use crate::core::id::QueueName;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(super) struct Queue {
    pub name: QueueName,
    /// How many of its jobs may hold a slot at a time.
    pub slots: Option<usize>,
    /// No job is started from it: it is paused, or this daemon does not serve it.
    pub closed: bool,
    /// Its directory is being read: the next job can be chosen only when all are known.
    pub unread: bool,
    /// The numbers of the slots that its jobs hold.
    busy: BTreeSet<usize>,
    ready: Ready,
    served: u64,
}

impl Queue {
    /// True if jobs of it are started, now or when others have ended.
    pub fn is_open(&self) -> bool {
        !self.closed && self.slots != Some(0)
    }

    /// Takes a slot of the queue, even beyond `slots`. Gives its number.
    pub fn take_slot(&mut self) -> usize {
        take_lowest(&mut self.busy)
    }

    pub fn free_slot(&mut self, number: usize) {
        let was_busy = self.busy.remove(&number);
        debug_assert!(was_busy);
    }

    fn may_start(&self) -> bool {
        !self.closed && !self.unread && self.slots.is_none_or(|slots| self.busy.len() < slots)
    }
}

/// Takes the lowest number that is free.
pub(super) fn take_lowest(taken: &mut BTreeSet<usize>) -> usize {
    let number = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
    taken.insert(number);
    number
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    all: Vec<Queue>,
    by_name: HashMap<QueueName, QueueIx>,
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

impl Queues {
    /// The queue's number. A queue that is new gets these settings.
    pub fn intern(
        &mut self,
        name: &QueueName,
        settings: impl FnOnce() -> (Option<usize>, bool),
    ) -> QueueIx {
        if let Some(ix) = self.by_name.get(name) {
            return *ix;
        }
        let ix = QueueIx(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let (slots, closed) = settings();
        self.all.push(Queue {
            name: name.clone(),
            slots,
            closed,
            unread: false,
            busy: BTreeSet::new(),
            ready: Ready::default(),
            served: 0,
        });
        self.by_name.insert(name.clone(), ix);
        if name.as_str() == CALLBACKS {
            self.callbacks = Some(ix);
        }
        ix
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.all.iter_mut()
    }

    /// The job could run now: it gets a seat in its queue.
    pub fn insert(&mut self, ix: Ix, table: &mut Table) {
        let queue = table[ix].queue;
        self[queue].ready.insert(ix, table);
    }

    /// Takes a job's seat, if it has one. The caller puts it before another gate, or makes it live.
    pub fn remove(&mut self, ix: Ix, table: &mut Table) {
        let job = &table[ix];
        if let Some(Gate::Slot(seat)) = job.gate() {
            let queue = job.queue;
            self[queue].ready.remove(ix, seat, table);
            table.wait_at(ix, Gate::Parents);
        }
    }

    /// True for the queue whose jobs run beside those of all others, in slots of its own.
    pub fn is_beside(&self, queue: QueueIx) -> bool {
        self.callbacks == Some(queue)
    }

    /// How many jobs run beside the others.
    pub fn beside(&self) -> usize {
        self.callbacks.map_or(0, |ix| self[ix].busy.len())
    }

    /// How many jobs hold a slot of a queue.
    pub fn busy(&self) -> usize {
        self.all.iter().map(|queue| queue.busy.len()).sum()
    }

    /// Takes the next job: the one with the highest priority of all queues; among queues whose best jobs are equal,
    /// that of the queue that was served longest ago, so that a flood in one queue does not starve another. If all
    /// shared slots are taken, only a job that runs beside them.
    pub fn take_next(&mut self, table: &mut Table, has_slot: bool) -> Option<Ix> {
        let queues = match has_slot {
            true => self.all.as_slice(),
            false => std::slice::from_ref(&self[self.callbacks?]),
        };
        let open = queues.iter().filter(|queue| queue.may_start());
        let firsts = open.filter_map(|queue| Some((queue, queue.ready.first()?)));
        let (_, ix) =
            firsts.min_by_key(|(queue, ix)| (Reverse(table[*ix].priority), queue.served))?;
        self.remove(ix, table);
        Some(ix)
    }

    /// A job of this queue got a slot: it is the last queue to be served again.
    pub fn serve(&mut self, queue: QueueIx) {
        self.turn += 1;
        let turn = self.turn;
        self[queue].served = turn;
    }

    /// True when a job could be started if there were a slot.
    pub fn any_startable(&self) -> bool {
        self.all
            .iter()
            .any(|queue| queue.is_open() && !queue.ready.is_empty())
    }
}
