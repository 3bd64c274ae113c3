//! The reasons for which jobs wait, as people are told them, against the scheduler's starts.

use super::actions::ensure;
use super::{Belief, Checked, Checker};
use crate::faults::Fault;
use pirn::core::busy::Busy;
use pirn::core::id::JobId;
use pirn::core::record::{Record, Work};
use pirn::core::scheduler::ParentState;
use pirn::core::time::Now;
use pirn::core::waiting::WaitWord;
use pirn::core::waits::{GroupTurn, JobFacts, SpoolFacts};

/// The spool as the checker believes it to be, for one job.
struct Facts<'c> {
    checker: &'c Checker,
    job: &'c Belief,
    active: Vec<Busy>,
    first: Option<GroupTurn>,
}

impl JobFacts for Facts<'_> {
    fn active(&self) -> &[Busy] {
        &self.active
    }

    fn is_open(&self, parent: &JobId) -> bool {
        let mut parents = self.job.ticket.parents.iter();
        parents.any(|p| p.id == *parent && self.checker.parent_state(p) == ParentState::Open)
    }

    fn first_turn(&self, _: &str) -> Option<&GroupTurn> {
        self.first.as_ref()
    }

    fn is_being_written(&self) -> bool {
        false
    }

    fn has_leftover(&self) -> bool {
        false
    }
}

impl Checker {
    /// The reason why a job waits, from the record that it would have.
    pub(super) fn reason(&self, job: &Belief, now: Now) -> WaitWord {
        let active = self.jobs.values().filter(|b| b.runs());
        let active = active.map(|b| Busy {
            id: b.ticket.id.clone(),
            queue: b.ticket.queue.clone(),
            group: b.ticket.group.as_deref().map(str::to_owned),
            demand: b.ticket.demand.clone(),
            units: match self.fault {
                Fault::TellOfNoUnits => Default::default(),
                _ => b.units.clone(),
            },
        });
        let of_group = |b: &&Belief| {
            let has_open = || {
                let mut parents = b.ticket.parents.iter();
                parents.any(|p| self.parent_state(p) == ParentState::Open)
            };
            let passed = b.passed || self.fault == Fault::TellOfAllInGroup || !has_open();
            b.waits() && b.ticket.group == job.ticket.group && passed
        };
        let turn = |b: &Belief| GroupTurn::new(&b.ticket.id, &record(b, now));
        let of_job = Facts {
            checker: self,
            job,
            active: active.collect(),
            first: self.jobs.values().filter(of_group).map(turn).min(),
        };
        let of_spool = SpoolFacts {
            now: now.wall,
            policy: self.policy.clone(),
            is_served: true,
            shortage: self.held.then(String::new),
        };
        let (id, queue) = (&job.ticket.id, &job.ticket.queue);
        of_spool.waits(id, queue, &record(job, now), &of_job).why
    }

    /// A job that is started is one that could start.
    pub(super) fn judge_reason(&self, job: &Belief, now: Now) -> Checked {
        let why = self.reason(job, now);
        ensure(why == WaitWord::Turn, || {
            let id = &job.ticket.id;
            format!("start of {id}: people are told that it waits: {why:?}")
        })
    }

    /// A job that could start is not started only for one ahead of it, for which slots or tokens are kept.
    pub(super) fn turns_are_true(&self, now: Now) -> Checked {
        let is_resumed = self.resume.is_none_or(|(_, to)| to <= now.boot);
        // A date that has come may be to come again.
        if self.latest > now.wall || !is_resumed {
            return Ok(());
        }
        let waiting = self.jobs.values().filter(|b| b.waits());
        let told: Vec<_> = waiting.map(|b| (b, self.reason(b, now))).collect();
        let keeps = |(b, why): &(&Belief, WaitWord)| {
            let lacks = matches!(why, WaitWord::Tokens | WaitWord::Weight | WaitWord::Slots);
            lacks && self.fits(b) && self.is_served(&b.ticket.queue)
        };
        for (job, why) in &told {
            let could_start = *why == WaitWord::Turn
                && self.ready(job, now)
                && self.is_starting_from(&job.ticket.queue);
            let mut ahead = told.iter().filter(|told| keeps(told));
            let is_ahead = ahead.any(|(b, _)| b.ticket.priority >= job.ticket.priority);
            ensure(!could_start || is_ahead, || {
                let id = &job.ticket.id;
                format!("{id} waits, and people are told that it could start")
            })?;
        }
        Ok(())
    }
}

/// The record of a waiting job.
fn record(job: &Belief, now: Now) -> Record {
    let ticket = &job.ticket;
    let mut record = Record::new(Work::Text(String::new()));
    record.slots = Some(ticket.demand.slots);
    record.uses = ticket.demand.uses.clone();
    record.group = ticket.group.as_deref().map(str::to_owned);
    record.created_at = Some(ticket.made);
    record.not_before = ticket.not_before;
    let due = job.due.filter(|at| *at > now.boot);
    record.retry_at = due.map(|at| now.wall.after(at.since(now.boot)));
    record.attempt = u32::from(job.holds_group);
    if !job.passed {
        let parents = ticket.parents.iter();
        record.after = parents.map(|parent| parent.id.clone()).collect();
    }
    record
}
