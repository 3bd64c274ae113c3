//! The calls to the engine: when they are due, in which batches, and the answers to them.

use super::{Holding, Lease, LeaseAction, LeaseCourse, LeaseTable, Telling};
use crate::core::id::JobId;
use crate::core::time::{Boot, Now};
use std::collections::BTreeMap;
use std::time::Duration;

/// The purpose of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Longer leases.
    Extend,
    /// That nobody receives the messages again.
    Ack,
    /// That the messages may be received again, or are moved to the failed queue.
    Nack,
}

/// A call about leases of one queue.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseCall {
    /// Its purpose.
    pub kind: CallKind,
    /// The leases, at most [`MOST_IN_CALL`].
    pub entries: Vec<CallEntry>,
}

/// A lease in a call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEntry {
    /// Its job.
    pub id: JobId,
    /// The lease. It names the queue.
    pub lease: Lease,
    /// The new length, or the time until the message may be received again.
    pub span: Duration,
    /// True if the job has run: its record is the result.
    pub has_run: bool,
}

/// The engine's answer about one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// It has done so.
    Done,
    /// The lease is not ours any more, for this reason.
    Lost(String),
    /// It has not; ask again after this time.
    Again(Duration),
}

/// The most leases in one call.
const MOST_IN_CALL: usize = 10;

/// How long an acknowledgement waits for company.
const COMPANY: Duration = Duration::from_millis(100);

/// A lease ends this long before the engine's limit.
const MARGIN: Duration = Duration::from_secs(60);

impl LeaseTable {
    pub(super) fn answered(
        &mut self,
        id: JobId,
        asked: Boot,
        receipt: &str,
        answer: CallAnswer,
        now: Now,
        todo: &mut Vec<LeaseAction>,
    ) {
        let Some(holding) = self.held.get_mut(&id) else {
            return;
        };
        if holding.lease.receipt != receipt {
            // The message has come again meanwhile: the new receipt counts.
            return;
        }
        let Some((kind, length)) = holding.call.take() else {
            return;
        };
        match (kind, answer) {
            (_, CallAnswer::Again(after)) => holding.not_before = now.boot.after(after),
            (CallKind::Extend, CallAnswer::Done) => {
                let after = now.boot.since(holding.received);
                holding.extended(asked, length, now);
                todo.push(LeaseAction::Store(id.clone()));
                let lease = length;
                todo.push(LeaseAction::Tell(id, Telling::Extended { after, lease }));
            }
            (CallKind::Extend, CallAnswer::Lost(why)) => self.lose(id, why, todo),
            (CallKind::Ack | CallKind::Nack, CallAnswer::Lost(why)) => {
                if !holding.is_lost() {
                    todo.push(LeaseAction::Tell(id.clone(), Telling::Lost(why)));
                }
                self.close(id, todo);
            }
            (CallKind::Ack, CallAnswer::Done) => {
                todo.push(LeaseAction::Tell(id.clone(), Telling::Acked));
                self.close(id, todo);
            }
            (CallKind::Nack, CallAnswer::Done) => {
                todo.push(LeaseAction::Tell(id.clone(), Telling::GivenBack));
                self.close(id, todo);
            }
        }
    }

    /// Ends the dealings with the engine about a job. A job that was only accepted still takes room.
    fn close(&mut self, id: JobId, todo: &mut Vec<LeaseAction>) {
        todo.push(LeaseAction::Remove(id.clone()));
        match self.held.get_mut(&id) {
            Some(holding) if self.terms.accepted && holding.is_ack() => {
                holding.course = LeaseCourse::Ours;
                holding.extend_at = None;
                todo.push(LeaseAction::Look(id));
            }
            Some(_) | None => {
                self.held.remove(&id);
            }
        }
    }

    /// Takes in that a lease is not ours any more.
    fn lose(&mut self, id: JobId, why: String, todo: &mut Vec<LeaseAction>) {
        let Some(holding) = self.held.get_mut(&id) else {
            return;
        };
        let was_lost = holding.is_lost();
        holding.lease.lost = Some(why.clone());
        holding.extend_at = None;
        todo.push(LeaseAction::Store(id.clone()));
        if was_lost {
            return;
        }
        todo.push(LeaseAction::Tell(id.clone(), Telling::Lost(why)));
        if self.terms.cancel_lost && !holding.course.is_over() {
            todo.push(LeaseAction::Cancel(id));
        }
    }

    /// Does all that is due.
    pub(super) fn do_due(&mut self, now: Now, todo: &mut Vec<LeaseAction>) {
        self.take_in_lapses(now, todo);
        self.give_up_lost(todo);
        for (id, holding) in &mut self.held {
            match &mut holding.course {
                LeaseCourse::Staging(again @ Some(_)) if *again <= Some(now.boot) => {
                    *again = None;
                    todo.push(LeaseAction::Stage(id.clone()));
                }
                LeaseCourse::Missing(since) | LeaseCourse::OursMissing(since)
                    if now.boot.since(*since) >= super::GONE_AFTER =>
                {
                    todo.push(LeaseAction::Look(id.clone()));
                }
                _ => {}
            }
        }
        self.tell_ends(now, todo);
        self.extend_due(now, todo);
    }

    fn take_in_lapses(&mut self, now: Now, todo: &mut Vec<LeaseAction>) {
        let mut cancelled = Vec::new();
        for (id, holding) in &mut self.held {
            let is_open = holding.lease.lost.is_none() && !holding.course.is_ours();
            if is_open && !holding.lapsed && holding.lease.ends <= now.boot {
                holding.lapsed = true;
                let why = "it has run out".to_owned();
                todo.push(LeaseAction::Tell(id.clone(), Telling::Lost(why)));
                if self.terms.cancel_lost && !holding.course.is_over() {
                    cancelled.push(LeaseAction::Cancel(id.clone()));
                }
            }
        }
        todo.extend(cancelled);
    }

    /// Forgets lost leases whose jobs have not ended well: there is nothing to give back. A message that was never
    /// staged is forgotten too.
    fn give_up_lost(&mut self, todo: &mut Vec<LeaseAction>) {
        self.held.retain(|id, holding| {
            let is_lost = holding.is_lost();
            let is_pointless = match holding.course {
                LeaseCourse::Over {
                    how: CallKind::Nack,
                    ..
                } => true,
                LeaseCourse::Staging(again) => again.is_some(),
                LeaseCourse::Over { .. } | LeaseCourse::Waiting | LeaseCourse::Running => false,
                LeaseCourse::Missing(_) | LeaseCourse::OursMissing(_) | LeaseCourse::Ours => false,
            };
            let is_given_up = is_lost && is_pointless && holding.call.is_none();
            if is_given_up {
                todo.push(LeaseAction::Remove(id.clone()));
            }
            !is_given_up
        });
    }

    /// Acknowledges and gives back. A call waits for company, unless nobody else can come.
    fn tell_ends(&mut self, now: Now, todo: &mut Vec<LeaseAction>) {
        let is_alone = self.unended() == 0;
        let mut ready: BTreeMap<_, (Boot, Vec<JobId>)> = BTreeMap::new();
        for (id, holding) in &self.held {
            if let LeaseCourse::Over { at, how, .. } = holding.course
                && holding.may_call(now)
            {
                let queue = (how, holding.lease.queue.clone(), holding.lease.url.clone());
                let (first, ids) = ready.entry(queue).or_insert((at, Vec::new()));
                *first = (*first).min(at);
                ids.push(id.clone());
            }
        }
        for ((how, _, _), (first, ids)) in ready {
            let is_time = is_alone || first.after(COMPANY) <= now.boot;
            for part in ids.chunks(MOST_IN_CALL) {
                if is_time || part.len() == MOST_IN_CALL {
                    self.call(how, part, now, todo);
                }
            }
        }
    }

    fn extend_due(&mut self, now: Now, todo: &mut Vec<LeaseAction>) {
        let mut due: BTreeMap<_, (bool, Vec<JobId>)> = BTreeMap::new();
        for (id, holding) in &self.held {
            // The call that ends the dealings comes first, unless it has to wait.
            let is_ending = holding.course.is_over() && holding.not_before <= now.boot;
            let Some(at) = holding.extend_at.filter(|_| !is_ending) else {
                continue;
            };
            // Leases that are nearly due are extended with it.
            let soon = now.boot.after(holding.lease.length / 10);
            let is_ready = holding.call.is_none()
                && (holding.not_before <= now.boot || holding.course.is_over());
            if at <= soon && is_ready {
                let queue = (holding.lease.queue.clone(), holding.lease.url.clone());
                let (is_due, ids) = due.entry(queue).or_default();
                *is_due |= at <= now.boot;
                ids.push(id.clone());
            }
        }
        for (is_due, ids) in due.into_values() {
            for part in ids.chunks(MOST_IN_CALL).filter(|_| is_due) {
                self.call(CallKind::Extend, part, now, todo);
            }
        }
    }

    fn call(&mut self, kind: CallKind, ids: &[JobId], now: Now, todo: &mut Vec<LeaseAction>) {
        let mut entries = Vec::new();
        for id in ids {
            let next = self
                .held
                .get(id)
                .and_then(|holding| self.next_length(holding, now));
            let Some(holding) = self.held.get_mut(id) else {
                continue;
            };
            let (span, has_run) = match (kind, holding.course) {
                (CallKind::Extend, _) => match next {
                    Some(length) => (length, false),
                    // The limit is reached: this lease is the last.
                    None => {
                        holding.extend_at = None;
                        continue;
                    }
                },
                // The next receive moves it to the failed queue: it need not wait for that.
                (CallKind::Nack, LeaseCourse::Over { has_run, .. }) if holding.is_used_up() => {
                    (Duration::ZERO, has_run)
                }
                (CallKind::Ack | CallKind::Nack, LeaseCourse::Over { delay, has_run, .. }) => {
                    // A delay counts as holding the message.
                    let held = now.boot.since(holding.received);
                    let most = self.terms.longest_hold.unwrap_or(Duration::MAX);
                    (delay.min(most.saturating_sub(held + MARGIN)), has_run)
                }
                (CallKind::Ack | CallKind::Nack, _) => continue,
            };
            holding.call = Some((kind, span));
            entries.push(CallEntry {
                id: id.clone(),
                lease: holding.lease.clone(),
                span,
                has_run,
            });
        }
        if !entries.is_empty() {
            todo.push(LeaseAction::Call(LeaseCall { kind, entries }));
        }
    }

    /// The length of the next lease; `None` if an extension would gain nothing.
    fn next_length(&self, holding: &Holding, now: Now) -> Option<Duration> {
        let length = holding.lease.length;
        if holding.lease.fixed {
            return Some(length);
        }
        let held = now.boot.since(holding.received);
        let left = |most: Duration, margin: Duration| most.saturating_sub(held + margin);
        let mut next = (length * 2).min(self.terms.lease_max.max(length));
        if let Some(longest) = self.terms.longest_hold {
            next = next.min(left(longest, MARGIN));
        }
        if let Some(needs) = self.terms.needs {
            // At least as long as the first lease: the job may have waited before it ran.
            next = next.min(left(needs, Duration::ZERO).max(length));
        }
        // Engines count whole seconds.
        let next = Duration::from_secs(next.as_secs());
        (now.boot.after(next) > holding.lease.ends).then_some(next)
    }

    /// The next time at which [`super::LeaseEvent::Tick`] is wanted.
    pub fn due(&self) -> Option<Boot> {
        let times = self.held.values().filter_map(Holding::due);
        times.min()
    }
}

impl Holding {
    pub(super) fn is_ack(&self) -> bool {
        matches!(
            self.course,
            LeaseCourse::Over {
                how: CallKind::Ack,
                ..
            }
        )
    }

    /// True if the message was received as often as its queue allows.
    fn is_used_up(&self) -> bool {
        let lease = &self.lease;
        lease.max.is_some_and(|max| lease.count >= max)
    }

    /// True once its lease has run out, or was refused.
    pub(super) fn is_lost(&self) -> bool {
        self.lapsed || self.lease.lost.is_some()
    }

    fn may_call(&self, now: Now) -> bool {
        self.call.is_none() && self.not_before <= now.boot
    }

    fn extended(&mut self, asked: Boot, length: Duration, now: Now) {
        self.lease.length = length;
        self.lease.ends = asked.after(length);
        self.lease.until = now.wall.after(self.lease.ends.since(now.boot));
        self.lease.lost = None;
        self.lapsed = false;
        self.extend_at = Some(self.lease.half());
    }

    fn due(&self) -> Option<Boot> {
        let is_open = self.lease.lost.is_none() && !self.course.is_ours();
        let lapse = (is_open && !self.lapsed).then_some(self.lease.ends);
        let own = match self.course {
            LeaseCourse::Staging(again) => again,
            LeaseCourse::Missing(since) | LeaseCourse::OursMissing(since) => {
                Some(since.after(super::GONE_AFTER))
            }
            LeaseCourse::Over { at, .. } if self.call.is_none() => {
                Some(at.after(COMPANY).max(self.not_before))
            }
            LeaseCourse::Over { .. }
            | LeaseCourse::Waiting
            | LeaseCourse::Running
            | LeaseCourse::Ours => None,
        };
        let extend = match (self.call, self.course.is_over()) {
            (Some(_), _) => None,
            (None, true) => self.extend_at,
            (None, false) => self.extend_at.map(|at| at.max(self.not_before)),
        };
        [lapse, own, extend].into_iter().flatten().min()
    }
}
