//! The work of a worker so far, told as it happens.

use super::report::EndReport;
use super::say::Say;
use crate::core::id::JobId;
use crate::core::record::{Record, State, Work};
use crate::os::clock;
use crate::remote::bridge::BridgeObserver;
use crate::spool::{Spool, stderr_log};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most that is told of what a job wrote.
const MOST_OUTPUT: u64 = 64 << 10;

/// A poll waits so long for the message of the last job to be removed, so that the lines come in their order.
const ORDER: Duration = Duration::from_secs(5);

/// The text is that of qdone.
const NO_WORK: &str = "Shutting down because we are in drain mode and no work is available.";

/// The counts and the open jobs.
#[derive(Debug, Default)]
struct WorkCounts {
    /// Jobs whose messages are neither removed nor given back.
    open: BTreeSet<JobId>,
    succeeded: u32,
    failed: u32,
    /// Queues in this round.
    queues: usize,
}

/// Tells what happens to jobs.
pub struct WorkProgress {
    spool: Option<Spool>,
    say: Say,
    counts: Mutex<WorkCounts>,
    changed: Condvar,
}

impl WorkProgress {
    /// The jobs are in this spool, if they are run at all.
    pub fn new(spool: Option<Spool>, say: Say) -> Self {
        Self {
            spool,
            say,
            counts: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, WorkCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A round over so many queues begins.
    pub fn round_begins(&self, queues: usize) {
        self.lock().queues = queues;
    }

    /// Waits until fewer jobs are open than there are slots.
    pub fn wait_for_ends(&self, slots: u16) {
        let is_full = |counts: &mut WorkCounts| counts.open.len() >= usize::from(slots);
        let waited = self.changed.wait_timeout_while(self.lock(), ORDER, is_full);
        drop(waited);
    }

    /// A message has come.
    pub fn found_message(&self, id: &str) {
        self.say.step(&format!("  Found job {id}"));
    }

    /// A message was removed unrun.
    pub fn archived(&self) {
        self.lock().succeeded += 1;
    }

    /// Tells the end of a worker that was to drain its queues.
    pub fn tell_drained(&self) {
        let counts = self.lock();
        let WorkCounts {
            succeeded, failed, ..
        } = *counts;
        match counts.queues {
            0 => self.say.always(NO_WORK),
            _ => self.say.step(&format!(
                "Ran {} jobs: {succeeded} succeeded {failed} failed",
                succeeded + failed
            )),
        }
    }

    /// Ends the jobs whose messages are neither removed nor given back.
    pub fn cancel_open(&self) {
        for id in &self.lock().open {
            if let Some(Err(e)) = self.spool.as_ref().map(|spool| spool.cancel(id)) {
                self.say.error(&format!("{id}: {e}"));
            }
        }
    }

    fn close(&self, id: &JobId) {
        self.lock().open.remove(id);
        self.changed.notify_all();
    }

    /// The end of a log; empty if there is none.
    fn end_of(&self, log: &str) -> String {
        let read = |mut file: File| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(MOST_OUTPUT)))?;
            let mut bytes = Vec::new();
            file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let file = self
            .spool
            .as_ref()
            .and_then(|spool| spool.open_log(log).ok());
        file.and_then(|file| read(file).ok()).unwrap_or_default()
    }
}

impl BridgeObserver for WorkProgress {
    fn found(&self, id: &JobId, _queue: &str, body: &str) {
        self.lock().open.insert(id.clone());
        self.found_message(id.as_str());
        self.say
            .step(&format!("  Executing job command: nice {body}"));
    }

    fn extended(&self, _id: &JobId, after: Duration, lease: Duration) {
        let (after, lease) = (after.as_secs_f64(), lease.as_secs());
        self.say.step(&format!(
            "  Ran for {after:.3} seconds, requesting another {lease} seconds"
        ));
    }

    fn ended(&self, id: &JobId, state: State, record: Option<&Record>) {
        let is_well = state == State::Complete;
        let mut counts = self.lock();
        match is_well {
            true => counts.succeeded += 1,
            false => counts.failed += 1,
        }
        drop(counts);
        let Some(record) = record else { return };
        let command = match &record.work {
            Work::Text(text) => text.clone(),
            other => other.summary(),
        };
        let report = EndReport {
            job: id.as_str(),
            command: &command,
            record,
            stdout: &self.end_of(id.as_str()),
            stderr: &self.end_of(&stderr_log(id)),
        };
        match (is_well, self.say.is_verbose) {
            (true, _) => {
                self.say.step(&report.success());
                self.say.step("  cleaning up (removing job) ...");
            }
            (false, true) => self.say.step(&report.failure()),
            (false, false) => {
                let line = report.json(clock::wall()).unwrap_or_default();
                // A reader that is gone is no reason to leave the job.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        }
    }

    fn acked(&self, id: &JobId) {
        self.say.step("  done\n");
        self.close(id);
    }

    fn given_back(&self, id: &JobId) {
        self.close(id);
    }

    fn lost(&self, id: &JobId, _why: &str) {
        self.close(id);
    }

    fn refused(&self, id: &JobId, why: &str) {
        self.say.error(&format!("{id}: {why}"));
    }
}
