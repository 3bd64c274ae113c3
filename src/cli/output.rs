//! Writing to stdout, which may be a pipe that its reader closes early.

use super::exit::Failure;
use super::style::{Ink, Style};
pub use crate::core::quote::tame;
use std::fmt::Display;
use std::io::{self, Read, StdoutLock, Write};
use std::path::Path;

/// Prints one line.
pub fn line(text: impl Display) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    print(|out| out.write_all(bytes))
}

/// Prints ids, a line each. Unlike the others, this fails if the reader has closed the pipe: nobody would learn the ids
/// of accepted jobs.
pub fn ids(ids: &[impl Display]) -> io::Result<()> {
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints all that is left to read.
pub fn copy(from: &mut impl Read) -> Result<(), Failure> {
    print(|out| io::copy(from, out).map(drop))
}

/// Prints a line that is not of a job but about it, dim, and on a terminal only: a pipe gets what the job wrote.
pub fn aside(text: &str) -> Result<(), Failure> {
    let style = Style::of_stdout();
    match style.width {
        None => Ok(()),
        Some(_) => line(style.paint(Ink::Dim, &tame(text))),
    }
}

/// Once the reader has closed the pipe, the process ends quietly, as other tools do.
fn print(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| Failure::at(Path::new("standard output"), e)),
    }
}

/// Prints much text in pieces of [`PIECE`] bytes, not line by line.
#[derive(Debug, Default)]
pub struct Pieces(Vec<u8>);

impl Pieces {
    /// Adds these texts.
    pub fn push(&mut self, texts: &[&str]) -> Result<(), Failure> {
        for text in texts {
            self.0.extend_from_slice(text.as_bytes());
        }
        match self.0.len() {
            0..PIECE => Ok(()),
            PIECE.. => self.flush(),
        }
    }

    /// Prints the last piece.
    pub fn flush(&mut self) -> Result<(), Failure> {
        bytes(&self.0)?;
        self.0.clear();
        Ok(())
    }
}

/// As many bytes as a pipe holds.
const PIECE: usize = 64 << 10;
