//! Wakes connections whose topics change. The hub watches the spool by inotify as any script could, and only while a
//! connection waits.

use super::events::{Events, JobChange};
use super::wake::Topic;
use super::watches::Armed;
use crate::core::id::{JobId, QueueName};
use crate::core::record::State;
use crate::core::time::Boot;
use crate::os::clock;
use crate::os::inotify::{self, FileChange};
use crate::os::poll::Poller;
use crate::spool::{Place, Spool};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// How long the watches stay after the last wait: the next one often follows soon.
const LINGER: Duration = Duration::from_secs(30);

/// The hub. It knows waiting connections by their keys.
pub struct Hub {
    spool: Arc<Spool>,
    events: Arc<Events>,
    /// The acceptor's poller, in which the watches have the number `number`.
    poller: Arc<Poller>,
    number: u64,
    waiting: HashMap<Topic, HashSet<u64>>,
    armed: Option<Armed>,
    idle_since: Option<Boot>,
    /// When the acceptor has to call [`Self::rest`].
    rests_at: Option<Boot>,
}

impl Hub {
    /// A hub that watches nothing yet.
    pub fn new(spool: Arc<Spool>, events: Arc<Events>, poller: Arc<Poller>, number: u64) -> Self {
        Self {
            spool,
            events,
            poller,
            number,
            waiting: HashMap::new(),
            armed: None,
            idle_since: None,
            rests_at: None,
        }
    }

    /// Watches every directory that jobs move through.
    fn arm(&mut self) -> io::Result<()> {
        let armed = Armed::new(&self.spool)?;
        // Closing the former descriptor has taken it out of the poller.
        self.poller.add(armed.watcher.as_fd(), self.number)?;
        self.armed = Some(armed);
        Ok(())
    }

    /// Has `who` woken by this topic. True if the watches were armed for that: changes before are not known. Errors:
    /// the system has no watches left.
    pub fn add(&mut self, who: u64, topic: &Topic) -> io::Result<bool> {
        let mut newly = false;
        if self.armed.is_none() {
            self.arm()?;
            self.events.forget();
            newly = true;
        }
        self.idle_since = None;
        if let (Topic::Log(name), Some(armed)) = (topic, &mut self.armed) {
            armed.watch_log(&self.spool, name);
        }
        self.waiting.entry(topic.clone()).or_default().insert(who);
        Ok(newly)
    }

    /// Has `who` no longer woken by this topic. True if nobody waits any more, so that the caller has to wake the
    /// acceptor for [`Self::rests_at`].
    pub fn remove(&mut self, who: u64, topic: &Topic) -> bool {
        let Some(set) = self.waiting.get_mut(topic) else {
            return false;
        };
        set.remove(&who);
        if set.is_empty() {
            self.waiting.remove(topic);
            if let (Topic::Log(name), Some(armed)) = (topic, &mut self.armed) {
                armed.leave_log(name);
            }
        }
        if !self.waiting.is_empty() {
            return false;
        }
        let now = clock::now().boot;
        self.idle_since = Some(now);
        self.rests_at.replace(now.after(LINGER)).is_none()
    }

    /// True while the spool is watched.
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// When the acceptor has to call [`Self::rest`].
    pub fn rests_at(&self) -> Option<Boot> {
        self.rests_at
    }

    /// Ends the watches when nobody has waited for [`LINGER`].
    pub fn rest(&mut self, now: Boot) {
        if self.rests_at.is_some_and(|at| at <= now) {
            self.rests_at = self.idle_since.map(|since| since.after(LINGER));
            if self.rests_at.is_some_and(|at| at <= now) {
                self.armed = None;
                self.rests_at = None;
            }
        }
    }

    /// Reads the events of the watches. Gives the connections to wake.
    pub fn read(&mut self) -> HashSet<u64> {
        let mut woken = HashSet::new();
        let Some(armed) = &mut self.armed else {
            return woken;
        };
        let mut events = Vec::new();
        loop {
            match armed.watcher.read() {
                Ok(more) if more.is_empty() => break,
                Ok(more) => events.extend(more),
                Err(e) => {
                    log::warn!("http: inotify: {e}");
                    break;
                }
            }
        }
        for event in events {
            let lost = matches!(event.change, FileChange::Lost | FileChange::Overflow);
            if lost || !self.take_in(&event, &mut woken) {
                self.lost(&mut woken);
                break;
            }
        }
        woken
    }

    /// Handles one event. False if events were lost.
    fn take_in(&mut self, event: &inotify::FileEvent, woken: &mut HashSet<u64>) -> bool {
        let (Some(armed), Some(watch)) = (&mut self.armed, event.watch) else {
            return false;
        };
        if let Some(name) = armed.logs.get(&watch) {
            wake(&self.waiting, &Topic::Log(name.clone()), woken);
            return true;
        }
        let Some(place) = armed.places.get(&watch).cloned() else {
            // The watch was removed before its event was read.
            return true;
        };
        let Some(name) = event.name.to_str() else {
            return true;
        };
        if place == Place::Log {
            let topic = Topic::Log(name.to_owned());
            if matches!(event.change, FileChange::Came | FileChange::Written)
                && self.waiting.contains_key(&topic)
            {
                armed.watch_log(&self.spool, name);
                wake(&self.waiting, &topic, woken);
            }
            return true;
        }
        let Ok(id) = JobId::new(name) else {
            return true;
        };
        if place == Place::Pending && armed.is_queue(&self.spool, name) {
            // Jobs may have come into a new queue before it was watched.
            for id in armed.watch_queue(&self.spool, name, event.change) {
                self.tell(&id, Some(State::Pending), QueueName::new(name).ok(), woken);
            }
            return true;
        }
        let state = match event.change {
            FileChange::Came | FileChange::Written => Some(state_of(&place)),
            FileChange::Removed => None,
            // The file comes to another place, or becomes an older run.
            FileChange::MovedAway | FileChange::Grew | FileChange::Lost | FileChange::Overflow => {
                wake(&self.waiting, &Topic::Job(id), woken);
                return true;
            }
        };
        let queue = state.and_then(|_| place.queue());
        self.tell(&id, state, queue, woken);
        true
    }

    /// Adds a change of a job to the ring, and collects those who wait for it.
    fn tell(
        &self,
        id: &JobId,
        state: Option<State>,
        queue: Option<QueueName>,
        woken: &mut HashSet<u64>,
    ) {
        wake(&self.waiting, &Topic::Job(id.clone()), woken);
        self.events.add(JobChange {
            id: id.clone(),
            state,
            queue,
            at: clock::wall(),
        });
        wake(&self.waiting, &Topic::Events, woken);
    }

    /// Wakes everybody, since events were lost, and arms new watches.
    fn lost(&mut self, woken: &mut HashSet<u64>) {
        self.events.forget();
        woken.extend(self.waiting.values().flatten().copied());
        self.armed = None;
        if let Err(e) = self.arm() {
            log::error!("http: watching the spool: {e}");
        }
        let Some(armed) = &mut self.armed else { return };
        for topic in self.waiting.keys() {
            if let Topic::Log(name) = topic {
                armed.watch_log(&self.spool, name);
            }
        }
    }
}

fn wake(waiting: &HashMap<Topic, HashSet<u64>>, topic: &Topic, woken: &mut HashSet<u64>) {
    woken.extend(waiting.get(topic).into_iter().flatten().copied());
}

fn state_of(place: &Place) -> State {
    match place {
        Place::Held => State::Held,
        Place::Active => State::Active,
        Place::Complete => State::Complete,
        Place::Failed => State::Failed,
        Place::Pending
        | Place::Queue(_)
        | Place::Root
        | Place::Bad
        | Place::Log
        | Place::Tmp
        | Place::Store
        | Place::Scripts => State::Pending,
    }
}
