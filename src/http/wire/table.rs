//! All connections, by key. A key is never given twice, so that what a worker sends to a connection that is gone
//! reaches nobody.

use super::conn::Conn;
use crate::core::time::Boot;
use std::collections::BTreeSet;

/// Names a connection, now and for ever: its place in the low half, how often that was used in the high one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    fn place(self) -> usize {
        usize::try_from(self.0 & 0xffff_ffff).unwrap_or(usize::MAX)
    }
}

/// The table, with everybody's deadlines.
#[derive(Default)]
pub struct Table {
    places: Vec<(u64, Option<Conn>)>,
    free: Vec<usize>,
    deadlines: BTreeSet<(Boot, Key)>,
}

/// Keys begin here; smaller numbers are the poller's other descriptors.
pub const FIRST_KEY: u64 = 1 << 32;

impl Table {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Enters a connection.
    pub fn add(&mut self, conn: Conn) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() - 1
        });
        let (used, slot) = &mut self.places[place];
        *used += 1;
        *slot = Some(conn);
        Key(*used * FIRST_KEY + place as u64)
    }

    /// The connection, if it is still there.
    pub fn get(&mut self, key: Key) -> Option<&mut Conn> {
        let (used, conn) = self.places.get_mut(key.place())?;
        conn.as_mut().filter(|_| *used == key.0 / FIRST_KEY)
    }

    /// Takes a connection out.
    pub fn remove(&mut self, key: Key) -> Option<Conn> {
        self.get(key)?;
        let conn = self.places[key.place()].1.take()?;
        self.free.push(key.place());
        Some(conn)
    }

    /// Every key.
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Every connection.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Conn)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(place, (used, conn))| {
                Some((Key(used * FIRST_KEY + place as u64), conn.as_ref()?))
            })
    }

    /// Moves a deadline from what it was.
    pub fn reschedule(&mut self, key: Key, old: Option<Boot>, new: Option<Boot>) {
        if old != new {
            self.deadlines.extend(new.map(|at| (at, key)));
            if let Some(at) = old {
                self.deadlines.remove(&(at, key));
            }
        }
    }

    /// The next deadline.
    pub fn next_deadline(&self) -> Option<Boot> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A connection that is out of time.
    pub fn overdue(&self, now: Boot) -> Option<Key> {
        self.deadlines
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, key)| *key)
    }
}
