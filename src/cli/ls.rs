//! `pirn ls`.

use super::existing;
use super::exit::{CommandResult, Failure, OK};
use super::ls_args::{LsArgs, ORDER};
use super::output::Pieces;
use super::rows::{Form, ListOrder, Row};
use super::settings;
use super::style::Style;
use super::table;
use crate::core::id::JobId;
use crate::core::json::nearest;
use crate::core::record::{Record, State};
use crate::core::time::Wall;
use crate::os::clock;
use crate::spool::{Spool, Waits, Where};
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Lists jobs of one spool, at one moment.
struct Lister<'s> {
    spool: &'s Spool,
    args: &'s LsArgs,
    /// Why jobs wait, if that is shown.
    waits: Option<Waits<'s>>,
    now: Wall,
}

pub fn ls(path: &Path, mut args: LsArgs) -> CommandResult {
    args.take_states();
    let args = &args;
    let spool = existing::spool(path)?;
    args.filter.check(&spool)?;
    let waits = match args.form() {
        Form::Ids => None,
        Form::Json | Form::JsonLines | Form::Table => Some(settings::waits(&spool)?),
    };
    let lister = Lister {
        spool: &spool,
        args,
        waits,
        now: clock::wall(),
    };
    let mut named = lister.named()?;
    let mut out = Pieces::default();
    let mut rows = Vec::new();
    let mut hidden = 0;
    for state in ORDER {
        let places = args.filter.places(&spool, &[state])?;
        if lister.needs_names_only(&places) {
            for at in &places {
                let ids = spool.ids(at)?;
                ids.iter()
                    .try_for_each(|id| out.push(&[id.as_str(), "\n"]))?;
            }
            continue;
        }
        let mut of_state = match args.words.is_empty() {
            true => {
                let (matching, left_out) = lister.matching(state, &places)?;
                hidden += left_out;
                matching
            }
            false => named.extract_if(.., |row| row.state == state).collect(),
        };
        if !args.unsorted {
            of_state.sort_unstable_by(Row::order);
        }
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

impl Lister<'_> {
    /// True if no file has to be read: only the names in the directory matter.
    fn needs_names_only(&self, places: &[Where]) -> bool {
        let args = self.args;
        let is_wanted = |at: &Where| !args.filter.needs_record(at);
        args.unsorted
            && args.words.is_empty()
            && args.form() == Form::Ids
            && places.iter().all(is_wanted)
    }

    /// The jobs that the words stand for, each once.
    fn named(&self) -> Result<Vec<Row>, Failure> {
        let places = self.args.filter.places(self.spool, &ORDER)?;
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        for word in &self.args.words {
            if self.add_named(word, &places, &mut seen, &mut rows) {
                continue;
            }
            let meant = self.args.filter.meant_by(self.spool, word);
            for id in meant.map_err(|failure| self.with_hint(failure, word))? {
                let is_there = self.add_named(&id, &places, &mut seen, &mut rows);
                // One of a range may have been removed since; of a word, this says why there is no such job.
                if !is_there && id == *word {
                    existing::job(self.spool, &id).map_err(|e| self.with_hint(e, word))?;
                }
            }
        }
        Ok(rows)
    }

    /// Adds the jobs of this id in these places that match: one may wait behind another that runs. False if there is
    /// none.
    fn add_named(
        &self,
        id: &JobId,
        places: &[Where],
        seen: &mut HashSet<JobId>,
        rows: &mut Vec<Row>,
    ) -> bool {
        if seen.contains(id) {
            return true;
        }
        let mut is_there = false;
        for at in places {
            let read = self.spool.load_and_ask(id, at);
            let is_unreadable = read.is_err();
            let row = self.row_if_matching(id, at, read);
            is_there |= is_unreadable || row.is_some();
            rows.extend(row);
        }
        if is_there {
            seen.insert(id.clone());
        }
        is_there
    }

    /// The failure to find a job by this word, with a hint if the word is nearly a state.
    fn with_hint(&self, failure: Failure, word: &JobId) -> Failure {
        match nearest(word.as_str(), &ORDER.map(State::as_str)) {
            Some(state) => {
                let failure = failure.in_place(self.spool.path());
                let message = format!("{}; did you mean the state {state}?", failure.message);
                Failure::new(failure.code, message)
            }
            None => failure,
        }
    }

    /// The jobs in these places that match, and how many were left out. If the places alone decide which jobs match, no
    /// more whole records are read than are listed: of the others, only the fields that decide on the order are.
    fn matching(&self, state: State, places: &[Where]) -> Result<(Vec<Row>, usize), Failure> {
        let mut jobs = Vec::new();
        for at in places {
            jobs.extend(self.spool.ids(at)?.into_iter().map(|id| (id, at)));
        }
        let most = self.args.most(state);
        let needs_record = |at: &Where| self.args.filter.needs_record(at);
        let whole = |(id, at): (JobId, &Where)| {
            self.row_if_matching(&id, at, self.spool.load_and_ask(&id, at))
        };
        if jobs.len() <= most || places.iter().any(needs_record) {
            return Ok((jobs.into_iter().filter_map(whole).collect(), 0));
        }
        let mut ordered: Vec<_> = jobs
            .into_iter()
            .filter_map(|(id, at)| {
                let read = self.spool.load_only(&ListOrder::FIELDS, &id, at);
                let record = self.or_tell(read)?;
                Some((ListOrder::of(&record, state), id, at))
            })
            .collect();
        ordered.sort_unstable_by(|(a, a_id, _), (b, b_id, _)| {
            let order = a.compare(a_id, b, b_id);
            match state.is_final() {
                true => order.reverse(),
                false => order,
            }
        });
        // A job that has moved on since makes room for the next one.
        let mut left = ordered.into_iter().map(|(_, id, at)| (id, at));
        let rows = left.by_ref().filter_map(whole).take(most).collect();
        Ok((rows, left.len()))
    }

    fn row_if_matching(
        &self,
        id: &JobId,
        at: &Where,
        read: io::Result<Option<(Record, bool)>>,
    ) -> Option<Row> {
        let (record, is_being_written) = self.or_tell(read)?;
        let matches = self.args.filter.matches(&record);
        matches.then(|| self.row(id, at, &record, &|| is_being_written))
    }

    /// The result of reading a job's file, if the file is still there. An error goes to standard error.
    fn or_tell<T>(&self, read: io::Result<Option<T>>) -> Option<T> {
        read.unwrap_or_else(|e| {
            eprintln!("pirn: {}", Failure::at(self.spool.path(), e).message);
            None
        })
    }

    fn row(
        &self,
        id: &JobId,
        at: &Where,
        record: &Record,
        is_being_written: &dyn Fn() -> bool,
    ) -> Row {
        let (waiting, progress) = match &self.waits {
            Some(waits) => (
                waits.of_loaded(id, at, record, is_being_written),
                self.spool.progress(id, at),
            ),
            None => (None, None),
        };
        Row::new(
            id.clone(),
            at,
            record,
            waiting.as_ref(),
            progress.as_ref(),
            self.args.form(),
            self.now,
        )
    }
}

fn print_json(rows: &[Row], out: &mut Pieces) -> Result<(), Failure> {
    out.push(&["["])?;
    for (n, row) in rows.iter().enumerate() {
        out.push(&[if n == 0 { "" } else { ",\n" }, &row.text])?;
    }
    out.push(&["]\n"])
}
