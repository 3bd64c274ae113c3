//! The parts of the screen: what runs, what waits, what has ended, and the end of a log.

use super::line::Line;
use super::model::Model;
use super::picture::{Picture, ShownJob};
use crate::cli::style::{Ink, Style, columns, fit};
use crate::core::quote::line_of_log;
use crate::core::record::State;
use crate::core::units::brief_span;
use crate::core::waiting::WaitWord;

/// The cells of a bar.
const BAR: usize = 10;

/// From this width on, reasons are whole sentences, and progress has its text.
const WIDE: usize = 120;

/// The widths of the columns that all jobs have.
struct Widths {
    screen: usize,
    id: usize,
    /// 0 if all jobs are in the default queue.
    queue: usize,
    /// How they fare.
    note: usize,
}

/// The lines of all parts, in at most so many rows.
pub fn sections(model: &Model, rows: usize, width: usize, style: Style) -> Vec<String> {
    let picture = &model.picture;
    let parts = [&picture.running, &picture.waiting, &picture.ended];
    let wants = [
        parts[0].len(),
        parts[1].len(),
        parts[2].len(),
        model.log.len(),
    ];
    let dealt = deal(rows.saturating_sub(wants.len()), wants);
    let widths = widths(picture, width);
    let titles = [
        running_title(picture),
        waiting_title(picture),
        ended_title(picture),
    ];
    let mut lines = Vec::new();
    let mut before = 0;
    for ((part, title), n) in parts.into_iter().zip(&titles).zip(dealt) {
        lines.push(rule(title, width, style));
        let selected = model.selected.checked_sub(before);
        let selected = selected.filter(|at| *at < part.len());
        // The selected job is in sight.
        let from = selected.map_or(0, |at| (at + 1).saturating_sub(n));
        for (at, job) in part.iter().enumerate().skip(from).take(n) {
            lines.push(job_line(model, job, &widths, style, selected == Some(at)));
        }
        before += part.len();
    }
    lines.push(rule(&log_title(model), width, style));
    let tail = &model.log[model.log.len().saturating_sub(dealt[3])..];
    for text in tail {
        let mut line = Line::new(width, style);
        line.put(&format!("  {}", line_of_log(text)), None);
        lines.push(line.end());
    }
    lines
}

/// Deals rows one by one to parts that want more, until there are none left.
fn deal<const N: usize>(mut rows: usize, wants: [usize; N]) -> [usize; N] {
    let mut dealt = [0; N];
    while rows > 0 && dealt != wants {
        for (has, wants) in dealt.iter_mut().zip(wants) {
            if *has < wants && rows > 0 {
                *has += 1;
                rows -= 1;
            }
        }
    }
    dealt
}

fn widths(picture: &Picture, screen: usize) -> Widths {
    let is_wide = screen >= WIDE;
    let widest = |text: fn(&ShownJob) -> usize| picture.jobs().map(text).max().unwrap_or(0);
    let id = widest(|job| columns(job.row.id.as_str()));
    let has_queues = picture.jobs().any(|job| !job.row.queue.is_default());
    let queue = widest(|job| columns(job.row.queue.as_str()));
    Widths {
        screen,
        id: id.min(if is_wide { 24 } else { 12 }),
        queue: match has_queues {
            true => queue.min(if is_wide { 16 } else { 8 }),
            false => 0,
        },
        note: if is_wide { 52 } else { 20 },
    }
}

fn job_line(
    model: &Model,
    job: &ShownJob,
    widths: &Widths,
    style: Style,
    is_selected: bool,
) -> String {
    let mut line = Line::of_job(widths.screen, style, is_selected);
    line.column(job.row.id.as_str(), widths.id, None);
    if widths.queue > 0 {
        line.column(job.row.queue.as_str(), widths.queue, Some(Ink::Dim));
    }
    let is_wide = widths.screen >= WIDE;
    match job.row.state {
        State::Active => {
            let ran = job.started.map(|at| brief_span(model.now.since(at)));
            line.column(&ran.unwrap_or_default(), 8, Some(Ink::Cyan));
            line.column(&progress(job, is_wide), widths.note, Some(Ink::Cyan));
        }
        State::Pending | State::Held => {
            let waited = job.why.as_ref().map_or(("", ""), |why| {
                let word = match why.why {
                    // It is the usual thing.
                    WaitWord::Turn => "",
                    word => word.as_str(),
                };
                (word, why.text.as_str())
            });
            let text = if is_wide { waited.1 } else { waited.0 };
            line.column(text, widths.note + 10, Some(Ink::Yellow));
        }
        State::Complete | State::Failed => {
            let ink = Ink::of_state(job.row.state);
            let end = match &*job.row.result {
                "" => job.row.state.as_str(),
                end => end,
            };
            line.column(&job.ended, 8, Some(Ink::Dim));
            let ran = job.row.ran.map(brief_span).unwrap_or_default();
            let room = widths.note.saturating_sub(9);
            line.column(&ran, 7, None);
            line.column(end, room, Some(ink));
        }
    }
    line.put(&job.row.text, None);
    line.end()
}

/// A bar with the percentage, and the text if there is room.
fn progress(job: &ShownJob, is_wide: bool) -> String {
    let Some(progress) = &job.progress else {
        return String::new();
    };
    let cells = (1..=BAR).map(|cell| {
        let is_full = progress.done * BAR as f64 + 1e-6 >= cell as f64;
        if is_full { '█' } else { '░' }
    });
    let bar: String = cells.collect();
    match is_wide {
        true => format!("{bar} {:>4} {}", progress.percent(), progress.text),
        false => format!("{bar} {:>4}", progress.percent()),
    }
}

fn running_title(picture: &Picture) -> String {
    let (used, slots) = picture.slots;
    format!("RUNNING  {used} of {slots} slots in use")
}

fn waiting_title(picture: &Picture) -> String {
    let all = picture.pending + picture.held;
    match picture.waiting.len() {
        0 => "WAITING  nothing".to_owned(),
        shown if shown < all => format!("WAITING  the first {shown} of {all}"),
        _ => format!("WAITING  {all}"),
    }
}

fn ended_title(picture: &Picture) -> String {
    match picture.ended.is_empty() {
        true => "ENDED  nothing yet".to_owned(),
        false => "ENDED  the newest first".to_owned(),
    }
}

fn log_title(model: &Model) -> String {
    match model.job() {
        None => "LOG".to_owned(),
        Some(job) if model.log.is_empty() => format!("LOG  {} has written nothing", job.row.id),
        Some(job) => format!("LOG  {}", job.row.id),
    }
}

/// A title with a rule to the end of the line.
fn rule(title: &str, width: usize, style: Style) -> String {
    let mut line = Line::new(width, style);
    line.put("── ", Some(Ink::Dim));
    line.put(&fit(title, width.saturating_sub(8)), Some(Ink::Bold));
    line.put(" ", None);
    let rest = "─".repeat(line.left());
    line.put(&rest, Some(Ink::Dim));
    line.end()
}
