//! Reading a job file: plain text, `#!` script or JSON record.

use super::call::{self, CallParts};
use super::{
    LIMIT_NAMES, OUT, Reason, Record, RecordError, Scratch, Setting, Try, Work, settle_parents,
};
use crate::core::id::{IdError, JobId, QueueName};
use crate::core::json::{self, Field, JsonError, Object, expected};
use crate::core::process::Proc;
use crate::core::quote::quoted;
use crate::core::retry::{BackoffSpec, ExitRules};
use crate::core::sandbox::{Resources, Sandbox, Sandboxed};
use crate::core::time::Wall;
use crate::core::warning::Warning;
use crate::core::{tokens, units};
use base64::Engine as _;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Fields that this version does not support. A job with one of them is refused, not run without it.
const UNSUPPORTED: [&str; 1] = ["user"];

/// Fields that are supported unless pirn was built without calls.
const CALLS: [&str; 2] = ["url", "callback_url"];

fn unsupported(key: &str) -> Option<&'static str> {
    let calls: &[&str] = match cfg!(feature = "url") {
        true => &[],
        false => &CALLS,
    };
    let known = UNSUPPORTED.iter().chain(calls);
    known.copied().find(|field| *field == key)
}

impl Record {
    /// Reads a job file. A byte order mark, which some editors put before UTF-8, is ignored (RFC 8259, section 8.1,
    /// allows that).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::read_with(bytes, Self::from_json)
    }

    /// As [`Self::from_bytes`], but of a JSON record only these fields, which must not be those of the work. The others
    /// are not judged. It takes a fraction of the time.
    pub fn only(fields: &[&str], bytes: &[u8]) -> Result<Self, RecordError> {
        Self::read_with(bytes, |text| {
            let object = Object::parse(text)?;
            let mut record = Self::default();
            let is_wanted = |field: &Field<'_, '_>| fields.contains(&field.key);
            for field in object.fields().filter(is_wanted) {
                if !field.is_null() && !record.asked(field, &mut WorkParts::default())? {
                    record.added(field)?;
                }
            }
            Ok(record)
        })
    }

    /// Reads a job file: its JSON by `from_json`.
    fn read_with(
        bytes: &[u8],
        from_json: impl FnOnce(&str) -> Result<Self, RecordError>,
    ) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            Err(RecordError::Empty)
        } else if text.starts_with('{') {
            from_json(text)
        } else if text.contains('\0') {
            Err(RecordError::NotText)
        } else {
            Ok(Self::new(Work::Text(text.to_owned())))
        }
    }

    /// Reads a JSON record.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let object = Object::parse(text)?;
        let mut record = Self::default();
        let mut parts = WorkParts::default();
        for field in object.fields() {
            // `pirn show` prints what no record has: the output of it may be dropped again.
            if matches!(field.key, "state" | "waiting" | "progress")
                || field.is_null() && Self::knows(field)
            {
                continue;
            }
            if let Some(key) = unsupported(field.key) {
                return Err(RecordError::Unsupported(key));
            }
            if !(record.asked(field, &mut parts)? || record.added(field)?) {
                record
                    .extra
                    .push((field.key.to_owned(), field.raw.to_owned()));
            }
        }
        record.rules = ExitRules::new(parts.retry_on.take(), std::mem::take(&mut parts.fail_on));
        record.work = parts.work()?;
        if let Work::Url(_) = record.work {
            if record.stdin.is_some() {
                return Err(RecordError::Work("stdin: a job with url sends its payload"));
            }
            if record.sandbox.is_some() || record.resources.is_some() {
                return Err(RecordError::Work(
                    "sandbox, resources: go with a command or script; pirn itself calls a url, and http.url_allow bounds that",
                ));
            }
        }
        if let Err(what) = record.check_warning()
            && let Some(warn) = object.fields().find(|field| field.key == "warn")
        {
            return Err(warn.error(what).into());
        }
        settle_parents(
            &mut record.after,
            &mut record.after_failed,
            &mut record.after_any,
        )
        .map_err(RecordError::Work)?;
        Ok(record)
    }

    /// True for a key of pirn. The `null` of an unknown key is kept.
    fn knows(field: Field<'_, '_>) -> bool {
        let mut scratch = Self::default();
        let asked = scratch.asked(field, &mut WorkParts::default());
        let added = scratch.added(field);
        unsupported(field.key).is_some() || !matches!((asked, added), (Ok(false), Ok(false)))
    }

    /// Reads a field that users write. False if `key` is none.
    fn asked(&mut self, field: Field<'_, '_>, parts: &mut WorkParts) -> Result<bool, JsonError> {
        match field.key {
            "command" => parts.command = Some(field.read(command)?),
            "script" => parts.script = Some(field.read(id)?),
            "args" => parts.args = Some(field.read(|r| argument_list(json::strings(r)?))?),
            "name" => self.name = Some(field.read(json::string)?),
            "comment" => self.comment = Some(field.read(json::string)?),
            "queue" => self.queue = Some(field.read(queue)?),
            "priority" => {
                self.priority = field.integer(i64::from(i32::MIN)..=i64::from(i32::MAX))?
            }
            "cwd" => self.cwd = Some(field.read(|r| no_nul(json::string(r)?))?),
            "env" => self.env = environment(&field.child()?)?,
            "umask" => self.umask = Some(field.read(|r| units::parse_umask(&json::string(r)?))?),
            "nice" => self.nice = Some(field.integer(-20..=19)?),
            "stdin" => self.add_stdin(field, |r| json::string(r).map(String::into_bytes))?,
            "stdin_base64" => self.add_stdin(field, |r| decode(&json::string(r)?))?,
            "files" => self.files = files(&field.child()?)?,
            "timeout" => self.timeout = Setting::of(field.read(json::span)?),
            "warn" => self.warn = field.read(Warning::read)?.into(),
            "grace" => self.grace = Some(field.read(json::span)?),
            "tries" => self.tries = Some(field.integer(1..=1_000_000)?),
            "max_interruptions" => self.max_interruptions = Some(field.integer(0..=1_000_000)?),
            "backoff" => self.backoff = BackoffSpec::read(&field.child()?)?,
            "retry_on" => parts.retry_on = Some(field.read(exit_codes)?),
            "fail_on" => parts.fail_on = field.read(exit_codes)?,
            "not_before" => self.not_before = Some(field.read(date)?),
            "expires" => self.expires = Some(field.read(date)?),
            "slots" => self.slots = Some(field.integer(1..=tokens::MOST)?),
            "use" => self.uses = tokens::uses(&field.child()?)?,
            "group" => self.group = Some(field.read(json::string)?),
            "after" => self.after = field.read(ids)?,
            "after_failed" => self.after_failed = field.read(ids)?,
            "after_any" => self.after_any = field.read(ids)?,
            "once" => self.once = field.read(json::boolean)?,
            "tmp" => self.tmp = field.read(scratch)?,
            "split" => self.split = field.read(json::boolean)?,
            "max_log" => self.max_log = Setting::of(field.read(json::size)?),
            "limits" => self.limits = limits(&field.child()?)?,
            "sandbox" => self.sandbox = Some(Box::new(Sandbox::read(field)?)),
            "resources" => self.resources = Some(Box::new(Resources::read(field)?)),
            "tags" => self.tags = field.read(json::strings)?,
            "callback_url" => self.callback_url = Some(field.read(call::url)?),
            "on_finish" => self.on_finish = Some(field.read(read_on_finish)?),
            _ => return parts.call.read(field),
        }
        Ok(true)
    }

    fn add_stdin(
        &mut self,
        field: Field<'_, '_>,
        read: impl FnOnce(&RawValue) -> Result<Vec<u8>, String>,
    ) -> Result<(), JsonError> {
        if self.stdin.is_some() {
            let what = "stdin and stdin_base64 are both given; give one of them";
            return Err(field.error(what.to_owned()));
        }
        self.stdin = Some(field.read(read)?);
        Ok(())
    }

    /// Reads a field that pirn adds. False if `key` is none.
    fn added(&mut self, field: Field<'_, '_>) -> Result<bool, JsonError> {
        match field.key {
            "id" => self.id = field.read(id).ok(),
            "created_at" => self.created_at = Some(field.read(date)?),
            "started_at" => self.started_at = Some(field.read(date)?),
            "finished_at" => self.finished_at = Some(field.read(date)?),
            "attempt" => self.attempt = field.integer(0..=i64::from(u32::MAX))?,
            "interruptions" => self.interruptions = field.integer(0..=i64::from(u32::MAX))?,
            "warned_at" => self.warned_at = Some(field.read(date)?),
            "pid" => self.pid = Some(field.integer(1..=i64::from(i32::MAX))?),
            "exit_code" => self.exit_code = Some(field.integer(0..=255)?),
            "signal" => self.signal = Some(field.integer(1..=127)?),
            "reason" => self.reason = Some(field.read(reason)?),
            "status_code" => self.status_code = Some(field.integer(100..=999)?),
            "error" => self.error = Some(field.read(json::string)?),
            "duration" => self.duration = Some(field.read(json::number)?),
            "cpu" => self.cpu = Some(field.read(json::number)?),
            "max_rss" => self.max_rss = Some(field.read(json::size)?),
            "oom" => self.oom = field.read(json::boolean)?,
            "sandboxed" => self.sandboxed = Some(Box::new(Sandboxed::read(field)?)),
            "output" => self.output = Some(field.read(json::string)?),
            "log_offset" => self.log_offset = Some(field.read(json::size)?),
            "log_bytes" => self.log_bytes = Some(field.read(json::size)?),
            "result" => self.result = field.read(json::string).ok(),
            "attempts" => self.attempts = tries(field)?,
            "retry_at" => self.retry_at = Some(field.read(date)?),
            "proc" => self.proc = proc(&field.child()?)?,
            "units" => self.units = tokens::units(&field.child()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The fields read so far that only make sense together.
#[derive(Default)]
struct WorkParts {
    command: Option<Work>,
    script: Option<JobId>,
    call: CallParts,
    args: Option<Vec<String>>,
    retry_on: Option<BTreeSet<i32>>,
    fail_on: BTreeSet<i32>,
}

impl WorkParts {
    fn work(self) -> Result<Work, RecordError> {
        match (
            self.command,
            self.script,
            self.call.finish().map_err(RecordError::Work)?,
            self.args,
        ) {
            (Some(work), None, None, None) => Ok(work),
            (None, Some(name), None, args) => Ok(Work::Script {
                name,
                args: args.unwrap_or_default(),
            }),
            (None, None, Some(call), None) => Ok(Work::Url(Box::new(call))),
            (None, None, None, _) => Err(RecordError::Work(
                "the record has none of command, script and url: there is nothing to run",
            )),
            (Some(_), None, None, Some(_)) => Err(RecordError::Work(
                "args: goes with script; give command as a list to pass arguments",
            )),
            (None, None, Some(_), Some(_)) => {
                Err(RecordError::Work("args: goes with script, not with url"))
            }
            (Some(_), Some(_), _, _) | (Some(_), _, Some(_), _) | (_, Some(_), Some(_), _) => {
                Err(RecordError::Work(
                    "the record has more than one of command, script and url; give one of them",
                ))
            }
        }
    }
}

/// Reads `on_finish`: a command, or an empty text for none.
pub fn read_on_finish(raw: &RawValue) -> Result<Work, String> {
    match raw.get() {
        "\"\"" => Ok(Work::NONE),
        _ => command(raw),
    }
}

fn command(raw: &RawValue) -> Result<Work, String> {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            let text = no_nul(json::string(raw)?)?;
            if text.trim().is_empty() {
                Err("is empty".to_owned())
            } else {
                Ok(Work::Text(text))
            }
        }
        Some(b'[') => {
            let argv = argument_list(json::strings(raw)?)?;
            match argv.first() {
                Some(program) if !program.is_empty() => Ok(Work::Argv(argv)),
                Some(_) | None => {
                    Err("the list is empty; its first entry is the program".to_owned())
                }
            }
        }
        Some(_) | None => Err(expected(
            "a string (for sh -c) or a list of strings (executed as it is)",
            raw,
        )),
    }
}

fn argument_list(list: Vec<String>) -> Result<Vec<String>, String> {
    list.into_iter().map(no_nul).collect()
}

fn no_nul(text: String) -> Result<String, String> {
    if text.contains('\0') {
        Err("contains a NUL character".to_owned())
    } else {
        Ok(text)
    }
}

fn id(raw: &RawValue) -> Result<JobId, String> {
    let text = json::string(raw)?;
    JobId::new(&text).map_err(|e| format!("the name {} {e}", quoted(&text)))
}

fn ids(raw: &RawValue) -> Result<Vec<JobId>, String> {
    let list = match raw.get().as_bytes().first() {
        Some(b'"') => vec![json::string(raw)?],
        Some(_) | None => {
            json::strings(raw).map_err(|_| expected("an id or a list of ids", raw))?
        }
    };
    list.iter()
        .map(|text| JobId::new(text).map_err(|e| format!("the name {} {e}", quoted(text))))
        .collect()
}

fn queue(raw: &RawValue) -> Result<QueueName, String> {
    let text = json::string(raw)?;
    QueueName::new(&text).map_err(|e| format!("the name {} {e}", quoted(&text)))
}

fn date(raw: &RawValue) -> Result<Wall, String> {
    match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => Wall::parse(&text),
        Err(_) => Err(expected("a time such as \"2026-11-21T16:00:00Z\"", raw)),
    }
}

fn reason(raw: &RawValue) -> Result<Reason, String> {
    let word = json::string(raw)?;
    Reason::parse(&word).ok_or_else(|| format!("{} is no reason", quoted(&word)))
}

fn environment(object: &Object<'_>) -> Result<BTreeMap<String, String>, JsonError> {
    let mut env = BTreeMap::new();
    for field in object.fields() {
        if field.key.is_empty() || field.key.contains(['=', '\0']) {
            let what = format!("{} cannot be a variable's name", quoted(field.key));
            return Err(field.error(what));
        }
        let value = field.read(|r| no_nul(json::string(r)?))?;
        env.insert(field.key.to_owned(), value);
    }
    Ok(env)
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|e| format!("not base64: {e}"))
}

fn scratch(raw: &RawValue) -> Result<Scratch, String> {
    match raw.get() {
        "true" => Ok(Scratch::Yes),
        "false" => Ok(Scratch::No),
        "\"keep\"" => Ok(Scratch::Keep),
        "\"answer\"" => Ok(Scratch::Answer),
        _ => Err(expected("true, false, \"keep\" or \"answer\"", raw)),
    }
}

/// The reason why a file of the scratch directory cannot have this name. The directory has no other files, so that the
/// names need not follow the rule for ids: they may begin with a dot.
fn wrong_file_name(name: &str) -> Option<String> {
    match name {
        "" => Some(IdError::Empty.to_string()),
        "." | ".." => Some("is that of a directory".to_owned()),
        OUT => Some("is that of $PIRN_OUT".to_owned()),
        _ if name.contains('/') => Some(IdError::Slash.to_string()),
        _ if name.chars().any(char::is_control) => Some(IdError::Control.to_string()),
        _ if name.len() > 255 => Some(format!("is {} bytes long; 255 is the most", name.len())),
        _ => None,
    }
}

fn files(object: &Object<'_>) -> Result<BTreeMap<String, Vec<u8>>, JsonError> {
    let mut files = BTreeMap::new();
    for field in object.fields() {
        if let Some(why) = wrong_file_name(field.key) {
            let what = format!("the file name {} {why}", quoted(field.key));
            return Err(field.error(what));
        }
        let content = if field.raw.get().starts_with('{') {
            let inner = field.child()?;
            match inner.fields().collect::<Vec<_>>().as_slice() {
                [text] if text.key == "base64" => text.read(|r| decode(&json::string(r)?))?,
                _ => {
                    let what = "expected a string or {\"base64\": \"...\"}";
                    return Err(field.error(what.to_owned()));
                }
            }
        } else {
            field.read(json::string)?.into_bytes()
        };
        files.insert(field.key.to_owned(), content);
    }
    Ok(files)
}

fn exit_codes(raw: &RawValue) -> Result<BTreeSet<i32>, String> {
    let codes: BTreeSet<i32> = serde_json::from_str(raw.get())
        .map_err(|_| expected("a list of exit codes, such as [1, 2]", raw))?;
    match codes.iter().find(|c| !(0..=255).contains(*c)) {
        Some(code) => Err(format!("{code} is no exit code; they go from 0 to 255")),
        None => Ok(codes),
    }
}

fn limits(object: &Object<'_>) -> Result<BTreeMap<String, Option<u64>>, JsonError> {
    let mut limits = BTreeMap::new();
    for field in object.fields() {
        if !LIMIT_NAMES.contains(&field.key) {
            return Err(field.unknown(&LIMIT_NAMES));
        }
        let value = match field.raw.get() {
            "\"unlimited\"" => None,
            _ => Some(field.read(json::size)?),
        };
        limits.insert(field.key.to_owned(), value);
    }
    Ok(limits)
}

fn tries(field: Field<'_, '_>) -> Result<Vec<Try>, JsonError> {
    let entries = field.entries("a list of tries")?;
    entries.map(|entry| one_try(&entry.child()?)).collect()
}

fn one_try(o: &Object<'_>) -> Result<Try, JsonError> {
    let mut one = Try {
        attempt: 0,
        started_at: None,
        finished_at: Wall(0),
        exit_code: None,
        signal: None,
        reason: Reason::Interrupted,
        error: None,
        duration: None,
        log_offset: 0,
    };
    for field in o.fields().filter(|field| !field.is_null()) {
        match field.key {
            "attempt" => one.attempt = field.integer(0..=i64::from(u32::MAX))?,
            "started_at" => one.started_at = Some(field.read(date)?),
            "finished_at" => one.finished_at = field.read(date)?,
            "exit_code" => one.exit_code = Some(field.integer(0..=255)?),
            "signal" => one.signal = Some(field.integer(1..=127)?),
            "reason" => one.reason = field.read(reason)?,
            "error" => one.error = Some(field.read(json::string)?),
            "duration" => one.duration = Some(field.read(json::number)?),
            "log_offset" => one.log_offset = field.read(json::size)?,
            _ => {}
        }
    }
    Ok(one)
}

/// Reads `proc`. Without a pid it is worth nothing.
fn proc(o: &Object<'_>) -> Result<Option<Proc>, JsonError> {
    let mut proc = Proc {
        pid: 0,
        start: 0,
        boot: String::new(),
    };
    for field in o.fields() {
        match field.key {
            "pid" => proc.pid = field.integer(1..=i64::from(i32::MAX))?,
            "start" => proc.start = field.read(json::size)?,
            "boot" => proc.boot = field.read(json::string)?,
            _ => {}
        }
    }
    Ok((proc.pid > 0).then_some(proc))
}
