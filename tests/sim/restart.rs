//! The daemon dies at any moment, and the next one starts from the files.

use crate::daemon::Sim;
use crate::faults::Subject;
use crate::invariants::{Checked, Checker};
use crate::world::Proc;
use pirn::core::id::JobId;
use pirn::core::policy::{TryEnd, verdict};
use pirn::core::process::Exit;
use pirn::core::record::Reason;
use pirn::core::scheduler::Event;
use pirn::core::tokens::Units;
use std::time::Duration;

impl Sim {
    /// The daemon dies and another takes over, as DESIGN section 4 describes.
    pub fn restart(&mut self) -> Checked {
        self.stats.crashes += 1;
        if self.trace {
            println!("      !! restart");
        }
        self.world.tasks.clear();
        self.world.mail.clear();
        self.world.notices.clear();
        self.world.unread.clear();
        let policy = self.world.policy();
        let seed = self.dice.roll();
        self.subject = Subject::new(policy.clone(), seed, self.fault);
        self.checker = Checker::new(policy);
        self.checker.fault = self.fault;
        if self.dice.percent(50) {
            let down = self.dice.below(30_000);
            self.world.advance(Duration::from_millis(down));
            self.world.mail.clear();
        }
        let ids: Vec<JobId> = self.world.active.keys().cloned().collect();
        let mut alive = Vec::new();
        let as_events = self.dice.percent(50);
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
                // The daemon may judge the dead itself, or tell the scheduler as if they had just died.
                (None, false) if as_events => alive.push(id),
                (None, false) => {
                    let verdict = verdict(TryEnd::Interrupted, file.attempt, &file.terms().retry);
                    if let Some(file) = self.world.active.get_mut(&id) {
                        file.interruptions += 1;
                    }
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
            // A file that fails on arrival must not meet an active job of its name: see `Sim::restart`.
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
        let mut live = false;
        let own = |p: &&mut Proc| p.version == file.version;
        if let Some(p) = self.world.procs.get_mut(id).filter(own) {
            live = true;
            p.orphan = false;
            p.sweeping = false;
            p.lock_only = p.leader.is_none();
            ran = now.since(p.started);
        }
        self.ran.insert(id.clone(), file.version);
        // Some notes are lost, so that nobody knows which units the job has.
        let units = match self.dice.percent(20) {
            true => Units::new(),
            false => file.units.clone(),
        };
        let mut ticket = self.world.ticket(id, &file);
        ticket.wait = None;
        self.step(Event::Adopted {
            ticket: Box::new(ticket),
            attempt: file.attempt,
            terms: Box::new(file.terms()),
            ran,
            units,
        })?;
        if !live {
            let exit = Exit::Lost;
            let id = id.clone();
            self.step(Event::Ended {
                id,
                exit,
                alone: true,
            })?;
        }
        Ok(())
    }
}
