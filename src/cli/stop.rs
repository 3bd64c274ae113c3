//! `pirn stop` and `pirn drain`: signals to the daemon.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, NOT_NOW, OK};
use crate::core::units::jobs_wait;
use crate::os::procfs;
use crate::os::signals::{self, Told};
use crate::os::wait::PidFd;
use crate::spool::{Holder, Place, Role, Spool, SpoolLock, Where};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// End running jobs too; they are queued again
    ///
    /// The signal is sent a second time, once the daemon has answered the first by a line in `lock`.
    #[arg(long)]
    now: bool,
}

/// How often the daemon's answer is looked for, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWERS_WITHIN: u32 = 500;

/// Tells the daemon to end, and waits until it has.
pub fn stop(path: &Path, args: &StopArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let Some(daemon) = DaemonProcess::of(&spool)? else {
        eprintln!("pirn: no daemon serves {}", path.display());
        return Ok(OK);
    };
    // Told twice before it has read the first signal, it would take both for one.
    if !daemon.holder.is_stopping || !args.now {
        daemon.tell(Told::Stop)?;
    }
    daemon.wait_for_answer(|holder| holder.is_stopping)?;
    match args.now {
        true => daemon.tell(Told::Stop)?,
        false => daemon.tell_running("pirn stop --now ends them")?,
    }
    daemon.wait()
}

/// Tells the daemon to end when nothing is left to run, and waits until it has.
pub fn drain(path: &Path) -> CommandResult {
    let spool = existing::spool(path)?;
    let Some(daemon) = DaemonProcess::of(&spool)? else {
        let path = path.display();
        let what = format!("no daemon serves {path}; pirn serve --drain {path} starts one");
        return Err(Failure::new(FAILURE, what));
    };
    daemon.tell(Told::Drain)?;
    daemon.wait_for_answer(|holder| holder.is_draining || holder.is_stopping)?;
    let code = daemon.wait()?;
    let left = spool.count_waiting()?;
    if left > 0 {
        eprintln!(
            "pirn: after the drain {}; pirn ls says why",
            jobs_wait(left as u64)
        );
    }
    Ok(code)
}

/// The daemon of a spool.
struct DaemonProcess<'s> {
    spool: &'s Spool,
    holder: Holder,
    pid: i32,
    process: PidFd,
}

impl<'s> DaemonProcess<'s> {
    /// `None` if no daemon serves the spool.
    fn of(spool: &'s Spool) -> Result<Option<Self>, Failure> {
        let mut unknown = None;
        loop {
            let serving = |holder: &Holder| holder.role == Role::Serve;
            let holder = SpoolLock::settled_holder(spool.path())?;
            let Some(holder) = holder.filter(serving) else {
                return Ok(None);
            };
            // It may have left since, and the next one have come.
            if unknown == Some(holder.pid) {
                let path = spool.path_of(&Place::Root).join("lock");
                let what = format!(
                    "{} does not say which process on this machine serves the spool",
                    path.display()
                );
                return Err(Failure::new(FAILURE, what));
            }
            unknown = Some(holder.pid);
            // The number may be that of a process in another container, or of one that came after the daemon.
            if let Some(pid) = holder.pid
                && let Ok(process) = PidFd::open(pid)
                && SpoolLock::is_held_by(spool.path(), pid)?
            {
                return Ok(Some(Self {
                    spool,
                    holder,
                    pid,
                    process,
                }));
            }
        }
    }

    /// Sends the signal, unless the daemon has ended.
    fn tell(&self, what: Told) -> Result<(), Failure> {
        let signal = signals::number_of(what);
        let sent = match procfs::expects(self.pid, signal) {
            true => self.process.signal(signal).map_err(|e| e.to_string()),
            // The signal would end it.
            false => Err(format!("it does not know {}", signals::name(signal))),
        };
        match sent {
            Err(e) if !self.has_ended(Duration::ZERO) => {
                let what = format!("process {}: {e}", self.pid);
                Err(Failure::new(FAILURE, what))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn has_ended(&self, longest: Duration) -> bool {
        self.process.wait_for(longest)
    }

    /// Waits until `lock` says so, or the daemon has ended.
    fn wait_for_answer(&self, has_come: impl Fn(&Holder) -> bool) -> Result<(), Failure> {
        for _ in 0..ANSWERS_WITHIN {
            let holder = SpoolLock::holder(self.spool.path())?;
            if holder.is_none_or(|holder| holder.pid != Some(self.pid) || has_come(&holder))
                || self.has_ended(LOOK_EVERY)
            {
                return Ok(());
            }
        }
        let what = format!("the daemon (process {}) does not answer", self.pid);
        Err(Failure::new(NOT_NOW, what))
    }

    fn tell_running(&self, hint: &str) -> Result<(), Failure> {
        let running = self.spool.ids(&Where::Active)?.len();
        if running > 0 && !self.has_ended(Duration::ZERO) {
            let jobs = if running == 1 { "job" } else { "jobs" };
            eprintln!("pirn: waiting for {running} running {jobs}; {hint}");
        }
        Ok(())
    }

    fn wait(&self) -> CommandResult {
        while !self.has_ended(Duration::from_secs(60)) {}
        Ok(OK)
    }
}
