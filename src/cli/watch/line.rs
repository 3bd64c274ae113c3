//! One line of the screen.

use crate::cli::output::tame;
use crate::cli::style::{Ink, Style, fit, padding};

/// The space between two columns.
const GAP: usize = 2;

/// A line that is written from left to right and never gets wider than the screen. Whatever text is put into it, it has
/// no escape sequences but its own.
pub struct Line {
    text: String,
    /// The columns that are free.
    left: usize,
    style: Style,
    is_selected: bool,
}

impl Line {
    /// An empty line.
    pub fn new(width: usize, style: Style) -> Self {
        Self {
            text: String::new(),
            left: width,
            style,
            is_selected: false,
        }
    }

    /// The line of a job. A selected one is in reverse video, also where there are no colours, and has a mark.
    pub fn of_job(width: usize, style: Style, is_selected: bool) -> Self {
        let mut line = Self::new(width, style);
        line.is_selected = is_selected;
        line.put(if is_selected { "> " } else { "  " }, None);
        line
    }

    /// Adds a text, as far as there is room.
    pub fn put(&mut self, text: &str, ink: Option<Ink>) {
        if self.left == 0 {
            return;
        }
        let text = tame(text);
        let text = fit(&text, self.left);
        self.left = padding(&text, self.left).len();
        match ink.filter(|_| !self.is_selected) {
            Some(ink) => self.text.push_str(&self.style.paint(ink, &text)),
            None => self.text.push_str(&text),
        }
    }

    /// Adds a text that takes these columns, with the space behind them.
    pub fn column(&mut self, text: &str, width: usize, ink: Option<Ink>) {
        let text = tame(text);
        let text = fit(&text, width);
        self.put(&text, ink);
        self.put(&padding(&text, width + GAP), None);
    }

    /// Adds a text at the right end, if there is room for all of it.
    pub fn put_right(&mut self, text: &str, ink: Option<Ink>) {
        let free = padding(&tame(text), self.left);
        if free.len() >= GAP {
            self.put(&free, None);
            self.put(text, ink);
        }
    }

    /// The columns that are free.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The line as it is written.
    pub fn end(self) -> String {
        match self.is_selected {
            true => format!("\x1b[7m{}{}\x1b[0m", self.text, " ".repeat(self.left)),
            false => self.text,
        }
    }
}
