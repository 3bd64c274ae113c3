//! The parts of a job that `ls` prints. It keeps only these, so that a million jobs do not need a million records in
//! memory.

use super::ends::{end, seconds_to_span};
use super::output::tame;
use crate::core::id::{JobId, QueueName, natural_order};
use crate::core::progress::JobProgress;
use crate::core::record::{Reason, Record, State};
use crate::core::time::Wall;
use crate::core::units::rough_span;
use crate::core::waiting::{WaitReason, WaitWord};
use crate::spool::Where;
use std::cmp::{Ordering, Reverse};
use std::time::Duration;

/// A job to list.
pub struct Row {
    pub id: JobId,
    pub state: State,
    pub queue: QueueName,
    order: ListOrder,
    /// How long it has waited, or did before its last try.
    pub waited: Option<Duration>,
    /// How long its last try has run.
    pub ran: Option<Duration>,
    /// How long ago it ended.
    pub ended: Option<Duration>,
    /// How far it is, how it failed, or why it waits.
    pub result: Box<str>,
    /// Its label and command; the whole record for [`Form::Json`] and [`Form::JsonLines`].
    pub text: Box<str>,
}

impl Row {
    pub fn new(
        id: JobId,
        at: &Where,
        record: &Record,
        waiting: Option<&WaitReason>,
        progress: Option<&JobProgress>,
        form: Form,
        now: Wall,
    ) -> Self {
        let state = at.state();
        let (result, text) = match form {
            Form::Ids => Default::default(),
            Form::Json => (
                String::new(),
                record
                    .to_json_now(state, waiting, progress)
                    .trim_end()
                    .to_owned(),
            ),
            Form::Table => (
                result(record, state, waiting, progress, now),
                tame(&label(record)),
            ),
            Form::JsonLines => {
                let json = record.to_json_now(state, waiting, progress);
                (String::new(), in_one_line(&json))
            }
        };
        let since = |at: Option<Wall>| at.map(|at| now.since(at));
        let (waited, ran, ended) = match state {
            State::Pending | State::Held => (since(record.created_at), None, None),
            State::Active => (None, since(record.started_at), None),
            State::Complete | State::Failed => (
                None,
                record.duration.map(seconds_to_span),
                since(record.finished_at),
            ),
        };
        let waited = waited.or_else(|| {
            let (made, begun) = (record.created_at?, record.started_at?);
            Some(begun.since(made))
        });
        Self {
            id,
            state,
            waited,
            ran,
            ended,
            queue: record.queue.clone().unwrap_or_default(),
            order: ListOrder::of(record, state),
            result: result.into(),
            text: text.into(),
        }
    }

    /// The order of jobs in one state.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.order.compare(&self.id, &other.order, &other.id))
            .then_with(|| self.queue.cmp(&other.queue))
    }
}

/// The key by which the jobs of one state are sorted: when they will start, have started, or ended.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListOrder {
    priority: Reverse<i32>,
    when: Option<Wall>,
}

impl ListOrder {
    /// The fields of a record that decide on the order.
    pub const FIELDS: [&str; 4] = ["priority", "created_at", "started_at", "finished_at"];

    /// The key of a job with this record. Fields other than [`Self::FIELDS`] do not matter.
    pub fn of(record: &Record, state: State) -> Self {
        let (priority, when) = match state {
            State::Pending | State::Held => (record.priority, record.created_at),
            State::Active => (0, record.started_at),
            State::Complete | State::Failed => (0, record.finished_at),
        };
        Self {
            priority: Reverse(priority),
            when,
        }
    }

    /// The order of two jobs. If their keys are equal, their ids decide.
    pub fn compare(&self, id: &JobId, other: &Self, other_id: &JobId) -> Ordering {
        let by_id = || natural_order(id.as_str(), other_id.as_str());
        self.cmp(other).then_with(by_id)
    }
}

/// A printed record in one line: outside its texts there are line breaks, in them there are none.
fn in_one_line(json: &str) -> String {
    let lines = json.trim_end().lines();
    lines.map(str::trim_start).collect()
}

/// How jobs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One id a line.
    Ids,
    /// A list of records.
    Json,
    /// One record a line.
    JsonLines,
    /// Columns for people.
    Table,
}

fn label(record: &Record) -> String {
    match &record.name {
        Some(name) => format!("[{name}] {}", record.work.summary()),
        None => record.work.summary(),
    }
}

/// How far a job is, how it failed, or why it waits.
fn result(
    record: &Record,
    state: State,
    waiting: Option<&WaitReason>,
    progress: Option<&JobProgress>,
    now: Wall,
) -> String {
    match state {
        State::Complete if record.reason != Some(Reason::Skipped) => String::new(),
        State::Complete | State::Failed => end(record),
        State::Active => progress.map_or_else(String::new, JobProgress::percent),
        State::Pending | State::Held => {
            let date = record.start_date(now);
            let is_behind = waiting.is_some_and(|waiting| waiting.why == WaitWord::After);
            let mut parents = record.parents();
            // Of several, some may have ended.
            let parent = parents.next().filter(|_| parents.next().is_none());
            match (parent.filter(|_| is_behind), date) {
                (Some(parent), _) => format!("after {parent}"),
                (None, Some(at)) => format!("in {}", rough_span(at.since(now))),
                (None, None) => waiting
                    .filter(|waiting| waiting.why != WaitWord::Held)
                    .map_or_else(String::new, |waiting| waiting.why.as_str().to_owned()),
            }
        }
    }
}
