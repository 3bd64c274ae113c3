//! A terminal as a screen to draw on: its size, its modes, and the signals that matter to a program that does.

use super::signals;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, Once, PoisonError};

/// The columns and rows of a terminal; `None` if it has no size.
pub fn size(terminal: &impl AsFd) -> Option<(usize, usize)> {
    // SAFETY: all-zero is a valid winsize; TIOCGWINSZ fills one.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    let terminal = terminal.as_fd().as_raw_fd();
    // SAFETY: as above; the pointer is to a live winsize.
    let done = unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) };
    let is_known = done == 0 && size.ws_col > 0;
    is_known.then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Columns of a terminal. If it has no size, those of `$COLUMNS`, or 80 (ls(1) does the same).
pub fn width(terminal: &impl AsFd) -> usize {
    let told = || {
        let columns = std::env::var("COLUMNS").ok()?.parse().ok();
        columns.filter(|columns| *columns > 0)
    };
    let known = size(terminal).map(|(columns, _)| columns);
    known.or_else(told).unwrap_or(80)
}

/// The alternate screen, without a cursor. Leaving it brings back the text that was there before.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The modes of the terminal before it was taken, while it is.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal of this process, taken to be drawn on. It is given back when this is dropped, and before a panic is
/// reported.
#[derive(Debug)]
pub struct FullScreen(());

impl FullScreen {
    /// Takes the terminal.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                report(panic);
            }));
        });
        take()?;
        Ok(Self(()))
    }

    /// Gives the terminal back, stops this process as SIGTSTP does, and takes it again once the process goes on. A
    /// process that nobody could continue does not stop.
    pub fn suspend(&self) -> io::Result<()> {
        give_back();
        raise(Signal::SIGTSTP)?;
        let stop = SigSet::from(Signal::SIGTSTP);
        stop.thread_unblock()?;
        stop.thread_block()?;
        take()
    }

    /// Sets the modes once more: after a stop that this process was not asked for, a shell has set its own.
    pub fn renew(&self) -> io::Result<()> {
        take()
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Keys are read one by one and are not shown. Those that send signals still do.
fn take() -> io::Result<()> {
    let stdin = io::stdin();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut modes = match &*before {
        Some(modes) => modes.clone(),
        None => before.insert(termios::tcgetattr(&stdin)?).clone(),
    };
    modes
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN);
    modes
        .input_flags
        .remove(InputFlags::IXON | InputFlags::ICRNL);
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    termios::tcsetattr(&stdin, SetArg::TCSANOW, &modes)?;
    write(ENTER)
}

fn give_back() {
    // A panic while the lock is held must not wait for it.
    let Ok(mut before) = BEFORE.try_lock() else {
        return;
    };
    if let Some(modes) = before.take() {
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &modes);
    }
}

/// Writes to the terminal, past the buffer of [`io::Stdout`].
pub fn write(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(io::stdout(), bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// The meaning of a signal to a program that draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScreenSignal {
    /// The terminal has another size.
    Resized,
    /// ^Z.
    Stop,
    /// The process goes on after a stop.
    Continued,
    /// ^C.
    Leave,
    /// This signal ends the process.
    End(i32),
}

/// These signals, as a descriptor that becomes readable when one comes.
#[derive(Debug)]
pub struct ScreenSignals {
    signals: SignalFd,
    mask: SigSet,
}

impl ScreenSignals {
    /// Keeps the signals back from the calling thread, which reads them here.
    pub fn new() -> io::Result<Self> {
        let all = [
            Signal::SIGWINCH,
            Signal::SIGTSTP,
            Signal::SIGCONT,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ];
        let mask: SigSet = all.into_iter().collect();
        mask.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags)?;
        Ok(Self { signals, mask })
    }

    /// The next signal that has come.
    pub fn read(&self) -> Option<ScreenSignal> {
        let info = self.signals.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        Some(match number {
            libc::SIGWINCH => ScreenSignal::Resized,
            libc::SIGTSTP => ScreenSignal::Stop,
            libc::SIGCONT => ScreenSignal::Continued,
            libc::SIGINT => ScreenSignal::Leave,
            number => ScreenSignal::End(number),
        })
    }

    /// Ends this process by a signal, as it would have without this. Returns if the process was started with the signal
    /// ignored.
    pub fn end_by(&self, signal: i32) {
        signals::pass(nix::unistd::getpid().as_raw(), signal);
        let _ = self.mask.thread_unblock();
    }
}

impl AsFd for ScreenSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
