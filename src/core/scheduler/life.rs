//! Live jobs: from the slot to the commit.

use super::gates::superseded;
use super::live::{Course, Live, RunningTry, Stage};
use super::table::{Gate, Ix};
use super::types::{Action, CommittedTo, MovedTo, NotStarted, Slot, Ticket};
use super::{Mode, NOTE_AFTER, Scheduler, roll};
use crate::core::config::Terms;
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{StopReason, TryEnd, Verdict, verdict};
use crate::core::process::{Exit, Stop};
use crate::core::record::Reason;
use crate::core::time::Boot;
use crate::core::tokens::Units;
use std::time::Duration;

impl Scheduler {
    /// Gives a job a slot and asks for its start.
    pub(super) fn begin(&mut self, ix: Ix) {
        if self.expire(ix) {
            return;
        }
        let job = &self.table[ix];
        if job.not_before().is_some_and(|date| date > self.now.wall) {
            // The wall clock was set back while the job waited for a slot, so that its date is to come again.
            return self.settle(ix);
        }
        if let Some(name) = job.group() {
            self.groups.hold(name, ix);
        }
        let lane = &self.queues[job.lane];
        let queue = lane.queue;
        let units = self
            .tokens
            .take(ix, &lane.demand.uses, &self.policy.config.tokens);
        let slot = self.take_slot(ix);
        debug_assert!(self.queues.is_beside(queue) || self.slots.used() <= self.policy.slots);
        let stage = Stage::Starting { slot, stop: None };
        self.table.go_live(ix, Live::new(stage));
        self.queues.serve(queue);
        self.actions.push(Action::Start {
            id: self.table[ix].id.clone(),
            queue: self.queue_of(ix).clone(),
            stamp: self.table[ix].stamp(),
            slot,
            units,
        });
    }

    /// Takes the slots of a job, however many are taken.
    fn take_slot(&mut self, ix: Ix) -> Slot {
        let (queue, weight) = self.queues.weight_of(&self.table[ix]);
        let of_queue = self.queues[queue].busy.take(weight);
        let of_all = match self.queues.is_beside(queue) {
            true => of_queue,
            false => self.slots.take(weight),
        };
        Slot { of_all, of_queue }
    }

    /// Gives back the slots and the tokens of a job.
    fn free_slot(&mut self, ix: Ix, slot: Slot) {
        let (queue, weight) = self.queues.weight_of(&self.table[ix]);
        if !self.queues.is_beside(queue) {
            self.slots.free(slot.of_all, weight);
        }
        self.queues[queue].busy.free(slot.of_queue, weight);
        let uses = &self.queues[self.table[ix].lane].demand.uses;
        self.tokens.give_back(ix, uses);
    }

    pub(super) fn started(&mut self, id: &JobId, attempt: u32, terms: Box<Terms>) {
        self.shortages = 0;
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let Stage::Starting { slot, stop } = live.stage else {
            return;
        };
        let stage = self.run(ix, slot, attempt, terms, Duration::ZERO);
        self.table.set_stage(ix, stage);
        let killed = (self.mode == Mode::Killing).then_some(StopReason::Shutdown);
        if let Some(why) = stop.or(killed) {
            self.stop(id, why);
        }
    }

    /// The stage of a job whose program has run for `ran`. Sets its timers.
    fn run(&mut self, ix: Ix, slot: Slot, attempt: u32, terms: Box<Terms>, ran: Duration) -> Stage {
        let now = self.now.boot;
        let left = terms.timeout.map(|timeout| timeout.saturating_sub(ran));
        let timeout_at = left.map(|left| now.after(left));
        // Of an adopted job its time may have passed: then it comes at once.
        let warn_at = left.zip(terms.warn);
        let warn_at = warn_at.map(|(left, warn)| now.after(left.saturating_sub(warn.before)));
        let note_at = Some(now.after(NOTE_AFTER));
        let timer = self.table.reference(ix);
        for at in [timeout_at, warn_at, note_at].into_iter().flatten() {
            self.boot_timers.set(at, timer);
        }
        Stage::Running(RunningTry {
            slot,
            attempt,
            terms,
            course: Course::Free {
                timeout_at,
                warn_at,
                note_at,
            },
        })
    }

    pub(super) fn adopted(
        &mut self,
        ticket: Ticket,
        attempt: u32,
        terms: Box<Terms>,
        ran: Duration,
        units: Units,
    ) {
        // A newer file of the same name may have been seen first. It is looked at again when this job has ended.
        let newer = self.table.find(&ticket.id);
        let successor = newer.map(|newer| {
            let queue = self.queue_of(newer).clone();
            self.abandon(newer);
            self.forget(newer);
            queue
        });
        let ix = self.admit(ticket);
        let uses = &self.queues[self.table[ix].lane].demand.uses;
        self.tokens.take_over(ix, uses, units);
        let slot = self.take_slot(ix);
        let stage = self.run(ix, slot, attempt, terms, ran);
        self.table.go_live(ix, Live { stage, successor });
        self.pass_parents(ix);
        let job = &self.table[ix];
        if let Some(name) = job.group()
            && let Some(first) = self.groups.take_over(name, job.rank(), ix)
        {
            self.step_back(first);
        }
    }

    /// Frees the slot of a job that is to be forgotten, or takes it out of the count of ending jobs.
    fn abandon(&mut self, ix: Ix) {
        match self.table.live(ix).map(Live::slot) {
            Some(Some(slot)) => self.free_slot(ix, slot),
            Some(None) => self.ending -= 1,
            None => {}
        }
    }

    pub(super) fn not_started(&mut self, id: &JobId, why: NotStarted) {
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let Stage::Starting { slot, stop } = live.stage else {
            return;
        };
        let (is_busy, is_short) = match why {
            NotStarted::Gone | NotStarted::Changed => (false, false),
            NotStarted::Busy => (true, false),
            NotStarted::Resources => (false, true),
            NotStarted::Impossible { attempt, terms } => {
                let finish = finish(id, TryEnd::NotStarted, attempt, &terms, &mut self.dice);
                return self.finish(ix, slot, finish);
            }
        };
        let successor = live.successor.take();
        self.free_slot(ix, slot);
        self.careful |= is_short;
        // When several jobs of one round are not started, only the first makes the next pause longer.
        if is_short && self.resume_at.is_none() {
            let pause = Duration::from_millis(500 << self.shortages.min(6));
            self.resume_at = Some(self.now.boot.after(pause));
            self.shortages += 1;
        }
        let may_wait = is_busy || is_short;
        if may_wait && stop.is_none() && successor.is_none() {
            self.table.wait_at(ix, Gate::Date);
            if is_busy {
                let more = self.table[ix].more.get_or_insert_default();
                let pause = Duration::from_secs(1 << more.busy.min(5));
                more.due = Some(self.now.boot.after(pause));
                more.busy += 1;
            }
            self.await_expiry(ix);
            return self.settle(ix);
        }
        let old = self.queue_of(ix).clone();
        let queue = successor.unwrap_or_else(|| old.clone());
        if may_wait && queue != old {
            self.actions
                .push(superseded(id.clone(), old.clone(), &queue));
        }
        self.forget(ix);
        self.settle_children(id);
        if !may_wait && queue != old {
            // It may have been moved away and back meanwhile.
            self.readmit(id, old);
        }
        self.readmit(id, queue);
    }

    /// True if tokens are kept for this job until nothing of it lives.
    fn has_tokens(&self, id: &JobId) -> bool {
        let ix = self.table.find(id);
        ix.is_some_and(|ix| !self.queues[self.table[ix].lane].demand.uses.is_empty())
    }

    pub(super) fn ended(&mut self, id: &JobId, exit: Exit, alone: bool) {
        let has_tokens = self.has_tokens(id);
        let Some((_, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let Stage::Running(running) = &mut live.stage else {
            return;
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Lost => (None, None),
        };
        // A job that succeeded may leave a daemon behind, unless that might go on using the job's tokens. All processes
        // of a failed one must end before its next try, and all of a stopped one, even those that no longer hold its log.
        let (end, grace, is_over) = match running.course {
            Course::Stopping { why, kill_at } => {
                let end = TryEnd::Stopped { why, code, signal };
                let grace = kill_at.map(|at| at.since(self.now.boot));
                (end, grace.unwrap_or_default(), false)
            }
            Course::Free { .. } => {
                let end = match exit {
                    Exit::Code(code) => TryEnd::Exited(code),
                    Exit::Signal(signal) => TryEnd::Signaled(signal),
                    Exit::Lost => TryEnd::Interrupted,
                };
                (
                    end,
                    running.terms.grace,
                    alone || end.succeeded() && !has_tokens,
                )
            }
            Course::Sweeping { .. } => return,
        };
        // Its resources are free for other jobs now.
        self.resume_at = None;
        running.course = Course::Sweeping { end };
        match is_over {
            true => self.swept(id),
            false => self.actions.push(Action::Sweep {
                id: id.clone(),
                grace,
            }),
        }
    }

    pub(super) fn swept(&mut self, id: &JobId) {
        if let Some((ix, live)) = self.table.find_live_mut(id)
            && let Stage::Running(running) = &live.stage
            && let Course::Sweeping { end } = running.course
        {
            let (slot, attempt) = (running.slot, running.attempt);
            let finish = finish(id, end, attempt, &running.terms, &mut self.dice);
            self.finish(ix, slot, finish);
        }
    }

    /// Asks for the record of a try's end. Its slot is free from now on.
    fn finish(&mut self, ix: Ix, slot: Slot, finish: Action) {
        self.free_slot(ix, slot);
        self.table.set_stage(ix, Stage::Ending);
        self.ending += 1;
        self.actions.push(finish);
    }

    /// Ends a job that waits. It is live from now on, since its file is about to move.
    pub(super) fn end_unrun(&mut self, ix: Ix, reason: Reason, error: String) {
        self.table.go_live(ix, Live::new(Stage::Ending));
        self.ending += 1;
        self.actions.push(Action::EndUnrun {
            id: self.table[ix].id.clone(),
            queue: self.queue_of(ix).clone(),
            stamp: self.table[ix].stamp(),
            reason,
            error,
        });
    }

    pub(super) fn committed(&mut self, id: &JobId, place: CommittedTo) {
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let Stage::Ending = live.stage else {
            return;
        };
        let successor = live.successor.take();
        self.ending -= 1;
        // Writing its record took resources too.
        self.resume_at = None;
        match place {
            CommittedTo::Pending(ticket) => {
                let same_queue = *self.queue_of(ix) == ticket.queue;
                if self.table[ix].group().is_some() && same_queue && successor.is_none() {
                    return self.retry_in_group(ix, *ticket);
                }
                self.forget(ix);
                match &successor {
                    None => return self.arrived(*ticket),
                    Some(queue) if *queue != ticket.queue => {
                        self.actions
                            .push(superseded(ticket.id, ticket.queue, queue));
                    }
                    Some(_) => {}
                }
                self.settle_children(id);
            }
            CommittedTo::Complete | CommittedTo::Failed => {
                self.forget(ix);
                self.parent_ended(id, matches!(place, CommittedTo::Complete));
            }
            CommittedTo::Gone => {
                self.forget(ix);
                self.settle_children(id);
            }
        }
        if let Some(queue) = successor {
            self.readmit(id, queue);
        }
    }

    fn readmit(&mut self, id: &JobId, queue: QueueName) {
        let id = id.clone();
        self.actions.push(Action::Readmit { id, queue });
    }

    /// Lets a job wait for its next try. It keeps holding its group, so that the order of the group holds.
    fn retry_in_group(&mut self, ix: Ix, ticket: Ticket) {
        self.table.wait_at(ix, Gate::Date);
        let job = &mut self.table[ix];
        job.set_stamp(ticket.stamp);
        let more = job.more.get_or_insert_default();
        more.due = ticket.wait.map(|wait| self.now.boot.after(wait));
        more.not_before = ticket.not_before;
        self.await_expiry(ix);
        if !self.expire(ix) {
            self.settle(ix);
        }
    }

    pub(super) fn active_moved(&mut self, id: &JobId, to: MovedTo) {
        let why = match to {
            MovedTo::Pending => StopReason::Requeued,
            MovedTo::Ended => StopReason::Cancelled,
            MovedTo::Gone => StopReason::Forgotten,
        };
        self.stop(id, why);
    }

    /// Stops a live job, or changes the reason why it is being stopped.
    pub(super) fn stop(&mut self, id: &JobId, why: StopReason) {
        let Some((ix, live)) = self.table.find_live_mut(id) else {
            return;
        };
        let running = match &mut live.stage {
            Stage::Starting { stop, .. } => {
                *stop = Some(stop.map_or(why, |earlier| last_word(earlier, why)));
                return;
            }
            Stage::Running(running) => running,
            Stage::Ending => return,
        };
        match &mut running.course {
            Course::Free { .. } => {
                let at = self.now.boot.after(running.terms.grace);
                let kill_at = Some(at);
                running.course = Course::Stopping { why, kill_at };
                self.boot_timers.set(at, self.table.reference(ix));
                self.signal(id, Stop::Term);
            }
            Course::Stopping { why: earlier, .. } => *earlier = last_word(*earlier, why),
            Course::Sweeping { end } if is_users(why) => {
                let outcome = end.outcome();
                *end = TryEnd::Stopped {
                    why,
                    code: outcome.exit_code,
                    signal: outcome.signal,
                };
            }
            Course::Sweeping { .. } => {}
        }
    }

    fn signal(&mut self, id: &JobId, how: Stop) {
        let id = id.clone();
        self.actions.push(Action::Signal { id, how });
    }

    /// Writes the note of a running job, warns it, stops it at its timeout, or kills it, if that is due.
    pub(super) fn live_timer(&mut self, ix: Ix) {
        let id = self.table[ix].id.clone();
        let is_due = |at: &mut Boot| *at <= self.now.boot;
        let Some(live) = self.table.live_mut(ix) else {
            return;
        };
        let Stage::Running(running) = &mut live.stage else {
            return;
        };
        match &mut running.course {
            Course::Free {
                timeout_at,
                warn_at,
                note_at,
            } => {
                let is_late = timeout_at.is_some_and(|at| at <= self.now.boot);
                let is_warned = warn_at.take_if(is_due).is_some();
                if note_at.take_if(is_due).is_some() {
                    self.actions.push(Action::Note { id: id.clone() });
                }
                if is_late {
                    self.stop(&id, StopReason::Timeout);
                } else if is_warned {
                    self.actions.push(Action::Warn { id });
                }
            }
            Course::Stopping { kill_at, .. } => {
                if kill_at.take_if(is_due).is_some() {
                    self.signal(&id, Stop::Kill);
                }
            }
            Course::Sweeping { .. } => {}
        }
    }

    pub(super) fn shutdown(&mut self) {
        match self.mode {
            Mode::Open => self.mode = Mode::Closing,
            Mode::Closing => {
                self.mode = Mode::Killing;
                let live = self.table.iter().filter(|job| job.is_live());
                let live: Vec<JobId> = live.map(|job| job.id.clone()).collect();
                for id in live {
                    self.stop(&id, StopReason::Shutdown);
                }
            }
            Mode::Killing => {}
        }
    }
}

/// The action that records a try's end, with the verdict on the job.
fn finish(id: &JobId, end: TryEnd, attempt: u32, terms: &Terms, dice: &mut u64) -> Action {
    let dice = roll(dice);
    let verdict = verdict(end, attempt, &terms.retry);
    let wait = || {
        let used = terms.retry.used(attempt);
        terms.backoff.rule().wait(used, dice)
    };
    Action::Finish {
        id: id.clone(),
        end,
        verdict,
        wait: (verdict == Verdict::Retry).then(wait),
    }
}

fn is_users(why: StopReason) -> bool {
    match why {
        StopReason::Cancelled | StopReason::Forgotten | StopReason::Requeued => true,
        StopReason::Timeout | StopReason::LogLimit | StopReason::Shutdown => false,
    }
}

/// A user's reason replaces one that is not a user's, and an earlier one of a user.
fn last_word(earlier: StopReason, why: StopReason) -> StopReason {
    if is_users(why) { why } else { earlier }
}
