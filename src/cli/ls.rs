//! `pirn ls`.

use super::exit::{Failure, OK, Outcome};
use super::output::{self, Style, tame};
use crate::core::id::{QueueName, natural_order};
use crate::core::record::{Reason, Record, State};
use crate::core::time::Wall;
use crate::core::units::brief_span;
use crate::os::clock;
use crate::spool::{Spool, Where};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// States to list [default: all; of the finished, the newest 20]
    #[arg(value_name = "STATE", value_enum)]
    states: Vec<StateArg>,
    /// Only jobs of this queue
    #[arg(short, long, value_name = "NAME")]
    queue: Option<QueueName>,
    /// Only jobs with this tag
    #[arg(long)]
    tag: Option<String>,
    /// At most this many of each state, the newest of the finished
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// All of them
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// Only the ids
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// As a JSON list of records
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StateArg {
    Active,
    Pending,
    Failed,
    Complete,
}

impl StateArg {
    fn state(self) -> State {
        match self {
            Self::Active => State::Active,
            Self::Pending => State::Pending,
            Self::Failed => State::Failed,
            Self::Complete => State::Complete,
        }
    }
}

/// Finished jobs that are listed unless more are asked for.
const FINISHED: usize = 20;

struct Row {
    at: Where,
    record: Record,
}

impl Row {
    fn id(&self) -> &str {
        self.record.id.as_ref().map_or("", |id| id.as_str())
    }
}

pub fn ls(spool: &Path, args: &Args) -> Outcome {
    let spool = super::open(spool, true)?;
    let all = [
        StateArg::Active,
        StateArg::Pending,
        StateArg::Failed,
        StateArg::Complete,
    ];
    let wanted = if args.states.is_empty() {
        &all[..]
    } else {
        &args.states
    };
    let mut rows = Vec::new();
    let mut hidden = 0;
    for state in all.iter().filter(|state| wanted.contains(state)) {
        let mut of_state = collect(&spool, args, state.state())?;
        let most = match (args.all, args.limit) {
            (true, _) => usize::MAX,
            (false, Some(limit)) => limit,
            (false, None) if state.state().is_final() && args.states.is_empty() => FINISHED,
            (false, None) => usize::MAX,
        };
        let extra = of_state.len().saturating_sub(most);
        hidden += extra;
        if state.state().is_final() {
            of_state.drain(..extra);
        } else {
            of_state.truncate(most);
        }
        rows.append(&mut of_state);
    }
    print(&rows, args)?;
    if hidden > 0 {
        eprintln!("pirn: {hidden} more; --all shows them");
    }
    Ok(OK)
}

/// The jobs in one state, in the order they will run, run, or ended.
fn collect(spool: &Spool, args: &Args, state: State) -> Result<Vec<Row>, Failure> {
    let places = match state {
        State::Active => vec![Where::Active],
        State::Complete => vec![Where::Complete],
        State::Failed => vec![Where::Failed],
        State::Pending => {
            let named = spool
                .queues()?
                .into_iter()
                .filter(|queue| !queue.is_default());
            std::iter::once(QueueName::default())
                .chain(named)
                .map(Where::Pending)
                .collect()
        }
    };
    let mut rows = Vec::new();
    for at in places {
        for id in spool.ids(&at)? {
            match spool.load(&id, &at) {
                Ok(Some(record)) if is_wanted(args, &record) => rows.push(Row {
                    at: at.clone(),
                    record,
                }),
                Ok(_) => {}
                Err(e) => eprintln!("pirn: {e}"),
            }
        }
    }
    rows.sort_by(|a, b| {
        let key = |row: &Row| match state {
            State::Pending => (
                std::cmp::Reverse(row.record.priority),
                row.record.created_at,
            ),
            State::Active => (std::cmp::Reverse(0), row.record.started_at),
            State::Complete | State::Failed => (std::cmp::Reverse(0), row.record.finished_at),
        };
        key(a)
            .cmp(&key(b))
            .then_with(|| natural_order(a.id(), b.id()))
    });
    Ok(rows)
}

fn is_wanted(args: &Args, record: &Record) -> bool {
    let queue = args
        .queue
        .as_ref()
        .is_none_or(|queue| record.queue.clone().unwrap_or_default() == *queue);
    queue
        && args
            .tag
            .as_ref()
            .is_none_or(|tag| record.tags.contains(tag))
}

fn print(rows: &[Row], args: &Args) -> Result<(), Failure> {
    if args.json {
        let records: Vec<String> = rows
            .iter()
            .map(|row| row.record.to_json_in(row.at.state()))
            .collect();
        let list = records
            .iter()
            .map(|r| r.trim_end())
            .collect::<Vec<_>>()
            .join(",\n");
        return output::line(if list.is_empty() {
            "[]".to_owned()
        } else {
            format!("[{list}]")
        });
    }
    if args.ids {
        return rows.iter().try_for_each(|row| output::line(row.id()));
    }
    let style = Style::of_stdout();
    let now = clock::wall();
    let table: Vec<[String; 5]> = rows.iter().map(|row| cells(row, now)).collect();
    let head = ["ID", "STATE", "QUEUE", "RESULT", "COMMAND"].map(str::to_owned);
    let width = |column: usize| {
        table
            .iter()
            .chain([&head])
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&render(&head, &widths, style.width, &head[1]));
    }
    for (row, cells) in rows.iter().zip(&table) {
        text.push_str(&render(
            cells,
            &widths,
            style.width,
            &style.state(row.at.state()),
        ));
    }
    output::bytes(text.as_bytes())
}

fn render(
    cells: &[String; 5],
    widths: &[usize; 4],
    terminal: Option<usize>,
    state: &str,
) -> String {
    let pad = |text: &str, shown: &str, width: usize| {
        format!(
            "{text}{}",
            " ".repeat(width.saturating_sub(shown.chars().count()) + 2)
        )
    };
    let mut line = pad(&cells[0], &cells[0], widths[0]);
    line.push_str(&pad(state, &cells[1], widths[1]));
    line.push_str(&pad(&cells[2], &cells[2], widths[2]));
    line.push_str(&pad(&cells[3], &cells[3], widths[3]));
    let used: usize = widths.iter().sum::<usize>() + 8;
    let room = terminal.map_or(usize::MAX, |width| width.saturating_sub(used).max(10));
    let command: String = if cells[4].chars().count() > room {
        cells[4].chars().take(room - 1).chain(['…']).collect()
    } else {
        cells[4].clone()
    };
    format!("{line}{command}\n")
}

fn cells(row: &Row, now: Wall) -> [String; 5] {
    let record = &row.record;
    let queue = record.queue.clone().unwrap_or_default();
    let label = match &record.name {
        Some(name) => format!("[{name}] {}", record.work.summary()),
        None => record.work.summary(),
    };
    [
        row.id().to_owned(),
        row.at.state().to_string(),
        queue.to_string(),
        result(row, now),
        tame(&label),
    ]
}

/// What matters most in each state: how it went, how long it has been going, or what it waits for.
fn result(row: &Row, now: Wall) -> String {
    let record = &row.record;
    let took = record.duration.map_or_else(String::new, |s| {
        brief_span(Duration::from_secs_f64(s.max(0.0)))
    });
    match row.at.state() {
        State::Complete => took,
        State::Failed => match (record.reason, record.exit_code, record.signal) {
            (Some(Reason::Exited), Some(code), _) => format!("exit {code}"),
            (Some(Reason::Signaled), _, Some(signal)) => format!("signal {signal}"),
            (Some(reason), _, _) => reason.to_string(),
            (None, _, _) => String::new(),
        },
        State::Active => record
            .started_at
            .map_or_else(|| "started".to_owned(), |at| brief_span(now.since(at))),
        State::Pending => {
            let date = record
                .not_before
                .max(record.retry_at)
                .filter(|at| *at > now);
            match (record.after.iter().chain(&record.after_any).next(), date) {
                (Some(parent), _) => format!("after {parent}"),
                (None, Some(at)) => format!("in {}", brief_span(at.since(now))),
                (None, None) => String::new(),
            }
        }
    }
}
