//! The leases that a bridge holds: `step(event, now) -> actions`.
//!
//! A message becomes a job in this order: its record and its lease are staged, the record is dropped into `pending/`,
//! the lease is extended while the job waits or runs, and once its end is durable, the message is acknowledged or given
//! back. The bridge may be killed between any two actions; [`LeaseEvent::Resumed`] takes up each lease that it left.

mod calls;
#[cfg(test)]
mod tests;
mod text;
mod types;

pub use calls::{CallAnswer, CallEntry, CallKind, LeaseCall};
pub use types::{Lease, LeaseAction, LeaseEvent, LeaseTerms, Sighting, Telling};

use super::id::JobId;
use super::time::{Boot, Now};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LeaseCourse {
    /// It is being staged and dropped; after a failure that is tried again at this time.
    Staging(Option<Boot>),
    /// It waits in the spool.
    Waiting,
    /// It runs.
    Running,
    /// It was nowhere at this time.
    Missing(Boot),
    /// The same, after its message was acknowledged.
    OursMissing(Boot),
    /// It has ended, or was accepted, and the engine is to be told.
    Over {
        /// Since when.
        at: Boot,
        /// How the engine is to be told.
        how: CallKind,
        /// For a message that is given back: the time until it may be received again.
        delay: Duration,
        /// True if the job has run: its record is the result.
        has_run: bool,
    },
    /// Its message was acknowledged when it was accepted.
    Ours,
}

impl LeaseCourse {
    fn is_over(self) -> bool {
        matches!(self, Self::Over { .. })
    }

    /// True if the engine has nothing to do with it any more.
    fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursMissing(_))
    }

    /// True until the job has ended. A message that is acknowledged when its job is accepted has one that may still run.
    fn takes_room(self) -> bool {
        match self {
            Self::Over { how, has_run, .. } => how == CallKind::Ack && !has_run,
            Self::Staging(_) | Self::Waiting | Self::Running | Self::Missing(_) => true,
            Self::Ours | Self::OursMissing(_) => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Holding {
    lease: Lease,
    course: LeaseCourse,
    /// When the message was received, as nearly as is known.
    received: Boot,
    /// When the lease is to be extended; `None`: never again.
    extend_at: Option<Boot>,
    /// A call about it is under way. An extension has its length.
    call: Option<(CallKind, Duration)>,
    /// No call before this time.
    not_before: Boot,
    /// Its lease has run out without an answer from the engine.
    lapsed: bool,
}

/// A job that is found nowhere is looked for again after this time: it may have been on its way.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// Staging that has failed is tried again after this time.
const STAGE_AGAIN: Duration = Duration::from_secs(5);

/// All leases of a bridge.
#[derive(Debug, Clone)]
pub struct LeaseTable {
    terms: LeaseTerms,
    held: BTreeMap<JobId, Holding>,
    stopping: bool,
}

impl LeaseTable {
    /// A table without leases.
    pub fn new(terms: LeaseTerms) -> Self {
        Self {
            terms,
            held: BTreeMap::new(),
            stopping: false,
        }
    }

    /// The lease of a job.
    pub fn lease(&self, id: &JobId) -> Option<&Lease> {
        self.held.get(id).map(|holding| &holding.lease)
    }

    /// The jobs whose leases are held.
    pub fn ids(&self) -> impl Iterator<Item = &JobId> {
        self.held.keys()
    }

    /// True if nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// True while the engine is to be told of an end.
    pub fn has_ends(&self) -> bool {
        self.held.values().any(|holding| holding.course.is_over())
    }

    /// True once it was told to stop and nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.stopping && self.held.values().all(|h| h.course.is_ours())
    }

    /// How many more messages may be asked for.
    pub fn room(&self) -> usize {
        match self.stopping {
            true => 0,
            false => {
                // A message whose lease is lost is acknowledged before another receive might bring it.
                let late = |h: &&Holding| h.is_ack() && h.is_lost() && !h.course.takes_room();
                let late = self.held.values().filter(late).count();
                self.terms.most.saturating_sub(self.unended() + late)
            }
        }
    }

    fn unended(&self) -> usize {
        let unended = self.held.values().filter(|h| h.course.takes_room());
        unended.count()
    }

    /// Takes an event in, and says what to do, in order.
    pub fn step(&mut self, event: LeaseEvent, now: Now) -> Vec<LeaseAction> {
        let mut todo = Vec::new();
        match event {
            LeaseEvent::Received {
                id,
                lease,
                runnable,
                seen,
            } => self.received(id, lease, runnable, seen, now, &mut todo),
            LeaseEvent::Resumed {
                id,
                lease,
                staged,
                seen,
                same_boot,
            } => self.resumed(id, lease, staged, seen, same_boot, now, &mut todo),
            LeaseEvent::Staged(id, done) => {
                if let Some(holding) = self.held.get_mut(&id) {
                    match done {
                        true => todo.push(LeaseAction::Drop(id)),
                        false => {
                            holding.course =
                                LeaseCourse::Staging(Some(now.boot.after(STAGE_AGAIN)));
                        }
                    }
                }
            }
            LeaseEvent::Dropped(id, done) => self.dropped(&id, done, now),
            LeaseEvent::Withdrawn(id, done) => self.withdrawn(id, done, now, &mut todo),
            LeaseEvent::Seen(id, sighting) => self.seen(id, sighting, now, &mut todo),
            LeaseEvent::Answered {
                id,
                asked,
                receipt,
                answer,
            } => self.answered(id, asked, &receipt, answer, now, &mut todo),
            LeaseEvent::Tick => {}
            LeaseEvent::Stop => self.stop(&mut todo),
        }
        self.do_due(now, &mut todo);
        // A lease without its record means that the job was dropped.
        todo.retain(|a| !matches!(a, LeaseAction::Store(id) if self.is_unstaged(id)));
        todo
    }

    fn is_unstaged(&self, id: &JobId) -> bool {
        let holding = self.held.get(id);
        holding.is_some_and(|h| matches!(h.course, LeaseCourse::Staging(Some(_))))
    }

    fn received(
        &mut self,
        id: JobId,
        lease: Lease,
        runnable: bool,
        seen: Sighting,
        now: Now,
        todo: &mut Vec<LeaseAction>,
    ) {
        if let Some(holding) = self.held.get_mut(&id) {
            // The lease had lapsed, or the engine delivers twice. The job is not run again for that.
            let back = holding.lease.back;
            holding.lease = Lease { back, ..lease };
            holding.received = now.boot;
            holding.lapsed = false;
            // The answer to a call under way is about the receive before this one.
            holding.call = None;
            holding.extend_at = Some(holding.lease.half());
            if holding.course.is_ours() {
                holding.course = LeaseCourse::accepted(now);
            }
            todo.push(LeaseAction::Store(id));
            return;
        }
        let is_used_up = lease.max.is_some_and(|max| lease.count > max);
        let is_here = match seen {
            Sighting::Waiting | Sighting::Running | Sighting::Well => true,
            Sighting::Badly(_) => self.terms.accepted,
            Sighting::Nowhere => false,
        };
        let course = if is_here {
            LeaseCourse::of(seen, self.terms.accepted, now)
        } else if !runnable || is_used_up {
            LeaseCourse::back(now, lease.refused_for(), false)
        } else if lease.ends <= now.boot {
            // The answer was on its way for longer than the lease: the message may be another's by now.
            return;
        } else {
            LeaseCourse::Staging(None)
        };
        let next = match course {
            LeaseCourse::Staging(_) => Some(LeaseAction::Stage(id.clone())),
            _ if is_here => Some(LeaseAction::Store(id.clone())),
            _ => None,
        };
        todo.extend(next);
        self.held.insert(id, Holding::new(lease, course, now.boot));
    }

    #[allow(clippy::too_many_arguments)]
    fn resumed(
        &mut self,
        id: JobId,
        lease: Lease,
        staged: bool,
        seen: Sighting,
        same_boot: bool,
        now: Now,
        todo: &mut Vec<LeaseAction>,
    ) {
        let is_nowhere = seen == Sighting::Nowhere;
        if staged && is_nowhere && lease.ends <= now.boot {
            // It was never run here, and others may have received it.
            todo.push(LeaseAction::Remove(id));
            return;
        }
        let course = match (staged, seen) {
            (true, Sighting::Nowhere) => LeaseCourse::Staging(None),
            // It was accepted, and somebody has removed it. After a power cut it may not have been accepted.
            (false, Sighting::Nowhere) if self.terms.accepted && same_boot => {
                LeaseCourse::accepted(now)
            }
            (_, seen) => LeaseCourse::of(seen, self.terms.accepted, now),
        };
        let held_for = now.wall.since(lease.since);
        let received = Boot(now.boot.0.saturating_sub(nanos(held_for)));
        let mut holding = Holding::new(lease, course, received);
        if !same_boot {
            // Only the server knows whether the lease is still ours.
            holding.extend_at = Some(now.boot);
            todo.push(LeaseAction::Store(id.clone()));
        }
        let is_going_back = holding.lease.back && !course.is_over();
        self.held.insert(id.clone(), holding);
        if is_going_back {
            todo.push(LeaseAction::Withdraw(id));
        } else if course == LeaseCourse::Staging(None) {
            todo.push(LeaseAction::Drop(id));
        }
    }

    fn dropped(&mut self, id: &JobId, done: bool, now: Now) {
        if let Some(holding) = self.held.get_mut(id) {
            holding.course = match (done, self.terms.accepted) {
                (true, true) => LeaseCourse::accepted(now),
                (true, false) => LeaseCourse::Waiting,
                (false, _) => LeaseCourse::Staging(Some(now.boot.after(STAGE_AGAIN))),
            };
        }
    }

    fn withdrawn(&mut self, id: JobId, done: bool, now: Now, todo: &mut Vec<LeaseAction>) {
        let Some(holding) = self.held.get_mut(&id) else {
            return;
        };
        match done {
            true => holding.course = LeaseCourse::back(now, Duration::ZERO, false),
            false => {
                // It runs by now.
                holding.lease.back = false;
                todo.extend([LeaseAction::Store(id.clone()), LeaseAction::Look(id)]);
            }
        }
    }

    fn seen(&mut self, id: JobId, seen: Sighting, now: Now, todo: &mut Vec<LeaseAction>) {
        let Some(holding) = self.held.get_mut(&id) else {
            return;
        };
        let was = holding.course;
        let since = match was {
            // Its end was seen: later moves by hand are those of a local job.
            LeaseCourse::Staging(_) | LeaseCourse::Over { .. } => return,
            LeaseCourse::Missing(since) | LeaseCourse::OursMissing(since) => Some(since),
            LeaseCourse::Waiting | LeaseCourse::Running | LeaseCourse::Ours => None,
        };
        let is_gone = since.is_some_and(|since| now.boot.since(since) >= GONE_AFTER);
        if was.is_ours() {
            // The job only takes room.
            match seen {
                Sighting::Waiting | Sighting::Running => holding.course = LeaseCourse::Ours,
                Sighting::Nowhere if !is_gone => {
                    holding.course = LeaseCourse::OursMissing(since.unwrap_or(now.boot));
                }
                Sighting::Well | Sighting::Badly(_) | Sighting::Nowhere => {
                    self.held.remove(&id);
                }
            }
            return;
        }
        holding.course = match seen {
            Sighting::Nowhere if is_gone => LeaseCourse::back(now, Duration::ZERO, false),
            Sighting::Nowhere => LeaseCourse::Missing(since.unwrap_or(now.boot)),
            Sighting::Waiting | Sighting::Running | Sighting::Well | Sighting::Badly(_) => {
                LeaseCourse::of(seen, self.terms.accepted, now)
            }
        };
        if seen == Sighting::Running && was != LeaseCourse::Running {
            todo.push(LeaseAction::Tell(id, Telling::Started));
        } else if holding.course.is_over() {
            let well = seen == Sighting::Well;
            todo.push(LeaseAction::Tell(id, Telling::Ended(well)));
        }
    }

    fn stop(&mut self, todo: &mut Vec<LeaseAction>) {
        self.stopping = true;
        if self.terms.prefetch == 0 || self.terms.accepted {
            return;
        }
        for (id, holding) in &mut self.held {
            let lease = &mut holding.lease;
            // Giving it back costs a receive.
            let may_return = lease.max.is_none_or(|max| lease.count < max);
            if holding.course == LeaseCourse::Waiting && may_return && !holding.lapsed {
                lease.back = true;
                todo.extend([
                    LeaseAction::Store(id.clone()),
                    LeaseAction::Withdraw(id.clone()),
                ]);
            }
        }
    }
}

impl LeaseCourse {
    fn accepted(now: Now) -> Self {
        Self::Over {
            at: now.boot,
            how: CallKind::Ack,
            delay: Duration::ZERO,
            has_run: false,
        }
    }

    fn back(now: Now, delay: Duration, has_run: bool) -> Self {
        Self::Over {
            at: now.boot,
            how: CallKind::Nack,
            delay,
            has_run,
        }
    }

    /// The course of a job that was seen. `accepted`: its message is acknowledged wherever the job is.
    fn of(seen: Sighting, accepted: bool, now: Now) -> Self {
        match seen {
            Sighting::Nowhere => Self::Missing(now.boot),
            _ if accepted => Self::accepted(now),
            Sighting::Waiting => Self::Waiting,
            Sighting::Running => Self::Running,
            Sighting::Well => Self::Over {
                at: now.boot,
                how: CallKind::Ack,
                delay: Duration::ZERO,
                has_run: true,
            },
            Sighting::Badly(delay) => Self::back(now, delay, true),
        }
    }
}

impl Holding {
    fn new(lease: Lease, course: LeaseCourse, received: Boot) -> Self {
        Self {
            extend_at: Some(lease.half()),
            lease,
            course,
            received,
            call: None,
            not_before: Boot(0),
            lapsed: false,
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
