//! The settings that scheduling depends on, and the demands that they can meet.

use crate::core::config::pauses::Pauses;
use crate::core::config::{Config, Only};
use crate::core::id::QueueName;
use crate::core::tokens::{TokenName, Uses};
use std::sync::Arc;

/// The settings that scheduling depends on.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Jobs at a time.
    pub slots: usize,
    /// The settings, for their pauses, queue slots and tokens.
    pub config: Arc<Config>,
    /// Pauses that are files.
    pub pauses: Pauses,
    /// The queues that are served.
    pub only: Only,
}

/// The slots and tokens that a job takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Demand {
    /// Slots of the spool and of its queue, at least one.
    pub slots: u32,
    /// Tokens, each at least once.
    pub uses: Uses,
}

impl Default for Demand {
    fn default() -> Self {
        let uses = Uses::new();
        Self { slots: 1, uses }
    }
}

impl Demand {
    /// The demand of a record with these fields.
    pub fn new(slots: Option<u32>, uses: &Uses) -> Self {
        let slots = slots.unwrap_or(1);
        let uses = uses.clone();
        Self { slots, uses }
    }

    /// How many slots it takes, to be added to others.
    pub fn weight(&self) -> usize {
        usize::try_from(self.slots).unwrap_or(usize::MAX)
    }

    /// True for one slot and no token, which most jobs take.
    pub(super) fn is_plain(&self) -> bool {
        self.slots == 1 && self.uses.is_empty()
    }
}

/// The part of a demand that is more than there is in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excess<'d> {
    /// Tokens of one name.
    Tokens {
        /// Their name.
        name: &'d TokenName,
        /// How many are asked for.
        wanted: u32,
        /// How many there are; `None`: the settings do not have this name.
        total: Option<usize>,
    },
    /// Slots of its queue, which has this many.
    OfQueue(usize),
    /// Slots of the spool, which has this many.
    OfSpool(usize),
}

impl Policy {
    /// The slots of a queue, and whether it is closed, so that no job is started from it.
    pub(super) fn of(&self, queue: &QueueName) -> (Option<usize>, bool) {
        let slots = self.config.slots_of(queue);
        (
            // A daemon without slots starts no job at all.
            slots.map(|slots| if self.slots == 0 { 0 } else { slots }),
            self.is_closed(queue),
        )
    }

    /// True if no job is started from this queue: it is paused, or not served.
    pub fn is_closed(&self, queue: &QueueName) -> bool {
        self.is_paused(queue) || !self.only.serves(queue)
    }

    /// True if this queue is paused, by itself or with all others.
    pub fn is_paused(&self, queue: &QueueName) -> bool {
        self.config.is_paused(queue, &self.pauses)
    }

    /// True if nothing is started at all.
    pub fn are_all_paused(&self) -> bool {
        self.config.paused || self.pauses.all
    }

    /// The part of a demand that keeps a job of `queue` waiting until the settings have more; `None`: they have enough.
    pub fn excess<'d>(&self, queue: &QueueName, demand: &'d Demand) -> Option<Excess<'d>> {
        for (name, wanted) in &demand.uses {
            let total = self.config.tokens.get(name).map(|supply| supply.total());
            if !usize::try_from(*wanted).is_ok_and(|n| total.is_some_and(|total| n <= total)) {
                return Some(Excess::Tokens {
                    name,
                    wanted: *wanted,
                    total,
                });
            }
        }
        let weight = demand.weight();
        let of_queue = self.config.slots_of(queue).filter(|slots| *slots < weight);
        let is_bounded = self.slots == 0 || !Config::is_beside(queue);
        of_queue
            .map(Excess::OfQueue)
            .or_else(|| (is_bounded && self.slots < weight).then_some(Excess::OfSpool(self.slots)))
    }
}
