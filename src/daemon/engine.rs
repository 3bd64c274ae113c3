//! The thread that owns the truth: it takes in what happened, asks the scheduler, and hands out what to do.

use super::children;
use super::chores::RESCAN_EVERY;
use super::committer;
use super::dispatch::{Dispatch, Pools};
use super::ending;
use super::mailbox::Mailbox;
use super::retain::Doubt;
use super::runner;
use super::settings;
use super::shared::{Home, Shared};
use super::sweep;
use super::upgrade::{Proven, Upgrade};
use super::watch::Watches;
use super::{Given, Options, ServeError, Service, doing};
use crate::core::config::pauses::Pauses;
use crate::core::id::JobId;
use crate::core::process::Stop;
use crate::core::record::Record;
use crate::core::scheduler::{Action, Event, Rejection, Scheduler};
use crate::core::time::{Boot, Now};
use crate::os::cgroup::Delegated;
use crate::os::notify::Notifier;
use crate::os::poll::Poller;
use crate::os::signals::{Signals, Told};
use crate::os::wait::Ends;
use crate::os::{clock, limits, procfs, signals, spawn, thread, user, wait};
use crate::spool::{Holder, Place, Reserve, Spool, SpoolLock};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

/// What other threads tell the engine.
#[derive(Debug)]
pub enum Letter {
    /// Something for the scheduler.
    Event(Event),
    /// Something that the scheduler has asked for, and not of the engine.
    Act(Action),
    /// The job was started: the engine is to look after its log or its file.
    Started(JobId),
    /// A committer's task that the scheduler does not wait for is done.
    Done,
    /// Processes hold the log of this job, which may not be in `active/` any more.
    Held(JobId),
    /// The binary that the daemon is to become can serve this spool, or why not.
    Proven(Result<Proven, String>),
    /// The disk does not keep what is written: see [`Shared::trouble`].
    Trouble,
}

impl Letter {
    fn is_commit(&self) -> bool {
        matches!(self, Self::Event(Event::Committed { .. }))
    }
}

/// How long the first report is waited for, and how long one that does not come.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(1);
const LONGEST_PATIENCE: Duration = Duration::from_millis(64);

/// How long news is left to gather while every slot is taken and jobs come and go. What is dropped then is noticed so
/// much later, and nothing could be started anyway.
const GATHER: Duration = Duration::from_millis(1);

/// What a readable descriptor means.
const MAIL: u64 = 0;
const SIGNALS: u64 = 1;
const INOTIFY: u64 = 2;
const BOOT_TIMER: u64 = 3;
const WALL_TIMER: u64 = 4;
const ENDS: u64 = 5;

/// The engine.
pub struct Engine {
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) watches: Watches,
    /// Names to judge again, by when.
    pub(super) later: BTreeMap<(Boot, u64), (Place, Vec<u8>)>,
    pub(super) settling: super::taking::Settling,
    pub(super) scans: VecDeque<super::taking::Scan>,
    /// What was read of the job that is just arriving: if it starts at once, it need not be read again.
    pub(super) at_hand: Option<(JobId, Box<Record>)>,
    poller: Poller,
    signals: Signals,
    /// Told of only in a long sleep: jobs end all the time.
    ends: Ends,
    boot_timer: clock::Timer,
    wall_timer: clock::Timer,
    pub(super) notifier: Notifier,
    pub(super) lock: Option<SpoolLock>,
    /// Another daemon that was found to have the spool: it is left to that one, with what runs.
    pub(super) successor: Option<Holder>,
    pub(super) rescan_at: Boot,
    pub(super) retain_at: Option<Boot>,
    pub(super) space_at: Boot,
    pub(super) held: bool,
    /// The queues that files pause.
    pub(super) pauses: Pauses,
    stopping: bool,
    /// Told again to stop.
    ending_jobs: bool,
    pub(super) upgrade: Upgrade,
    pub(super) status: String,
    /// Committers' tasks that the scheduler does not wait for.
    pub(super) errands: usize,
    /// How long to wait for the next report.
    patience: Duration,
    /// True when jobs have ended since the last wait.
    busy: bool,
    /// True until all that waited at the start is known.
    pub(super) surveying: bool,
    /// What is open to others.
    pub(super) service: Option<Box<dyn Service>>,
}

impl Engine {
    /// Takes the spool, recovers what an earlier daemon left, and is ready to run.
    pub fn start(options: Options, given: Given) -> Result<Self, ServeError> {
        let umask = limits::current_umask();
        if umask & 0o700 != 0 {
            // What we make must be ours to read, whatever we were started with.
            limits::set_umask(umask & 0o077);
        }
        let spool = Spool::create(&options.spool, !options.no_sync)
            .or_else(doing(options.spool.display()))?;
        let mut lock = match given.lock {
            Some(lock) => lock,
            None => options.take_lock(&spool)?,
        };
        lock.tell_config(options.config.as_deref());
        let signals = match given.signals {
            Some(signals) => signals,
            None => Signals::install().or_else(doing("installing signal handlers"))?,
        };
        let watches = Watches::new().or_else(doing("inotify"))?;
        watches.try_out(&spool)?;
        spawn::hide_descriptors();
        let config = Arc::new(settings::read(&options)?);
        let ends = Ends::new().or_else(doing("signalfd"))?;
        wait::become_subreaper().or_else(doing("becoming a subreaper"))?;
        let home = home(&options, umask).or_else(doing(options.spool.display()))?;
        let policy = settings::policy(&options, &config, &Pauses::default());
        log::debug!("serving {} with {} slots", home.spool, policy.slots);
        let now = clock::now();
        let seed = now.boot.0 ^ u64::from(std::process::id()).rotate_left(32);
        let shared = Arc::new(Shared {
            spool,
            dispatch: Dispatch::new(Scheduler::new(policy, seed)),
            mail: Mailbox::new().or_else(doing("eventfd"))?,
            children: children::Children::default(),
            reserve: Reserve::default(),
            trouble: OnceLock::new(),
            doubt: Mutex::new(Doubt::new(now)),
            runs: Mutex::new(HashMap::new()),
            config: RwLock::new(config),
            home,
            tally: Arc::clone(&options.tally),
        });
        let committers = Arc::new(committer::pool(&shared));
        shared.dispatch.hire(Pools {
            runners: runner::crew(&shared),
            recorders: ending::pool(&shared, &committers),
            committers,
        });
        let mut engine = Self {
            watches,
            later: BTreeMap::new(),
            settling: super::taking::Settling::default(),
            scans: VecDeque::new(),
            at_hand: None,
            poller: Poller::new().or_else(doing("epoll"))?,
            signals,
            ends,
            boot_timer: clock::Timer::boot().or_else(doing("timerfd"))?,
            wall_timer: clock::Timer::wall().or_else(doing("timerfd"))?,
            notifier: Notifier::from_env(),
            lock: Some(lock),
            successor: None,
            rescan_at: now.boot.after(RESCAN_EVERY),
            retain_at: None,
            space_at: now.boot,
            held: false,
            pauses: Pauses::default(),
            stopping: false,
            ending_jobs: false,
            upgrade: Upgrade::No,
            status: String::new(),
            patience: SHORTEST_PATIENCE,
            busy: false,
            surveying: false,
            errands: 0,
            service: None,
            options,
            shared,
        };
        engine.register().or_else(doing("epoll"))?;
        engine.begin()?;
        Ok(engine)
    }

    fn register(&self) -> std::io::Result<()> {
        self.poller.add(&self.shared.mail, MAIL)?;
        self.poller.add(&self.signals, SIGNALS)?;
        self.poller.add(self.watches.fd(), INOTIFY)?;
        self.poller.add(&self.boot_timer, BOOT_TIMER)?;
        self.poller.add(&self.wall_timer, WALL_TIMER)?;
        self.poller.add_armed(&self.ends, ENDS)
    }

    /// Arms the watches, then looks at what is there: in this order nothing is missed.
    fn begin(&mut self) -> Result<(), ServeError> {
        self.watch_fixed().or_else(doing("watching the spool"))?;
        // It may have been edited between the first reading and the watch.
        self.reload();
        self.look_at_pause(&Place::Pending);
        self.recover().or_else(doing("recovering the spool"))?;
        self.clear_groups();
        match self.options.single.clone() {
            Some(id) => self.take_in_single(&id).or_else(doing(&id))?,
            None => {
                // Whose turn it is can be told only when all are known.
                self.surveying = true;
                self.feed(Event::Hold);
                self.first_scan();
                self.plan_retention();
                self.errand(committer::Task::Orphans);
                self.errand(committer::Task::Unended);
            }
        }
        self.notifier.send("READY=1");
        Ok(())
    }

    /// Runs until told to stop, or drained.
    pub fn run(mut self) -> Result<(), ServeError> {
        loop {
            self.turn();
            if self.successor.is_some() || self.is_done() {
                break;
            }
            if self.upgrade.is_proven() && self.is_settled() {
                match signals::held_back(|| self.become_new()) {
                    Some(e) => {
                        log::error!("upgrade failed, going on as before: {e}");
                        self.stay();
                        continue;
                    }
                    // It was told to stop at the last moment.
                    None if self.stopping => continue,
                    None => {}
                }
            }
            self.set_timers().or_else(doing("timerfd"))?;
            self.tell_status();
            // What jobs do to our directories is told in many small pieces, to be read at one go.
            if std::mem::take(&mut self.busy)
                && self.scans.is_empty()
                && self.ask(Scheduler::is_full)
            {
                std::thread::sleep(GATHER);
            }
            let longest = self.patience();
            let ready = self.poller.wait(longest).or_else(doing("epoll"))?;
            self.shared.mail.awake(ready.contains(&MAIL));
            for number in ready {
                self.readable(number);
            }
        }
        self.notifier.send("STOPPING=1");
        if let Some(service) = &mut self.service {
            service.close();
        }
        if let Some(holder) = self.successor {
            return Err(ServeError::Held(holder));
        }
        if let Err(e) = self.shared.spool.settle_numbers(&self.shared.home.boot) {
            log::warn!("seq: {e}");
        }
        for id in self.running() {
            log::warn!("{id}: goes on without a daemon");
        }
        log::debug!("done");
        match self.shared.trouble.get() {
            Some(why) => doing(why)(std::io::ErrorKind::Other.into()),
            None => Ok(()),
        }
    }

    /// How long to wait for something to happen. What the other threads are about to report of starts and commits is
    /// not worth being woken for each: it is looked for, more and more seldom if it does not come.
    fn patience(&mut self) -> Option<Duration> {
        if !self.scans.is_empty() {
            return Some(Duration::ZERO);
        }
        let counts = self.ask(Scheduler::counts);
        let soon = self.shared.dispatch.is_starting() || self.errands > 0 || counts.ending > 0;
        let perhaps = counts.running > 0 && self.patience < LONGEST_PATIENCE;
        let patience = (soon || perhaps).then_some(self.patience);
        if !self.shared.mail.may_sleep(patience.is_some()) {
            return Some(Duration::ZERO);
        }
        self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        if patience.is_none() && !self.listens_for_ends() {
            return Some(Duration::ZERO);
        }
        patience
    }

    /// Has orphans' ends told of while we sleep. False if something has ended just now.
    fn listens_for_ends(&self) -> bool {
        self.ends.clear();
        match self.poller.arm(&self.ends, ENDS) {
            Ok(()) => !wait::has_own_end(),
            Err(e) => {
                log::error!("epoll: {e}");
                true
            }
        }
    }

    /// One turn: a bounded part of whatever there is to do.
    fn turn(&mut self) {
        children::reap_inherited(&self.shared);
        let letters = self.shared.mail.take();
        if !letters.is_empty() {
            self.patience = SHORTEST_PATIENCE;
        }
        if letters.iter().any(Letter::is_commit) {
            self.busy = true;
            // What a user did to a file before its commit must not be taken for something done to the next run.
            self.read_watches();
        }
        if !letters.is_empty() {
            // A slot may become free.
            self.guard_space();
        }
        for letter in letters {
            match letter {
                Letter::Event(event) => self.heard(event),
                Letter::Act(action) => self.act(action),
                Letter::Started(id) => self.was_started(&id),
                Letter::Done => self.errands -= 1,
                Letter::Trouble => self.in_trouble(),
                Letter::Held(id) => self.found_held(id),
                Letter::Proven(proven) => self.proven(proven),
            }
        }
        self.scan_some();
        self.look_again();
        self.periodic();
        self.feed(Event::Tick);
    }

    /// Steps the scheduler and hands out what it asks for.
    pub(super) fn feed(&mut self, event: Event) {
        self.feed_if(|_| true, event);
    }

    /// As [`Self::feed`], if this holds; false if it does not.
    pub(super) fn feed_if(&mut self, holds: impl FnOnce(&Scheduler) -> bool, event: Event) -> bool {
        let actions = self.shared.dispatch.step_if(holds, event);
        let held = actions.is_some();
        for action in actions.into_iter().flatten() {
            self.act(action);
        }
        held
    }

    /// What the scheduler says just now.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Scheduler) -> T) -> T {
        question(&self.shared.dispatch.scheduler())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { .. } | Action::Finish { .. } | Action::Fail { .. } => {
                if let Some(mut task) = self.shared.hand_out([action]) {
                    task.read = self
                        .at_hand
                        .take_if(|(id, _)| *id == task.id)
                        .map(|(_, read)| read);
                    self.shared.start(task);
                }
            }
            Action::Note { id } => self.errand(committer::Task::Note(id)),
            Action::Signal { id, how } => self.signal(&id, how),
            Action::Sweep { id, grace } => self.sweep(id, grace),
            Action::Reject { id, queue, why } => match why {
                Rejection::Ring { inode, why } => {
                    let place = Place::of_queue(&queue);
                    self.quarantine_judged(&place, id.as_str().as_bytes(), &why, inode);
                }
                Rejection::Newer(newer) => self.supersede(&id, &queue, &newer),
            },
            Action::Readmit { id, queue } => {
                let now = clock::now().boot;
                self.judge_later(
                    now,
                    Place::of_queue(&queue),
                    id.as_str().as_bytes().to_vec(),
                );
            }
        }
    }

    /// Gives the committers a task that the scheduler does not wait for, but the end of the daemon does.
    pub(super) fn errand(&mut self, task: committer::Task) {
        self.errands += 1;
        self.shared.dispatch.commit(task);
    }

    fn signal(&mut self, id: &JobId, how: Stop) {
        let Some(run) = self.shared.run(id) else {
            return;
        };
        log::debug!("{id}: {how:?} to group {}", run.pid);
        if how == Stop::Term {
            sweep::remember(&self.shared, &run);
        }
        let allowed = self.shared.children.signal(run.pid, how).or_else(|| {
            // Not our child: only signal it if it is certainly still the same process.
            let proc = run.book().record.proc.clone();
            let is_same = proc.is_some_and(|proc| proc.pid == run.pid && procfs::is_same(&proc));
            is_same.then(|| signals::signal_group(run.pid, how))
        });
        if how == Stop::Kill
            && !sweep::kill_group(&run)
            && allowed == Some(false)
            && sweep::mark_stuck(&self.shared, &run, &mut run.book(), Some(run.pid))
        {
            self.errand(committer::Task::Note(id.clone()));
        }
    }

    /// A sweep takes as long as the job's grace: it gets a thread of its own, or has to wait for a committer.
    fn sweep(&self, id: JobId, grace: Duration) {
        let shared = Arc::clone(&self.shared);
        let job = id.clone();
        if thread::spawn("sweep", move || sweep::sweep(&shared, &job, grace)).is_err() {
            self.shared
                .dispatch
                .commit(committer::Task::Sweep { id, grace });
        }
    }

    fn readable(&mut self, number: u64) {
        match number {
            MAIL => {}
            SIGNALS => self.read_signals(),
            INOTIFY => self.read_watches(),
            ENDS => self.ends.clear(),
            BOOT_TIMER => self.boot_timer.acknowledge(),
            WALL_TIMER => self.wall_timer.acknowledge(),
            _ => {}
        }
    }

    /// Does what the signals ask for that were handled until now.
    pub(super) fn read_signals(&mut self) {
        for told in self.signals.read() {
            self.told(told);
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Stop => match self.options.single.clone() {
                Some(id) => {
                    if let Err(e) = self.shared.spool.cancel(&id) {
                        log::error!("{id}: {e}");
                    }
                    self.ending_jobs = std::mem::replace(&mut self.stopping, true);
                }
                None => {
                    let counts = self.ask(|s| s.counts());
                    self.ending_jobs = std::mem::replace(&mut self.stopping, true);
                    // The next image would not know that it is to stop.
                    self.upgrade = Upgrade::No;
                    if let Some(service) = &mut self.service {
                        service.drain();
                    }
                    self.notifier.send("STOPPING=1");
                    self.feed(Event::Shutdown);
                    match self.ending_jobs {
                        false => log::info!(
                            "stopping: {} running jobs may end; told again, they are ended",
                            counts.running
                        ),
                        true => log::info!("stopping: ending {} running jobs", counts.running),
                    }
                }
            },
            Told::Reload => {
                self.notifier.send(&format!(
                    "RELOADING=1\nMONOTONIC_USEC={}",
                    clock::monotonic_usec()
                ));
                if !self.reload() {
                    let path = self.options.config_path();
                    log::warn!("config: {} is being written; not read", path.display());
                }
                self.notifier.send("READY=1");
            }
            Told::Upgrade if self.stopping || self.options.single.is_some() => {
                log::warn!("upgrade: not done: this process ends with its jobs");
            }
            Told::Upgrade => self.prove(),
        }
    }

    fn set_timers(&mut self) -> std::io::Result<()> {
        let (boot, wall) = self.shared.dispatch.set_alarms();
        let later = self.later.keys().next().map(|(at, _)| *at);
        let waits = self.held && self.shared.trouble.get().is_none();
        let space = waits.then_some(self.space_at);
        let rescan = self.options.single.is_none().then_some(self.rescan_at);
        let settled = self.settling.next();
        let next = [boot, later, settled, rescan, self.retain_at, space]
            .into_iter()
            .flatten()
            .min();
        self.boot_timer.set(next.map(|at| at.0))?;
        self.wall_timer
            .set(wall.map(|at| u64::try_from(at.0).unwrap_or(0)))
    }

    /// True when it is time to exit.
    fn is_done(&self) -> bool {
        if self.stopping && self.shared.trouble.get().is_some() {
            // What ended cannot be recorded; it stays in active/ for the next daemon.
            return self.ask(|s| s.counts()).running == 0;
        }
        if self.ending_jobs && self.has_only_stuck_jobs() {
            // They stay in active/ for the next daemon.
            return true;
        }
        if !self.ask(|s| s.is_quiet()) || self.errands > 0 {
            return false;
        }
        let looked = self.scans.is_empty() && self.later.is_empty() && self.settling.is_empty();
        if let Some(id) = &self.options.single {
            return !self.ask(|s| s.knows(id)) && looked;
        }
        self.stopping
            || (self.options.drain
                && looked
                && self.ask(|s| s.is_drained())
                && !self.watches.has_news())
    }

    /// True when there are running jobs and none of them can be ended, and nothing else is under way.
    fn has_only_stuck_jobs(&self) -> bool {
        let counts = self.ask(Scheduler::counts);
        let is_stuck = |id: &JobId| {
            self.shared
                .run(id)
                .is_some_and(|run| run.book().stuck.is_some())
        };
        counts.running > 0
            && counts.ending == 0
            && self.errands == 0
            && !self.shared.dispatch.is_starting()
            && self.running().iter().all(is_stuck)
    }

    /// Both clocks.
    pub(super) fn now(&self) -> Now {
        clock::now()
    }
}

fn home(options: &Options, umask: u32) -> std::io::Result<Home> {
    let locale = std::env::vars()
        .filter(|(key, _)| key == "LANG" || key == "TZ" || key.starts_with("LC_"))
        .collect();
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    let spool = std::fs::canonicalize(&options.spool)?;
    let mut account = user::account();
    if !std::path::Path::new(&account.home).is_dir() {
        // As cron(8) does: service users often have a home that is not there.
        "/".clone_into(&mut account.home);
    }
    Ok(Home {
        account,
        path: path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()),
        locale,
        umask,
        own_umask: limits::current_umask(),
        boot: procfs::boot_id(),
        cgroups: Delegated::find(format!("pirn.{:x}.", std::fs::metadata(&spool)?.ino())),
        spool: spawn::path_text(&spool),
    })
}
