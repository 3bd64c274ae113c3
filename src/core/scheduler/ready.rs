//! The jobs of a queue that could run now, first the one whose turn it is.
//!
//! A binary heap of numbers: what they are sorted by is in the table already, and need not be here once more. Each
//! job knows its seat, so that one in the middle can leave.

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

    /// Takes in a job that has no seat.
    pub fn insert(&mut self, ix: Ix, table: &mut Table) {
        self.0.push(ix);
        self.rise(self.0.len() - 1, table);
    }

    /// Lets the job with this seat go. Its seat means nothing from then on.
    pub fn remove(&mut self, seat: Seat, table: &mut Table) {
        let at = seat.index();
        if at >= self.0.len() {
            return;
        }
        self.0.swap_remove(at);
        if at < self.0.len() {
            // What was last may belong further up than here, but then not further down.
            self.sink(at, table);
            self.rise(at, table);
        }
    }

    fn rise(&mut self, mut at: usize, table: &mut Table) {
        while at > 0 && table.precedes(self.0[at], self.0[(at - 1) / 2]) {
            self.0.swap(at, (at - 1) / 2);
            self.tell(at, table);
            at = (at - 1) / 2;
        }
        self.tell(at, table);
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
                return self.tell(at, table);
            }
            self.0.swap(at, first);
            self.tell(at, table);
            at = first;
        }
    }

    /// Tells the job at this place where it is.
    fn tell(&self, at: usize, table: &mut Table) {
        table.wait_at(self.0[at], Gate::Slot(Seat::new(at)));
    }
}
