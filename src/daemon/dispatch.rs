//! Stepping the scheduler, and handing out what it asks for.
//!
//! There is one scheduler, behind a lock; the engine owns all that leads to a decision but for two events: that a
//! program runs, and that it has ended. These the threads that learn of them bring before the scheduler themselves,
//! and the one that has seen a job's end starts the next job in its slot. Were both left to the engine, a slot would
//! stay empty for three thread switches (measured at two slots: a quarter of all processor time).

use super::committer;
use super::crew::Crew;
use super::ending::End;
use super::engine::Letter;
use super::pool::Pool;
use super::runner;
use super::shared::Shared;
use crate::core::scheduler::{Action, Event, Refusal, Scheduler};
use crate::core::time::{Boot, Wall};
use crate::os::clock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The scheduler, and what its callers agree about.
#[derive(Debug)]
pub struct Dispatch {
    scheduler: Mutex<Scheduler>,
    pools: OnceLock<Pools>,
    /// Starts that were not answered yet.
    starting: AtomicUsize,
    /// Until when there is certainly room to start something; the engine looks.
    room_until: AtomicU64,
    /// What the engine's timers are set to.
    alarm: AtomicU64,
    wall_alarm: AtomicI64,
}

/// The threads that do what the scheduler asks for.
#[derive(Debug)]
pub struct Pools {
    /// Start jobs and wait for them.
    pub runners: Crew<runner::Task>,
    /// Write down how tries ended.
    pub recorders: Pool<End>,
    /// Do what takes long.
    pub committers: Arc<Pool<committer::Task>>,
}

impl Dispatch {
    /// Nothing has happened yet, and nothing can be done: see [`Self::hire`].
    pub fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler: Mutex::new(scheduler),
            pools: OnceLock::new(),
            starting: AtomicUsize::new(0),
            room_until: AtomicU64::new(0),
            alarm: AtomicU64::new(u64::MAX),
            wall_alarm: AtomicI64::new(i64::MAX),
        }
    }

    /// The pools need what they are a part of, and so they come later. To be called once.
    pub fn hire(&self, pools: Pools) {
        let _ = self.pools.set(pools);
    }

    /// The scheduler. Not to be held while anything is done.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.scheduler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps the scheduler, if this holds; else there is no answer. What was found to hold a moment ago need not any
    /// more: other threads start jobs and end them.
    pub fn step_if(
        &self,
        holds: impl FnOnce(&Scheduler) -> bool,
        event: Event,
    ) -> Option<Vec<Action>> {
        let mut scheduler = self.scheduler();
        if !holds(&scheduler) {
            return None;
        }
        let mut actions = Vec::new();
        scheduler.step(event, clock::now(), &mut actions);
        drop(scheduler);
        actions.iter().for_each(|action| log::trace!("{action:?}"));
        Some(actions)
    }

    /// True when something is due before the engine wakes.
    fn is_due_sooner(&self) -> bool {
        let (boot, wall) = self.scheduler().next_wake();
        boot.is_some_and(|at| at.0 < self.alarm.load(Ordering::SeqCst))
            || wall.is_some_and(|at| at.0 < self.wall_alarm.load(Ordering::SeqCst))
    }

    /// True while a start was not answered yet.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::SeqCst) > 0
    }

    /// A start is taken on, and will be answered.
    pub fn begins(&self) {
        self.starting.fetch_add(1, Ordering::SeqCst);
    }

    /// A start was answered, and the scheduler has heard of it.
    pub fn answered(&self) {
        self.starting.fetch_sub(1, Ordering::SeqCst);
    }

    /// There is room for more until then.
    pub fn has_room_until(&self, until: Boot) {
        self.room_until.store(until.0, Ordering::SeqCst);
    }

    /// When the engine must be awake, for its timers.
    pub fn set_alarms(&self) -> (Option<Boot>, Option<Wall>) {
        let scheduler = self.scheduler();
        let (boot, wall) = scheduler.next_wake();
        // Under the lock: who steps the scheduler after this compares with these.
        self.alarm
            .store(boot.map_or(u64::MAX, |at| at.0), Ordering::SeqCst);
        self.wall_alarm
            .store(wall.map_or(i64::MAX, |at| at.0), Ordering::SeqCst);
        (boot, wall)
    }

    /// Gives the committers something to do.
    pub fn commit(&self, task: committer::Task) {
        if let Some(pools) = self.pools.get() {
            pools.committers.submit(task);
        }
    }

    /// Gives the recorders something to do.
    fn record(&self, end: End) {
        if let Some(pools) = self.pools.get() {
            pools.recorders.submit(end);
        }
    }
}

impl Shared {
    /// True if something may be started without asking the engine: it has looked whether there is room.
    pub fn may_start(&self) -> bool {
        clock::now().boot.0 < self.dispatch.room_until.load(Ordering::SeqCst)
            && self.reserve.is_full()
            && self.trouble.get().is_none()
    }

    /// Steps the scheduler, for another thread than the engine's. What comes of it is for [`Self::hand_out`], once no
    /// lock is held.
    pub fn step(&self, event: Event) -> Vec<Action> {
        let actions = self.dispatch.step_if(|_| true, event);
        if self.dispatch.is_due_sooner() {
            self.mail.ring();
        }
        actions.unwrap_or_default()
    }

    /// Has a job started by another thread.
    pub fn start(&self, task: runner::Task) {
        self.dispatch.begins();
        if let Some(pools) = self.dispatch.pools.get()
            && let Err(task) = pools.runners.submit(task)
        {
            log::warn!("{}: not started for now: no thread can be made", task.id);
            runner::refuse(self, task.id, Refusal::Resources);
        }
    }

    /// Has done what the scheduler asks for, but for one start, which is given back for the caller to do.
    pub fn hand_out(&self, actions: impl IntoIterator<Item = Action>) -> Option<runner::Task> {
        let mut ours = None;
        for action in actions {
            match action {
                Action::Start {
                    id,
                    queue,
                    stamp,
                    slot,
                } => {
                    let task = runner::Task {
                        id,
                        queue,
                        stamp,
                        slot,
                        read: None,
                    };
                    if let Some(earlier) = ours.replace(task) {
                        self.start(earlier);
                    }
                }
                Action::Finish {
                    id,
                    end,
                    verdict,
                    wait,
                } => self.dispatch.record(End {
                    id,
                    end,
                    verdict,
                    wait,
                }),
                Action::Fail {
                    id,
                    queue,
                    stamp,
                    reason,
                    error,
                } => self.dispatch.commit(committer::Task::Fail {
                    id,
                    queue,
                    stamp,
                    reason,
                    error,
                }),
                Action::Note { .. }
                | Action::Signal { .. }
                | Action::Sweep { .. }
                | Action::Reject { .. }
                | Action::Readmit { .. } => self.mail.send(Letter::Act(action)),
            }
        }
        ours
    }
}
