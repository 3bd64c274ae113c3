//! The rest of the daemon, simulated: it turns what happens in the world into events and does what it is told.

use crate::dice::Dice;
use crate::faults::{Fault, Subject};
use crate::invariants::{Checked, Checker};
use crate::world::{Notice, Proc, Task, World};
use pirn::core::id::JobId;
use pirn::core::policy::{TryEnd, Verdict, verdict};
use pirn::core::record::Reason;
use pirn::core::scheduler::{Action, Event, Exit, Place, Refusal, Stop};
use pirn::core::time::Boot;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much was tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    pub histories: u64,
    pub events: u64,
    pub starts: u64,
    pub crashes: u64,
    pub ended: u64,
    pub rejected: u64,
    pub shutdowns: u64,
    pub adopted: u64,
    pub in_vain: u64,
}

pub struct Sim {
    pub world: World,
    pub subject: Subject,
    pub checker: Checker,
    pub dice: Dice,
    pub stats: Stats,
    pub fault: Fault,
    pub trace: bool,
    /// Which file each live job was started from.
    ran: BTreeMap<JobId, u64>,
}

impl Sim {
    pub fn new(seed: u64, fault: Fault, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(1 + dice.index(3));
        world.noisy = dice.percent(30);
        let subject = Subject::new(world.policy(), seed, fault);
        let checker = Checker::new(world.policy());
        Self {
            world,
            subject,
            checker,
            dice,
            stats: Stats::default(),
            fault,
            trace,
            ran: BTreeMap::new(),
        }
    }

    /// One step of the scheduler, judged.
    pub fn step(&mut self, event: Event) -> Checked {
        self.stats.events += 1;
        let now = self.world.now;
        let mut actions = Vec::new();
        self.subject.step(&event, now, &mut actions);
        if self.trace {
            println!("[{} {}] {event:?}", now.boot.0 / 1_000_000, now.wall);
            for action in &actions {
                println!("      -> {action:?}");
            }
        }
        self.checker.hear(&event, now);
        for action in &actions {
            self.checker.judge(action, now, &self.world.procs)?;
            self.obey(action);
        }
        self.checker.settled(&self.subject, now)
    }

    fn obey(&mut self, action: &Action) {
        let now = self.world.now.boot;
        match action.clone() {
            Action::Start {
                id, queue, stamp, ..
            } => {
                self.stats.starts += 1;
                self.world.tasks.push(Task::Start { id, queue, stamp });
            }
            Action::Note { .. } => {}
            Action::Signal { id, how } => {
                let delay = Duration::from_millis(self.dice.below(2_000));
                if let Some(p) = self.world.procs.get_mut(&id) {
                    signal(p, how, now, delay);
                }
            }
            Action::Sweep { id, grace } => {
                let delay = Duration::from_millis(self.dice.below(1_000)).min(grace);
                match self.world.procs.get_mut(&id).filter(|p| p.leader.is_none()) {
                    Some(p) => {
                        let by = now.after(if p.obeys { delay } else { grace });
                        p.rest = p.rest.map(|at| at.min(by));
                        p.sweeping = true;
                        p.orphan = false;
                    }
                    None => self.world.post(&id.clone(), Event::Swept { id }),
                }
            }
            Action::Finish {
                id,
                end,
                verdict,
                wait,
            } => {
                self.world.tasks.push(Task::Finish {
                    id,
                    end,
                    verdict,
                    wait,
                });
            }
            Action::Fail {
                id, queue, reason, ..
            } => {
                let version = self.checker.jobs.get(&id).map(|b| b.ticket.stamp.inode);
                self.world.tasks.push(Task::Fail {
                    id,
                    queue,
                    version,
                    reason,
                });
            }
            Action::Reject { id, queue, .. } => {
                self.stats.rejected += 1;
                if let Some(file) = self.world.pending.remove(&(queue.clone(), id.clone())) {
                    self.world.bad.push(file);
                    self.own_move(id, queue);
                }
            }
            Action::Readmit { id, queue } => {
                self.world.notices.push_back(Notice::Look { id, queue })
            }
        }
    }

    /// What the daemon does to `pending/` is seen by its own inotify too.
    fn own_move(&mut self, id: JobId, queue: pirn::core::id::QueueName) {
        if self.world.noisy {
            self.world.notices.push_back(Notice::Look { id, queue });
        }
    }

    /// Hands the scheduler what inotify has to say next.
    pub fn deliver_notice(&mut self) -> Checked {
        let Some(notice) = self.world.notices.pop_front() else {
            return Ok(());
        };
        let event = match notice {
            // The daemon goes by what is there now, not by what the notice says of a moment past.
            Notice::Look { id, queue } => {
                match self.world.pending.get(&(queue.clone(), id.clone())) {
                    None => Event::Withdrawn { id, queue },
                    Some(f) if self.subject.scheduler.waiting(&id, &queue) == Some(f.stamp()) => {
                        return Ok(());
                    }
                    Some(file) => Event::Arrived(Box::new(self.world.ticket(&id, file))),
                }
            }
            Notice::ActiveMoved { id, to } => Event::ActiveMoved { id, to },
            Notice::ParentMoved { id, complete } => Event::ParentMoved { id, complete },
        };
        self.step(event)
    }

    /// Hands the scheduler the next answer of a runner or the committer.
    pub fn deliver_mail(&mut self) -> Checked {
        let full: Vec<JobId> = self
            .world
            .mail
            .iter()
            .filter(|(_, m)| !m.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        if full.is_empty() {
            return Ok(());
        }
        let id = self.dice.pick(&full).clone();
        // Before the daemon believes that a file is where the committer left it, it hears inotify out: else a
        // user's `mv` of the run before would stop the next one.
        let moved = |n: &Notice| matches!(n, Notice::ActiveMoved { id: whose, .. } if *whose == id);
        while self.world.notices.iter().any(moved) {
            self.deliver_notice()?;
        }
        match self.world.mail.get_mut(&id).and_then(|m| m.pop_front()) {
            Some(event) => self.step(event),
            None => Ok(()),
        }
    }

    /// Does one of the things that runner and committer were given.
    pub fn perform(&mut self) -> Checked {
        if self.world.tasks.is_empty() {
            return Ok(());
        }
        let at = self.dice.index(self.world.tasks.len());
        let task = self.world.tasks.swap_remove(at);
        if self.trace {
            println!("      .. {task:?}");
        }
        match task {
            Task::Start { id, queue, stamp } => {
                let answer = self.claim(&id, &queue, stamp)?;
                self.world.post(&id, answer);
            }
            Task::Finish {
                id,
                end,
                verdict,
                wait,
            } => self.commit(id, end, verdict, wait),
            Task::Fail {
                id,
                queue,
                version,
                reason,
            } => {
                let key = (queue.clone(), id.clone());
                let same = self
                    .world
                    .pending
                    .get(&key)
                    .is_some_and(|f| Some(f.version) == version);
                let place = match self.world.pending.remove(&key).filter(|_| same) {
                    Some(file) => {
                        self.world.put_ended(&id, file, false, reason);
                        self.own_move(id.clone(), queue);
                        Place::Failed
                    }
                    None => Place::Gone,
                };
                self.world.post(&id.clone(), Event::Committed { id, place });
            }
        }
        Ok(())
    }

    fn claim(
        &mut self,
        id: &JobId,
        queue: &pirn::core::id::QueueName,
        stamp: pirn::core::scheduler::Stamp,
    ) -> Result<Event, String> {
        let refused = |why| {
            Ok(Event::Refused {
                id: id.clone(),
                why,
            })
        };
        let key = (queue.clone(), id.clone());
        let Some(file) = self.world.pending.get(&key) else {
            return refused(Refusal::Gone);
        };
        if file.stamp() != stamp {
            return refused(Refusal::Changed);
        }
        if self.world.procs.contains_key(id) || self.world.active.contains_key(id) {
            return refused(Refusal::Busy);
        }
        if self.dice.percent(6) {
            return refused(Refusal::Resources);
        }
        let mut file = file.clone();
        self.world.pending.remove(&key);
        self.own_move(id.clone(), queue.clone());
        file.attempt += 1;
        file.retry_at = None;
        let (attempt, terms) = (file.attempt, Box::new(file.spec.terms()));
        let spec = file.spec.clone();
        self.ran.insert(id.clone(), file.version);
        if spec.impossible {
            self.world.active.insert(id.clone(), file);
            return refused(Refusal::Impossible { attempt, terms });
        }
        file.spawned += 1;
        let (spawned, once) = (file.spawned, spec.once);
        let version = file.version;
        self.world.active.insert(id.clone(), file);
        if attempt > spec.tries || spawned > spec.tries || (once && spawned > 1) {
            return Err(format!(
                "try {attempt} of {id} (tries {}, once {once})",
                spec.tries
            ));
        }
        let now = self.world.now.boot;
        let exit = match (self.dice.percent(spec.luck), self.dice.below(4)) {
            (true, _) => Exit::Code(0),
            (false, 0) => Exit::Code(100),
            (false, 1) => Exit::Signal(11),
            (false, _) => Exit::Code(1),
        };
        let ends = now.after(Duration::from_millis(self.dice.below(spec.length)));
        let lingers = Duration::from_millis(self.dice.below(20_000));
        let proc = Proc {
            version,
            started: now,
            leader: Some((ends, exit)),
            rest: spec.leaves.then(|| ends.after(lingers)),
            obeys: spec.obeys,
            orphan: false,
            lock_only: false,
            sweeping: false,
        };
        self.world.procs.insert(id.clone(), proc);
        Ok(Event::Started {
            id: id.clone(),
            attempt,
            terms,
        })
    }

    /// The committer: the record over `active/`, then the move; the user's own move is the truth.
    fn commit(&mut self, id: JobId, end: TryEnd, verdict: Verdict, wait: Option<Duration>) {
        let version = self.ran.get(&id).copied().unwrap_or(0);
        if let Some(file) = self
            .world
            .active
            .get_mut(&id)
            .filter(|f| f.version == version)
        {
            file.retry_at = wait.map(|w| self.world.now.wall.after(w));
            if file.end.is_none() && self.dice.percent(25) {
                file.end = Some(verdict);
                self.world.tasks.push(Task::Finish {
                    id,
                    end,
                    verdict,
                    wait,
                });
                return;
            }
            let place = self.move_on(&id, verdict, end.outcome().reason);
            self.world.post(&id.clone(), Event::Committed { id, place });
            return;
        }
        let place = match self.world.file_of_version(&id, version) {
            Some(queue) => {
                let file = &self.world.pending[&(queue, id.clone())];
                Place::Pending(Box::new(self.world.ticket(&id, file)))
            }
            None if self
                .world
                .complete
                .get(&id)
                .is_some_and(|f| f.version == version) =>
            {
                Place::Complete
            }
            None if self
                .world
                .failed
                .get(&id)
                .is_some_and(|f| f.0.version == version) =>
            {
                Place::Failed
            }
            None => Place::Gone,
        };
        self.world.post(&id.clone(), Event::Committed { id, place });
    }

    /// From `active/` to where the verdict says.
    pub fn move_on(&mut self, id: &JobId, verdict: Verdict, reason: Reason) -> Place {
        let Some(mut file) = self.world.active.remove(id) else {
            return Place::Gone;
        };
        file.end = None;
        self.stats.ended += 1;
        let taken = self
            .world
            .pending
            .contains_key(&(file.queue.clone(), id.clone()));
        match verdict {
            Verdict::Complete => {
                self.world.put_ended(id, file, true, reason);
                Place::Complete
            }
            Verdict::Retry | Verdict::Requeue if !taken => {
                let queue = file.queue.clone();
                let ticket = self.world.ticket(id, &file);
                self.world.put_pending(id, &queue, file);
                self.own_move(id.clone(), queue);
                Place::Pending(Box::new(ticket))
            }
            // A newer file of the name waits there already: this run was its last.
            Verdict::Retry | Verdict::Requeue | Verdict::Failed => {
                self.world.put_ended(id, file, false, reason);
                Place::Failed
            }
            Verdict::Forget => Place::Gone,
        }
    }

    /// The daemon dies and another takes over, as DESIGN section 4 has it.
    pub fn restart(&mut self) -> Checked {
        self.stats.crashes += 1;
        if self.trace {
            println!("      !! restart");
        }
        self.world.tasks.clear();
        self.world.mail.clear();
        self.world.notices.clear();
        let policy = self.world.policy();
        let seed = self.dice.roll();
        self.subject = Subject::new(policy.clone(), seed, self.fault);
        self.checker = Checker::new(policy);
        if self.dice.percent(50) {
            let down = self.dice.below(30_000);
            self.world.advance(Duration::from_millis(down));
            self.world.mail.clear();
        }
        let ids: Vec<JobId> = self.world.active.keys().cloned().collect();
        let mut alive = Vec::new();
        for id in ids {
            let file = self.world.active[&id].clone();
            let live = self
                .world
                .procs
                .get(&id)
                .is_some_and(|p| p.version == file.version);
            match (file.end, live) {
                (Some(verdict), _) => {
                    self.move_on(&id, verdict, Reason::Exited);
                }
                (None, true) => alive.push(id),
                (None, false) => {
                    let verdict =
                        verdict(TryEnd::Interrupted, file.attempt, &file.spec.terms().retry);
                    self.move_on(&id, verdict, Reason::Interrupted);
                }
            }
        }
        self.world.notices.clear();
        for p in self.world.procs.values_mut() {
            p.orphan = true;
        }
        let queue_first = self.dice.percent(30);
        if queue_first || self.world.held {
            self.step(Event::Hold)?;
        }
        if queue_first {
            self.scan_pending(&alive)?;
        }
        for id in alive {
            self.adopt(&id)?;
        }
        self.scan_pending(&[])?;
        if queue_first && !self.world.held {
            self.step(Event::Release)?;
        }
        Ok(())
    }

    fn scan_pending(&mut self, not_yet: &[JobId]) -> Checked {
        let mut keys: Vec<_> = self.world.pending.keys().cloned().collect();
        while !keys.is_empty() {
            let (queue, id) = keys.swap_remove(self.dice.index(keys.len()));
            let Some(file) = self.world.pending.get(&(queue.clone(), id.clone())) else {
                continue;
            };
            // What fails on arrival must not meet an active job of its name: see `Sim::restart`.
            let fails = file.spec.expires.is_some() || !file.spec.parents.is_empty();
            let known = self.subject.scheduler.waiting(&id, &queue) == Some(file.stamp());
            if known || (fails && not_yet.contains(&id)) {
                continue;
            }
            let ticket = self.world.ticket(&id, file);
            self.step(Event::Arrived(Box::new(ticket)))?;
        }
        Ok(())
    }

    fn adopt(&mut self, id: &JobId) -> Checked {
        self.stats.adopted += 1;
        let file = self.world.active[id].clone();
        let now = self.world.now.boot;
        let mut ran = Duration::ZERO;
        if let Some(p) = self.world.procs.get_mut(id) {
            p.orphan = false;
            p.sweeping = false;
            p.lock_only = p.leader.is_none();
            ran = now.since(p.started);
        }
        self.ran.insert(id.clone(), file.version);
        let mut ticket = self.world.ticket(id, &file);
        ticket.wait = None;
        self.step(Event::Adopted {
            ticket: Box::new(ticket),
            attempt: file.attempt,
            terms: Box::new(file.spec.terms()),
            ran,
        })
    }
}

fn signal(p: &mut Proc, how: Stop, now: Boot, delay: Duration) {
    let (at, exit) = match how {
        Stop::Term if p.obeys => (now.after(delay), Exit::Signal(15)),
        Stop::Term => return,
        Stop::Kill => (now, Exit::Signal(9)),
    };
    match &mut p.leader {
        Some(leader) if leader.0 > at => *leader = (at, exit),
        Some(_) => {}
        None => p.rest = p.rest.map(|rest| rest.min(at)),
    }
}
