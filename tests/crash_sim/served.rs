//! The daemon on the simulated machine, driven one thing at a time.

use super::ledger::{Hand, Hold, token};
use super::life::BOOT;
use super::machine::SimMachine;
use super::simfs::SimFs;
use pirn::core::config::{Config, Only};
use pirn::core::id::{JobId, QueueName};
use pirn::core::process::Exit;
use pirn::core::record::Reason;
use pirn::core::scheduler::{Event, Policy, Scheduler};
use pirn::daemon::background;
use pirn::daemon::chores::Chore;
use pirn::daemon::home::Home;
use pirn::daemon::job::{self, Begun};
use pirn::daemon::retain::Doubt;
use pirn::daemon::room;
use pirn::daemon::run::Run;
use pirn::daemon::start::Unrun;
use pirn::daemon::state::{AfterEnd, Daemon};
use pirn::daemon::watcher::Scanner;
use pirn::daemon::{Options, reconcile, record};
use pirn::os::user::Account;
use pirn::spool::{Place, Spool};
use std::path::Path;
use std::sync::Arc;

const SLOTS: usize = 64;

/// The watcher, the thread for chores and the threads of jobs, all in one. No job starts before [`Self::start`].
pub struct Served {
    fs: SimFs,
    daemon: Arc<Daemon<SimMachine>>,
    scanner: Scanner<SimMachine>,
}

impl Served {
    /// A daemon starts, and recovers what an earlier one has left.
    pub fn begin(fs: &SimFs, durable: bool) -> Result<Self, String> {
        let config = Config::parse(r#"{"tokens": {"gpu": ["0", "1"]}}"#);
        let config = Arc::new(config.map_err(|e| e.to_string())?);
        let policy = Policy {
            slots: SLOTS,
            config: Arc::clone(&config),
            pauses: Default::default(),
            only: Only::default(),
        };
        let options = Options {
            slots: Some(SLOTS),
            ..Options::default()
        };
        let daemon = Daemon::new(
            SimMachine::over(fs),
            options,
            home(),
            Spool::over(fs.clone(), Path::new("/sim"), durable),
            config,
            Scheduler::new(policy, 1),
        );
        let daemon = Arc::new(daemon.map_err(|e| e.to_string())?);
        let mut this = Self {
            fs: fs.clone(),
            scanner: Scanner::new(Arc::clone(&daemon), |_| {}),
            daemon,
        };
        fs.during("recovery");
        this.scanner.begin().map_err(|e| e.to_string())?;
        this.work();
        this.daemon.hold(room::Hold::Upgrade);
        Ok(this)
    }

    /// The watcher and the thread for chores do all that there is to do.
    pub fn work(&mut self) {
        for _ in 0..1000 {
            while self.scanner.is_scanning() {
                self.scanner.scan_some();
            }
            if !self.daemon.agenda.has_no_names() {
                self.daemon.machine.pass_a_day();
                self.scanner.judge_due();
            } else if let Some(chore) = self.daemon.chores.take() {
                self.perform(chore);
            } else {
                return;
            }
        }
        panic!("there is no end to what is to be done");
    }

    fn perform(&self, chore: Chore) {
        let moved = match &chore {
            Chore::ByHand(id) => self.unended(id.as_str()),
            _ => None,
        };
        if moved.is_some() {
            self.fs.during("by hand");
        }
        let mut doubt = Doubt::new(self.daemon.now());
        background::perform(&self.daemon, &mut doubt, chore);
        if let Some((place, name, token)) = moved
            && self.fs.token_at(&place, &name).as_ref() == Some(&token)
            && self.fs.hand(&place, &name) == Hand::Ended
        {
            self.fs.learn(|ledger| {
                ledger.job(&token, |job| {
                    job.hand = Hand::Off;
                    // From now on it must survive a power cut, like a job that pirn itself has put there.
                    job.hold = match job.hold {
                        Hold::None => Hold::None,
                        Hold::Kill | Hold::Power => Hold::Power,
                    };
                });
            });
        }
    }

    /// Where a user has put this job without an end, and its token.
    fn unended(&self, name: &str) -> Option<(Place, String, String)> {
        let ends = [Place::Failed, Place::Complete].into_iter();
        ends.filter(|place| self.fs.hand(place, name) == Hand::Unended)
            .find_map(|place| Some((self.fs.token_at(&place, name)?, place)))
            .map(|(token, place)| (place, name.to_owned(), token))
    }

    /// The daemon looks at everything that waits, as if events had come.
    pub fn scan(&mut self) {
        self.fs.during("take in");
        self.scanner.scan_all();
        self.work();
    }

    /// Starts a job that waits. True if it runs.
    pub fn start(&mut self, id: &JobId, queue: &QueueName) -> bool {
        self.fs.during("take in");
        self.scanner
            .seen(&Place::of_queue(queue), id.as_str().as_bytes());
        self.work();
        let daemon = &self.daemon;
        daemon.machine.pass_a_day();
        daemon.machine.want(Some(id));
        daemon.release(room::Hold::Upgrade);
        daemon.hold(room::Hold::Upgrade);
        daemon.machine.want(None);
        let Some(start) = daemon.machine.take_start() else {
            return false;
        };
        self.fs.during("claim");
        let begun = job::begin(daemon, start);
        self.work();
        matches!(begun, Begun::Running(..))
    }

    /// As [`Self::start`], but the machine lacks memory for it, which shows after this deed.
    pub fn start_in_vain(
        &mut self,
        id: &JobId,
        queue: &QueueName,
        deed: impl FnOnce(&SimFs) + Send + 'static,
    ) {
        self.daemon.machine.refuse_after(Box::new(deed));
        assert!(!self.start(id, queue));
        self.daemon.machine.never_mind();
    }

    /// The running job's note is written.
    pub fn note(&mut self, id: &JobId) {
        let Some(run) = self.daemon.run(id) else {
            return;
        };
        self.fs.during("note");
        record::note(&self.daemon, &run);
        if run.facts().noted {
            self.has_counted(&run);
        }
    }

    fn has_counted(&self, run: &Run) {
        let record = run.facts().record.clone();
        if let Some(token) = token(&record) {
            self.fs
                .learn(|ledger| ledger.undisturbed(&token, |job| job.counted = record.attempt));
        }
    }

    /// The end of a program that runs.
    pub fn end(&mut self, id: &JobId, exit: Exit) {
        let Some(run) = self.daemon.run(id) else {
            return;
        };
        self.fs.during("finish");
        self.dies(&run);
        let rest = self.daemon.step_as_job(Event::Ended {
            id: id.clone(),
            exit,
            alone: true,
        });
        let next = job::finish(&self.daemon, &run, rest);
        assert!(next.is_none(), "nothing may start");
        self.is_over(&run);
        self.work();
    }

    /// The ends of all programs that run, recorded together.
    pub fn end_all(&mut self, exit: Exit) {
        self.fs.during("finish all");
        let mut ended = Vec::new();
        for run in self.daemon.runs() {
            self.dies(&run);
            let id = run.id.clone();
            let alone = true;
            let rest = self.daemon.step_as_job(Event::Ended { id, exit, alone });
            if let Some((_, AfterEnd::Finish(end))) = rest.follow {
                ended.push((run, end));
            }
        }
        let (rests, unwritten) = record::end_some(&self.daemon, &ended);
        let late = unwritten.into_iter().map(|end| end.insist(&self.daemon));
        let starts = rests.into_iter().chain(late).filter_map(|rest| rest.start);
        assert_eq!(starts.count(), 0, "nothing may start");
        ended.iter().for_each(|(run, _)| self.is_over(run));
        self.work();
    }

    /// Nothing of the job's program lives any more.
    fn dies(&self, run: &Run) {
        if let Some(token) = token(&run.facts().record) {
            self.fs
                .learn(|ledger| ledger.job(&token, |job| job.lives = None));
        }
    }

    fn is_over(&self, run: &Run) {
        if self
            .daemon
            .ask(|s| s.waiting(&run.id, &run.queue))
            .is_some()
        {
            self.has_counted(run);
        }
    }

    /// The daemon sees where the job's file is. If it is to end the job for that, it does.
    pub fn notice(&mut self, id: &JobId) {
        self.fs.during("notice");
        reconcile::reconcile(&self.daemon, id);
        self.work();
        let run = self.daemon.run(id);
        if run.is_some_and(|run| run.take_orders().signal.is_some()) {
            self.end(id, Exit::Signal(15));
        }
    }

    /// The end of a job that waits, and has expired.
    pub fn fail(&mut self, id: &JobId, queue: &QueueName) {
        self.end_unrun(id, queue, Reason::Expired);
    }

    /// The end of a job that waits.
    pub fn end_unrun(&mut self, id: &JobId, queue: &QueueName, reason: Reason) {
        self.scanner
            .seen(&Place::of_queue(queue), id.as_str().as_bytes());
        let Some(stamp) = self.daemon.ask(|s| s.waiting(id, queue)) else {
            return;
        };
        self.fs.during("end without a run");
        let unrun = Unrun {
            id: id.clone(),
            queue: queue.clone(),
            stamp,
            reason,
            error: "not run".to_owned(),
        };
        record::end_unrun(&self.daemon, &unrun);
        self.notice(id);
    }

    /// True while the job runs.
    pub fn runs(&self, id: &JobId) -> bool {
        self.daemon.run(id).is_some()
    }

    /// The last work of a daemon that stops.
    pub fn settle(&self) {
        self.daemon.spool.settle_numbers(BOOT).expect("settled");
    }

    /// A user has put the job's file somewhere.
    pub fn by_hand(&mut self, id: &JobId) {
        self.daemon.chores.add(Chore::ByHand(id.clone()));
        self.work();
    }
}

fn home() -> Home {
    Home {
        account: Account {
            uid: 0,
            gid: 0,
            name: "sim".to_owned(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        },
        path: String::new(),
        locale: Vec::new(),
        umask: 0o022,
        boot: BOOT.to_owned(),
        spool: "/sim".to_owned(),
        cgroups: None,
    }
}
