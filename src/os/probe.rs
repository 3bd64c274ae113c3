//! A test whether a file system supports the calls that a spool needs, before a job is lost for lack of one.

use super::dir::{self, How, lacks};
use super::inotify::{FileChange, Interest, Watcher};
use fs2::FileExt;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Tests the file system of this directory. The error names the file system and the call that it lacks. The caller
/// passes a watcher of its own, since closing one takes 20 ms.
pub fn probe(base: &OwnedFd, watcher: &Watcher) -> io::Result<()> {
    // These names are those of staging files, which are removed after a crash.
    let names = [0, 1].map(|n| format!(".probe.{}.{n}", std::process::id()));
    let [from, to] = names.each_ref().map(|name| name.as_bytes());
    let clear = || {
        let mut names = [from, to].into_iter();
        names.try_for_each(|name| dir::unlink(base, name).map(drop))
    };
    clear()?;
    let probed = locks(base, from).and_then(|()| renames(base, from, to, watcher));
    clear()?;
    probed
}

/// A lock of one open file must exclude another open file.
fn locks(base: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let (one, other) = (dir::open_edit(base, name)?, dir::open_edit(base, name)?);
    let locked = FileExt::try_lock_exclusive(&one).is_ok();
    match FileExt::try_lock_exclusive(&other) {
        Err(e) if locked && e.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Ok(()) | Err(_) => Err(lacks(base, "flock(2)")),
    }
}

/// Renames must heed their flags, and inotify must report them. The file `from` exists.
fn renames(base: &OwnedFd, from: &[u8], to: &[u8], watcher: &Watcher) -> io::Result<()> {
    let watch = watcher.add(base, Interest::Moves)?;
    dir::rename(base, from, base, to, How::NoReplace)?;
    watcher.remove(watch);
    let came = |event: &super::inotify::FileEvent| {
        event.change == FileChange::Came && event.name == OsStr::from_bytes(to)
    };
    if !watcher.read()?.iter().any(came) {
        return Err(lacks(base, "inotify(7)"));
    }
    drop(dir::open_edit(base, from)?);
    match dir::rename(base, from, base, to, How::NoReplace) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Ok(()) => return Err(lacks(base, dir::NO_REPLACE)),
        Err(e) => return Err(e),
    }
    let inode = |name| Ok::<_, io::Error>(dir::look(base, name)?.map(|look| look.inode));
    let before = inode(from)?;
    dir::rename(base, from, base, to, How::Exchange)?;
    match inode(to)? == before {
        true => Ok(()),
        false => Err(lacks(base, dir::EXCHANGE)),
    }
}
