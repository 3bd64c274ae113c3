//! Listing queues, jobs and numbers.

use super::seq::MOST;
use super::{Fs, Place, Spool, Where};
use crate::core::config::Config;
use crate::core::id::{JobId, QueueName, is_foreign};
use crate::core::record::State;
use crate::os::dir::FileType;
use std::collections::BTreeSet;
use std::io;
use std::sync::PoisonError;

impl<F: Fs> Spool<F> {
    /// The queues that have a directory, in no order.
    pub fn queues(&self) -> io::Result<Vec<QueueName>> {
        // A directory has two links, and one more for each sub-directory (on btrfs always one). This saves reading a
        // large directory, here for every job that is looked for.
        let look = self.fs.look(&Place::Root, b"pending")?;
        let directories = look.and_then(|look| look.links.checked_sub(2));
        let mut known = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if directories == Some(known.len() as u64) && self.are_queues(&known)? {
            return Ok(known.clone());
        }
        let mut names = Vec::new();
        self.fs.names(&Place::Pending, &mut |name| {
            names.extend(QueueName::from_bytes(name))
        })?;
        known.clear();
        for queue in names {
            if self.are_queues(std::slice::from_ref(&queue))? {
                known.push(queue);
            }
        }
        Ok(known.clone())
    }

    /// True if all of these are directories in `pending/`.
    fn are_queues(&self, names: &[QueueName]) -> io::Result<bool> {
        for name in names {
            let look = self.fs.look(&Place::Pending, name.as_str().as_bytes())?;
            if look.is_none_or(|look| look.kind != FileType::Directory) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The places of the jobs in a state: one directory, but for waiting jobs those of all queues, the default one first
    /// and the others by name.
    pub fn places_of(&self, state: State) -> io::Result<Vec<Where>> {
        Ok(match state {
            State::Held => vec![Where::Held],
            State::Active => vec![Where::Active],
            State::Complete => vec![Where::Complete],
            State::Failed => vec![Where::Failed],
            State::Pending => {
                let mut named = self.queues()?;
                named.retain(|queue| !queue.is_default());
                named.sort_unstable();
                let all = std::iter::once(QueueName::default()).chain(named);
                all.map(Where::Pending).collect()
            }
        })
    }

    /// The ids in one place, in no order; none if the place is gone.
    pub fn ids_there(&self, at: &Where) -> io::Result<Vec<JobId>> {
        match self.ids(at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            ids => ids,
        }
    }

    /// True if there is a job in this place. Reads no more names than needed.
    pub fn has_any(&self, at: &Where) -> io::Result<bool> {
        let names = match self.fs.listing(&at.place()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            names => names?,
        };
        for name in names {
            let name = name?;
            if is_foreign(&name) || JobId::from_bytes(&name).is_err() {
                continue;
            }
            let look = self.fs.look(&at.place(), &name)?;
            if look.is_some_and(|look| look.kind != FileType::Directory) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The queues that have a directory or a setting, and the default one.
    pub fn known_queues(&self, settings: &Config) -> io::Result<BTreeSet<QueueName>> {
        let mut known: BTreeSet<QueueName> = self.queues()?.into_iter().collect();
        known.insert(QueueName::default());
        known.extend(settings.queues.keys().cloned());
        Ok(known)
    }

    /// The queues that the records of held, running and finished jobs name. Reads them all.
    pub fn queues_named(&self) -> io::Result<BTreeSet<QueueName>> {
        let mut names = BTreeSet::new();
        for at in [Where::Held, Where::Active, Where::Complete, Where::Failed] {
            for id in self.ids(&at)? {
                // A file that is gone or cannot be read names none.
                if let Ok(Some(record)) = self.load(&id, &at) {
                    names.extend(record.queue);
                }
            }
        }
        Ok(names)
    }

    /// The highest job number that any file has, older runs and logs included; 0 if none has.
    pub(super) fn highest_number(&self) -> io::Result<u64> {
        let mut highest = 0;
        let states = [
            Place::Pending,
            Place::Held,
            Place::Active,
            Place::Complete,
            Place::Failed,
            Place::Log,
            Place::Bad,
        ];
        let queues = self.queues()?;
        for place in queues.iter().map(Place::of_queue).chain(states) {
            let names = self.fs.names(&place, &mut |name| {
                let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (digits, rest) = name.split_at(digits);
                let number = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|n| n.parse().ok());
                if rest.is_empty() || rest.starts_with(b"~") {
                    highest = highest.max(number.filter(|n| *n < MOST).unwrap_or(0));
                }
            });
            match names {
                // A queue may be gone by now.
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(highest)
    }

    /// The number of waiting and of held jobs, by their names alone.
    pub fn count_waiting(&self) -> io::Result<usize> {
        let places = self.places_of(State::Pending)?;
        let mut waiting = 0;
        for at in places.into_iter().chain([Where::Held]) {
            self.each_id(&at, &mut |_| waiting += 1)?;
        }
        Ok(waiting)
    }

    /// The ids in one state, in no order.
    pub fn ids(&self, at: &Where) -> io::Result<Vec<JobId>> {
        let mut ids = Vec::new();
        self.each_id(at, &mut |id| ids.push(id))?;
        Ok(ids)
    }

    /// Calls `each` with every id in one state, in no order.
    pub fn each_id(&self, at: &Where, each: &mut dyn FnMut(JobId)) -> io::Result<()> {
        let queues = match at {
            Where::Pending(queue) if queue.is_default() => self.queues()?,
            Where::Pending(_) | Where::Held | Where::Active | Where::Complete | Where::Failed => {
                Vec::new()
            }
        };
        self.fs.names(&at.place(), &mut |name| {
            let is_queue = || queues.iter().any(|queue| queue.as_str().as_bytes() == name);
            if !is_foreign(name)
                && let Ok(id) = JobId::from_bytes(name)
                && !is_queue()
            {
                each(id);
            }
        })
    }
}
