//! inotify(7), reduced to what a spool needs: "something happened to this name".

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What to be told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Files that come, go or are closed after writing.
    Everything,
    /// Files that come by rename and files that go.
    Moves,
    /// Writes to one file.
    Growth,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// The name is there: moved to the directory, or made a directory.
    Came,
    /// The name is there, or has new content, and who wrote it may not be through with it.
    Written,
    /// The name was unlinked.
    Removed,
    /// The name was moved away.
    MovedAway,
    /// The watched file was written to.
    Grew,
    /// The watched directory itself is gone or was moved; its watch may be dead.
    Lost,
    /// Events were dropped: look at everything.
    Overflow,
}

/// One event.
#[derive(Debug, Clone)]
pub struct FileEvent {
    /// Which watch; `None` on overflow.
    pub watch: Option<Watch>,
    /// What happened.
    pub change: FileChange,
    /// To which name in the directory; empty when it concerns the watched thing itself.
    pub name: OsString,
}

/// One watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch(WatchDescriptor);

/// A queue of events.
#[derive(Debug)]
pub struct Watcher(Inotify);

/// The head of an event as the kernel writes it.
const HEAD: usize = 16;

/// The longest name, as it is filled up: NAME_MAX is 255.
const LONGEST_NAME: usize = 256;

/// What is read at a time; the kernel leaves an event that does not fit for the next time.
const BUFFER: usize = 4096;

impl Watcher {
    /// An empty one, which never blocks in `read`.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Inotify::init(
            InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK,
        )?))
    }

    /// Watches an open file or directory: the inode, whatever it is called.
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

    /// Ends a watch; that it has ended already is no error.
    pub fn remove(&self, watch: Watch) {
        let _ = self.0.rm_watch(watch.0);
    }

    /// The events that are there, possibly none.
    pub fn read(&self) -> io::Result<Vec<FileEvent>> {
        Ok(self.read_some()?.0)
    }

    /// Some of the events that are there, and whether there may be more.
    pub fn read_some(&self) -> io::Result<(Vec<FileEvent>, bool)> {
        let events = match self.0.read_events() {
            Ok(events) => events,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok((Vec::new(), false)),
            Err(e) => return Err(e.into()),
        };
        // An event is a head of 16 bytes and a name that ends in NUL and is filled up to a multiple of 16 (inotify(7)).
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
