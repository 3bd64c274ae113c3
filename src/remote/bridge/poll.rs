//! The pollers. Each takes a grant to receive from a queue, waits for messages there, and hands them over. While nothing
//! comes, a poller makes its requests and nothing else.

use super::{BridgeObserver, BridgePlan, BridgeStop, LookUp};
use crate::core::id::JobId;
use crate::core::lease::CallAnswer;
use crate::core::time::{Boot, Now};
use crate::os::clock;
use crate::remote::engine::{Engine, Message, RemoteQueue, Trouble};
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most messages in one receive: the limit of SQS.
const MOST_AT_ONCE: usize = 10;

/// How long a list of queues holds: with patterns, and without.
const PATTERNS_HOLD: Duration = Duration::from_secs(60);
const NAMES_HOLD: Duration = Duration::from_secs(3600);

/// A receive that brings nothing takes at least this long.
const LEAST_ROUND: Duration = Duration::from_millis(100);

/// A server that refuses us is asked again after this time.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// News for the thread that decides.
#[derive(Debug)]
pub(super) enum BridgeNews {
    /// Messages have come.
    Received {
        queue: RemoteQueue,
        asked: Now,
        most: usize,
        messages: Vec<Message>,
    },
    /// The engine has answered a call.
    Answered {
        asked: Boot,
        answers: Vec<(JobId, String, CallAnswer)>,
    },
    /// The queues were looked up.
    Queues(Vec<RemoteQueue>),
    /// They could not be, or a queue could not be received from.
    Trouble(Trouble),
    /// A round brought nothing.
    Quiet,
}

/// The way to the thread that decides.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) sender: Sender<BridgeNews>,
    pub(super) stop: BridgeStop,
}

impl Post {
    pub(super) fn send(&self, news: BridgeNews) {
        // It has ended if nobody takes it.
        let _ = self.sender.send(news);
        self.stop.waker().wake();
    }
}

/// A poller's next task.
enum PollTask {
    LookUp,
    Receive(RemoteQueue, usize),
}

/// The permissions to ask for messages.
pub(super) struct Grants {
    look_up: LookUp,
    /// After a round that brought nothing, the thread that decides says whether there is another.
    drain: bool,
    holds: Duration,
    state: Mutex<GrantState>,
    changed: Condvar,
    /// For pollers that pause: nobody else wakes them.
    ended: Condvar,
}

#[derive(Default)]
struct GrantState {
    /// Jobs that may still be taken; those that polls have asked for are not subtracted.
    room: usize,
    /// Messages that polls under way may bring.
    asked: usize,
    /// The queues, the next one first. Those that are being polled are not in it.
    queues: VecDeque<RemoteQueue>,
    /// Polls under way.
    polling: usize,
    /// Polls that are left in this round.
    left: usize,
    /// True while a poller looks up the queues.
    is_looking_up: bool,
    /// When they are looked up again.
    look_up_at: Option<Boot>,
    /// Polls since the last message, or since a round that brought nothing was taken in.
    empty: usize,
    /// True once the queues were looked up.
    has_queues: bool,
    stop: bool,
}

impl GrantState {
    fn is_round_empty(&self) -> bool {
        self.has_queues && self.empty >= self.queues.len()
    }

    /// Lets a queue be polled again.
    fn put_back(&mut self, queue: RemoteQueue) {
        if !self.queues.iter().any(|other| is_same(other, &queue)) {
            self.queues.push_back(queue);
        }
    }
}

impl Grants {
    pub(super) fn new(plan: &BridgePlan) -> Self {
        let is_pattern =
            |url: &crate::core::config::remote_url::RemoteUrl| url.queue().ends_with('*');
        let config = &plan.config;
        let varies = config.active_only || config.urls.iter().any(is_pattern);
        Self {
            look_up: plan.look_up,
            drain: plan.drain,
            holds: if varies { PATTERNS_HOLD } else { NAMES_HOLD },
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, GrantState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many jobs may be taken. `used`: the messages that a poll had asked for and has handed over.
    pub(super) fn set_room(&self, room: usize, used: usize) {
        let mut state = self.lock();
        let is_more = room > state.room || used > 0;
        state.room = room;
        state.asked = state.asked.saturating_sub(used);
        drop(state);
        if is_more {
            self.changed.notify_one();
        }
    }

    /// Lets the pollers end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
        self.ended.notify_all();
    }

    /// True while a poll may still bring messages.
    pub(super) fn is_polling(&self) -> bool {
        let state = self.lock();
        state.polling > 0 || state.asked > 0
    }

    fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Waits for a task; `None`: end.
    fn take(&self) -> Option<PollTask> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let room = state.room.saturating_sub(state.asked);
            let is_held = self.drain && state.is_round_empty();
            if room > 0 && !is_held {
                if self.is_look_up_due(&state) {
                    state.is_looking_up = true;
                    return Some(PollTask::LookUp);
                }
                let may = self.look_up == LookUp::Sometimes || state.left > 0;
                if let Some(queue) = may.then(|| state.queues.pop_front()).flatten() {
                    let most = match queue.is_fifo {
                        // A failed job would have the later ones of its group given back, which costs them a receive.
                        true => 1,
                        false => room.min(MOST_AT_ONCE),
                    };
                    state.asked += most;
                    state.polling += 1;
                    state.left = state.left.saturating_sub(1);
                    if !state.queues.is_empty() {
                        // There may be room for another one.
                        self.changed.notify_one();
                    }
                    return Some(PollTask::Receive(queue, most));
                }
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_look_up_due(&self, state: &GrantState) -> bool {
        let is_over = match self.look_up {
            LookUp::EachRound => state.left == 0 && state.polling == 0,
            LookUp::Sometimes => state.look_up_at.is_none_or(|at| at <= clock::now().boot),
        };
        is_over && !state.is_looking_up
    }

    fn looked_up(&self, queues: &[RemoteQueue]) {
        let mut state = self.lock();
        state.is_looking_up = false;
        // A queue that is being polled is asked by two pollers for the rest of that request.
        state.queues = queues.iter().cloned().collect();
        state.left = queues.len();
        state.has_queues = true;
        state.look_up_at = Some(clock::now().boot.after(self.holds));
        drop(state);
        self.changed.notify_all();
    }

    /// Ends a poll. `brought`: its messages were handed over, and count until they are taken in. Without its queue, that
    /// is put back by [`Grants::failed`].
    fn polled(&self, queue: Option<RemoteQueue>, most: usize, brought: bool) {
        let mut state = self.lock();
        state.polling -= 1;
        if !brought {
            state.asked -= most;
        }
        state.empty = if brought { 0 } else { state.empty + 1 };
        // This thread takes the next task, unless it pauses. Another one is needed only for a second queue.
        let own = usize::from(queue.is_some());
        if let Some(queue) = queue {
            state.put_back(queue);
        }
        let is_more = state.queues.len() > own;
        drop(state);
        if is_more {
            self.changed.notify_one();
        }
    }

    /// Puts back a task that failed. Until then, no other poller runs into the same trouble.
    fn failed(&self, task: PollTask, trouble: &Trouble) {
        let mut state = self.lock();
        match (task, trouble) {
            (PollTask::LookUp, _) => state.is_looking_up = false,
            (PollTask::Receive(..), Trouble::NoQueue(_)) => state.look_up_at = None,
            (PollTask::Receive(queue, _), Trouble::Unreachable(_) | Trouble::Refused(_)) => {
                state.put_back(queue);
            }
        }
    }

    /// True if a round has brought nothing.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.lock();
        state.polling == 0 && state.asked == 0 && state.is_round_empty()
    }

    /// Begins another round after one that brought nothing.
    pub(super) fn go_on(&self) {
        self.lock().empty = 0;
        self.changed.notify_all();
    }

    /// Waits, unless told to end.
    fn pause(&self, span: Duration) {
        let end = clock::now().boot.after(span);
        let mut state = self.lock();
        while !state.stop {
            let left = end.since(clock::now().boot);
            if left.is_zero() {
                return;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// True for the same queue. Those of one server of Redis have one URL.
fn is_same(one: &RemoteQueue, other: &RemoteQueue) -> bool {
    one.url == other.url && one.name == other.name
}

/// The wait after the `n`-th failure in a row, from 1: 0.2 s, doubled each time, at most 20 s, of which a random part.
pub(super) fn backoff(n: u32) -> Duration {
    let longest =
        Duration::from_millis(200 << n.saturating_sub(1).min(7)).min(Duration::from_secs(20));
    let dice = clock::now().boot.0 / 1000 % 1000;
    longest.mul_f64((dice as f64 + 1.0) / 1000.0)
}

/// The loop of a poller.
pub(super) fn poll(
    plan: &BridgePlan,
    engine: &dyn Engine,
    grants: &Grants,
    post: &Post,
    observer: &dyn BridgeObserver,
) {
    let mut failures = 0;
    while let Some(task) = grants.take() {
        let done = match &task {
            PollTask::LookUp => look_up(plan, engine, grants, post, observer),
            PollTask::Receive(queue, most) => receive(plan, engine, grants, post, queue, *most),
        };
        let Err(trouble) = done else {
            failures = 0;
            continue;
        };
        failures += 1;
        let again = match trouble {
            Trouble::Unreachable(_) => backoff(failures),
            Trouble::NoQueue(_) => Duration::from_secs(1),
            Trouble::Refused(_) => REFUSED_AGAIN,
        };
        observer.trouble(&trouble, again);
        post.send(BridgeNews::Trouble(trouble.clone()));
        grants.pause(again);
        grants.failed(task, &trouble);
    }
}

fn look_up(
    plan: &BridgePlan,
    engine: &dyn Engine,
    grants: &Grants,
    post: &Post,
    observer: &dyn BridgeObserver,
) -> Result<(), Trouble> {
    let queues = engine.queues()?;
    observer.queues(&queues);
    post.send(BridgeNews::Queues(queues.clone()));
    if queues.is_empty() && !plan.drain {
        grants.pause(plan.config.wait.max(Duration::from_secs(1)));
    }
    grants.looked_up(&queues);
    if queues.is_empty() {
        post.send(BridgeNews::Quiet);
    }
    Ok(())
}

fn receive(
    plan: &BridgePlan,
    engine: &dyn Engine,
    grants: &Grants,
    post: &Post,
    queue: &RemoteQueue,
    most: usize,
) -> Result<(), Trouble> {
    let asked = clock::now();
    let lease = queue.lease.unwrap_or(plan.config.lease);
    let messages = engine
        .receive(queue, most, plan.config.wait, lease)
        .inspect_err(|_| grants.polled(None, most, false))?;
    let brought = !messages.is_empty();
    if brought {
        post.send(BridgeNews::Received {
            queue: queue.clone(),
            asked,
            most,
            messages,
        });
    }
    if !brought && !plan.drain && plan.look_up == LookUp::Sometimes {
        // There are servers that do not wait.
        grants.pause(LEAST_ROUND.saturating_sub(clock::now().boot.since(asked.boot)));
    }
    grants.polled(Some(queue.clone()), most, brought);
    if !brought && (plan.drain || grants.is_stopped()) {
        post.send(BridgeNews::Quiet);
    }
    Ok(())
}
