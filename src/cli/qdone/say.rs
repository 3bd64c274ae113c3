//! Text for people, on stderr.

use std::io::{IsTerminal, Write};

/// How much is told.
#[derive(Debug, Clone, Copy)]
pub struct Say {
    /// Each step is told.
    pub is_verbose: bool,
    has_colours: bool,
}

impl Say {
    /// Each step is told if that is asked for, or stderr is a terminal and nobody has asked for quiet.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let no_colours = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            is_verbose: verbose || (is_terminal && !quiet),
            has_colours: is_terminal && !no_colours,
        }
    }

    /// Tells a step.
    pub fn step(self, text: &str) {
        if self.is_verbose {
            self.always(text);
        }
    }

    /// Tells what quiet users are told too. A reader that is gone is no reason to leave a job.
    pub fn always(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Tells of trouble with a step, in red.
    pub fn bad_step(self, text: &str) {
        if self.is_verbose {
            self.error(text);
        }
    }

    /// Tells what must be told, in red.
    pub fn error(self, text: &str) {
        match self.has_colours {
            true => self.always(&format!("\x1b[31m{text}\x1b[0m")),
            false => self.always(text),
        }
    }
}
