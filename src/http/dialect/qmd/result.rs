//! The result of a job, as qmd shows it.

use super::request::Priority;
use crate::core::id::JobId;
use crate::core::record::{Reason, Record, State, Work};
use crate::core::time::Wall;
use crate::http::Door;
use crate::http::dialect::go;
use crate::http::native::log;
use crate::spool::Found;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most of a log that is shown, in bytes: its end. All of it is in `log/ID`.
const MOST_LOG: u64 = 1 << 20;

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    script: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    output: &'a str,
    exec_log: &'a str,
    status: &'static str,
    start_time: String,
    end_time: String,
    duration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    script: &'a str,
    priority: &'static str,
    status: &'static str,
    start_time: String,
    end_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A job that was just accepted.
pub fn queued(id: &JobId, record: &Record) -> String {
    print(&show(id, record, State::Pending, "")) + "\n"
}

/// A job with what came of it.
pub fn finished(door: &Door, found: &Found) -> String {
    let log = end_of_log(door, found);
    print(&show(&found.id, &found.record, found.at.state(), &log)) + "\n"
}

/// A job in a list of many.
pub fn line(found: &Found) -> String {
    let (record, state) = (&found.record, found.at.state());
    print(&Line {
        id: found.id.as_str(),
        script: script(record),
        priority: Priority::of(record.priority).as_str(),
        status: status(record, state),
        start_time: time(record.started_at),
        end_time: time(record.finished_at),
        error: error(record),
    })
}

fn show<'a>(id: &'a JobId, record: &'a Record, state: State, log: &'a str) -> Shown<'a> {
    let args: &[String] = match &record.work {
        Work::Script { args, .. } => args,
        Work::Text(_) | Work::Argv(_) => &[],
    };
    let text =
        |(name, bytes): (&'a String, &'a Vec<u8>)| (name.as_str(), String::from_utf8_lossy(bytes));
    Shown {
        id: id.as_str(),
        script: script(record),
        args,
        files: record.files.iter().map(text).collect(),
        callback_url: callback_url(record),
        output: record.result.as_deref().unwrap_or_default(),
        exec_log: log,
        status: status(record, state),
        start_time: time(record.started_at),
        end_time: time(record.finished_at),
        duration: record
            .duration
            .map_or_else(String::new, |seconds| format!("{seconds:.6}")),
        error: error(record),
    }
}

/// Nothing of these types can fail to be printed.
fn print(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn script(record: &Record) -> &str {
    match &record.work {
        Work::Script { name, .. } => name.as_str(),
        Work::Text(_) | Work::Argv(_) => "",
    }
}

/// The field of that name, from the record as it is printed.
fn callback_url(record: &Record) -> Option<String> {
    let fields: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&record.to_json()).ok()?;
    fields.get("callback_url")?.as_str().map(str::to_owned)
}

/// `RUNNING` is not a word of the original, which said nothing of a job before its end.
fn status(record: &Record, state: State) -> &'static str {
    match state {
        State::Pending => "QUEUED",
        State::Active => "RUNNING",
        State::Complete => "OK",
        State::Failed if record.reason == Some(Reason::Timeout) => "TIMED_OUT",
        State::Failed => "ERR",
    }
}

fn error(record: &Record) -> Option<String> {
    let said = |reason: Reason| record.error.clone().or(Some(reason.to_string()));
    let by_exit = |reason| match (record.exit_code, record.signal) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(signal)) => Some(go::signal(signal)),
        (None, None) => said(reason),
    };
    match record.reason? {
        reason @ (Reason::Exited | Reason::Signaled | Reason::Timeout) => by_exit(reason),
        reason @ (Reason::Cancelled
        | Reason::Expired
        | Reason::NotStarted
        | Reason::Interrupted
        | Reason::Dependency
        | Reason::LogLimit) => said(reason),
    }
}

fn time(at: Option<Wall>) -> String {
    at.map_or_else(|| go::NO_TIME.to_owned(), go::time)
}

/// What the last try wrote. A log that cannot be read is none.
fn end_of_log(door: &Door, found: &Found) -> String {
    let Ok(Some((file, size))) = log::open(door, found.id.as_str()) else {
        return String::new();
    };
    let last = found.record.attempts.last().map_or(0, |t| t.log_offset);
    let begin = if last <= size { last } else { 0 };
    let mut at = size.saturating_sub(MOST_LOG).max(begin);
    let mut bytes = Vec::new();
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX);
        match log::read_at(&file, at, most, &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(n) => at += n as u64,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
