//! The tries of a job and the end of its log, as `show` describes them.

use super::describe::{Description, LENGTH, LINES};
use super::ends;
use super::style::Ink;
use super::when;
use crate::core::quote::{cut_to, line_of_log};
use crate::core::record::State;
use crate::core::time::Wall;
use crate::core::units::brief_span;
use std::io;

/// The most bytes of the log that are read.
const END_OF_LOG: u64 = 16 << 10;

impl Description<'_> {
    /// The size of its log, if there is one.
    pub fn log_size(&self) -> Option<u64> {
        let size = || -> io::Result<u64> {
            Ok(self
                .spool
                .open_log(self.found.id.as_str())?
                .metadata()?
                .len())
        };
        size().ok().or(self.record().log_bytes)
    }

    /// A table of the tries that were started.
    pub fn tries(&self) -> String {
        let record = self.record();
        let brief = |at: Option<Wall>| at.map_or_else(String::new, |at| when::brief(at, self.now));
        let took = |seconds: Option<f64>| {
            seconds.map_or_else(String::new, |s| brief_span(ends::seconds_to_span(s)))
        };
        let mut rows: Vec<[String; 4]> = Vec::new();
        for one in &record.attempts {
            let number = one.attempt.to_string();
            rows.push([
                number,
                brief(one.started_at),
                took(one.duration),
                ends::end_of_try(one),
            ]);
        }
        if self.found.at.state() == State::Active && record.started_at.is_some() {
            let ran = record.started_at.map(|at| brief_span(self.now.since(at)));
            let number = record.attempt.to_string();
            rows.push([
                number,
                brief(record.started_at),
                ran.unwrap_or_default(),
                "runs".to_owned(),
            ]);
        }
        if rows.is_empty() {
            return String::new();
        }
        let more = rows.len().saturating_sub(LINES);
        let head = ["try", "started", "ran", "end"].map(str::to_owned);
        let shown: Vec<_> = std::iter::once(&head).chain(&rows[more..]).collect();
        let width = |n: usize| shown.iter().map(|row| row[n].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        let mut text = "\n".to_owned();
        for (n, row) in shown.iter().enumerate() {
            let [number, started, ran, end] = row;
            let [a, b, c] = widths;
            let line = format!("{number:a$}  {started:b$}  {ran:c$}  {end}");
            let line = if n == 0 {
                self.style.paint(Ink::Dim, &line)
            } else {
                line.as_str().into()
            };
            text.push_str(&format!("  {line}\n"));
        }
        text
    }

    /// The last lines of its output.
    pub fn end_of_log(&self) -> String {
        let (id, record) = (&self.found.id, self.record());
        let log = self.spool.end_of_log(id, record, END_OF_LOG);
        let lines: Vec<&str> = log.lines().collect();
        if lines.is_empty() {
            return String::new();
        }
        let first = lines.len().saturating_sub(LINES);
        let is_all = first == 0 && self.log_size() == Some(log.len() as u64);
        let head = match is_all {
            true => "log".to_owned(),
            false => format!("log: the end of it, pirn log {id} shows all"),
        };
        let mut text = format!("\n  {}\n", self.style.paint(Ink::Dim, &head));
        for line in &lines[first..] {
            let line = cut_to(&line_of_log(line), LENGTH).into_owned();
            let room = self
                .style
                .width
                .map_or(usize::MAX, |width| width.saturating_sub(2));
            text.push_str(&format!("  {}\n", self.style.fit(&line, room)));
        }
        text
    }
}
