//! The rules that hold after a step: nothing that was due is left undone, and the numbers agree.

use super::{Belief, Checked, Checker, Life};
use crate::faults::Subject;
use pirn::core::id::QueueName;
use pirn::core::scheduler;
use pirn::core::time::{Boot, Now, Wall};

/// The scheduler's bound on jobs that wait for the disk.
const MAX_UNCOMMITTED: usize = 512;

impl Checker {
    pub fn settled(&mut self, subject: &Subject, now: Now) -> Checked {
        self.short &= !self.is_short_no_more(now);
        self.nothing_missed(now)?;
        self.turns_are_true(now)?;
        self.figures_agree(subject)?;
        self.wakes_in_time(subject, now)
    }

    fn nothing_missed(&self, now: Now) -> Checked {
        if let Some((id, queue)) = self.expect_rejects.first() {
            return Err(format!("{queue}/{id} should have been rejected"));
        }
        if let Some((id, queue)) = self.expect_readmits.first() {
            return Err(format!("{queue}/{id} should have been readmitted"));
        }
        for (id, b) in &self.jobs {
            let missed = match &b.life {
                Life::MustFinish(_) => Some("finish"),
                Life::MustSweep(_) => Some("sweep"),
                Life::Stopping { term_at: None, .. } => Some("TERM"),
                Life::Stopping {
                    term_at: Some(at),
                    killed: false,
                    ..
                } => {
                    let grace = b.terms.as_ref().map(|t| t.grace).unwrap_or_default();
                    (at.after(grace) <= now.boot).then_some("KILL")
                }
                Life::Running if b.deadline.is_some_and(|at| at <= now.boot) => Some("timeout"),
                Life::Running if b.warn_at.is_some_and(|at| at <= now.boot) => Some("warning"),
                Life::Waiting if b.ticket.expires.is_some_and(|at| at <= now.wall) => {
                    Some("expiry")
                }
                Life::Waiting if !b.passed && self.failed_parent(b) => {
                    Some("failing with its parent")
                }
                Life::Waiting if !b.passed && self.is_unneeded(b) => Some("being skipped"),
                Life::Waiting if self.could_start(b, now) => Some("start"),
                _ => None,
            };
            if let Some(what) = missed {
                return Err(format!("missed: {what} of {id}"));
            }
        }
        Ok(())
    }

    fn could_start(&self, b: &Belief, now: Now) -> bool {
        let resumed = self.resume.is_none_or(|(_, to)| to <= now.boot);
        resumed && self.has_slot_for(b) && self.ready(b, now) && self.would_start(b, now)
    }

    /// Only the job itself, or a shortage, keeps it from being started.
    fn has_slot_for(&self, b: &Belief) -> bool {
        self.is_starting_from(&b.ticket.queue)
            && self.fits(b)
            && self.has_slots(b)
            && self.has_room(b)
    }

    /// True if jobs of this queue are started as there are slots and tokens for them.
    pub(super) fn is_starting_from(&self, queue: &QueueName) -> bool {
        !self.held
            && self.shutdowns == 0
            && self.ending() < MAX_UNCOMMITTED
            && self.is_served(queue)
            && !(self.short && self.is_starting())
    }

    fn is_starting(&self) -> bool {
        self.jobs.values().any(Belief::is_starting)
    }

    /// After a shortage jobs are started one at a time, until all that can be started is.
    fn is_short_no_more(&self, now: Now) -> bool {
        let is_open = !self.held && self.shutdowns == 0 && self.ending() < MAX_UNCOMMITTED;
        let resumed = self.resume.is_none_or(|(_, to)| to <= now.boot);
        let could_start = |b: &Belief| self.could_start(b, now);
        is_open && resumed && !self.is_starting() && !self.jobs.values().any(could_start)
    }

    fn figures_agree(&self, subject: &Subject) -> Checked {
        let scheduler = &subject.scheduler;
        let counts = scheduler.counts();
        let figures = (counts.waiting, counts.running, counts.ending);
        let waiting = self.jobs.values().filter(|b| b.waits()).count();
        let right = (waiting, self.running(), self.ending());
        if figures != right {
            return Err(format!("counts: {figures:?} instead of {right:?}"));
        }
        if scheduler.is_quiet() != (right.1 + right.2 == 0) {
            return Err("is_quiet is wrong".to_owned());
        }
        let may_start = |b: &Belief| {
            let queue = &b.ticket.queue;
            let open =
                !self.closed(queue) && self.queue_slots(queue) != Some(0) && self.policy.slots > 0;
            b.waits() && open && self.fits(b) && b.passed && self.first_of_group(b)
        };
        let drained = right.1 + right.2 == 0 && !self.jobs.values().any(may_start);
        if scheduler.is_drained() != drained {
            return Err(format!("is_drained: {} instead of {drained}", !drained));
        }
        for (id, b) in &self.jobs {
            let stamp = b.waits().then_some(b.ticket.stamp);
            let answers = (
                scheduler.waiting(id, &b.ticket.queue) == stamp,
                scheduler.is_live(id) != b.waits(),
                (scheduler.believes(id).0 == scheduler::Belief::Running) == b.has_started(),
                b.waits() || scheduler.believes(id).1 == b.successor,
                scheduler.knows(id),
                b.ticket
                    .parents
                    .iter()
                    .all(|p| scheduler.has_children(&p.id)),
            );
            if answers != (true, true, true, true, true, true) {
                return Err(format!("questions about {id}: {answers:?}"));
            }
        }
        Ok(())
    }

    /// The scheduler's alarm comes no later than the next thing that is due, and not for nothing.
    fn wakes_in_time(&self, subject: &Subject, now: Now) -> Checked {
        let (boot, wall) = subject.next_wake();
        let mut dues: Vec<(String, Option<Boot>, Option<Wall>)> = Vec::new();
        for (id, b) in &self.jobs {
            match &b.life {
                Life::Waiting => {
                    dues.push((format!("expiry of {id}"), None, b.ticket.expires));
                    if b.passed && self.surely_first(b) {
                        let due = b.overdue.filter(|at| *at > now.boot);
                        let date = b.ticket.not_before.filter(|at| *at > now.wall);
                        // A job may have passed one of these gates: after an unknown pause, or when the date has moved
                        // away again. It is then checked again at the other gate, or when it gets a slot.
                        let has_all = self.has_slot_for(b) && self.would_start(b, now);
                        let idle = self.resume.is_none() && has_all;
                        let surely = b.due.is_some_and(|at| at > now.boot);
                        let (no_due, no_date) = (due.is_none(), date.is_none());
                        let due = due.filter(|_| surely || (idle && no_date));
                        let date = date.filter(|_| idle && no_due);
                        dues.push((format!("start of {id}"), due, date));
                    }
                }
                Life::Running => {
                    dues.push((format!("timeout of {id}"), b.deadline, None));
                    dues.push((format!("warning of {id}"), b.warn_at, None));
                }
                Life::Stopping {
                    term_at: Some(at),
                    killed: false,
                    ..
                } => {
                    let grace = b.terms.as_ref().map(|t| t.grace).unwrap_or_default();
                    dues.push((format!("KILL of {id}"), Some(at.after(grace)), None));
                }
                _ => {}
            }
        }
        if let Some((_, to)) = self.resume.filter(|(_, to)| *to > now.boot)
            && self
                .jobs
                .values()
                .any(|b| self.has_slot_for(b) && self.ready(b, now) && self.would_start(b, now))
        {
            dues.push(("end of a shortage".to_owned(), Some(to), None));
        }
        for (what, by_boot, by_wall) in dues {
            let late_boot = by_boot.is_some_and(|at| boot.is_none_or(|wake| wake > at));
            let late_wall = by_wall.is_some_and(|at| wall.is_none_or(|wake| wake > at));
            if late_boot || late_wall {
                return Err(format!("missed: no wake for the {what}"));
            }
        }
        let past = boot.is_some_and(|at| at <= now.boot) || wall.is_some_and(|at| at <= now.wall);
        if past {
            return Err("the next wake is not in the future".to_owned());
        }
        if self.jobs.is_empty() && self.resume.is_none() && (boot, wall) != (None, None) {
            return Err("an idle scheduler wants to be woken".to_owned());
        }
        Ok(())
    }
}
