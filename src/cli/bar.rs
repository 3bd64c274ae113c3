//! A progress bar on the terminal, for work of our own that takes long.

use super::style::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Work that takes less time shows no bar.
const LONG: Duration = Duration::from_secs(1);

/// A bar that appears on stderr once the work has taken [`LONG`], and goes away when this is dropped.
pub struct Bar {
    /// `None` where nobody would see a bar.
    began: Option<Instant>,
    /// All of the work, if that is known, and how much of it is done.
    total: Option<u64>,
    done: u64,
    jobs: u64,
    shown: Option<ProgressBar>,
}

impl Bar {
    /// A bar for this much work. `prints` says that the work itself writes to stdout, which on a terminal is progress
    /// enough.
    pub fn new(total: Option<u64>, prints: bool) -> Self {
        let is_seen = Style::of_stderr().can_redraw();
        let is_in_the_way = prints && Style::of_stdout().width.is_some();
        Self {
            began: (is_seen && !is_in_the_way).then(Instant::now),
            total,
            done: 0,
            jobs: 0,
            shown: None,
        }
    }

    /// Some of the work is done, with which so many jobs are.
    pub fn advance(&mut self, by: u64, jobs: u64) {
        self.done += by;
        self.jobs += jobs;
        if self.began.is_none_or(|began| began.elapsed() < LONG) {
            return;
        }
        let bar = self.shown.get_or_insert_with(|| bar(self.total));
        bar.set_position(self.done);
        bar.set_message(match self.jobs {
            1 => "1 job".to_owned(),
            jobs => format!("{jobs} jobs"),
        });
    }

    /// Prints a line on stderr, above the bar.
    pub fn say(&self, line: &str) {
        match &self.shown {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{bar:30} {percent:>3}%  {msg}, {eta} left",
        None => "{msg}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
