//! The parts of a job that `ls` prints. It keeps only these, so that a million jobs do not need a million records in
//! memory.

use super::ends::{end, seconds_to_span};
use super::output::tame;
use crate::core::id::{JobId, QueueName, natural_order};
use crate::core::progress::JobProgress;
use crate::core::record::{Record, State};
use crate::core::time::Wall;
use crate::core::units::brief_span;
use crate::core::waiting::{WaitReason, WaitWord};
use crate::spool::Where;
use std::cmp::{Ordering, Reverse};

/// A job to list.
pub struct Row {
    pub id: JobId,
    pub state: State,
    queue: QueueName,
    priority: i32,
    when: Option<Wall>,
    result: Box<str>,
    /// Its label and command; the whole record for [`Form::Json`].
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
        let (priority, when) = match state {
            State::Pending | State::Held => (record.priority, record.created_at),
            State::Active => (0, record.started_at),
            State::Complete | State::Failed => (0, record.finished_at),
        };
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
        };
        Self {
            id,
            state,
            queue: record.queue.clone().unwrap_or_default(),
            priority,
            when,
            result: result.into(),
            text: text.into(),
        }
    }

    /// The order of jobs in one state: in which they will start, have started, or ended.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (Reverse(row.priority), row.when);
        key(self)
            .cmp(&key(other))
            .then_with(|| natural_order(self.id.as_str(), other.id.as_str()))
            .then_with(|| self.queue.cmp(&other.queue))
    }

    /// The columns.
    pub fn cells(&self) -> [&str; 5] {
        [
            self.id.as_str(),
            self.state.as_str(),
            self.queue.as_str(),
            &self.result,
            &self.text,
        ]
    }
}

/// How jobs are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One id a line.
    Ids,
    /// A list of records.
    Json,
    /// Columns for people.
    Table,
}

fn label(record: &Record) -> String {
    match &record.name {
        Some(name) => format!("[{name}] {}", record.work.summary()),
        None => record.work.summary(),
    }
}

/// The time a job took or how it failed, the time since it started and how far it is, or what it waits for.
fn result(
    record: &Record,
    state: State,
    waiting: Option<&WaitReason>,
    progress: Option<&JobProgress>,
    now: Wall,
) -> String {
    let took = record
        .duration
        .map_or_else(String::new, |s| brief_span(seconds_to_span(s)));
    match state {
        State::Complete => took,
        State::Failed => end(record),
        State::Active => {
            let since = |at| brief_span(now.since(at));
            let ran = record
                .started_at
                .map_or_else(|| "started".to_owned(), since);
            match progress {
                Some(progress) => format!("{} {ran}", progress.percent()),
                None => ran,
            }
        }
        State::Pending | State::Held => {
            let date = record
                .not_before
                .max(record.retry_at)
                .filter(|at| *at > now);
            match (record.after.iter().chain(&record.after_any).next(), date) {
                (Some(parent), _) => format!("after {parent}"),
                (None, Some(at)) => format!("in {}", brief_span(at.since(now))),
                (None, None) => waiting
                    .filter(|waiting| waiting.why != WaitWord::Held)
                    .map_or_else(String::new, |waiting| waiting.why.as_str().to_owned()),
            }
        }
    }
}
