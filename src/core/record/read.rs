//! Reading a job file: plain text, `#!` script or JSON record.

use super::call::{self, CallParts};
use super::{
    LIMIT_NAMES, OUT, Reason, Record, RecordError, Scratch, Setting, Try, Work, settle_parents,
};
use crate::core::id::{IdError, JobId, QueueName};
use crate::core::json::{self, JsonError, Object, expected, is_null};
use crate::core::process::Proc;
use crate::core::quote::quoted;
use crate::core::retry::{BackoffSpec, ExitRules};
use crate::core::time::Wall;
use crate::core::units;
use base64::Engine as _;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Fields that this version does not support. A job with one of them is refused, not run without it.
const UNSUPPORTED: [&str; 1] = ["sandbox"];

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
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            Err(RecordError::Empty)
        } else if text.starts_with('{') {
            Self::from_json(text)
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
        for (key, raw) in object.fields() {
            // The directory is the state, but `pirn show` prints one, and its output may be dropped again.
            let says_nothing = is_null(raw) && Self::knows(&object, key, raw);
            if says_nothing || key == "state" {
                continue;
            }
            if let Some(field) = unsupported(key) {
                return Err(RecordError::Unsupported(field));
            }
            if !(record.asked(&object, key, raw, &mut parts)? || record.added(&object, key, raw)?) {
                record.extra.push((key.to_owned(), raw.to_owned()));
            }
        }
        record.rules = ExitRules::new(parts.retry_on.take(), std::mem::take(&mut parts.fail_on));
        record.work = parts.work()?;
        if matches!(record.work, Work::Url(_)) && record.stdin.is_some() {
            return Err(RecordError::Work("stdin: a job with url sends its payload"));
        }
        settle_parents(&mut record.after, &mut record.after_any).map_err(RecordError::Work)?;
        Ok(record)
    }

    /// True for a key of pirn. The `null` of an unknown key is kept.
    fn knows<'a>(o: &Object<'a>, key: &str, raw: &'a RawValue) -> bool {
        let mut scratch = Self::default();
        let asked = scratch.asked(o, key, raw, &mut WorkParts::default());
        let added = scratch.added(o, key, raw);
        unsupported(key).is_some() || !matches!((asked, added), (Ok(false), Ok(false)))
    }

    /// Reads a field that users write. False if `key` is none.
    fn asked<'a>(
        &mut self,
        o: &Object<'a>,
        key: &str,
        raw: &'a RawValue,
        parts: &mut WorkParts,
    ) -> Result<bool, JsonError> {
        match key {
            "command" => parts.command = Some(o.read(key, raw, command)?),
            "script" => parts.script = Some(o.read(key, raw, id)?),
            "args" => parts.args = Some(o.read(key, raw, |r| argument_list(json::strings(r)?))?),
            "name" => self.name = Some(o.read(key, raw, json::string)?),
            "comment" => self.comment = Some(o.read(key, raw, json::string)?),
            "queue" => self.queue = Some(o.read(key, raw, queue)?),
            "priority" => {
                self.priority = int(o, key, raw, i64::from(i32::MIN), i64::from(i32::MAX))?
            }
            "cwd" => self.cwd = Some(o.read(key, raw, |r| no_nul(json::string(r)?))?),
            "env" => self.env = environment(&o.child(key, raw)?)?,
            "umask" => {
                self.umask = Some(o.read(key, raw, |r| units::parse_umask(&json::string(r)?))?)
            }
            "nice" => self.nice = Some(int(o, key, raw, -20, 19)?),
            "stdin" => parts.stdin(o, key, raw, json::string(raw).map(String::into_bytes), self)?,
            "stdin_base64" => parts.stdin(
                o,
                key,
                raw,
                json::string(raw).and_then(|t| decode(&t)),
                self,
            )?,
            "files" => self.files = files(&o.child(key, raw)?)?,
            "timeout" => {
                self.timeout = o.read(key, raw, |r| Ok(setting(json::span(r)?, |s| s.is_zero())))?
            }
            "grace" => self.grace = Some(o.read(key, raw, json::span)?),
            "tries" => self.tries = Some(int(o, key, raw, 1, 1_000_000)?),
            "max_interruptions" => self.max_interruptions = Some(int(o, key, raw, 0, 1_000_000)?),
            "backoff" => self.backoff = BackoffSpec::read(&o.child(key, raw)?)?,
            "retry_on" => parts.retry_on = Some(o.read(key, raw, exit_codes)?),
            "fail_on" => parts.fail_on = o.read(key, raw, exit_codes)?,
            "not_before" => self.not_before = Some(o.read(key, raw, date)?),
            "expires" => self.expires = Some(o.read(key, raw, date)?),
            "group" => self.group = Some(o.read(key, raw, json::string)?),
            "after" => self.after = o.read(key, raw, ids)?,
            "after_any" => self.after_any = o.read(key, raw, ids)?,
            "once" => self.once = o.read(key, raw, json::boolean)?,
            "tmp" => self.tmp = o.read(key, raw, scratch)?,
            "split" => self.split = o.read(key, raw, json::boolean)?,
            "max_log" => {
                self.max_log = o.read(key, raw, |r| Ok(setting(json::size(r)?, |s| *s == 0)))?
            }
            "limits" => self.limits = limits(&o.child(key, raw)?)?,
            "tags" => self.tags = o.read(key, raw, json::strings)?,
            "callback_url" => self.callback_url = Some(o.read(key, raw, call::url)?),
            "on_finish" => self.on_finish = Some(o.read(key, raw, command)?),
            _ => return parts.call.read(o, key, raw),
        }
        Ok(true)
    }

    /// Reads a field that pirn adds. False if `key` is none.
    fn added<'a>(
        &mut self,
        o: &Object<'a>,
        key: &str,
        raw: &'a RawValue,
    ) -> Result<bool, JsonError> {
        match key {
            "id" => self.id = o.read(key, raw, id).ok(),
            "created_at" => self.created_at = Some(o.read(key, raw, date)?),
            "started_at" => self.started_at = Some(o.read(key, raw, date)?),
            "finished_at" => self.finished_at = Some(o.read(key, raw, date)?),
            "attempt" => self.attempt = int(o, key, raw, 0, i64::from(u32::MAX))?,
            "interruptions" => self.interruptions = int(o, key, raw, 0, i64::from(u32::MAX))?,
            "pid" => self.pid = Some(int(o, key, raw, 1, i64::from(i32::MAX))?),
            "exit_code" => self.exit_code = Some(int(o, key, raw, 0, 255)?),
            "signal" => self.signal = Some(int(o, key, raw, 1, 127)?),
            "reason" => self.reason = Some(o.read(key, raw, reason)?),
            "status_code" => self.status_code = Some(int(o, key, raw, 100, 999)?),
            "error" => self.error = Some(o.read(key, raw, json::string)?),
            "duration" => self.duration = Some(o.read(key, raw, json::number)?),
            "cpu" => self.cpu = Some(o.read(key, raw, json::number)?),
            "max_rss" => self.max_rss = Some(o.read(key, raw, json::size)?),
            "output" => self.output = Some(o.read(key, raw, json::string)?),
            "log_bytes" => self.log_bytes = Some(o.read(key, raw, json::size)?),
            "result" => self.result = json::string(raw).ok(),
            "attempts" => self.attempts = tries(o, key, raw)?,
            "retry_at" => self.retry_at = Some(o.read(key, raw, date)?),
            "proc" => self.proc = proc(&o.child(key, raw)?)?,
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

    fn stdin(
        &self,
        o: &Object<'_>,
        key: &str,
        raw: &RawValue,
        bytes: Result<Vec<u8>, String>,
        record: &mut Record,
    ) -> Result<(), JsonError> {
        if record.stdin.is_some() {
            return Err(o.error(
                key,
                Some(raw),
                "stdin and stdin_base64 are both given; give one of them".to_owned(),
            ));
        }
        record.stdin = Some(bytes.map_err(|what| o.error(key, Some(raw), what))?);
        Ok(())
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

fn int<T: TryFrom<i64>>(
    o: &Object<'_>,
    key: &str,
    raw: &RawValue,
    from: i64,
    to: i64,
) -> Result<T, JsonError> {
    let number = json::integer(raw, from..=to).map_err(|what| o.error(key, Some(raw), what))?;
    T::try_from(number).map_err(|_| o.error(key, Some(raw), "out of range".to_owned()))
}

fn setting<T>(value: T, is_off: impl Fn(&T) -> bool) -> Setting<T> {
    if is_off(&value) {
        Setting::Off
    } else {
        Setting::Set(value)
    }
}

fn environment(object: &Object<'_>) -> Result<BTreeMap<String, String>, JsonError> {
    let mut env = BTreeMap::new();
    for (key, raw) in object.fields() {
        if key.is_empty() || key.contains(['=', '\0']) {
            let what = format!("{} cannot be a variable's name", quoted(key));
            return Err(object.error(key, Some(raw), what));
        }
        let value = object.read(key, raw, |r| no_nul(json::string(r)?))?;
        env.insert(key.to_owned(), value);
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
    for (key, raw) in object.fields() {
        if let Some(why) = wrong_file_name(key) {
            let what = format!("the file name {} {why}", quoted(key));
            return Err(object.error(key, Some(raw), what));
        }
        let content = if raw.get().starts_with('{') {
            let inner = object.child(key, raw)?;
            match inner.fields().collect::<Vec<_>>().as_slice() {
                [("base64", text)] => inner.read("base64", text, |r| decode(&json::string(r)?))?,
                _ => {
                    return Err(object.error(
                        key,
                        Some(raw),
                        "expected a string or {\"base64\": \"...\"}".to_owned(),
                    ));
                }
            }
        } else {
            object.read(key, raw, json::string)?.into_bytes()
        };
        files.insert(key.to_owned(), content);
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
    for (key, raw) in object.fields() {
        if !LIMIT_NAMES.contains(&key) {
            return Err(object.unknown(key, raw, &LIMIT_NAMES));
        }
        let value = match raw.get() {
            "\"unlimited\"" => None,
            _ => Some(object.read(key, raw, json::size)?),
        };
        limits.insert(key.to_owned(), value);
    }
    Ok(limits)
}

fn tries<'a>(o: &Object<'a>, key: &str, raw: &'a RawValue) -> Result<Vec<Try>, JsonError> {
    let list: Vec<&'a RawValue> = o.read(key, raw, |r| {
        serde_json::from_str(r.get()).map_err(|_| expected("a list of tries", r))
    })?;
    list.into_iter()
        .map(|raw| one_try(&o.child(key, raw)?))
        .collect()
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
    for (key, raw) in o.fields().filter(|(_, raw)| !is_null(raw)) {
        match key {
            "attempt" => one.attempt = int(o, key, raw, 0, i64::from(u32::MAX))?,
            "started_at" => one.started_at = Some(o.read(key, raw, date)?),
            "finished_at" => one.finished_at = o.read(key, raw, date)?,
            "exit_code" => one.exit_code = Some(int(o, key, raw, 0, 255)?),
            "signal" => one.signal = Some(int(o, key, raw, 1, 127)?),
            "reason" => one.reason = o.read(key, raw, reason)?,
            "error" => one.error = Some(o.read(key, raw, json::string)?),
            "duration" => one.duration = Some(o.read(key, raw, json::number)?),
            "log_offset" => one.log_offset = o.read(key, raw, json::size)?,
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
    for (key, raw) in o.fields() {
        match key {
            "pid" => proc.pid = int(o, key, raw, 1, i64::from(i32::MAX))?,
            "start" => proc.start = o.read(key, raw, json::size)?,
            "boot" => proc.boot = o.read(key, raw, json::string)?,
            _ => {}
        }
    }
    Ok((proc.pid > 0).then_some(proc))
}
