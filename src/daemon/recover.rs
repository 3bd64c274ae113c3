//! What an earlier daemon left in `active/`: tries that ended without a word, and tries that still go on.

use super::children;
use super::engine::Engine;
use super::shared::{Book, Run};
use super::sweep;
use crate::core::id::JobId;
use crate::core::record::{Reason, Record};
use crate::core::scheduler::{Event, Exit};
use crate::core::time::Wall;
use crate::os::fault::Fault;
use crate::os::procfs::{self, Stat};
use crate::os::wait::PidFd;
use crate::os::{clock, dir};
use crate::spool::{Fs, Place, Target, Where};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Engine {
    /// Goes through `active/`: moves on what carries its end, adopts what lives, and reports the rest as
    /// interrupted. Also clears `tmp/` of staging files that nobody can be writing any more.
    pub(super) fn recover(&mut self) -> io::Result<()> {
        self.clear_staging()?;
        let mut ids = self.shared.spool.ids(&Where::Active)?;
        if let Some(single) = &self.options.single {
            ids.retain(|id| id == single);
        }
        for id in ids {
            match self.shared.spool.load(&id, &Where::Active) {
                Ok(Some(record)) if record.is_over() => self.move_on(&id, &record),
                Ok(Some(record)) => self.take_over(id, record),
                Ok(None) => {
                    self.quarantine(&Place::Active, id.as_str().as_bytes(), "not a regular file")
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    self.quarantine(
                        &Place::Active,
                        id.as_str().as_bytes(),
                        &format!("found in active/: {e}"),
                    );
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The daemon was killed between writing the end and showing it.
    fn move_on(&self, id: &JobId, record: &Record) {
        let complete = record.reason == Some(Reason::Exited) && record.exit_code == Some(0);
        let target = if complete {
            Target::Complete
        } else {
            Target::Failed
        };
        match self.shared.spool.place(id, &target) {
            Ok(_) => log::info!("{id}: had ended under an earlier daemon"),
            Err(e) => log::error!("{id}: {e}"),
        }
    }

    fn take_over(&mut self, id: JobId, mut record: Record) {
        let queue = record.queue.clone().unwrap_or_default();
        // Without a note the record is the one that was claimed: the try that it began is not counted in it yet.
        if record.started_at.is_none() && !Fault::NoTryCount.is_on() {
            record.attempt += 1;
        }
        let leader = self
            .leader(&id, &record)
            .filter(|_| !Fault::NoAdoption.is_on());
        let terms = self.shared.config().terms(&queue, &record);
        let attempt = record.attempt;
        let ran = leader.map_or(Duration::ZERO, |stat| age(stat.start));
        let ticket = self
            .shared
            .spool
            .ticket(&id, &queue, &record, &unseen(&record), clock::now());
        if let Some(stat) = leader {
            record.proc = procfs::identify(stat.pid, &self.shared.home.boot);
        }
        let run = Arc::new(Run {
            id: id.clone(),
            queue,
            terms: terms.clone(),
            pid: leader.map_or(0, |stat| stat.pid),
            started: record
                .started_at
                .or_else(|| leader.map(|_| Wall(clock::wall().0 - nanos(ran)))),
            log_offset: record.attempts.last().map_or(0, |t| t.log_offset),
            inode: AtomicU64::new(0),
            book: Mutex::new(Book {
                record,
                ended: None,
                usage: None,
                error: None,
                noted: true,
            }),
        });
        self.shared.enter(Arc::clone(&run));
        self.feed(Event::Adopted {
            ticket: Box::new(ticket),
            attempt,
            terms: Box::new(terms),
            ran,
        });
        match leader {
            Some(stat) => self.adopt(&run, stat),
            None => {
                let alone = Fault::NoAdoption.is_on()
                    || (!children::log_is_held(&self.shared, &id)
                        && sweep::members(&self.shared, &run).is_empty());
                log::info!("{id}: try {attempt} was interrupted");
                self.feed(Event::Ended {
                    id,
                    exit: Exit::Lost,
                    alone,
                });
            }
        }
    }

    /// The leader of a try that an earlier daemon began, if it lives, or if it is ours to reap (after an upgrade).
    fn leader(&self, id: &JobId, record: &Record) -> Option<Stat> {
        let us = i32::try_from(std::process::id()).ok()?;
        if let Some(proc) = &record.proc {
            let same = |stat: &Stat| stat.start == proc.start && proc.boot == self.shared.home.boot;
            return procfs::stat(proc.pid)
                .filter(same)
                .filter(|stat| stat.is_alive() || stat.parent == us);
        }
        // It was killed before the note: the mark in the environment tells, of a session's leader.
        let mark = sweep::mark(&self.shared.home.spool, id);
        let all = procfs::all().unwrap_or_default();
        all.into_iter()
            .find(|stat| stat.session == stat.pid && procfs::has_environment(stat.pid, &mark))
    }

    fn adopt(&mut self, run: &Arc<Run>, stat: Stat) {
        log::info!("{}: still running as process {}", run.id, stat.pid);
        if stat.parent == i32::try_from(std::process::id()).unwrap_or(0) {
            self.shared.children.expect();
            self.shared.children.enter(Some((stat.pid, run.id.clone())));
            self.watch_log(&run.id);
            return;
        }
        match PidFd::open(stat.pid)
            .and_then(|pidfd| children::wait_for_foreign(&self.shared, run, pidfd))
        {
            Ok(()) => self.watch_log(&run.id),
            Err(e) => {
                log::warn!("{}: cannot wait for process {}: {e}", run.id, stat.pid);
                let alone = children::is_alone(&self.shared, run);
                self.feed(Event::Ended {
                    id: run.id.clone(),
                    exit: Exit::Lost,
                    alone,
                });
            }
        }
    }

    /// Staging files that are older than an hour belong to nobody alive.
    fn clear_staging(&self) -> io::Result<()> {
        let fs = self.shared.spool.fs();
        let mut staged = Vec::new();
        fs.names(&Place::Tmp, &mut |name| {
            if name.starts_with(b".") {
                staged.push(name.to_vec());
            }
        })?;
        let now = clock::wall();
        for name in staged {
            if let Some(look) = fs.look(&Place::Tmp, &name)?
                && now.since(Wall(look.modified)) > Duration::from_secs(3600)
            {
                fs.unlink(&Place::Tmp, &name)?;
            }
        }
        Ok(())
    }
}

/// How long ago a process started, from its start in clock ticks since boot.
fn age(start: u64) -> Duration {
    let ticks_per_second = 100;
    let started = Duration::from_millis(start.saturating_mul(1000 / ticks_per_second));
    Duration::from_nanos(clock::now().boot.0).saturating_sub(started)
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// A file in `active/` is not looked up by its stamp.
fn unseen(record: &Record) -> dir::Look {
    let modified = record.created_at.map_or(0, |at| at.0);
    dir::Look {
        kind: dir::Kind::File,
        inode: 0,
        modified,
        size: 0,
        links: 1,
        uid: 0,
    }
}
