//! What the engine does beside its jobs: the disk guard, retention, and looking for what was missed.

use super::committer;
use super::engine::Engine;
use super::taking::RETRY_AFTER;
use crate::core::id::JobId;
use crate::core::record::{Record, Work};
use crate::core::scheduler::{Event, MovedTo};
use crate::os::clock;
use crate::spool::{Place, Tenure, Where};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Everything is looked at again this often, should an event ever have been missed.
pub(super) const RESCAN_EVERY: Duration = Duration::from_secs(600);

impl Engine {
    /// What is done every so often.
    pub(super) fn periodic(&mut self) {
        let now = clock::now().boot;
        if now >= self.rescan_at && self.options.single.is_none() {
            self.rescan_at = now.after(RESCAN_EVERY);
            self.audit();
            self.rescan();
            self.clear_groups();
        }
        if self.retain_at.is_some_and(|at| now >= at) {
            self.retain_at = Some(now.after(Duration::from_secs(3600)));
            self.errand(committer::Task::Retain);
        }
        if self.held || self.ask(|s| s.counts()).waiting > 0 {
            self.guard_space();
        }
    }

    /// Removes the control groups of jobs that had left processes behind, which have ended since.
    pub(super) fn clear_groups(&self) {
        if let Some(groups) = &self.shared.home.cgroups {
            groups.remove_empty();
        }
    }

    /// Starts nothing while the disk is nearly full: what runs needs the rest of it to finish. To be asked before
    /// anything may start; looks at most once a second.
    pub(super) fn guard_space(&mut self) {
        let now = self.now().boot;
        let looked = now < self.space_at && (self.held || self.shared.reserve.is_full());
        if looked || self.shared.trouble.get().is_some() {
            return;
        }
        let not_ours = self.not_ours();
        let spool = &self.shared.spool;
        // What is kept aside for records must be there again before anything new may use the room.
        let low = not_ours.or_else(|| spool.shortage(&self.shared.config(), true));
        let low = low.or_else(|| {
            let filled = self.shared.reserve.fill(spool);
            filled
                .err()
                .map(|e| format!("no room can be kept aside for records: {e}"))
        });
        match (low, self.held) {
            (Some(why), false) => {
                self.held = true;
                self.feed(Event::Hold);
                log::warn!("nothing is started: {why}");
            }
            (None, true) => {
                self.held = false;
                self.release();
                log::info!("jobs are started again");
            }
            (Some(_), true) | (None, false) => {}
        }
        self.space_at = now.after(Duration::from_secs(if self.held { 2 } else { 1 }));
        if !self.held {
            self.shared.dispatch.has_room_until(self.space_at);
        }
    }

    /// Has jobs started again, unless something else still keeps them waiting.
    pub(super) fn release(&mut self) {
        if !self.held && !self.surveying && !self.upgrade.is_proven() {
            self.feed(Event::Release);
        }
    }

    /// Why nothing may be started in the spool, if it is not this daemon's alone any more. A lock that was removed is
    /// made again.
    pub(super) fn not_ours(&mut self) -> Option<String> {
        if !self.is_at_home() {
            return Some("the spool was moved away".to_owned());
        }
        let holder = match self.lock.as_mut()?.keep() {
            Ok(Tenure::Ours) => return None,
            Ok(Tenure::Disputed(holder)) => holder,
            Ok(Tenure::Lost(holder)) => {
                self.successor = Some(holder.clone());
                holder
            }
            Err(e) => return Some(format!("the spool cannot be locked: {e}")),
        };
        Some(format!("the spool is in use by {holder}"))
    }

    /// True when the spool is where it was when we started: jobs are told paths.
    fn is_at_home(&self) -> bool {
        let held = self.shared.spool.inode_of(&Place::Root);
        let named = std::fs::symlink_metadata(&self.shared.home.spool);
        matches!((held, named), (Ok(held), Ok(named)) if held == named.ino())
    }

    /// The bound has changed: the last look does not count.
    pub(super) fn look_at_space_now(&mut self) {
        self.space_at = self.now().boot;
        self.guard_space();
    }

    /// Retention runs now, and then every hour.
    pub(super) fn plan_retention(&mut self) {
        if self.options.single.is_none() {
            self.retain_at = Some(clock::now().boot);
        }
    }

    /// With a bound on count or bytes, every finished job may be one too many.
    pub(super) fn retain_soon(&mut self) {
        let config = self.shared.config();
        if config.keep_count.is_some() || config.keep_bytes.is_some() {
            let soon = clock::now().boot.after(Duration::from_secs(1));
            self.retain_at = self.retain_at.map(|at| at.min(soon));
        }
    }

    pub(super) fn tell_status(&mut self) {
        if !self.notifier.is_on() {
            return;
        }
        let counts = self.ask(|s| s.counts());
        let status = format!(
            "STATUS={} running, {} waiting",
            counts.running, counts.waiting
        );
        if status != self.status {
            self.notifier.send(&status);
            self.status = status;
        }
    }

    /// A sync has failed for good: nothing is started any more, and whoever asks is told. What runs may end.
    pub(super) fn in_trouble(&mut self) {
        self.held = true;
        self.feed(Event::Hold);
        if let (Some(why), Some(lock)) = (self.shared.trouble.get(), &mut self.lock) {
            if let Err(e) = lock.tell(why) {
                log::error!("lock: {e}");
            }
            log::error!("nothing is accepted or started any more: {why}");
        }
    }

    /// Looks at everything that an event may have told of and been lost.
    pub(super) fn audit(&mut self) {
        if self.options.config.is_none() {
            self.config_changed();
        }
        self.look_at_pause(&Place::Pending);
        for id in self.running() {
            self.check_active(&id);
        }
        match self.shared.spool.ids(&Where::Active) {
            Ok(ids) => ids.into_iter().for_each(|id| self.check_stranger(id)),
            Err(e) => log::error!("active/: {e}"),
        }
        for id in self.ask(|s| s.awaited()) {
            self.check_parent(id);
        }
        self.errand(committer::Task::Orphans);
    }

    /// Tells the children of a job that is in `complete/` or `failed/` and not known otherwise.
    pub(super) fn check_parent(&mut self, id: JobId) {
        for (place, complete) in [(Place::Complete, true), (Place::Failed, false)] {
            let look = self.shared.spool.look(&place, id.as_str().as_bytes());
            if look.is_ok_and(|look| look.is_some()) {
                return self.feed(Event::ParentMoved { id, complete });
            }
        }
    }

    /// A commit found that the user had moved the job's file: goes on from where that is now.
    pub(super) fn look_for(&mut self, id: &JobId) {
        match self.shared.spool.find(id) {
            Ok(Some(Where::Active)) => self.check_stranger(id.clone()),
            Ok(Some(Where::Pending(queue))) => {
                self.take_in(&Place::of_queue(&queue), id.as_str().as_bytes());
            }
            Ok(Some(Where::Held | Where::Complete | Where::Failed) | None) => {
                self.errand(committer::Task::ByHand(id.clone()));
            }
            Err(e) => {
                log::error!("{id}: {e}");
                self.rescan_at = self.rescan_at.min(clock::now().boot.after(RETRY_AFTER));
            }
        }
    }

    /// Processes hold the log of a job. If it runs, or has ended well and left them behind, that is as it should be;
    /// if its file was taken out of `active/` while no daemon was there to see it, they are ended now.
    pub(super) fn found_held(&mut self, id: JobId) {
        if self.ask(|s| s.is_live(&id)) {
            return;
        }
        let (mut record, to) = match self.shared.spool.get(&id) {
            Ok(Some(found)) => match found.at {
                Where::Complete | Where::Failed if !found.record.is_over() => {
                    (found.record, MovedTo::Ended)
                }
                Where::Pending(_) if found.record.started_at.is_some() => {
                    (found.record, MovedTo::Pending)
                }
                Where::Held if found.record.started_at.is_some() => (found.record, MovedTo::Gone),
                Where::Complete
                | Where::Failed
                | Where::Held
                | Where::Pending(_)
                | Where::Active => return,
            },
            Ok(None) => (Record::new(Work::Text(String::new())), MovedTo::Gone),
            Err(e) => return log::error!("{id}: {e}"),
        };
        log::info!("{id}: its file was taken out of active/ while no daemon ran: ending it");
        if record.started_at.is_none() {
            // It was started, and killed daemons leave no note: the try counts.
            record.attempt += 1;
        }
        match self.take_over(id.clone(), record) {
            Ok(()) => self.feed(Event::ActiveMoved { id, to }),
            Err(e) => log::error!("{id}: {e}"),
        }
    }
}
