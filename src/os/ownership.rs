//! Mode and owners of a file, which users change with chmod(1) and chgrp(1).

use super::user;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

/// The mode and the owners of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The permission bits of a group.
const GROUP_BITS: u32 = 0o070;

/// The mode of a record that replaces another one keeps these bits.
const RECORD_BITS: u32 = 0o666;

impl Ownership {
    /// The same, with no other permission bits than these.
    #[must_use]
    pub fn masked(self, bits: u32) -> Self {
        let mode = self.mode & bits;
        Self { mode, ..self }
    }

    /// `now`, with those parts of `self` that differ from `before`: a user has changed them since.
    #[must_use]
    pub fn over(self, now: Self, before: Self) -> Self {
        let newer = |ours: u32, now: u32, before: u32| if ours == before { now } else { ours };
        let mut mode = newer(self.mode, now.mode, before.mode);
        let gid = newer(self.gid, now.gid, before.gid);
        if gid != self.gid {
            // The rights of a group are for that group only.
            mode = mode & !GROUP_BITS | now.mode & GROUP_BITS;
        }
        let uid = newer(self.uid, now.uid, before.uid);
        Self { mode, uid, gid }
    }

    /// Gives them to a file of ours, which has the ownership `made`. Only root can give a user; the group may be one
    /// that we are no member of. Then its members get no rights: they would be those of another group.
    pub fn give(self, file: &File, made: Self) -> io::Result<()> {
        let uid = (user::is_root() && self.uid != made.uid).then_some(self.uid);
        let gid = (self.gid != made.gid).then_some(self.gid);
        let mut mode = self.mode;
        if (uid, gid) != (None, None) && fchown(file, uid, gid).is_err() {
            mode &= !GROUP_BITS;
        }
        if mode != made.mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Gives a record the parts that differ from `before` (all, if that is `None`), if it has no other name and is a regular file.
    pub fn give_record(self, record: &File, before: Option<Self>) -> io::Result<()> {
        let look = record.metadata()?;
        if !look.is_file() || look.nlink() != 1 {
            return Ok(());
        }
        let made = Self {
            mode: look.mode() & 0o7777,
            uid: look.uid(),
            gid: look.gid(),
        };
        let wanted = before.map_or(self, |before| self.over(made, before));
        wanted.masked(RECORD_BITS).give(record, made)
    }
}

#[cfg(test)]
mod tests {
    use super::Ownership;

    /// A user gave the record another group before it was exchanged, and another mode after it.
    #[test]
    fn changes_before_and_after_an_exchange_both_last() {
        let own = |mode, gid| Ownership { mode, uid: 0, gid };
        let (before, old, now) = (own(0o644, 0), own(0o644, 7), own(0o600, 0));
        assert_eq!(old.over(now, before), own(0o600, 7));
        // The record could not be given the group 7: its rights are not for the group 0.
        let (before, old, now) = (own(0o640, 7), own(0o660, 7), own(0o600, 0));
        assert_eq!(old.over(now, before), own(0o600, 0));
    }
}
