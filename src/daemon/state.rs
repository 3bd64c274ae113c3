//! The state that all threads of the daemon share, and the one way to step the scheduler.
//!
//! Any thread may call [`Daemon::step`]: it takes the scheduler's lock, steps, releases the lock, and performs what the
//! scheduler asks for. Only the runs change before the lock is released: orders are given to those that the scheduler
//! meant, and of two steps the later one has the last word; a run is struck out within the step that tells of its end. No
//! other lock here is held while another is taken, but for the look for room, and the facts of a run ([`Run::facts`]),
//! which are held while its note is written.

use super::Options;
use super::agenda::Agenda;
use super::chores::Chores;
use super::home::Home;
use super::real::RealMachine;
use super::room::{Hold, Room};
use super::run::{EndedTry, Orders, Run};
use super::start::{Launched, NotLaunched, NotNow, Setup, Start, Unrun};
use super::tally::Tally;
use crate::core::config::Config;
use crate::core::id::{JobId, QueueName};
use crate::core::process::Proc;
use crate::core::quote::without_codes;
use crate::core::record::Record;
use crate::core::scheduler::{Action, Belief, Event, QuarantineReason, Scheduler};
use crate::core::time::Now;
use crate::os::clock::Alarm;
use crate::os::poll::Waker;
use crate::os::procfs::Stat;
use crate::spool::{Fs, Place, Spool};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// The daemon, as all its threads see it.
#[derive(Debug)]
pub struct Daemon<M: Machine = RealMachine> {
    /// The machine.
    pub machine: M,
    /// The spool.
    pub spool: Spool<M::Disk>,
    /// How to serve.
    pub options: Options,
    /// This process and its place.
    pub home: Home,
    /// Whether jobs may be started, and the room kept aside.
    pub room: Room,
    /// The names and times that the watcher is to look at.
    pub agenda: Agenda,
    /// The tasks of the background thread.
    pub chores: Chores,
    /// Read-locked by a job thread from before it reaps a leader until the scheduler knows of the end; an upgrade
    /// locks it whole, so that the next image finds every end that this one did not see to.
    pub reaping: RwLock<()>,
    /// How many job threads there are.
    pub job_threads: AtomicUsize,
    /// Counts for metrics.
    pub tally: Arc<Tally>,
    /// Wakes the watcher.
    pub waker: Waker,
    /// Goes off when the scheduler or the agenda has something to do.
    pub boot_alarm: Alarm,
    /// Goes off at the scheduler's next date.
    pub wall_alarm: Alarm,
    /// True while the watcher wants to know of every change, because it is about to exit or to become a new binary.
    alert: AtomicBool,
    scheduler: Mutex<Scheduler>,
    /// In an order that is the same each time, so that a simulated life can be repeated.
    runs: Mutex<BTreeMap<JobId, Arc<Run>>>,
    config: RwLock<Arc<Config>>,
    /// Ended jobs that were moved to `complete/` or `failed/` and whose events the watcher has not seen.
    shown: Mutex<HashMap<JobId, u32>>,
}

/// The machine that the daemon runs on, besides its spool: clock, threads, processes and watches. Two implementations:
/// [`RealMachine`], and a simulated one in the tests, where one thread does everything.
pub trait Machine: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// The file system of the spool.
    type Disk: Fs + 'static;
    /// The logs of a job that is about to start, locked.
    type Logs;
    /// The first process of a job, to be waited for.
    type Leader;

    /// The time of both clocks.
    fn now(&self) -> Now;
    /// Waits before work is repeated that has failed.
    fn wait(&self, span: Duration);

    /// Runs a job, in a thread of its own.
    fn start(daemon: &Arc<Daemon<Self>>, start: Start);
    /// Records the ends of jobs that never ran.
    fn end_unrun(daemon: &Arc<Daemon<Self>>, unrun: Vec<Unrun>);
    /// Moves a waiting file that the scheduler does not take to `bad/`.
    fn quarantine_waiting(
        daemon: &Arc<Daemon<Self>>,
        id: &JobId,
        queue: &QueueName,
        why: QuarantineReason,
    );
    /// The leader of a try that an earlier daemon began, to be waited for. `None` if it has vanished since it was seen.
    fn open(run: &Run, leader: Stat) -> io::Result<Option<Self::Leader>>;
    /// Has a job thread see to a try that an earlier daemon began, and that the scheduler knows of. Without a leader
    /// there is only its end to be recorded.
    fn adopt(daemon: &Arc<Daemon<Self>>, run: &Arc<Run>, leader: Option<Self::Leader>);

    /// Opens and locks the logs of a job, which is claimed.
    fn open_logs(daemon: &Daemon<Self>, id: &JobId, record: &Record) -> Result<Self::Logs, NotNow>;
    /// Starts the program of a job.
    fn launch(
        daemon: &Daemon<Self>,
        start: &Setup<'_>,
        logs: &Self::Logs,
    ) -> Result<Launched<Self::Leader>, NotLaunched>;
    /// Ends every process of the job, by force after `grace`.
    fn sweep(daemon: &Daemon<Self>, run: &Run, grace: Duration);
    /// The identity by which this process is told from a later one of its number.
    fn identify(daemon: &Daemon<Self>, pid: i32) -> Option<Proc>;
    /// The leader of a try that an earlier daemon began, if it lives, or nobody has reaped it yet.
    fn leader_of(daemon: &Daemon<Self>, id: &JobId, record: &Record) -> Option<Stat>;

    /// Watches a directory; true if it was not watched before.
    fn watch(daemon: &Daemon<Self>, place: &Place) -> io::Result<bool>;
    /// Watches the log of a job that has a limit.
    fn watch_log(daemon: &Arc<Daemon<Self>>, run: &Run);
    /// The job has ended.
    fn unwatch_log(daemon: &Daemon<Self>, run: &Run);

    /// Why nothing may be started, if something is in the way.
    fn why_none(daemon: &Daemon<Self>) -> Option<String>;
    /// Why nothing may be started, if the spool is not this daemon's alone any more.
    fn why_not_ours(daemon: &Daemon<Self>) -> Option<String>;
    /// Tells everybody why nothing is accepted any more.
    fn tell_trouble(&self, why: &str);
}

/// The actions that a step leaves to the thread that made it.
#[derive(Debug, Default)]
pub struct Rest {
    /// A job to start.
    pub start: Option<Start>,
    /// The action that follows the end of the thread's own job, which this is.
    pub follow: Option<(JobId, AfterEnd)>,
}

/// The action that follows the end of a leader.
#[derive(Debug)]
pub enum AfterEnd {
    /// End the processes that it left behind, by force after this grace.
    Sweep(Duration),
    /// Record the end of the try.
    Finish(EndedTry),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Machine> Daemon<M> {
    /// Puts the parts together.
    pub fn new(
        machine: M,
        options: Options,
        home: Home,
        spool: Spool<M::Disk>,
        config: Arc<Config>,
        scheduler: Scheduler,
    ) -> io::Result<Self> {
        let boot_alarm = Alarm::boot()?;
        Ok(Self {
            machine,
            spool,
            home,
            room: Room::default(),
            agenda: Agenda::new(boot_alarm.clone()),
            boot_alarm,
            wall_alarm: Alarm::wall()?,
            chores: Chores::default(),
            reaping: RwLock::new(()),
            job_threads: AtomicUsize::new(0),
            tally: Arc::clone(&options.tally),
            waker: Waker::new()?,
            alert: AtomicBool::new(false),
            scheduler: Mutex::new(scheduler),
            runs: Mutex::default(),
            config: RwLock::new(config),
            shown: Mutex::default(),
            options,
        })
    }

    /// The time of both clocks.
    pub fn now(&self) -> Now {
        self.machine.now()
    }

    /// Steps the scheduler and performs what it asks for.
    pub fn step(self: &Arc<Self>, event: Event) {
        let rest = self.step_as_job(event);
        debug_assert!(rest.follow.is_none(), "a job's thread reports its end");
        rest.start.into_iter().for_each(|start| self.start(start));
    }

    /// As [`Self::step`], if this holds when the scheduler is locked; false if it does not.
    pub fn step_if(self: &Arc<Self>, holds: impl FnOnce(&Scheduler) -> bool, event: Event) -> bool {
        self.step_with(|scheduler| holds(scheduler).then_some(event))
    }

    /// As [`Self::step_as_job`], if this holds when the scheduler is locked.
    pub fn step_as_job_if(
        self: &Arc<Self>,
        holds: impl FnOnce(&Scheduler) -> bool,
        event: Event,
    ) -> Option<Rest> {
        self.guard_room();
        let actions = self.actions_for(|scheduler| holds(scheduler).then_some(event))?;
        Some(self.perform(actions))
    }

    /// As [`Self::step`], with the event that this gives when the scheduler is locked; false if it gives none.
    pub fn step_with(self: &Arc<Self>, event: impl FnOnce(&Scheduler) -> Option<Event>) -> bool {
        self.guard_room();
        let actions = self.actions_for(event);
        let has_stepped = actions.is_some();
        self.perform_all(actions.unwrap_or_default());
        has_stepped
    }

    /// As [`Self::step`], if this very try is running; false if it is not.
    pub fn step_if_runs(self: &Arc<Self>, run: &Arc<Run>, event: Event) -> bool {
        let is_it = |now: Arc<Run>| Arc::ptr_eq(&now, run);
        self.step_if(
            |s| s.believes(&run.id).0 == Belief::Running && self.run(&run.id).is_some_and(is_it),
            event,
        )
    }

    /// As [`Self::step`], but what the thread of a job does itself is left to the caller.
    pub fn step_as_job(self: &Arc<Self>, event: Event) -> Rest {
        self.guard_room();
        let actions = self.actions_for(|_| Some(event));
        self.perform(actions.unwrap_or_default())
    }

    fn perform_all(self: &Arc<Self>, actions: Vec<Action>) {
        let rest = self.perform(actions);
        rest.start.into_iter().for_each(|start| self.start(start));
    }

    /// Steps the scheduler. A step may start jobs: its callers look first whether there is room.
    fn actions_for(
        self: &Arc<Self>,
        event: impl FnOnce(&Scheduler) -> Option<Event>,
    ) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        let ((boot, wall), is_quiet) = {
            let mut scheduler = locked(&self.scheduler);
            let event = event(&scheduler)?;
            scheduler.step(event, self.now(), &mut actions);
            actions.iter().for_each(|action| self.give_order(action));
            // A job that starts will be seen to end.
            let is_quiet = scheduler.is_quiet() && !scheduler.is_starting();
            (scheduler.next_wake(), is_quiet)
        };
        self.boot_alarm.set(boot.map(|at| at.0));
        self.wall_alarm
            .set(wall.map(|at| u64::try_from(at.0).unwrap_or(0)));
        if is_quiet {
            // It may be time to exit, and the status has changed.
            self.waker.wake();
        }
        self.tell_of_change();
        Some(actions)
    }

    fn perform(self: &Arc<Self>, actions: Vec<Action>) -> Rest {
        let mut rest = Rest::default();
        let mut unrun = Vec::new();
        for action in actions {
            log::trace!("{action:?}");
            match action {
                Action::Start {
                    id,
                    queue,
                    stamp,
                    slot,
                    units,
                } => {
                    let start = Start {
                        id,
                        queue,
                        stamp,
                        slot,
                        units,
                        read: None,
                    };
                    if let Some(earlier) = rest.start.replace(start) {
                        self.start(earlier);
                    }
                }
                // The order was given in the step.
                Action::Note { .. } | Action::Warn { .. } | Action::Signal { .. } => {}
                Action::Sweep { id, grace } => rest.follow = Some((id, AfterEnd::Sweep(grace))),
                Action::Finish {
                    id,
                    end,
                    verdict,
                    wait,
                } => {
                    let ended = EndedTry { end, verdict, wait };
                    rest.follow = Some((id, AfterEnd::Finish(ended)));
                }
                Action::EndUnrun {
                    id,
                    queue,
                    stamp,
                    reason,
                    error,
                } => unrun.push(Unrun {
                    id,
                    queue,
                    stamp,
                    reason,
                    error,
                }),
                Action::Quarantine { id, queue, why } => {
                    M::quarantine_waiting(self, &id, &queue, why)
                }
                Action::Readmit { id, queue } => {
                    let (place, name) = (Place::of_queue(&queue), id.as_str().as_bytes());
                    self.agenda.judge_later(self.now().boot, &place, name);
                }
            }
        }
        if !unrun.is_empty() {
            M::end_unrun(self, unrun);
        }
        rest
    }

    /// Has a job thread run this job.
    pub fn start(self: &Arc<Self>, start: Start) {
        M::start(self, start);
    }

    fn give_order(&self, action: &Action) {
        match action {
            Action::Note { id } => self.order(id, |orders| orders.note = true),
            Action::Warn { id } => self.order(id, |orders| orders.warn = true),
            Action::Signal { id, how } => self.order(id, |orders| orders.signal = Some(*how)),
            Action::Start { .. }
            | Action::Sweep { .. }
            | Action::Finish { .. }
            | Action::EndUnrun { .. }
            | Action::Quarantine { .. }
            | Action::Readmit { .. } => {}
        }
    }

    fn order(&self, id: &JobId, give: impl FnOnce(&mut Orders)) {
        if let Some(run) = self.run(id) {
            run.order(give);
        }
    }

    /// Starts nothing for this reason.
    pub fn hold(self: &Arc<Self>, why: Hold) {
        let (_, actions) = self.change_holds(|holds| holds.insert(why));
        self.perform_all(actions);
    }

    /// This holds jobs back no more.
    pub fn release(self: &Arc<Self>, why: Hold) {
        self.guard_room();
        let (_, actions) = self.change_holds(|holds| holds.remove(&why));
        self.perform_all(actions);
    }

    /// Changes the holds and tells the scheduler of them. They are read under the scheduler's lock, so that the last
    /// thread to step has read the newest.
    fn change_holds(
        self: &Arc<Self>,
        change: impl FnOnce(&mut BTreeSet<Hold>) -> bool,
    ) -> (bool, Vec<Action>) {
        let has_changed = change(&mut self.room.holds());
        let actions = self.actions_for(|_| {
            let is_free = self.room.holds().is_empty();
            Some(if is_free { Event::Release } else { Event::Hold })
        });
        (has_changed, actions.unwrap_or_default())
    }

    /// Looks whether there is room, at most once a second, and holds jobs back while the disk is nearly full: those that
    /// run need the rest of it to finish. Threads that come while one looks wait for what it finds.
    pub fn guard_room(self: &Arc<Self>) {
        if !self.room.is_look_due(self.now().boot) {
            return;
        }
        let actions = {
            let _look = self.room.begin_look();
            if !self.room.is_look_due(self.now().boot) {
                return;
            }
            self.look_for_room()
        };
        self.perform_all(actions);
    }

    /// The next look is planned last: until then other threads wait for this one.
    fn look_for_room(self: &Arc<Self>) -> Vec<Action> {
        let why = M::why_none(self);
        let now = self.now().boot;
        let Some(why) = why else {
            let mut actions = Vec::new();
            if self.room.is_held(Hold::Room) {
                actions = self.change_holds(|holds| holds.remove(&Hold::Room)).1;
                self.agenda.look_for_room(None);
                log::info!("jobs are started again");
            }
            self.room.look_again_at(now.after(Duration::from_secs(1)));
            return actions;
        };
        let (is_new, actions) = self.change_holds(|holds| holds.insert(Hold::Room));
        if is_new {
            log::warn!("nothing is started: {why}");
        }
        let again = now.after(Duration::from_secs(2));
        self.agenda.look_for_room(Some(again));
        self.room.look_again_at(again);
        actions
    }

    /// The bound has changed, or the spool: looks whether there is room now.
    pub fn look_at_room_now(self: &Arc<Self>) {
        self.room.forget_look();
        self.guard_room();
    }

    /// True if the spool is this daemon's alone.
    pub fn is_ours(&self) -> bool {
        M::why_not_ours(self).is_none()
    }

    /// A sync has failed for good: nothing is started any more, and whoever asks is told. What runs may end.
    pub fn fall_into_trouble(self: &Arc<Self>, why: &str) {
        let why = &without_codes(why);
        if self.room.fall_into_trouble(why) {
            self.machine.tell_trouble(why);
            self.hold(Hold::Trouble);
            log::error!("nothing is accepted or started any more: {why}");
            self.waker.wake();
        }
    }

    /// With a bound on count or bytes, every finished job may be one too many.
    pub fn retain_soon(&self) {
        let config = self.config();
        if config.keep_count.is_some() || config.keep_bytes.is_some() {
            self.agenda.retain_soon(self.now().boot);
        }
    }

    /// The answer of the scheduler as it is now.
    pub fn ask<T>(&self, question: impl FnOnce(&Scheduler) -> T) -> T {
        question(&locked(&self.scheduler))
    }

    /// Whether the watcher is woken after every step from now on. It alone calls this.
    pub fn set_alert(&self, is_alert: bool) {
        self.alert.store(is_alert, Ordering::SeqCst);
    }

    /// Wakes the watcher, if it wants to know of every change.
    pub fn tell_of_change(&self) {
        if self.alert.load(Ordering::SeqCst) || self.room.trouble().is_some() {
            self.waker.wake();
        }
    }

    /// A job thread has done its work, or could not be made.
    pub fn job_thread_ends(&self) {
        if self.job_threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            // It may be time to exit.
            self.waker.wake();
        }
        self.tell_of_change();
    }

    /// The settings that hold now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts settings in force. False if they are the ones that hold already.
    pub fn replace_config(&self, config: Arc<Config>) -> bool {
        let mut current = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = **current != *config;
        if is_new {
            *current = config;
        }
        is_new
    }

    /// The try of a job, if one is going on.
    pub fn run(&self, id: &JobId) -> Option<Arc<Run>> {
        locked(&self.runs).get(id).cloned()
    }

    /// All tries that are going on, by the names of their jobs.
    pub fn runs(&self) -> Vec<Arc<Run>> {
        locked(&self.runs).values().cloned().collect()
    }

    /// Enters a try.
    pub fn enter(&self, run: Arc<Run>) {
        locked(&self.runs).insert(run.id.clone(), run);
    }

    /// Enters a try of an earlier daemon and steps the scheduler with its adoption; false if the job is live already.
    pub fn enter_adopted(self: &Arc<Self>, run: &Arc<Run>, adopted: Event) -> bool {
        let enter = |scheduler: &Scheduler| {
            let is_new = !scheduler.is_live(&run.id);
            if is_new {
                self.enter(Arc::clone(run));
            }
            is_new
        };
        self.step_if(enter, adopted)
    }

    /// As [`Self::step_as_job`], and strikes a try out within the step. While the run is there, the watcher knows by it
    /// that the file in `pending/` was put back for the next try, and is no drop. When the scheduler has the job's
    /// ticket, or asks for the file to be judged again, the watcher must not pass it over any more.
    pub fn step_and_leave(self: &Arc<Self>, run: &Arc<Run>, event: Event) -> Rest {
        let leave = |_: &Scheduler| {
            self.leave(run);
            true
        };
        self.step_as_job_if(leave, event).unwrap_or_default()
    }

    /// Strikes a try out, unless the job's next one is entered by now.
    pub fn leave(&self, run: &Arc<Run>) {
        let mut runs = locked(&self.runs);
        if runs.get(&run.id).is_some_and(|now| Arc::ptr_eq(now, run)) {
            runs.remove(&run.id);
        }
    }

    /// An ended job is about to be moved to `complete/` or `failed/`: the event of that is our own doing.
    pub fn shows(&self, id: &JobId) {
        *locked(&self.shown).entry(id.clone()).or_default() += 1;
    }

    /// Takes one move that [`Self::shows`] told of: its event has come, or will not come. False if there was none.
    pub fn take_shown(&self, id: &JobId) -> bool {
        let mut shown = locked(&self.shown);
        let Some(count) = shown.get_mut(id) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            shown.remove(id);
        }
        true
    }

    /// Events were lost: those of our own doing may be among them.
    pub fn forget_shown(&self) {
        locked(&self.shown).clear();
    }
}
