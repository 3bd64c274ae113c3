//! Printing a record: one field a line, in a fixed order, unknown fields last with their own text.

use super::{Record, Scratch, Setting, State, Try, Work};
use crate::core::progress::JobProgress;
use crate::core::units::show_span;
use crate::core::waiting::WaitReason;
use base64::Engine as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

impl Record {
    /// The text of the record's file.
    pub fn to_json(&self) -> String {
        self.print(None, None, None)
    }

    /// The record as commands and clients see it, with its state.
    pub fn to_json_in(&self, state: State) -> String {
        self.print(Some(state), None, None)
    }

    /// The same, and why the job waits, or how far it is, if that is known.
    pub fn to_json_now(
        &self,
        state: State,
        waiting: Option<&WaitReason>,
        progress: Option<&JobProgress>,
    ) -> String {
        self.print(Some(state), waiting, progress)
    }

    fn print(
        &self,
        state: Option<State>,
        waiting: Option<&WaitReason>,
        progress: Option<&JobProgress>,
    ) -> String {
        let mut out = Out::new();
        out.maybe("id", self.id.as_ref());
        out.maybe("state", state.map(State::as_str));
        out.maybe(
            "waiting",
            waiting.map(|w| json!({"why": w.why.as_str(), "text": w.text})),
        );
        out.maybe(
            "progress",
            progress.map(|p| json!({"done": p.done, "text": p.text})),
        );
        self.print_work(&mut out);
        self.print_schedule(&mut out);
        self.print_outcome(&mut out);
        for (key, raw) in &self.extra {
            out.raw(key, raw.get());
        }
        out.end()
    }

    fn print_work(&self, out: &mut Out) {
        print_work(out, "command", &self.work);
        out.maybe("name", self.name.as_ref());
        out.maybe("comment", self.comment.as_ref());
        out.unless("tags", &self.tags, self.tags.is_empty());
        out.maybe("cwd", self.cwd.as_ref());
        out.unless("env", &self.env, self.env.is_empty());
        out.maybe("umask", self.umask.map(|mask| format!("{mask:03o}")));
        out.maybe("nice", self.nice);
        out.unless("limits", limits(self), self.limits.is_empty());
        out.maybe("sandbox", self.sandbox.as_ref().map(|s| s.to_json()));
        out.maybe("resources", self.resources.as_ref().map(|r| r.to_json()));
        if let Some(bytes) = &self.stdin {
            match std::str::from_utf8(bytes) {
                Ok(text) => out.put("stdin", text),
                Err(_) => out.put("stdin_base64", encode(bytes)),
            }
        }
        let files = self.files.iter();
        let files: Map<_, _> = files.map(|(name, b)| (name.clone(), file(b))).collect();
        out.unless("files", &files, files.is_empty());
        match self.tmp {
            Scratch::No => {}
            Scratch::Yes => out.put("tmp", true),
            Scratch::Keep => out.put("tmp", "keep"),
            Scratch::Answer => out.put("tmp", "answer"),
        }
        out.unless("split", true, !self.split);
        match self.max_log {
            Setting::Default => {}
            Setting::Off => out.put("max_log", 0),
            Setting::Set(bytes) => out.put("max_log", bytes),
        }
    }

    fn print_schedule(&self, out: &mut Out) {
        out.maybe("queue", self.queue.as_ref());
        out.unless("priority", self.priority, self.priority == 0);
        out.maybe("group", self.group.as_ref());
        out.maybe("slots", self.slots);
        let uses: BTreeMap<_, _> = self
            .uses
            .iter()
            .map(|(name, n)| (name.as_str(), n))
            .collect();
        out.unless("use", &uses, uses.is_empty());
        out.unless("after", &self.after, self.after.is_empty());
        out.unless(
            "after_failed",
            &self.after_failed,
            self.after_failed.is_empty(),
        );
        out.unless("after_any", &self.after_any, self.after_any.is_empty());
        out.maybe("not_before", self.not_before);
        out.maybe("expires", self.expires);
        match self.timeout {
            Setting::Default => {}
            Setting::Off => out.put("timeout", 0),
            Setting::Set(span) => out.put("timeout", show_span(span)),
        }
        match self.warn {
            Setting::Default => {}
            Setting::Off => out.put("warn", 0),
            Setting::Set(warning) => out.put("warn", warning.to_string()),
        }
        out.maybe("grace", self.grace.map(show_span));
        out.maybe("tries", self.tries);
        out.maybe("max_interruptions", self.max_interruptions);
        let backoff = object([
            ("first", json!(self.backoff.first.map(show_span))),
            ("factor", json!(self.backoff.factor)),
            ("max", json!(self.backoff.max.map(show_span))),
        ]);
        out.unless("backoff", &backoff, backoff.is_empty());
        out.maybe("retry_on", self.rules.retry_on());
        let fail_on = self.rules.fail_on();
        out.unless("fail_on", fail_on, fail_on.is_empty());
        out.unless("once", true, !self.once);
        out.maybe("callback_url", self.callback_url.as_ref());
        if let Some(work) = &self.on_finish {
            print_work(out, "on_finish", work);
        }
    }

    fn print_outcome(&self, out: &mut Out) {
        out.maybe("created_at", self.created_at);
        out.maybe("started_at", self.started_at);
        out.maybe("finished_at", self.finished_at);
        out.unless("attempt", self.attempt, self.attempt == 0);
        out.unless("interruptions", self.interruptions, self.interruptions == 0);
        out.maybe("retry_at", self.retry_at);
        out.maybe("warned_at", self.warned_at);
        out.maybe("pid", self.pid);
        let proc = self.proc.as_ref();
        out.maybe(
            "proc",
            proc.map(|p| json!({"pid": p.pid, "start": p.start, "boot": p.boot})),
        );
        let units: BTreeMap<_, _> = self
            .units
            .iter()
            .map(|(name, of)| (name.as_str(), of))
            .collect();
        out.unless("units", &units, units.is_empty());
        out.maybe("exit_code", self.exit_code);
        out.maybe("signal", self.signal);
        out.maybe("reason", self.reason.map(|r| r.as_str()));
        out.maybe("status_code", self.status_code);
        out.maybe("error", self.error.as_ref());
        out.maybe("duration", self.duration);
        out.maybe("cpu", self.cpu);
        out.maybe("max_rss", self.max_rss);
        out.maybe("log_offset", self.log_offset);
        out.unless("oom", true, !self.oom);
        out.maybe("sandboxed", self.sandboxed.as_ref().map(|s| s.to_json()));
        out.maybe("log_bytes", self.log_bytes);
        out.maybe("output", self.output.as_ref());
        out.maybe("result", self.result.as_ref());
        if !self.attempts.is_empty() {
            out.raw("attempts", &attempts(&self.attempts));
        }
    }
}

/// Prints the work; a command is the value of `key`.
fn print_work(out: &mut Out, key: &str, work: &Work) {
    match work {
        Work::Text(text) => out.put(key, text),
        Work::Argv(argv) => out.put(key, argv),
        Work::Script { name, args } => {
            out.put("script", name);
            out.unless("args", args, args.is_empty());
        }
        Work::Url(call) => {
            out.put("url", &call.url);
            out.maybe("headers", call.headers.as_ref());
            if let Some(payload) = &call.payload {
                out.raw("payload", payload);
            }
            out.maybe("dialect", call.manner.word());
            out.unless("sign", true, !call.sign);
        }
    }
}

/// The fields of one object as they are printed.
struct Out {
    text: String,
}

impl Out {
    fn new() -> Self {
        Self {
            text: String::with_capacity(512),
        }
    }

    fn raw(&mut self, key: &str, value: &str) {
        self.text.push_str(if self.text.is_empty() {
            "{\n  "
        } else {
            ",\n  "
        });
        self.text.push_str(&print(key));
        self.text.push_str(": ");
        self.text.push_str(value);
    }

    fn put(&mut self, key: &str, value: impl Serialize) {
        self.raw(key, &print(value));
    }

    fn maybe(&mut self, key: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn unless(&mut self, key: &str, value: impl Serialize, absent: bool) {
        if !absent {
            self.put(key, value);
        }
    }

    fn end(mut self) -> String {
        self.text.push_str("\n}\n");
        self.text
    }
}

/// The JSON text of a value with string keys and finite numbers, so that printing cannot fail.
fn print(value: impl Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned())
}

/// Prints the tries one by one: the list may be long, and each takes much memory as a JSON value.
fn attempts(tries: &[Try]) -> String {
    let list: Vec<String> = tries.iter().map(|t| print(attempt(t))).collect();
    format!("[{}]", list.join(","))
}

fn attempt(t: &Try) -> Map<String, Value> {
    object([
        ("attempt", json!(t.attempt)),
        ("started_at", json!(t.started_at)),
        ("finished_at", json!(t.finished_at)),
        ("exit_code", json!(t.exit_code)),
        ("signal", json!(t.signal)),
        ("reason", json!(t.reason.as_str())),
        ("error", json!(t.error)),
        ("duration", json!(t.duration)),
        ("log_offset", json!(t.log_offset)),
    ])
}

/// The object with the fields that are not null.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    fields.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn limits(record: &Record) -> Map<String, Value> {
    let value = |limit: &Option<u64>| limit.map_or_else(|| json!("unlimited"), |n| json!(n));
    let limits = record.limits.iter();
    limits
        .map(|(name, limit)| (name.clone(), value(limit)))
        .collect()
}

fn file(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": encode(bytes) }),
    }
}

fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
