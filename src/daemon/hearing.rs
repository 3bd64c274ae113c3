//! What other threads tell the engine: a job was started, or could not be, or its end has been written down.
//!
//! Between what they do and what the engine hears of it, a user may do something to the same file; the events of that
//! are then taken for our own doing, and so it is looked for here.

use super::engine::Engine;
use crate::core::id::JobId;
use crate::core::scheduler::{CommittedTo, Event, Refusal, Ticket};
use crate::spool::{Place, Where};

impl Engine {
    /// Takes in an event from another thread.
    pub(super) fn heard(&mut self, event: Event) {
        if let Event::Committed { id, place } = event {
            self.committed(id, place);
        } else if let Event::Refused { id, why } = event {
            log::debug!("{id}: not started: {why:?}");
            let held = (why == Refusal::Busy).then(|| id.clone());
            let other = matches!(why, Refusal::Gone | Refusal::Changed).then(|| id.clone());
            self.feed(Event::Refused { id, why });
            self.shared.dispatch.answered();
            if let Some(id) = other
                && !self.ask(|s| s.knows(&id))
            {
                // What happened to it may have been taken for our own doing, when it was put back or taken in. What
                // somebody has put into active/ meanwhile is in its way.
                self.check_stranger(id.clone());
                if !self.shared.spool.is_active(&id) {
                    self.look_for(&id);
                }
                if self.ask(|s| s.has_children(&id)) {
                    self.check_parent(id);
                }
            }
            if let Some(id) = held {
                self.found_held(id);
            }
        } else {
            self.feed(event);
        }
    }

    /// The scheduler has heard of the start. Whether a user took the file away while it was under way is looked at only
    /// now: before, it may have been the runner that put it back.
    pub(super) fn was_started(&mut self, id: &JobId) {
        self.watch_log(id);
        self.check_active(id);
    }

    fn committed(&mut self, id: JobId, mut place: CommittedTo) {
        self.shared.leave(&id);
        self.unwatch_log(&id);
        self.retain_soon();
        if self.ask(|s| s.has_children(&id)) {
            // A user may have moved it since; the children go by what is there.
            match self.shared.spool.find_ended(&id) {
                Ok(Some(Where::Complete)) => place = CommittedTo::Complete,
                Ok(Some(Where::Failed)) => place = CommittedTo::Failed,
                Ok(Some(Where::Pending(_) | Where::Held | Where::Active) | None) | Err(_) => {}
            }
        }
        if let CommittedTo::Pending(ticket) = &place
            && !self.is_still_there(ticket)
        {
            // Taken away before we knew that it was there: that was not heard of as its withdrawal.
            place = CommittedTo::Gone;
        }
        let is_gone = matches!(place, CommittedTo::Gone);
        let ended = id.clone();
        self.feed(Event::Committed { id, place });
        if is_gone {
            self.look_for(&ended);
        } else {
            // Somebody may have put it into active/ again before we knew that it was over.
            self.check_stranger(ended);
        }
    }

    /// True when the file that a ticket is about is in its queue.
    fn is_still_there(&self, ticket: &Ticket) -> bool {
        let place = Place::of_queue(&ticket.queue);
        let look = self
            .shared
            .spool
            .look(&place, ticket.id.as_str().as_bytes());
        look.is_ok_and(|look| look.is_some_and(|look| look.inode == ticket.stamp.inode))
    }
}
