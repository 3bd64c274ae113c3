//! Records keep the mode and the owners that users give them, though each one is a new file.

use super::{Fs, Place, Spool};
use crate::core::id::JobId;
use crate::os::dir::Look;
use crate::os::fault::Fault;
use crate::os::ownership::Ownership;
use std::io;

impl<F: Fs> Spool<F> {
    /// The ownership that a record has to have which replaces this file.
    pub(super) fn ownership(&self, place: &Place, id: &JobId) -> Option<Ownership> {
        let look = self.fs.look(place, id.as_str().as_bytes());
        look.ok().flatten().map(|look| look.ownership)
    }

    /// A record that was made with the ownership `made_for` has replaced the file `old`. If a user changed the mode or
    /// group of `old` in between, makes the same change to the record. Keeps all else: the user may have changed the
    /// record itself since.
    pub(super) fn keep_ownership(
        &self,
        place: &Place,
        name: &[u8],
        made_for: Option<Ownership>,
        old: &Look,
    ) {
        if made_for == Some(old.ownership) || Fault::NoOwnership.is_on() {
            return;
        }
        if let Err(e) = self.fs.give(place, name, old.ownership, made_for)
            && e.kind() != io::ErrorKind::NotFound
        {
            let name = String::from_utf8_lossy(name);
            log::warn!("{name}: its mode and owners cannot be kept: {e}");
        }
    }
}
