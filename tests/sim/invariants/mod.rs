//! The checker: a second, slow and simple opinion on what the scheduler must do.
//!
//! It gets the same events, believes them, and checks every action against that. The scheduler keeps indexes, timers
//! and counters; the checker computes the same from all jobs, each time anew.

mod actions;
mod after;
mod events;
mod reasons;
mod shares;

use crate::faults::Fault;
use pirn::core::config::Terms;
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{StopReason, TryEnd};
use pirn::core::scheduler::{Need, ParentState, Policy, Slot, Ticket};
use pirn::core::time::{Boot, Now, Wall};
use pirn::core::tokens::Units;
use std::collections::{BTreeMap, BTreeSet};

/// A broken promise, in words.
pub type Checked = Result<(), String>;

/// The checker's beliefs about a job.
#[derive(Debug, Clone)]
pub enum Life {
    Waiting,
    Starting {
        stop: Option<StopReason>,
    },
    Running,
    Stopping {
        why: StopReason,
        term_at: Option<Boot>,
        killed: bool,
    },
    /// The next actions must hold a `Sweep`.
    MustSweep(TryEnd),
    Sweeping(TryEnd),
    /// The next actions must hold a `Finish`.
    MustFinish(TryEnd),
    Ending,
}

#[derive(Debug, Clone)]
pub struct Belief {
    pub ticket: Ticket,
    pub life: Life,
    /// No start before this time, by a backoff or because of a start that failed ...
    pub due: Option<Boot>,
    /// ... and no reason for a later one after this.
    pub overdue: Option<Boot>,
    /// All parents have ended since it arrived; they are not checked again.
    pub passed: bool,
    /// It got the slot before the others of its group.
    pub holds_group: bool,
    pub slot: Option<Slot>,
    /// The units that it has, as far as they are known.
    pub units: Units,
    pub attempt: u32,
    pub terms: Option<Terms>,
    pub deadline: Option<Boot>,
    /// When it is to be warned; `None` once it was.
    pub warn_at: Option<Boot>,
    pub started: Option<Boot>,
    pub successor: Option<QueueName>,
    pub succeeded: bool,
}

impl Belief {
    fn new(ticket: Ticket, now: Now) -> Self {
        let due = ticket.wait.map(|wait| now.boot.after(wait));
        Self {
            ticket,
            life: Life::Waiting,
            due,
            overdue: due,
            passed: false,
            holds_group: false,
            slot: None,
            units: Units::new(),
            attempt: 0,
            terms: None,
            deadline: None,
            warn_at: None,
            started: None,
            successor: None,
            succeeded: false,
        }
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.life, Life::Starting { .. })
    }

    pub fn waits(&self) -> bool {
        matches!(self.life, Life::Waiting)
    }

    pub fn ends(&self) -> bool {
        matches!(self.life, Life::Ending)
    }

    /// Its program was started, and no decision about its end is under way.
    pub fn has_started(&self) -> bool {
        self.runs() && !matches!(self.life, Life::Starting { .. })
    }

    /// True if it holds a slot.
    pub fn runs(&self) -> bool {
        !self.waits() && !self.ends()
    }

    /// How many slots it takes.
    fn weight(&self) -> usize {
        self.ticket.demand.slots as usize
    }

    /// By age, then numbers by value, then names.
    fn rank(&self) -> (i64, u64) {
        let name = self.ticket.id.as_str();
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        (
            self.ticket.made.0,
            name.parse().unwrap_or(u64::from_be_bytes(first)),
        )
    }
}

/// True if its jobs run beside those of the others, in slots of its own.
fn is_beside(queue: &QueueName) -> bool {
    queue.as_str() == "callbacks"
}

/// All beliefs of the checker.
pub struct Checker {
    pub jobs: BTreeMap<JobId, Belief>,
    pub policy: Policy,
    pub held: bool,
    /// Queues whose directories are being read.
    pub unread: BTreeSet<QueueName>,
    pub shutdowns: u32,
    /// No start before the first time for lack of resources, and no reason for a later one after the second.
    resume: Option<(Boot, Boot)>,
    /// There was a shortage, and not all that can be started has been started since.
    short: bool,
    served: BTreeMap<QueueName, u64>,
    turn: u64,
    /// The latest date that the wall clock has shown.
    latest: Wall,
    expect_rejects: BTreeSet<(JobId, QueueName)>,
    expect_readmits: BTreeSet<(JobId, QueueName)>,
    /// A fault in the checker's own part: in the reasons that people are told.
    pub fault: Fault,
}

impl Checker {
    pub fn new(policy: Policy) -> Self {
        Self {
            jobs: BTreeMap::new(),
            policy,
            held: false,
            unread: BTreeSet::new(),
            shutdowns: 0,
            resume: None,
            short: false,
            served: BTreeMap::new(),
            turn: 0,
            latest: Wall(0),
            expect_rejects: BTreeSet::new(),
            expect_readmits: BTreeSet::new(),
            fault: Fault::None,
        }
    }

    pub fn running(&self) -> usize {
        self.jobs.values().filter(|b| b.runs()).count()
    }

    pub fn ending(&self) -> usize {
        self.jobs.values().filter(|b| b.ends()).count()
    }

    fn busy(&self, queue: &QueueName) -> usize {
        let of_queue = |b: &&Belief| b.runs() && b.ticket.queue == *queue;
        self.jobs
            .values()
            .filter(of_queue)
            .map(Belief::weight)
            .sum()
    }

    fn queue_slots(&self, queue: &QueueName) -> Option<usize> {
        let told = self.policy.config.queues.get(queue).and_then(|q| q.slots);
        match (told, is_beside(queue)) {
            (_, true) if self.policy.slots == 0 => Some(0),
            (None, true) => Some(4),
            (told, _) => told,
        }
    }

    /// True if there are as many free slots among those that the job's queue uses.
    fn has_slots(&self, b: &Belief) -> bool {
        let shared = |b: &&Belief| b.runs() && !is_beside(&b.ticket.queue);
        let used: usize = self.jobs.values().filter(shared).map(Belief::weight).sum();
        is_beside(&b.ticket.queue) || used + b.weight() <= self.policy.slots
    }

    /// True if it is paused, or not served.
    fn closed(&self, queue: &QueueName) -> bool {
        let paused = |q: &pirn::core::config::QueueConfig| q.paused;
        self.policy.config.paused
            || self.policy.pauses.all
            || self.policy.pauses.queues.contains(queue)
            || self.policy.config.queues.get(queue).is_some_and(paused)
            || !self.policy.only.serves(queue)
    }

    /// True if jobs of it are started now.
    fn is_served(&self, queue: &QueueName) -> bool {
        !self.closed(queue) && !self.unread.contains(queue)
    }

    /// True if its queue has as many free slots as the job takes.
    fn has_room(&self, b: &Belief) -> bool {
        let queue = &b.ticket.queue;
        let used = self.busy(queue) + b.weight();
        self.queue_slots(queue).is_none_or(|n| used <= n)
    }

    /// The state of a parent as its child must see it now.
    fn parent_state(&self, parent: &pirn::core::scheduler::Parent) -> ParentState {
        if self.jobs.contains_key(&parent.id) {
            ParentState::Open
        } else {
            parent.seen
        }
    }

    fn failed_parent(&self, b: &Belief) -> bool {
        self.any_parent(b, Need::Complete, ParentState::Failed)
    }

    /// A job whose failure it is for has completed.
    fn is_unneeded(&self, b: &Belief) -> bool {
        self.any_parent(b, Need::Fail, ParentState::Complete)
    }

    fn any_parent(&self, b: &Belief, need: Need, state: ParentState) -> bool {
        let mut parents = b.ticket.parents.iter();
        parents.any(|p| p.need == need && self.parent_state(p) == state)
    }

    fn parents_ended(&self, b: &Belief) -> bool {
        let parents = &b.ticket.parents;
        parents
            .iter()
            .all(|p| match (self.parent_state(p), p.need) {
                (ParentState::Complete, Need::Complete | Need::End)
                | (ParentState::Failed, Need::Fail | Need::End) => true,
                (ParentState::Complete, Need::Fail)
                | (ParentState::Failed, Need::Complete)
                | (ParentState::Open, _) => false,
            })
    }

    /// True if it is this job's turn in its group: no job of the group runs and no older one could.
    fn first_of_group(&self, b: &Belief) -> bool {
        !self.any_ahead(b, |other| other.waits())
    }

    /// The same as [`Self::first_of_group`], and no older one is on its way to `failed/`: until it is there, it may
    /// hold up the others or not.
    fn surely_first(&self, b: &Belief) -> bool {
        !self.any_ahead(b, |other| other.waits() || other.ends())
    }

    fn any_ahead(&self, b: &Belief, counts: impl Fn(&Belief) -> bool) -> bool {
        let Some(group) = &b.ticket.group else {
            return false;
        };
        let ahead = |other: &Belief| {
            other.ticket.id != b.ticket.id
                && other.ticket.group.as_ref() == Some(group)
                && (other.holds_group || (other.passed && counts(other) && other.rank() < b.rank()))
        };
        !b.holds_group && self.jobs.values().any(ahead)
    }

    /// True if it lacks nothing but a slot.
    fn ready(&self, b: &Belief, now: Now) -> bool {
        b.waits() && b.passed && self.surely_first(b) && !self.early(b, now)
    }

    fn early(&self, b: &Belief, now: Now) -> bool {
        b.overdue.is_some_and(|at| at > now.boot)
            || b.ticket.not_before.is_some_and(|at| at > now.wall)
    }

    /// True if `ticket` is among the jobs that it would wait for, according to the files.
    fn makes_ring(&self, ticket: &Ticket) -> bool {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&JobId> = ticket.parents.iter().map(|p| &p.id).collect();
        while let Some(next) = open.pop() {
            if *next == ticket.id {
                return true;
            }
            if seen.insert(next)
                && let Some(b) = self.jobs.get(next)
            {
                open.extend(b.ticket.parents.iter().map(|p| &p.id));
            }
        }
        false
    }
}
