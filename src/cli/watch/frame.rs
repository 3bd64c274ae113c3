//! The screen as text, drawn from what is known.

use super::line::Line;
use super::model::{Model, Page};
use super::picture::Picture;
use super::sections;
use crate::cli::style::{Ink, Style, columns, fit};
use crate::core::quote::line_of_log;
use crate::spool::QueueStatus;

/// The smallest screen that is drawn on.
pub const SMALLEST: Size = Size {
    columns: 80,
    rows: 24,
};

/// The size of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Draws the screen: as many lines as it has rows, none wider than it.
pub fn frame(model: &Model, size: Size, style: Style) -> Vec<String> {
    let mut lines = match model.page {
        _ if size.columns < SMALLEST.columns || size.rows < SMALLEST.rows => too_small(size, style),
        Page::Jobs => jobs(model, size, style),
        Page::Log { back } => log(model, back, size, style),
        Page::Help => help(size, style),
    };
    lines.resize(size.rows, String::new());
    lines
}

fn too_small(size: Size, style: Style) -> Vec<String> {
    let text = format!(
        "{} x {} is too small, {} x {} is enough; q leaves",
        size.columns, size.rows, SMALLEST.columns, SMALLEST.rows
    );
    vec![one(&text, None, size, style)]
}

/// A line with one text.
fn one(text: &str, ink: Option<Ink>, size: Size, style: Style) -> String {
    let mut line = Line::new(size.columns, style);
    line.put(text, ink);
    line.end()
}

const KEYS: &str = "q quit  j/k select  Enter log  c cancel  r retry  h hold  p pause all  ? help";

/// The last line: a question or an answer, else the keys.
fn foot(model: &Model, keys: &str, size: Size, style: Style) -> String {
    match &model.message {
        Some(message) => one(message, Some(Ink::Yellow), size, style),
        None => one(keys, Some(Ink::Dim), size, style),
    }
}

/// The page of the jobs: the spool, its queues, what runs, waits and has ended, and the end of a log.
fn jobs(model: &Model, size: Size, style: Style) -> Vec<String> {
    let mut lines = head(&model.picture, size, style);
    let left = size.rows.saturating_sub(lines.len() + 1);
    lines.extend(sections::sections(model, left, size.columns, style));
    lines.resize(size.rows - 1, String::new());
    lines.push(foot(model, KEYS, size, style));
    lines
}

fn head(picture: &Picture, size: Size, style: Style) -> Vec<String> {
    let mut first = Line::new(size.columns, style);
    let daemon = match picture.daemon() {
        Some(pid) => format!("daemon {pid}"),
        None => "no daemon: nothing is started".to_owned(),
    };
    let ink = match picture.daemon() {
        Some(_) => Ink::Green,
        None => Ink::Red,
    };
    let room = size.columns.saturating_sub(columns(&daemon) + 2);
    first.put(&fit(&picture.path, room), Some(Ink::Bold));
    first.put_right(&daemon, Some(ink));

    let mut second = Line::new(size.columns, style);
    let counts = [
        (picture.pending, "waiting", Ink::Yellow),
        (picture.held, "held", Ink::Yellow),
        (picture.running.len(), "running", Ink::Cyan),
        (picture.complete, "complete", Ink::Green),
        (picture.failed, "failed", Ink::Red),
        (picture.bad, "bad", Ink::Red),
    ];
    for (n, word, ink) in counts {
        if n > 0 || !["held", "bad"].contains(&word) {
            second.put(&format!("{n} {word}"), (n > 0).then_some(ink));
            second.put("  ", None);
        }
    }
    if picture.is_paused {
        second.put_right("ALL PAUSED", Some(Ink::Yellow));
    }
    let mut lines = vec![first.end(), second.end()];
    let tokens = picture
        .tokens
        .iter()
        .map(|(name, used, total)| (format!("{name} {used}/{total}"), None));
    let queues = picture
        .queues
        .iter()
        .filter(|queue| queue.is_worth_a_line());
    let items: Vec<(String, Option<Ink>)> = queues.map(queue_item).chain(tokens).collect();
    let most = size.rows / 12;
    lines.extend(flow(&items, most, size, style));
    for trouble in picture.troubles.iter().take(2) {
        lines.push(one(
            &format!("trouble: {trouble}"),
            Some(Ink::Red),
            size,
            style,
        ));
    }
    lines
}

fn queue_item(queue: &QueueStatus) -> (String, Option<Ink>) {
    let mut text = format!("{} {}", queue.name, queue.waiting);
    match queue.slots {
        Some(slots) => text.push_str(&format!(" ({} of {slots} run)", queue.used)),
        None if queue.used > 0 => text.push_str(&format!(" ({} run)", queue.used)),
        None => {}
    }
    match queue.paused {
        true => (text + " paused", Some(Ink::Yellow)),
        false => (text, None),
    }
}

/// Puts the items one after the other into at most so many lines.
fn flow(items: &[(String, Option<Ink>)], most: usize, size: Size, style: Style) -> Vec<String> {
    let mut lines: Vec<Line> = Vec::new();
    for (n, (text, ink)) in items.iter().enumerate() {
        /// The room for saying how many items are left out.
        const MORE: usize = 12;
        let is_last = lines.len() == most;
        let needed = columns(text) + 2 + if is_last { MORE } else { 0 };
        let fits = |line: &Line| {
            line.left() >= needed || n + 1 == items.len() && line.left() >= columns(text)
        };
        if !lines.last().is_some_and(fits) {
            if is_last {
                if let Some(line) = lines.last_mut() {
                    line.put(&format!("{} more", items.len() - n), Some(Ink::Dim));
                }
                break;
            }
            lines.push(Line::new(size.columns, style));
        }
        if let Some(line) = lines.last_mut() {
            line.put(text, *ink);
            line.put("  ", None);
        }
    }
    lines.into_iter().map(Line::end).collect()
}

/// The page of a log. Long lines go on in the next row.
fn log(model: &Model, back: usize, size: Size, style: Style) -> Vec<String> {
    let mut head = Line::new(size.columns, style);
    match model.job() {
        Some(job) => {
            head.put(&format!("log of {}", job.row.id), Some(Ink::Bold));
            head.put(
                &format!("  {}  ", job.row.state),
                Some(Ink::of_state(job.row.state)),
            );
            head.put(&job.row.text, None);
        }
        None => head.put("the job is gone", Some(Ink::Bold)),
    }
    let mut rows: Vec<String> = model
        .log
        .iter()
        .flat_map(|line| wrap(&line_of_log(line), size.columns))
        .collect();
    if rows.is_empty() {
        rows.push("It has written nothing.".to_owned());
    }
    let room = size.rows - 2;
    let end = rows.len().saturating_sub(back).max(room.min(rows.len()));
    let mut lines = vec![head.end()];
    lines.extend_from_slice(&rows[end.saturating_sub(room)..end]);
    lines.resize(size.rows - 1, String::new());
    let keys = match back {
        0 => "j/k, PgUp/PgDn scroll  q back",
        _ => "j/k, PgUp/PgDn scroll  End follow  q back      (stopped: it may have grown)",
    };
    lines.push(foot(model, keys, size, style));
    lines
}

/// The rows of a log's page that are not at its end.
pub fn most_back(log: &[String], size: Size) -> usize {
    let rows = log
        .iter()
        .map(|line| wrap(&line_of_log(line), size.columns).len());
    rows.sum::<usize>()
        .saturating_sub(size.rows.saturating_sub(2))
}

/// The parts of a text that fill a row each.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut left = width;
    for c in text.chars() {
        let taken = columns(c.encode_utf8(&mut [0; 4]));
        if taken > left {
            rows.push(String::new());
            left = width;
        }
        left = left.saturating_sub(taken);
        if let Some(row) = rows.last_mut() {
            row.push(c);
        }
    }
    rows
}

const HELP: [(&str, &str); 12] = [
    (
        "j k, arrows",
        "select a job; Home goes back to the first, and follows what runs",
    ),
    ("PgUp PgDn", "go ten jobs, or a page of a log"),
    ("Enter, l", "show the log of the selected job"),
    ("c", "cancel it, after a question"),
    ("r", "run it again, if it has ended"),
    ("h", "hold it if it waits, release it if it is held"),
    ("p", "pause all queues, or go on"),
    ("P", "pause the queue of the selected job, or go on"),
    ("^L", "draw the screen again"),
    ("^Z", "stop; fg goes on"),
    ("q, ^C", "leave"),
    (
        "",
        "Waiting jobs beyond the first hundred are counted, not listed.",
    ),
];

fn help(size: Size, style: Style) -> Vec<String> {
    let mut lines = vec![
        one("pirn watch", Some(Ink::Bold), size, style),
        String::new(),
    ];
    lines.extend(HELP.map(|(key, text)| {
        let mut line = Line::new(size.columns, style);
        line.column(key, 12, Some(Ink::Cyan));
        line.put(text, None);
        line.end()
    }));
    lines.push(String::new());
    lines.push(one("Any key goes back.", Some(Ink::Dim), size, style));
    lines
}
