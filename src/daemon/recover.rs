//! What an earlier daemon left in `active/`: tries that ended without a word, and tries that still go on.

use super::children;
use super::engine::Engine;
use super::shared::{Book, Run};
use super::sweep;
use crate::core::id::JobId;
use crate::core::process::{Exit, Proc};
use crate::core::record::Record;
use crate::core::scheduler::Event;
use crate::core::time::{Boot, Wall};
use crate::os::fault::Fault;
use crate::os::procfs::{self, Stat};
use crate::os::wait::PidFd;
use crate::os::{child, clock, dir};
use crate::spool::{Left, Place, Where};
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Engine {
    /// Goes through `active/`: moves on what carries its end, adopts what lives, and reports the rest as
    /// interrupted. Also clears `tmp/` of staging files that nobody can be writing any more.
    pub(super) fn recover(&mut self) -> io::Result<()> {
        self.shared.spool.clear_staging(clock::wall())?;
        self.shared.spool.reunite_all()?;
        let mut ids = self.shared.spool.ids(&Where::Active)?;
        if let Some(single) = &self.options.single {
            ids.retain(|id| id == single);
        }
        for id in ids {
            match self.shared.spool.left(&id)? {
                Left::Ended(record) => self.move_on(&id, &record),
                Left::Between(record) => {
                    self.shared.spool.put_back(&id, *record)?;
                }
                Left::Begun(record) => self.take_over(id, *record)?,
                Left::Bad(why) => self.quarantine(&Place::Active, id.as_str().as_bytes(), &why),
            }
        }
        Ok(())
    }

    /// The daemon was killed between writing the end and showing it.
    fn move_on(&self, id: &JobId, record: &Record) {
        match self.shared.spool.move_on(id, record) {
            Ok(_) => log::info!("{id}: had ended under an earlier daemon"),
            Err(e) => log::error!("{id}: {e}"),
        }
    }

    pub(super) fn take_over(&mut self, id: JobId, mut record: Record) -> io::Result<()> {
        let queue = record.queue.clone().unwrap_or_default();
        let leader = self
            .leader(&id, &record)
            .filter(|_| !Fault::NoAdoption.is_on());
        let terms = self.shared.config().terms(&queue, &record);
        let attempt = record.attempt;
        let now = clock::now();
        // The time of one that has ended by itself is not up.
        let alive = leader.filter(Stat::is_alive);
        let ran = alive.map_or(Duration::ZERO, |stat| now.boot.since(began(stat.start)));
        let ticket = self.shared.spool.ticket(
            &id,
            &queue,
            &record,
            &unseen(&record),
            now,
            terms.backoff.rule().max,
        );
        let boot = &self.shared.home.boot;
        if let Some(stat) = leader {
            record.proc = Some(Proc {
                pid: stat.pid,
                start: stat.start,
                boot: boot.clone(),
            });
        }
        // A leader that is dead still names the session of what it left behind.
        let noted = record.proc.as_ref().filter(|proc| proc.boot == *boot);
        let pid = noted.map_or(0, |proc| proc.pid);
        let run = Arc::new(Run {
            id: id.clone(),
            queue,
            terms: terms.clone(),
            pid,
            adopted: leader.is_none_or(|stat| !is_ours(&stat)),
            started: record
                .started_at
                .or_else(|| leader.map(|_| Wall(now.wall.0 - nanos(ran)))),
            began: noted.map(|proc| began(proc.start)),
            log_offset: record.attempts.last().map_or(0, |t| t.log_offset),
            cgroup: self.shared.home.group(&id),
            inode: AtomicU64::new(0),
            known: Mutex::default(),
            book: Mutex::new(Book {
                record,
                ended: None,
                usage: None,
                error: None,
                noted: true,
                stuck: None,
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
            Some(stat) => self.adopt(&run, stat)?,
            None => {
                log::info!("{id}: try {attempt} was interrupted");
                self.feed(Event::Ended {
                    id,
                    exit: Exit::Lost,
                    alone: Fault::NoAdoption.is_on(),
                });
            }
        }
        Ok(())
    }

    /// The leader of a try that an earlier daemon began, if it lives, or nobody has reaped it yet.
    fn leader(&self, id: &JobId, record: &Record) -> Option<Stat> {
        if let Some(proc) = &record.proc {
            let same = |stat: &Stat| stat.start == proc.start && proc.boot == self.shared.home.boot;
            return procfs::stat(proc.pid).filter(same);
        }
        // The daemon was killed before the note: the environment tells the leader from what it has started.
        let mark = sweep::mark(&self.shared.home.spool, id);
        let all = procfs::all().unwrap_or_default();
        all.into_iter().find(|stat| {
            stat.session == stat.pid
                && procfs::has_environment(stat.pid, &mark)
                && procfs::has_environment(stat.pid, &[format!("{}={}", child::PID, stat.pid)])
                && procfs::user_of(stat.pid) == Some(self.shared.home.account.uid)
        })
    }

    /// Waits for a job that an earlier daemon started. An error means that we cannot, though it runs.
    fn adopt(&mut self, run: &Arc<Run>, stat: Stat) -> io::Result<()> {
        match stat.is_alive() {
            true => log::info!("{}: still running as process {}", run.id, stat.pid),
            false => log::info!("{}: ended as process {} meanwhile", run.id, stat.pid),
        }
        if is_ours(&stat) {
            // Ours since an earlier image: reaped with what we inherit.
            self.shared.children.enter(stat.pid, run.id.clone(), || {});
        } else {
            match PidFd::open(stat.pid) {
                Ok(pidfd) => {
                    children::wait_for_foreign(&self.shared, run, pidfd, stat.is_alive())?;
                }
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {
                    let (id, exit) = (run.id.clone(), Exit::Lost);
                    self.feed(Event::Ended {
                        id,
                        exit,
                        alone: false,
                    });
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        self.watch_log(&run.id);
        Ok(())
    }
}

/// True for a child of this process: of an image that has become this one by an upgrade.
fn is_ours(stat: &Stat) -> bool {
    i32::try_from(std::process::id()).is_ok_and(|us| stat.parent == us)
}

/// When a process started, from its start in clock ticks since boot.
fn began(start: u64) -> Boot {
    let ticks_per_second = 100;
    Boot(start.saturating_mul(1_000_000_000 / ticks_per_second))
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// A file in `active/` is not looked up by its stamp.
fn unseen(record: &Record) -> dir::Look {
    let modified = record.created_at.map_or(0, |at| at.0);
    dir::Look {
        kind: dir::FileType::File,
        inode: 0,
        modified,
        size: 0,
        links: 1,
        uid: 0,
    }
}
