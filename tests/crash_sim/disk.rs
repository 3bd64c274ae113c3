//! A disk with two states: the one that a running system sees, and the one that is left after a power cut.
//!
//! Every change of names is one operation (create, rename, exchange, unlink, mkdir), atomic as a whole. Until a
//! directory that it changed is synced, the operation may be on the disk or not, independently of the others: a rename
//! of the last second may survive while one of the last minute is lost. Three rules limit this:
//!
//! - Operations on one name keep their order, because a directory entry has one value at a time: a later value cannot be
//!   on the disk while an earlier one "is not yet". Hence each operation depends on those that last touched its names.
//! - A name in a queue's directory that nobody synced exists only if the directory does. A sync of the queue does not
//!   make the queue's own name in `pending/` durable; POSIX does not promise that. If that name is lost, the synced files
//!   in the directory are lost with it.
//! - Syncing a directory makes whole operations durable: the other end of a rename too, and the directory of that end.
//!   File systems whose renames are atomic do this (ext4, XFS, btrfs), and a queue of two directories needs it. Only the
//!   name of the synced directory itself may be missing.
//!
//! Data is separate from names: a file whose name is durable and whose data was not synced may be complete, torn or
//! empty, as on XFS. Syncing the data does not make the name durable.
//!
//! Real file systems lose a suffix of one journal: each of these states is among those tried here.

use super::dice::Dice;
use pirn::spool::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub type Ino = u64;
pub type Entry = (Place, Vec<u8>);

#[derive(Debug, Clone, Hash)]
pub enum Node {
    Dir,
    File {
        bytes: Arc<[u8]>,
        synced: bool,
        modified: i64,
    },
}

/// One change of names that may not be on the disk.
#[derive(Debug, Clone, Hash)]
pub struct Op {
    id: u64,
    changes: Vec<(Entry, Option<Ino>)>,
    /// The operations that last touched the same names.
    after: Vec<u64>,
    /// The operations that made the queues it is in.
    within: Vec<(Place, u64)>,
}

impl Op {
    fn touches(&self, place: &Place) -> bool {
        self.changes.iter().any(|((at, _), _)| at == place)
    }

    /// True if recovery throws all of its names away.
    fn is_staging(&self) -> bool {
        self.changes.iter().all(|(entry, _)| is_staging(entry))
    }
}

/// The state of unsynced data after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Full,
    Empty,
    Torn,
    /// Each file has its own state.
    Mixed,
}

#[derive(Debug, Clone, Default, Hash)]
pub struct Disk {
    pub nodes: BTreeMap<Ino, Node>,
    pub live: BTreeMap<Entry, Ino>,
    durable: BTreeMap<Entry, Ino>,
    ops: Vec<Op>,
    /// The texts that `seq` may have: the first is on the disk, the last is the one that is read.
    seq: Vec<String>,
    next: u64,
}

impl Disk {
    pub fn new() -> Self {
        Self {
            seq: vec![String::new()],
            ..Self::default()
        }
    }

    pub fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// How much has been done so far.
    pub fn age(&self) -> u64 {
        self.next
    }

    pub fn file(&mut self, bytes: &[u8]) -> Ino {
        let ino = self.tick();
        let node = Node::File {
            bytes: bytes.into(),
            synced: false,
            modified: ino as i64 * 1_000_000_000,
        };
        self.nodes.insert(ino, node);
        ino
    }

    pub fn dir(&mut self) -> Ino {
        let ino = self.tick();
        self.nodes.insert(ino, Node::Dir);
        ino
    }

    pub fn write(&mut self, ino: Ino, content: &[u8]) {
        if let Some(Node::File { bytes, synced, .. }) = self.nodes.get_mut(&ino) {
            *bytes = content.into();
            *synced = false;
        }
    }

    pub fn sync_data(&mut self, ino: Ino) {
        if let Some(Node::File { synced, .. }) = self.nodes.get_mut(&ino) {
            *synced = true;
        }
    }

    /// Changes names, all of them or none.
    pub fn change(&mut self, changes: Vec<(Entry, Option<Ino>)>) {
        let last = |entry: &Entry| {
            let touching = |op: &&Op| op.changes.iter().any(|(touched, _)| touched == entry);
            self.ops.iter().rev().find(touching).map(|op| op.id)
        };
        let after = changes.iter().filter_map(|(entry, _)| last(entry));
        let after = after.collect();
        let within = changes.iter().filter_map(|((place, _), _)| match place {
            Place::Queue(queue) => {
                let made = last(&(Place::Pending, queue.as_str().into()))?;
                Some((place.clone(), made))
            }
            _ => None,
        });
        let within = within.collect();
        for (entry, ino) in &changes {
            set(&mut self.live, entry, *ino);
        }
        let id = self.tick();
        self.ops.push(Op {
            id,
            changes,
            after,
            within,
        });
    }

    /// Makes the names of a directory durable, with the operations that they depend on.
    pub fn sync(&mut self, place: &Place) {
        let mut wanted: BTreeSet<u64> = BTreeSet::new();
        for op in self.ops.iter().rev() {
            if op.touches(place) || wanted.contains(&op.id) {
                wanted.insert(op.id);
                wanted.extend(&op.after);
                let elsewhere = op.within.iter().filter(|(queue, _)| queue != place);
                wanted.extend(elsewhere.map(|(_, made)| made));
            }
        }
        self.settle(|op| wanted.contains(&op.id));
    }

    /// Makes everything durable, as the kernel does in the background every few seconds.
    pub fn sync_all(&mut self) {
        self.settle(|_| true);
        for node in self.nodes.values_mut() {
            if let Node::File { synced, .. } = node {
                *synced = true;
            }
        }
        self.sync_seq();
    }

    fn settle(&mut self, wanted: impl Fn(&Op) -> bool) {
        let (now, later) = std::mem::take(&mut self.ops).into_iter().partition(wanted);
        self.ops = later;
        for op in now {
            for (entry, ino) in &op.changes {
                set(&mut self.durable, entry, *ino);
            }
        }
    }

    pub fn seq(&self) -> &str {
        self.seq.last().map_or("", String::as_str)
    }

    pub fn set_seq(&mut self, text: String) {
        self.seq.push(text);
    }

    pub fn sync_seq(&mut self) {
        self.seq.drain(..self.seq.len() - 1);
    }

    /// The operations of which each may survive a cut or not.
    pub fn open_questions(&self) -> Vec<u64> {
        let open = self.ops.iter().filter(|op| !op.is_staging());
        open.map(|op| op.id).collect()
    }

    /// The wanted operations, and those that they depend on.
    pub fn closure(&self, wanted: impl Fn(u64) -> bool) -> BTreeSet<u64> {
        let mut all: BTreeSet<u64> = BTreeSet::new();
        for op in self.ops.iter().rev() {
            if all.contains(&op.id) || wanted(op.id) {
                all.insert(op.id);
                all.extend(&op.after);
                all.extend(op.within.iter().map(|(_, made)| made));
            }
        }
        all.retain(|id| self.ops.binary_search_by_key(id, |op| op.id).is_ok());
        all
    }

    /// The disk after a cut that just these operations have survived.
    pub fn image(&self, survived: &BTreeSet<u64>, data: Data, dice: &mut Dice) -> Self {
        let mut names = self.durable.clone();
        for op in self.ops.iter().filter(|op| survived.contains(&op.id)) {
            for (entry, ino) in &op.changes {
                set(&mut names, entry, *ino);
            }
        }
        let dirs: BTreeSet<Vec<u8>> = names
            .iter()
            .filter(|(_, ino)| matches!(self.nodes.get(ino), Some(Node::Dir)))
            .map(|((_, name), _)| name.clone())
            .collect();
        names.retain(|(place, _), _| match place {
            Place::Queue(queue) => dirs.contains(queue.as_str().as_bytes()),
            _ => true,
        });
        let mut nodes = BTreeMap::new();
        for ino in names.values() {
            let mut node = self.nodes[ino].clone();
            if let Node::File { bytes, synced, .. } = &mut node {
                if !*synced {
                    *bytes = left_of(bytes, data, dice);
                }
                *synced = true;
            }
            nodes.insert(*ino, node);
        }
        Self {
            nodes,
            live: names.clone(),
            durable: names,
            ops: Vec::new(),
            seq: vec![self.left_of_seq(dice)],
            next: self.next,
        }
    }

    /// `seq` is written in place: it has any text since its last sync, or one of them with the length of another.
    fn left_of_seq(&self, dice: &mut Dice) -> String {
        let (text, other) = (dice.pick(&self.seq), dice.pick(&self.seq));
        let text = text.get(..other.len()).unwrap_or(text);
        // The first sync makes the length durable; from then on it only grows.
        if text.is_empty() || self.seq.len() == 1 {
            self.seq[0].clone()
        } else {
            text.to_owned()
        }
    }

    /// True if the data of some file that has a name is not on the disk.
    pub fn has_unsynced_data(&self) -> bool {
        let unsynced = |node: &Node| matches!(node, Node::File { synced: false, .. });
        self.live
            .iter()
            .any(|((place, _), ino)| *place != Place::Tmp && unsynced(&self.nodes[ino]))
            || self.ops.iter().any(|op| {
                let inos = op.changes.iter().filter_map(|(_, ino)| *ino);
                inos.into_iter().any(|ino| unsynced(&self.nodes[&ino]))
            })
    }

    /// A hash of everything that can be read from an image.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (entry, ino) in self.live.iter().filter(|(entry, _)| !is_staging(entry)) {
            entry.hash(&mut hasher);
            if let Node::File { bytes, .. } = &self.nodes[ino] {
                bytes.hash(&mut hasher);
            }
        }
        (&self.seq, self.ops.len()).hash(&mut hasher);
        hasher.finish()
    }

    pub fn bytes(&self, entry: &Entry) -> Option<Arc<[u8]>> {
        match self.nodes.get(self.live.get(entry)?)? {
            Node::File { bytes, .. } => Some(Arc::clone(bytes)),
            Node::Dir => None,
        }
    }
}

/// A name in `tmp/`, unless it belongs to a claim, which recovery may keep.
fn is_staging((place, name): &Entry) -> bool {
    *place == Place::Tmp && !name.starts_with(b".swap.")
}

fn set(names: &mut BTreeMap<Entry, Ino>, entry: &Entry, ino: Option<Ino>) {
    match ino {
        Some(ino) => names.insert(entry.clone(), ino),
        None => names.remove(entry),
    };
}

fn left_of(bytes: &Arc<[u8]>, data: Data, dice: &mut Dice) -> Arc<[u8]> {
    match (data, dice.below(3)) {
        (Data::Full, _) | (Data::Mixed, 0) => Arc::clone(bytes),
        (Data::Empty, _) | (Data::Mixed, 1) => [].into(),
        (Data::Torn | Data::Mixed, _) => bytes[..bytes.len() / 2].into(),
    }
}
