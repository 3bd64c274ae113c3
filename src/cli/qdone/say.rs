//! Text for people, on stderr.

use crate::cli::style::{Ink, Style};
use crate::core::quote::without_codes;
use std::io::Write;

/// How much is told.
#[derive(Debug, Clone, Copy)]
pub struct Say {
    /// Each step is told.
    pub is_verbose: bool,
    style: Style,
}

impl Say {
    /// Each step is told if that is asked for, or stderr is a terminal and nobody has asked for quiet.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let style = Style::of_stderr();
        Self {
            is_verbose: verbose || (style.width.is_some() && !quiet),
            style,
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
        let _ = writeln!(std::io::stderr(), "{}", without_codes(text));
    }

    /// Tells of trouble with a step, in red.
    pub fn bad_step(self, text: &str) {
        if self.is_verbose {
            self.error(text);
        }
    }

    /// Tells what must be told, in red.
    pub fn error(self, text: &str) {
        self.always(&self.style.paint(Ink::Red, text));
    }
}
