//! The scheduler: events in, actions out, and nothing else.
//!
//! A waiting job passes four gates, in this order: its parents have ended, it is the first of its group, its
//! time has come, there is a slot. `settle` puts a job before the first gate that is shut; whatever may have
//! opened a gate calls it again. Once started, a job is *live* and goes through the stages of `Stage`
//! until its file is committed. Nothing here reads a clock: every step is told the time.

mod gates;
mod life;
mod queues;
mod ready;
mod table;
mod types;

pub use super::process::{Exit, Stop};
pub use types::{
    Action, CommittedTo, Event, MovedTo, Need, Parent, ParentState, Refusal, Rejection, Slot,
    Stamp, Ticket,
};

use super::config::pauses::Pauses;
use super::config::{Config, Only};
use super::id::{JobId, QueueName};
use super::time::{Boot, Now, Wall};
use queues::Queues;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use table::{Gate, Ix, Table};
use types::Stage;

/// A job that runs longer than this gets its note (DESIGN section 4).
pub const NOTE_AFTER: Duration = Duration::from_millis(200);

/// How many ended jobs may wait for their commit before no more are started.
const MAX_UNCOMMITTED: usize = 512;

/// The settings that scheduling depends on.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Jobs at a time.
    pub slots: usize,
    /// Pauses and queue slots.
    pub config: Arc<Config>,
    /// Pauses that are no settings.
    pub pauses: Pauses,
    /// The queues that are served.
    pub only: Only,
}

impl Policy {
    fn of(&self, queue: &QueueName) -> (Option<usize>, bool) {
        let slots = self.config.slots_of(queue);
        (
            // A daemon without slots starts nothing at all.
            slots.map(|slots| if self.slots == 0 { 0 } else { slots }),
            self.config.is_paused(queue) || self.pauses.has(queue) || !self.only.serves(queue),
        )
    }
}

/// Jobs by what they are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Not started yet, for whatever reason.
    pub waiting: usize,
    /// Holding a slot.
    pub running: usize,
    /// Ended, their file not yet in place.
    pub ending: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Starting jobs as slots become free.
    Open,
    /// Starting nothing more.
    Closing,
    /// Ending what runs.
    Killing,
}

/// The state machine. See the module's comment.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    table: Table,
    queues: Queues,
    groups: HashMap<Box<str>, gates::Group>,
    children: HashMap<JobId, HashSet<Ix>>,
    boot_timers: BinaryHeap<Reverse<(Boot, Ix, u32)>>,
    wall_timers: BinaryHeap<Reverse<(Wall, Ix, u32)>>,
    slots: BTreeSet<usize>,
    ending: usize,
    mode: Mode,
    held: bool,
    resume_at: Option<Boot>,
    shortages: u32,
    dice: u64,
}

impl Scheduler {
    /// An empty scheduler. `seed` is for the jitter of backoffs.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            table: Table::default(),
            queues: Queues::default(),
            groups: HashMap::new(),
            children: HashMap::new(),
            boot_timers: BinaryHeap::new(),
            wall_timers: BinaryHeap::new(),
            slots: BTreeSet::new(),
            ending: 0,
            mode: Mode::Open,
            held: false,
            resume_at: None,
            shortages: 0,
            dice: seed,
        }
    }

    /// Takes in one event; what is to be done about it is added to `actions`.
    pub fn step(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        match event {
            Event::Arrived(ticket) => self.arrived(*ticket, now, actions),
            Event::Withdrawn { id, queue } => self.withdrawn(&id, &queue, now, actions),
            Event::Started { id, attempt, terms } => {
                self.started(&id, attempt, terms, now, actions)
            }
            Event::Refused { id, why } => self.refused(&id, why, now, actions),
            Event::Adopted {
                ticket,
                attempt,
                terms,
                ran,
            } => self.adopted(*ticket, attempt, terms, ran, now, actions),
            Event::Ended { id, exit, alone } => self.ended(&id, exit, alone, now, actions),
            Event::Swept { id } => self.swept(&id, actions),
            Event::Committed { id, place } => self.committed(&id, place, now, actions),
            Event::ActiveMoved { id, to } => self.active_moved(&id, to, now, actions),
            Event::LogFull { id } => {
                self.stop(&id, super::policy::StopReason::LogLimit, now, actions)
            }
            Event::ParentMoved { id, complete } => self.parent_ended(&id, complete, now, actions),
            Event::Configured(policy) => self.configured(*policy),
            Event::Found(queue) => self.set_unread(&queue, true),
            Event::Read(queue) => self.set_unread(&queue, false),
            Event::Hold => self.held = true,
            Event::Release => self.held = false,
            Event::Shutdown => self.shutdown(now, actions),
            Event::Tick => {}
        }
        self.run_timers(now, actions);
        self.fill_slots(now, actions);
        self.drop_stale_timers();
    }

    /// When `step` should be called with `Tick` if nothing else happens.
    pub fn next_wake(&self) -> (Option<Boot>, Option<Wall>) {
        let boot = self.boot_timers.peek().map(|Reverse((at, _, _))| *at);
        let boot = [boot, self.resume_at].into_iter().flatten().min();
        (boot, self.wall_timers.peek().map(|Reverse((at, _, _))| *at))
    }

    /// How many jobs there are.
    pub fn counts(&self) -> Counts {
        let running = self.running();
        Counts {
            waiting: self.table.len() - running - self.ending,
            running,
            ending: self.ending,
        }
    }

    fn running(&self) -> usize {
        self.slots.len() + self.queues.beside()
    }

    /// True when every slot is taken, those of the callbacks aside.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.policy.slots
    }

    /// True when no job is live: nothing runs, starts or ends.
    pub fn is_quiet(&self) -> bool {
        self.running() == 0 && self.ending == 0
    }

    /// True when no job is live and none will become so by itself: what still waits is paused, not served, or
    /// comes after a job that is none of these.
    pub fn is_drained(&self) -> bool {
        self.is_quiet()
            && (self.policy.slots == 0
                || !self.queues.any_startable()
                    && !self.table.iter().any(|job| {
                        job.gate() == Some(Gate::Date) && self.queues.get(job.queue).is_open()
                    }))
    }

    /// The stamp of the file known under this name in this queue's directory, if it waits there.
    pub fn waiting(&self, id: &JobId, queue: &QueueName) -> Option<Stamp> {
        let job = self.table.get(self.table.find(id)?)?;
        (!job.is_live() && self.queues.get(job.queue).name == *queue).then(|| job.stamp())
    }

    /// True when a newer file of this live job's name waits in this queue's directory.
    pub fn has_successor(&self, id: &JobId, queue: &QueueName) -> bool {
        let live = self.table.find_live(id);
        live.and_then(|(_, live)| live.successor.as_ref()) == Some(queue)
    }

    /// True when this job's program was started and its file should be in `active/`, pirn not being about to move
    /// it. While a start is under way the file may still be put back.
    pub fn is_started(&self, id: &JobId) -> bool {
        let live = self.table.find_live(id);
        live.is_some_and(|(_, live)| match live.stage {
            Stage::Running | Stage::Stopping { .. } | Stage::Sweeping { .. } => true,
            Stage::Starting { .. } | Stage::Ending => false,
        })
    }

    /// True when the end of the job's try is being recorded: its file may be in place already, and be moved on by others.
    pub fn is_ending(&self, id: &JobId) -> bool {
        let live = self.table.find_live(id);
        live.is_some_and(|(_, live)| match live.stage {
            Stage::Ending => true,
            Stage::Starting { .. }
            | Stage::Running
            | Stage::Stopping { .. }
            | Stage::Sweeping { .. } => false,
        })
    }

    /// True when the job is being started, run or recorded.
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

    /// The jobs that others come after and that are not known otherwise.
    pub fn awaited(&self) -> Vec<JobId> {
        let unknown = |id: &&JobId| self.table.find(id).is_none();
        self.children.keys().filter(unknown).cloned().collect()
    }

    /// The ids of all waiting jobs with their queues, in no order.
    pub fn all_waiting(&self) -> impl Iterator<Item = (&JobId, &QueueName)> {
        self.table
            .iter()
            .filter(|job| !job.is_live())
            .map(|job| (&job.id, &self.queues.get(job.queue).name))
    }

    /// As [`Self::all_waiting`], but only those among `count` jobs from this number on, and the number to go on from.
    pub fn some_waiting(
        &self,
        from: usize,
        count: usize,
    ) -> (Vec<(JobId, QueueName)>, Option<usize>) {
        let (jobs, next) = self.table.some(from, count);
        let waiting = jobs.filter(|job| !job.is_live());
        let named = waiting.map(|job| (job.id.clone(), self.queues.get(job.queue).name.clone()));
        (named.collect(), next)
    }

    fn configured(&mut self, policy: Policy) {
        self.policy = policy;
        for queue in self.queues.iter_mut() {
            (queue.slots, queue.closed) = self.policy.of(&queue.name);
        }
    }

    fn set_unread(&mut self, queue: &QueueName, unread: bool) {
        let policy = &self.policy;
        let ix = self.queues.intern(queue, || policy.of(queue));
        self.queues.get_mut(ix).unread = unread;
    }

    fn run_timers(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.resume_at.is_some_and(|at| at <= now.boot) {
            self.resume_at = None;
        }
        while let Some(&Reverse((at, ix, generation))) = self.boot_timers.peek() {
            if at > now.boot {
                break;
            }
            self.boot_timers.pop();
            self.timer(ix, generation, now, actions);
        }
        while let Some(&Reverse((at, ix, generation))) = self.wall_timers.peek() {
            if at > now.wall {
                break;
            }
            self.wall_timers.pop();
            self.timer(ix, generation, now, actions);
        }
    }

    /// Drops the alarms that nobody waits for any more: those that are next, so that an idle scheduler is not woken
    /// for nothing, and all of them once they are many, so that a day of jobs with a timeout of a day costs no memory.
    fn drop_stale_timers(&mut self) {
        let table = &self.table;
        let boot_wanted = |timer: &Reverse<(Boot, Ix, u32)>| {
            let (at, ix, generation) = timer.0;
            table.waits_for_boot(ix, generation, at)
        };
        let wall_wanted = |timer: &Reverse<(Wall, Ix, u32)>| {
            let (at, ix, generation) = timer.0;
            table.waits_for_wall(ix, generation, at)
        };
        prune(&mut self.boot_timers, table.len(), boot_wanted);
        prune(&mut self.wall_timers, table.len(), wall_wanted);
    }

    fn timer(&mut self, ix: Ix, generation: u32, now: Now, actions: &mut Vec<Action>) {
        let Some(job) = self
            .table
            .get(ix)
            .filter(|job| job.generation == generation)
        else {
            return;
        };
        let was_delayed = job.gate() == Some(Gate::Date);
        if job.is_live() {
            self.live_timer(ix, now, actions);
        } else if !self.expire(ix, now, actions) && was_delayed {
            self.settle(ix, now, actions);
        }
    }

    fn fill_slots(&mut self, now: Now, actions: &mut Vec<Action>) {
        while self.mode == Mode::Open
            && !self.held
            && self.resume_at.is_none()
            && self.ending < MAX_UNCOMMITTED
        {
            let has_slot = self.slots.len() < self.policy.slots;
            let Some(ix) = self.queues.take_next(&mut self.table, has_slot) else {
                return;
            };
            self.begin(ix, now, actions);
        }
    }

    /// A random number, good enough to spread retries (splitmix64).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A job has two timers of a kind at most, so that half of what is dropped here, or more, is stale or there twice.
fn prune<T: Ord>(timers: &mut BinaryHeap<T>, jobs: usize, wanted: impl Fn(&T) -> bool) {
    while timers.peek().is_some_and(|timer| !wanted(timer)) {
        timers.pop();
    }
    if timers.len() > 64 + 4 * jobs {
        let mut kept = std::mem::take(timers).into_vec();
        kept.retain(wanted);
        kept.sort_unstable();
        kept.dedup();
        *timers = BinaryHeap::from(kept);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
