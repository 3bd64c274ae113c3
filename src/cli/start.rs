//! `--start` and the setting `autostart`: who adds a job need not think of a daemon. One is started that ends when nothing
//! is left to run.

use super::exit::{FAILURE, Failure, NOT_NOW};
use super::{as_user, served, settings};
use crate::os::{limits, spawn, user};
use crate::spool::{Holder, Role, Spool, SpoolLock};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct StartArgs {
    /// If no daemon serves the spool, start one, after the job is accepted
    ///
    /// It is that of `serve --detach --drain=1s`: it ends when nothing has been left to run for a second, and stays
    /// while a job waits for a date or a backoff. Jobs that are held, or in a paused queue, or come after such a job,
    /// do not keep it. It is told to end by `pirn stop` as any other. Its environment is that of a login: $HOME, $USER,
    /// $LOGNAME, $SHELL and a plain $PATH, with $LANG, `LC_*`, $TZ, $TERM and $PIRN_LOG of the caller; its umask is
    /// 022. It stays in the control group and the sandbox of the caller: a service manager that ends the group ends it
    /// too. It keeps the limits (ulimit) and the nice value of the caller. Jobs that are added have their own
    /// environment all the same. Refused, before the job is accepted, if the spool belongs to another user. If the
    /// daemon cannot be started, standard error says why; the job stays, and the
    /// exit code is 0. If a daemon has the spool that was told to end, none is started, and standard error says so.
    ///
    /// With the setting `autostart`, `add`, `at`, `retry`, `release`, `resume`, `move` and `edit` do the same without
    /// the option, but in the spool of another user they only say that no daemon serves it. Jobs that are dropped start
    /// no daemon; the next one runs them.
    #[arg(long)]
    start: bool,
}

/// The umask of a daemon that is started for a job; jobs that are added have their own.
const UMASK: u32 = 0o022;

/// A daemon that was left with nothing to run stays so long, for those who add jobs in a loop.
const IDLE: &str = "--drain=1s";

impl StartArgs {
    /// Refuses `--start`, before anything is accepted, if the daemon would be that of another user.
    pub fn check(self, spool: &Spool) -> Result<(), Failure> {
        match self.start && !is_ours(spool.path())? {
            true => {
                let path = spool.path().display();
                let what =
                    format!("--start: {path} belongs to another user, who has to start the daemon");
                Err(Failure::new(FAILURE, what))
            }
            false => Ok(()),
        }
    }

    /// True if a daemon is to be started.
    pub fn is_asked(self, spool: &Spool) -> bool {
        self.start || is_set(spool.path())
    }

    /// A job was accepted that may start now. Sees to it that a daemon serves the spool, if that is asked for; else says
    /// that none does. The job is accepted whatever comes of that.
    pub fn see_to_daemon(self, spool: &Spool) {
        if let Some(said) = self.provide_daemon(spool) {
            eprintln!("pirn: {said}");
        }
    }

    /// As [`Self::see_to_daemon`], but returns the message instead of printing it.
    fn provide_daemon(self, spool: &Spool) -> Option<String> {
        match SpoolLock::settled_holder(spool.path()) {
            // If it is dead, the next holder has not said yet that it has the lock.
            Ok(Some(holder))
                if holder.role == Role::Serve && (holder.is_alive() || !self.is_asked(spool)) =>
            {
                return told_to_end(&holder);
            }
            Ok(_) => {}
            Err(e) if self.is_asked(spool) => return Some(not_started(e)),
            Err(_) => return None,
        }
        if !self.is_asked(spool) || !is_ours(spool.path()).unwrap_or(false) {
            return Some(served::unserved(spool));
        }
        match start(spool.path()) {
            // Another one has the spool since.
            Ok(output)
                if output.status.code() == Some(NOT_NOW.into())
                    && let Ok(Some(holder)) = SpoolLock::holder(spool.path()) =>
            {
                told_to_end(&holder)
            }
            // Why it failed, or waits.
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.trim_end().trim_start_matches("pirn: ");
                (!said.is_empty()).then(|| said.to_owned())
            }
            Err(e) => Some(not_started(e)),
        }
    }
}

/// Sees to a daemon after a command without `--start`: only the setting `autostart` asks for one.
pub fn see_to_daemon(spool: &Spool) {
    if let Some(said) = provide_daemon(spool) {
        eprintln!("pirn: {said}");
    }
}

/// As [`see_to_daemon`], but returns the message instead of printing it.
pub fn provide_daemon(spool: &Spool) -> Option<String> {
    is_set(spool.path())
        .then(|| StartArgs { start: false }.provide_daemon(spool))
        .flatten()
}

fn not_started(e: io::Error) -> String {
    Failure::from(e).about("starting a daemon").message
}

/// The message if the daemon was told to end, and will not run the job that is added now.
fn told_to_end(daemon: &Holder) -> Option<String> {
    let is_stopping = daemon.is_stopping;
    is_stopping.then(|| format!("the daemon ({daemon}) is ending; the job waits for the next one"))
}

fn is_set(spool: &Path) -> bool {
    settings::read(spool).is_ok_and(|config| config.autostart)
}

fn is_ours(spool: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(spool)?.uid() == user::uid())
}

/// Starts a daemon with the environment of a login, and waits until it is ready.
fn start(spool: &Path) -> io::Result<Output> {
    let spool = std::path::absolute(spool)?;
    let words = [OsStr::new("-S"), spool.as_ref()];
    let umask = limits::current_umask();
    limits::set_umask(UMASK);
    let started = Command::new(std::env::current_exe().unwrap_or(spawn::OWN_BINARY.into()))
        .arg0("pirn")
        .args(words)
        .args(["serve", "--detach", IDLE])
        .env_clear()
        .envs(as_user::environment(&user::account()))
        .stdin(Stdio::null())
        .output();
    limits::set_umask(umask);
    started
}
