//! A progress bar on the terminal, for work of our own that takes long.

use super::style::Style;
use crate::core::units::rough_span;
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
        let Some(took) = self.began.map(|began| began.elapsed()) else {
            return;
        };
        if took < LONG {
            return;
        }
        let bar = self.shown.get_or_insert_with(|| bar(self.total));
        bar.set_position(self.done);
        let jobs = match self.jobs {
            1 => "1 job".to_owned(),
            jobs => format!("{jobs} jobs"),
        };
        let left = self
            .total
            .and_then(|total| time_left(took, self.done, total));
        bar.set_message(
            jobs + &left.map_or_else(String::new, |left| format!(", {} left", rough_span(left))),
        );
    }

    /// Prints a line on stderr, above the bar.
    pub fn say(&self, line: &str) {
        match &self.shown {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

/// The time that the rest will take, if it goes on as it went. The bar itself counts from when it appeared.
fn time_left(took: Duration, done: u64, total: u64) -> Option<Duration> {
    let share = total.saturating_sub(done) as f64 / done as f64;
    Duration::try_from_secs_f64(took.as_secs_f64() * share).ok()
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{bar:30} {percent:>3}%  {msg}",
        None => "{msg}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) if Style::of_stderr().is_ascii => bar.with_style(style.progress_chars("#.")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_first_part() {
        let second = Duration::from_secs(1);
        assert_eq!(time_left(second, 1, 20), Some(19 * second));
        assert_eq!(time_left(second, 20, 20), Some(Duration::ZERO));
        assert_eq!(time_left(second, 30, 20), Some(Duration::ZERO));
        assert_eq!(time_left(second, 0, 20), None);
    }
}
