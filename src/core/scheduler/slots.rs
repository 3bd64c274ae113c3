//! Slots that jobs hold.

use std::collections::BTreeSet;

/// The slots of the spool, or of one queue, that are taken.
#[derive(Debug, Default)]
pub(super) struct SlotNumbers {
    /// A number for each job.
    numbers: BTreeSet<usize>,
    /// How many slots these jobs take together.
    used: usize,
}

impl SlotNumbers {
    /// How many jobs hold slots.
    pub fn jobs(&self) -> usize {
        self.numbers.len()
    }

    /// How many slots they hold.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Takes `weight` slots for a job, however many are taken. Gives it the lowest number that is free.
    pub fn take(&mut self, weight: usize) -> usize {
        let number = (0..).find(|n| !self.numbers.contains(n)).unwrap_or(0);
        self.numbers.insert(number);
        self.used += weight;
        number
    }

    /// Gives back the slots of the job that has this number.
    pub fn free(&mut self, number: usize, weight: usize) {
        let was_taken = self.numbers.remove(&number);
        debug_assert!(was_taken && weight <= self.used);
        self.used -= weight;
    }
}
