//! One random history: users, clocks, crashes and the daemon's own work in random order; then calm, and a final check.

use crate::daemon::{Sim, Stats};
use crate::faults::Fault;
use crate::invariants::Checked;
use crate::job::{NAMES, QUEUES, TOKENS, id, queue, token};
use pirn::core::config::QueueConfig;
use pirn::core::config::pauses::Pauses;
use pirn::core::scheduler::Event;
use pirn::core::time::Wall;
use pirn::core::tokens::Supply;
use std::time::Duration;

const DAY: i64 = 86_400_000_000_000;

/// A broken promise, and where to find it again.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub what: String,
}

/// Runs the history that `seed` stands for.
pub fn live(seed: u64, fault: Fault, trace: bool) -> Result<Stats, Broken> {
    let mut sim = Sim::new(seed, fault, trace);
    let told = |what| Broken { seed, what };
    let length = 30 + sim.dice.below(170);
    let mut history = || -> Checked {
        for _ in 0..length {
            sim.turn()?;
        }
        sim.calm()?;
        sim.reckon()
    };
    history().map_err(told)?;
    sim.stats.histories = 1;
    Ok(sim.stats)
}

impl Sim {
    fn turn(&mut self) -> Checked {
        self.world.reap();
        match self.dice.below(100) {
            0..22 => self.deliver_notice(),
            22..44 => self.deliver_mail(),
            44..62 => self.perform(),
            62..74 => self.pass_time(),
            74..93 => {
                self.user();
                Ok(())
            }
            93..96 => self.configure(),
            96 => self.clock_jumps(),
            97 if self.dice.percent(50) => self.find_or_read(),
            97 => {
                self.world.held = !self.world.held;
                self.step(if self.world.held {
                    Event::Hold
                } else {
                    Event::Release
                })
            }
            98 if self.dice.percent(40) => self.shut_down(),
            98 => self.log_full(),
            _ if self.dice.percent(70) => self.restart(),
            _ => Ok(()),
        }
    }

    /// The daemon begins to read a queue's directory for the first time, or has read one.
    fn find_or_read(&mut self) -> Checked {
        if let Some(queue) = self.world.unread.pop_first() {
            return self.step(Event::Read(queue));
        }
        let queue = self.any_queue();
        self.world.unread.insert(queue.clone());
        self.step(Event::Found(queue))
    }

    /// Goes to the next moment at which something happens, or part of the way.
    fn pass_time(&mut self) -> Checked {
        let Some(span) = self.next_moment() else {
            return Ok(());
        };
        if self.dice.percent(25) {
            let share = self.dice.below(1_000) as u32;
            self.world.advance(span / 1_000 * share);
            return Ok(());
        }
        self.world.advance(span);
        self.tick_if_due()
    }

    fn next_moment(&self) -> Option<Duration> {
        let now = self.world.now;
        let (boot, wall) = self.subject.next_wake();
        let spans = [
            boot.map(|at| at.since(now.boot)),
            wall.map(|at| at.since(now.wall)),
            self.world.next_end().map(|at| at.since(now.boot)),
        ];
        spans.into_iter().flatten().min()
    }

    fn tick_if_due(&mut self) -> Checked {
        let now = self.world.now;
        let (boot, wall) = self.subject.next_wake();
        if boot.is_some_and(|at| at <= now.boot) || wall.is_some_and(|at| at <= now.wall) {
            self.step(Event::Tick)?;
        }
        Ok(())
    }

    /// The wall clock is set, or the machine sleeps; either wakes the daemon (timerfd_create(2), CANCEL_ON_SET).
    fn clock_jumps(&mut self) -> Checked {
        let jump = match self.dice.below(5) {
            0 => 3_650 * DAY,
            1 => -DAY,
            2 => -3_650 * DAY,
            3 => (self.dice.below(120) as i64 - 60) * 1_000_000_000,
            _ => {
                self.world.advance(Duration::from_secs(8 * 3_600));
                0
            }
        };
        self.world.now.wall = Wall(self.world.now.wall.0 + jump);
        self.step(Event::Tick)
    }

    fn configure(&mut self) -> Checked {
        let config = &mut self.world.config;
        config.paused = self.dice.percent(5);
        self.world.pauses.all = self.dice.percent(5);
        for name in QUEUES {
            let settings = QueueConfig {
                slots: self.dice.percent(40).then(|| self.dice.index(3)),
                paused: self.dice.percent(20),
                ..QueueConfig::default()
            };
            config.queues.insert(queue(name), settings);
            let pauses = &mut self.world.pauses.queues;
            match self.dice.percent(10) {
                true => pauses.insert(queue(name)),
                false => pauses.remove(&queue(name)),
            };
        }
        self.world.slots = self.dice.index(5);
        self.configure_tokens();
        self.world.only = match self.dice.below(4) {
            0 => vec!["ma*".to_owned(), "web".to_owned()],
            _ => Vec::new(),
        };
        let policy = self.world.policy();
        self.step(Event::Configured(Box::new(policy)))
    }

    /// Units of a list come and go one by one, and a list may become a number.
    fn configure_tokens(&mut self) {
        for name in TOKENS {
            let mut listed = vec!["0", "1", "2", "x"];
            listed.retain(|_| self.dice.percent(70));
            let listed = listed.into_iter().map(Into::into).collect();
            let supply = match self.dice.percent(if name == "gpu" { 80 } else { 20 }) {
                true => Supply::Listed(listed),
                false => Supply::Count(self.dice.index(5)),
            };
            self.world.config.tokens.insert(token(name), supply);
        }
    }

    fn shut_down(&mut self) -> Checked {
        self.stats.shutdowns += 1;
        self.step(Event::Shutdown)?;
        if self.dice.percent(50) {
            self.step(Event::Shutdown)?;
        }
        if self.dice.percent(30) {
            self.wind_down()?;
            self.restart()?;
        }
        Ok(())
    }

    fn log_full(&mut self) -> Checked {
        let id = id(NAMES[self.dice.index(NAMES.len())]);
        if self
            .world
            .procs
            .get(&id)
            .is_some_and(|p| p.leader.is_some())
        {
            self.step(Event::LogFull { id })?;
        }
        Ok(())
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("      ** {}", what());
        }
    }

    /// All work under way is completed and reported, and time passes, until no further event comes.
    fn wind_down(&mut self) -> Checked {
        for _ in 0..20_000 {
            self.world.reap();
            let mail = self.world.mail.values().any(|m| !m.is_empty());
            if !self.world.notices.is_empty() {
                self.deliver_notice()?;
            } else if mail {
                self.deliver_mail()?;
            } else if !self.world.tasks.is_empty() {
                self.perform()?;
            } else if let Some(span) = self.next_moment() {
                self.world.advance(span);
                self.tick_if_due()?;
            } else {
                return Ok(());
            }
        }
        Err("no calm: the world goes round in circles".to_owned())
    }

    /// Nobody interferes any more, and all pauses end.
    fn calm(&mut self) -> Checked {
        if self.checker.shutdowns > 0 {
            self.wind_down()?;
            if !self.subject.scheduler.is_quiet() {
                return Err("shut down, but not quiet".to_owned());
            }
            self.restart()?;
        }
        self.world.config.paused = false;
        self.world.config.queues.clear();
        self.world.pauses = Pauses::default();
        self.world.only.clear();
        // All that was asked for can be had.
        self.world.slots = 3;
        let units = ["x", "y", "z"].map(Into::into).to_vec();
        let tokens = &mut self.world.config.tokens;
        tokens.insert(token("gpu"), Supply::Listed(units));
        tokens.insert(token("licence"), Supply::Count(3));
        let policy = self.world.policy();
        self.step(Event::Configured(Box::new(policy)))?;
        while let Some(queue) = self.world.unread.pop_first() {
            self.step(Event::Read(queue))?;
        }
        self.world.held = false;
        self.step(Event::Release)?;
        self.wind_down()
    }

    /// Every job that was accepted and not removed has ended.
    fn reckon(&mut self) -> Checked {
        if !self.subject.scheduler.is_drained() {
            return Err("calm, but not drained".to_owned());
        }
        if let Some(version) = self.world.vanished() {
            return Err(format!("vanished: file {version}"));
        }
        if let Some(id) = self.world.active.keys().next() {
            return Err(format!("lost: active/{id} was left behind"));
        }
        for (queue, id) in self.world.pending.keys() {
            if !self.world.waits_in_vain(id, NAMES.len()) {
                return Err(format!("lost: pending/{queue}/{id} was left behind"));
            }
            if !self.subject.scheduler.knows(id) {
                return Err(format!("lost: pending/{queue}/{id} is not known"));
            }
            self.stats.in_vain += 1;
        }
        Ok(())
    }
}
