//! All connections, and the choice of those that make room when there are too many.

use super::link::{Activity, Link};
use super::peer::Peer;
use crate::core::time::Boot;
use crate::os::clock;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Keys begin here; smaller numbers are the poller's other descriptors.
pub const FIRST_KEY: u64 = 1 << 32;

/// Bytes of whole answers that all clients together may leave unread.
const MOST_UNREAD: usize = 128 << 20;

/// Threads that there may be beside one and a half for each connection: those whose connections were cut off.
const ENDING: usize = 64;

/// All connections.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    table: Mutex<Registry>,
    /// Notified when a thread has ended and, while the wire closes, when one has made its answer.
    progress: Condvar,
}

#[derive(Debug)]
struct Registry {
    links: BTreeMap<u64, Arc<Link>>,
    next: u64,
    /// More than there are links while threads of removed links end.
    threads: usize,
}

impl Connections {
    /// An empty registry with room for `most`.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            table: Mutex::new(Registry {
                links: BTreeMap::new(),
                next: FIRST_KEY,
                threads: 0,
            }),
            progress: Condvar::new(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Registry> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection, for which the caller starts a thread. That calls [`Self::remove`] when it ends.
    pub fn add(&self, stream: TcpStream, peer: Peer) -> Arc<Link> {
        let mut table = self.table();
        let link = Arc::new(Link::new(table.next, stream, peer));
        table.next += 1;
        table.threads += 1;
        table.links.insert(link.key, Arc::clone(&link));
        link
    }

    /// Removes a connection whose thread ends.
    pub fn remove(&self, key: u64) {
        let mut table = self.table();
        table.links.remove(&key);
        table.threads -= 1;
        self.progress.notify_all();
    }

    /// Wakes [`Self::wait_for_ends`].
    pub fn made_progress(&self) {
        let _table = self.table();
        self.progress.notify_all();
    }

    /// The connection with this key, unless it was removed.
    pub fn get(&self, key: u64) -> Option<Arc<Link>> {
        self.table().links.get(&key).cloned()
    }

    /// Every connection.
    pub fn all(&self) -> Vec<Arc<Link>> {
        self.table().links.values().cloned().collect()
    }

    /// The most connections at a time.
    pub fn most(&self) -> usize {
        self.most
    }

    /// True when another connection must end before one more is added.
    pub fn is_full(&self) -> bool {
        self.table().links.len() >= self.most
    }

    /// Ends the connections with which least is lost until there is room for one more. So clients that are slow, by
    /// mistake or on purpose, keep nobody out. False if all wait for the daemon, or too many threads of ended
    /// connections are left.
    pub fn make_room(&self) -> bool {
        let mut table = self.table();
        while table.links.len() >= self.most {
            if table.threads >= self.most + self.most / 2 + ENDING {
                return false;
            }
            let of_link = |link: &Arc<Link>| Some((link.standing().dispensable()?, link.key));
            let least = table.links.values().filter_map(of_link).min();
            match least.and_then(|(_, key)| table.links.remove(&key)) {
                Some(link) => link.cut_off(),
                None => return false,
            }
        }
        true
    }

    /// Keeps an eighth of the places free of waits and streams: asks the oldest without a token to leave. A wait is
    /// then answered as at its timeout, and a stream ends.
    pub fn leave_room(&self) {
        let table = self.table();
        let most = self.most - self.most / 8;
        let is_waiting = |link: &&Arc<Link>| link.standing().is_waiting();
        for _ in most..table.links.values().filter(is_waiting).count() {
            let may_leave = |link: &Arc<Link>| Some((link.standing().may_leave()?, link.key));
            let oldest = table.links.values().filter_map(may_leave).min();
            let Some(link) = oldest.and_then(|(_, key)| table.links.get(&key)) else {
                return;
            };
            link.tell(|standing| standing.is_leaving = true);
        }
    }

    /// Keeps within a bound what clients have not read of whole answers: cuts off the oldest, and first those that can
    /// be asked for again. The newest one stays.
    pub fn bound_unread(&self, newest: u64) {
        let mut table = self.table();
        let of_link = |link: &Arc<Link>| {
            let standing = link.standing();
            (standing.unread_order(), link.key, standing.unread)
        };
        let unread = table.links.values().map(of_link);
        let mut unread: Vec<_> = unread.filter(|(_, _, bytes)| *bytes > 0).collect();
        let mut all: usize = unread.iter().map(|(_, _, bytes)| bytes).sum();
        if all <= MOST_UNREAD {
            return;
        }
        unread.sort();
        for (_, key, bytes) in unread {
            if all > MOST_UNREAD
                && key != newest
                && let Some(link) = table.links.remove(&key)
            {
                link.cut_off();
                all -= bytes;
            }
        }
    }

    /// Waits until all connections have ended, or until `until` and no handler runs, or until `at_last`. Cuts off those
    /// that are left.
    pub fn wait_for_ends(&self, until: Boot, at_last: Boot) {
        let mut table = self.table();
        loop {
            let now = clock::now().boot;
            let is_working = |link: &Arc<Link>| link.standing().activity == Activity::Working;
            let deadline = match until <= now {
                true => at_last,
                false => until,
            };
            let is_over = until <= now && !table.links.values().any(is_working);
            if table.links.is_empty() || is_over || deadline <= now {
                break;
            }
            let waited = self.progress.wait_timeout(table, deadline.since(now));
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        table.links.values().for_each(|link| link.cut_off());
        table.links.clear();
    }
}
