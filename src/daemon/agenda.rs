//! Names and times that the watcher looks at without an event.

use crate::core::time::Boot;
use crate::os::clock::Alarm;
use crate::spool::Place;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everything is looked at again this often, should an event ever have been missed.
const RESCAN_EVERY: Duration = Duration::from_secs(600);

/// How often retention runs.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// How soon what failed is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How long a file that was written where it is must have been left alone: install(1) and others close it first, and
/// then set its mode by its name, which fails if the job has begun (measured: one in seven, on a busy machine).
const SETTLES_AFTER: Duration = Duration::from_millis(50);

/// Names and times, with the alarm that wakes the watcher for the next of them. Any thread may add to it.
#[derive(Debug)]
pub struct Agenda {
    alarm: Alarm,
    dates: Mutex<Dates>,
}

#[derive(Debug, Default)]
struct Dates {
    /// Names to judge again, by when.
    later: BTreeMap<(Boot, u64), (Place, Vec<u8>)>,
    /// Files that were written where they are, in the order in which they are to be judged.
    settling: VecDeque<(Boot, Place, Vec<u8>)>,
    /// Of several times for a settling name, the last one counts.
    last: HashMap<(Place, Vec<u8>), Boot>,
    rescan_at: Option<Boot>,
    retain_at: Option<Boot>,
    room_at: Option<Boot>,
}

/// A name whose time has come.
#[derive(Debug)]
pub enum Due {
    /// It was written where it is, and has been left alone since.
    Settled(Place, Vec<u8>),
    /// It is to be judged again.
    Again(Place, Vec<u8>),
}

impl Agenda {
    /// Nothing is to be looked at. The alarm wakes the watcher.
    pub fn new(alarm: Alarm) -> Self {
        Self {
            alarm,
            dates: Mutex::default(),
        }
    }

    fn dates(&self) -> MutexGuard<'_, Dates> {
        self.dates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the dates, and sees to it that the watcher wakes in time.
    fn plan(&self, change: impl FnOnce(&mut Dates)) {
        let mut dates = self.dates();
        change(&mut dates);
        self.alarm.set(dates.next().map(|at| at.0));
    }

    /// The alarm has gone off: it is set anew.
    pub fn set_alarm(&self) {
        self.plan(|_| {});
    }

    /// Judges a name again at this time, or earlier if that was planned.
    pub fn judge_later(&self, at: Boot, place: &Place, name: &[u8]) {
        self.plan(|dates| {
            let name = (place.clone(), name.to_vec());
            let known = dates.later.iter().find(|(_, known)| **known == name);
            let known = known.map(|(key, _)| *key);
            if known.is_some_and(|(known, _)| known <= at) {
                return;
            }
            known.map(|key| dates.later.remove(&key));
            let ties = dates.later.range((at, 0)..=(at, u64::MAX));
            let tie = ties.last().map_or(0, |((_, tie), _)| tie + 1);
            dates.later.insert((at, tie), name);
        });
    }

    /// Forgets the names of a directory that were to be judged again.
    pub fn forget(&self, place: &Place) {
        self.dates().later.retain(|_, (p, _)| p != place);
    }

    /// Judges a file that was written where it is, once it has been left alone.
    pub fn let_settle(&self, now: Boot, place: &Place, name: &[u8]) {
        let at = now.after(SETTLES_AFTER);
        self.plan(|dates| {
            dates.last.insert((place.clone(), name.to_vec()), at);
            dates.settling.push_back((at, place.clone(), name.to_vec()));
        });
    }

    /// True when no name is to be judged.
    pub fn has_no_names(&self) -> bool {
        let dates = self.dates();
        dates.later.is_empty() && dates.settling.is_empty()
    }

    /// Takes a name whose time has come by now.
    pub fn take_due(&self, now: Boot) -> Option<Due> {
        let mut dates = self.dates();
        if let Some((place, name)) = dates.take_settled(now) {
            return Some(Due::Settled(place, name));
        }
        let entry = dates.later.first_entry()?;
        (entry.key().0 <= now).then(|| {
            let (place, name) = entry.remove();
            Due::Again(place, name)
        })
    }

    /// Plans the next time at which all is looked at: after the usual while.
    pub fn rescan_as_usual(&self, now: Boot) {
        self.plan(|dates| dates.rescan_at = Some(now.after(RESCAN_EVERY)));
    }

    /// A file or directory could not be looked at (no descriptors left, perhaps): all is looked at again soon.
    pub fn rescan_soon(&self, now: Boot) {
        let soon = now.after(RETRY_AFTER);
        self.plan(|dates| dates.rescan_at = dates.rescan_at.map(|at| at.min(soon)));
    }

    /// Takes the time at which all is to be looked at, if it has come; true if it had.
    pub fn take_rescan(&self, now: Boot) -> bool {
        self.dates().rescan_at.take_if(|at| *at <= now).is_some()
    }

    /// Retention runs now, and then every hour.
    pub fn retain_now(&self, now: Boot) {
        self.plan(|dates| dates.retain_at = Some(now));
    }

    /// Retention runs within a second, if it runs at all.
    pub fn retain_soon(&self, now: Boot) {
        let soon = now.after(Duration::from_secs(1));
        self.plan(|dates| dates.retain_at = dates.retain_at.map(|at| at.min(soon)));
    }

    /// Takes the time at which retention is to run, if it has come, and plans the next one; true if it had.
    pub fn take_retention(&self, now: Boot) -> bool {
        let is_due = self.dates().retain_at.is_some_and(|at| at <= now);
        if is_due {
            self.plan(|dates| dates.retain_at = Some(now.after(RETAIN_EVERY)));
        }
        is_due
    }

    /// Whether there is room again is to be looked at then; `None`, if there is.
    pub fn look_for_room(&self, at: Option<Boot>) {
        self.plan(|dates| dates.room_at = at);
    }
}

impl Dates {
    fn next(&self) -> Option<Boot> {
        let later = self.later.keys().next().map(|(at, _)| *at);
        let settled = self.settling.front().map(|(at, _, _)| *at);
        let periodic = [self.rescan_at, self.retain_at, self.room_at];
        let named = [later, settled];
        named.into_iter().chain(periodic).flatten().min()
    }

    fn take_settled(&mut self, now: Boot) -> Option<(Place, Vec<u8>)> {
        while self.settling.front().is_some_and(|(at, _, _)| *at <= now) {
            let (at, place, name) = self.settling.pop_front()?;
            let key = (place, name);
            if self.last.get(&key) == Some(&at) {
                self.last.remove(&key);
                return Some(key);
            }
        }
        None
    }
}
