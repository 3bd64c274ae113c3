//! Why a job waits, in one word and one sentence.
//!
//! The scheduler knows it best, but only the daemon could ask it. This follows from what anybody finds in the spool, in
//! the order of the scheduler's gates, and so also where no daemon runs.

use super::busy::{Busy, slots_used, tokens_used};
use super::config::Config;
use super::id::{JobId, QueueName};
use super::record::Record;
use super::scheduler::{Demand, Excess, Policy, Rank};
use super::time::Wall;
use super::tokens::TokenName;
use super::waiting::{WaitReason, WaitWord};

/// The turn of a waiting job in its group: the least goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupTurn {
    /// False between two tries: the job keeps its group.
    is_new: bool,
    rank: Rank,
}

impl GroupTurn {
    /// The turn of this job.
    pub fn new(id: &JobId, record: &Record) -> Self {
        Self {
            is_new: !record.is_between_tries(),
            rank: Rank(record.created_at.unwrap_or(Wall(0)), id.clone()),
        }
    }
}

/// The facts that are the same for all jobs of a spool.
#[derive(Debug, Clone)]
pub struct SpoolFacts {
    /// The time.
    pub now: Wall,
    /// The settings in force.
    pub policy: Policy,
    /// A daemon serves the spool.
    pub is_served: bool,
    /// Why nothing is started for lack of room on the disk.
    pub shortage: Option<String>,
}

/// The facts that have to be looked up. Each is asked only if nothing before it explains why the job waits.
pub trait JobFacts {
    /// The jobs in `active/`.
    fn active(&self) -> &[Busy];
    /// True if this job has not ended.
    fn is_open(&self, parent: &JobId) -> bool;
    /// The first turn among the waiting jobs of this group that come after no open job.
    fn first_turn(&self, group: &str) -> Option<&GroupTurn>;
    /// True while somebody writes the job's file.
    fn is_being_written(&self) -> bool;
    /// True while processes of an earlier run live.
    fn has_leftover(&self) -> bool;
}

impl SpoolFacts {
    /// The tokens of the settings: how many are in use, and how many there are.
    pub fn tokens<'s>(
        &'s self,
        active: &'s [Busy],
    ) -> impl Iterator<Item = (&'s TokenName, usize, usize)> {
        let tokens = self.policy.config.tokens.iter();
        tokens.map(|(name, supply)| (name, tokens_used(active, name).count, supply.total()))
    }

    /// Why a job waits that is in `held/`.
    pub fn held() -> WaitReason {
        because(
            WaitWord::Held,
            "it is held; pirn release lets it go".to_owned(),
        )
    }

    /// Why this job of `pending/` waits.
    pub fn waits(
        &self,
        id: &JobId,
        queue: &QueueName,
        record: &Record,
        facts: &impl JobFacts,
    ) -> WaitReason {
        let demand = Demand::new(record.slots, &record.uses);
        self.before_ready(id, record, facts)
            .or_else(|| self.closed(queue))
            .or_else(|| self.excess(queue, &demand))
            .or_else(|| {
                self.shortage
                    .clone()
                    .map(|text| because(WaitWord::Disk, text))
            })
            .or_else(|| self.taken(queue, &demand, facts.active()))
            .unwrap_or_else(|| self.otherwise(facts))
    }

    /// The job itself is not ready.
    fn before_ready(
        &self,
        id: &JobId,
        record: &Record,
        facts: &impl JobFacts,
    ) -> Option<WaitReason> {
        if let Some(parent) = record.awaited().find(|parent| facts.is_open(parent)) {
            let text = format!("it comes after job {parent}, which has not ended");
            return Some(because(WaitWord::After, text));
        }
        if let Some(group) = &record.group {
            let mut active = facts
                .active()
                .iter()
                .filter(|busy| busy.group.as_ref() == Some(group));
            let own = GroupTurn::new(id, record);
            let waiting = || facts.first_turn(group).filter(|first| **first < own);
            let first = active.next().map(|busy| &busy.id);
            if let Some(first) = first.or_else(|| Some(&waiting()?.rank.1)) {
                let text = format!("job {first} of its group {group} goes first");
                return Some(because(WaitWord::Group, text));
            }
        }
        let ahead = |date: Option<Wall>| date.filter(|date| *date > self.now);
        if let Some(date) = ahead(record.not_before) {
            return Some(because(
                WaitWord::NotBefore,
                format!("it is not to start before {date}"),
            ));
        }
        let date = ahead(record.retry_at)?;
        let text = format!(
            "try {} has ended, the next one is due at {date}",
            record.attempt
        );
        Some(because(WaitWord::Backoff, text))
    }

    /// Nothing is started from its queue.
    fn closed(&self, queue: &QueueName) -> Option<WaitReason> {
        let Policy {
            config,
            pauses,
            only,
            ..
        } = &self.policy;
        let (why, text) = if !self.policy.is_closed(queue) {
            return None;
        } else if pauses.all {
            let text = "pending/.paused keeps all jobs from being started".to_owned();
            (WaitWord::AllPaused, text)
        } else if config.paused {
            let text = "the setting paused keeps all jobs from being started".to_owned();
            (WaitWord::AllPaused, text)
        } else if pauses.has(queue) {
            let text = format!("pending/{queue}/.paused keeps its queue from being served");
            (WaitWord::QueuePaused, text)
        } else if let Some(setting) = config.pausing_setting(Some(queue)) {
            let text = format!("the setting {setting} keeps its queue from being served");
            (WaitWord::QueuePaused, text)
        } else {
            let text = format!("the daemon serves only {}", only.0.join(", "));
            (WaitWord::NotServed, text)
        };
        Some(because(why, text))
    }

    /// It asks for more than there is, and waits for other settings.
    pub fn excess(&self, queue: &QueueName, demand: &Demand) -> Option<WaitReason> {
        let takes = match demand.slots {
            1 => "it takes a slot".to_owned(),
            n => format!("it takes {n} slots"),
        };
        let (why, text) = match self.policy.excess(queue, demand)? {
            Excess::Tokens {
                name,
                wanted,
                total: None,
            } => (
                WaitWord::Tokens,
                format!("it needs {wanted} {name}, and the settings have no such token"),
            ),
            Excess::Tokens {
                name,
                wanted,
                total: Some(total),
            } => (
                WaitWord::Tokens,
                format!("it needs {wanted} {name}, and there are {total} in all"),
            ),
            Excess::OfQueue(slots) => (
                slots_word(demand),
                format!("{takes}, and its queue {queue} has {slots} in all"),
            ),
            Excess::OfSpool(slots) => (
                slots_word(demand),
                format!("{takes}, and there are {slots} in all"),
            ),
        };
        Some(because(why, text))
    }

    /// Other jobs have what it needs.
    fn taken(&self, queue: &QueueName, demand: &Demand, active: &[Busy]) -> Option<WaitReason> {
        for (name, n) in &demand.uses {
            // `excess` tells of one that the settings do not have.
            let Some(supply) = self.policy.config.tokens.get(name) else {
                continue;
            };
            let (free, total) = (tokens_used(active, name).free(supply), supply.total());
            if !usize::try_from(*n).is_ok_and(|n| n <= free) {
                let text = format!("it needs {n} {name}, and {free} of {total} are free");
                return Some(because(WaitWord::Tokens, text));
            }
        }
        let weight = demand.weight();
        let lacks = |total: usize, used: usize, of: String| {
            let free = total.saturating_sub(used);
            let text = || match weight {
                1 if total == 1 => format!("the only slot{of} is taken"),
                1 => format!("all {total} slots{of} are taken"),
                n => format!("it takes {n} slots, and {free} of {total}{of} are free"),
            };
            (free < weight).then(|| because(slots_word(demand), text()))
        };
        let of_queue = self.policy.config.slots_of(queue).and_then(|slots| {
            lacks(
                slots,
                slots_used(active, Some(queue)),
                format!(" of queue {queue}"),
            )
        });
        of_queue.or_else(|| match Config::is_beside(queue) {
            true => None,
            false => lacks(self.policy.slots, slots_used(active, None), String::new()),
        })
    }

    /// Nothing that all can see is in its way.
    fn otherwise(&self, facts: &impl JobFacts) -> WaitReason {
        let (why, text) = if facts.is_being_written() {
            (
                WaitWord::FileOpen,
                "a process has its file open for writing",
            )
        } else if facts.has_leftover() {
            (
                WaitWord::Leftover,
                "processes of an earlier run of it still have its log open",
            )
        } else if !self.is_served {
            (
                WaitWord::NoDaemon,
                "no daemon serves the spool; pirn serve starts it",
            )
        } else {
            (
                WaitWord::Turn,
                "other jobs go first, or it is about to start",
            )
        };
        because(why, text.to_owned())
    }
}

fn because(why: WaitWord, text: String) -> WaitReason {
    WaitReason { why, text }
}

fn slots_word(demand: &Demand) -> WaitWord {
    match demand.slots {
        1 => WaitWord::Slots,
        _ => WaitWord::Weight,
    }
}
