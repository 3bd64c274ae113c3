//! The scheduler: a pure state machine that takes in events and asks for actions.
//!
//! A waiting job passes four gates, in this order: its parents have ended, it is the first of its group, its
//! time has come, there is a slot. `settle` puts a job before the first gate that is shut, and is called again when
//! that gate may have opened. Once started, a job is *live* and goes through the stages of `Stage` until its file is
//! committed. Every step is told the time.

mod gates;
mod groups;
mod life;
mod live;
mod policy;
mod queues;
mod ready;
mod slots;
mod table;
mod timers;
mod tokens;
mod types;

pub use policy::{Demand, Excess, Policy};
pub use table::Rank;
pub use tokens::TokenUse;
pub use types::{
    Action, Belief, CommittedTo, Counts, Event, MovedTo, Need, NotStarted, Parent, ParentState,
    QuarantineReason, Slot, Stamp, Ticket,
};

use super::id::{JobId, QueueName};
use super::policy::StopReason;
use super::time::{Boot, Now, Wall};
use groups::Groups;
use live::Stage;
use queues::Queues;
use slots::SlotNumbers;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use table::{Gate, Ix, JobRef, Table};
use timers::Timers;
use tokens::TokensInUse;

/// A job that runs longer than this gets a note in its file.
pub const NOTE_AFTER: Duration = Duration::from_millis(200);

/// No more jobs are started while this many ended ones wait for their commit.
const MAX_UNCOMMITTED: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Jobs are started as slots become free.
    Open,
    /// No more jobs are started.
    Closing,
    /// Running jobs are stopped.
    Killing,
}

/// The state machine.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    table: Table,
    queues: Queues,
    groups: Groups,
    /// The known jobs that come after a job, which itself may not be known.
    children: HashMap<JobId, HashSet<Ix>>,
    boot_timers: Timers<Boot>,
    wall_timers: Timers<Wall>,
    /// The slots that are taken, those of the callbacks aside.
    slots: SlotNumbers,
    /// The tokens that live jobs have.
    tokens: TokensInUse,
    /// How many jobs are in `Stage::Ending`.
    ending: usize,
    mode: Mode,
    /// The disk has too little room to start a job.
    held: bool,
    /// The machine lacked a resource: no job is started until then.
    resume_at: Option<Boot>,
    /// How often it lacked one since a job was last started.
    shortages: u32,
    /// True from a shortage until all that can be started is. Meanwhile jobs are started one at a time: many at once would
    /// keep from each other what each of them lacks.
    careful: bool,
    dice: u64,
    /// The time of the step under way, or of the last one.
    now: Now,
    /// The actions of the step under way.
    actions: Vec<Action>,
}

impl Scheduler {
    /// An empty scheduler. `seed` is for the jitter of backoffs.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            table: Table::default(),
            queues: Queues::default(),
            groups: Groups::default(),
            children: HashMap::new(),
            boot_timers: Timers::default(),
            wall_timers: Timers::default(),
            slots: SlotNumbers::default(),
            tokens: TokensInUse::default(),
            ending: 0,
            mode: Mode::Open,
            held: false,
            resume_at: None,
            shortages: 0,
            careful: false,
            dice: seed,
            now: Now {
                boot: Boot(0),
                wall: Wall(0),
            },
            actions: Vec::new(),
        }
    }

    /// Takes in one event, and adds the actions that follow from it. An event about a job that is not known, or not in
    /// the stage for it, changes nothing: a user's move may have overtaken it.
    pub fn step(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        self.now = now;
        std::mem::swap(&mut self.actions, actions);
        self.take_in(event);
        self.run_timers();
        self.fill_slots();
        self.drop_stale_timers();
        std::mem::swap(&mut self.actions, actions);
        debug_assert_eq!(self.table.live_count(), self.running() + self.ending);
        debug_assert_eq!(self.queues.busy(), self.running());
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Arrived(ticket) => self.arrived(*ticket),
            Event::Withdrawn { id, queue } => self.withdrawn(&id, &queue),
            Event::Started { id, attempt, terms } => self.started(&id, attempt, terms),
            Event::NotStarted { id, why } => self.not_started(&id, why),
            Event::Adopted {
                ticket,
                attempt,
                terms,
                ran,
                units,
            } => self.adopted(*ticket, attempt, terms, ran, units),
            Event::Ended { id, exit, alone } => self.ended(&id, exit, alone),
            Event::Swept { id } => self.swept(&id),
            Event::Committed { id, place } => self.committed(&id, place),
            Event::ActiveMoved { id, to } => self.active_moved(&id, to),
            Event::LogFull { id } => self.stop(&id, StopReason::LogLimit),
            Event::ParentMoved { id, complete } => self.parent_ended(&id, complete),
            Event::Configured(policy) => self.configured(*policy),
            Event::Found(queue) => self.set_unread(&queue, true),
            Event::Read(queue) => self.set_unread(&queue, false),
            Event::Hold => self.held = true,
            Event::Release => self.held = false,
            Event::Shutdown => self.shutdown(),
            Event::Tick => {}
        }
    }

    /// The times at which `step` is to be called with `Tick` if no other event comes first.
    pub fn next_wake(&self) -> (Option<Boot>, Option<Wall>) {
        let boot = [self.boot_timers.next(), self.resume_at];
        (boot.into_iter().flatten().min(), self.wall_timers.next())
    }

    /// The numbers of waiting, running and ending jobs.
    pub fn counts(&self) -> Counts {
        let running = self.running();
        Counts {
            waiting: self.table.len() - running - self.ending,
            running,
            ending: self.ending,
        }
    }

    fn running(&self) -> usize {
        self.slots.jobs() + self.queues.beside()
    }

    /// True when every slot is taken, those of the callbacks aside.
    pub fn is_full(&self) -> bool {
        self.slots.used() >= self.policy.slots
    }

    /// True when no job is live.
    pub fn is_quiet(&self) -> bool {
        self.running() == 0 && self.ending == 0
    }

    /// True when no job is live and none will be started by itself: those that still wait are paused or not served, or
    /// come after another job that is neither started nor ended, or ask for more than there is.
    pub fn is_drained(&self) -> bool {
        self.is_quiet()
            && (self.policy.slots == 0
                || !self.queues.any_startable()
                    && !self.table.iter().any(|job| {
                        job.gate() == Some(Gate::Date) && self.queues.may_ever_start(job.lane)
                    }))
    }

    /// The stamp of the file by which this job waits in this queue; `None` if it does not wait there.
    pub fn waiting(&self, id: &JobId, queue: &QueueName) -> Option<Stamp> {
        let job = &self.table[self.table.find(id)?];
        (!job.is_live() && *self.queues.name_of(job) == *queue).then(|| job.stamp())
    }

    /// The belief about a job, and the queue in whose directory a file of its name waits, if one does: for a live job
    /// a newer one.
    pub fn believes(&self, id: &JobId) -> (Belief, Option<QueueName>) {
        let Some(ix) = self.table.find(id) else {
            return (Belief::Unknown, None);
        };
        let Some(live) = self.table.live(ix) else {
            return (Belief::Waiting, Some(self.queue_of(ix).clone()));
        };
        let belief = match live.stage {
            Stage::Starting { .. } => Belief::Starting,
            Stage::Running(_) => Belief::Running,
            Stage::Ending => Belief::Ending,
        };
        (belief, live.successor.clone())
    }

    /// True while a start was not answered yet.
    pub fn is_starting(&self) -> bool {
        self.table
            .any_live(|stage| matches!(stage, Stage::Starting { .. }))
    }

    /// True while the job is being started, runs or is being recorded.
    pub fn is_live(&self, id: &JobId) -> bool {
        self.table.find_live(id).is_some()
    }

    /// True when the job is known, waiting or live.
    pub fn knows(&self, id: &JobId) -> bool {
        self.table.find(id).is_some()
    }

    /// True when another job comes after this one.
    pub fn has_children(&self, id: &JobId) -> bool {
        self.children.contains_key(id)
    }

    /// The unknown jobs that known ones come after.
    pub fn awaited(&self) -> Vec<JobId> {
        let unknown = |id: &&JobId| self.table.find(id).is_none();
        self.children.keys().filter(unknown).cloned().collect()
    }

    /// The ids of all waiting jobs with their queues, in no order.
    pub fn all_waiting(&self) -> impl Iterator<Item = (&JobId, &QueueName)> {
        let waiting = self.table.iter().filter(|job| !job.is_live());
        waiting.map(|job| (&job.id, self.queues.name_of(job)))
    }

    /// The same for `count` entries of the table from this one on, and the entry to go on from.
    pub fn some_waiting(
        &self,
        from: usize,
        count: usize,
    ) -> (Vec<(JobId, QueueName)>, Option<usize>) {
        let (jobs, next) = self.table.some(from, count);
        let waiting = jobs.filter(|job| !job.is_live());
        let named = waiting.map(|job| (job.id.clone(), self.queues.name_of(job).clone()));
        (named.collect(), next)
    }

    fn configured(&mut self, policy: Policy) {
        self.policy = policy;
        self.queues.configure(&self.policy);
    }

    fn set_unread(&mut self, queue: &QueueName, unread: bool) {
        let ix = self.queues.intern(queue, &self.policy);
        self.queues[ix].unread = unread;
    }

    fn run_timers(&mut self) {
        self.resume_at.take_if(|at| *at <= self.now.boot);
        while let Some(job) = self.boot_timers.take_due(self.now.boot) {
            self.timer(job);
        }
        while let Some(job) = self.wall_timers.take_due(self.now.wall) {
            self.timer(job);
        }
    }

    fn timer(&mut self, job: JobRef) {
        let Some(ix) = self.table.resolve(job) else {
            return;
        };
        let gate = self.table[ix].gate();
        if gate.is_none() {
            self.live_timer(ix);
        } else if !self.expire(ix) && gate == Some(Gate::Date) {
            self.settle(ix);
        }
    }

    fn drop_stale_timers(&mut self) {
        let table = &self.table;
        self.boot_timers
            .drop_stale(table.len(), |at, job| table.waits_for_boot(job, at));
        self.wall_timers
            .drop_stale(table.len(), |at, job| table.waits_for_wall(job, at));
    }

    fn fill_slots(&mut self) {
        while self.mode == Mode::Open
            && !self.held
            && self.resume_at.is_none()
            && self.ending < MAX_UNCOMMITTED
            && !(self.careful && self.is_starting())
        {
            let free = self.policy.slots.saturating_sub(self.slots.used());
            let tokens = self
                .queues
                .uses_tokens()
                .then(|| self.tokens.free(&self.policy.config.tokens));
            let tokens = tokens.unwrap_or_default();
            let Some(ix) = self.queues.take_next(&mut self.table, free, tokens) else {
                self.careful = false;
                return;
            };
            self.begin(ix);
        }
    }
}

/// A random number, good enough to spread retries (splitmix64).
fn roll(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
