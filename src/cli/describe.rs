//! A job as `show` describes it to people.

use super::ends;
use super::help::wrapped;
use super::output::tame;
use super::style::{Ink, Style};
use super::when;
use crate::core::id::JobId;
use crate::core::json::Object;
use crate::core::quote::cut_to;
use crate::core::record::{Reason, Record, State, Work};
use crate::core::time::Wall;
use crate::core::units::{ago, brief_span, show_size};
use crate::core::waiting::WaitReason;
use crate::spool::{Found, RealFs, Spool};
use serde_json::Value;

/// The fields that the text tells in its own way, or that are of no use to people.
const TOLD: [&str; 36] = [
    "id",
    "state",
    "name",
    "command",
    "script",
    "args",
    "url",
    "headers",
    "env",
    "umask",
    "queue",
    "tries",
    "after",
    "after_failed",
    "after_any",
    "not_before",
    "expires",
    "created_at",
    "started_at",
    "finished_at",
    "attempt",
    "retry_at",
    "warned_at",
    "pid",
    "proc",
    "exit_code",
    "signal",
    "reason",
    "error",
    "duration",
    "cpu",
    "max_rss",
    "log_offset",
    "log_bytes",
    "output",
    "attempts",
];

/// The facts that are sentences. On a terminal they are wrapped; others may be there to be copied.
const SENTENCES: [&str; 2] = ["waits", "ended"];

/// The most lines of a field, or of the log, that are shown.
pub const LINES: usize = 10;

/// The most characters of a line that are shown.
pub const LENGTH: usize = 2000;

/// A job, and what is known about it beside its record.
pub struct Description<'a> {
    /// The spool.
    pub spool: &'a Spool<RealFs>,
    /// The job.
    pub found: &'a Found,
    /// Why it waits, if it does.
    pub waiting: Option<WaitReason>,
    /// The time.
    pub now: Wall,
    /// How to write to stdout.
    pub style: Style,
}

impl Description<'_> {
    /// All that is shown.
    pub fn text(&self) -> String {
        let facts = self.facts();
        let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.headline());
        for (key, value) in &facts {
            let mut key = key.as_str();
            for line in shortened(value, self.style) {
                let word = self.style.paint(Ink::Dim, key);
                let gap = width - key.len();
                let line = match self.style.width {
                    Some(columns) if SENTENCES.contains(&key) => {
                        let indent = " ".repeat(width + 4);
                        wrapped(&tame(&line), &indent, columns).trim().to_owned()
                    }
                    Some(_) | None => tame(&line),
                };
                text.push_str(&format!("  {word}{:gap$}  {line}\n", ""));
                // The key stands beside the first line only.
                key = "";
            }
        }
        text.push_str(&self.tries());
        text.push_str(&self.end_of_log());
        text
    }

    /// Its record.
    pub fn record(&self) -> &Record {
        &self.found.record
    }

    fn headline(&self) -> String {
        let (record, state) = (self.record(), self.found.at.state());
        let dot = match state {
            State::Pending | State::Held => "○",
            State::Active => "●",
            State::Complete => "✓",
            State::Failed => "×",
        };
        let since = |at: Option<Wall>| at.map(|at| self.now.since(at));
        let name = match &record.name {
            Some(name) => format!(" [{}]", tame(name)),
            None => String::new(),
        };
        let when = match state {
            State::Pending | State::Held => since(record.created_at)
                .map_or_else(String::new, |age| format!(", added {}", ago(age))),
            State::Active => since(record.started_at)
                .map_or_else(String::new, |age| format!(" for {}", brief_span(age))),
            State::Complete | State::Failed => {
                since(record.finished_at).map_or_else(String::new, |age| format!(" {}", ago(age)))
            }
        };
        let how = match state {
            State::Failed => format!(": {}", ends::end(record)),
            State::Complete if record.reason == Some(Reason::Skipped) => ": skipped".to_owned(),
            State::Pending | State::Held | State::Active | State::Complete => String::new(),
        };
        let ink = Ink::of_state(state);
        format!(
            "{} {}{name} {}{when}{how}",
            self.style.paint(ink, &self.style.spell(dot)),
            self.style.paint(Ink::Bold, &tame(self.found.id.as_str())),
            self.style.paint(ink, state.as_str())
        )
    }

    /// Words and what they say, a line each or more.
    fn facts(&self) -> Vec<(String, String)> {
        let record = self.record();
        let mut facts = vec![work(record)];
        let mut tell = |key: &str, value: String| facts.push((key.to_owned(), value));
        match (self.found.at.state(), &self.waiting) {
            (State::Pending | State::Held, Some(reason)) => {
                let reason = when::in_local_time(reason.clone(), record, self.now);
                tell("waits", format!("{}: {}", reason.why.as_str(), reason.text));
                if let Some(tries) = record.tries.filter(|tries| *tries > 1) {
                    tell("tries", format!("{} of {tries}", record.attempt));
                }
            }
            (State::Pending | State::Held, None) => {}
            (State::Active, _) => {
                tell("runs", self.how_it_runs());
                if let Some(progress) = self.spool.progress(&self.found.id, &self.found.at) {
                    tell("progress", progress.to_string());
                }
            }
            (state @ (State::Complete | State::Failed), _) => {
                tell("ended", ends::sentence(record, state));
            }
        }
        if let Some(queue) = record.queue.as_ref().filter(|queue| !queue.is_default()) {
            tell("queue", queue.to_string());
        }
        for (key, parents) in [
            ("after", &record.after),
            ("after_failed", &record.after_failed),
            ("after_any", &record.after_any),
        ] {
            if !parents.is_empty() {
                tell(key, self.parents(parents));
            }
        }
        let json = record.to_json();
        if let Ok(object) = Object::parse(&json) {
            for field in object.fields().filter(|field| !TOLD.contains(&field.key)) {
                let value = serde_json::from_str(field.raw.get()).unwrap_or_default();
                tell(field.key, in_words(&value));
            }
        }
        for (key, date) in [
            ("not_before", record.not_before),
            ("expires", record.expires),
            ("warned", record.warned_at),
        ] {
            if let Some(at) = date {
                tell(key, when::brief(at, self.now));
            }
        }
        if let Some(at) = record.created_at {
            let age = ago(self.now.since(at));
            tell("added", format!("{}, {age}", when::brief(at, self.now)));
        }
        let used = self.used();
        if !used.is_empty() {
            tell("used", used);
        }
        facts
    }

    fn how_it_runs(&self) -> String {
        let record = self.record();
        let mut parts = Vec::new();
        parts.extend(record.pid.map(|pid| format!("process {pid}")));
        parts.extend(
            record
                .started_at
                .map(|at| format!("since {}", when::brief(at, self.now))),
        );
        let tries = record.tries.filter(|tries| *tries > 1);
        parts.extend(tries.map(|tries| format!("try {} of {tries}", record.attempt)));
        match parts.is_empty() {
            true => "it has just begun".to_owned(),
            false => parts.join(", "),
        }
    }

    /// The jobs that it comes after, and where they are.
    fn parents(&self, parents: &[JobId]) -> String {
        let shown = parents.iter().take(LINES).map(|id| {
            let state = match self.spool.find(id) {
                Ok(Some(at)) => at.state().as_str(),
                Ok(None) => "gone",
                Err(_) => "not known",
            };
            format!("{id} ({state})")
        });
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if let Some(more) = parents.len().checked_sub(LINES).filter(|more| *more > 0) {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }

    /// The resources that it took.
    fn used(&self) -> String {
        let record = self.record();
        let mut parts = Vec::new();
        let cpu = record.cpu.map(ends::seconds_to_span);
        parts.extend(cpu.map(|span| format!("cpu {}", brief_span(span))));
        parts.extend(
            record
                .max_rss
                .map(|bytes| format!("max rss {}", show_size(bytes))),
        );
        let log = self.log_size().filter(|bytes| *bytes > 0);
        parts.extend(log.map(|bytes| format!("log {}", show_size(bytes))));
        parts.join(", ")
    }
}

/// The work, and the word for its kind.
fn work(record: &Record) -> (String, String) {
    let (word, text) = match &record.work {
        Work::Text(text) => ("command", text.trim_end().to_owned()),
        Work::Argv(_) => ("command", record.work.summary()),
        Work::Script { .. } => ("script", record.work.summary()),
        Work::Url(_) => ("url", record.work.summary()),
    };
    (word.to_owned(), text)
}

/// The lines of a value, as far as they are shown.
fn shortened(value: &str, style: Style) -> Vec<String> {
    let lines: Vec<&str> = value.trim_end().split('\n').collect();
    let cut = |line: &&str| cut_to(line.trim_end_matches('\r'), LENGTH).into_owned();
    let mut shown: Vec<String> = lines.iter().take(LINES).map(cut).collect();
    if let Some(more) = lines.len().checked_sub(LINES).filter(|more| *more > 0) {
        let dots = style.spell("…");
        shown.push(format!("{dots} {more} more lines: --json shows them"));
    }
    shown
}

/// A value without the signs of JSON, as far as it can do without them.
fn in_words(value: &Value) -> String {
    let inner = |value: &Value| match value {
        Value::Array(values) if values.iter().all(Value::is_string) => {
            let words: Vec<_> = values.iter().map(in_words).collect();
            words.join(",")
        }
        Value::Array(_) | Value::Object(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => in_words(value),
    };
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(inner).collect::<Vec<_>>().join(", "),
        Value::Object(object) => {
            let fields = object
                .iter()
                .map(|(key, value)| format!("{key}={}", inner(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
    }
}
