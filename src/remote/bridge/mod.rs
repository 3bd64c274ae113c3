//! The bridge between an engine and a spool. It does what a shell script could do with the spool: drop files, look where
//! they are, move them.
//!
//! [`run`] is the thread that decides: it has the [`LeaseTable`], and all that happens goes through it. A poller thread
//! waits for messages at each of some queues at a time, and one thread makes the calls about leases.
//!
//! [`LeaseTable`]: crate::core::lease::LeaseTable

mod calls;
mod decide;
mod judge;
mod look;
mod openness;
mod perform;
mod poll;
mod receive;
mod resume;

use super::engine::{Engine, RemoteQueue, Trouble};
use crate::core::config::remote::RemoteConfig;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, State};
use crate::os::poll::Waker;
use crate::spool::Spool;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the engine is asked which queues there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookUp {
    /// Before every round over the queues, and a missing queue is no error.
    EachRound,
    /// Every minute if the settings have patterns or `active_only`, else every hour.
    Sometimes,
}

/// The work of one bridge.
#[derive(Debug, Clone)]
pub struct BridgePlan {
    /// Its name: its files are in `remote/NAME/`.
    pub name: QueueName,
    /// Its settings. The engine has been made from them.
    pub config: RemoteConfig,
    /// Its slots.
    pub slots: usize,
    /// End when a round over the queues brought nothing and no job is left.
    pub drain: bool,
    /// How often queues are looked up.
    pub look_up: LookUp,
    /// The longest that a job can need from its receive to its end, if that is known.
    pub needs: Option<Duration>,
}

/// Why a bridge ended before it was told to.
#[derive(Debug)]
pub enum BridgeError {
    /// The engine cannot be reached, or refuses us.
    Engine(Trouble),
    /// The settings cannot be used with these queues, or with this daemon.
    Settings(String),
    /// Another process is this bridge.
    Busy(QueueName),
    /// The spool could not be read or written.
    Spool(io::Error),
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(trouble) => write!(f, "{trouble}"),
            Self::Settings(what) => f.write_str(what),
            Self::Busy(name) => write!(f, "another process pulls {name} into this spool"),
            Self::Spool(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for BridgeError {}

impl From<io::Error> for BridgeError {
    fn from(e: io::Error) -> Self {
        Self::Spool(e)
    }
}

/// Tells a bridge to stop, from any thread.
#[derive(Debug, Clone)]
pub struct BridgeStop(Arc<StopFlags>);

#[derive(Debug)]
struct StopFlags {
    stop: AtomicBool,
    leave: AtomicBool,
    waker: Waker,
}

impl BridgeStop {
    /// Not told yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(StopFlags {
            stop: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            waker: Waker::new()?,
        })))
    }

    /// Take no more messages. What polls under way bring is run, and the bridge ends with its last job.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }

    /// The same, but do not wait for jobs: the next start takes up their leases.
    pub fn leave(&self) {
        self.0.leave.store(true, Ordering::SeqCst);
        self.stop();
    }

    fn is_told(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    fn is_leaving(&self) -> bool {
        self.0.leave.load(Ordering::SeqCst)
    }

    fn waker(&self) -> &Waker {
        &self.0.waker
    }
}

/// Learns of what a bridge does. The calls come from several threads.
pub trait BridgeObserver: Sync {
    /// A message has come that is to become a job here.
    fn found(&self, _id: &JobId, _queue: &str, _body: &str) {}
    /// Its job runs.
    fn started(&self, _id: &JobId) {}
    /// The lease has `lease` left again, `after` its message was received.
    fn extended(&self, _id: &JobId, _after: Duration, _lease: Duration) {}
    /// The job has ended, in `complete/` or `failed/`. The record is the one there; `None` if it was removed.
    fn ended(&self, _id: &JobId, _state: State, _record: Option<&Record>) {}
    /// The message was acknowledged.
    fn acked(&self, _id: &JobId) {}
    /// The message was given back.
    fn given_back(&self, _id: &JobId) {}
    /// The lease is no longer ours.
    fn lost(&self, _id: &JobId, _why: &str) {}
    /// A message cannot be a job.
    fn refused(&self, _id: &JobId, _why: &str) {}
    /// These queues were found.
    fn queues(&self, _queues: &[RemoteQueue]) {}
    /// The engine could not be asked; it is asked again after this time.
    fn trouble(&self, _trouble: &Trouble, _again: Duration) {}
}

/// Moves messages until told to stop, or drained. The engine must outlive a poll that is under way.
pub fn run(
    plan: &BridgePlan,
    engine: &dyn Engine,
    spool: &Spool,
    stop: &BridgeStop,
    observer: &dyn BridgeObserver,
) -> Result<(), BridgeError> {
    let dir = spool
        .lease_dir(&plan.name)?
        .ok_or_else(|| BridgeError::Busy(plan.name.clone()))?;
    let grants = poll::Grants::new(plan);
    let (sender, inbox) = std::sync::mpsc::channel();
    let (caller, calls) = std::sync::mpsc::channel();
    let post = poll::Post {
        sender,
        stop: stop.clone(),
    };
    std::thread::scope(|scope| {
        let start = || -> Result<(), BridgeError> {
            let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
            let for_calls = post.clone();
            spawn("remote-calls").spawn_scoped(scope, move || {
                calls::make_calls(plan, engine, spool, &calls, &for_calls);
            })?;
            for _ in 0..plan.config.pollers.max(1) {
                let (post, grants) = (post.clone(), &grants);
                spawn("remote-poll").spawn_scoped(scope, move || {
                    poll::poll(plan, engine, grants, &post, observer);
                })?;
            }
            let decider =
                decide::Decider::new(plan, engine, spool, &dir, stop, observer, &grants, caller);
            decider?.run(&inbox)
        };
        let ended = start();
        grants.stop();
        ended
    })
}
