//! The end of the watcher: when it is time, and what it leaves to others.

use super::ServeError;
use super::watcher::WatcherThread;
use crate::core::id::{JobId, QueueName};
use crate::core::scheduler::Scheduler;
use crate::os::clock;
use crate::os::fault::Fault;
use crate::spool::{Role, Where};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl WatcherThread {
    /// True when it is time to exit.
    pub(super) fn is_done(&mut self) -> bool {
        let daemon = Arc::clone(&self.daemon);
        if self.stopping && daemon.room.trouble().is_some() {
            // Ends cannot be recorded; the jobs stay in active/ for the next daemon.
            return daemon.ask(|s| s.counts()).running == 0;
        }
        if self.ending_jobs && self.has_only_stuck_jobs() {
            // They stay in active/ for the next daemon.
            return true;
        }
        // While a thread is there, it may still have a job to start.
        let is_idle = daemon.job_threads.load(Ordering::SeqCst) == 0 && daemon.chores.is_done();
        if !is_idle || !daemon.ask(|s| s.is_quiet()) {
            self.idle_since = None;
            return false;
        }
        let looked = !self.scanner.is_scanning() && daemon.agenda.has_no_names();
        if let Some(id) = &daemon.options.single {
            return looked && !daemon.ask(|s| s.knows(id));
        }
        let is_drained =
            looked && daemon.ask(Scheduler::is_drained) && !daemon.machine.watches.has_news();
        match is_drained {
            true => drop(self.idle_since.get_or_insert(clock::now().boot)),
            false => self.idle_since = None,
        }
        self.stopping || is_drained && (self.draining || self.idle_left() == Some(Duration::ZERO))
    }

    /// How long nothing may still be left to run until it is time to exit.
    pub(super) fn idle_left(&self) -> Option<Duration> {
        let until = self.idle_since?.after(self.daemon.options.drain?);
        Some(until.since(clock::now().boot))
    }

    /// Unlocks the spool. False if it is locked again, since something has come. It may be a job that came after the last
    /// look, and that was left to this daemon because the spool was still locked.
    pub(super) fn lets_go(&mut self) -> Result<bool, ServeError> {
        if self.stopping || self.daemon.options.single.is_some() {
            return Ok(true);
        }
        log::info!("nothing is left to run: leaving the spool");
        // Its requests are jobs too. After a second look it stays closed.
        self.close_service();
        let take_time = || {
            if Fault::SlowLeave.is_on() {
                std::thread::sleep(Duration::from_millis(500));
            }
        };
        take_time();
        let daemon = Arc::clone(&self.daemon);
        let in_lock = |e| ServeError::Io("lock".to_owned(), e);
        daemon.machine.lock().let_go().map_err(in_lock)?;
        take_time();
        while !Fault::NoSecondLook.is_on() && !self.stopping && self.has_something_come() {
            match daemon.machine.lock().take_back().map_err(in_lock)? {
                Ok(()) => {
                    log::info!("something has come: staying");
                    return Ok(false);
                }
                Err(Some(holder)) if holder.role == Role::Serve => return Ok(true),
                // A `pirn run` runs its own job only.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            self.read_signals();
        }
        Ok(true)
    }

    /// True if a file may have come that is not known yet. The events of files that were renamed before are there.
    fn has_something_come(&self) -> bool {
        let daemon = &self.daemon;
        let is_unknown = |id: &JobId| !daemon.ask(|s| s.knows(id));
        let has_unknown = |queue: &QueueName| match daemon.spool.ids(&Where::Pending(queue.clone()))
        {
            Ok(ids) => ids.iter().any(is_unknown),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            Err(e) => {
                log::error!("queue {queue}: {e}; jobs in it may be left");
                false
            }
        };
        daemon.machine.watches.has_news() || self.scanner.unwatched.iter().any(has_unknown)
    }

    /// True when there are running jobs and none of them can be ended, and nothing else is under way.
    fn has_only_stuck_jobs(&self) -> bool {
        let daemon = &self.daemon;
        let counts = daemon.ask(Scheduler::counts);
        counts.running > 0
            && counts.ending == 0
            && daemon.chores.is_done()
            && !daemon.ask(Scheduler::is_starting)
            && daemon.runs().iter().all(|run| run.facts().stuck.is_some())
    }

    /// Takes leave of the jobs, which run on: those that end from here on are reaped by others. False if one is just
    /// being reaped.
    pub(super) fn leave_jobs(&mut self) -> bool {
        let daemon = Arc::clone(&self.daemon);
        let Ok(reaping) = daemon.reaping.try_write() else {
            return false;
        };
        if daemon.ask(Scheduler::counts).ending > 0 {
            return false;
        }
        self.bridges.end();
        // Until this process is gone.
        std::mem::forget(reaping);
        true
    }

    pub(super) fn leave(self) -> Result<(), ServeError> {
        let daemon = self.daemon;
        if let Some(holder) = daemon.machine.successor() {
            return Err(ServeError::Held(Box::new(holder.clone())));
        }
        if let Err(e) = daemon.spool.settle_numbers(&daemon.home.boot) {
            log::warn!("seq: {e}");
        }
        for run in daemon.runs() {
            log::warn!("{}: goes on without a daemon", run.id);
        }
        log::debug!("done");
        match daemon.room.trouble() {
            Some(why) => {
                let e = std::io::Error::other(why.to_owned());
                Err(ServeError::Io("not all is recorded".to_owned(), e))
            }
            None => Ok(()),
        }
    }
}
