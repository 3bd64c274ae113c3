//! The watcher at work: it sleeps until a file, a signal, a timer or an orphan wants something.

use super::bridges::Bridges;
use super::chores::Chore;
use super::home::Home;
use super::real::RealMachine;
use super::room::Hold;
use super::state::Daemon;
use super::watcher::{Scanner, Upgrade, WatcherThread};
use super::{Given, Options, ServeError, background, confine, doing, not_served, settings};
use crate::core::config::pauses::Pauses;
use crate::core::scheduler::{Event, Scheduler};
use crate::os::notify::Notifier;
use crate::os::poll::Poller;
use crate::os::signals::{Signals, Told};
use crate::os::wait::{self, Ends};
use crate::os::{clock, limits, signals, spawn, thread};
use crate::spool::{HolderLine, Spool, SpoolLock};
use std::sync::Arc;

/// The numbers of the descriptors in the poller.
const WAKER: u64 = 0;
const SIGNALS: u64 = 1;
const INOTIFY: u64 = 2;
const BOOT_ALARM: u64 = 3;
const WALL_ALARM: u64 = 4;
const ENDS: u64 = 5;

/// Writes into `lock` how the command line differs from the defaults: commands read it there.
fn tell_options(lock: &mut SpoolLock, options: &Options) {
    if let Some(file) = &options.config {
        lock.tell(HolderLine::Config(file));
    }
    if !options.only.0.is_empty() {
        lock.tell(HolderLine::Only(&options.only.0));
    }
    if options.no_sync {
        lock.tell(HolderLine::NoSync);
    }
    if let Some(slots) = options.slots {
        lock.tell(HolderLine::Slots(slots));
    }
}

impl WatcherThread {
    /// Takes the spool, recovers what an earlier daemon left, and is ready to run.
    pub fn start(options: Options, given: Given) -> Result<Self, ServeError> {
        let umask = limits::readable_by_us();
        let spool =
            Spool::create(&options.spool, !options.no_sync).map_err(not_served(&options.spool))?;
        let mut lock = given.lock;
        tell_options(&mut lock, &options);
        let signals = match given.signals {
            Some(signals) => signals,
            None => Signals::install().or_else(doing("installing signal handlers"))?,
        };
        spawn::hide_descriptors();
        let config = Arc::new(settings::read(&options)?);
        let ends = Ends::new().or_else(doing("signalfd"))?;
        thread::allow_interrupts().or_else(doing("sigaction"))?;
        wait::become_subreaper().or_else(doing("becoming a subreaper"))?;
        let home =
            Home::of_this_process(&options, umask).or_else(doing(options.spool.display()))?;
        if let (Some(group), None) = (&options.cgroup, &home.cgroups) {
            let why =
                "no groups of jobs can be made there, or not be killed as a whole (Linux 5.14)";
            return Err(ServeError::Config(format!(
                "--cgroup {}: {why}",
                group.display()
            )));
        }
        confine::check(&config, &home).map_err(|why| {
            ServeError::Config(format!("{}: {why}", options.config_path().display()))
        })?;
        if !home.controllers().is_empty() {
            lock.tell(HolderLine::Groups(home.controllers()));
        }
        spool.use_settings(&config);
        let policy = settings::policy(&options, &config, &Pauses::default());
        log::debug!("serving {} with {} slots", home.spool, policy.slots);
        let seed = clock::now().boot.0 ^ u64::from(std::process::id()).rotate_left(32);
        let scheduler = Scheduler::new(policy, seed);
        let daemon = RealMachine::new(lock)
            .and_then(|machine| Daemon::new(machine, options, home, spool, config, scheduler));
        let daemon = Arc::new(daemon.or_else(doing("inotify, timerfd or eventfd"))?);
        daemon.machine.watches.try_out(&daemon.spool)?;
        let mut watcher = Self {
            scanner: Scanner::new(Arc::clone(&daemon), Scanner::read_watches),
            upgrade: Upgrade::No,
            signals,
            service: None,
            bridges: Bridges::default(),
            poller: Poller::new().or_else(doing("epoll"))?,
            ends,
            notifier: given.notifier,
            stopping: false,
            leaving: false,
            draining: false,
            idle_since: None,
            ending_jobs: false,
            status: String::new(),
            daemon,
        };
        watcher.register().or_else(doing("epoll"))?;
        watcher.begin()?;
        Ok(watcher)
    }

    fn register(&self) -> std::io::Result<()> {
        let (poller, daemon) = (&self.poller, &self.daemon);
        poller.add(&daemon.waker, WAKER)?;
        poller.add(&self.signals, SIGNALS)?;
        poller.add(daemon.machine.watches.fd(), INOTIFY)?;
        daemon.boot_alarm.add_to(poller, BOOT_ALARM)?;
        daemon.wall_alarm.add_to(poller, WALL_ALARM)?;
        poller.add(&self.ends, ENDS)
    }

    /// Arms the watches, then looks at what is there: in this order nothing is missed.
    fn begin(&mut self) -> Result<(), ServeError> {
        let daemon = Arc::clone(&self.daemon);
        let watched = daemon.machine.watches.watch_fixed(&daemon.spool);
        watched.or_else(doing("watching the spool"))?;
        background::start(&daemon).or_else(doing("starting a thread"))?;
        // It may have been edited between the first reading and the watch.
        self.scanner.reload();
        self.clear_groups();
        self.scanner.begin()?;
        Ok(())
    }

    /// Runs until told to stop, or drained.
    pub fn run(mut self) -> Result<(), ServeError> {
        loop {
            self.turn();
            if self.daemon.machine.successor().is_some() || self.is_done() && self.lets_go()? {
                break;
            }
            if self.upgrade.is_proven() && self.is_settled() {
                match signals::held_back(|| self.become_new()) {
                    Some(e) => {
                        log::error!("upgrade failed, going on as before: {e}");
                        self.stay();
                        continue;
                    }
                    // It was told to end at the last moment.
                    None if self.stopping || self.leaving => continue,
                    None => {}
                }
            }
            if self.leaving && self.is_settled() {
                // Requests may begin something until they are closed.
                self.close_service();
                if self.is_settled() && self.leave_jobs() {
                    break;
                }
            }
            self.tell_status();
            let alive = self.notifier.say_alive();
            let longest = match self.scanner.is_scanning() {
                true => Some(std::time::Duration::ZERO),
                false => [self.bridges.due(), alive, self.idle_left()]
                    .into_iter()
                    .flatten()
                    .min(),
            };
            let ready = self.poller.wait(longest).or_else(doing("epoll"))?;
            for number in ready {
                self.readable(number);
            }
        }
        self.notifier.send("STOPPING=1");
        self.close_service();
        self.leave()
    }

    pub(super) fn close_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.close();
        }
    }

    /// One turn: a bounded part of whatever there is to do.
    fn turn(&mut self) {
        self.reap_orphans();
        if let Some(proven) = self.daemon.chores.take_proven() {
            self.proven(proven);
        }
        self.scanner.scan_some();
        self.scanner.judge_due();
        self.bridges
            .turn(&self.daemon.options, &self.daemon.config());
        self.periodic();
    }

    /// Reaps the children of this thread that have ended. Orphans of jobs are its children, the daemon being a
    /// subreaper, and so are the jobs of an image that has become this one: those are left to their threads, which
    /// wake this thread when they have reaped them.
    fn reap_orphans(&mut self) {
        while let Ok(Some(ended)) = wait::next_own_end() {
            if self.daemon.runs().iter().any(|run| run.pid == ended.pid) {
                return;
            }
            wait::reap(ended.pid);
            self.bridges.ended(ended.pid);
        }
    }

    fn readable(&mut self, number: u64) {
        let daemon = Arc::clone(&self.daemon);
        match number {
            WAKER => daemon.waker.clear(),
            SIGNALS => self.read_signals(),
            INOTIFY => self.scanner.read_watches(),
            ENDS => self.ends.clear(),
            BOOT_ALARM => {
                daemon.boot_alarm.acknowledge();
                daemon.step(Event::Tick);
                daemon.agenda.set_alarm();
            }
            WALL_ALARM => {
                daemon.wall_alarm.acknowledge();
                daemon.step(Event::Tick);
            }
            _ => {}
        }
    }

    fn periodic(&mut self) {
        let daemon = Arc::clone(&self.daemon);
        let now = clock::now().boot;
        if daemon.agenda.take_rescan(now) {
            daemon.agenda.rescan_as_usual(clock::now().boot);
            self.scanner.audit();
            self.scanner.rescan();
            self.clear_groups();
        }
        if daemon.agenda.take_retention(now) {
            daemon.chores.add(Chore::Retain);
        }
        if daemon.room.is_held(Hold::Room) || daemon.ask(|s| s.counts()).waiting > 0 {
            daemon.guard_room();
        }
    }

    /// Removes the control groups of jobs that had left processes behind, which have ended since.
    fn clear_groups(&self) {
        if let Some(groups) = &self.daemon.home.cgroups {
            groups.remove_empty();
        }
    }

    /// Does what the signals ask for that were handled until now.
    pub(super) fn read_signals(&mut self) {
        for told in self.signals.read() {
            match told {
                Told::Stop => self.stop(),
                Told::Leave => self.begin_leave(),
                Told::Drain => self.drain(),
                Told::Reload => self.reload_as_told(),
                Told::Upgrade if self.is_to_end() || self.daemon.options.single.is_some() => {
                    log::warn!("upgrade: not done: this process ends with its jobs");
                }
                Told::Upgrade => self.prove(),
            }
        }
    }

    /// True once a signal has said that it is to end, now or later.
    fn is_to_end(&self) -> bool {
        self.stopping || self.leaving || self.draining
    }

    /// Ends once what is being started or recorded is, and leaves the jobs to the next daemon, if that can learn how they
    /// end.
    fn begin_leave(&mut self) {
        if self.daemon.options.single.is_some() {
            return self.stop();
        }
        if !spawn::tells_ends_of_others() {
            log::info!(
                "this kernel tells only a parent how a process has ended: jobs are waited for"
            );
            return self.stop();
        }
        self.leaving = true;
        // The next image would not know that it is to leave.
        self.upgrade = Upgrade::No;
        self.daemon.set_alert(true);
        self.daemon.hold(Hold::Leave);
        if let Some(service) = &mut self.service {
            service.drain();
        }
        self.notifier.send("STOPPING=1");
        let running = self.daemon.ask(|s| s.counts()).running;
        log::info!("leaving: {running} running jobs go on");
    }

    fn stop(&mut self) {
        let daemon = Arc::clone(&self.daemon);
        self.leaving = false;
        daemon.set_alert(true);
        let was_stopping = std::mem::replace(&mut self.stopping, true);
        daemon.machine.lock().tell(HolderLine::Stopping);
        self.ending_jobs = was_stopping;
        if let Some(id) = &daemon.options.single {
            if let Err(e) = daemon.spool.cancel(id) {
                log::error!("{id}: {e}");
            }
            return;
        }
        self.bridges.stop();
        let running = daemon.ask(|s| s.counts()).running;
        // The next image would not know that it is to stop.
        self.upgrade = Upgrade::No;
        if let Some(service) = &mut self.service {
            service.drain();
        }
        self.notifier.send("STOPPING=1");
        daemon.step(Event::Shutdown);
        match was_stopping {
            false => {
                log::info!("stopping: {running} running jobs may end; told again, they are ended")
            }
            true => log::info!("stopping: ending {running} running jobs"),
        }
    }

    /// Ends when nothing is left to run, as with `--drain`.
    fn drain(&mut self) {
        if self.daemon.options.single.is_some() {
            return self.stop();
        }
        self.draining = true;
        self.bridges.stop();
        // The next image would not know that it is to end.
        self.upgrade = Upgrade::No;
        self.daemon.set_alert(true);
        self.daemon.machine.lock().tell(HolderLine::Draining);
        log::info!("draining: ends when nothing is left to run");
    }

    fn reload_as_told(&mut self) {
        self.notifier.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            clock::monotonic_usec()
        ));
        if !self.scanner.reload() {
            let path = self.daemon.options.config_path();
            log::warn!("config: {} is being written; not read", path.display());
        }
        self.notifier.send(Notifier::READY);
    }

    fn tell_status(&mut self) {
        if !self.notifier.is_on() {
            return;
        }
        let counts = self.daemon.ask(Scheduler::counts);
        let status = format!(
            "STATUS={} running, {} waiting",
            counts.running, counts.waiting
        );
        if status != self.status {
            self.notifier.send(&status);
            self.status = status;
        }
    }
}
