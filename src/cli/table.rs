//! The table of jobs that `ls` prints.

use super::exit::Failure;
use super::output::{Pieces, tame};
use super::rows::Row;
use super::style::{Ink, Style, columns, padding};
use crate::core::record::State;
use crate::core::units::{ago, brief_span, rough_span};
use std::borrow::Cow;
use std::time::Duration;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobColumn {
    Id,
    State,
    Queue,
    Waited,
    Ran,
    /// How long it ran if it was started, else how long it has waited: for both columns where there is little room.
    Time,
    Ended,
    Result,
    Command,
}

/// All columns, in their order.
const COLUMNS: [JobColumn; 8] = [
    JobColumn::Id,
    JobColumn::State,
    JobColumn::Queue,
    JobColumn::Waited,
    JobColumn::Ran,
    JobColumn::Ended,
    JobColumn::Result,
    JobColumn::Command,
];

/// The columns that a narrow terminal does without, the first one first.
const SPARED: [JobColumn; 5] = [
    JobColumn::Ended,
    JobColumn::Queue,
    JobColumn::Time,
    JobColumn::Waited,
    JobColumn::Ran,
];

/// As many columns of the terminal are left for commands, if they need them.
const ROOM: usize = 26;

/// The most columns for an id beside the rest of its line on a terminal; a UUID has 36.
const IDS: usize = 38;

/// The most columns for a queue and for a result on a terminal.
const CUT: usize = 20;

/// The space between two columns.
const GAP: usize = 2;

/// Jobs that ended longer ago are dim.
const OLD: Duration = Duration::from_secs(86_400);

impl JobColumn {
    fn head(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::State => "STATE",
            Self::Queue => "QUEUE",
            Self::Waited => "WAITED",
            Self::Ran => "RAN",
            Self::Time => "TIME",
            Self::Ended => "ENDED",
            Self::Result => "RESULT",
            Self::Command => "COMMAND",
        }
    }

    /// The text for a job; empty if there is nothing to say.
    fn cell(self, row: &Row) -> Cow<'_, str> {
        let span = |span: Option<Duration>, show: fn(Duration) -> String| {
            span.map_or_else(String::new, show).into()
        };
        match self {
            Self::Id => tame(row.id.as_str()).into(),
            Self::State => row.state.as_str().into(),
            Self::Queue => tame(row.queue.as_str()).into(),
            Self::Waited => span(row.waited, rough_span),
            Self::Ran => span(row.ran, brief_span),
            Self::Time if row.ran.is_none() => span(row.waited, rough_span),
            Self::Time => span(row.ran, brief_span),
            Self::Ended => span(row.ended, ago),
            Self::Result => (&*row.result).into(),
            Self::Command => (&*row.text).into(),
        }
    }

    fn ink(self, row: &Row) -> Option<Ink> {
        let is_old = row.ended.is_some_and(|ended| ended > OLD);
        match self {
            Self::State => Some(Ink::of_state(row.state)),
            Self::Result if row.state == State::Failed => Some(Ink::Red),
            Self::Result if row.state == State::Active => Some(Ink::Cyan),
            Self::Id
            | Self::Queue
            | Self::Waited
            | Self::Ran
            | Self::Time
            | Self::Ended
            | Self::Result
            | Self::Command => is_old.then_some(Ink::Dim),
        }
    }
}

/// A column that is shown, with its width.
struct ShownColumn {
    column: JobColumn,
    width: usize,
}

/// Prints the rows under a line of headings; nothing if there are none. A pipe gets all columns, and nothing is cut. On
/// a terminal, columns that say nothing are left out, and further ones for which there is no room beside the commands.
pub fn print(rows: &[Row], style: Style, out: &mut Pieces) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let is_terminal = style.width.is_some();
    let mut shown: Vec<ShownColumn> = COLUMNS
        .map(|column| measure(column, rows, is_terminal))
        .into();
    if let Some(terminal) = style.width {
        shown.retain(|one| says_something(one.column, rows));
        make_room(&mut shown, terminal, rows);
    }
    print_line(&shown, style, out, |column| {
        (column.head().into(), Some(Ink::Bold))
    })?;
    rows.iter().try_for_each(|row| {
        print_line(&shown, style, out, |column| match column.cell(row) {
            cell if cell.is_empty() => ("-".into(), Some(Ink::Dim)),
            cell => (cell, column.ink(row)),
        })
    })
}

/// The width of a column. On a terminal, one long id does not make all lines long.
fn measure(column: JobColumn, rows: &[Row], is_terminal: bool) -> ShownColumn {
    let widths = rows.iter().map(|row| columns(&column.cell(row)));
    let widest = match column {
        JobColumn::Id if is_terminal => widths.filter(|width| *width <= IDS).max(),
        JobColumn::Queue | JobColumn::Result if is_terminal => widths.max().map(|w| w.min(CUT)),
        JobColumn::Id
        | JobColumn::State
        | JobColumn::Queue
        | JobColumn::Waited
        | JobColumn::Ran
        | JobColumn::Time
        | JobColumn::Ended
        | JobColumn::Result
        | JobColumn::Command => widths.max(),
    };
    let width = widest.unwrap_or(0).max(column.head().len());
    ShownColumn { column, width }
}

fn says_something(column: JobColumn, rows: &[Row]) -> bool {
    match column {
        JobColumn::Queue => rows.iter().any(|row| !row.queue.is_default()),
        JobColumn::Waited
        | JobColumn::Ran
        | JobColumn::Time
        | JobColumn::Ended
        | JobColumn::Result => rows.iter().any(|row| !column.cell(row).is_empty()),
        JobColumn::Id | JobColumn::State | JobColumn::Command => true,
    }
}

/// Joins and drops columns until the commands have room, and gives them all that is left.
fn make_room(shown: &mut Vec<ShownColumn>, terminal: usize, rows: &[Row]) {
    let used = |shown: &[ShownColumn]| -> usize {
        let others = shown.iter().filter(|one| one.column != JobColumn::Command);
        others.map(|one| one.width + GAP).sum()
    };
    let longest = shown.last().map_or(0, |command| command.width);
    let is_tight = |shown: &[ShownColumn]| used(shown) + longest.min(ROOM) > terminal;
    let place = |column| shown.iter().position(|one| one.column == column);
    if let (Some(waited), Some(ran)) = (place(JobColumn::Waited), place(JobColumn::Ran))
        && is_tight(shown)
    {
        shown[ran] = measure(JobColumn::Time, rows, true);
        shown.remove(waited);
    }
    for spared in SPARED {
        if is_tight(shown) {
            shown.retain(|one| one.column != spared);
        }
    }
    let left = terminal.saturating_sub(used(shown));
    if let Some(command) = shown.last_mut() {
        command.width = longest.min(left);
    }
}

fn print_line<'a>(
    shown: &[ShownColumn],
    style: Style,
    out: &mut Pieces,
    cell: impl Fn(JobColumn) -> (Cow<'a, str>, Option<Ink>),
) -> Result<(), Failure> {
    for one in shown {
        let is_last = one.column == JobColumn::Command;
        let (text, ink) = cell(one.column);
        // An id is never cut: it is there to be copied.
        let is_long = one.column == JobColumn::Id && columns(&text) > one.width;
        let text = match is_long {
            true => text.as_ref().into(),
            false => style.fit(&text, one.width),
        };
        let painted = ink.map_or(text.as_ref().into(), |ink| style.paint(ink, &text));
        let gap = match (is_last, is_long) {
            (true, _) => "\n".to_owned(),
            (false, true) => format!("\n{}", " ".repeat(one.width + GAP)),
            (false, false) => padding(&text, one.width + GAP),
        };
        out.push(&[&painted, &gap])?;
    }
    Ok(())
}
