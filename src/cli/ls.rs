//! `pirn ls`.

use super::existing;
use super::exit::{CommandResult, Failure, OK};
use super::output::Pieces;
use super::rows::{Form, Row};
use super::select::Filter;
use super::settings;
use super::style::Style;
use super::table;
use crate::core::record::State;
use crate::os::clock;
use crate::spool::{Spool, Waits, Where};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::Path;

#[derive(Debug, Default, clap::Args)]
pub struct LsArgs {
    /// States to list [default: all; of the finished, the newest 20]
    #[arg(value_name = "STATE", value_parser = parse_state())]
    states: Vec<State>,
    /// At most this many of each state; of the finished the newest [default: 20 of the finished]
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// All jobs
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// All jobs, in the order of the directories
    ///
    /// With --ids and without --tag no file is read, so that a million ids are listed at once.
    #[arg(short = 'U', long, conflicts_with = "limit")]
    unsorted: bool,
    /// Only the ids, one a line
    #[arg(long, conflicts_with_all = ["json", "jsonl"])]
    ids: bool,
    /// As a JSON list of records
    ///
    /// Each has its `state`, and if it waits the reason (`waiting`).
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
    /// The same records as JSON, one a line
    #[arg(long)]
    jsonl: bool,
    #[command(flatten)]
    filter: Filter,
}

/// The order in which states are listed.
const ORDER: [State; 5] = [
    State::Active,
    State::Pending,
    State::Held,
    State::Failed,
    State::Complete,
];

/// Most finished jobs of a state that are listed, unless the options ask for more.
const FINISHED: usize = 20;

fn parse_state() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(ORDER.map(State::as_str)).try_map(|word| {
        let state = ORDER.into_iter().find(|state| state.as_str() == word);
        state.ok_or("expected a state")
    })
}

impl LsArgs {
    pub fn form(&self) -> Form {
        match (self.ids, self.json, self.jsonl) {
            (true, _, _) => Form::Ids,
            (false, true, _) => Form::Json,
            (false, false, true) => Form::JsonLines,
            (false, false, false) => Form::Table,
        }
    }

    fn names_a_state(&self) -> bool {
        !self.states.is_empty() || self.filter.failed
    }

    fn says_nothing(&self) -> bool {
        self.states.is_empty() && self.filter.is_empty()
    }

    /// The most jobs of a state that are listed.
    fn most(&self, state: State) -> usize {
        match (self.all || self.unsorted, self.limit) {
            (true, _) => usize::MAX,
            (false, Some(limit)) => limit,
            (false, None) if state.is_final() && !self.names_a_state() => FINISHED,
            (false, None) => usize::MAX,
        }
    }

    /// True if no file has to be read: only the names in the directory matter.
    fn needs_names_only(&self, places: &[Where]) -> bool {
        let is_wanted = |at: &Where| !self.filter.needs_record(at);
        self.unsorted && self.form() == Form::Ids && places.iter().all(is_wanted)
    }
}

pub fn ls(path: &Path, args: &LsArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    args.filter.check(&spool)?;
    let is_wanted = |state: &State| args.states.is_empty() || args.states.contains(state);
    let mut out = Pieces::default();
    let mut rows = Vec::new();
    let mut hidden = 0;
    let waits = match args.form() {
        Form::Ids => None,
        Form::Json | Form::JsonLines | Form::Table => Some(settings::waits(&spool)?),
    };
    for state in ORDER.into_iter().filter(is_wanted) {
        let places = args.filter.places(&spool, &[state])?;
        if args.needs_names_only(&places) {
            for at in &places {
                let ids = spool.ids(at)?;
                ids.iter()
                    .try_for_each(|id| out.push(&[id.as_str(), "\n"]))?;
            }
            continue;
        }
        let mut of_state = collect(&spool, args, &places, waits.as_ref())?;
        let extra = of_state.len().saturating_sub(args.most(state));
        hidden += extra;
        if state.is_final() {
            of_state.drain(..extra);
        } else {
            of_state.truncate(args.most(state));
        }
        match args.form() {
            Form::Ids => of_state
                .iter()
                .try_for_each(|row| out.push(&[row.id.as_str(), "\n"]))?,
            Form::Json | Form::JsonLines | Form::Table => rows.append(&mut of_state),
        }
    }
    match args.form() {
        Form::Ids => {}
        Form::Json => print_json(&rows, &mut out)?,
        Form::JsonLines => rows
            .iter()
            .try_for_each(|row| out.push(&[&row.text, "\n"]))?,
        Form::Table => table::print(&rows, Style::of_stdout(), &mut out)?,
    }
    out.flush()?;
    if rows.is_empty() && args.form() == Form::Table && Style::of_stdout().width.is_some() {
        let such = if args.says_nothing() { "" } else { " such" };
        eprintln!("pirn: there is no{such} job in {}", path.display());
    }
    if hidden > 0 {
        eprintln!("pirn: {hidden} more; --all shows them");
    }
    Ok(OK)
}

/// The jobs in one state, sorted by [`Row::order`].
fn collect(
    spool: &Spool,
    args: &LsArgs,
    places: &[Where],
    waits: Option<&Waits<'_>>,
) -> Result<Vec<Row>, Failure> {
    let now = clock::wall();
    let mut rows = Vec::new();
    for at in places {
        for id in spool.ids(at)? {
            match spool.load_and_ask(&id, at) {
                Ok(Some((record, is_being_written))) if args.filter.matches(&record) => {
                    let (waiting, progress) = match waits {
                        Some(waits) => (
                            waits.of_loaded(&id, at, &record, &|| is_being_written),
                            spool.progress(&id, at),
                        ),
                        None => (None, None),
                    };
                    rows.push(Row::new(
                        id,
                        at,
                        &record,
                        waiting.as_ref(),
                        progress.as_ref(),
                        args.form(),
                        now,
                    ));
                }
                Ok(_) => {}
                Err(e) => eprintln!("pirn: {}", Failure::at(spool.path(), e).message),
            }
        }
    }
    if !args.unsorted {
        rows.sort_unstable_by(Row::order);
    }
    Ok(rows)
}

fn print_json(rows: &[Row], out: &mut Pieces) -> Result<(), Failure> {
    out.push(&["["])?;
    for (n, row) in rows.iter().enumerate() {
        out.push(&[if n == 0 { "" } else { ",\n" }, &row.text])?;
    }
    out.push(&["]\n"])
}
