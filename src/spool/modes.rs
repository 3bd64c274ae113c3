//! Whether strangers can put files into a spool, which would run as its owner.

use super::{Place, Spool};
use crate::os::user;
use crate::spool::RealFs;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

/// The directories in which a file is an order or a record. The others are for people to read and for jobs to keep
/// things in.
const GUARDED: [Place; 8] = [
    Place::Root,
    Place::Pending,
    Place::Held,
    Place::Active,
    Place::Complete,
    Place::Failed,
    Place::Tmp,
    Place::Scripts,
];

/// Bits of a mode: write and search, and search alone.
const GROUP_WRITE: u32 = 0o030;
const GROUP_SEARCH: u32 = 0o010;
const OTHERS_WRITE: u32 = 0o003;
const OTHERS_SEARCH: u32 = 0o001;

impl Spool<RealFs> {
    /// Names a directory into which users other than this one and root can put a file, if they can reach one.
    /// Directories above the spool do not count: a spool is moved or mounted elsewhere more easily than its own modes
    /// change.
    pub fn open_to_strangers(&self) -> io::Result<Option<String>> {
        let root = self.metadata(&Place::Root)?;
        if !has(&root, GROUP_SEARCH, OTHERS_SEARCH) {
            return Ok(None);
        }
        let mut places = GUARDED.to_vec();
        if has(
            &self.metadata(&Place::Pending)?,
            GROUP_SEARCH,
            OTHERS_SEARCH,
        ) {
            places.extend(self.queues()?.iter().map(Place::of_queue));
        }
        for place in places {
            let dir = match self.metadata(&place) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                dir => dir?,
            };
            if has(&dir, GROUP_WRITE, OTHERS_WRITE) {
                let path = self.path_of(&place);
                let (path, spool) = (path.display(), self.path().display());
                let (mode, uid, gid) = (dir.mode() & 0o7777, dir.uid(), dir.gid());
                let remedy = match [is_strangers(&root), is_strangers(&dir)] {
                    [true, _] => format!("chown {} {spool}", user::uid()),
                    [false, true] => format!("chown {} {path}, or chmod 700 {spool}", user::uid()),
                    [false, false] => format!("chmod go-w {path}, or chmod 700 {spool}"),
                };
                return Ok(Some(format!(
                    "{path}: others can put files there (mode {mode:04o}, uid {uid}, gid {gid}); {remedy}, or serve --lax-modes"
                )));
            }
        }
        Ok(None)
    }

    fn metadata(&self, place: &Place) -> io::Result<Metadata> {
        self.fs
            .with(place, |fd| File::from(fd.try_clone()?).metadata())
    }
}

/// True if strangers have one of these rights to a directory. A user's own group is no stranger; another owner can take
/// any right.
fn has(dir: &Metadata, group: u32, others: u32) -> bool {
    let mode = dir.mode();
    mode & others == others
        || (mode & group == group && !user::is_private_group(dir.gid()))
        || is_strangers(dir)
}

fn is_strangers(dir: &Metadata) -> bool {
    ![user::uid(), 0].contains(&dir.uid())
}
