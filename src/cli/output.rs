//! Writing to stdout, which may be a pipe that closes early, and to a terminal, which may have colours.

use super::exit::Failure;
use crate::core::record::State;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Prints one line. A reader that went away ends us quietly, as it does other tools.
pub fn line(text: impl Display) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Much text, written as it comes, but not line by line.
#[derive(Debug, Default)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// Writes these texts, in one piece with others.
    pub fn push(&mut self, texts: &[&str]) -> Result<(), Failure> {
        for text in texts {
            self.0.extend_from_slice(text.as_bytes());
        }
        match self.0.len() {
            0..PIECE => Ok(()),
            PIECE.. => self.flush(),
        }
    }

    /// Writes what is still to be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        bytes(&self.0)?;
        self.0.clear();
        Ok(())
    }
}

/// Bytes that are written at a time: as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// How to print for who is reading.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
    /// Columns of the terminal; `None` when stdout is none.
    pub width: Option<usize>,
}

impl Style {
    /// Looks at stdout and at NO_COLOR (no-color.org).
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            colour: terminal && !unwanted,
            width: terminal.then(crate::os::user::terminal_width),
        }
    }

    /// A state, coloured.
    pub fn state(self, state: State) -> String {
        let code = match state {
            State::Pending | State::Held => "33",
            State::Active => "36",
            State::Complete => "32",
            State::Failed => "31",
        };
        self.paint(code, state.as_str())
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Text from a job, safe for a terminal: control characters shown, not obeyed.
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
