//! The machine that the daemon runs on here: one thread, programs that end when the life says so, and a clock that goes
//! by what the disk has done.

use super::ledger::{Hand, token};
use super::simfs::SimFs;
use super::world::Deed;
use pirn::core::id::{JobId, QueueName};
use pirn::core::process::Proc;
use pirn::core::record::Record;
use pirn::core::scheduler::{Event, NotStarted, QuarantineReason};
use pirn::core::time::{Boot, Now};
use pirn::core::tokens::Units;
use pirn::daemon::run::Run;
use pirn::daemon::start::{Launched, NotLaunched, NotNow, Setup, Start, Unrun};
use pirn::daemon::state::{Daemon, Machine};
use pirn::daemon::{job, reconcile, record};
use pirn::os::procfs::Stat;
use pirn::spool::Place;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const DAY: u64 = 86_400_000_000_000;

/// The process id of every program.
const PID: i32 = 1_000_000;

pub struct SimMachine {
    fs: SimFs,
    /// Days that have passed while the disk did nothing.
    days: AtomicU64,
    watched: Mutex<BTreeSet<Place>>,
    wanted: Mutex<Wanted>,
}

/// The one start that is under way.
#[derive(Default)]
struct Wanted {
    /// The job that may start. Others wait for their logs meanwhile.
    id: Option<JobId>,
    start: Option<Start>,
    /// Its program is not to start, after this deed.
    refusal: Option<Deed>,
}

impl fmt::Debug for SimMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimMachine")
    }
}

impl SimMachine {
    pub fn over(fs: &SimFs) -> Self {
        Self {
            fs: fs.clone(),
            days: AtomicU64::new(0),
            watched: Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every time that was waited for has come.
    pub fn pass_a_day(&self) {
        self.days.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on this job alone may start.
    pub fn want(&self, id: Option<&JobId>) {
        self.wanted().id = id.cloned();
    }

    /// The start of the job that was wanted, if the scheduler has asked for it.
    pub fn take_start(&self) -> Option<Start> {
        self.wanted().start.take()
    }

    /// The next program starts after all.
    pub fn never_mind(&self) {
        self.wanted().refusal = None;
    }

    /// The next program does not start; before that is known, this happens.
    pub fn refuse_after(&self, deed: Deed) {
        self.wanted().refusal = Some(deed);
    }
}

/// True if both have a unit of the same name.
fn shares(a: &Units, b: &Units) -> bool {
    let has = |(name, unit)| b.get(name).is_some_and(|units| units.contains(unit));
    let all = a
        .iter()
        .flat_map(|(name, units)| units.iter().map(move |unit| (name, unit)));
    all.into_iter().any(has)
}

impl Machine for SimMachine {
    type Disk = SimFs;
    type Logs = ();
    type Leader = ();

    fn now(&self) -> Now {
        let disk = self.fs.world().disk.age();
        Now {
            boot: Boot((disk + self.days.load(Ordering::SeqCst)) * DAY),
            wall: self.fs.now(),
        }
    }

    fn wait(&self, _: Duration) {
        let story = self.fs.world().story.join("\n");
        panic!("what fails here would fail for ever:\n{story}");
    }

    fn start(daemon: &Arc<Daemon<Self>>, start: Start) {
        let mut wanted = daemon.machine.wanted();
        if wanted.id.as_ref() == Some(&start.id) {
            wanted.start = Some(start);
            return;
        }
        drop(wanted);
        let (id, why) = (start.id, NotStarted::Busy);
        daemon.step(Event::NotStarted { id, why });
    }

    fn end_unrun(daemon: &Arc<Daemon<Self>>, unrun: Vec<Unrun>) {
        unrun
            .iter()
            .for_each(|unrun| record::end_unrun(daemon, unrun));
    }

    fn quarantine_waiting(
        daemon: &Arc<Daemon<Self>>,
        id: &JobId,
        queue: &QueueName,
        why: QuarantineReason,
    ) {
        // The watcher may judge the file at once, and would pass it over.
        assert!(daemon.run(id).is_none(), "{id}: its run is still there");
        reconcile::quarantine_waiting(daemon, id, queue, why);
    }

    fn open(_: &Run, _: Stat) -> io::Result<Option<()>> {
        Ok(Some(()))
    }

    fn adopt(daemon: &Arc<Daemon<Self>>, run: &Arc<Run>, leader: Option<()>) {
        if leader.is_none()
            && let Some(next) = job::was_lost(daemon, run)
        {
            daemon.start(next);
        }
    }

    /// The job is claimed.
    fn open_logs(daemon: &Daemon<Self>, id: &JobId, record: &Record) -> Result<(), NotNow> {
        let fs = &daemon.machine.fs;
        let token = token(record).unwrap_or_default();
        // A user may have moved it meanwhile.
        let is_here = fs.token_at(&Place::Active, id.as_str()).as_ref() == Some(&token);
        fs.learn(|ledger| {
            ledger.job(&token, |job| {
                job.most = job.most.max(record.attempt + 1);
                job.hand = if is_here { Hand::Off } else { job.hand };
            });
        });
        Ok(())
    }

    /// A further try is noted by now, and so is one that was given units.
    fn launch(
        daemon: &Daemon<Self>,
        start: &Setup<'_>,
        (): &(),
    ) -> Result<Launched<()>, NotLaunched> {
        let fs = &daemon.machine.fs;
        let refusal = daemon.machine.wanted().refusal.take();
        if let Some(deed) = refusal {
            deed(fs);
            fs.during("unclaim");
            return Err(NotLaunched::Resources(io::ErrorKind::OutOfMemory.into()));
        }
        let (token, attempt) = (
            token(start.record).unwrap_or_default(),
            start.record.attempt,
        );
        let units = &start.record.units;
        let others: Vec<_> = fs.world().ledger.living().cloned().collect();
        if others.iter().any(|other| shares(units, other)) {
            fs.world().broken = Some(format!("{token} was given {units:?} of {others:?}"));
        }
        fs.learn(|ledger| {
            ledger.job(&token, |job| {
                job.lives = (!units.is_empty()).then(|| units.clone())
            });
            ledger.undisturbed(&token, |job| {
                job.begun = attempt;
                let is_noted = attempt > 1 || !units.is_empty();
                job.counted = if is_noted { attempt } else { job.counted };
                job.started_once = job.once;
            });
        });
        Ok(Launched {
            pid: PID,
            leader: (),
            began: daemon.now(),
            log_offset: 0,
            cgroup: None,
            sandboxed: None,
        })
    }

    fn sweep(_: &Daemon<Self>, _: &Run, _: Duration) {}

    fn identify(_: &Daemon<Self>, _: i32) -> Option<Proc> {
        None
    }

    fn leader_of(daemon: &Daemon<Self>, _: &JobId, record: &Record) -> Option<Stat> {
        let world = daemon.machine.fs.world();
        let job = world.ledger.jobs.get(&token(record)?)?;
        (world.outlived && job.lives.is_some()).then_some(Stat {
            pid: PID,
            state: b'S',
            parent: 1,
            group: PID,
            session: PID,
            threads: 1,
            start: 0,
            status: None,
        })
    }

    fn watch(daemon: &Daemon<Self>, place: &Place) -> io::Result<bool> {
        let mut watched = daemon.machine.watched.lock();
        Ok(watched
            .as_mut()
            .is_ok_and(|watched| watched.insert(place.clone())))
    }

    fn watch_log(_: &Arc<Daemon<Self>>, _: &Run) {}

    fn unwatch_log(_: &Daemon<Self>, _: &Run) {}

    fn why_none(_: &Daemon<Self>) -> Option<String> {
        None
    }

    fn why_not_ours(_: &Daemon<Self>) -> Option<String> {
        None
    }

    fn tell_trouble(&self, _: &str) {}
}
