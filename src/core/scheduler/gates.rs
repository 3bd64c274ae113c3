//! Waiting jobs: arrival, withdrawal, and the gates before a slot.

use super::Scheduler;
use super::groups::Turn;
use super::live::Stage;
use super::table::{Gate, Ix, Job, More};
use super::types::{Action, Need, Parent, ParentState, QuarantineReason, Ticket};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Reason;
use std::collections::HashMap;

/// The parents of a job, taken together.
enum Parents {
    Ended,
    Open,
    /// This one has come to another end than it must.
    Otherwise(JobId, Need),
}

impl Scheduler {
    pub(super) fn arrived(&mut self, ticket: Ticket) {
        if let Some(ix) = self.table.find(&ticket.id) {
            let job = &self.table[ix];
            let old_queue = self.queue_of(ix).clone();
            let same = job.stamp() == ticket.stamp && old_queue == ticket.queue;
            if let Some(live) = self.table.live_mut(ix) {
                if same && matches!(live.stage, Stage::Starting { .. }) {
                    // This is the file that is being claimed, or was put back because the job could not be started.
                    return;
                }
                let earlier = live.successor.replace(ticket.queue.clone());
                if let Some(earlier) = earlier.filter(|queue| *queue != ticket.queue) {
                    self.actions
                        .push(superseded(ticket.id, earlier, &ticket.queue));
                }
                return;
            }
            if old_queue != ticket.queue {
                let id = ticket.id.clone();
                self.actions.push(superseded(id, old_queue, &ticket.queue));
            }
            self.forget(ix);
        }
        if let Some(ring) = self.ring(&ticket) {
            let why = format!("after: these jobs wait for each other: {ring}");
            self.settle_children(&ticket.id);
            self.actions.push(Action::Quarantine {
                id: ticket.id,
                queue: ticket.queue,
                why: QuarantineReason::Ring {
                    stamp: ticket.stamp,
                    why,
                },
            });
            return;
        }
        let ix = self.admit(ticket);
        if !self.expire(ix) {
            self.settle(ix);
        }
    }

    /// Enters a ticket into the table, before the first gate.
    pub(super) fn admit(&mut self, ticket: Ticket) -> Ix {
        let queue = self.queues.intern(&ticket.queue, &self.policy);
        let lane = self.queues.enter_lane(queue, &ticket.demand, &self.policy);
        let due = ticket.wait.map(|wait| self.now.boot.after(wait));
        let special = ticket.not_before.is_some()
            || due.is_some()
            || ticket.expires.is_some()
            || ticket.group.is_some()
            || !ticket.parents.is_empty();
        let mut job = Job::new(&ticket, lane);
        job.more = special.then(|| {
            Box::new(More {
                not_before: ticket.not_before,
                due,
                expires: ticket.expires,
                group: ticket.group,
                parents: ticket.parents,
                passed: false,
                busy: 0,
            })
        });
        let ix = self.table.insert(job);
        for parent in self.table[ix].parents() {
            let children = self.children.entry(parent.id.clone()).or_default();
            children.insert(ix);
        }
        self.await_expiry(ix);
        ix
    }

    /// Sets the timer for `expires`: when a job arrives, and when one that was live waits again.
    pub(super) fn await_expiry(&mut self, ix: Ix) {
        if let Some(expires) = self.table[ix].expires() {
            self.wall_timers.set(expires, self.table.reference(ix));
        }
    }

    pub(super) fn withdrawn(&mut self, id: &JobId, queue: &QueueName) {
        let Some(ix) = self.table.find(id) else {
            return;
        };
        if let Some(live) = self.table.live_mut(ix) {
            live.successor.take_if(|successor| successor == queue);
        } else if self.queue_of(ix) == queue {
            self.forget(ix);
            self.settle_children(id);
        }
    }

    /// Puts a waiting job before the first of its gates that is shut. A live job stays as it is: it may be first of its
    /// group while its file is on the way to `failed/`.
    pub(super) fn settle(&mut self, ix: Ix) {
        if self.table[ix].is_live() {
            return;
        }
        self.queues.remove(ix, &mut self.table);
        match self.parents_of(&self.table[ix]) {
            Parents::Ended => {}
            Parents::Open => return self.table.wait_at(ix, Gate::Parents),
            Parents::Otherwise(parent, Need::Fail) => {
                let error = format!("job {parent} completed, and this one is for its failure");
                return self.end_unrun(ix, Reason::Skipped, error);
            }
            Parents::Otherwise(parent, Need::Complete | Need::End) => {
                let error = format!("job {parent}, which this one comes after, failed");
                return self.end_unrun(ix, Reason::Dependency, error);
            }
        }
        self.pass_parents(ix);
        let job = &self.table[ix];
        if let Some(name) = job.group() {
            match self.groups.enter(name, job.rank(), ix) {
                Turn::Now { displaced } => displaced.into_iter().for_each(|ix| self.step_back(ix)),
                Turn::Later => return self.table.wait_at(ix, Gate::Group),
            }
        }
        let (job, timer) = (&self.table[ix], self.table.reference(ix));
        let due = job.due().filter(|due| *due > self.now.boot);
        let not_before = job.not_before().filter(|date| *date > self.now.wall);
        if let Some(at) = due {
            self.boot_timers.set(at, timer);
        }
        if let Some(at) = not_before {
            self.wall_timers.set(at, timer);
        }
        match due.is_some() || not_before.is_some() {
            true => self.table.wait_at(ix, Gate::Date),
            false => self.queues.insert(ix, &mut self.table),
        }
    }

    /// The parents' gate is passed once and for all. A job that went back to it for a parent that runs again would
    /// hold up its group meanwhile, and that parent may be of the same group.
    pub(super) fn pass_parents(&mut self, ix: Ix) {
        if let Some(more) = &mut self.table[ix].more {
            more.passed = true;
        }
    }

    /// If this job waits, it waits for another one of its group.
    pub(super) fn step_back(&mut self, ix: Ix) {
        if !self.table[ix].is_live() {
            self.queues.remove(ix, &mut self.table);
            self.table.wait_at(ix, Gate::Group);
        }
    }

    /// The name of a job's queue.
    pub(super) fn queue_of(&self, ix: Ix) -> &QueueName {
        self.queues.name_of(&self.table[ix])
    }

    /// Removes a job. The next job of its group may go on.
    pub(super) fn forget(&mut self, ix: Ix) {
        self.queues.remove(ix, &mut self.table);
        let job = self.table.remove(ix);
        self.queues.leave_lane(job.lane);
        for parent in job.parents() {
            if let Some(children) = self.children.get_mut(&parent.id) {
                children.remove(&ix);
                if children.is_empty() {
                    self.children.remove(&parent.id);
                }
            }
        }
        if let Some(name) = job.group()
            && let Some(next) = self.groups.leave(name, job.rank(), ix)
        {
            self.settle(next);
        }
    }

    /// Fails a waiting job whose `expires` has passed. True if it did.
    pub(super) fn expire(&mut self, ix: Ix) -> bool {
        let passed = |date: &_| *date <= self.now.wall;
        let Some(date) = self.table[ix].expires().filter(passed) else {
            return false;
        };
        self.queues.remove(ix, &mut self.table);
        self.end_unrun(ix, Reason::Expired, format!("not started by {date}"));
        true
    }

    /// A job that others come after has ended.
    pub(super) fn parent_ended(&mut self, id: &JobId, complete: bool) {
        let seen = match complete {
            true => ParentState::Complete,
            false => ParentState::Failed,
        };
        for ix in self.children_of(id) {
            let parents = self.table[ix].more.iter_mut().flat_map(|m| &mut m.parents);
            for parent in parents.filter(|parent| parent.id == *id) {
                parent.seen = seen;
            }
        }
        self.settle_children(id);
    }

    /// A job that others come after is no longer known, so that now its state by the directories counts.
    pub(super) fn settle_children(&mut self, id: &JobId) {
        for ix in self.children_of(id) {
            if self.table[ix].gate() == Some(Gate::Parents) {
                self.settle(ix);
            }
        }
    }

    fn children_of(&self, id: &JobId) -> Vec<Ix> {
        let children = self.children.get(id);
        let mut children: Vec<Ix> = children.into_iter().flatten().copied().collect();
        children.sort_unstable();
        children
    }

    fn parents_of(&self, job: &Job) -> Parents {
        if job.more.as_ref().is_none_or(|more| more.passed) {
            return Parents::Ended;
        }
        let mut all_ended = true;
        for parent in job.parents() {
            match (self.parent_state(parent), parent.need) {
                (ParentState::Open, _) => all_ended = false,
                (ParentState::Complete, Need::Complete | Need::End)
                | (ParentState::Failed, Need::Fail | Need::End) => {}
                (ParentState::Complete, need @ Need::Fail)
                | (ParentState::Failed, need @ Need::Complete) => {
                    return Parents::Otherwise(parent.id.clone(), need);
                }
            }
        }
        match all_ended {
            true => Parents::Ended,
            false => Parents::Open,
        }
    }

    /// A parent that is waiting or live is open, whatever an earlier run of it left behind.
    fn parent_state(&self, parent: &Parent) -> ParentState {
        match self.table.find(&parent.id) {
            Some(_) => ParentState::Open,
            None => parent.seen,
        }
    }

    /// The ring of jobs, for people, if the job would wait for itself. Only a job that another already comes after can
    /// close a ring. Each job on the way is looked at once.
    fn ring(&self, ticket: &Ticket) -> Option<String> {
        let own = &ticket.id;
        let to_itself = ticket.parents.iter().any(|parent| parent.id == *own);
        if !to_itself && !self.children.contains_key(own) {
            return None;
        }
        let mut child_of: HashMap<&JobId, &JobId> = HashMap::new();
        let mut open: Vec<(&JobId, &[Parent])> = vec![(own, &ticket.parents)];
        while let Some((child, parents)) = open.pop() {
            for parent in parents.iter().map(|parent| &parent.id) {
                if child_of.contains_key(parent) {
                    continue;
                }
                child_of.insert(parent, child);
                if parent == own {
                    return Some(draw_ring(own, &child_of));
                }
                if let Some(ix) = self.table.find(parent) {
                    open.push((parent, self.table[ix].parents()));
                }
            }
        }
        None
    }
}

/// `a -> b -> a`: each waits for the next.
fn draw_ring(own: &JobId, child_of: &HashMap<&JobId, &JobId>) -> String {
    let mut words = vec![own.as_str()];
    let mut at = own;
    while let Some(child) = child_of.get(at) {
        words.push(child.as_str());
        at = child;
        if at == own {
            break;
        }
    }
    words.reverse();
    words.join(" -> ")
}

/// Two files of one name wait: the older one is moved to `bad/`.
pub(super) fn superseded(id: JobId, queue: QueueName, newer: &QueueName) -> Action {
    let why = QuarantineReason::Newer(newer.clone());
    Action::Quarantine { id, queue, why }
}
