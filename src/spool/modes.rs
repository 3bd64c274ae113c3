//! Whether strangers can put files into a spool, which would run as its owner.

use super::{Place, Spool};
use crate::os::user;
use crate::spool::RealFs;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

impl Spool<RealFs> {
    /// Names a directory of the spool that is not this user's, or that others may write to, and the remedy. `store/` is
    /// the jobs' own, and does not count. Neither do the directories above the spool: a spool is moved or mounted
    /// elsewhere more easily than its own modes change.
    pub fn open_to_strangers(&self) -> io::Result<Option<String>> {
        let fixed = Place::FIXED.into_iter();
        let fixed = fixed.filter(|place| *place != Place::Store);
        let queues = self.queues()?;
        let queues = queues.iter().map(Place::of_queue);
        for place in [Place::Root].into_iter().chain(fixed).chain(queues) {
            let dir = match self.metadata(&place) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                dir => dir?,
            };
            let remedy = match (dir.uid() == user::uid(), is_open(&dir)) {
                (true, false) => continue,
                (true, true) => "chmod go-w".to_owned(),
                (false, _) => format!("chown {}", user::uid()),
            };
            let path = self.path_of(&place);
            let path = path.display();
            let (mode, uid, gid) = (dir.mode() & 0o7777, dir.uid(), dir.gid());
            return Ok(Some(format!(
                "{path}: others can put files there (mode {mode:04o}, uid {uid}, gid {gid}); {remedy} {path}, or \
                 serve --lax-modes"
            )));
        }
        Ok(None)
    }

    fn metadata(&self, place: &Place) -> io::Result<Metadata> {
        self.fs
            .with(place, |fd| File::from(fd.try_clone()?).metadata())
    }
}

/// True if the mode lets others write. A user's own group is no other.
fn is_open(dir: &Metadata) -> bool {
    dir.mode() & OTHERS_WRITE != 0
        || (dir.mode() & GROUP_WRITE != 0 && !user::is_private_group(dir.gid()))
}
