//! Signals to the daemon, which become bytes in a pipe, and signals to jobs.

use crate::core::process::Stop;
use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction,
};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The meaning of a signal to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGPWR: end when nothing is left to run.
    Drain,
    /// SIGHUP: read the config again.
    Reload,
    /// SIGUSR2: become the new binary.
    Upgrade,
    /// SIGQUIT: end, and leave the jobs to the next daemon.
    Leave,
}

impl Told {
    /// True if it asks for the end of the process, sooner or later.
    pub fn is_end(self) -> bool {
        match self {
            Self::Stop | Self::Drain | Self::Leave => true,
            Self::Reload | Self::Upgrade => false,
        }
    }
}

const HANDLED: [(i32, Told); 6] = [
    (libc::SIGTERM, Told::Stop),
    (libc::SIGINT, Told::Stop),
    (libc::SIGPWR, Told::Drain),
    (libc::SIGHUP, Told::Reload),
    (libc::SIGUSR2, Told::Upgrade),
    (libc::SIGQUIT, Told::Leave),
];

fn handled() -> SigSet {
    HANDLED
        .iter()
        .filter_map(|(signal, _)| Signal::try_from(*signal).ok())
        .collect()
}

/// Blocks the signals with a meaning, until [`Signals::install`] or [`unblock`].
pub fn block() -> io::Result<()> {
    Ok(handled().thread_block()?)
}

/// Undoes [`block`].
pub fn unblock() -> io::Result<()> {
    Ok(handled().thread_unblock()?)
}

/// Runs `f` while the same signals are not delivered to this thread. They stay pending, also over an exec: the next
/// image gets them when it has installed its handlers.
pub fn held_back<T>(f: impl FnOnce() -> T) -> T {
    // pthread_sigmask(3) fails only if its arguments are wrong.
    let before = handled().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let done = f();
    if let Some(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

/// Runs `f`, which waits for a program at the terminal. The keys ^C and ^\ are for that program, and do not end this
/// process. The program itself starts with the usual actions: handlers do not last over an exec.
pub fn without_keys<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    extern "C" fn nothing(_: libc::c_int) {}
    const KEYS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];
    let nothing = SigHandler::Handler(nothing);
    let action = SigAction::new(nothing, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    let set = |key| unsafe { sigaction(key, &action) };
    let before = [set(KEYS[0])?, set(KEYS[1])?];
    let done = f();
    for (key, action) in KEYS.into_iter().zip(&before) {
        // SAFETY: it was the action before.
        unsafe { sigaction(key, action)? };
    }
    Ok(done)
}

/// The end of the pipe that the daemon reads.
#[derive(Debug)]
pub struct Signals(UnixStream);

impl Signals {
    /// Installs the handlers for the whole process, and unblocks their signals, which a parent or the former image may
    /// have blocked. Ignores SIGIO, which a lease may raise (see [`super::lease`]), SIGPIPE, and SIGUSR1, by which the
    /// logrotate file of an hq asks it to open its logs again.
    pub fn install() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let fd = writer.as_raw_fd();
        // The handlers need the descriptor for as long as the process lives.
        std::mem::forget(writer);
        for (signal, _) in HANDLED {
            let byte = u8::try_from(signal).unwrap_or(0);
            let handler = move || {
                // SAFETY: write(2) is async-signal-safe (signal-safety(7)); the byte outlives the call; the
                // descriptor is never closed; signal-hook restores errno. A full pipe is readable already.
                unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
            };
            // SAFETY: the handler only calls write(2), see above.
            unsafe { signal_hook::low_level::register(signal, handler)? };
        }
        set_usual_actions();
        handled().thread_unblock()?;
        Ok(Self(reader))
    }

    /// Signals that this process is not sent: the caller tells them.
    pub fn told_by_us() -> io::Result<(Self, Teller)> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        Ok((Self(reader), Teller(writer)))
    }

    /// The signals that came since the last call.
    pub fn read(&mut self) -> Vec<Told> {
        let mut bytes = [0u8; 64];
        let n = self.0.read(&mut bytes).unwrap_or(0);
        bytes[..n]
            .iter()
            .filter_map(|b| {
                HANDLED
                    .iter()
                    .find(|(s, _)| *s == i32::from(*b))
                    .map(|(_, told)| *told)
            })
            .collect()
    }
}

/// Has the kernel keep the status of children that have ended. A parent may have left SIGCHLD ignored (wait(2)).
pub fn keep_ended_children() {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Sets the actions of signals that mean nothing to pirn.
fn set_usual_actions() {
    keep_ended_children();
    for ignored in [libc::SIGIO, libc::SIGPIPE, libc::SIGUSR1] {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { libc::signal(ignored, libc::SIG_IGN) };
    }
}

/// The signals with a meaning, and SIGCHLD, for a process that passes them on: it blocks them, and reads them here.
#[derive(Debug)]
pub struct PassedSignals(SignalFd);

/// A signal that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedSignal {
    /// Its number.
    pub number: i32,
    /// Its meaning; `None` for SIGCHLD.
    pub told: Option<Told>,
    /// A process sent it to this one alone. Otherwise it is the kernel's, as from the keys of a terminal, and goes to
    /// the whole process group.
    pub is_sent: bool,
}

impl PassedSignals {
    /// Signals before this call are read too, if they were blocked.
    pub fn new() -> io::Result<Self> {
        set_usual_actions();
        let mut mask = handled();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&mask, flags)?))
    }

    /// The next signal that has come.
    pub fn read(&self) -> Option<PassedSignal> {
        let info = self.0.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        let known = HANDLED.iter().find(|(signal, _)| *signal == number);
        Some(PassedSignal {
            number,
            told: known.map(|(_, told)| *told),
            is_sent: info.ssi_code <= 0,
        })
    }
}

impl AsFd for PassedSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a process a signal by its number.
pub fn pass(pid: i32, signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Tells a daemon in this process what it would be told by signals.
#[derive(Debug)]
pub struct Teller(UnixStream);

impl Teller {
    /// Tells the daemon to end, as SIGTERM would. A second time, its jobs are ended.
    pub fn stop(&self) -> io::Result<()> {
        let byte = u8::try_from(libc::SIGTERM).unwrap_or(0);
        (&self.0).write_all(&[byte])
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signal that tells a daemon this.
pub fn number_of(told: Told) -> i32 {
    match told {
        Told::Stop => libc::SIGTERM,
        Told::Drain => libc::SIGPWR,
        Told::Reload => libc::SIGHUP,
        Told::Upgrade => libc::SIGUSR2,
        Told::Leave => libc::SIGQUIT,
    }
}

/// Reads the name of a signal, with or without SIG, or its number.
pub fn parse(text: &str) -> Result<i32, String> {
    let wrong = || format!("expected a signal such as TERM, SIGUSR1 or 9, got {text:?}");
    if let Ok(number) = text.parse::<i32>() {
        let is_signal = (0..=libc::SIGRTMAX()).contains(&number);
        return is_signal.then_some(number).ok_or_else(wrong);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known: Result<Signal, _> = format!("SIG{name}").parse();
    known.map(|signal| signal as i32).map_err(|_| wrong())
}

/// The name of a signal, such as SIGTERM.
pub fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}

/// The names of all signals, as TERM.
pub fn names() -> impl Iterator<Item = &'static str> {
    Signal::iterator().map(|signal| signal.as_str().trim_start_matches("SIG"))
}

/// Sends a process SIGHUP.
pub fn hang_up(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
}

/// Has the kernel send this process SIGHUP when the thread that started it ends. False if its process is another than
/// `parent`: it has ended already.
pub fn hang_up_with(parent: u32) -> io::Result<bool> {
    // SAFETY: this option of prctl(2) takes one number and no pointer.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP) };
    match done {
        0 => Ok(u32::try_from(nix::unistd::getppid().as_raw()) == Ok(parent)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Signals a process group. The caller makes sure that the number is still that of its group. False if the leader
/// exists but may not be signalled, since it has become another user.
pub fn signal_group(group: i32, how: Stop) -> bool {
    let _ = send(-group, how);
    kill(Pid::from_raw(group), None) != Err(Errno::EPERM)
}

/// Signals one process. False if it may not be signalled, since it has become another user.
pub fn signal_one(pid: i32, how: Stop) -> bool {
    send(pid, how) != Err(Errno::EPERM)
}

fn send(target: i32, how: Stop) -> nix::Result<()> {
    let target = Pid::from_raw(target);
    match how {
        Stop::Term => {
            let sent = kill(target, Signal::SIGTERM);
            // A stopped job cannot act on TERM until it continues.
            let _ = kill(target, Signal::SIGCONT);
            sent
        }
        Stop::Kill => kill(target, Signal::SIGKILL),
    }
}
