//! Everything that commands, HTTP, the daemon and users do to jobs, with the promises of each.

use super::ledger::{End, Hand, Hold, Job, ask};
use super::served::Served;
use super::simfs::SimFs;
use super::survey::Survey;
use pirn::core::id::{JobId, QueueName};
use pirn::core::record::{Record, Work};
use pirn::core::tokens::{TokenName, Uses};
use pirn::os::dir::How;
use pirn::spool::{
    Fs, JobText, NOT_RUNNING, NewId, Place, Spool, Steered, Submit, SubmitError, Where,
};
use std::collections::BTreeSet;
use std::path::Path;

pub const BOOT: &str = "boot-1";

/// A spool, its daemon, commands, and a user at a shell.
pub struct Life {
    pub fs: SimFs,
    pub daemon: Served,
    pub door: Spool<SimFs>,
    made: u32,
}

pub fn id(name: &str) -> JobId {
    JobId::new(name).expect("a good id")
}

/// The use of so many units.
pub fn gpus(n: u32) -> Uses {
    let name = TokenName::new("gpu").expect("a good name");
    (n > 0).then_some((name, n)).into_iter().collect()
}

pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a good name")
}

/// Further wishes for a job.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    pub once: bool,
    pub tries: Option<u32>,
    pub queue: Option<&'static str>,
    pub held: bool,
    /// How many units of the token `gpu` it uses.
    pub gpus: u32,
}

impl Wish {
    pub const PLAIN: Self = Self {
        once: false,
        tries: None,
        queue: None,
        held: false,
        gpus: 0,
    };
    pub const ONCE: Self = Self {
        once: true,
        ..Self::PLAIN
    };
    pub const MAIL: Self = Self {
        queue: Some("mail"),
        ..Self::PLAIN
    };
    pub const HELD: Self = Self {
        held: true,
        ..Self::PLAIN
    };
}

impl Life {
    pub fn new(fs: SimFs, durable: bool) -> Self {
        fs.world().picture();
        Self {
            daemon: Served::begin(&fs, durable).expect("a daemon"),
            door: Spool::over(fs.clone(), Path::new("/sim"), durable),
            fs,
            made: 0,
        }
    }

    /// A record that differs from all others.
    fn make(&mut self, wish: Wish) -> (String, Record) {
        self.made += 1;
        let token = format!("job{:02}", self.made);
        let mut record = Record::new(Work::Text(format!(": {token} and some more")));
        record.once = wish.once;
        record.tries = wish.tries;
        record.uses = gpus(wish.gpus);
        record.comment = Some(format!("what {token} is for, at some length"));
        let job = Job {
            ask: ask(&record),
            once: wish.once,
            ..Job::default()
        };
        self.fs.learn(|ledger| {
            ledger.jobs.insert(token.clone(), job);
        });
        (token, record)
    }

    /// A command or HTTP accepts a job. Gives its id.
    pub fn submit(&mut self, new: NewId, wish: Wish) -> Option<JobId> {
        let (token, mut record) = self.make(wish);
        let queue = wish.queue.map(queue).unwrap_or_default();
        self.fs.during("submit");
        let numbered = new == NewId::Next;
        let job = Submit {
            record: &mut record,
            queue,
            held: wish.held,
            id: new,
        };
        match self.door.submit(job, BOOT) {
            Ok(id) => {
                self.fs.learn(|ledger| {
                    if numbered {
                        ledger.numbers.extend(id.as_str().parse::<u64>());
                    }
                    ledger.job(&token, |job| {
                        // A user may have removed it by now.
                        if job.hand == Hand::Off {
                            job.hold = Hold::Power;
                            job.held = wish.held;
                        }
                    });
                });
                Some(id)
            }
            Err(SubmitError::Taken(_)) => None,
            Err(e @ (SubmitError::Io(_) | SubmitError::NoJob(_))) => panic!("submit: {e}"),
        }
    }

    /// A command or HTTP accepts several jobs at once, in one thread.
    pub fn batch(&mut self, wishes: &[Wish]) {
        let made: Vec<_> = wishes.iter().map(|wish| self.make(*wish)).collect();
        self.fs.during("batch");
        let maker = || {
            |n: usize, id: &JobId| {
                let mut record: Record = made[n].1.clone();
                let queue = wishes[n].queue.map(queue).unwrap_or_default();
                record.id = Some(id.clone());
                record.queue = (!queue.is_default()).then(|| queue.clone());
                let text = record.to_json();
                let held = wishes[n].held;
                Ok(JobText { text, queue, held })
            }
        };
        let batch = self.door.submit_all(wishes.len(), 1, BOOT, maker);
        assert!(batch.failed.is_none() && batch.ids.len() == wishes.len());
        self.fs.learn(|ledger| {
            for (n, (id, (token, _))) in batch.ids.iter().zip(&made).enumerate() {
                ledger.numbers.extend(id.as_str().parse::<u64>());
                ledger.job(token, |job| {
                    if job.hand == Hand::Off {
                        job.hold = Hold::Power;
                        job.held = wishes[n].held;
                    }
                });
            }
        });
    }

    pub fn number(&mut self, wish: Wish) -> JobId {
        self.submit(NewId::Next, wish).expect("accepted")
    }

    /// A user drops a file, as text, complete; synced or not.
    pub fn drop_file(&mut self, place: &Place, name: &str, wish: Wish, synced: bool) {
        let (token, record) = self.make(wish);
        self.fs.during("a user drops a file");
        let mut record = record;
        record.queue = wish.queue.map(queue);
        self.fs
            .write_new(&Place::Store, b"draft", record.to_json().as_bytes(), synced)
            .expect("a draft");
        let into = place.clone();
        self.fs
            .rename(
                &Place::Store,
                b"draft",
                &into,
                name.as_bytes(),
                How::Replace,
            )
            .expect("dropped");
        self.fs
            .learn(|ledger| ledger.job(&token, |job| job.hold = Hold::Kill));
        if synced {
            self.fs.sync(place).expect("synced");
            self.fs
                .learn(|ledger| ledger.job(&token, |job| job.hold = job.hold.max_of_drop()));
        }
    }

    /// `pirn cancel`.
    pub fn cancel(&mut self, id: &JobId) -> Steered {
        let found = self.door.find(id).expect("looked");
        let token = found
            .as_ref()
            .and_then(|at| self.fs.token_at(&at.place(), id.as_str()));
        self.fs.during("cancel");
        let was_active = found == Some(Where::Active);
        // If a user takes this job away, another that waits under its name is next.
        let other = Place::Queue(queue("mail"));
        let at = found.map_or(Place::Active, |at| at.place());
        let ended = matches!(at, Place::Complete | Place::Failed);
        for at in [other, at].iter().filter(|_| !ended) {
            let hand = self.fs.hand(at, id.as_str());
            if let Some(token) = self.fs.token_at(at, id.as_str()) {
                self.fs.learn(|ledger| {
                    ledger.job(&token, |job| {
                        job.hand = hand;
                        job.retried = None;
                        (job.begun, job.counted) = (0, 0);
                    });
                });
            }
        }
        let done = self.door.cancel(id).expect("cancelled");
        // Unless a user has moved it on.
        let is_there = self.fs.token_at(&Place::Failed, id.as_str()) == token;
        if let (Some(token), Steered::Done(_), true) = (&token, &done, is_there) {
            self.fs.learn(|ledger| {
                ledger.job(token, |job| {
                    job.cancelled = true;
                    if !was_active {
                        job.hand = Hand::Off;
                    }
                });
            });
        }
        done
    }

    /// `pirn retry`.
    pub fn retry(&mut self, id: &JobId) {
        let Some(at @ (Where::Complete | Where::Failed)) = self.door.find(id).expect("looked")
        else {
            return;
        };
        let token = self.fs.token_at(&at.place(), id.as_str());
        let ended = self
            .door
            .load(id, &at)
            .ok()
            .flatten()
            .and_then(|record| End::of(&record));
        self.fs.during("retry");
        self.fs.afresh(token.as_deref());
        let mut changed = BTreeSet::new();
        let done = self.door.retry(id, &mut changed).expect("retried");
        self.door.sync_all(&changed).expect("synced");
        if let (Some(token), Some(ended), Steered::Done(_)) = (token, ended, done) {
            self.fs
                .learn(|ledger| ledger.job(&token, |job| job.retried = Some(ended.finished)));
        }
    }

    /// `pirn hold`. Another job of its name may be held already.
    pub fn hold(&mut self, id: &JobId) {
        self.fs.during("hold");
        let done = self.door.durably(|changed| self.door.hold(id, changed));
        let held = self.fs.token_at(&Place::Held, id.as_str());
        if let (Ok(Steered::Done(_)), Some(token)) = (done, held) {
            self.fs
                .learn(|ledger| ledger.job(&token, |job| job.held = true));
        }
    }

    /// `pirn release`. Another job of its name may wait already.
    pub fn release(&mut self, id: &JobId) {
        if let Some(token) = self.fs.token_at(&Place::Held, id.as_str()) {
            self.fs
                .learn(|ledger| ledger.job(&token, |job| job.held = false));
        }
        self.fs.during("release");
        let _ = self.door.durably(|changed| self.door.release(id, changed));
    }

    /// `pirn rm`.
    pub fn forget(&mut self, id: &JobId) {
        if let Some(at) = self.door.find(id).expect("looked") {
            let token = self.fs.token_at(&at.place(), id.as_str());
            self.fs.let_go(token.as_deref());
            self.fs.during("forget");
            let mut changed = BTreeSet::new();
            self.door
                .forget(id, &NOT_RUNNING, &mut changed)
                .expect("forgotten");
            self.door.sync_all(&changed).expect("synced");
            // Unless a user has moved it meanwhile, so that another file was removed, or none.
            let token = token.filter(|t| Survey::of(&self.fs.world().disk).find(t).is_empty());
            if let Some(token) = token {
                self.fs
                    .learn(|ledger| ledger.job(&token, |job| job.gone = true));
            }
        }
    }

    /// The daemon is killed and started again.
    pub fn restart(&mut self) {
        for job in self.fs.world().ledger.jobs.values_mut() {
            job.lives = None;
        }
        self.daemon = Served::begin(&self.fs, true).expect("recovered");
    }

    /// An orderly stop, and the start after it.
    pub fn stop_and_start(&mut self) {
        self.fs.during("stop");
        self.daemon.settle();
        self.restart();
    }
}

impl Hold {
    fn max_of_drop(self) -> Self {
        match self {
            Self::Kill => Self::Power,
            Self::None | Self::Power => self,
        }
    }
}
