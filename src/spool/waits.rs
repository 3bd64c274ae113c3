//! The causes for which jobs wait, as anybody can find them out who may read the spool.

use super::{RealFs, Role, Spool, SpoolLock, Where};
use crate::core::busy::{Busy, slots_used};
use crate::core::config::{Config, Only};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, State};
use crate::core::scheduler::{Demand, Policy};
use crate::core::tokens::TokenName;
use crate::core::waiting::WaitReason;
use crate::core::waits::{GroupTurn, JobFacts, SpoolFacts};
use crate::os::{clock, thread};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// How many waiting files are read to find the first of a group.
const MOST_READ: usize = 10_000;

/// The state of a spool at one moment, for asking why its jobs wait.
pub struct Waits<'s> {
    spool: &'s Spool<RealFs>,
    facts: SpoolFacts,
    /// The jobs in `active/`, once somebody has asked.
    active: OnceCell<Vec<Busy>>,
    /// The first turn of each group, once somebody has asked.
    first_turns: OnceCell<HashMap<String, GroupTurn>>,
}

impl Spool<RealFs> {
    /// Looks why jobs wait under these settings.
    pub fn waits(&self, config: &Config) -> io::Result<Waits<'_>> {
        let holder = SpoolLock::holder(self.path())?;
        let told = holder.as_ref().and_then(|holder| holder.slots);
        let told = told.and_then(|slots| usize::try_from(slots).ok());
        let only = holder.as_ref().and_then(|holder| holder.only.as_deref());
        let only = only.map(|only| only.split(' ').map(str::to_owned).collect());
        let facts = SpoolFacts {
            now: clock::wall(),
            policy: Policy {
                slots: config.slots_in_all(told, thread::cpus()),
                config: Arc::new(config.clone()),
                pauses: self.pauses()?,
                only: Only(only.unwrap_or_default()),
            },
            is_served: holder
                .as_ref()
                .is_some_and(|holder| holder.role == Role::Serve),
            shortage: self.shortage(config, holder.is_some()),
        };
        Ok(Waits {
            spool: self,
            facts,
            active: OnceCell::new(),
            first_turns: OnceCell::new(),
        })
    }
}

impl Waits<'_> {
    /// Why a job waits that is there; `None` if it does not wait.
    pub fn of(&self, id: &JobId, at: &Where, record: &Record) -> Option<WaitReason> {
        let ask = || self.spool.is_being_written(id, at);
        self.of_loaded(id, at, record, &ask)
    }

    /// As [`Self::of`]. `is_being_written` says whether a process writes the job's file; callers who have read the file
    /// know it.
    pub fn of_loaded(
        &self,
        id: &JobId,
        at: &Where,
        record: &Record,
        is_being_written: &dyn Fn() -> bool,
    ) -> Option<WaitReason> {
        match at {
            Where::Held => Some(SpoolFacts::held()),
            Where::Pending(queue) => {
                let of_job = Lookups {
                    waits: self,
                    id,
                    is_being_written,
                };
                Some(self.facts.waits(id, queue, record, &of_job))
            }
            Where::Active | Where::Complete | Where::Failed => None,
        }
    }

    /// The facts that are the same for all jobs.
    pub fn facts(&self) -> &SpoolFacts {
        &self.facts
    }

    /// The tokens of the settings: how many are in use, and how many there are.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenName, usize, usize)> {
        self.facts.tokens(self.active())
    }

    /// How many slots jobs hold: those of this queue, or the ones that all queues share.
    pub fn slots_used(&self, queue: Option<&QueueName>) -> usize {
        slots_used(self.active(), queue)
    }

    fn active(&self) -> &[Busy] {
        self.active.get_or_init(|| {
            let mut active = Vec::new();
            for id in self.spool.ids(&Where::Active).unwrap_or_default() {
                // A job that has just ended is in nobody's way.
                if let Ok(Some(record)) = self.spool.load(&id, &Where::Active) {
                    active.push(Busy {
                        queue: record.queue.clone().unwrap_or_default(),
                        group: record.group.clone(),
                        demand: Demand::new(record.slots, &record.uses),
                        units: record.units,
                        id,
                    });
                }
            }
            active
        })
    }

    fn is_open(&self, parent: &JobId) -> bool {
        !matches!(
            self.spool.find(parent),
            Ok(Some(Where::Complete | Where::Failed))
        )
    }

    fn first_turns(&self) -> HashMap<String, GroupTurn> {
        let mut firsts: HashMap<String, GroupTurn> = HashMap::new();
        let mut left = MOST_READ;
        for at in self.spool.places_of(State::Pending).unwrap_or_default() {
            for id in self.spool.ids(&at).unwrap_or_default() {
                if left == 0 {
                    return firsts;
                }
                left -= 1;
                let Ok(Some(record)) = self.spool.load(&id, &at) else {
                    continue;
                };
                let Some(group) = &record.group else { continue };
                if record.awaited().any(|parent| self.is_open(parent)) {
                    continue;
                }
                let own = GroupTurn::new(&id, &record);
                if firsts.get(group).is_none_or(|first| own < *first) {
                    firsts.insert(group.clone(), own);
                }
            }
        }
        firsts
    }
}

struct Lookups<'w> {
    waits: &'w Waits<'w>,
    id: &'w JobId,
    is_being_written: &'w dyn Fn() -> bool,
}

impl JobFacts for Lookups<'_> {
    fn active(&self) -> &[Busy] {
        self.waits.active()
    }

    fn is_open(&self, parent: &JobId) -> bool {
        self.waits.is_open(parent)
    }

    fn first_turn(&self, group: &str) -> Option<&GroupTurn> {
        let turns = self
            .waits
            .first_turns
            .get_or_init(|| self.waits.first_turns());
        turns.get(group)
    }

    fn is_being_written(&self) -> bool {
        (self.is_being_written)()
    }

    fn has_leftover(&self) -> bool {
        self.waits.spool.log_is_held(self.id)
    }
}
