//! The jobs of a lane that could run now, the one whose turn it is first.
//!
//! A binary heap of numbers: the keys that order them are in the table. Each job knows its seat, so that one in the
//! middle can leave.

use super::table::{Gate, Ix, Seat, Table};

#[derive(Debug, Default)]
pub(super) struct Ready(Vec<Ix>);

impl Ready {
    pub fn first(&self) -> Option<Ix> {
        self.0.first().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a seat to a job that has none.
    pub fn insert(&mut self, ix: Ix, table: &mut Table) {
        self.0.push(ix);
        self.rise(self.0.len() - 1, table);
    }

    /// Takes out the job that has this seat. The seat means nothing from then on.
    pub fn remove(&mut self, ix: Ix, seat: Seat, table: &mut Table) {
        let at = seat.index();
        debug_assert_eq!(self.0.get(at), Some(&ix));
        self.0.swap_remove(at);
        if at < self.0.len() {
            // The last job, which is here now, may belong further up; if it does, it does not sink.
            self.sink(at, table);
            self.rise(at, table);
        }
    }

    fn rise(&mut self, mut at: usize, table: &mut Table) {
        while at > 0 && table.precedes(self.0[at], self.0[(at - 1) / 2]) {
            self.0.swap(at, (at - 1) / 2);
            self.seat(at, table);
            at = (at - 1) / 2;
        }
        self.seat(at, table);
    }

    fn sink(&mut self, mut at: usize, table: &mut Table) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let mut first = at;
            for child in children.into_iter().filter(|child| *child < self.0.len()) {
                if table.precedes(self.0[child], self.0[first]) {
                    first = child;
                }
            }
            if first == at {
                return self.seat(at, table);
            }
            self.0.swap(at, first);
            self.seat(at, table);
            at = first;
        }
    }

    /// Writes into the table which seat the job at this place has.
    fn seat(&self, at: usize, table: &mut Table) {
        table.wait_at(self.0[at], Gate::Slot(Seat::new(at)));
    }
}
