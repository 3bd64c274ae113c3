//! `serve --detach`: the daemon goes on by itself. The process that starts it stays until it is ready or has failed.

use super::{Options, ServeError, doing, not_served};
use crate::core::process::Exit;
use crate::os::detach::{self, Detaching};
use crate::os::notify::Notifier;
use crate::os::{clock, limits, wait};
use crate::spool::{DaemonLog, Holder, LockError, Role, Spool, SpoolLock, Starting};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How far the start has come.
#[derive(Debug)]
pub enum DetachedStart {
    /// The daemon is ready.
    Ready,
    /// The daemon waits until this holder lets go of the spool.
    Waits(Box<Holder>),
    /// The daemon has ended with this code; its last line in the log.
    Failed(u8, String),
    /// This process is the daemon.
    Daemon(Notifier, Starting),
}

/// Begins a daemon in a process of its own. Its parent, which was called, stays as it was.
pub fn start(options: &Options) -> Result<DetachedStart, ServeError> {
    let path = options.spool.display();
    let umask = limits::readable_by_us();
    let spool = Spool::create(&options.spool, !options.no_sync);
    let spool = spool.map_err(not_served(&options.spool))?;
    // Before there is a log in it.
    options.refuse_strangers(&spool)?;
    drop(spool);
    let starting = match turn(options)? {
        Ok(starting) => starting,
        Err(waits) => return Ok(waits),
    };
    let log = DaemonLog::open(&options.spool).or_else(doing(&path))?;
    limits::set_umask(umask);
    let logged = log.length().or_else(doing(&path))?;
    match detach::detach(log.file()).or_else(doing("starting a process"))? {
        Detaching::Detached(starter) => Ok(DetachedStart::Daemon(Notifier::to(starter), starting)),
        Detaching::Starter(daemon, said) => {
            await_start(options, (&log, logged), daemon, said).or_else(doing(&path))
        }
    }
}

/// How long another daemon may take to start. Its starter may have been stopped (^Z).
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until no other daemon is being started. Gives up for one that waits for a `pirn run`, or takes too long.
fn turn(options: &Options) -> Result<Result<Starting, DetachedStart>, ServeError> {
    let in_spool = |e| LockError::Io(options.spool.display().to_string(), e);
    let began = clock::now().boot;
    loop {
        let starting = Starting::try_take(&options.spool).map_err(in_spool)?;
        let holder = SpoolLock::settled_holder(&options.spool).map_err(in_spool)?;
        let is_run = |holder: &Holder| holder.role == Role::Run;
        match (starting, holder) {
            (_, Some(holder)) if !is_run(&holder) && holder.is_alive() => {
                return Err(ServeError::Held(Box::new(holder)));
            }
            (Some(starting), _) => return Ok(Ok(starting)),
            (None, Some(holder)) if is_run(&holder) => {
                return Ok(Err(DetachedStart::Waits(Box::new(holder))));
            }
            (None, _) if clock::now().boot.since(began) > STARTS_WITHIN => {
                return Err(ServeError::Starting(options.spool.join("tmp")));
            }
            (None, _) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn await_start(
    options: &Options,
    (log, logged): (&DaemonLog, u64),
    daemon: i32,
    mut said: UnixStream,
) -> io::Result<DetachedStart> {
    let mut words = [0; 256];
    if said.read(&mut words)? > 0 {
        if words.starts_with(Notifier::READY.as_bytes()) {
            return Ok(DetachedStart::Ready);
        }
        // It says that it waits for the lock.
        let holder = SpoolLock::holder(&options.spool)?;
        return Ok(holder.map_or(DetachedStart::Ready, |holder| {
            DetachedStart::Waits(Box::new(holder))
        }));
    }
    let code = match wait::end_of(daemon)?.exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::Lost => 1,
    };
    let code = u8::try_from(code).unwrap_or(u8::MAX);
    Ok(DetachedStart::Failed(code, log.last_line(logged)?))
}
