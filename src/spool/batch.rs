//! Accepting many jobs together. Several threads stage them, so that their syncs share commits of the journal. One
//! thread renames them in order while others are still being staged, and then syncs each directory once. Only then is
//! any of them accepted.

use super::accept::{STATES, SubmitError, check_queue, waiting_in};
use super::{Fs, Place, Spool};
use crate::core::id::{JobId, QueueName};
use crate::os::dir::How;
use crate::os::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// How many jobs a thread stages at a time when syncs are off.
const SHARE: usize = 32;

/// Threads that stage and sync: concurrent syncs share a commit of the journal.
const SYNCERS: usize = 16;

/// Threads that stage without syncs: more would wait for each other at the kernel's lock on `tmp/`.
const WRITERS: usize = 2;

/// The text of a job's file, and where it waits.
#[derive(Debug)]
pub struct JobText {
    /// The record as JSON; it names the queue.
    pub text: String,
    /// The queue.
    pub queue: QueueName,
    /// It waits in `held/` until it is released to its queue.
    pub held: bool,
}

/// The outcome of accepting many jobs.
#[derive(Debug)]
pub struct Batch {
    /// The ids of the jobs that were accepted: the first ones.
    pub ids: Vec<JobId>,
    /// The first job that was not accepted, counted from 0, and why.
    pub failed: Option<(usize, SubmitError)>,
}

/// A job in `tmp/`.
struct Staged {
    id: JobId,
    to: Place,
    name: Vec<u8>,
}

/// Jobs whose files are where they wait but not synced yet.
#[derive(Default)]
struct Unsynced {
    jobs: Vec<(JobId, Place)>,
    /// The directories, and whether they were made for these jobs.
    places: BTreeMap<Place, bool>,
}

impl<F: Fs> Spool<F> {
    /// True unless syncs are off.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// How many threads stage a batch fastest.
    pub fn writers(&self) -> usize {
        if self.durable { SYNCERS } else { WRITERS }
    }

    /// Accepts `count` jobs under the next numbers, in order, up to the first that cannot be accepted. `maker` gives
    /// each of the `threads` a function that makes the text of the n-th job, or says why there is none.
    pub fn submit_all<M>(
        &self,
        count: usize,
        threads: usize,
        boot: &str,
        maker: impl Fn() -> M + Sync,
    ) -> Batch
    where
        M: FnMut(usize, &JobId) -> Result<JobText, String>,
    {
        let mut batch = Batch {
            ids: Vec::new(),
            failed: None,
        };
        loop {
            let from = batch.ids.len();
            let part = self.submit_part(count - from, threads, boot, || {
                let mut make = maker();
                move |n: usize, id: &JobId| make(from + n, id)
            });
            batch.ids.extend(part.ids);
            match part.failed {
                // A file has that number already. Jobs run in the order of their numbers, so this job and all behind
                // it get later ones.
                Some((_, SubmitError::Taken(_))) => {}
                failed => {
                    batch.failed = failed.map(|(n, e)| (from + n, e));
                    return batch;
                }
            }
        }
    }

    /// Accepts jobs under consecutive numbers, up to the first that cannot be accepted or whose number is taken.
    fn submit_part<M>(
        &self,
        count: usize,
        threads: usize,
        boot: &str,
        maker: impl Fn() -> M + Sync,
    ) -> Batch
    where
        M: FnMut(usize, &JobId) -> Result<JobText, String>,
    {
        let numbers = match self.take_numbers(1, count as u64, boot) {
            Ok(numbers) => numbers,
            Err(e) => return Batch::refused(e.into()),
        };
        let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        // Without a sync, staging a job takes less time than waking the thread that renames it.
        let share = if self.durable { 1 } else { SHARE };
        let work = |sender: mpsc::Sender<_>| {
            let mut make = maker();
            while !over.load(Ordering::Relaxed) {
                let n = next.fetch_add(share, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                let mut stage = |n| self.stage_numbered(numbers.nth(n as u64), |id| make(n, id));
                let staged = (n..count.min(n + share)).map(|n| (n, stage(n))).collect();
                if sender.send(staged).is_err() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            let start = |_: &usize| {
                let (sender, work) = (sender.clone(), &work);
                let thread = std::thread::Builder::new();
                thread.spawn_scoped(scope, move || work(sender)).is_ok()
            };
            // If no thread can be started, this one stages the jobs.
            if threads < 2 || (0..threads.min(count)).filter(start).count() == 0 {
                work(sender.clone());
            }
            drop(sender);
            let results = receiver.iter().flat_map(Vec::into_iter);
            let results = results.inspect(|(_, staged)| {
                if staged.is_err() {
                    over.store(true, Ordering::Relaxed);
                }
            });
            self.show_all(results, count)
        })
    }

    /// Renames staged jobs to where they wait in the order of their numbers, and syncs those directories.
    fn show_all(
        &self,
        results: impl Iterator<Item = (usize, Result<Staged, SubmitError>)>,
        count: usize,
    ) -> Batch {
        let mut waiting: Vec<_> = (0..count).map(|_| None).collect();
        let (mut next, mut failed, mut unsynced) = (0, None, Unsynced::default());
        for (n, staged) in results {
            waiting[n] = Some(staged);
            while failed.is_none()
                && let Some(staged) = waiting.get_mut(next).and_then(Option::take)
            {
                let done = staged.and_then(|staged| self.show(staged, &mut unsynced));
                failed = done.err().map(|e| (next, e));
                next += 1;
            }
        }
        for staged in waiting.into_iter().flatten().flatten() {
            let _ = self.fs.unlink(&Place::Tmp, &staged.name);
        }
        if let Err(e) = self.sync_unsynced(&unsynced) {
            // They are not accepted, so their files are removed, unless they run by now.
            for (id, place) in unsynced.jobs.drain(..) {
                let _ = self.fs.unlink(&place, id.as_str().as_bytes());
            }
            failed = Some((0, e.into()));
        }
        if failed.is_some() {
            let made = unsynced.places.iter().filter(|(_, made)| **made);
            for queue in made.filter_map(|(place, _)| place.queue()) {
                // This fails if there is anything in it, and then it stays.
                let _ = self.fs.remove_queue(&queue);
            }
        }
        let ids = unsynced.jobs.into_iter().map(|(id, _)| id).collect();
        Batch { ids, failed }
    }

    /// Stages a job under this number.
    fn stage_numbered(
        &self,
        number: u64,
        make: impl FnOnce(&JobId) -> Result<JobText, String>,
    ) -> Result<Staged, SubmitError> {
        // For the default queue, `pending/` is not searched: the rename fails if the name is taken there.
        let id = self.number(number, &STATES[1..])?;
        let JobText { text, queue, held } = make(&id).map_err(SubmitError::NoJob)?;
        let to = waiting_in(&queue, held);
        if to != Place::Pending {
            self.number(number, &STATES[..1])?;
        }
        check_queue(&queue)?;
        let name = self.stage(id.as_str(), text.as_bytes())?;
        Ok(Staged { id, to, name })
    }

    /// This number as an id, unless a file in these places has it.
    fn number(&self, number: u64, places: &[Place]) -> Result<JobId, SubmitError> {
        let id = JobId::new(&number.to_string()).map_err(|e| SubmitError::NoJob(e.to_string()))?;
        match self.free_number(number, places)? {
            Some(id) => Ok(id),
            None => Err(SubmitError::Taken(id)),
        }
    }

    /// Renames a job to where it waits.
    fn show(&self, staged: Staged, unsynced: &mut Unsynced) -> Result<(), SubmitError> {
        let Staged { id, to, name } = staged;
        let renamed = self.prepare(&to, unsynced).and_then(|()| {
            let new_name = id.as_str().as_bytes();
            self.fs
                .rename(&Place::Tmp, &name, &to, new_name, How::NoReplace)
        });
        match renamed {
            Ok(()) => {
                unsynced.jobs.push((id, to));
                Ok(())
            }
            Err(e) => {
                self.fs.unlink(&Place::Tmp, &name)?;
                match e.kind() {
                    io::ErrorKind::AlreadyExists => Err(SubmitError::Taken(id)),
                    _ => Err(e.into()),
                }
            }
        }
    }

    fn prepare(&self, place: &Place, unsynced: &mut Unsynced) -> io::Result<()> {
        if !unsynced.places.contains_key(place) {
            let made = self.make_place(place)?.is_some();
            unsynced.places.insert(place.clone(), made);
        }
        Ok(())
    }

    fn sync_unsynced(&self, unsynced: &Unsynced) -> io::Result<()> {
        if Fault::NoPendingSync.is_on() {
            return Ok(());
        }
        if unsynced.places.is_empty() {
            return Ok(());
        }
        // `pending/`, which has the names of the queues, sorts before them and is synced first.
        let mut places: BTreeSet<&Place> = unsynced.places.keys().collect();
        places.insert(&Place::Pending);
        places.into_iter().try_for_each(|place| self.sync(place))
    }
}

impl Batch {
    fn refused(e: SubmitError) -> Self {
        Self {
            ids: Vec::new(),
            failed: Some((0, e)),
        }
    }
}
