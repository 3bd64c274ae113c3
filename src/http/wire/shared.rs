//! State that the acceptor and the threads of all connections share.

use super::access::AccessLog;
use super::connections::Connections;
use super::events::Events;
use super::hub::Hub;
use super::permits::Permits;
use super::stop::StopStage;
use crate::os::limits;
use crate::os::poll::{Bell, Poller};
use crate::spool::Spool;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The poller's number of the bell.
pub const BELL: u64 = 0;
/// The poller's number of the hub.
pub const HUB: u64 = 1;
/// The poller's number of the first listener.
pub const LISTENERS: u64 = 2;

/// Requests that change nothing and are answered at a time.
const LOOKING: usize = 4;
/// Other requests that are answered at a time. They wait for the disk to sync, and nobody else should.
const CHANGING: usize = 8;
/// Answers that go on at a time after a wait or a piece.
const LATER: usize = 2;

/// Descriptors that are not for connections, whatever the limit.
const OTHERS: usize = 64;

/// Connections that there is room for in any case.
const FEW: usize = 8;

/// No more connections than there are descriptors for. Jobs need descriptors too, and the spool's directories.
fn within_descriptors(connections: usize) -> usize {
    let all = usize::try_from(limits::descriptors()).unwrap_or(usize::MAX);
    let room = (all / 2).min(all.saturating_sub(OTHERS)).max(FEW);
    connections.min(room)
}

/// The shared state.
pub struct Wire {
    /// All connections.
    pub connections: Connections,
    /// What the acceptor waits for.
    pub poller: Arc<Poller>,
    /// Wakes the acceptor.
    pub bell: Bell,
    /// Permits to answer requests that change nothing.
    pub looking: Arc<Permits>,
    /// Permits to answer the others.
    pub changing: Arc<Permits>,
    /// Permits to go on with an answer after a wait or a piece.
    pub later: Arc<Permits>,
    /// The access log.
    pub access_log: AccessLog,
    hub: Mutex<Hub>,
    stage: AtomicU8,
    /// Bytes of the bodies of all requests that are read or answered.
    bodies: AtomicUsize,
}

impl Wire {
    /// The state before the first connection of at most so many.
    pub fn new(connections: usize, spool: Arc<Spool>, events: Arc<Events>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let bell = Bell::new()?;
        poller.add(&bell, BELL)?;
        Ok(Self {
            connections: Connections::new(within_descriptors(connections)),
            hub: Mutex::new(Hub::new(spool, events, Arc::clone(&poller), HUB)),
            poller,
            bell,
            looking: Permits::new(LOOKING),
            changing: Permits::new(CHANGING),
            later: Permits::new(LATER),
            access_log: AccessLog::default(),
            stage: AtomicU8::new(StopStage::Open as u8),
            bodies: AtomicUsize::new(0),
        })
    }

    /// Who is to be woken by what.
    pub fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How near the end is.
    pub fn stage(&self) -> StopStage {
        let stages = [StopStage::Open, StopStage::Draining, StopStage::LastCall];
        let stage = self.stage.load(Ordering::SeqCst);
        let known = stages.into_iter().find(|known| *known as u8 == stage);
        known.unwrap_or(StopStage::Closing)
    }

    /// Brings the end nearer. The acceptor sees it when it is woken, and all others before they wait again.
    pub fn set_stage(&self, stage: StopStage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// The bytes of one request's body, which count among those of all.
pub struct BodyWeight {
    wire: Arc<Wire>,
    bytes: usize,
}

impl BodyWeight {
    /// Of an empty body.
    pub fn new(wire: &Arc<Wire>) -> Self {
        Self {
            wire: Arc::clone(wire),
            bytes: 0,
        }
    }

    /// So many bytes are there by now. Gives how many all others have.
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
