//! Watching a job: its output, and its end. Like the daemon, it sleeps until inotify wakes it.

use super::exit::Failure;
use super::output;
use crate::core::id::JobId;
use crate::os::dir;
use crate::os::inotify::{FileEvent, Interest, Watch, Watcher};
use crate::os::poll::Poller;
use crate::spool::{Found, Place, Spool, Where, stderr_log};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;

/// A log that is shown.
pub struct ShownLog {
    name: String,
    /// Inode and size of the log that an earlier job of this name left; that part is not shown.
    old: Option<(u64, u64)>,
    is_error: bool,
    file: Option<(File, Option<Watch>)>,
}

impl ShownLog {
    /// The two logs of a job.
    pub fn both(id: &JobId, old: OldLogs) -> [Self; 2] {
        let log = |name, old, is_error| Self {
            name,
            old,
            is_error,
            file: None,
        };
        [
            log(id.as_str().to_owned(), old[0], false),
            log(stderr_log(id), old[1], true),
        ]
    }

    /// True if the log has more than was shown. Opens and watches it once it is there.
    pub fn has_news(&mut self, spool: &Spool, watcher: &Watcher) -> io::Result<bool> {
        if self.file.is_none()
            && let Ok(mut file) = spool.open_log(&self.name)
        {
            if let Some((inode, size)) = self.old
                && dir::look_at(&file)?.inode == inode
            {
                file.seek(SeekFrom::Start(size))?;
            }
            let watch = watcher.add(&file, Interest::Growth).ok();
            self.file = Some((file, watch));
        }
        match &mut self.file {
            Some((file, _)) => Ok(file.stream_position()? < file.metadata()?.len()),
            None => Ok(false),
        }
    }

    /// Shows what was not shown yet.
    pub fn show_new(&mut self) -> Result<(), Failure> {
        let Some((file, _)) = &mut self.file else {
            return Ok(());
        };
        match self.is_error {
            true => io::copy(file, &mut io::stderr()).map(drop)?,
            false => output::copy(file)?,
        }
        Ok(())
    }
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

/// Watches the directories in which a job can be for files that come and go.
pub struct Moves {
    pub watcher: Watcher,
    poller: Poller,
    /// The queues that are watched.
    queues: HashSet<Watch>,
}

impl Moves {
    /// Watches these directories. A spool of an older version has no `held/`.
    pub fn of(spool: &Spool, places: &[Place]) -> io::Result<Self> {
        let moves = Self {
            watcher: Watcher::new()?,
            poller: Poller::new()?,
            queues: HashSet::new(),
        };
        moves.poller.add(&moves.watcher, 0)?;
        for place in places {
            match spool.watch(place, &moves.watcher, Interest::Moves) {
                Err(e) if *place == Place::Held && e.kind() == io::ErrorKind::NotFound => {}
                watched => drop(watched?),
            }
        }
        Ok(moves)
    }

    /// Watches the queue that a job was found in. True if it was not watched before: the job may have left it
    /// unnoticed, and has to be looked for again.
    pub fn watch_queue(&mut self, spool: &Spool, at: &Where) -> io::Result<bool> {
        match at {
            Where::Pending(queue) if !queue.is_default() => {
                if !spool.reopen_queue(queue)? {
                    // The queue is gone: an event in `pending/` said so.
                    return Ok(false);
                }
                let watch = spool.watch(&at.place(), &self.watcher, Interest::Moves)?;
                Ok(self.queues.insert(watch))
            }
            Where::Pending(_) | Where::Held | Where::Active => Ok(false),
            Where::Complete | Where::Failed => Ok(false),
        }
    }

    /// Also wakes up for this descriptor, which the caller reads.
    pub fn also_wait_for(&self, fd: impl AsFd) -> io::Result<()> {
        self.poller.add(fd, 1)
    }

    /// No longer wakes up for this descriptor.
    pub fn wait_no_more_for(&self, fd: impl AsFd) -> io::Result<()> {
        self.poller.remove(fd)
    }

    /// Waits until something has changed, and tells what.
    pub fn wait(&self) -> io::Result<Vec<FileEvent>> {
        self.poller.wait(None)?;
        self.read()
    }

    /// The changes that were not read yet. Does not wait.
    pub fn read(&self) -> io::Result<Vec<FileEvent>> {
        let mut all = Vec::new();
        loop {
            let events = self.watcher.read()?;
            if events.is_empty() {
                return Ok(all);
            }
            all.extend(events);
        }
    }
}

/// Shows a job's logs until the job has ended.
pub struct Follower<'s> {
    pub spool: &'s Spool,
    pub id: JobId,
    pub moves: Moves,
    logs: [ShownLog; 2],
}

impl<'s> Follower<'s> {
    /// Starts to watch: nothing that happens from now on is missed. `old` is not shown (see [`old_logs`]).
    pub fn new(spool: &'s Spool, id: &JobId, old: OldLogs) -> io::Result<Self> {
        let moves = Moves::of(spool, &[Place::Pending, Place::Held, Place::Active])?;
        for place in [Place::Log, Place::Complete, Place::Failed] {
            spool.watch(&place, &moves.watcher, Interest::Everything)?;
        }
        Ok(Self {
            spool,
            id: id.clone(),
            moves,
            logs: ShownLog::both(id, old),
        })
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
            self.moves.wait()?;
        }
    }

    fn show_new(&mut self) -> Result<(), Failure> {
        for log in &mut self.logs {
            log.has_news(self.spool, &self.moves.watcher)?;
            log.show_new()?;
        }
        Ok(())
    }
}
