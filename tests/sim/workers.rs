//! Runner and committer, simulated: they do their work in random order, and answer by mail.

use crate::daemon::Sim;
use crate::invariants::Checked;
use crate::world::{Proc, Task};
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{StopReason, TryEnd, Verdict};
use pirn::core::process::Exit;
use pirn::core::record::Reason;
use pirn::core::scheduler::{CommittedTo, Event, NotStarted, Stamp};
use pirn::core::tokens::Units;
use std::time::Duration;

impl Sim {
    /// Does one piece of the work of runner and committer.
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
            Task::Start {
                id,
                queue,
                stamp,
                units,
            } => {
                let answer = self.claim(&id, &queue, stamp, units)?;
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
                let file = if same {
                    self.world.pending.remove(&key)
                } else {
                    None
                };
                let place = match file {
                    Some(file) => {
                        let is_skipped = reason == Reason::Skipped;
                        self.stats.skipped += u64::from(is_skipped);
                        self.world.put_ended(&id, file, is_skipped, reason);
                        self.own_move(id.clone(), queue);
                        self.own_end(&id, is_skipped);
                        match is_skipped {
                            true => CommittedTo::Complete,
                            false => CommittedTo::Failed,
                        }
                    }
                    None => CommittedTo::Gone,
                };
                self.world.post(&id.clone(), Event::Committed { id, place });
            }
        }
        Ok(())
    }

    fn claim(
        &mut self,
        id: &JobId,
        queue: &QueueName,
        stamp: Stamp,
        units: Units,
    ) -> Result<Event, String> {
        let not_started = |why| {
            Ok(Event::NotStarted {
                id: id.clone(),
                why,
            })
        };
        let key = (queue.clone(), id.clone());
        let Some(file) = self.world.pending.get(&key) else {
            return not_started(NotStarted::Gone);
        };
        if file.stamp() != stamp {
            return not_started(NotStarted::Changed);
        }
        if self.world.procs.contains_key(id) || self.world.active.contains_key(id) {
            return not_started(NotStarted::Busy);
        }
        if self.dice.percent(6) {
            return not_started(NotStarted::Resources);
        }
        let mut file = file.clone();
        self.world.pending.remove(&key);
        self.own_move(id.clone(), queue.clone());
        file.attempt += 1;
        file.retry_at = None;
        file.units = units;
        file.warned = false;
        let (attempt, terms) = (file.attempt, Box::new(file.terms()));
        let spec = file.spec.clone();
        self.ran.insert(id.clone(), file.version);
        if spec.impossible {
            self.world.active.insert(id.clone(), file);
            return not_started(NotStarted::Impossible { attempt, terms });
        }
        file.spawned += 1;
        let (spawned, once, cut) = (file.spawned, spec.once, file.interruptions);
        let version = file.version;
        self.world.active.insert(id.clone(), file);
        let most = spec.tries + cut;
        if attempt > most || spawned > most || (once && spawned > 1) {
            return Err(format!(
                "try {attempt} of {id} (tries {}, interruptions {cut}, once {once})",
                spec.tries
            ));
        }
        if cut > 0 && cut >= spec.max_interruptions {
            return Err(format!("start of {id} after {cut} interruptions"));
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

    /// The committer: it exchanges the record in `active/`, then moves it; if a user moves the file, that move counts.
    fn commit(&mut self, id: JobId, end: TryEnd, verdict: Verdict, wait: Option<Duration>) {
        let version = self.ran.get(&id).copied().unwrap_or(0);
        if let Some(file) = self
            .world
            .active
            .get_mut(&id)
            .filter(|f| f.version == version)
        {
            file.retry_at = wait.map(|w| self.world.now.wall.after(w));
            if file.end.is_none() && cuts_off(end) {
                file.interruptions += 1;
            }
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
                CommittedTo::Pending(Box::new(self.world.ticket(&id, file)))
            }
            None if self
                .world
                .complete
                .get(&id)
                .is_some_and(|f| f.version == version) =>
            {
                CommittedTo::Complete
            }
            None if self
                .world
                .failed
                .get(&id)
                .is_some_and(|f| f.0.version == version) =>
            {
                CommittedTo::Failed
            }
            None => CommittedTo::Gone,
        };
        self.world.post(&id.clone(), Event::Committed { id, place });
    }

    /// Moves a file from `active/` to the place of its verdict.
    pub fn move_on(&mut self, id: &JobId, verdict: Verdict, reason: Reason) -> CommittedTo {
        let Some(mut file) = self.world.active.remove(id) else {
            return CommittedTo::Gone;
        };
        file.end = None;
        file.units.clear();
        self.stats.ended += 1;
        let taken = self
            .world
            .pending
            .contains_key(&(file.queue.clone(), id.clone()));
        match verdict {
            Verdict::Complete => {
                self.world.put_ended(id, file, true, reason);
                self.own_end(id, true);
                CommittedTo::Complete
            }
            Verdict::Retry | Verdict::Requeue if !taken => {
                let queue = file.queue.clone();
                let ticket = self.world.ticket(id, &file);
                self.world.put_pending(id, &queue, file);
                self.own_move(id.clone(), queue);
                CommittedTo::Pending(Box::new(ticket))
            }
            // A newer file of the name waits there already: this run was its last.
            Verdict::Retry | Verdict::Requeue | Verdict::Failed => {
                self.world.put_ended(id, file, false, reason);
                self.own_end(id, false);
                CommittedTo::Failed
            }
            Verdict::Forget => {
                self.world.retired.insert(file.version);
                CommittedTo::Gone
            }
        }
    }
}

/// True if neither the job nor a user ended it.
fn cuts_off(end: TryEnd) -> bool {
    match end {
        TryEnd::Interrupted
        | TryEnd::Stopped {
            why: StopReason::Shutdown,
            ..
        } => true,
        TryEnd::Exited(_) | TryEnd::Signaled(_) | TryEnd::NotStarted | TryEnd::Stopped { .. } => {
            false
        }
    }
}
