//! Waiting jobs: arrival, withdrawal, and the gates before a slot.

use super::Scheduler;
use super::table::{Gate, Ix, Job, More, Rank};
use super::types::{Action, Need, Parent, ParentState, Rejection, Stage, Ticket};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Reason;
use crate::core::time::Now;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// Jobs that run one at a time, in order of age.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Those whose parents have ended.
    members: BTreeSet<(Rank, Ix)>,
    /// The one that holds the group: it keeps its place through retries.
    live: Option<Ix>,
}

/// What a job's parents say about it.
enum Parents {
    Ended,
    Open,
    Failed(JobId),
}

impl Scheduler {
    pub(super) fn arrived(&mut self, ticket: Ticket, now: Now, actions: &mut Vec<Action>) {
        if let Some(ix) = self.table.find(&ticket.id) {
            let Some(job) = self.table.get(ix) else {
                return;
            };
            let old_queue = self.queues.get(job.queue).name.clone();
            let same = job.stamp() == ticket.stamp && old_queue == ticket.queue;
            if let Some(live) = self.table.live_mut(ix) {
                if same && matches!(live.stage, Stage::Starting { .. }) {
                    // The very file that is being claimed, or was put back because it could not be started.
                    return;
                }
                let earlier = live.successor.replace(ticket.queue.clone());
                if let Some(earlier) = earlier.filter(|queue| *queue != ticket.queue) {
                    actions.push(superseded(ticket.id, earlier, &ticket.queue));
                }
                return;
            }
            if old_queue != ticket.queue {
                actions.push(superseded(ticket.id.clone(), old_queue, &ticket.queue));
            }
            self.forget(ix, now, actions);
        }
        if let Some(ring) = self.ring(&ticket) {
            let why = format!("after: these jobs wait for each other: {ring}");
            self.settle_children(&ticket.id, now, actions);
            actions.push(Action::Reject {
                id: ticket.id,
                queue: ticket.queue,
                why: Rejection::Ring {
                    inode: ticket.stamp.inode,
                    why,
                },
            });
            return;
        }
        let ix = self.admit(ticket, now);
        if !self.expire(ix, now, actions) {
            self.settle(ix, now, actions);
        }
    }

    /// Enters a ticket into the table, before the first gate.
    pub(super) fn admit(&mut self, ticket: Ticket, now: Now) -> Ix {
        let policy = &self.policy;
        let queue = self
            .queues
            .intern(&ticket.queue, || policy.of(&ticket.queue));
        let due = ticket.wait.map(|wait| now.boot.after(wait));
        let special = ticket.not_before.is_some()
            || due.is_some()
            || ticket.expires.is_some()
            || ticket.group.is_some()
            || !ticket.parents.is_empty();
        let mut job = Job::new(&ticket, queue);
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
        let Some(job) = self.table.get(ix) else {
            return ix;
        };
        if let Some(more) = &job.more {
            for parent in &more.parents {
                self.children
                    .entry(parent.id.clone())
                    .or_default()
                    .insert(ix);
            }
        }
        self.await_expiry(ix);
        ix
    }

    /// Sets the alarm for `expires`. To be set again when a job that was live waits once more.
    pub(super) fn await_expiry(&mut self, ix: Ix) {
        let Some(job) = self.table.get(ix) else {
            return;
        };
        if let Some(expires) = job.more.as_ref().and_then(|more| more.expires) {
            self.wall_timers
                .push(Reverse((expires, ix, job.generation)));
        }
    }

    pub(super) fn withdrawn(
        &mut self,
        id: &JobId,
        queue: &QueueName,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some(ix) = self.table.find(id) else {
            return;
        };
        if let Some(live) = self.table.live_mut(ix) {
            live.successor.take_if(|successor| successor == queue);
        } else if self.queue_of(ix) == Some(queue) {
            self.forget(ix, now, actions);
            self.settle_children(id, now, actions);
        }
    }

    /// Puts a waiting job before the first of its gates that is shut. A live one is left alone: it may be first
    /// of its group while its file is on the way to `failed/`.
    pub(super) fn settle(&mut self, ix: Ix, now: Now, actions: &mut Vec<Action>) {
        if self.table.get(ix).is_none_or(Job::is_live) {
            return;
        }
        self.queues.remove(ix, &mut self.table);
        let Some(job) = self.table.get(ix) else {
            return;
        };
        match self.parents_of(job) {
            Parents::Ended => {}
            Parents::Open => return self.table.wait_at(ix, Gate::Parents),
            Parents::Failed(parent) => {
                let error = format!("job {parent}, which this one comes after, failed");
                return self.fail_waiting(ix, Reason::Dependency, error, actions);
            }
        }
        self.pass_parents(ix);
        let Some(job) = self.table.get(ix) else {
            return;
        };
        let generation = job.generation;
        if let Some(name) = job.group() {
            let rank = job.rank();
            if !self.groups.contains_key(name) {
                self.groups.insert(name.into(), Group::default());
            }
            let Some(group) = self.groups.get_mut(name) else {
                return;
            };
            let newcomer = group.members.insert((rank, ix));
            let first = match group.live {
                Some(live) => live == ix,
                None => group.members.first().is_some_and(|(_, first)| *first == ix),
            };
            let displaced = group
                .members
                .iter()
                .nth(1)
                .map(|member| member.1)
                .filter(|_| newcomer && first);
            if let Some(displaced) = displaced.filter(|_| group.live.is_none()) {
                // An older job came late (its parents took longer): it goes first, the other steps back.
                self.step_back(displaced);
            }
            if !first {
                return self.table.wait_at(ix, Gate::Group);
            }
        }
        let more = self.table.get(ix).and_then(|job| job.more.as_ref());
        let due = more.and_then(|more| more.due).filter(|due| *due > now.boot);
        let not_before = more
            .and_then(|more| more.not_before)
            .filter(|date| *date > now.wall);
        if due.is_some() || not_before.is_some() {
            self.boot_timers
                .extend(due.map(|at| Reverse((at, ix, generation))));
            self.wall_timers
                .extend(not_before.map(|at| Reverse((at, ix, generation))));
            return self.table.wait_at(ix, Gate::Date);
        }
        self.queues.insert(ix, &mut self.table);
    }

    /// The parents' gate is passed once and for all. A job that went back to it for a parent that runs again would
    /// hold up its group meanwhile, and that parent may be of the same group.
    pub(super) fn pass_parents(&mut self, ix: Ix) {
        if let Some(more) = self.table.get_mut(ix).and_then(|job| job.more.as_mut()) {
            more.passed = true;
        }
    }

    /// Another of its group goes before this waiting job.
    fn step_back(&mut self, ix: Ix) {
        if self.table.get(ix).is_some_and(|job| !job.is_live()) {
            self.queues.remove(ix, &mut self.table);
            self.table.wait_at(ix, Gate::Group);
        }
    }

    /// The name of the queue that a job is of.
    pub(super) fn queue_of(&self, ix: Ix) -> Option<&QueueName> {
        Some(&self.queues.get(self.table.get(ix)?.queue).name)
    }

    /// The job holds its group from now on, through retries, until it is forgotten.
    pub(super) fn hold_group(&mut self, ix: Ix) {
        if let Some(name) = self.table.get(ix).and_then(|job| job.group())
            && let Some(group) = self.groups.get_mut(name)
        {
            group.live = Some(ix);
        }
    }

    /// As [`Self::hold_group`], for a job that was live before this scheduler was.
    pub(super) fn join_group_live(&mut self, ix: Ix, rank: Rank) {
        if let Some(name) = self.table.get(ix).and_then(|job| job.group()) {
            let group = self.groups.entry(name.into()).or_default();
            let first = group.members.first().map(|member| member.1);
            group.members.insert((rank, ix));
            group.live = Some(ix);
            if let Some(first) = first {
                self.step_back(first);
            }
        }
    }

    /// Drops every trace of a job and lets the next of its group come forward.
    pub(super) fn forget(&mut self, ix: Ix, now: Now, actions: &mut Vec<Action>) {
        self.queues.remove(ix, &mut self.table);
        let Some(job) = self.table.remove(ix) else {
            return;
        };
        let Some(more) = &job.more else { return };
        for parent in &more.parents {
            if let Some(children) = self.children.get_mut(&parent.id) {
                children.remove(&ix);
                if children.is_empty() {
                    self.children.remove(&parent.id);
                }
            }
        }
        let Some(name) = &more.group else { return };
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.members.remove(&(job.rank(), ix));
        group.live.take_if(|live| *live == ix);
        match group.members.first().map(|member| member.1) {
            Some(next) if group.live.is_none() => self.settle(next, now, actions),
            Some(_) => {}
            None => {
                self.groups.remove(name);
            }
        }
    }

    /// Fails a waiting job whose `expires` has passed. True if it did.
    pub(super) fn expire(&mut self, ix: Ix, now: Now, actions: &mut Vec<Action>) -> bool {
        let expires = self
            .table
            .get(ix)
            .and_then(|job| job.more.as_ref())
            .and_then(|more| more.expires);
        match expires {
            Some(date) if date <= now.wall => {
                self.queues.remove(ix, &mut self.table);
                self.fail_waiting(
                    ix,
                    Reason::Expired,
                    format!("not started by {date}"),
                    actions,
                );
                true
            }
            Some(_) | None => false,
        }
    }

    /// A job that others come after has ended.
    pub(super) fn parent_ended(
        &mut self,
        id: &JobId,
        complete: bool,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let seen = if complete {
            ParentState::Complete
        } else {
            ParentState::Failed
        };
        for ix in self.children_of(id) {
            let more = self.table.get_mut(ix).and_then(|job| job.more.as_mut());
            for parent in more
                .into_iter()
                .flat_map(|more| &mut more.parents)
                .filter(|parent| parent.id == *id)
            {
                parent.seen = seen;
            }
        }
        self.settle_children(id, now, actions);
    }

    /// A job that others come after is no longer known here: they go by what its directories say.
    pub(super) fn settle_children(&mut self, id: &JobId, now: Now, actions: &mut Vec<Action>) {
        for ix in self.children_of(id) {
            if self
                .table
                .get(ix)
                .is_some_and(|job| job.gate() == Some(Gate::Parents))
            {
                self.settle(ix, now, actions);
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
        for parent in job.more.iter().flat_map(|more| &more.parents) {
            match self.parent_state(parent) {
                ParentState::Complete => {}
                ParentState::Failed => match parent.need {
                    Need::Complete => return Parents::Failed(parent.id.clone()),
                    Need::End => {}
                },
                ParentState::Open => all_ended = false,
            }
        }
        if all_ended {
            Parents::Ended
        } else {
            Parents::Open
        }
    }

    /// A parent that is waiting or live is open, whatever an earlier run of it left behind.
    fn parent_state(&self, parent: &Parent) -> ParentState {
        if self.table.find(&parent.id).is_some() {
            ParentState::Open
        } else {
            parent.seen
        }
    }

    /// If the job would wait for itself: the ring, for people. Only a job that another already comes after can
    /// close one; each job on the way is looked at once.
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
                let job = self.table.find(parent).and_then(|ix| self.table.get(ix));
                if let Some(more) = job.and_then(|job| job.more.as_ref()) {
                    open.push((parent, &more.parents));
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

/// Of two waiting files of one name, the newer one counts.
pub(super) fn superseded(id: JobId, queue: QueueName, newer: &QueueName) -> Action {
    let why = Rejection::Newer(newer.clone());
    Action::Reject { id, queue, why }
}
