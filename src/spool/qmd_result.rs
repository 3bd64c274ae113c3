//! The result of a job of the qmd dialect: the JSON object that its `callback_url` is sent.
//!
//! It is in this layer because the process that ends a job accepts its callbacks, and that may be a command without a
//! daemon.

use super::{Fs, Spool};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Reason, Record, State, Work};
use crate::core::time::Wall;
use crate::os::clock;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The queue that qmd's jobs wait in.
pub const QMD_QUEUE: &str = "qmd";

/// The most bytes of a log that are shown, from its end. The whole log is `log/ID`.
const MOST_LOG: u64 = 1 << 20;

/// True for a job of the qmd dialect.
pub fn is_of_qmd(record: &Record) -> bool {
    let queue = record.queue.as_ref().map(QueueName::as_str);
    queue == Some(QMD_QUEUE) && matches!(record.work, Work::Script { .. })
}

impl<F: Fs> Spool<F> {
    /// The result of a job, with the end of its last try's output.
    pub fn qmd_result(&self, id: &JobId, record: &Record, state: State) -> String {
        let log = self.end_of_log(id, record, MOST_LOG);
        QmdResult::new(id.as_str(), record, state, &log).to_json()
    }
}

/// A job as qmd shows it. All times are local ones.
#[derive(Debug, Serialize)]
pub struct QmdResult<'a> {
    /// The job; empty if it was refused.
    pub id: &'a str,
    /// The name of its script.
    pub script: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    output: &'a str,
    exec_log: Cow<'a, str>,
    /// `QUEUED`, `RUNNING`, `OK`, `ERR` or `TIMED_OUT`.
    pub status: &'static str,
    /// When its last try began.
    pub start_time: String,
    /// When it ended.
    pub end_time: String,
    duration: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl<'a> QmdResult<'a> {
    /// The result of a job in this state whose last try wrote `log`.
    pub fn new(id: &'a str, record: &'a Record, state: State, log: &'a str) -> Self {
        let (script, args): (_, &[String]) = match &record.work {
            Work::Script { name, args } => (name.as_str(), args),
            Work::Text(_) | Work::Argv(_) | Work::Url(_) => ("", &[]),
        };
        let files = record.files.iter();
        Self {
            id,
            script,
            args,
            files: files
                .map(|(name, bytes)| (name.as_str(), String::from_utf8_lossy(bytes)))
                .collect(),
            callback_url: record.callback_url.as_deref(),
            output: record.result.as_deref().unwrap_or_default(),
            exec_log: exec_log(record, log),
            status: status(record, state),
            start_time: time(record.started_at),
            end_time: time(record.finished_at),
            duration: record
                .duration
                .map_or_else(String::new, |seconds| format!("{seconds:.6}")),
            error: error(record),
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        // Printing a value of these types cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The log. As in qmd, it ends with the signal that ended the job.
fn exec_log<'a>(record: &Record, log: &'a str) -> Cow<'a, str> {
    match record.signal {
        Some(number) => format!("{log}\n{}", signal(number)).into(),
        None => log.into(),
    }
}

/// The word for a state. qmd itself has none for `RUNNING`: it says nothing of a job before its end.
fn status(record: &Record, state: State) -> &'static str {
    match state {
        State::Pending | State::Held => "QUEUED",
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
        (None, Some(number)) => Some(signal(number)),
        (None, None) => said(reason),
    };
    match record.reason? {
        Reason::Skipped => None,
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
    at.map_or_else(|| NO_TIME.to_owned(), |at| rfc3339(at, clock::zone(at)))
}

/// How Go prints a time that was never set.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 as Go prints it, with the offset `ahead` of UTC in seconds: no zeros at the end of the fraction, no
/// seconds in the offset.
fn rfc3339(at: Wall, ahead: i32) -> String {
    let minutes = i64::from(ahead / 60);
    let text = Wall(at.0.saturating_add(minutes * 60_000_000_000)).to_string();
    let digits = text.trim_end_matches('Z').trim_end_matches('0');
    let digits = digits.trim_end_matches('.');
    let (sign, size) = match minutes {
        0 => return format!("{digits}Z"),
        1.. => ('+', minutes),
        _ => ('-', -minutes),
    };
    format!("{digits}{sign}{:02}:{:02}", size / 60, size % 60)
}

/// Go's names of the signals of Linux, from 1 on.
const SIGNALS: [&str; 31] = [
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
    "stack fault",
    "child exited",
    "continued",
    "stopped (signal)",
    "stopped",
    "stopped (tty input)",
    "stopped (tty output)",
    "urgent I/O condition",
    "CPU time limit exceeded",
    "file size limit exceeded",
    "virtual timer expired",
    "profiling timer expired",
    "window changed",
    "I/O possible",
    "power failure",
    "bad system call",
];

/// Go's words for a process that a signal ended.
fn signal(number: i32) -> String {
    let index = usize::try_from(number - 1).ok();
    match index.and_then(|index| SIGNALS.get(index)) {
        Some(name) => format!("signal: {name}"),
        None => format!("signal: signal {number}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, ahead, wanted) in [
            ("2026-11-21T16:00:00.400Z", 0, "2026-11-21T16:00:00.4Z"),
            ("2026-11-21T16:00:10Z", 0, "2026-11-21T16:00:10Z"),
            ("2026-11-21T16:00:10.05Z", 0, "2026-11-21T16:00:10.05Z"),
            ("2026-11-21T23:00:00Z", 7200, "2026-11-22T01:00:00+02:00"),
            (
                "2026-11-21T03:00:00.5Z",
                -12600,
                "2026-11-20T23:30:00.5-03:30",
            ),
        ] {
            let at = Wall::parse(text).unwrap();
            assert_eq!(rfc3339(at, ahead), wanted);
            assert_eq!(Wall::parse(wanted), Ok(at));
        }
    }

    #[test]
    fn signals() {
        assert_eq!(signal(15), "signal: terminated");
        assert_eq!(signal(31), "signal: bad system call");
        assert_eq!(signal(40), "signal: signal 40");
        assert_eq!(signal(0), "signal: signal 0");
    }
}
