//! Watching a job from outside: what it writes, and when it ends. Woken by inotify, like the daemon.

use super::exit::Failure;
use super::output;
use crate::core::id::JobId;
use crate::os::dir;
use crate::os::inotify::{Interest, Watch, Watcher};
use crate::os::poll::Poller;
use crate::spool::{Found, Place, Spool, Where, stderr_log};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

/// One log being shown.
struct ShownLog {
    name: String,
    /// What an earlier run of this name has left, which is not to be shown: the log's inode and size.
    old: Option<(u64, u64)>,
    is_error: bool,
    file: Option<(File, Option<Watch>)>,
}

/// The logs of a name before a job is given it: inode and size of each.
pub type OldLogs = [Option<(u64, u64)>; 2];

/// Looks at the logs of a name that is about to be used again.
pub fn old_logs(spool: &Spool, id: &JobId) -> OldLogs {
    [id.as_str().to_owned(), stderr_log(id)].map(|name| {
        let look = spool.look(&Place::Log, name.as_bytes()).ok().flatten()?;
        Some((look.inode, look.size))
    })
}

/// Shows a job's logs from the beginning until the job has ended.
pub struct Follower<'s> {
    spool: &'s Spool,
    id: JobId,
    moves: Moves,
    poller: Poller,
    streams: [ShownLog; 2],
}

/// The number of our own watches in the poller; callers' descriptors have others.
const WATCHES: u64 = 0;

/// Watches the files that come to and leave the directories in which a job can be.
pub struct Moves {
    pub watcher: Watcher,
    /// On the directories of queues.
    queues: HashSet<Watch>,
}

impl Moves {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            queues: HashSet::new(),
        })
    }

    /// Watches a directory. `held/` is not there where only older versions were.
    pub fn watch(&self, spool: &Spool, place: &Place) -> io::Result<()> {
        match spool.watch(place, &self.watcher, Interest::Moves) {
            Err(e) if *place == Place::Held && e.kind() == io::ErrorKind::NotFound => Ok(()),
            watched => watched.map(drop),
        }
    }

    /// Watches the queue that a job was found in, which it may leave for good. True if it was not watched before: then
    /// the job may have left it already.
    pub fn watch_queue(&mut self, spool: &Spool, at: &Where) -> io::Result<bool> {
        let Where::Pending(queue) = at else {
            return Ok(false);
        };
        if queue.is_default() {
            return Ok(false);
        }
        if !spool.reopen_queue(queue)? {
            // An event in `pending/` tells of it.
            return Ok(false);
        }
        let watch = spool.watch(&at.place(), &self.watcher, Interest::Moves)?;
        Ok(self.queues.insert(watch))
    }
}

impl<'s> Follower<'s> {
    /// Arms the watches: whatever happens from now on is noticed.
    pub fn new(spool: &'s Spool, id: &JobId) -> Result<Self, Failure> {
        let moves = Moves::new()?;
        for place in [Place::Log, Place::Complete, Place::Failed] {
            spool.watch(&place, &moves.watcher, Interest::Everything)?;
        }
        // A job that is withdrawn leaves from here.
        for place in [Place::Pending, Place::Held, Place::Active] {
            moves.watch(spool, &place)?;
        }
        let poller = Poller::new()?;
        poller.add(&moves.watcher, WATCHES)?;
        let stream = |name, is_error| ShownLog {
            name,
            old: None,
            is_error,
            file: None,
        };
        let streams = [
            stream(id.as_str().to_owned(), false),
            stream(stderr_log(id), true),
        ];
        Ok(Self {
            spool,
            id: id.clone(),
            moves,
            poller,
            streams,
        })
    }

    /// Leaves out what is in these logs by now (see [`old_logs`]).
    pub fn without(mut self, old: OldLogs) -> Self {
        for (stream, old) in self.streams.iter_mut().zip(old) {
            stream.old = old;
        }
        self
    }

    /// Also wakes up for this descriptor. The caller reads what is there.
    pub fn also_wait_for(&self, fd: impl AsFd) -> Result<(), Failure> {
        Ok(self.poller.add(fd, WATCHES + 1)?)
    }

    /// No longer wakes up for this descriptor.
    pub fn wait_no_more_for(&self, fd: impl AsFd) -> Result<(), Failure> {
        Ok(self.poller.remove(fd)?)
    }

    /// Shows output until the job has ended or `stop` says so. Gives the job as it was found last: `None` if it
    /// is gone from the spool.
    pub fn follow(
        &mut self,
        stop: &mut dyn FnMut() -> Result<bool, Failure>,
    ) -> Result<Option<Found>, Failure> {
        loop {
            // The state first, the output after it: what a job wrote before its end is not missed.
            let found = self.spool.get(&self.id)?;
            if let Some(found) = &found
                && self.moves.watch_queue(self.spool, &found.at)?
            {
                continue;
            }
            self.show_new()?;
            if found.as_ref().is_none_or(Found::is_over) || stop()? {
                return Ok(found);
            }
            self.poller.wait(None)?;
            while !self.moves.watcher.read()?.is_empty() {}
        }
    }

    fn show_new(&mut self) -> Result<(), Failure> {
        for stream in &mut self.streams {
            if stream.file.is_none()
                && let Ok(mut file) = self.spool.open_log(&stream.name)
            {
                if let Some((inode, size)) = stream.old
                    && dir::look_at(&file)?.inode == inode
                {
                    file.seek(SeekFrom::Start(size))?;
                }
                let watch = self.moves.watcher.add(&file, Interest::Growth).ok();
                stream.file = Some((file, watch));
            }
            let Some((file, _)) = &mut stream.file else {
                continue;
            };
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    n if stream.is_error => std::io::stderr().write_all(&buffer[..n])?,
                    n => output::bytes(&buffer[..n])?,
                }
            }
        }
        Ok(())
    }
}
