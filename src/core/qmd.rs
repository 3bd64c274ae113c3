//! qmd's words: how it shows a job. The HTTP dialect answers with them; whoever reports the end of such a job to its
//! `callback_url` must send the same.

use super::id::{JobId, QueueName};
use super::record::{Reason, Record, State, Work};
use super::time::Wall;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The queue that qmd's jobs wait in.
pub const QUEUE: &str = "qmd";

/// Most of a log that is shown, in bytes: its end. All of it is in `log/ID`.
pub const MOST_LOG: u64 = 1 << 20;

/// True for the jobs that are shown as qmd's.
pub fn is_of_qmd(record: &Record) -> bool {
    let queue = record.queue.as_ref().map(QueueName::as_str);
    queue == Some(QUEUE) && matches!(record.work, Work::Script { .. })
}

/// One of qmd's three classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// What holds if nothing is said.
    High,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Reads the word of a query.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "urgent" => Ok(Self::Urgent),
            "high" | "" => Ok(Self::High),
            "low" => Ok(Self::Low),
            _ => Err(format!("unknown priority {word:?}")),
        }
    }

    /// The priority in a record.
    pub fn number(self) -> i32 {
        match self {
            Self::Urgent => 10,
            Self::High => 0,
            Self::Low => -10,
        }
    }

    /// The class of a record's priority.
    pub fn of(number: i32) -> Self {
        match number {
            1.. => Self::Urgent,
            0 => Self::High,
            _ => Self::Low,
        }
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    script: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<&'a str>,
    output: &'a str,
    exec_log: Cow<'a, str>,
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

/// By how many seconds local time is ahead of UTC at an instant: qmd's times are local ones.
pub type Zone = fn(Wall) -> i32;

/// A job as a result, one line of JSON. `log`: what its last try wrote.
pub fn result(id: &JobId, record: &Record, state: State, log: &str, zone: Zone) -> String {
    print(&show(id.as_str(), record, state, log, zone))
}

/// The result of a job that is not made, because its script is not on the whitelist. It has no id.
pub fn not_listed(record: &Record, zone: Zone) -> String {
    let log = format!("{} is not on script whitelist", script(record));
    print(&show("", record, State::Failed, &log, zone))
}

/// A job in a list of many.
pub fn line(id: &JobId, record: &Record, state: State, zone: Zone) -> String {
    print(&Line {
        id: id.as_str(),
        script: script(record),
        priority: Priority::of(record.priority).as_str(),
        status: status(record, state),
        start_time: time(record.started_at, zone),
        end_time: time(record.finished_at, zone),
        error: error(record),
    })
}

fn show<'a>(id: &'a str, record: &'a Record, state: State, log: &'a str, zone: Zone) -> Shown<'a> {
    let args: &[String] = match &record.work {
        Work::Script { args, .. } => args,
        Work::Text(_) | Work::Argv(_) | Work::Url(_) => &[],
    };
    let text =
        |(name, bytes): (&'a String, &'a Vec<u8>)| (name.as_str(), String::from_utf8_lossy(bytes));
    Shown {
        id,
        script: script(record),
        args,
        files: record.files.iter().map(text).collect(),
        callback_url: record.callback_url.as_deref(),
        output: record.result.as_deref().unwrap_or_default(),
        exec_log: exec_log(record, log),
        status: status(record, state),
        start_time: time(record.started_at, zone),
        end_time: time(record.finished_at, zone),
        duration: record
            .duration
            .map_or_else(String::new, |seconds| format!("{seconds:.6}")),
        error: error(record),
    }
}

/// A signal that has ended the job is named at the end of its log, as in qmd.
fn exec_log<'a>(record: &Record, log: &'a str) -> Cow<'a, str> {
    match record.signal {
        Some(number) => format!("{log}\n{}", signal(number)).into(),
        None => log.into(),
    }
}

/// Nothing of these types can fail to be printed.
fn print(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn script(record: &Record) -> &str {
    match &record.work {
        Work::Script { name, .. } => name.as_str(),
        Work::Text(_) | Work::Argv(_) | Work::Url(_) => "",
    }
}

/// `RUNNING` is not a word of the original, which said nothing of a job before its end.
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
        reason @ (Reason::Exited | Reason::Signaled | Reason::Timeout) => by_exit(reason),
        reason @ (Reason::Cancelled
        | Reason::Expired
        | Reason::NotStarted
        | Reason::Interrupted
        | Reason::Dependency
        | Reason::LogLimit) => said(reason),
    }
}

fn time(at: Option<Wall>, zone: Zone) -> String {
    at.map_or_else(|| NO_TIME.to_owned(), |at| rfc3339(at, zone(at)))
}

/// Go's time that is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 as Go prints it, so many seconds ahead of UTC: the fraction without zeros at its end, the offset in minutes.
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

/// What Go calls the signals of Linux, from 1 on.
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

/// How a process that a signal has ended is described.
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
