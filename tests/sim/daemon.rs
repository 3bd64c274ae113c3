//! The rest of the daemon, simulated: it turns changes of the world into events and performs the actions.

use crate::dice::Dice;
use crate::faults::{Fault, Subject};
use crate::invariants::{Checked, Checker};
use crate::world::{Notice, Proc, Task, World};
use pirn::core::id::JobId;
use pirn::core::process::{Exit, Stop};
use pirn::core::scheduler::{Action, Event};
use pirn::core::time::Boot;
use std::collections::BTreeMap;
use std::time::Duration;

/// The number of cases.
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
    pub with_units: u64,
    pub skipped: u64,
    pub warned: u64,
}

pub struct Sim {
    pub world: World,
    pub subject: Subject,
    pub checker: Checker,
    pub dice: Dice,
    pub stats: Stats,
    pub fault: Fault,
    pub trace: bool,
    /// The file from which each live job was started.
    pub ran: BTreeMap<JobId, u64>,
}

impl Sim {
    pub fn new(seed: u64, fault: Fault, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(1 + dice.index(3));
        world.noisy = dice.percent(30);
        let subject = Subject::new(world.policy(), seed, fault);
        let mut checker = Checker::new(world.policy());
        checker.fault = fault;
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
                id,
                queue,
                stamp,
                slot: _,
                units,
            } => {
                self.stats.starts += 1;
                self.stats.with_units += u64::from(!units.is_empty());
                self.world.tasks.push(Task::Start {
                    id,
                    queue,
                    stamp,
                    units,
                });
            }
            Action::Note { .. } => {}
            Action::Warn { id } => {
                self.stats.warned += 1;
                // The daemon may die between the signal and the note.
                if let Some(file) = self.world.active.get_mut(&id) {
                    file.warned = self.dice.percent(80);
                }
            }
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
            Action::EndUnrun {
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
            Action::Quarantine { id, queue, .. } => {
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

    /// The daemon's own inotify also sees its changes in `pending/`.
    pub fn own_move(&mut self, id: JobId, queue: pirn::core::id::QueueName) {
        if self.world.noisy {
            self.world.notices.push_back(Notice::Look { id, queue });
        }
    }

    /// The same as [`Self::own_move`], for files that the daemon puts into `complete/` and `failed/`.
    pub fn own_end(&mut self, id: &JobId, complete: bool) {
        if self.world.noisy {
            let id = id.clone();
            self.world
                .notices
                .push_back(Notice::ParentMoved { id, complete });
        }
    }

    /// Gives the scheduler the next inotify event.
    pub fn deliver_notice(&mut self) -> Checked {
        let Some(notice) = self.world.notices.pop_front() else {
            return Ok(());
        };
        let event = match notice {
            // The daemon reads the present state; the event may be out of date.
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

    /// Gives the scheduler the next answer of a runner or the committer.
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
        // Before the daemon believes that a file is where the committer put it, it reads all inotify events: otherwise
        // a user's `mv` of the earlier run would stop the next one.
        let moved = |n: &Notice| matches!(n, Notice::ActiveMoved { id: whose, .. } if *whose == id);
        while self.world.notices.iter().any(moved) {
            self.deliver_notice()?;
        }
        match self.world.mail.get_mut(&id).and_then(|m| m.pop_front()) {
            Some(event) => self.step(event),
            None => Ok(()),
        }
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
