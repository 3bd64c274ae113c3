//! Watching a job: its output, and its end. Like the daemon, it sleeps until inotify wakes it.

use super::exit::Failure;
use super::output;
use crate::core::id::JobId;
use crate::os::dir;
use crate::os::inotify::{Interest, Watch, Watcher};
use crate::os::poll::Poller;
use crate::spool::{Found, Place, Spool, Where, stderr_log};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;

/// A log that is shown.
struct ShownLog {
    name: String,
    /// Inode and size of the log that an earlier job of this name left; that part is not shown.
    old: Option<(u64, u64)>,
    is_error: bool,
    file: Option<(File, Option<Watch>)>,
}

/// Inode and size of the two logs that an earlier job of a name left.
pub type OldLogs = [Option<(u64, u64)>; 2];

/// Looks at the logs of a name before a new job gets it.
pub fn old_logs(spool: &Spool, id: &JobId) -> OldLogs {
    [id.as_str().to_owned(), stderr_log(id)].map(|name| {
        let look = spool.look(&Place::Log, name.as_bytes()).ok().flatten()?;
        Some((look.inode, look.size))
    })
}

/// Shows a job's logs until the job has ended.
pub struct Follower<'s> {
    spool: &'s Spool,
    id: JobId,
    moves: Moves,
    poller: Poller,
    streams: [ShownLog; 2],
}

/// The number of the inotify watcher in the poller; descriptors of callers have the next one.
const WATCHES: u64 = 0;

/// Watches the directories in which a job can be for files that come and go.
pub struct Moves {
    pub watcher: Watcher,
    /// The queues that are watched.
    queues: HashSet<Watch>,
}

impl Moves {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            queues: HashSet::new(),
        })
    }

    /// Watches a directory. A spool of an older version has no `held/`.
    pub fn watch(&self, spool: &Spool, place: &Place) -> io::Result<()> {
        match spool.watch(place, &self.watcher, Interest::Moves) {
            Err(e) if *place == Place::Held && e.kind() == io::ErrorKind::NotFound => Ok(()),
            watched => watched.map(drop),
        }
    }

    /// Watches the queue that a job was found in. True if it was not watched before: the job may have left it
    /// unnoticed, and has to be looked for again.
    pub fn watch_queue(&mut self, spool: &Spool, at: &Where) -> io::Result<bool> {
        let Where::Pending(queue) = at else {
            return Ok(false);
        };
        if queue.is_default() {
            return Ok(false);
        }
        if !spool.reopen_queue(queue)? {
            // The queue is gone: an event in `pending/` said so.
            return Ok(false);
        }
        let watch = spool.watch(&at.place(), &self.watcher, Interest::Moves)?;
        Ok(self.queues.insert(watch))
    }
}

impl<'s> Follower<'s> {
    /// Starts to watch. Nothing that happens from now on is missed.
    pub fn new(spool: &'s Spool, id: &JobId) -> Result<Self, Failure> {
        let moves = Moves::new()?;
        for place in [Place::Log, Place::Complete, Place::Failed] {
            spool.watch(&place, &moves.watcher, Interest::Everything)?;
        }
        // A job can be removed from any of these.
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

    /// Does not show these logs (see [`old_logs`]).
    pub fn without(mut self, old: OldLogs) -> Self {
        for (stream, old) in self.streams.iter_mut().zip(old) {
            stream.old = old;
        }
        self
    }

    /// Also wakes up for this descriptor, which the caller reads.
    pub fn also_wait_for(&self, fd: impl AsFd) -> Result<(), Failure> {
        Ok(self.poller.add(fd, WATCHES + 1)?)
    }

    /// No longer wakes up for this descriptor.
    pub fn wait_no_more_for(&self, fd: impl AsFd) -> Result<(), Failure> {
        Ok(self.poller.remove(fd)?)
    }

    /// Shows output until the job has ended or `stop` says so. Returns the job as it was found last; `None` if it was
    /// removed from the spool.
    pub fn follow(
        &mut self,
        stop: &mut dyn FnMut() -> Result<bool, Failure>,
    ) -> Result<Option<Found>, Failure> {
        loop {
            // The state is read before the output, so that no output from before the end is missed.
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
            match stream.is_error {
                true => io::copy(file, &mut io::stderr()).map(drop)?,
                false => output::file(file)?,
            }
        }
        Ok(())
    }
}
