//! The checker's beliefs after an event.

use super::{Belief, Checker, Life};
use pirn::core::config::Terms;
use pirn::core::id::JobId;
use pirn::core::policy::{StopReason, TryEnd};
use pirn::core::process::Exit;
use pirn::core::scheduler::{CommittedTo, Event, MovedTo, NotStarted, ParentState, Ticket};
use pirn::core::time::{Boot, Now};
use std::time::Duration;

const SHORTEST_BUSY: Duration = Duration::from_secs(1);
const SHORTEST_RESUME: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(32);

fn of_user(why: StopReason) -> bool {
    match why {
        StopReason::Cancelled | StopReason::Forgotten | StopReason::Requeued => true,
        StopReason::Timeout | StopReason::LogLimit | StopReason::Shutdown => false,
    }
}

/// The last reason that a user gave, else the first of any.
fn merged(earlier: StopReason, why: StopReason) -> StopReason {
    if of_user(why) { why } else { earlier }
}

/// When a try that has run for `ran` is to be warned.
fn warning(terms: &Terms, ran: Duration, now: Now) -> Option<Boot> {
    let after = terms.timeout? - terms.warn?.before;
    Some(now.boot.after(after.saturating_sub(ran)))
}

impl Checker {
    pub fn hear(&mut self, event: &Event, now: Now) {
        match event {
            Event::Arrived(ticket) => self.arrived(ticket, now),
            Event::Withdrawn { id, queue } => {
                if let Some(b) = self.jobs.get_mut(id) {
                    if !b.waits() {
                        b.successor.take_if(|s| s == queue);
                    } else if b.ticket.queue == *queue {
                        self.jobs.remove(id);
                    }
                }
            }
            Event::Started { id, attempt, terms } => {
                let killing = self.shutdowns > 1;
                if let Some(b) = self.jobs.get_mut(id) {
                    b.attempt = *attempt;
                    b.deadline = terms.timeout.map(|t| now.boot.after(t));
                    b.warn_at = warning(terms, Duration::ZERO, now);
                    b.terms = Some((**terms).clone());
                    b.started = Some(now.boot);
                    if let Life::Starting { stop } = b.life {
                        b.life = match stop.or(killing.then_some(StopReason::Shutdown)) {
                            Some(why) => Life::Stopping {
                                why,
                                term_at: None,
                                killed: false,
                            },
                            None => Life::Running,
                        };
                    }
                }
            }
            Event::NotStarted { id, why } => self.not_started(id, why, now),
            Event::Adopted {
                ticket,
                attempt,
                terms,
                ran,
                units,
            } => {
                let successor = self.jobs.remove(&ticket.id).map(|b| b.ticket.queue);
                let mut b = Belief::new((**ticket).clone(), now);
                b.life = Life::Running;
                b.passed = true;
                b.holds_group = true;
                b.attempt = *attempt;
                b.deadline = terms
                    .timeout
                    .map(|t| now.boot.after(t.saturating_sub(*ran)));
                b.warn_at = warning(terms, *ran, now);
                b.terms = Some((**terms).clone());
                b.started = Some(now.boot);
                b.successor = successor;
                b.units = units.clone();
                self.jobs.insert(ticket.id.clone(), b);
            }
            Event::Ended { id, exit, alone } => self.ended(id, *exit, *alone),
            Event::Swept { id } => {
                if let Some(b) = self.jobs.get_mut(id)
                    && let Life::Sweeping(end) = b.life
                {
                    b.life = Life::MustFinish(end);
                }
            }
            Event::Committed { id, place } => self.committed(id, place, now),
            Event::ActiveMoved { id, to } => {
                let why = match to {
                    MovedTo::Pending => StopReason::Requeued,
                    MovedTo::Ended => StopReason::Cancelled,
                    MovedTo::Gone => StopReason::Forgotten,
                };
                self.stopped(id, why);
            }
            Event::LogFull { id } => self.stopped(id, StopReason::LogLimit),
            Event::ParentMoved { id, complete } => self.parent_ended(id, *complete),
            Event::Configured(policy) => self.policy = (**policy).clone(),
            Event::Found(queue) => drop(self.unread.insert(queue.clone())),
            Event::Read(queue) => drop(self.unread.remove(queue)),
            Event::Hold => self.held = true,
            Event::Release => self.held = false,
            Event::Shutdown => {
                self.shutdowns += 1;
                if self.shutdowns == 2 {
                    let all: Vec<JobId> = self.jobs.keys().cloned().collect();
                    for id in all {
                        self.stopped(&id, StopReason::Shutdown);
                    }
                }
            }
            Event::Tick => {}
        }
        self.latest = self.latest.max(now.wall);
        self.pass_gates();
    }

    fn pass_gates(&mut self) {
        let through: Vec<JobId> = self
            .jobs
            .values()
            .filter(|b| b.waits() && !b.passed && self.parents_ended(b))
            .map(|b| b.ticket.id.clone())
            .collect();
        for id in through {
            if let Some(b) = self.jobs.get_mut(&id) {
                b.passed = true;
            }
        }
    }

    fn arrived(&mut self, ticket: &Ticket, now: Now) {
        let id = &ticket.id;
        match self.jobs.get_mut(id) {
            // The file is the one that is being claimed: nothing changes.
            Some(b)
                if matches!(b.life, Life::Starting { .. })
                    && b.ticket.stamp == ticket.stamp
                    && b.ticket.queue == ticket.queue =>
            {
                return;
            }
            Some(b) if !b.waits() => {
                let earlier = b.successor.replace(ticket.queue.clone());
                if let Some(queue) = earlier.filter(|q| *q != ticket.queue) {
                    self.expect_rejects.insert((id.clone(), queue));
                }
                return;
            }
            Some(b) => {
                if b.ticket.queue != ticket.queue {
                    self.expect_rejects
                        .insert((id.clone(), b.ticket.queue.clone()));
                }
                self.jobs.remove(id);
            }
            None => {}
        }
        if self.makes_ring(ticket) {
            self.expect_rejects
                .insert((id.clone(), ticket.queue.clone()));
        } else {
            self.jobs
                .insert(id.clone(), Belief::new(ticket.clone(), now));
        }
    }

    fn not_started(&mut self, id: &JobId, why: &NotStarted, now: Now) {
        let Some(b) = self.jobs.get_mut(id) else {
            return;
        };
        let Life::Starting { stop } = b.life else {
            return;
        };
        let successor = b.successor.clone();
        match why {
            NotStarted::Impossible { attempt, terms } => {
                b.attempt = *attempt;
                b.terms = Some((**terms).clone());
                b.life = Life::MustFinish(TryEnd::NotStarted);
                return;
            }
            NotStarted::Busy | NotStarted::Resources if stop.is_none() && successor.is_none() => {
                b.life = Life::Waiting;
                b.slot = None;
                b.units.clear();
                if *why == NotStarted::Busy {
                    b.due = Some(now.boot.after(SHORTEST_BUSY));
                    b.overdue = Some(now.boot.after(LONGEST));
                }
            }
            NotStarted::Gone | NotStarted::Changed | NotStarted::Busy | NotStarted::Resources => {
                let old = b.ticket.queue.clone();
                let queue = successor.unwrap_or(old.clone());
                // If the old file is still there, it has been superseded; a changed file causes an event of its own.
                if queue != old && matches!(why, NotStarted::Busy | NotStarted::Resources) {
                    self.expect_rejects.insert((id.clone(), old));
                } else if queue != old {
                    self.expect_readmits.insert((id.clone(), old));
                }
                self.expect_readmits.insert((id.clone(), queue));
                self.jobs.remove(id);
            }
        }
        if *why == NotStarted::Resources {
            self.short = true;
            let (from, to) = (now.boot.after(SHORTEST_RESUME), now.boot.after(LONGEST));
            self.resume = match self.resume {
                // Of several starts that fail during one pause, the first counts.
                Some((earlier, end)) if earlier > now.boot => Some((earlier, end)),
                // The pause may be over or not: both are right.
                Some((earlier, end)) if end > now.boot => Some((earlier, to)),
                Some(_) | None => Some((from, to)),
            };
        }
    }

    fn ended(&mut self, id: &JobId, exit: Exit, alone: bool) {
        let Some(b) = self.jobs.get_mut(id) else {
            return;
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Lost => (None, None),
        };
        let end = match b.life {
            Life::Stopping { why, .. } => TryEnd::Stopped { why, code, signal },
            Life::Running => match exit {
                Exit::Code(code) => TryEnd::Exited(code),
                Exit::Signal(signal) => TryEnd::Signaled(signal),
                Exit::Lost => TryEnd::Interrupted,
            },
            _ => return,
        };
        // The resources that it used are free for others.
        self.resume = None;
        b.succeeded = end == TryEnd::Exited(0);
        // No process of a stopped job may be left: it is swept even if nobody holds its log.
        let stopped = matches!(end, TryEnd::Stopped { .. });
        // Nor any of a job with tokens.
        let may_leave = b.succeeded && b.ticket.demand.uses.is_empty();
        b.life = if may_leave || (alone && !stopped) {
            Life::MustFinish(end)
        } else {
            Life::MustSweep(end)
        };
    }

    fn stopped(&mut self, id: &JobId, why: StopReason) {
        let Some(b) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut b.life {
            Life::Starting { stop } => *stop = Some(stop.map_or(why, |s| merged(s, why))),
            Life::Running => {
                b.life = Life::Stopping {
                    why,
                    term_at: None,
                    killed: false,
                }
            }
            Life::Stopping { why: earlier, .. } => *earlier = merged(*earlier, why),
            Life::Sweeping(end) if of_user(why) => {
                let outcome = end.outcome();
                let (code, signal) = (outcome.exit_code, outcome.signal);
                *end = TryEnd::Stopped { why, code, signal };
            }
            _ => {}
        }
    }

    fn committed(&mut self, id: &JobId, place: &CommittedTo, now: Now) {
        let Some(b) = self.jobs.get(id).filter(|b| b.ends()).cloned() else {
            return;
        };
        self.jobs.remove(id);
        self.resume = None;
        match place {
            CommittedTo::Pending(ticket) => {
                match &b.successor {
                    None => {
                        self.arrived(ticket, now);
                        let kept = b.holds_group && b.ticket.queue == ticket.queue;
                        if let Some(again) = self.jobs.get_mut(id) {
                            again.holds_group = kept && again.ticket.group.is_some();
                            again.passed = again.holds_group;
                        }
                    }
                    // Of two files of one name, the newer one counts.
                    Some(queue) if *queue != ticket.queue => {
                        self.expect_rejects
                            .insert((id.clone(), ticket.queue.clone()));
                    }
                    Some(_) => {}
                }
            }
            CommittedTo::Complete => self.parent_ended(id, true),
            CommittedTo::Failed => self.parent_ended(id, false),
            CommittedTo::Gone => {}
        }
        if let Some(queue) = b.successor {
            self.expect_readmits.insert((id.clone(), queue));
        }
    }

    fn parent_ended(&mut self, id: &JobId, complete: bool) {
        let seen = if complete {
            ParentState::Complete
        } else {
            ParentState::Failed
        };
        for parent in self.jobs.values_mut().flat_map(|b| &mut b.ticket.parents) {
            if parent.id == *id {
                parent.seen = seen;
            }
        }
    }
}
