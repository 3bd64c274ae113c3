//! The daemon without its threads: it calls the methods of the spool in the same order as `src/daemon` and reacts in
//! the same way to their answers.

use super::ledger::{Hand, Hold, token};
use super::simfs::SimFs;
use pirn::core::config::Config;
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{StopReason, TryEnd, Verdict, verdict};
use pirn::core::record::{Reason, Record, Try};
use pirn::core::scheduler::Stamp;
use pirn::core::time::{Boot, Now, Wall};
use pirn::spool::{DropLimits, IfSame, Intake, Left, Place, Placed, Spool, Target, Where};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The reason for no further try although the job had tries left: a newer file has its name.
pub const SUPERSEDED: &str = "not tried again: something else has its name in pending/ by now";

/// Far in the future: no file is so young that it is waited for.
const NOW: Wall = Wall(i64::MAX / 2);

pub struct Run {
    pub record: Record,
    pub queue: QueueName,
}

pub struct Daemon {
    pub fs: SimFs,
    pub spool: Spool<SimFs>,
    pub runs: BTreeMap<JobId, Run>,
}

impl Daemon {
    pub fn new(fs: &SimFs, durable: bool) -> Self {
        Self {
            fs: fs.clone(),
            spool: Spool::over(fs.clone(), Path::new("/sim"), durable),
            runs: BTreeMap::new(),
        }
    }

    /// The first work of a daemon: `active/`, then all waiting jobs.
    pub fn recover(&mut self) -> io::Result<()> {
        self.fs.during("recovery");
        let mut staged = Vec::new();
        let spool = &self.spool;
        spool.names(&Place::Tmp, &mut |name| staged.push(name.to_vec()))?;
        staged
            .iter()
            .try_for_each(|name| spool.discard_staged(name))?;
        for id in self.spool.ids(&Where::Active)? {
            match self.spool.left(&id)? {
                Left::Ended(record) => {
                    self.spool.move_on(&id, &record)?;
                }
                Left::Between(record) => {
                    self.spool.put_back(&id, *record)?;
                }
                Left::Begun(record) => {
                    let queue = record.queue.clone().unwrap_or_default();
                    let record = *record;
                    self.runs.insert(id.clone(), Run { record, queue });
                    self.end(&id, TryEnd::Interrupted)?;
                }
                Left::Bad(why) => {
                    self.spool
                        .quarantine(&Place::Active, id.as_str().as_bytes(), &why)?;
                }
            }
        }
        self.scan(&Place::Pending)?;
        self.spool.separate_twins()
    }

    /// Takes in all waiting files.
    pub fn scan(&self, place: &Place) -> io::Result<()> {
        let mut names = Vec::new();
        self.spool
            .names(place, &mut |name| names.push(name.to_vec()))?;
        for name in names {
            self.take_in(place, &name)?;
        }
        Ok(())
    }

    pub fn take_in(&self, place: &Place, name: &[u8]) -> io::Result<()> {
        let limits = DropLimits {
            max_job_bytes: 1 << 20,
            uid: 0,
        };
        match self.spool.judge(place, name, limits, NOW)? {
            Intake::Job(record, look, _) => {
                let Ok(id) = JobId::from_bytes(name) else {
                    return Ok(());
                };
                let asked = record.queue.as_ref().filter(|queue| !queue.is_default());
                if let (Place::Pending, Some(queue)) = (place, asked) {
                    self.spool.route(&id, &record, look.inode)?;
                    return self.take_in(&Place::of_queue(queue), name);
                }
                if !self.runs.contains_key(&id) {
                    self.spool.make_room(&id, place)?;
                }
                Ok(())
            }
            Intake::Queue(queue) => self.scan(&Place::of_queue(&queue)),
            Intake::Bad { why, .. } => self.spool.quarantine(place, name, &why).map(drop),
            Intake::Nothing | Intake::Open | Intake::Later(_) => Ok(()),
        }
    }

    /// The stamp and the record of a waiting file.
    fn stamp(&self, id: &JobId, queue: &QueueName) -> io::Result<Option<(Stamp, Record)>> {
        let place = Place::of_queue(queue);
        let look = self.spool.look(&place, id.as_str().as_bytes())?;
        let (Some(look), Ok(Some(record))) =
            (look, self.spool.load(id, &Where::Pending(queue.clone())))
        else {
            return Ok(None);
        };
        let now = Now {
            boot: Boot(0),
            wall: NOW,
        };
        let ticket = self
            .spool
            .ticket(id, queue, &record, &look, now, Duration::ZERO);
        Ok(Some((ticket.stamp, record)))
    }

    /// Starts a job that waits. True if it runs.
    pub fn start(&mut self, id: &JobId, queue: &QueueName) -> io::Result<bool> {
        if self.runs.contains_key(id) {
            return Ok(false);
        }
        let Some((stamp, _)) = self.stamp(id, queue)? else {
            return Ok(false);
        };
        self.fs.during("claim");
        let IfSame::Done(mut record) = self.spool.claim(id, queue, stamp)? else {
            return Ok(false);
        };
        record.attempt += 1;
        let attempt = record.attempt;
        let token = token(&record).unwrap_or_default();
        // A user may have moved it meanwhile.
        let is_here = self.fs.token_at(&Place::Active, id.as_str()).as_ref() == Some(&token);
        self.fs.learn(|ledger| {
            ledger.job(&token, |job| {
                job.most = job.most.max(attempt);
                job.hand = if is_here { Hand::Off } else { job.hand };
            });
        });
        if attempt > 1 {
            self.note_as(id, &record)?;
        }
        self.fs.learn(|ledger| {
            ledger.undisturbed(&token, |job| {
                job.begun = attempt;
                job.started_once = job.once;
            });
        });
        let queue = queue.clone();
        self.runs.insert(
            id.clone(),
            Run {
                record: *record,
                queue,
            },
        );
        Ok(true)
    }

    /// The start was refused for now.
    pub fn unstart(&mut self, id: &JobId) -> io::Result<()> {
        let Some(run) = self.runs.remove(id) else {
            return Ok(());
        };
        self.fs.during("unclaim");
        let before = run.record.attempt - 1;
        if let Some(token) = token(&run.record) {
            // It never began, contrary to what the ledger says.
            self.fs.learn(|ledger| {
                ledger.job(&token, |job| {
                    (job.begun, job.counted) = (before, job.counted.min(before));
                    job.started_once = false;
                });
            });
        }
        if before == 0 {
            return self.spool.unclaim(id, &run.queue);
        }
        let mut record = run.record;
        record.attempt = before;
        let target = Target::Pending(run.queue);
        self.spool.finish(id, &record, &target, |_| {}).map(drop)
    }

    pub fn note(&mut self, id: &JobId) -> io::Result<()> {
        match self.runs.get(id) {
            Some(run) => self.note_as(id, &run.record),
            None => Ok(()),
        }
    }

    fn note_as(&self, id: &JobId, record: &Record) -> io::Result<()> {
        self.fs.during("note");
        let mut record = record.clone();
        record.forget_try();
        record.started_at = Some(self.fs.now());
        if self.spool.note(id, &record)?
            && let Some(token) = token(&record)
        {
            let attempt = record.attempt;
            self.fs
                .learn(|ledger| ledger.undisturbed(&token, |job| job.counted = attempt));
        }
        Ok(())
    }

    /// The end of a try.
    pub fn end(&mut self, id: &JobId, end: TryEnd) -> io::Result<()> {
        let Some(run) = self.runs.remove(id) else {
            return Ok(());
        };
        self.fs.during("finish");
        let terms = Config::default().terms(&run.queue, &run.record);
        let verdict = verdict(end, run.record.attempt, &terms.retry);
        let requeued = matches!(
            end,
            TryEnd::Stopped {
                why: StopReason::Requeued,
                ..
            }
        );
        if verdict == Verdict::Forget || requeued {
            return Ok(());
        }
        let mut record = run.record.clone();
        fill_in(&mut record, end, self.fs.now());
        let mut over = record.clone();
        let target = match verdict {
            Verdict::Complete => Target::Complete,
            Verdict::Failed | Verdict::Forget => Target::Failed,
            Verdict::Retry | Verdict::Requeue => {
                record.forget_try();
                Target::Pending(run.queue)
            }
        };
        let placed = self.spool.finish(id, &record, &target, |_| {})?;
        let counted = matches!(target, Target::Pending(_)) && placed == Placed::There;
        if counted && let Some(token) = token(&record) {
            let attempt = record.attempt;
            self.fs
                .learn(|ledger| ledger.undisturbed(&token, |job| job.counted = attempt));
        }
        if placed == Placed::Superseded {
            over.error = Some(SUPERSEDED.to_owned());
            self.spool.finish(id, &over, &Target::Failed, |_| {})?;
        }
        Ok(())
    }

    /// The end of a waiting job.
    pub fn fail(&mut self, id: &JobId, queue: &QueueName) -> io::Result<()> {
        let Some((stamp, _)) = self.stamp(id, queue)? else {
            return Ok(());
        };
        self.fs.during("fail");
        let end = |record: &mut Record| end_unrun(record, Reason::Expired, self.fs.now());
        self.spool.fail_waiting(id, queue, stamp, end).map(drop)
    }

    /// A user has put a file that has no end into `failed/` or `complete/`.
    pub fn by_hand(&mut self, id: &JobId, at: &Where) -> io::Result<()> {
        if self.runs.contains_key(id) {
            return Ok(());
        }
        let Ok(Some(record)) = self.spool.load(id, at) else {
            return Ok(());
        };
        if record.started_at.is_some() {
            return Ok(());
        }
        self.fs.during("by hand");
        let done = self.spool.end_withdrawn(id, at, self.fs.now())?;
        if done && let Some(token) = token(&record) {
            self.fs.learn(|ledger| {
                ledger.job(&token, |job| {
                    job.hand = Hand::Off;
                    // From now on it must survive a power cut, like a job that pirn itself has put there.
                    job.hold = job.hold.max_power();
                });
            });
        }
        Ok(())
    }
}

impl Hold {
    fn max_power(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Kill | Self::Power => Self::Power,
        }
    }
}

fn end_unrun(record: &mut Record, reason: Reason, finished_at: Wall) {
    record.forget_try();
    record.finished_at = Some(finished_at);
    record.reason = Some(reason);
}

fn fill_in(record: &mut Record, end: TryEnd, finished_at: Wall) {
    let outcome = end.outcome();
    if outcome.reason == Reason::Interrupted {
        record.interruptions += 1;
    }
    record.forget_try();
    record.finished_at = Some(finished_at);
    record.reason = Some(outcome.reason);
    record.exit_code = outcome.exit_code;
    record.signal = outcome.signal;
    record.attempts.push(Try {
        attempt: record.attempt,
        started_at: None,
        finished_at,
        exit_code: outcome.exit_code,
        signal: outcome.signal,
        reason: outcome.reason,
        error: None,
        duration: None,
        log_offset: 0,
    });
}
