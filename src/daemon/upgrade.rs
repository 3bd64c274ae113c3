//! SIGUSR2: becoming the new binary in place. Children stay ours, the lock stays locked, and the next image finds
//! the running jobs by their notes.
//!
//! The new binary is proven first: after the exec nothing is left of the settings in force, so that a setting that it
//! cannot read would end the daemon.

use super::chores::Chore;
use super::proof::{Proof, Proven, program};
use super::room::Hold;
use super::run::Run;
use super::watcher::{Upgrade, WatcherThread};
use crate::core::scheduler::Scheduler;
use crate::os::spawn;
use std::sync::Arc;

impl WatcherThread {
    /// Proves the binary that is there now, unless that is being done: then this upgrade is the same one.
    pub(super) fn prove(&mut self) {
        match self.upgrade {
            Upgrade::No => {}
            Upgrade::Proving | Upgrade::Proven(_) => return,
        }
        log::info!("upgrade: proving {}", program().display());
        self.upgrade = Upgrade::Proving;
        self.daemon.set_alert(true);
        self.daemon.chores.add(Chore::Prove(self.proof()));
    }

    fn proof(&self) -> Proof {
        Proof {
            spool: self.daemon.options.spool.clone(),
            config: self.daemon.options.config.clone(),
            settings: self.daemon.options.config_path(),
        }
    }

    /// The new binary was proven, or was not.
    pub(super) fn proven(&mut self, proven: Result<Proven, String>) {
        match (&self.upgrade, proven) {
            (Upgrade::Proving, Ok(proven)) => {
                self.upgrade = Upgrade::Proven(proven);
                self.daemon.hold(Hold::Upgrade);
                log::info!(
                    "upgrade: becoming {} once what is being started or recorded is",
                    program().display()
                );
            }
            (Upgrade::Proving, Err(why)) => {
                self.upgrade = Upgrade::No;
                self.daemon.set_alert(self.stopping);
                log::error!(
                    "upgrade refused, going on as before: {}: {why}",
                    program().display()
                );
            }
            // The daemon was told to stop meanwhile.
            (Upgrade::No | Upgrade::Proven(_), _) => {}
        }
    }

    /// Goes on as this image.
    pub(super) fn stay(&mut self) {
        self.upgrade = Upgrade::No;
        self.daemon.set_alert(self.stopping);
        // The descriptors that were to live through the exec are not for other children.
        spawn::hide_descriptors();
        self.daemon.release(Hold::Upgrade);
    }

    /// True when nothing is being started or written, and every running job has its note.
    pub(super) fn is_settled(&self) -> bool {
        let daemon = &self.daemon;
        let is_busy = daemon.ask(|s| s.is_starting() || s.counts().ending > 0);
        if is_busy || !daemon.chores.is_done() {
            return false;
        }
        let is_unnoted = |run: &Arc<Run>| {
            let facts = run.facts();
            !facts.noted && facts.ended.is_none()
        };
        let mut unnoted = daemon.runs();
        unnoted.retain(is_unnoted);
        for run in &unnoted {
            run.order(|orders| orders.note = true);
        }
        unnoted.is_empty()
    }

    /// Execs the binary that is there now. Children stay ours, the lock stays locked; the next image finds the
    /// running jobs by their notes. `None` when something has come up, so that it is not the time; else it returns on
    /// failure only.
    ///
    /// The caller holds signals back: those that were handled before are acted on here, and those that come later wait
    /// for the next image.
    pub(super) fn become_new(&mut self) -> Option<std::io::Error> {
        self.read_signals();
        let Upgrade::Proven(proven) = &self.upgrade else {
            return None;
        };
        let is_old = proven.is_old;
        if proven.files != self.proof().files() {
            log::info!("upgrade: the binary or the settings have changed since it was proven");
            self.stay();
            self.prove();
            return None;
        }
        let daemon = Arc::clone(&self.daemon);
        // Jobs that end from here on are reaped by the next image, which learns how they ended.
        let _reaping = daemon.reaping.try_write().ok()?;
        if daemon.ask(Scheduler::counts).ending > 0 {
            return None;
        }
        self.bridges.end();
        let program = program();
        let lock = daemon.machine.lock();
        let argv: Vec<_> = std::env::args_os().collect();
        log::info!("upgrade: becoming {}", program.display());
        let mut env = lock.pass_on(is_old).to_vec();
        env.push(self.notifier.keep_on_exec());
        if let Some(service) = &mut self.service {
            env.extend(service.pass_on());
        }
        let e = spawn::replace_process(&program.to_string_lossy(), &argv, &env);
        if let Some(service) = &mut self.service {
            service.resume();
        }
        lock.write();
        Some(e)
    }
}
