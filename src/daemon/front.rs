//! The front: a process that does nothing but wait for the daemon, its child. It takes the place of a daemon that was
//! killed: by an exec it becomes the daemon, and the jobs, whose parent it is then, give it their true exit codes.
//!
//! Signals and the messages to the service manager pass through it, since others know its pid only. It has the lock
//! open, so that nobody gets the spool between one daemon and the next. It polls a signalfd: with sigwaitinfo(2) it
//! could not wait for messages at the same time.

use super::proof::program;
use super::{ServeError, doing};
use crate::core::process::Exit;
use crate::os::front::{self, FRONT, Side};
use crate::os::notify::Notifier;
use crate::os::poll::Poller;
use crate::os::signals::{self, PassedSignals, Told};
use crate::os::{spawn, wait};
use crate::spool::SpoolLock;
use std::io;
use std::os::unix::net::UnixDatagram;

/// The front of a daemon.
struct Front {
    /// The pid of the daemon. Until it is reaped, no other process gets it.
    daemon: i32,
    signals: PassedSignals,
    /// The messages of the daemon to the service manager.
    messages: Option<UnixDatagram>,
    notifier: Notifier,
    /// The last signal by which the daemon was told to end.
    end: Option<i32>,
}

/// True if this process is to have a front: it is no daemon's next image, and did not take a daemon's place.
pub fn is_missing(inherited: Option<&SpoolLock>) -> bool {
    inherited.is_none() && std::env::var_os(FRONT).is_none()
}

/// The process that goes on.
#[derive(Debug)]
pub enum Behind {
    /// The daemon, and what it tells its front by.
    Daemon(Notifier),
    /// The front, once the daemon has ended with this code.
    Ended(u8),
}

/// Splits this process in two. What the daemon tells is passed on to `notifier`.
pub fn stand_before_daemon(lock: &SpoolLock, notifier: Notifier) -> Result<Behind, ServeError> {
    split(lock, notifier).or_else(doing("putting a process in front of the daemon"))
}

fn split(lock: &SpoolLock, notifier: Notifier) -> io::Result<Behind> {
    let (messages, theirs) = match notifier.is_on() {
        true => UnixDatagram::pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        false => (None, None),
    };
    for socket in messages.iter().chain(&theirs) {
        socket.set_nonblocking(true)?;
    }
    // Before the daemon can have jobs: each of them is to be a child of this process when the daemon dies.
    wait::become_subreaper()?;
    let Side::Front(daemon) = front::split(theirs.map(Into::into))? else {
        return Ok(Behind::Daemon(Notifier::from_env()));
    };
    let front = Front {
        daemon,
        signals: PassedSignals::new()?,
        messages,
        notifier,
        end: None,
    };
    let poller = Poller::new()?;
    poller.add(&front.signals, 0)?;
    if let Some(messages) = &front.messages {
        poller.add(messages, 1)?;
    }
    Ok(Behind::Ended(front.wait(lock, &poller)?))
}

impl Front {
    /// Passes on what comes until the daemon ends. Gives the exit code, if this process does not become the daemon.
    fn wait(mut self, lock: &SpoolLock, poller: &Poller) -> io::Result<u8> {
        loop {
            // Before the daemon is looked at: SIGCHLD, once read, wakes us no more.
            self.pass_signals();
            let first = wait::next_own_end()?;
            // It may have spoken before it ended.
            let ended = wait::has_ended(self.daemon)?;
            self.pass_messages();
            match ended.map(|ended| ended.exit) {
                Some(Exit::Code(code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
                Some(Exit::Signal(signal)) => return Ok(self.replace_daemon(signal, lock)),
                Some(Exit::Lost) => {
                    return Err(io::Error::other("how the daemon ended is not known"));
                }
                None => {}
            }
            match first {
                // The first process of a container gets the orphans of all that do not come from the daemon. Those of
                // jobs are the daemon's as long as it lives.
                Some(orphan) if std::process::id() == 1 => wait::reap(orphan.pid),
                Some(_) | None => poller.wait(None).map(drop)?,
            }
        }
    }

    fn pass_messages(&mut self) {
        let mut buffer = [0; 4096];
        let Some(messages) = &self.messages else {
            return;
        };
        while let Ok(n) = messages.recv(&mut buffer) {
            self.notifier.pass_on(&buffer[..n]);
        }
        if !self.notifier.is_on() {
            // The daemon learns by it that nobody listens.
            self.messages = None;
        }
    }

    fn pass_signals(&mut self) {
        while let Some(signal) = self.signals.read() {
            match signal.told {
                Some(Told::Stop | Told::Leave | Told::Drain) => self.end = Some(signal.number),
                Some(Told::Reload | Told::Upgrade) => {}
                None => continue,
            }
            // Those of a terminal have reached the daemon already, and twice means more than once.
            if signal.is_sent {
                signals::pass(self.daemon, signal.number);
            }
        }
    }

    /// Becomes the daemon. Returns if that fails.
    fn replace_daemon(&self, signal: i32, lock: &SpoolLock) -> u8 {
        let name = signals::name(signal);
        log::error!(
            "process {}, the daemon, was ended by {name}; taking its place",
            self.daemon
        );
        wait::reap(self.daemon);
        if let Some(end) = self.end {
            // The dead one was told to end: so is the next one, once it takes signals.
            signals::pass(std::process::id().cast_signed(), end);
        }
        let mut env = lock.pass_on(false).to_vec();
        env.push((FRONT, "0".to_owned()));
        let argv: Vec<_> = std::env::args_os().collect();
        let program = program();
        let e = spawn::replace_process(&program.to_string_lossy(), &argv, &env);
        log::error!("{}: {e}", program.display());
        u8::try_from(128 + signal).unwrap_or(u8::MAX)
    }
}
