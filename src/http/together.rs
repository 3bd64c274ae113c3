//! Accepting the jobs of one request: each is accepted or refused by itself, and they share their syncs.

use super::{Caller, Door, JobRefusal};
use crate::core::id::JobId;
use crate::core::record::Record;
use crate::os::clock;
use crate::spool::{JobText, NewId, Submit, SubmitError};
use std::rc::Rc;

/// The most jobs that are accepted at a time. The room is checked again before each time.
const WINDOW: usize = 1024;

/// The id of an accepted job, or the refusal, which many jobs may share.
type Submitted = Result<JobId, Rc<JobRefusal>>;

impl Door {
    /// Accepts each of these jobs as [`Self::submit`] does. They get the next numbers in their order; when one is
    /// refused, those behind it are still accepted.
    pub fn submit_each(&self, caller: &Caller, records: Vec<Record>) -> Vec<Submitted> {
        let config = self.config();
        // Jobs of the same age run in the order of their numbers, whatever is done to the clock meanwhile.
        let made = clock::wall();
        let mut outcomes: Vec<Option<Submitted>> = records.iter().map(|_| None).collect();
        let mut waiting = Vec::new();
        for (n, record) in records.into_iter().enumerate() {
            // The job may come after one that is not accepted yet.
            let has_parents = record.parents().next().is_some();
            if has_parents || waiting.len() >= WINDOW {
                self.accept(std::mem::take(&mut waiting), &mut outcomes);
            }
            match self.judge(caller, record, &config, made) {
                Ok(record) => waiting.push((n, record)),
                Err(refusal) => outcomes[n] = Some(Err(refusal.into())),
            }
        }
        self.accept(waiting, &mut outcomes);
        outcomes.into_iter().flatten().collect()
    }

    /// Accepts jobs, each with its place among the outcomes, as far as there is room.
    fn accept(&self, mut jobs: Vec<(usize, Record)>, outcomes: &mut [Option<Submitted>]) {
        while !jobs.is_empty() {
            let config = self.config();
            let room = self
                .spool()
                .admit(&config)
                .and_then(|()| self.spool().room(&config));
            let refusal = match room {
                Ok(room) => {
                    let now = jobs.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    let later = jobs.split_off(now);
                    let refused = self.accept_now(&mut jobs, outcomes);
                    jobs.extend(later);
                    refused
                }
                Err(why) => Some(JobRefusal::NotNow(why)),
            };
            // The same would be said of the others.
            if let Some(refusal) = refusal.map(Rc::new) {
                for (n, _) in jobs.drain(..) {
                    outcomes[n] = Some(Err(Rc::clone(&refusal)));
                }
            }
        }
    }

    /// Accepts jobs and removes them from the list. Gives the reason why all that are left in it are refused.
    fn accept_now(
        &self,
        jobs: &mut Vec<(usize, Record)>,
        outcomes: &mut [Option<Submitted>],
    ) -> Option<JobRefusal> {
        let spool = self.spool();
        let batch = spool.submit_all(jobs.len(), spool.writers(), self.boot(), || {
            |n: usize, id: &JobId| Ok(draft(&jobs[n].1, id))
        });
        let accepted = batch.ids.len();
        for ((n, _), id) in jobs.drain(..accepted).zip(batch.ids) {
            outcomes[n] = Some(Ok(id));
        }
        let (_, e) = batch.failed?;
        if concerns_all(&e) {
            return Some(e.into());
        }
        // A batch ends with the first job that fails; the others are tried one by one.
        for (n, mut record) in std::mem::take(jobs) {
            let queue = record.queue.clone().unwrap_or_default();
            let submit = Submit {
                record: &mut record,
                queue,
                held: false,
                id: NewId::Next,
            };
            let done = spool.submit(submit, self.boot());
            outcomes[n] = Some(done.map_err(|e| Rc::new(e.into())));
        }
        None
    }
}

/// True for an error of the spool, which concerns all jobs.
fn concerns_all(e: &SubmitError) -> bool {
    matches!(e, SubmitError::Io(e) if super::problem::status_of(e) != 409)
}

/// The text and the queue of a job under this id.
fn draft(record: &Record, id: &JobId) -> JobText {
    let mut record = record.clone();
    record.id = Some(id.clone());
    record.queue.take_if(|queue| queue.is_default());
    JobText {
        text: record.to_json(),
        queue: record.queue.unwrap_or_default(),
        held: false,
    }
}
