//! `pirn watch`: the spool on the whole terminal. It sleeps until a key, a signal or inotify wakes it; while something
//! runs, also every second, for the clocks.

mod act;
mod changes;
mod frame;
mod keys;
mod line;
mod model;
mod picture;
mod screen;
mod sections;
#[cfg(test)]
mod tests;

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, OK, USAGE};
use super::style::Style;
use crate::core::time::Boot;
use crate::os::clock;
use crate::os::poll::Poller;
use crate::os::terminal::{FullScreen, ScreenSignal, ScreenSignals};
use screen::Screen;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

/// The numbers of descriptors in the poller. Further ones are in `changes`.
const KEYS: u64 = 0;
const SIGNALS: u64 = 1;

/// How the screen was left.
enum Departure {
    /// By a key.
    Wanted,
    /// The terminal is gone.
    Gone,
    /// By this signal.
    Signal(i32),
}

pub fn watch(path: &Path) -> CommandResult {
    let style = Style::of_stdout();
    if !io::stdin().is_terminal() || !style.can_redraw() {
        let what = "watch needs a terminal that it can draw on; pirn ls --jsonl lists the jobs for a program, and \
                    GET /v1/events tells it of changes";
        return Err(Failure::new(USAGE, what));
    }
    clock::learn_zone();
    let spool = existing::spool(path)?;
    let poller = Poller::new()?;
    let keys = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let signals = ScreenSignals::new()?;
    poller.add(&keys, KEYS)?;
    poller.add(&signals, SIGNALS)?;
    let terminal = FullScreen::take()?;
    let mut screen = Screen::new(&spool, &poller, style)?;
    let exit = run(&mut screen, keys, &signals, &terminal);
    drop(terminal);
    match exit? {
        Departure::Wanted => Ok(OK),
        Departure::Gone => Ok(FAILURE),
        Departure::Signal(signal) => {
            signals.end_by(signal);
            Ok(FAILURE)
        }
    }
}

fn run(
    screen: &mut Screen<'_>,
    mut keys: File,
    signals: &ScreenSignals,
    terminal: &FullScreen,
) -> Result<Departure, Failure> {
    loop {
        let now = clock::now().boot;
        if let Err(e) = screen.look_if_due(now) {
            return match e.raw_os_error() {
                // Writing to a terminal that is gone.
                Some(libc::EIO) if !io::stdout().is_terminal() => Ok(Departure::Gone),
                _ => Err(e.into()),
            };
        }
        let until = |at: Boot| at.since(clock::now().boot);
        for number in screen.poller.wait(screen.due().map(until))? {
            match number {
                KEYS => {
                    let mut bytes = [0; 1024];
                    let read = match keys.read(&mut bytes) {
                        Ok(0) | Err(_) => return Ok(Departure::Gone),
                        Ok(n) => &bytes[..n],
                    };
                    for key in keys::keys(read) {
                        if screen.press(key)? {
                            return Ok(Departure::Wanted);
                        }
                    }
                }
                SIGNALS => {
                    while let Some(signal) = signals.read() {
                        match signal {
                            ScreenSignal::Resized => screen.redraw(),
                            ScreenSignal::Continued => {
                                terminal.renew()?;
                                screen.redraw();
                            }
                            ScreenSignal::Stop => {
                                terminal.suspend()?;
                                screen.redraw();
                            }
                            ScreenSignal::Leave => return Ok(Departure::Wanted),
                            ScreenSignal::End(signal) => return Ok(Departure::Signal(signal)),
                        }
                    }
                }
                number => screen.changed(number)?,
            }
        }
    }
}
