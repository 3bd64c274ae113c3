//! Taking in a message that has come.

use super::decide::Decider;
use super::look::look_for_new;
use super::{BridgeError, judge};
use crate::core::id::JobId;
use crate::core::lease::{Lease, LeaseEvent, Sighting};
use crate::core::time::{Now, Wall};
use crate::os::clock;
use crate::remote::engine::{Message, RemoteQueue};
use crate::spool::LeaseDir;

impl Decider<'_> {
    /// Makes a job of a message, unless it is one already. `asked`: when the call began that brought it.
    pub(super) fn receive(
        &mut self,
        queue: &RemoteQueue,
        asked: Now,
        message: Message,
    ) -> Result<(), BridgeError> {
        let name = &self.plan.name;
        let id = message.id.clone();
        if !LeaseDir::can_hold(&id) {
            log::error!("{name}: a message with the id {id}");
            return Ok(());
        }
        let mut lease = self.new_lease(queue, asked, &message);
        let (looked, known_since) = match look_for_new(self.spool, &self.config, &id, &lease) {
            Ok(looked) => looked,
            Err(e) => {
                // Its lease lapses, and it comes again.
                log::error!("{name}: {id}: left alone: {e}");
                return Ok(());
            }
        };
        let held_since = self.table.lease(&id).map(|held| held.since);
        let is_known = held_since.is_some()
            || matches!(
                looked.sighting,
                Sighting::Waiting | Sighting::Running | Sighting::Well
            );
        let runnable = match is_known {
            true => {
                log::info!("{name}: {id}: has come again; it is not run twice");
                lease.since = held_since.or(known_since).unwrap_or(lease.since);
                true
            }
            false => self.make_record(&id, &message, &lease),
        };
        self.step(LeaseEvent::Received {
            id: id.clone(),
            lease,
            runnable,
            seen: looked.sighting,
        })?;
        if self.table.lease(&id).is_none() {
            self.records.remove(&id);
        }
        Ok(())
    }

    /// The lease of a message that was received now.
    fn new_lease(&self, queue: &RemoteQueue, asked: Now, message: &Message) -> Lease {
        let length = queue.lease.unwrap_or(self.plan.config.lease);
        Lease {
            engine: self.engine.kind().to_owned(),
            queue: queue.name.clone(),
            url: queue.url.clone(),
            receipt: message.receipt.clone(),
            count: message.count,
            max: queue.max_receives,
            group: message.group.clone(),
            // A record has dates to the millisecond.
            since: Wall(clock::wall().0 / 1_000_000 * 1_000_000),
            until: asked.wall.after(length),
            ends: asked.boot.after(length),
            boot: self.boot.clone(),
            length,
            fixed: queue.lease.is_some(),
            lost: None,
            back: false,
        }
    }

    /// Makes the record of the job that a message asks for, or refuses the message: false.
    fn make_record(&mut self, id: &JobId, message: &Message, lease: &Lease) -> bool {
        let hold = self.engine.longest_hold();
        match judge::record(self.plan, &self.config, hold, message, lease, lease.since) {
            Ok(record) => {
                let body = message.body.as_deref().unwrap_or_default();
                self.observer.found(id, &lease.queue, body);
                self.records.insert(id.clone(), record.to_json());
                true
            }
            Err(why) => {
                log::warn!("{}: {id}: refused: {why}", self.plan.name);
                self.observer.refused(id, &why);
                self.count(0);
                false
            }
        }
    }
}
