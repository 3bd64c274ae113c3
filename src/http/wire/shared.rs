//! The state that the acceptor and all connection threads share.

use super::access::AccessLog;
use super::connections::Connections;
use super::events::Events;
use super::hub::Hub;
use super::permits::Permits;
use super::stop::StopStage;
use crate::os::limits;
use crate::os::poll::{Poller, Waker};
use crate::spool::Spool;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The poller's number of the waker.
pub const WAKER: u64 = 0;
/// The poller's number of the hub.
pub const HUB: u64 = 1;
/// The poller's number of the first listener.
pub const LISTENERS: u64 = 2;

/// Handlers at a time of requests that change nothing.
const LOOKING: usize = 4;
/// Handlers at a time of other requests. They wait for syncs, for which those that change nothing must not wait.
const CHANGING: usize = 8;
/// Handlers at a time that go on after a wait or a piece.
const LATER: usize = 2;

/// Descriptors that are kept for the spool and for jobs.
const OTHERS: usize = 64;

/// The fewest connections, whatever the limit of descriptors.
const FEW: usize = 8;

/// Limits the number of connections to a part of the descriptors.
fn within_descriptors(connections: usize) -> usize {
    let all = usize::try_from(limits::descriptors()).unwrap_or(usize::MAX);
    let room = (all / 2).min(all.saturating_sub(OTHERS)).max(FEW);
    connections.min(room)
}

/// The shared state.
pub struct Wire {
    /// All connections.
    pub connections: Connections,
    /// The descriptors that the acceptor waits for.
    pub poller: Arc<Poller>,
    /// Wakes the acceptor.
    pub waker: Waker,
    /// Permits for handlers of requests that change nothing.
    pub looking: Arc<Permits>,
    /// Permits for handlers of other requests.
    pub changing: Arc<Permits>,
    /// Permits for handlers that go on after a wait or a piece.
    pub later: Arc<Permits>,
    /// The access log.
    pub access_log: AccessLog,
    hub: Mutex<Hub>,
    stage: AtomicU8,
    /// Bytes of the bodies of all requests that are being read or answered.
    bodies: AtomicUsize,
}

impl Wire {
    /// The state before the first connection. `connections`: the most at a time, if there are descriptors for them.
    pub fn new(connections: usize, spool: Arc<Spool>, events: Arc<Events>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let waker = Waker::new()?;
        poller.add(&waker, WAKER)?;
        Ok(Self {
            connections: Connections::new(within_descriptors(connections)),
            hub: Mutex::new(Hub::new(spool, events, Arc::clone(&poller), HUB)),
            poller,
            waker,
            looking: Permits::new(LOOKING),
            changing: Permits::new(CHANGING),
            later: Permits::new(LATER),
            access_log: AccessLog::default(),
            stage: AtomicU8::new(StopStage::Open as u8),
            bodies: AtomicUsize::new(0),
        })
    }

    /// Locks the hub.
    pub fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage of the stop.
    pub fn stage(&self) -> StopStage {
        let stages = [StopStage::Open, StopStage::Draining, StopStage::LastCall];
        let stage = self.stage.load(Ordering::SeqCst);
        let known = stages.into_iter().find(|known| *known as u8 == stage);
        known.unwrap_or(StopStage::Closing)
    }

    /// Sets the stage, and wakes the acceptor. The caller tells connections with [`super::link::Link::come_to_an_end`].
    pub fn set_stage(&self, stage: StopStage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
        self.waker.wake();
    }
}

/// The part of one request in [`Wire::bodies`].
pub struct BodyWeight {
    wire: Arc<Wire>,
    bytes: usize,
}

impl BodyWeight {
    /// The part of an empty body.
    pub fn new(wire: &Arc<Wire>) -> Self {
        Self {
            wire: Arc::clone(wire),
            bytes: 0,
        }
    }

    /// Sets the size of the body. Gives the bytes of all others.
    pub fn set(&mut self, bytes: usize) -> usize {
        let added = bytes.wrapping_sub(std::mem::replace(&mut self.bytes, bytes));
        let all = self.wire.bodies.fetch_add(added, Ordering::SeqCst);
        all.wrapping_add(added).wrapping_sub(bytes)
    }
}

impl Drop for BodyWeight {
    fn drop(&mut self) {
        self.set(0);
    }
}
