//! Changes of the spool and of one log, as inotify tells of them.

use crate::core::id::JobId;
use crate::core::record::State;
use crate::os::inotify::{FileChange, Interest, Watch, Watcher};
use crate::os::poll::Poller;
use crate::spool::{Place, Spool, Where};
use std::collections::VecDeque;
use std::io;

/// As many of the jobs that were seen to end are remembered.
const SEEN: usize = 50;

/// The numbers of the two sources in the poller.
pub const SPOOL: u64 = 2;
const LOG: u64 = 3;

/// A watcher that is heard only while nothing of it is due anyway: a spool may change faster than a screen.
pub struct ChangeSource {
    watcher: Watcher,
    number: u64,
    is_heard: bool,
}

impl ChangeSource {
    fn new(number: u64) -> io::Result<Self> {
        Ok(Self {
            watcher: Watcher::new()?,
            number,
            is_heard: false,
        })
    }

    /// Has the poller report the next change.
    pub fn hear(&mut self, poller: &Poller) -> io::Result<()> {
        if !self.is_heard {
            poller.add(&self.watcher, self.number)?;
            self.is_heard = true;
        }
        Ok(())
    }

    /// Has the poller not report further changes.
    pub fn ignore(&mut self, poller: &Poller) -> io::Result<()> {
        self.is_heard = false;
        poller.remove(&self.watcher)
    }

    /// Drops what has been reported.
    fn clear(&self) -> io::Result<()> {
        while !self.watcher.read()?.is_empty() {}
        Ok(())
    }
}

/// The changes of a spool.
pub struct SpoolChanges {
    pub source: ChangeSource,
    /// The jobs that were seen to end last.
    seen: VecDeque<JobId>,
    ends: Vec<Watch>,
}

impl SpoolChanges {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            source: ChangeSource::new(SPOOL)?,
            seen: VecDeque::new(),
            ends: Vec::new(),
        })
    }

    /// Takes note of all changes so far. Watches everything, so that no change after this is missed; a directory that is
    /// watched already is not watched twice.
    pub fn take_note(&mut self, spool: &Spool) -> io::Result<()> {
        loop {
            let events = self.source.watcher.read()?;
            if events.is_empty() {
                break;
            }
            for event in events {
                let is_end = event.watch.is_some_and(|watch| self.ends.contains(&watch));
                if let (true, FileChange::Came, Some(name)) =
                    (is_end, event.change, event.name.to_str())
                    && let Ok(id) = JobId::new(name)
                {
                    self.seen.retain(|other| *other != id);
                    self.seen.truncate(SEEN - 1);
                    self.seen.push_front(id);
                }
            }
        }
        let watcher = &self.source.watcher;
        // The settings and the lock are in the first one.
        for place in [Place::Root, Place::Pending, Place::Active] {
            spool.watch(&place, watcher, Interest::Everything)?;
        }
        match spool.watch(&Place::Held, watcher, Interest::Moves) {
            // A spool of an older version.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            watched => drop(watched?),
        }
        self.ends = vec![
            spool.watch(&Place::Complete, watcher, Interest::Moves)?,
            spool.watch(&Place::Failed, watcher, Interest::Moves)?,
        ];
        // A daemon writes this when it begins. `None` if none has been here.
        spool.watch_lock(watcher)?;
        for at in spool.places_of(State::Pending)? {
            if let Where::Pending(queue) = &at
                && !queue.is_default()
                && spool.reopen_queue(queue)?
            {
                spool.watch(&at.place(), watcher, Interest::Everything)?;
            }
        }
        Ok(())
    }

    pub fn seen(&self) -> impl Iterator<Item = JobId> {
        self.seen.iter().cloned()
    }
}

/// The changes of the log of one job.
pub struct LogChanges {
    pub source: ChangeSource,
    /// The job, once its log is watched.
    of: Option<JobId>,
}

impl LogChanges {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            source: ChangeSource::new(LOG)?,
            of: None,
        })
    }

    /// Watches the log of this job, and drops what was reported before.
    pub fn take_note(&mut self, spool: &Spool, id: Option<&JobId>) -> io::Result<()> {
        if self.of.is_some() && self.of.as_ref() != id {
            // Closing the descriptor takes it out of the poller.
            self.source = ChangeSource::new(LOG)?;
            self.of = None;
        }
        self.source.clear()?;
        if let (None, Some(id)) = (&self.of, id)
            && spool.watch_log(id.as_str(), &self.source.watcher).is_ok()
        {
            self.of = Some(id.clone());
        }
        Ok(())
    }
}
