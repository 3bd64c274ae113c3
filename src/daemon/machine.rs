//! The daemon on its real machine: job threads, processes, and the kernel's watches.

use super::leader::{self, Leader};
use super::real::RealMachine;
use super::run::Run;
use super::start::{Launched, NotLaunched, NotNow, Setup, Start, Unrun};
use super::state::{Daemon, Machine};
use super::{launch, log_limit, reconcile, record, sweep};
use crate::core::id::{JobId, QueueName};
use crate::core::process::Proc;
use crate::core::record::Record;
use crate::core::scheduler::{Event, NotStarted, QuarantineReason};
use crate::core::time::Now;
use crate::os::clock;
use crate::os::procfs::{self, Stat};
use crate::spool::{HolderLine, OpenLogs, Place, RealFs};
use std::io;
use std::sync::Arc;
use std::time::Duration;

impl Machine for RealMachine {
    type Disk = RealFs;
    type Logs = OpenLogs;
    type Leader = Leader;

    fn now(&self) -> Now {
        clock::now()
    }

    fn wait(&self, span: Duration) {
        std::thread::sleep(span);
    }

    fn start(daemon: &Arc<Daemon>, start: Start) {
        let id = start.id.clone();
        if let Err(e) = leader::spawn(daemon, move |daemon| leader::run(daemon, start)) {
            log::warn!("{id}: not started for now: no thread can be made: {e}");
            let why = NotStarted::Resources;
            daemon.step(Event::NotStarted { id, why });
        }
    }

    /// Some in each of a few threads, which share their syncs.
    fn end_unrun(daemon: &Arc<Daemon>, mut unrun: Vec<Unrun>) {
        const THREADS: usize = 8;
        let share = unrun.len().div_ceil(THREADS);
        while !unrun.is_empty() {
            let some = unrun.split_off(unrun.len().saturating_sub(share));
            let some = Arc::new(some);
            let list = Arc::clone(&some);
            let end = move |daemon: &_| {
                list.iter()
                    .for_each(|unrun| record::end_unrun(daemon, unrun))
            };
            if let Err(e) = leader::spawn(daemon, end) {
                log::warn!("{} jobs are ended without a thread: {e}", some.len());
                some.iter()
                    .for_each(|unrun| record::end_unrun(daemon, unrun));
            }
        }
    }

    fn quarantine_waiting(
        daemon: &Arc<Daemon>,
        id: &JobId,
        queue: &QueueName,
        why: QuarantineReason,
    ) {
        reconcile::quarantine_waiting(daemon, id, queue, why);
    }

    fn open(run: &Run, leader: Stat) -> io::Result<Option<Leader>> {
        leader::open(run, leader)
    }

    fn adopt(daemon: &Arc<Daemon>, run: &Arc<Run>, leader: Option<Leader>) {
        leader::adopt(daemon, run, leader);
    }

    fn open_logs(daemon: &Daemon, id: &JobId, record: &Record) -> Result<OpenLogs, NotNow> {
        launch::open_logs(daemon, id, record.split)
    }

    fn launch(
        daemon: &Daemon,
        start: &Setup<'_>,
        logs: &OpenLogs,
    ) -> Result<Launched<Leader>, NotLaunched> {
        launch::launch(daemon, start, logs)
    }

    fn sweep(daemon: &Daemon, run: &Run, grace: Duration) {
        sweep::sweep(daemon, run, grace);
    }

    fn identify(daemon: &Daemon, pid: i32) -> Option<Proc> {
        procfs::identify(pid, &daemon.home.boot)
    }

    fn leader_of(daemon: &Daemon, id: &JobId, record: &Record) -> Option<Stat> {
        leader::leader_of(daemon, id, record)
    }

    fn watch(daemon: &Daemon, place: &Place) -> io::Result<bool> {
        daemon.machine.watches.watch(&daemon.spool, place)
    }

    fn watch_log(daemon: &Arc<Daemon>, run: &Run) {
        log_limit::watch(daemon, run);
    }

    fn unwatch_log(daemon: &Daemon, run: &Run) {
        log_limit::unwatch(daemon, run);
    }

    fn why_none(daemon: &Daemon) -> Option<String> {
        let spool = &daemon.spool;
        // The reserve for records must be whole again before new jobs may use the room.
        Self::why_not_ours(daemon)
            .or_else(|| spool.shortage(&daemon.config(), true))
            .or_else(|| {
                let filled = daemon.room.reserve.fill(spool);
                let e = filled.err()?;
                Some(format!("no room can be kept aside for records: {e}"))
            })
    }

    fn why_not_ours(daemon: &Daemon) -> Option<String> {
        let host = &daemon.machine;
        let why = host.why_taken(&daemon.spool, &daemon.home.spool);
        if host.successor().is_some() {
            daemon.waker.wake();
        }
        why
    }

    fn tell_trouble(&self, why: &str) {
        self.lock().tell(HolderLine::Trouble(why));
    }
}
