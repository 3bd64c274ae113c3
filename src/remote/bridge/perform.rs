//! Doing what the table of leases asks for.

use super::BridgeError;
use super::decide::Decider;
use super::look::{Looked, look};
use crate::core::config::remote::AckWhen;
use crate::core::id::JobId;
use crate::core::lease::{LeaseAction, LeaseEvent, Sighting, Telling};
use crate::core::record::State;
use crate::os::clock;
use std::collections::VecDeque;
use std::io;

impl Decider<'_> {
    /// Counts a refused message (0) or a lost lease (1).
    pub(super) fn count(&mut self, which: usize) {
        if let Some(count) = self.counts.get_mut(which) {
            *count += 1;
        }
        let [refused, lost] = self.counts;
        let text = format!("{{\"refused\": {refused}, \"lost\": {lost}}}\n");
        if let Err(e) = self.dir.store_counts(&text) {
            log::warn!("{}: counts: {e}", self.plan.name);
        }
    }

    pub(super) fn step(&mut self, event: LeaseEvent) -> Result<(), BridgeError> {
        let todo = self.table.step(event, clock::now());
        self.step_all(todo.into())
    }

    pub(super) fn step_all(&mut self, mut todo: VecDeque<LeaseAction>) -> Result<(), BridgeError> {
        while let Some(action) = todo.pop_front() {
            if let Some(event) = self.perform(action)? {
                // Events that an action causes are taken in before the next action.
                for action in self.table.step(event, clock::now()).into_iter().rev() {
                    todo.push_front(action);
                }
            }
        }
        Ok(())
    }

    /// Does one thing. Gives the event that it led to.
    fn perform(&mut self, action: LeaseAction) -> Result<Option<LeaseEvent>, BridgeError> {
        Ok(match action {
            LeaseAction::Stage(id) => Some(self.stage(id)?),
            LeaseAction::Drop(id) => Some(self.drop_staged(id)),
            LeaseAction::Store(id) => {
                if let Some(lease) = self.table.lease(&id) {
                    let stored = self.dir.store(&id, &lease.to_json(None));
                    self.done(&id, "writing its lease", stored);
                }
                None
            }
            LeaseAction::Look(id) => {
                self.look_at(&id)?;
                None
            }
            LeaseAction::Withdraw(id) => {
                let withdrawn = self.spool.withdraw(&id);
                let done = match withdrawn {
                    Ok(done) => done,
                    Err(e) => self.done(&id, "withdrawing it", Err(e)),
                };
                Some(LeaseEvent::Withdrawn(id, done))
            }
            LeaseAction::Cancel(id) => {
                let cancelled = self.spool.cancel(&id).map(drop);
                self.done(&id, "ending it", cancelled);
                None
            }
            LeaseAction::Call(call) => {
                self.calls_under_way += 1;
                let _ = self.caller.send(call);
                None
            }
            LeaseAction::Remove(id) => {
                self.records.remove(&id);
                let removed = self.dir.remove(&id);
                self.done(&id, "removing its lease", removed);
                None
            }
            LeaseAction::Tell(id, telling) => {
                self.tell(&id, telling);
                None
            }
        })
    }

    /// True if records must survive a power cut: the messages are acknowledged before their jobs have ended, and the
    /// engine does not hand them out again.
    fn needs_durable(&self) -> bool {
        self.plan.config.ack == AckWhen::Accepted
    }

    /// Stages the record of a job, with its lease. Errors: the directory of the bridge is gone.
    fn stage(&self, id: JobId) -> Result<LeaseEvent, BridgeError> {
        let (Some(record), Some(lease)) = (self.records.get(&id), self.table.lease(&id)) else {
            return Ok(LeaseEvent::Dropped(id, false));
        };
        let lease = lease.to_json(None);
        let staged = self.dir.stage(&id, record, &lease, self.needs_durable());
        if staged
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            let what = format!("remote/{} was removed; start again", self.plan.name);
            return Err(io::Error::new(io::ErrorKind::NotFound, what).into());
        }
        let done = self.done(&id, "staging it", staged);
        Ok(LeaseEvent::Staged(id, done))
    }

    /// Moves the staged record of a job into `pending/`.
    fn drop_staged(&mut self, id: JobId) -> LeaseEvent {
        let queue = &self.plan.config.queue;
        let durable = self.needs_durable();
        let dropped = self.spool.drop_staged(self.dir, &id, queue, durable);
        let done = self.done(&id, "dropping it", dropped);
        if done {
            self.records.remove(&id);
            self.spool_room = self.spool_room.saturating_sub(1);
        }
        LeaseEvent::Dropped(id, done)
    }

    /// Looks where the job of a lease is, and does what follows. The observer learns of an end here, with the record.
    pub(super) fn look_at(&mut self, id: &JobId) -> Result<(), BridgeError> {
        let Some(lease) = self.table.lease(id) else {
            return Ok(());
        };
        let Looked { sighting, record } = match look(self.spool, &self.config, id, lease) {
            Ok(looked) => looked,
            Err(e) => {
                // The next look round tries again.
                log::error!("{}: {id}: {e}", self.plan.name);
                return Ok(());
            }
        };
        let state = match sighting {
            Sighting::Well => Some(State::Complete),
            Sighting::Badly(_) => Some(State::Failed),
            Sighting::Waiting | Sighting::Running | Sighting::Nowhere => None,
        };
        let event = LeaseEvent::Seen(id.clone(), sighting);
        let todo = self.table.step(event, clock::now());
        let tells_end = |action: &LeaseAction| matches!(action, LeaseAction::Tell(other, Telling::Ended(_)) if other == id);
        if let Some(state) = state
            && todo.iter().any(tells_end)
        {
            self.observer.ended(id, state, record.as_ref());
        }
        self.step_all(todo.into())
    }

    fn done(&self, id: &JobId, what: &str, result: io::Result<()>) -> bool {
        if let Err(e) = &result {
            log::error!("{}: {id}: {what}: {e}", self.plan.name);
        }
        result.is_ok()
    }

    fn tell(&mut self, id: &JobId, telling: Telling) {
        let name = &self.plan.name;
        match telling {
            Telling::Started => self.observer.started(id),
            Telling::Extended { after, lease } => {
                log::debug!("{name}: {id}: the lease has {} s again", lease.as_secs());
                self.observer.extended(id, after, lease);
            }
            // Told with the record.
            Telling::Ended(_) => {}
            Telling::Acked => {
                log::debug!("{name}: {id}: acknowledged");
                self.observer.acked(id);
            }
            Telling::GivenBack => {
                log::info!("{name}: {id}: given back");
                // It can be received again, or the next receive moves it to the failed queue.
                self.grants.go_on();
                self.observer.given_back(id);
            }
            Telling::Lost(why) => {
                log::warn!("{name}: {id}: the lease is lost: {why}; others may run the job too");
                self.observer.lost(id, &why);
                self.count(1);
            }
        }
    }
}
