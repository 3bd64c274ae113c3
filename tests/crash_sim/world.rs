//! The whole state of the simulation: the disk, the promises, and every moment so far.

use super::disk::{Disk, Entry, Ino, Node};
use super::ledger::{Ledger, token};
use super::simfs::SimFs;
use pirn::core::record::Record;
use pirn::os::dir::{FileType, Look};
use pirn::os::ownership::Ownership;
use pirn::spool::Place;
use std::collections::BTreeMap;
use std::io;

/// A moment at which the power may fail.
#[derive(Debug, Clone)]
pub struct Moment {
    pub disk: Disk,
    pub ledger: Ledger,
    /// The number of lines of the story at this moment.
    pub told: usize,
}

pub type Deed = Box<dyn FnOnce(&SimFs) + Send>;

#[derive(Default)]
pub struct World {
    pub disk: Disk,
    pub ledger: Ledger,
    pub moments: Vec<Moment>,
    pub story: Vec<String>,
    /// The current step, which names the syncs.
    pub during: String,
    /// The syncs so far, in order.
    pub syncs: Vec<String>,
    /// The sync that is left out.
    pub lost_sync: Option<usize>,
    /// Operations so far.
    pub steps: usize,
    /// The ownership of files that have another than new ones. It is not asked for after a cut.
    pub owned: BTreeMap<Ino, Ownership>,
    /// The programs live on when their daemon is killed.
    pub outlived: bool,
    /// A promise that was broken while the daemon ran.
    pub broken: Option<String>,
    /// A user's deed just before an operation.
    pub deed: Option<(usize, Deed)>,
}

/// The ownership of new files.
pub const PRIVATE: Ownership = Ownership {
    mode: 0o600,
    uid: 0,
    gid: 0,
};

impl World {
    pub fn picture(&mut self) {
        self.moments.push(Moment {
            disk: self.disk.clone(),
            ledger: self.ledger.clone(),
            told: self.story.len() + 1,
        });
    }

    /// Ends the promises about a file that is replaced on purpose.
    pub fn let_go(&mut self, entry: &Entry) {
        let bytes = self.disk.bytes(entry);
        let record = bytes.and_then(|bytes| Record::from_bytes(&bytes).ok());
        if let Some(token) = record.as_ref().and_then(token) {
            self.ledger.let_go(&token);
        }
    }

    /// Counts a sync. False for the one that is left out.
    pub fn may_sync(&mut self, what: &str) -> bool {
        let name = format!("{}: {what}", self.during);
        self.syncs.push(name);
        self.lost_sync != Some(self.syncs.len() - 1)
    }

    pub fn dir(&self, place: &Place) -> io::Result<()> {
        match place {
            Place::Queue(queue) => {
                let entry = (Place::Pending, queue.as_str().into());
                match self.disk.live.get(&entry).map(|ino| &self.disk.nodes[ino]) {
                    Some(Node::Dir) => Ok(()),
                    Some(Node::File { .. }) => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
                    None => Err(io::ErrorKind::NotFound.into()),
                }
            }
            _ => Ok(()),
        }
    }

    pub fn get(&self, place: &Place, name: &[u8]) -> io::Result<Option<Ino>> {
        self.dir(place)?;
        Ok(self.disk.live.get(&(place.clone(), name.to_vec())).copied())
    }

    pub fn look(&self, ino: Ino) -> Look {
        let (kind, size, modified) = match &self.disk.nodes[&ino] {
            Node::Dir => (FileType::Directory, 0, 0),
            Node::File {
                bytes, modified, ..
            } => (FileType::File, bytes.len() as u64, *modified),
        };
        Look {
            kind,
            inode: ino,
            modified,
            size,
            links: 1,
            ownership: self.owned.get(&ino).copied().unwrap_or(PRIVATE),
        }
    }
}
