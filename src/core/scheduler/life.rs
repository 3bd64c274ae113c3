//! Live jobs: from the slot to the commit.

use super::gates::superseded;
use super::queues::take_lowest;
use super::table::{Gate, Ix, Live};
use super::types::{Action, CommittedTo, MovedTo, Refusal, Slot, Stage, Ticket};
use super::{Mode, NOTE_AFTER, Scheduler};
use crate::core::config::Terms;
use crate::core::id::JobId;
use crate::core::policy::{StopReason, TryEnd, Verdict, verdict};
use crate::core::process::{Exit, Stop};
use crate::core::record::Reason;
use crate::core::time::Now;
use std::cmp::Reverse;
use std::time::Duration;

impl Scheduler {
    /// Gives a job its slot and asks for its start.
    pub(super) fn begin(&mut self, ix: Ix, now: Now, actions: &mut Vec<Action>) {
        if self.expire(ix, now, actions) {
            return;
        }
        if self.is_early(ix, now) {
            return self.settle(ix, now, actions);
        }
        self.hold_group(ix);
        let Some(slot) = self.take_slot(ix, Stage::Starting { stop: None }) else {
            return;
        };
        let Some(job) = self.table.get(ix) else {
            return;
        };
        self.queues.serve(job.queue);
        let queue = self.queues.get(job.queue);
        actions.push(Action::Start {
            id: job.id.clone(),
            queue: queue.name.clone(),
            stamp: job.stamp(),
            slot,
        });
    }

    /// The wall clock was set back while the job waited for a slot: its date is to come again.
    fn is_early(&self, ix: Ix, now: Now) -> bool {
        let more = self.table.get(ix).and_then(|job| job.more.as_ref());
        more.and_then(|more| more.not_before)
            .is_some_and(|date| date > now.wall)
    }

    /// Makes the job live in this stage, in a slot.
    fn take_slot(&mut self, ix: Ix, stage: Stage) -> Option<Slot> {
        let queue = self.table.get(ix)?.queue;
        let of_queue = self.queues.get_mut(queue).take_slot();
        let of_all = match self.queues.is_beside(queue) {
            true => of_queue,
            false => take_lowest(&mut self.slots),
        };
        let slot = Slot { of_all, of_queue };
        self.table.go_live(ix, Live::new(stage, Some(slot)));
        Some(slot)
    }

    fn free_slot(&mut self, ix: Ix) {
        let queue = self.table.get(ix).map(|job| job.queue);
        let slot = self.table.live_mut(ix).and_then(|live| live.slot.take());
        if let (Some(queue), Some(slot)) = (queue, slot) {
            if !self.queues.is_beside(queue) {
                self.slots.remove(&slot.of_all);
            }
            self.queues.get_mut(queue).free_slot(slot.of_queue);
        }
    }

    pub(super) fn started(
        &mut self,
        id: &JobId,
        attempt: u32,
        terms: Box<Terms>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        self.shortages = 0;
        let Some(ix) = self.table.find(id) else {
            return;
        };
        self.run(ix, attempt, terms, Duration::ZERO, now);
        let pending_stop = match self.table.live_mut(ix) {
            Some(live) => match live.stage {
                Stage::Starting { stop } => {
                    live.stage = Stage::Running;
                    stop
                }
                Stage::Running
                | Stage::Stopping { .. }
                | Stage::Sweeping { .. }
                | Stage::Ending => None,
            },
            None => None,
        };
        let told_to_kill = (self.mode == Mode::Killing).then_some(StopReason::Shutdown);
        if let Some(why) = pending_stop.or(told_to_kill) {
            self.stop(id, why, now, actions);
        }
    }

    /// Sets the clocks of a job that has run for `ran` already.
    fn run(&mut self, ix: Ix, attempt: u32, terms: Box<Terms>, ran: Duration, now: Now) {
        let Some(generation) = self.table.get(ix).map(|job| job.generation) else {
            return;
        };
        let Some(live) = self.table.live_mut(ix) else {
            return;
        };
        live.attempt = attempt;
        live.deadline = terms
            .timeout
            .map(|timeout| now.boot.after(timeout.saturating_sub(ran)));
        live.note_at = Some(now.boot.after(NOTE_AFTER));
        live.terms = Some(terms);
        let timers = [live.deadline, live.note_at].into_iter().flatten();
        self.boot_timers
            .extend(timers.map(|at| Reverse((at, ix, generation))));
    }

    pub(super) fn adopted(
        &mut self,
        ticket: Ticket,
        attempt: u32,
        terms: Box<Terms>,
        ran: Duration,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        if let Some(old) = self.table.find(&ticket.id) {
            // A newer file of the same name was seen first: it waits for this one, and is looked at again then.
            let queue = self.queue_of(old).cloned();
            self.abandon(old);
            self.forget(old, now, actions);
            let ix = self.adopt(ticket, now);
            if let Some(live) = self.table.live_mut(ix) {
                live.successor = queue;
            }
            return self.run(ix, attempt, terms, ran, now);
        }
        let ix = self.adopt(ticket, now);
        self.run(ix, attempt, terms, ran, now);
    }

    /// Takes a job that is to be forgotten out of the figures, however far it is.
    fn abandon(&mut self, ix: Ix) {
        self.free_slot(ix);
        let stage = self.table.live(ix).map(|live| live.stage);
        if stage == Some(Stage::Ending) {
            self.ending -= 1;
        }
    }

    fn adopt(&mut self, ticket: Ticket, now: Now) -> Ix {
        let ix = self.admit(ticket, now);
        self.take_slot(ix, Stage::Running);
        if let Some(job) = self.table.get(ix) {
            let rank = job.rank();
            self.pass_parents(ix);
            self.join_group_live(ix, rank);
        }
        ix
    }

    pub(super) fn refused(
        &mut self,
        id: &JobId,
        why: Refusal,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let stopped = match live.stage {
            Stage::Starting { stop } => stop,
            Stage::Running | Stage::Stopping { .. } | Stage::Sweeping { .. } | Stage::Ending => {
                return;
            }
        };
        let successor = live.successor.take();
        self.free_slot(ix);
        if why == Refusal::Resources {
            let pause = Duration::from_millis(500 << self.shortages.min(6));
            // Of several refusals of one round, the first counts.
            if self.resume_at.is_none() {
                self.resume_at = Some(now.boot.after(pause));
                self.shortages += 1;
            }
        }
        match why {
            Refusal::Busy | Refusal::Resources if stopped.is_none() && successor.is_none() => {
                self.table.wait_at(ix, Gate::Date);
                let Some(job) = self.table.get_mut(ix) else {
                    return;
                };
                if why == Refusal::Busy {
                    let more = job.more.get_or_insert_default();
                    more.due = Some(now.boot.after(Duration::from_secs(1 << more.busy.min(5))));
                    more.busy += 1;
                }
                self.await_expiry(ix);
                self.settle(ix, now, actions);
            }
            Refusal::Gone | Refusal::Changed | Refusal::Busy | Refusal::Resources => {
                let Some(old) = self.queue_of(ix).cloned() else {
                    return;
                };
                let queue = successor.unwrap_or_else(|| old.clone());
                if queue != old && matches!(why, Refusal::Busy | Refusal::Resources) {
                    actions.push(superseded(id.clone(), old, &queue));
                }
                self.forget(ix, now, actions);
                self.settle_children(id, now, actions);
                actions.push(Action::Readmit {
                    id: id.clone(),
                    queue,
                });
            }
            Refusal::Impossible { attempt, terms } => {
                if let Some(live) = self.table.live_mut(ix) {
                    live.attempt = attempt;
                    live.terms = Some(terms);
                    live.successor = successor;
                }
                self.finish(ix, TryEnd::NotStarted, actions);
            }
        }
    }

    pub(super) fn ended(
        &mut self,
        id: &JobId,
        exit: Exit,
        alone: bool,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some((ix, live)) = self.table.find_live(id) else {
            return;
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Lost => (None, None),
        };
        let end = match live.stage {
            Stage::Stopping { why } => TryEnd::Stopped { why, code, signal },
            Stage::Starting { .. } | Stage::Running => match exit {
                Exit::Code(code) => TryEnd::Exited(code),
                Exit::Signal(signal) => TryEnd::Signaled(signal),
                Exit::Lost => TryEnd::Interrupted,
            },
            Stage::Sweeping { .. } | Stage::Ending => return,
        };
        // What it used is free for others now.
        self.resume_at = None;
        // A job that did well may leave a daemon behind; one that did not must be gone before its next try; and of
        // one that was stopped nothing may be left at all, not even what let go of the log.
        let stopped = matches!(end, TryEnd::Stopped { .. });
        if end.succeeded() || (alone && !stopped) {
            return self.finish(ix, end, actions);
        }
        let grace = match (live.stage, live.deadline) {
            (Stage::Stopping { .. }, Some(kill_at)) => kill_at.since(now.boot),
            (Stage::Stopping { .. }, None) => Duration::ZERO,
            (_, _) => live
                .terms
                .as_ref()
                .map_or(Duration::ZERO, |terms| terms.grace),
        };
        if let Some(live) = self.table.live_mut(ix) {
            live.stage = Stage::Sweeping { end };
        }
        actions.push(Action::Sweep {
            id: id.clone(),
            grace,
        });
    }

    pub(super) fn swept(&mut self, id: &JobId, actions: &mut Vec<Action>) {
        let live = self.table.find_live(id);
        if let Some((ix, Stage::Sweeping { end })) = live.map(|(ix, live)| (ix, live.stage)) {
            self.finish(ix, end, actions);
        }
    }

    fn finish(&mut self, ix: Ix, end: TryEnd, actions: &mut Vec<Action>) {
        self.free_slot(ix);
        let dice = self.roll();
        let Some(id) = self.table.get(ix).map(|job| job.id.clone()) else {
            return;
        };
        let Some(live) = self.table.live_mut(ix) else {
            return;
        };
        live.stage = Stage::Ending;
        self.ending += 1;
        let (verdict, wait) = match &live.terms {
            Some(terms) => {
                let verdict = verdict(end, live.attempt, &terms.retry);
                let used = terms.retry.used(live.attempt);
                let wait =
                    (verdict == Verdict::Retry).then(|| terms.backoff.rule().wait(used, dice));
                (verdict, wait)
            }
            None => (Verdict::Failed, None),
        };
        actions.push(Action::Finish {
            id,
            end,
            verdict,
            wait,
        });
    }

    /// Fails a job that waits. It is live from here on: its file is about to move.
    pub(super) fn fail_waiting(
        &mut self,
        ix: Ix,
        reason: Reason,
        error: String,
        actions: &mut Vec<Action>,
    ) {
        self.table.go_live(ix, Live::new(Stage::Ending, None));
        let Some(job) = self.table.get(ix) else {
            return;
        };
        self.ending += 1;
        let queue = self.queues.get(job.queue).name.clone();
        actions.push(Action::Fail {
            id: job.id.clone(),
            queue,
            stamp: job.stamp(),
            reason,
            error,
        });
    }

    pub(super) fn committed(
        &mut self,
        id: &JobId,
        place: CommittedTo,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        if live.stage != Stage::Ending {
            return;
        }
        let successor = live.successor.take();
        self.ending -= 1;
        match place {
            CommittedTo::Pending(ticket) => {
                let holds = self.table.get(ix).is_some_and(|job| {
                    job.group().is_some() && self.queues.get(job.queue).name == ticket.queue
                });
                if holds && successor.is_none() {
                    return self.retry_in_group(ix, *ticket, now, actions);
                }
                self.forget(ix, now, actions);
                match &successor {
                    None => return self.arrived(*ticket, now, actions),
                    Some(queue) if *queue != ticket.queue => {
                        actions.push(superseded(ticket.id, ticket.queue, queue));
                    }
                    Some(_) => {}
                }
                self.settle_children(id, now, actions);
            }
            CommittedTo::Complete | CommittedTo::Failed => {
                self.forget(ix, now, actions);
                self.parent_ended(id, matches!(place, CommittedTo::Complete), now, actions);
            }
            CommittedTo::Gone => {
                self.forget(ix, now, actions);
                self.settle_children(id, now, actions);
            }
        }
        if let Some(queue) = successor {
            actions.push(Action::Readmit {
                id: id.clone(),
                queue,
            });
        }
    }

    /// The next try of a grouped job: it keeps the group, so that the order of the group holds.
    fn retry_in_group(&mut self, ix: Ix, ticket: Ticket, now: Now, actions: &mut Vec<Action>) {
        self.table.wait_at(ix, Gate::Date);
        let Some(job) = self.table.get_mut(ix) else {
            return;
        };
        job.set_stamp(ticket.stamp);
        let more = job.more.get_or_insert_default();
        more.due = ticket.wait.map(|wait| now.boot.after(wait));
        more.not_before = ticket.not_before;
        self.await_expiry(ix);
        if !self.expire(ix, now, actions) {
            self.settle(ix, now, actions);
        }
    }

    pub(super) fn active_moved(
        &mut self,
        id: &JobId,
        to: MovedTo,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let why = match to {
            MovedTo::Pending => StopReason::Requeued,
            MovedTo::Ended => StopReason::Cancelled,
            MovedTo::Gone => StopReason::Forgotten,
        };
        self.stop(id, why, now, actions);
    }

    /// Begins to end a live job, or changes why it is being ended.
    pub(super) fn stop(
        &mut self,
        id: &JobId,
        why: StopReason,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some(ix) = self.table.find(id) else {
            return;
        };
        let Some(generation) = self.table.get(ix).map(|job| job.generation) else {
            return;
        };
        let Some(live) = self.table.live_mut(ix) else {
            return;
        };
        match live.stage {
            Stage::Starting { stop } => {
                let why = stop.map_or(why, |earlier| last_word(earlier, why));
                live.stage = Stage::Starting { stop: Some(why) };
            }
            Stage::Running => {
                let grace = live
                    .terms
                    .as_ref()
                    .map_or(Duration::ZERO, |terms| terms.grace);
                let kill_at = now.boot.after(grace);
                live.stage = Stage::Stopping { why };
                live.deadline = Some(kill_at);
                self.boot_timers.push(Reverse((kill_at, ix, generation)));
                actions.push(Action::Signal {
                    id: id.clone(),
                    how: Stop::Term,
                });
            }
            Stage::Stopping { why: earlier } => {
                let why = last_word(earlier, why);
                live.stage = Stage::Stopping { why };
            }
            Stage::Sweeping { end } => {
                let outcome = end.outcome();
                if is_users(why) {
                    let end = TryEnd::Stopped {
                        why,
                        code: outcome.exit_code,
                        signal: outcome.signal,
                    };
                    live.stage = Stage::Sweeping { end };
                }
            }
            Stage::Ending => {}
        }
    }

    pub(super) fn live_timer(&mut self, ix: Ix, now: Now, actions: &mut Vec<Action>) {
        let Some(id) = self.table.get(ix).map(|job| job.id.clone()) else {
            return;
        };
        let Some(live) = self.table.live_mut(ix) else {
            return;
        };
        let note_due = live.note_at.is_some_and(|at| at <= now.boot);
        let deadline_due = live.deadline.is_some_and(|at| at <= now.boot);
        match live.stage {
            Stage::Running => {
                if note_due {
                    live.note_at = None;
                    actions.push(Action::Note { id: id.clone() });
                }
                if deadline_due {
                    self.stop(&id, StopReason::Timeout, now, actions);
                }
            }
            Stage::Stopping { .. } if deadline_due => {
                live.deadline = None;
                actions.push(Action::Signal {
                    id,
                    how: Stop::Kill,
                });
            }
            Stage::Stopping { .. }
            | Stage::Starting { .. }
            | Stage::Sweeping { .. }
            | Stage::Ending => {}
        }
    }

    pub(super) fn shutdown(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.mode {
            Mode::Open => self.mode = Mode::Closing,
            Mode::Closing => {
                self.mode = Mode::Killing;
                let live: Vec<JobId> = self
                    .table
                    .iter()
                    .filter(|job| job.is_live())
                    .map(|job| job.id.clone())
                    .collect();
                for id in live {
                    self.stop(&id, StopReason::Shutdown, now, actions);
                }
            }
            Mode::Killing => {}
        }
    }
}

fn is_users(why: StopReason) -> bool {
    match why {
        StopReason::Cancelled | StopReason::Forgotten | StopReason::Requeued => true,
        StopReason::Timeout | StopReason::LogLimit | StopReason::Shutdown => false,
    }
}

/// The user's word counts over a timeout's, and the last one of the user's.
fn last_word(earlier: StopReason, why: StopReason) -> StopReason {
    if is_users(why) { why } else { earlier }
}
