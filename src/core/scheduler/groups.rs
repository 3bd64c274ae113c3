//! Groups: jobs that run one at a time, in order of age.

use super::table::{Ix, Rank};
use std::collections::{BTreeSet, HashMap};

#[derive(Debug, Default)]
struct Group {
    /// The jobs whose parents have ended.
    members: BTreeSet<(Rank, Ix)>,
    /// The job that was started; it keeps the group through its retries.
    holder: Option<Ix>,
}

/// Whether a job of a group may go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may go on. If it entered late, because its parents took longer, the job that was first steps back.
    Now { displaced: Option<Ix> },
    /// Another job goes first.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<Box<str>, Group>);

impl Groups {
    /// Enters a job into its group, unless it is there. Tells whether it may go on.
    pub fn enter(&mut self, name: &str, rank: Rank, ix: Ix) -> Turn {
        let group = self.0.entry(name.into()).or_default();
        let is_new = group.members.insert((rank, ix));
        let mut members = group.members.iter().map(|(_, member)| *member);
        match group.holder {
            Some(holder) if holder == ix => Turn::Now { displaced: None },
            Some(_) => Turn::Later,
            None if members.next() == Some(ix) => {
                let displaced = members.next().filter(|_| is_new);
                Turn::Now { displaced }
            }
            None => Turn::Later,
        }
    }

    /// The job holds its group from now on, until it leaves.
    pub fn hold(&mut self, name: &str, ix: Ix) {
        self.0.entry(name.into()).or_default().holder = Some(ix);
    }

    /// Enters a job that was running before this scheduler was, to hold the group. Gives the job that was first.
    pub fn take_over(&mut self, name: &str, rank: Rank, ix: Ix) -> Option<Ix> {
        let group = self.0.entry(name.into()).or_default();
        let first = group.members.first().map(|(_, member)| *member);
        group.members.insert((rank, ix));
        group.holder = Some(ix);
        first
    }

    /// Takes a job out of its group, which it may not have entered. Gives the job whose turn it is now.
    pub fn leave(&mut self, name: &str, rank: Rank, ix: Ix) -> Option<Ix> {
        let group = self.0.get_mut(name)?;
        group.members.remove(&(rank, ix));
        group.holder.take_if(|holder| *holder == ix);
        let first = group.members.first().map(|(_, member)| *member);
        if first.is_none() {
            self.0.remove(name);
            return None;
        }
        first.filter(|_| group.holder.is_none())
    }
}
