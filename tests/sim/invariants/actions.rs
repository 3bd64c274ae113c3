//! Checks the scheduler's actions.

use super::{Belief, Checked, Checker, Life, is_beside};
use crate::world::Proc;
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{StopReason, TryEnd, Verdict, verdict};
use pirn::core::process::Stop;
use pirn::core::record::Reason;
use pirn::core::scheduler::{Action, NOTE_AFTER, Slot};
use pirn::core::time::Now;
use std::collections::BTreeMap;
use std::time::Duration;

type Procs = BTreeMap<JobId, Proc>;

pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Checker {
    pub fn judge(&mut self, action: &Action, now: Now, procs: &Procs) -> Checked {
        match action {
            Action::Start {
                id,
                queue,
                stamp,
                slot,
                units,
            } => {
                let b = self.known(id, action)?;
                ensure(b.ticket.stamp == *stamp, || {
                    format!("start of {id}: not the file that arrived")
                })?;
                self.judge_tokens(id, units)?;
                self.judge_start(id, queue, *slot, now, procs)?;
                if let Some(b) = self.jobs.get_mut(id) {
                    b.units = units.clone();
                }
                Ok(())
            }
            Action::Note { id } => {
                let b = self.known(id, action)?;
                let old = b.started.is_some_and(|at| now.boot.since(at) >= NOTE_AFTER);
                ensure(old && matches!(b.life, Life::Running), || {
                    format!("note of {id}: not running long enough")
                })
            }
            Action::Warn { id } => {
                let b = self.known_mut(id, action)?;
                let due = b.warn_at.take().is_some_and(|at| at <= now.boot);
                let late = b.deadline.is_none_or(|at| at <= now.boot);
                ensure(matches!(b.life, Life::Running) && due && !late, || {
                    format!("warning of {id}: not its time, or not again")
                })
            }
            Action::Signal { id, how } => self.judge_signal(id, *how, now, action),
            Action::Sweep { id, grace } => {
                let b = self.known_mut(id, action)?;
                let Life::MustSweep(end) = b.life else {
                    return Err(format!("sweep of {id}, which is {:?}", b.life));
                };
                let longest = b.terms.as_ref().map_or(Duration::ZERO, |t| t.grace);
                b.life = Life::Sweeping(end);
                ensure(*grace <= longest, || {
                    format!("sweep of {id}: grace of {grace:?}, asked for {longest:?}")
                })
            }
            Action::Finish {
                id,
                end,
                verdict,
                wait,
            } => self.judge_finish(id, *end, *verdict, *wait, action),
            Action::EndUnrun {
                id, queue, reason, ..
            } => self.judge_fail(id, queue, *reason, now, action),
            Action::Quarantine { id, queue, .. } => ensure(
                self.expect_rejects.remove(&(id.clone(), queue.clone())),
                || format!("reject of {queue}/{id}: neither in a ring nor superseded"),
            ),
            Action::Readmit { id, queue } => ensure(
                self.expect_readmits.remove(&(id.clone(), queue.clone())),
                || format!("readmit of {queue}/{id}: nothing waits there"),
            ),
        }
    }

    fn known(&self, id: &JobId, action: &Action) -> Result<&Belief, String> {
        self.jobs
            .get(id)
            .ok_or_else(|| format!("{action:?}: unknown job"))
    }

    fn known_mut(&mut self, id: &JobId, action: &Action) -> Result<&mut Belief, String> {
        self.jobs
            .get_mut(id)
            .ok_or_else(|| format!("{action:?}: unknown job"))
    }

    fn judge_start(
        &mut self,
        id: &JobId,
        queue: &QueueName,
        slot: Slot,
        now: Now,
        procs: &Procs,
    ) -> Checked {
        let b = &self.jobs[id];
        ensure(b.waits(), || {
            format!("start of {id}, two at once: it is {:?}", b.life)
        })?;
        let alive = procs.get(id).is_some_and(|p| !p.orphan);
        ensure(!alive, || {
            format!("start of {id}, two at once: its processes are alive")
        })?;
        ensure(b.ticket.queue == *queue, || {
            format!("start of {id}: it is not in {queue}")
        })?;
        ensure(!self.held && self.shutdowns == 0, || {
            format!("start of {id}: held or shut down")
        })?;
        ensure(!self.closed(queue), || {
            format!("start of {id}: queue {queue} is paused")
        })?;
        ensure(!self.unread.contains(queue), || {
            format!("start of {id}: queue {queue} is not read yet")
        })?;
        ensure(self.has_slots(b), || {
            format!("start of {id}: more than all slots")
        })?;
        ensure(self.has_room(b), || {
            format!("start of {id}: more than the slots of queue {queue}")
        })?;
        let others = || self.jobs.values().filter(|b| b.runs());
        let taken = |of: &Belief| of.slot.is_some_and(|of| of.of_all == slot.of_all);
        let mut in_pool = others().filter(|b| is_beside(&b.ticket.queue) == is_beside(queue));
        let beyond = !is_beside(queue) && slot.of_all >= self.policy.slots;
        ensure(!in_pool.any(taken) && !beyond, || {
            format!("start of {id}: slot {} is taken or beyond", slot.of_all)
        })?;
        let taken = |of: &Belief| of.slot.is_some_and(|of| of.of_queue == slot.of_queue);
        let mut of_queue = others().filter(|b| b.ticket.queue == *queue);
        let beyond = self.queue_slots(queue).is_some_and(|n| slot.of_queue >= n);
        ensure(!of_queue.any(taken) && !beyond, || {
            let number = slot.of_queue;
            format!("start of {id}: slot {number} of queue {queue} is taken or beyond")
        })?;
        ensure(b.passed, || {
            format!("start of {id}: its parents have not ended as they should")
        })?;
        ensure(self.first_of_group(b), || {
            format!("start of {id}: not its turn in its group")
        })?;
        ensure(b.due.is_none_or(|at| at <= now.boot), || {
            format!("start of {id}: before its backoff is over")
        })?;
        ensure(b.ticket.not_before.is_none_or(|at| at <= now.wall), || {
            format!("start of {id}: before its not_before")
        })?;
        ensure(b.ticket.expires.is_none_or(|at| at > now.wall), || {
            format!("start of {id}: after it expired")
        })?;
        let resumed = self.resume.is_none_or(|(from, _)| from <= now.boot);
        ensure(resumed, || format!("start of {id}: there are no resources"))?;
        self.judge_turn(b, now)?;
        self.judge_reason(b, now)?;
        self.turn += 1;
        self.served.insert(queue.clone(), self.turn);
        if let Some(b) = self.jobs.get_mut(id) {
            b.life = Life::Starting { stop: None };
            b.slot = Some(slot);
            b.holds_group = b.ticket.group.is_some();
            b.due = None;
            b.overdue = None;
        }
        Ok(())
    }

    /// Highest priority first, then age within a queue and turns between queues.
    fn judge_turn(&self, b: &Belief, now: Now) -> Checked {
        let (id, queue) = (&b.ticket.id, &b.ticket.queue);
        let served = |queue: &QueueName| self.served.get(queue).copied().unwrap_or(0);
        if self.is_unsure(b, now) {
            return Ok(());
        }
        let rivals = self.rivals(b, now);
        for rival in &rivals {
            let name = &rival.ticket.id;
            ensure(rival.ticket.priority <= b.ticket.priority, || {
                format!("start of {id}: priority of {name} is higher")
            })?;
            if rival.ticket.priority < b.ticket.priority {
                continue;
            }
            if rival.ticket.queue == *queue {
                ensure(rival.rank() >= b.rank(), || {
                    format!("start of {id}: age of {name} is greater")
                })?;
            } else {
                ensure(served(&rival.ticket.queue) >= served(queue), || {
                    format!("start of {id}: starvation of queue {}", rival.ticket.queue)
                })?;
            }
        }
        ensure(rivals.iter().any(|rival| rival.ticket.id == *id), || {
            format!("start of {id}: its slots or tokens are kept for others")
        })
    }

    fn judge_signal(&mut self, id: &JobId, how: Stop, now: Now, action: &Action) -> Checked {
        let b = self.known_mut(id, action)?;
        let grace = b.terms.as_ref().map_or(Duration::ZERO, |t| t.grace);
        match (how, b.life.clone()) {
            (
                Stop::Term,
                Life::Stopping {
                    why,
                    term_at: None,
                    killed,
                },
            ) => {
                b.life = Life::Stopping {
                    why,
                    term_at: Some(now.boot),
                    killed,
                };
                Ok(())
            }
            (Stop::Term, Life::Running) => {
                b.life = Life::Stopping {
                    why: StopReason::Timeout,
                    term_at: Some(now.boot),
                    killed: false,
                };
                let due = b.deadline.is_some_and(|at| at <= now.boot);
                ensure(due, || format!("TERM to {id}: its deadline has not come"))
            }
            (
                Stop::Kill,
                Life::Stopping {
                    why,
                    term_at: Some(at),
                    killed: false,
                },
            ) => {
                b.life = Life::Stopping {
                    why,
                    term_at: Some(at),
                    killed: true,
                };
                ensure(at.after(grace) <= now.boot, || {
                    format!("KILL to {id}: its grace is not over")
                })
            }
            (_, life) => Err(format!("{how:?} to {id}, which is {life:?}")),
        }
    }

    fn judge_finish(
        &mut self,
        id: &JobId,
        end: TryEnd,
        said: Verdict,
        wait: Option<Duration>,
        action: &Action,
    ) -> Checked {
        let b = self.known_mut(id, action)?;
        let Life::MustFinish(right) = b.life else {
            return Err(format!("finish of {id}, which is {:?}", b.life));
        };
        ensure(end == right, || {
            format!("finish of {id}: {end:?} instead of {right:?}")
        })?;
        b.life = Life::Ending;
        b.slot = None;
        b.units.clear();
        let Some(terms) = &b.terms else {
            return Err(format!("finish of {id}, whose terms nobody told"));
        };
        let right = verdict(end, b.attempt, &terms.retry);
        ensure(said == right, || {
            format!("finish of {id}: verdict {said:?} instead of {right:?}")
        })?;
        let retried = matches!(said, Verdict::Retry);
        let used = b.attempt - terms.retry.interruptions;
        ensure(!retried || used < terms.retry.tries, || {
            format!("finish of {id}: more tries than asked for")
        })?;
        let cut = matches!(
            end,
            TryEnd::Interrupted
                | TryEnd::Stopped {
                    why: StopReason::Shutdown,
                    ..
                }
        );
        let last = terms.retry.interruptions + 1 >= terms.retry.max_interruptions.max(1);
        ensure(
            !cut || (said == Verdict::Failed) == (last || terms.retry.once),
            || format!("finish of {id}, which was interrupted: {said:?}"),
        )?;
        ensure(retried == wait.is_some(), || {
            format!("finish of {id}: backoff {wait:?} after {said:?}")
        })?;
        let rule = terms.backoff.rule();
        let nominal = rule.first.as_secs_f64() * rule.factor.powi(used as i32 - 1);
        let nominal = nominal.min(rule.max.as_secs_f64());
        let fits =
            |w: Duration| (nominal * 0.75 - 1e-6..=nominal + 1e-6).contains(&w.as_secs_f64());
        ensure(wait.is_none_or(fits), || {
            format!("finish of {id}: backoff of {wait:?} for {nominal} s")
        })
    }

    fn judge_fail(
        &mut self,
        id: &JobId,
        queue: &QueueName,
        reason: Reason,
        now: Now,
        action: &Action,
    ) -> Checked {
        let b = self.known(id, action)?;
        ensure(b.waits(), || format!("failing {id}, which is {:?}", b.life))?;
        ensure(b.ticket.queue == *queue, || {
            format!("failing {id}: it is not in {queue}")
        })?;
        let true_reason = match reason {
            Reason::Expired => b.ticket.expires.is_some_and(|at| at <= now.wall),
            Reason::Dependency => !b.passed && self.failed_parent(b),
            Reason::Skipped => !b.passed && self.is_unneeded(b),
            _ => false,
        };
        ensure(true_reason, || {
            format!("failing {id}: {reason} is not true")
        })?;
        if let Some(b) = self.jobs.get_mut(id) {
            b.life = Life::Ending;
        }
        Ok(())
    }
}
