//! Waiting in a handler: for changes of the spool, until its client, the daemon or other connections end the wait.

use super::link::{Activity, Link};
use super::permits::{Permit, Permits};
use super::shared::Wire;
use super::stop::StopStage;
use super::wake::Topic;
use crate::core::time::Boot;
use crate::os::clock;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A topic may have changed: look at the spool.
    Changed,
    /// The time is up: answer now.
    Late,
    /// The client sends nothing more; it may still read. Returned once.
    HungUp,
    /// The daemon starts no more jobs. Returned once; the handler may wait on for a job that runs.
    Draining,
    /// The daemon exits, or another connection needs the place: answer now.
    Leaving,
    /// The client is gone: nobody reads the answer.
    Gone,
}

/// Waits for the handlers of one connection's requests.
pub struct Waiter {
    pub(super) wire: Arc<Wire>,
    pub(super) link: Arc<Link>,
    topics: RefCell<Vec<Topic>>,
    permit: RefCell<Option<Permit>>,
    has_waited: Cell<bool>,
    drain_told: Cell<bool>,
    hangup_told: Cell<bool>,
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

impl Waiter {
    /// A waiter for this connection.
    pub fn new(wire: Arc<Wire>, link: Arc<Link>) -> Self {
        Self {
            wire,
            link,
            topics: RefCell::default(),
            permit: RefCell::default(),
            has_waited: Cell::new(false),
            drain_told: Cell::new(false),
            hangup_told: Cell::new(false),
        }
    }

    /// Waits for a change of one of these topics, or until `until`. The first time, it has them watched and returns at
    /// once: a change between the caller's look at the spool and the watch is then seen by the next look.
    pub fn wait(&self, on: &[Topic], until: Option<Boot>) -> Woken {
        match self.watch(on) {
            Ok(false) => self.sleep(until, Boot(0)),
            Ok(true) => Woken::Changed,
            // Without watches no change is noticed.
            Err(e) => {
                log::warn!("http: watching the spool: {e}");
                Woken::Late
            }
        }
    }

    /// Has these topics watched, and no others. True if some of them were not watched before.
    pub(in crate::http) fn watch(&self, on: &[Topic]) -> io::Result<bool> {
        let mut topics = self.topics.borrow_mut();
        if self.has_waited.get() && topics.as_slice() == on && self.wire.hub().is_armed() {
            return Ok(false);
        }
        if !self.has_waited.replace(true) {
            // Without it, only a hang-up is noticed late.
            let _ = self
                .wire
                .poller
                .add_hangup(self.link.stream.as_fd(), self.link.key);
        }
        let mut hub = self.wire.hub();
        let old = std::mem::replace(&mut *topics, on.to_vec());
        for topic in old.iter().filter(|topic| !on.contains(topic)) {
            hub.remove(self.link.key, topic);
        }
        let mut is_new = false;
        // Arming the watches may have failed before.
        let is_lost = !hub.is_armed();
        for topic in on.iter().filter(|topic| is_lost || !old.contains(topic)) {
            hub.add(self.link.key, topic)?;
            is_new = true;
        }
        Ok(is_new)
    }

    /// Waits for a change, which is returned at `rested` at the earliest, or until `until`.
    pub(in crate::http) fn sleep(&self, until: Option<Boot>, rested: Boot) -> Woken {
        let permit = self.permit.take();
        let had_permit = permit.is_some();
        drop(permit);
        let mut standing = self.link.standing();
        if !std::mem::replace(&mut standing.is_long, true) {
            drop(standing);
            self.wire.connections.leave_room();
            standing = self.link.standing();
        }
        let before = standing.enter(Activity::Waiting);
        let woken = loop {
            let (now, stage) = (clock::now().boot, self.wire.stage());
            if standing.gone {
                break Woken::Gone;
            }
            if standing.is_leaving || stage.is_closing() {
                break Woken::Leaving;
            }
            if stage == StopStage::Draining && !self.drain_told.replace(true) {
                break Woken::Draining;
            }
            if standing.hung_up && !self.hangup_told.replace(true) {
                break Woken::HungUp;
            }
            let at = match standing.changed {
                true => Some(until.map_or(rested, |at| at.min(rested))),
                false => until,
            };
            standing = match at.map(|at| at.since(now)) {
                Some(left) if left.is_zero() => {
                    break match std::mem::take(&mut standing.changed) {
                        true => Woken::Changed,
                        false => Woken::Late,
                    };
                }
                Some(left) => {
                    let waited = self.link.news.wait_timeout(standing, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.link.news.wait(standing);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        };
        standing.enter(before);
        drop(standing);
        if had_permit && woken != Woken::Gone {
            self.take_permit(&self.wire.later);
            if self.link.standing().gone {
                return Woken::Gone;
            }
        }
        woken
    }

    /// Waits until `until`, or until answers end. False if the client is gone.
    pub(in crate::http) fn delay(&self, until: Boot) -> bool {
        let mut standing = self.link.standing();
        standing.enter(Activity::Delaying);
        while !standing.gone && !self.wire.stage().is_closing() {
            let left = until.since(clock::now().boot);
            if left.is_zero() {
                break;
            }
            let waited = self.link.news.wait_timeout(standing, left);
            standing = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        standing.enter(Activity::Working);
        !standing.gone
    }

    /// Takes a permit, and keeps it until [`Self::give_back_permit`]. A wait gives it back, and takes one of
    /// [`Wire::later`] afterwards.
    pub(in crate::http) fn take_permit(&self, permits: &Arc<Permits>) {
        let permit = permits.take();
        *self.permit.borrow_mut() = Some(permit);
    }

    /// Gives the permit back, if the handler has one.
    pub(in crate::http) fn give_back_permit(&self) {
        drop(self.permit.take());
    }

    /// Gives the permit back while `f` runs, which may take long.
    pub(in crate::http) fn without_permit<T>(&self, f: impl FnOnce() -> T) -> T {
        let had_permit = self.permit.take().is_some();
        let done = f();
        if had_permit {
            self.take_permit(&self.wire.later);
        }
        done
    }

    /// Ends the watches and gives the permit back: the answer was sent.
    pub(in crate::http) fn finish(&self) {
        self.give_back_permit();
        if !self.has_waited.replace(false) {
            return;
        }
        let _ = self.wire.poller.remove(self.link.stream.as_fd());
        let mut hub = self.wire.hub();
        for topic in self.topics.take() {
            if hub.remove(self.link.key, &topic) {
                self.wire.waker.wake();
            }
        }
    }
}

/// Removes a connection that ends from the hub.
impl Drop for Waiter {
    fn drop(&mut self) {
        self.finish();
    }
}
