//! Jobs as hq shows them.

use crate::core::record::{Call, Reason, Record, Setting, Work};
use crate::core::time::Wall;
use crate::http::Door;
use crate::spool::{Found, Where};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;

/// The most bytes of an answer that are shown. (hq keeps and shows all of it.)
const MOST_OUTPUT: u64 = 1 << 20;

/// The state of a job in hq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Just accepted, as the answer to a push says.
    Unfinished,
    /// Waits.
    Waiting,
    /// Runs.
    Running,
    /// Was cancelled, and its process lives.
    Canceling,
    /// Ended well.
    Success,
    /// Gave up.
    Failure,
    /// Was cancelled.
    Canceled,
}

impl Phase {
    /// The phase of a job.
    pub fn of(found: &Found) -> Self {
        match (&found.at, found.record.reason) {
            (Where::Pending(_) | Where::Held, _) => Self::Waiting,
            (Where::Active, _) => Self::Running,
            (Where::Complete, _) => Self::Success,
            (Where::Failed, _) if !found.record.is_over() => Self::Canceling,
            (Where::Failed, Some(Reason::Cancelled)) => Self::Canceled,
            (Where::Failed, _) => Self::Failure,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Canceling => "canceling",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Canceled => "canceled",
        }
    }
}

/// The call of a job; `None` if hq could not have the job.
pub fn call(record: &Record) -> Option<&Call> {
    match &record.work {
        Work::Url(call) => Some(call),
        Work::Text(_) | Work::Argv(_) | Work::Script { .. } => None,
    }
}

/// Its name.
pub fn name(record: &Record) -> &str {
    record.name.as_deref().unwrap_or("default")
}

/// The job as JSON, with all keys in order.
pub fn job(number: u64, record: &Record, phase: Phase, output: &str) -> String {
    let nothing = Call::default();
    let call = call(record).unwrap_or(&nothing);
    let (started, finished) = match phase {
        Phase::Unfinished | Phase::Waiting => (None, None),
        Phase::Running | Phase::Canceling => (record.started_at, None),
        Phase::Success | Phase::Failure | Phase::Canceled => {
            (record.started_at, record.finished_at)
        }
    };
    let is = |phases: &[Phase]| phases.contains(&phase).to_string();
    let timeout = match record.timeout {
        Setting::Default | Setting::Off => 0,
        Setting::Set(span) => span.as_secs(),
    };
    let fields = [
        ("canceled", is(&[Phase::Canceled, Phase::Canceling])),
        ("comment", print(record.comment.as_deref().unwrap_or(""))),
        ("createdAt", time(record.created_at)),
        ("err", print(complaint(record, call, phase))),
        ("failure", is(&[Phase::Failure])),
        ("finishedAt", time(finished)),
        ("headers", headers(call)),
        ("id", print(number.to_string())),
        ("name", print(name(record))),
        ("output", print(output)),
        ("payload", call.payload.clone().unwrap_or("null".to_owned())),
        ("running", is(&[Phase::Running, Phase::Canceling])),
        ("startedAt", time(started)),
        ("status", print(phase.word())),
        ("statusCode", print(record.status_code)),
        ("success", is(&[Phase::Success])),
        ("timeout", timeout.to_string()),
        ("url", print(&call.url)),
        ("waiting", is(&[Phase::Waiting])),
    ];
    let fields = fields.map(|(key, value)| format!("\"{key}\":{value}"));
    format!("{{{}}}", fields.join(","))
}

fn print(value: impl Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned())
}

/// A time with milliseconds, without zeros at their end.
fn time(at: Option<Wall>) -> String {
    print(at.map(|at| {
        let text = at.to_string();
        let text = text.trim_end_matches('Z');
        format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
    }))
}

/// The header fields, without values that their names mark as secret.
fn headers(call: &Call) -> String {
    const TELLING: [&str; 6] = [
        "authorization",
        "cookie",
        "key",
        "password",
        "secret",
        "token",
    ];
    let Some(headers) = &call.headers else {
        return "null".to_owned();
    };
    let shown = headers.iter().map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let is_secret = TELLING.iter().any(|word| lower.contains(word));
        (name.as_str(), if is_secret { "***" } else { value })
    });
    print(shown.collect::<BTreeMap<_, _>>())
}

fn complaint(record: &Record, call: &Call, phase: Phase) -> String {
    let request =
        |cause: &str| format!("failed to do http request: Post \"{}\": {cause}", call.url);
    match (phase, record.reason, &record.error) {
        (Phase::Canceled, ..) if record.started_at.is_some() => request("context canceled"),
        (Phase::Failure, Some(Reason::Timeout), _) => {
            request("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
        }
        (Phase::Failure, _, Some(error)) => error.clone(),
        (Phase::Failure, Some(Reason::Exited), None) | (Phase::Failure, None, None) => {
            String::new()
        }
        (Phase::Failure, Some(reason), None) => reason.to_string(),
        (
            Phase::Unfinished
            | Phase::Waiting
            | Phase::Running
            | Phase::Canceling
            | Phase::Success
            | Phase::Canceled,
            ..,
        ) => String::new(),
    }
}

/// The output of a job: from the log as much as is shown, or else the end that the record has.
pub fn output(door: &Door, found: &Found) -> String {
    let record = &found.record;
    let kept = || record.output.clone().unwrap_or_default();
    let (Some(last), Some(size)) = (record.attempts.last(), record.log_bytes) else {
        return kept();
    };
    let length = size.saturating_sub(last.log_offset).min(MOST_OUTPUT);
    if length <= kept().len() as u64 {
        return kept();
    }
    let read = || {
        let file = door.spool().open_log(found.id.as_str())?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, last.log_offset)?;
        Ok::<_, io::Error>(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => kept(),
    }
}
