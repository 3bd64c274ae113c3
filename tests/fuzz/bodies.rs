//! The laws that the fuzz targets check: each takes any bytes and panics if a law is broken.
//!
//! Shared by `fuzz_targets/`, where libFuzzer generates the bytes, and by `tests/fuzz_corpus.rs`, which goes through
//! the corpus. A new finding is minimised and kept in `corpus/TARGET/`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, dead_code)]

#[path = "dialect_text.rs"]
pub mod dialect_text;
#[path = "http_text.rs"]
pub mod http_text;
#[path = "seq_text.rs"]
mod seq_text;
// The parser of times on the command line, which the library does not export. The crate's root must have `core` and
// `os`.
#[path = "../../src/cli/timespec.rs"]
mod timespec;
#[path = "../../src/cli/when.rs"]
mod when;
// The same for the reader of `qdone enqueue-batch`.
#[cfg(feature = "sqs")]
#[path = "../../src/cli/qdone/batch.rs"]
mod batch;

use pirn::core::config::pauses::Pauses;
use pirn::core::config::{Config, MinFree, Terms};
use pirn::core::id::{JobId, MAX_ID_BYTES, QueueName, is_foreign, matches, natural_order};
use pirn::core::json::{Field, JsonError, Object};
use pirn::core::policy::{RetryRule, TryEnd, Verdict, verdict};
#[cfg(feature = "sqs")]
use pirn::core::qdone_names::{QueueNames, check};
use pirn::core::record::{LIMIT_NAMES, Record, RecordError, Setting, State, Work};
use pirn::core::retry::{Backoff, BackoffSpec};
use pirn::core::time::{Boot, Wall};
use pirn::core::units::parse_umask;
use pirn::core::units::{MAX_SPAN, brief_span, parse_size, parse_span, show_span, span_from_secs};
#[cfg(feature = "url")]
use pirn::http::dialect::hq::read_push;
use serde_json::Value;
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

/// One target.
pub type Body = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("job_file", job_file),
    ("record", record),
    ("config", config),
    ("id", id),
    ("time_span", time_span),
    ("seq", seq),
    ("http_head", http_text::http_head),
    ("http_body", http_text::http_body),
    ("qmd", dialect_text::qmd),
    ("jobrunner", dialect_text::jobrunner),
    #[cfg(feature = "url")]
    ("hq_body", hq_body),
    #[cfg(feature = "sqs")]
    ("batch", batch_lines),
];

/// The keys that have a meaning for pirn; every other is kept as it is.
const KEYS: [&str; 63] = [
    "after",
    "after_any",
    "after_failed",
    "args",
    "attempt",
    "attempts",
    "backoff",
    "callback_url",
    "command",
    "comment",
    "cpu",
    "created_at",
    "cwd",
    "dialect",
    "duration",
    "env",
    "error",
    "exit_code",
    "expires",
    "fail_on",
    "files",
    "finished_at",
    "grace",
    "group",
    "headers",
    "id",
    "interruptions",
    "limits",
    "log_bytes",
    "max_interruptions",
    "max_log",
    "max_rss",
    "name",
    "nice",
    "not_before",
    "on_finish",
    "once",
    "output",
    "payload",
    "pid",
    "priority",
    "proc",
    "queue",
    "reason",
    "result",
    "retry_at",
    "retry_on",
    "sandbox",
    "script",
    "sign",
    "signal",
    "split",
    "started_at",
    "state",
    "status_code",
    "stdin",
    "stdin_base64",
    "tags",
    "timeout",
    "tmp",
    "tries",
    "umask",
    "url",
];

/// A dropped file.
pub fn job_file(data: &[u8]) {
    let record = match Record::from_bytes(data) {
        Ok(record) => record,
        Err(e) => return refusal(&e, data),
    };
    let text = std::str::from_utf8(data).expect("a job that is no text");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with('{') {
        json_record(&record, text);
    } else {
        assert_eq!(record.work, Work::Text(text.to_owned()));
        any_record(&record);
    }
}

/// A record whose fields are the lines: a key, a space, and a value; a value that is not JSON becomes a string. A
/// record in JSON is taken as it is.
pub fn record(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.starts_with('{') {
        return job_file(text.as_bytes());
    }
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for line in text.split('\n') {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if seen.insert(key) {
            let value = match serde_json::from_str::<&RawValue>(value) {
                Ok(raw) => raw.get().to_owned(),
                Err(_) => Value::from(value).to_string(),
            };
            fields.push(format!("{}: {value}", Value::from(key)));
        }
    }
    if !["command", "script", "url"]
        .iter()
        .any(|key| seen.contains(key))
    {
        fields.push("\"command\": \"true\"".to_owned());
    }
    job_file(format!("{{{}}}", fields.join(",\n")).as_bytes());
}

/// The lines of a batch. Each command is kept, in its order, and may be sent; a refusal names the file and the line.
#[cfg(feature = "sqs")]
pub fn batch_lines(data: &[u8]) {
    let names = QueueNames::default();
    let text = String::from_utf8_lossy(data);
    let lines = || text.split('\n').map(str::trim);
    for is_fifo in [false, true] {
        let mut all = Vec::new();
        if let Err(why) = batch::read(&mut all, "f", data, &names, is_fifo) {
            let rest = why.strip_prefix("f, line ").expect("the line");
            let (number, _) = rest.split_once(": ").expect("a reason");
            let number: usize = number.parse().unwrap();
            assert!(lines().nth(number - 1).is_some_and(|line| !line.is_empty()));
            continue;
        }
        let commands = all.iter().map(|queue| queue.commands.len()).sum::<usize>();
        assert_eq!(commands, lines().filter(|line| !line.is_empty()).count());
        for queue in &all {
            assert_eq!(check(&names.full(&queue.queue)), Ok(()));
            let same = all.iter().filter(|other| other.queue == queue.queue);
            assert_eq!(same.count(), 1, "{}", queue.queue);
            let mut left = lines();
            for command in &queue.commands {
                assert!(left.any(|line| line.ends_with(command.as_str())));
                assert_eq!(batch::check_body(command), Ok(()));
            }
        }
    }
}

/// A job as hq's clients push it: the first line is the content type.
#[cfg(feature = "url")]
pub fn hq_body(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (kind, body) = data.split_at(end.unwrap_or(data.len()));
    let kind = String::from_utf8_lossy(kind);
    let body = body.get(1..).unwrap_or_default();
    match read_push(&kind, body) {
        Ok(record) => {
            any_record(&record);
            let Work::Url(call) = &record.work else {
                panic!("not a call: {record:?}");
            };
            let payload = call.payload.as_deref().unwrap_or("1");
            let _: &RawValue = serde_json::from_str(payload).expect("a payload is JSON");
            let is_json = kind.to_ascii_lowercase().starts_with("application/json");
            if is_json && let Some(payload) = &call.payload {
                let mut parts = body.windows(payload.len());
                assert!(
                    parts.any(|part| part == payload.as_bytes()),
                    "delivered otherwise than it came: {payload}"
                );
            }
        }
        Err((status, error)) => assert!(matches!(status, 400 | 415 | 422) && !error.is_empty()),
    }
}

fn refusal(e: &RecordError, data: &[u8]) {
    let text = e.to_string();
    assert!(!text.is_empty());
    assert!(
        !text.contains(char::is_control),
        "the reason goes into a log: {text:?}"
    );
    match e {
        RecordError::Json(e) => json_error(e, std::str::from_utf8(data).unwrap()),
        RecordError::NotText => {
            assert!(data.contains(&0) || std::str::from_utf8(data).is_err());
        }
        RecordError::Empty | RecordError::Work(_) | RecordError::Unsupported(_) => {}
    }
}

fn json_error(e: &JsonError, text: &str) {
    assert!(!e.what.is_empty());
    assert!(e.line <= 1 + text.matches('\n').count(), "line {}", e.line);
    for kind in ["a string", "an object", "a list", "a number"] {
        assert_ne!(e.what, format!("expected {kind}, got {kind}"));
    }
}

/// No field of the text is lost.
fn json_record(record: &Record, text: &str) {
    let printed = any_record(record);
    let given = Object::parse(text).expect("read once already");
    let kept = Object::parse(&printed).unwrap();
    let unknown = |object: &Object<'_>| -> Vec<(String, String)> {
        let fields = object.fields().filter(|field| !KEYS.contains(&field.key));
        fields
            .map(|field| (field.key.to_owned(), field.raw.get().to_owned()))
            .collect()
    };
    assert_eq!(unknown(&given), unknown(&kept), "unknown fields are kept");
    for Field { key, raw, .. } in given.fields() {
        let is_kept = kept
            .fields()
            .any(|other| other.key == key || (key == "stdin_base64" && other.key == "stdin"));
        // These are checked leniently, because nothing depends on them.
        let may_go = ["state", "id", "result", "proc"].contains(&key);
        let says_nothing = ["null", "0", "false"].contains(&raw.get())
            || raw
                .get()
                .chars()
                .all(|c| c.is_ascii_whitespace() || "{}[]".contains(c));
        assert!(
            is_kept || may_go || says_nothing,
            "{key} is lost: {}",
            raw.get()
        );
    }
}

/// A printed record is read as the same one, and its values are within the limits. Gives the printed text.
fn any_record(record: &Record) -> String {
    let printed = record.to_json();
    let again = reread(&printed);
    assert_eq!(printed, again.to_json(), "printed differently");
    let third = reread(&again.to_json_in(State::Failed));
    assert_eq!(format!("{again:?}"), format!("{third:?}"));

    let mut plain = record.clone();
    plain.extra.clear();
    // A payload is kept exactly; it may contain halves of surrogate pairs, as JSON allows.
    if let Work::Url(call) = &mut plain.work {
        call.payload = None;
    }
    let value: Value = serde_json::from_str(&plain.to_json()).expect("other programs can read it");
    let fields = value.as_object().unwrap();
    assert!(fields.values().all(|value| !value.is_null()));
    assert!(fields.keys().all(|key| KEYS.contains(&key.as_str())));

    limits(record);
    lives(record);
    printed
}

fn reread(text: &str) -> Record {
    Record::from_bytes(text.as_bytes())
        .unwrap_or_else(|e| panic!("printed, but not read: {e}\n{text}"))
}

/// The properties of a record on which the rest of pirn relies.
fn limits(r: &Record) {
    let no_nul = |text: &String| !text.contains('\0');
    match &r.work {
        Work::Text(text) => assert!(no_nul(text) && !text.trim().is_empty()),
        Work::Argv(argv) => assert!(argv.iter().all(no_nul) && !argv[0].is_empty()),
        Work::Script { name, args } => {
            assert!(args.iter().all(no_nul));
            safe_name(name.as_str());
        }
        Work::Url(call) => assert!(!call.url.trim().is_empty() && r.stdin.is_none()),
    }
    let ids = [&r.after, &r.after_failed, &r.after_any];
    for id in ids.into_iter().flatten().chain(&r.id) {
        safe_name(id.as_str());
    }
    r.queue.iter().for_each(|queue| safe_name(queue.as_str()));
    r.files.keys().for_each(|name| safe_name(name));
    assert!(r.cwd.iter().all(no_nul));
    for (key, value) in &r.env {
        assert!(!key.is_empty() && !key.contains(['=', '\0']) && no_nul(value));
    }
    assert!(r.umask.is_none_or(|mask| mask <= 0o777));
    assert!(r.nice.is_none_or(|nice| (-20..=19).contains(&nice)));
    assert!(r.tries.is_none_or(|n| (1..=1_000_000).contains(&n)));
    assert!(r.pid.is_none_or(|pid| pid > 0));
    assert!(r.proc.iter().all(|proc| proc.pid > 0));
    assert!(
        r.limits
            .keys()
            .all(|name| LIMIT_NAMES.contains(&name.as_str()))
    );
    assert!(r.duration.is_none_or(f64::is_finite) && r.cpu.is_none_or(f64::is_finite));
    let ends = r.attempts.iter().map(|t| (t.exit_code, t.signal));
    for (code, signal) in ends.chain([(r.exit_code, r.signal)]) {
        assert!(code.is_none_or(|code| (0..=255).contains(&code)));
        assert!(signal.is_none_or(|signal| (1..=127).contains(&signal)));
    }
    let codes = r.rules.retry_on().into_iter().flatten();
    for code in codes.chain(r.rules.fail_on()) {
        assert!((0..=255).contains(code));
    }
    assert_ne!(r.timeout, Setting::Set(Duration::ZERO));
    assert_ne!(r.max_log, Setting::Set(0));
    let timeout = r.timeout.or(None);
    for span in [timeout, r.grace, r.backoff.first, r.backoff.max] {
        assert!(span.is_none_or(|span| span <= MAX_SPAN));
    }
    assert!(r.backoff.factor.is_none_or(|f| (1.0..=1000.0).contains(&f)));
    assert!(!r.work.summary().contains(char::is_control));
}

/// A record goes through the steps of a job's life.
fn lives(record: &Record) {
    let mut fresh = record.clone();
    fresh.renew();
    assert!(!fresh.is_over() && (fresh.attempt > 0 || fresh.attempts.is_empty()));
    any_print(&fresh);
    fresh.make_fresh();
    assert_eq!((fresh.attempt, fresh.attempts.len()), (0, 0));
    any_print(&fresh);
    terms(&Config::default().terms(&QueueName::default(), record));
}

fn any_print(record: &Record) {
    let printed = record.to_json();
    assert_eq!(reread(&printed).to_json(), printed);
}

/// Every try has a result and every wait ends.
fn terms(terms: &Terms) {
    let started = Boot(u64::MAX / 2);
    assert!(
        terms
            .timeout
            .is_none_or(|span| started.after(span) >= started)
    );
    backoff(&terms.backoff.rule());
    let rule = &terms.retry;
    let lost = verdict(TryEnd::Interrupted, 1, rule);
    let is_last = rule.once || rule.interruptions.saturating_add(1) >= rule.max_interruptions;
    assert_eq!(lost == Verdict::Failed, is_last);
    for attempt in [1, 2, rule.tries.saturating_sub(1), rule.tries, u32::MAX] {
        assert_eq!(verdict(TryEnd::Exited(0), attempt, rule), Verdict::Complete);
        assert_eq!(verdict(TryEnd::Exited(100), attempt, rule), Verdict::Failed);
        for code in [1, 75, 111, 255] {
            let again = verdict(TryEnd::Exited(code), attempt, rule) == Verdict::Retry;
            assert!(!again || may_retry(rule, attempt));
        }
        assert_eq!(verdict(TryEnd::Interrupted, attempt, rule), lost);
    }
}

fn may_retry(rule: &RetryRule, attempt: u32) -> bool {
    rule.used(attempt) < rule.tries && !rule.once
}

/// Waits grow up to the longest; a wait of zero stays zero.
fn backoff(rule: &Backoff) {
    let mut before = Duration::ZERO;
    for attempt in [0, 1, 2, 3, 10, 100, 1_000, 10_000, 1_000_000, u32::MAX] {
        let (shortest, longest) = (rule.wait(attempt, 0), rule.wait(attempt, 999));
        assert!(shortest <= longest && longest <= rule.max);
        assert!(
            shortest >= before,
            "{rule:?}: {shortest:?} after {before:?}"
        );
        assert!(
            !rule.first.is_zero() || longest.is_zero(),
            "{rule:?}: {longest:?}"
        );
        before = shortest;
    }
}

/// `config.json`.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(e) => {
            assert!(!e.to_string().contains(char::is_control), "{e}");
            return json_error(&e, text);
        }
    };
    assert!(config.slots.is_none_or(|n| n <= 10_000));
    assert!((1024..=1 << 30).contains(&config.max_job_bytes));
    assert!(config.keep.is_none_or(|span| span <= MAX_SPAN));
    match config.min_free {
        MinFree::Bytes(_) => {}
        MinFree::Percent(share) => assert!((0.0..100.0).contains(&share)),
    }
    let job = Record::new(Work::Text("true".to_owned()));
    let other = QueueName::new("other").unwrap();
    for queue in config.queues.keys().chain([&QueueName::default(), &other]) {
        safe_name(queue.as_str());
        let here = config.terms(queue, &job);
        assert!(here.nice.is_none_or(|nice| (-20..=19).contains(&nice)));
        assert!((1..=1_000_000).contains(&here.retry.tries));
        assert!(here.grace <= MAX_SPAN);
        assert!(
            here.timeout
                .is_none_or(|span| span <= MAX_SPAN && !span.is_zero())
        );
        assert_ne!(here.max_log, Some(0));
        terms(&here);
        assert!(config.is_paused(queue, &Pauses::default()) || !config.paused);
    }
    // The order of the fields has no meaning.
    let object = Object::parse(text).unwrap();
    let mut fields: Vec<String> = object
        .fields()
        .map(|field| format!("{} :\n{}", Value::from(field.key), field.raw.get()))
        .collect();
    fields.reverse();
    let reversed = format!(" {{{}\n}} ", fields.join(","));
    assert_eq!(Config::parse(&reversed).as_ref(), Ok(&config), "{reversed}");
}

/// Names, one a line.
pub fn id(data: &[u8]) {
    for name in data.split(|b| *b == b'\n') {
        let id = JobId::from_bytes(name);
        assert_eq!(id.is_ok(), QueueName::from_bytes(name).is_ok());
        assert_eq!(id.is_ok(), is_good_name(name), "{}", name.escape_ascii());
        match id {
            Ok(id) => older(&id),
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
    let text = String::from_utf8_lossy(data);
    let mut words: Vec<&str> = text.split('\n').take(12).collect();
    for a in &words {
        assert!(matches("*", a) && (matches(a, a) || a.ends_with('*')));
        for b in &words {
            order_of_two(a, b);
            assert_eq!(matches(&format!("{a}*"), b), b.starts_with(a));
            for c in words.iter().take(8) {
                if natural_order(a, b).is_le() && natural_order(b, c).is_le() {
                    assert!(natural_order(a, c).is_le(), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }
    words.sort_by(|a, b| natural_order(a, b));
    assert!(words.is_sorted_by(|a, b| natural_order(a, b).is_le()));
}

/// The rule of DESIGN section 3 in other words.
fn is_good_name(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|text| {
        let reserved = ["~", "~err", ".tmp", ".part", ".swp"];
        (1..=MAX_ID_BYTES).contains(&name.len())
            && !text.starts_with(['.', '-'])
            && !text.chars().any(|c| c == '/' || c.is_control())
            && !reserved.iter().any(|end| text.ends_with(end))
    })
}

fn safe_name(name: &str) {
    assert!(
        is_good_name(name.as_bytes()) && !is_foreign(name.as_bytes()),
        "{name:?}"
    );
    let mut parts = std::path::Path::new(name).components();
    assert!(matches!(
        (parts.next(), parts.next()),
        (Some(std::path::Component::Normal(part)), None) if part == name
    ));
}

fn older(id: &JobId) {
    safe_name(id.as_str());
    assert_eq!(id.to_string().parse(), Ok(id.clone()));
    let mut before = id.clone();
    for n in [1, 2, 9, 10, 99, 100, u32::MAX] {
        let fits = id.as_str().len() + 1 + n.to_string().len() <= MAX_ID_BYTES;
        match id.older(n) {
            Ok(older) => {
                assert!(fits && natural_order(before.as_str(), older.as_str()).is_lt());
                safe_name(older.as_str());
                before = older;
            }
            Err(_) => assert!(!fits, "{id}~{n}"),
        }
    }
}

fn order_of_two(a: &str, b: &str) {
    let order = natural_order(a, b);
    assert_eq!(order, natural_order(b, a).reverse(), "{a:?} {b:?}");
    assert_eq!(order.is_eq(), a == b, "{a:?} {b:?}");
    let number = |text: &str| {
        let plain = !text.starts_with(['0', '+']);
        text.parse::<u128>().ok().filter(|_| plain)
    };
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        assert_eq!(order, x.cmp(&y));
    }
    // The first part decides, whatever follows, unless a number goes on.
    let joins = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    if order == Ordering::Less && !b.starts_with(a) && !joins(a) && !joins(b) {
        assert_eq!(natural_order(&format!("{a}z"), &format!("{b}0")), order);
    }
}

/// Durations, sizes and dates: as text, and as the numbers that the first bytes make.
pub fn time_span(data: &[u8]) {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        let part = data.get(at..).unwrap_or(&[]);
        let len = part.len().min(8);
        bytes[..len].copy_from_slice(&part[..len]);
        u64::from_le_bytes(bytes)
    };
    numbers([word(0), word(8), word(16)]);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = parse_span(text) {
        span(read);
        assert_eq!(parse_span(&format!("\t{text} ")), Ok(read));
        // A number alone is no time.
        match text.trim().parse::<f64>() {
            Ok(_) => assert!(when::parse(text).is_err()),
            Err(_) => assert!(when::parse(text).unwrap().since(Wall(0)) >= read),
        }
    }
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&size.to_string()), Ok(size));
        assert_eq!(parse_size(&format!(" {text}\n")), Ok(size));
    }
    if let Ok(wall) = Wall::parse(text) {
        date(wall);
        // A record's date may be later than any clock shows; on a command line that is a mistake.
        if wall < Wall(i64::MAX) {
            assert_eq!(when::parse(text), Ok(wall));
        }
    }
    if let Ok(wall) = when::parse(text) {
        date(wall);
    }
    if let Ok(mask) = parse_umask(text) {
        assert!(mask <= 0o777);
        assert_eq!(parse_umask(&format!("{mask:03o}")), Ok(mask));
    }
}

fn numbers([a, b, c]: [u64; 3]) {
    let seconds = f64::from_bits(a);
    match span_from_secs(seconds) {
        Ok(read) => {
            assert!((0.0..=MAX_SPAN.as_secs_f64()).contains(&seconds));
            span(read);
        }
        Err(e) => assert!(!e.is_empty()),
    }
    span(Duration::from_nanos(a).min(MAX_SPAN));
    let most = MAX_SPAN.as_nanos() as u64;
    let (first, max) = (
        Duration::from_nanos(a % most),
        Duration::from_nanos(b % most),
    );
    let factor = Some(f64::from_bits(c)).filter(|f| (1.0..=1000.0).contains(f));
    let spec = BackoffSpec {
        first: Some(first),
        factor,
        max: Some(max),
    };
    backoff(&spec.rule());
    assert!(spec.rule().wait(b as u32, c) <= max);

    date(Wall(a as i64));
    let (x, y) = (Wall(a as i64), Wall(b as i64));
    assert_eq!(x.after(first).since(x), first.min(Wall(i64::MAX).since(x)));
    assert!(x.since(y).is_zero() || y.since(x).is_zero());
    let (x, y) = (Boot(a), Boot(b));
    assert!(x.after(max) >= x && x.since(y).is_zero() == (x <= y));
}

fn span(read: Duration) {
    assert!(read <= MAX_SPAN);
    assert_eq!(parse_span(&show_span(read)), Ok(read));
    assert!(!brief_span(read).is_empty());
    assert!(Boot(7).after(read) >= Boot(7) && Wall(7).after(read) >= Wall(7));
}

/// A date is cut to the millisecond when it is printed, and no more after that.
fn date(wall: Wall) {
    let text = wall.to_string();
    assert_eq!(text.len(), "2026-11-21T16:00:00.000Z".len());
    let cut = Wall::parse(&text).unwrap_or_else(|e| panic!("{wall:?}: {e}"));
    assert!(
        cut.0.abs_diff(wall.0) < 1_000_000,
        "{wall:?} became {cut:?}"
    );
    assert_eq!(cut.to_string(), text);
    assert_eq!(Wall::parse(&cut.to_string()), Ok(cut));
}

/// The file `seq`: its first content, then a line of events. A number is never given twice.
pub fn seq(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (content, events) = text.split_once('\n').unwrap_or((&text, "1c1s1c1"));
    // No more than this is read of the file.
    let content = content.get(..256).unwrap_or(content);
    let spool = seq_text::spool(content);
    // The content may name the first boot, but no later one.
    let later = "boot".repeat(content.len());
    let (mut boots, mut least) = (0, 1);
    for event in events.bytes().take(200) {
        let boot = match boots {
            0 => "boot-0".to_owned(),
            n => format!("{later}-{n}"),
        };
        match event {
            b'c' => {
                spool.cut();
                boots += 1;
            }
            b'r' => boots += 1,
            b's' => spool.settle(&boot),
            b'f' => spool.fail_next_sync(),
            b => {
                let count = u64::from(b).max(1);
                if let Some(first) = spool.take(count, &boot) {
                    assert!(first >= least, "{first} was given before");
                    least = first + count;
                }
            }
        }
    }
}
