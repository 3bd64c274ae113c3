//! inotify(7), reduced to the events that a spool needs.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The events that a watch reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Files that come, go, or are closed after writing.
    Everything,
    /// Files that come by rename and files that go.
    Moves,
    /// Writes to one file.
    Growth,
}

/// A change of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// A file was moved to this name, or a directory was made.
    Came,
    /// A file was made, or closed after writing. Others may still be writing it.
    Written,
    /// The name was unlinked.
    Removed,
    /// The name was moved away.
    MovedAway,
    /// The watched file was written to.
    Grew,
    /// The watched directory itself was removed or moved; its watch may have ended.
    Lost,
    /// The kernel dropped events: any change may have been missed.
    Overflow,
}

/// One event.
#[derive(Debug, Clone)]
pub struct FileEvent {
    /// The watch that reports it; `None` on overflow.
    pub watch: Option<Watch>,
    /// The change.
    pub change: FileChange,
    /// The name in the directory; empty if the change is one of the watched file or directory itself.
    pub name: OsString,
}

/// A watch on a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch(WatchDescriptor);

/// A queue of events from some watches.
#[derive(Debug)]
pub struct Watcher(Inotify);

/// The length of an event without its name.
const HEAD: usize = 16;

/// The greatest length of a name with its padding: NAME_MAX is 255.
const LONGEST_NAME: usize = 256;

/// How many bytes are read at a time. An event that does not fit stays for the next time.
const BUFFER: usize = 4096;

impl Watcher {
    /// A queue without watches. Reading it does not block.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Inotify::init(
            InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK,
        )?))
    }

    /// Watches an open file or directory, whatever its name.
    pub fn add(&self, fd: impl AsFd, interest: Interest) -> io::Result<Watch> {
        let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        let moves =
            AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE;
        let itself =
            AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
        let mask = match interest {
            Interest::Everything => {
                moves | itself | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_CLOSE_WRITE
            }
            Interest::Moves => moves | itself,
            Interest::Growth => AddWatchFlags::IN_MODIFY,
        };
        Ok(Watch(self.0.add_watch(path.as_str(), mask)?))
    }

    /// Ends a watch, unless it has ended already.
    pub fn remove(&self, watch: Watch) {
        let _ = self.0.rm_watch(watch.0);
    }

    /// Reads events, possibly none. There may be more.
    pub fn read(&self) -> io::Result<Vec<FileEvent>> {
        Ok(self.read_some()?.0)
    }

    /// Reads events, and tells whether there may be more.
    pub fn read_some(&self) -> io::Result<(Vec<FileEvent>, bool)> {
        let events = match self.0.read_events() {
            Ok(events) => events,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok((Vec::new(), false)),
            Err(e) => return Err(e.into()),
        };
        // An event is 16 bytes and a name that ends in NUL, padded to a multiple of 16 (inotify(7)).
        let size = |name: &Option<OsString>| match name {
            Some(name) => HEAD + (name.len() + 1).next_multiple_of(HEAD),
            None => HEAD,
        };
        let read: usize = events.iter().map(|event| size(&event.name)).sum();
        let more = read + HEAD + LONGEST_NAME > BUFFER;
        Ok((events.into_iter().filter_map(translate).collect(), more))
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn translate(event: nix::sys::inotify::InotifyEvent) -> Option<FileEvent> {
    let is = |flag| event.mask.intersects(flag);
    let change = if is(AddWatchFlags::IN_Q_OVERFLOW) {
        return Some(FileEvent {
            watch: None,
            change: FileChange::Overflow,
            name: OsString::new(),
        });
    } else if is(AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_UNMOUNT)
    {
        FileChange::Lost
    } else if is(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_CLOSE_WRITE)
        && !is(AddWatchFlags::IN_ISDIR)
    {
        FileChange::Written
    } else if is(AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE) {
        FileChange::Came
    } else if is(AddWatchFlags::IN_MOVED_FROM) {
        FileChange::MovedAway
    } else if is(AddWatchFlags::IN_DELETE) {
        FileChange::Removed
    } else if is(AddWatchFlags::IN_MODIFY) {
        FileChange::Grew
    } else {
        return None;
    };
    Some(FileEvent {
        watch: Some(Watch(event.wd)),
        change,
        name: event.name.unwrap_or_default(),
    })
}
