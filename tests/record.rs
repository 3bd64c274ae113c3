//! Job records: a record that is read is printed the same, no unknown field is lost, every mistake is named, nothing
//! panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pirn::core::id::{JobId, QueueName, natural_order};
use pirn::core::record::{Record, RecordError, Scratch, Setting, State, Work};
use pirn::core::time::Wall;
use pirn::core::units::{parse_size, parse_span, show_span};
use pirn::core::warning::Warning;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn read(text: &str) -> Record {
    Record::from_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// All fields of a record, for comparisons.
fn whole(record: &Record) -> String {
    format!("{record:?}")
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,12}", "\\PC{0,4}"]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9_][a-z0-9 ~.é]{0,6}[a-z0-9]"
}

/// A span as people write it; the finest unit is the nanosecond.
fn span() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0u64..3_000_000_000).prop_map(|n| json!(n)),
        (0.0f64..1e6).prop_map(|n| json!(n)),
        (0u64..u64::MAX / 1_000).prop_map(|n| json!(show_span(Duration::from_nanos(n)))),
        Just(json!("1h 30m")),
    ]
}

/// A date to the millisecond, as records have it.
fn date() -> impl Strategy<Value = Value> {
    (-62_000_000_000i64..9_000_000_000_000).prop_map(|ms| json!(Wall(ms * 1_000_000).to_string()))
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::sample::select(words).prop_map(|word| json!(word))
}

/// The fields that users write, each with a value that is right for it.
fn asked() -> BoxedStrategy<(&'static str, Value)> {
    let no_nul = || any_text().prop_map(|s| s.replace('\0', "0"));
    let text = |key: &'static str| any_text().prop_map(move |s| (key, json!(s)));
    let spans = |key: &'static str| span().prop_map(move |v| (key, v));
    let dates = |key: &'static str| date().prop_map(move |v| (key, v));
    let ids = |key: &'static str| {
        prop::collection::vec(name(), 0..3).prop_map(move |list| (key, json!(list)))
    };
    let codes = |key: &'static str| {
        prop::collection::btree_set(0i32..=255, 0..4).prop_map(move |set| (key, json!(set)))
    };
    let sizes = prop_oneof![any::<u64>().prop_map(|n| json!(n)), Just(json!("64K"))];
    prop_oneof![
        text("name"),
        text("comment"),
        text("group"),
        text("stdin"),
        no_nul().prop_map(|s| ("cwd", json!(s))),
        name().prop_map(|s| ("queue", json!(s))),
        any::<i32>().prop_map(|n| ("priority", json!(n))),
        prop::collection::btree_map("[A-Za-z_][A-Z0-9]{0,4}", no_nul(), 0..3)
            .prop_map(|m| ("env", json!(m))),
        "[0-7]{1,3}".prop_map(|s| ("umask", json!(s))),
        (-20..=19).prop_map(|n| ("nice", json!(n))),
        prop::collection::btree_map(name(), any_text(), 0..3).prop_map(|m| ("files", json!(m))),
        Just(("files", json!({"raw": {"base64": "/wD+"}}))),
        spans("timeout"),
        spans("grace"),
        Just(("warn", json!(0))),
        dates("not_before"),
        dates("expires"),
        (1..=1_000_000).prop_map(|n| ("tries", json!(n))),
        (0..=1_000_000).prop_map(|n| ("max_interruptions", json!(n))),
        (span(), 1.0f64..1000.0, span())
            .prop_map(|(a, b, c)| ("backoff", json!({"first": a, "factor": b, "max": c}))),
        span().prop_map(|a| ("backoff", json!({"first": a}))),
        codes("retry_on"),
        codes("fail_on"),
        ids("after"),
        ids("after_any"),
        // None of them is in `after`.
        prop::collection::vec(name().prop_map(|id| format!("F{id}")), 0..3)
            .prop_map(|list| ("after_failed", json!(list))),
        any::<bool>().prop_map(|b| ("once", json!(b))),
        any::<bool>().prop_map(|b| ("split", json!(b))),
        prop_oneof![
            Just(json!(true)),
            Just(json!(false)),
            Just(json!("keep")),
            Just(json!("answer"))
        ]
        .prop_map(|v| ("tmp", v)),
        sizes.prop_map(|v| ("max_log", v)),
        (word(&["as", "nofile", "stack"]), any::<Option<u64>>()).prop_map(|(k, n)| {
            let limit = n.map_or(json!("unlimited"), |n| json!(n));
            ("limits", json!({k.as_str().unwrap(): limit}))
        }),
        prop::collection::vec(any_text(), 0..3).prop_map(|list| ("tags", json!(list))),
        sandbox().prop_map(|value| ("sandbox", value)),
        resources().prop_map(|value| ("resources", value)),
        (1..=10_000).prop_map(|n| ("slots", json!(n))),
        prop::collection::btree_map("[a-c][a-z0-9_]{0,3}", 1..=10_000, 0..3)
            .prop_map(|m| ("use", json!(m))),
    ]
    .boxed()
}

fn sandbox() -> impl Strategy<Value = Value> {
    let path = "(/|\\$PIRN_TMP|\\$PIRN_STORE/)[a-z ]{0,5}".prop_map(|s| match s.as_str() {
        place if place.starts_with("$PIRN_TMP") => "$PIRN_TMP/a".to_owned(),
        _ => s,
    });
    let paths = || prop::collection::vec(path.clone(), 1..3).prop_map(|list| json!(list));
    let ports = || prop::collection::vec(1u16.., 0..3);
    let network = prop_oneof![
        word(&["all", "unix", "none"]),
        (ports(), ports(), any::<bool>())
            .prop_map(|(a, b, udp)| json!({"connect": a, "bind": b, "udp": udp})),
        Just(json!({})),
    ];
    let field = prop_oneof![
        any::<bool>().prop_map(|b| ("system", json!(b))),
        (word(&["ro", "rof", "rw", "rwf"]), paths()).prop_map(|(key, list)| match key.as_str() {
            Some("ro") => ("ro", list),
            Some("rof") => ("rof", list),
            Some("rw") => ("rw", list),
            _ => ("rwf", list),
        }),
        network.prop_map(|value| ("network", value)),
        word(&["basic", "all"]).prop_map(|value| ("syscalls", value)),
        any::<bool>().prop_map(|b| ("namespaces", json!(b))),
        Just(("private_tmp", json!(false))),
        any::<bool>().prop_map(|b| ("best_effort", json!(b))),
    ];
    some_of(field)
}

/// An object with some of these fields.
fn some_of(field: impl Strategy<Value = (&'static str, Value)>) -> impl Strategy<Value = Value> {
    prop::collection::vec(field, 0..5).prop_map(|fields| {
        json!(
            fields
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()
        )
    })
}

fn resources() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        (1u64..).prop_map(|n| ("memory", json!(n))),
        Just(("memory", json!("512M"))),
        any::<u64>().prop_map(|n| ("swap", json!(n))),
        (1..=1u32 << 22).prop_map(|n| ("tasks", json!(n))),
        (0.01f64..10_000.0).prop_map(|n| ("cpu", json!(n))),
        Just(("cpu", json!(2))),
        (1..=10_000).prop_map(|n| ("cpu_weight", json!(n))),
        (1..=10_000).prop_map(|n| ("io_weight", json!(n))),
        any::<bool>().prop_map(|b| ("best_effort", json!(b))),
    ];
    some_of(field)
}

const REASONS: [&str; 10] = [
    "exited",
    "signaled",
    "timeout",
    "cancelled",
    "expired",
    "not_started",
    "interrupted",
    "dependency",
    "log_limit",
    "skipped",
];

/// The fields that pirn writes.
fn added() -> BoxedStrategy<(&'static str, Value)> {
    let dates = |key: &'static str| date().prop_map(move |v| (key, v));
    let texts = |key: &'static str| any_text().prop_map(move |s| (key, json!(s)));
    let numbers = |key: &'static str| {
        prop_oneof![
            0.0f64..1e9,
            0.0f64..1.0,
            any::<f64>().prop_filter("finite", |n| n.is_finite())
        ]
        .prop_map(move |n| (key, json!(n)))
    };
    let one_try = (any::<u32>(), prop::option::of(date()), date(), 0..=255, word(&REASONS), 0.0f64..1e9, any::<u64>())
        .prop_map(|(attempt, from, to, code, reason, took, offset)| {
            json!({"attempt": attempt, "started_at": from, "finished_at": to, "exit_code": code,
                   "signal": null, "reason": reason, "error": null, "duration": took, "log_offset": offset})
        });
    prop_oneof![
        name().prop_map(|s| ("id", json!(s))),
        dates("created_at"),
        dates("started_at"),
        dates("warned_at"),
        dates("finished_at"),
        dates("retry_at"),
        any::<u32>().prop_map(|n| ("attempt", json!(n))),
        any::<u32>().prop_map(|n| ("interruptions", json!(n))),
        (1..=i32::MAX).prop_map(|n| ("pid", json!(n))),
        (1..=i32::MAX, any::<u64>(), any_text()).prop_map(|(pid, start, boot)| (
            "proc",
            json!({"pid": pid, "start": start, "boot": boot})
        )),
        (0..=255).prop_map(|n| ("exit_code", json!(n))),
        (1..=127).prop_map(|n| ("signal", json!(n))),
        word(&REASONS).prop_map(|v| ("reason", v)),
        texts("error"),
        texts("output"),
        texts("result"),
        numbers("duration"),
        numbers("cpu"),
        any::<u64>().prop_map(|n| ("max_rss", json!(n))),
        any::<u64>().prop_map(|n| ("log_bytes", json!(n))),
        any::<u64>().prop_map(|n| ("log_offset", json!(n))),
        prop::collection::vec(one_try, 0..3).prop_map(|list| ("attempts", json!(list))),
    ]
    .boxed()
}

fn work() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let word = || "[ -~]{0,9}[!-~]";
    prop_oneof![
        word().prop_map(|s| vec![("command", json!(s))]),
        prop::collection::vec(word(), 1..4).prop_map(|list| vec![("command", json!(list))]),
        (name(), prop::collection::vec(word(), 0..3))
            .prop_map(|(script, args)| vec![("script", json!(script)), ("args", json!(args))]),
    ]
}

/// The text of an object with these fields, the first of a name counting, and strange white space between.
fn object(fields: &[(&str, Value)]) -> String {
    let mut seen = BTreeSet::new();
    let once = fields.iter().filter(|(key, _)| seen.insert(*key));
    let pairs: Vec<String> = once
        .map(|(key, value)| format!("{}\t:\n {value}", json!(key)))
        .collect();
    format!("{{ {} }}", pairs.join(" ,\r\n"))
}

proptest! {
    // A failure prints its smallest case; old failures are not kept in a file beside the sources.
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_the_same(
        work in work(),
        asked in prop::collection::vec(asked(), 0..12),
        added in prop::collection::vec(added(), 0..8),
    ) {
        let fields: Vec<_> = work.into_iter().chain(asked).chain(added).collect();
        let first = read(&object(&fields));
        let second = read(&first.to_json());
        prop_assert_eq!(whole(&first), whole(&second));
        prop_assert_eq!(first.to_json(), second.to_json());
    }

    /// Unknown keys come last, in their order and with their exact text.
    #[test]
    fn what_is_unknown_survives(keys in prop::collection::btree_set("[a-z\"\\\\é]{1,6}", 1..6), seed in any::<usize>()) {
        let values = ["1.50", "1E+2", "\"\\u0041\\/\"", "[1,  2]", "{\"a\" :\tnull, \"a\":2}", "null", "-0", "[\n1]"];
        let given: Vec<(String, &str)> = keys
            .iter()
            .rev()
            .enumerate()
            .map(|(n, key)| (format!("x-{key}"), values[seed.wrapping_add(n) % values.len()]))
            .collect();
        let pairs: Vec<String> = given.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
        let text = format!("{{{}, \"command\": \"true\"}}", pairs.join(","));
        let mut record = read(&text);
        for _ in 0..3 {
            let kept: Vec<(String, &str)> = record.extra.iter().map(|(k, v)| (k.clone(), v.get())).collect();
            prop_assert_eq!(&kept, &given);
            record = read(&record.to_json());
        }
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::from_bytes(&bytes);
        let _ = JobId::from_bytes(&bytes);
        let _ = QueueName::from_bytes(&bytes);
    }

    /// One byte of a good record changed, added or removed: the result is an error, or a record that can be printed and
    /// read.
    #[test]
    fn damaged_records_never_panic(
        fields in prop::collection::vec(prop_oneof![asked(), added()], 1..10),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), proptest::sample::select(&b"{}[]\",:\\0e-n"[..])],
        how in 0..3,
    ) {
        let mut bytes = object(&[&[("command", json!(["true"]))], &fields[..]].concat()).into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => {
                bytes.remove(at);
            }
        }
        match Record::from_bytes(&bytes) {
            // Compared as printed: dates in records are less exact than dates in the text.
            Ok(record) => prop_assert_eq!(record.to_json(), read(&record.to_json()).to_json()),
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }

    #[test]
    fn spans_and_sizes_never_panic(text in prop_oneof![any_text(), "[0-9.+-]{0,25}[a-zA-Z ]{0,4}[0-9]{0,20}[smhdwy]?"]) {
        if let Ok(span) = parse_span(&text) {
            prop_assert_eq!(parse_span(&show_span(span)), Ok(span));
        }
        if let Ok(size) = parse_size(&text) {
            prop_assert_eq!(parse_size(&size.to_string()), Ok(size));
        }
        let _ = Wall::parse(&text);
    }

    #[test]
    fn dates_are_cut_to_milliseconds_once(nanos in any::<i64>()) {
        let cut = Wall::parse(&Wall(nanos).to_string()).unwrap();
        prop_assert!(cut.0.abs_diff(nanos) < 1_000_000, "{} became {}", nanos, cut.0);
        prop_assert_eq!(Wall::parse(&cut.to_string()), Ok(cut));
    }

    /// An id is safe as a path component, and a refused one breaks one of the rules of DESIGN section 3.
    #[test]
    fn ids_are_safe_names(text in prop_oneof![any_text(), "[a~./-]{0,5}(tmp|part|swp|err)?"]) {
        let foreign = [".tmp", ".part", ".swp", "~", "~err"].iter().any(|end| text.ends_with(end));
        let good = (1..=128).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && !text.chars().any(|c| c == '/' || c.is_control())
            && !foreign;
        prop_assert_eq!(JobId::new(&text).is_ok(), good);
        prop_assert_eq!(QueueName::new(&text).is_ok(), good);
    }

    #[test]
    fn natural_order_is_an_order(a in "[a0-9]{0,6}", b in "[a0-9]{0,6}", c in "[a0-9]{0,6}") {
        prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
        prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
        if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
            prop_assert!(natural_order(&a, &c).is_le());
        }
    }
}

#[test]
fn every_malformed_field_is_named() {
    let wrong = [
        ("command", "7"),
        ("command", "\"\""),
        ("command", "[]"),
        ("command", "[\"\"]"),
        ("command", "\"a\\u0000\""),
        ("args", "[1]"),
        ("script", "\"../x\""),
        ("name", "1"),
        ("comment", "[]"),
        ("queue", "\".x\""),
        ("priority", "1.5"),
        ("priority", "9999999999"),
        ("cwd", "{}"),
        ("cwd", "\"a\\u0000\""),
        ("env", "[]"),
        ("umask", "\"9\""),
        ("umask", "18"),
        ("nice", "20"),
        ("nice", "-21"),
        ("stdin", "1"),
        ("stdin_base64", "\"?\""),
        ("files", "[]"),
        ("timeout", "-1"),
        ("timeout", "\"soon\""),
        ("timeout", "1e300"),
        ("grace", "[]"),
        ("warn", "-1"),
        ("warn", "\"1s=KILL\""),
        ("warn", "1"),
        ("tries", "0"),
        ("tries", "\"3\""),
        ("max_interruptions", "-1"),
        ("backoff", "3"),
        ("retry_on", "[256]"),
        ("retry_on", "1"),
        ("fail_on", "[-1]"),
        ("not_before", "\"tomorrow\""),
        ("expires", "7"),
        ("group", "1"),
        ("after", "[\"a/b\"]"),
        ("after_any", "7"),
        ("after_failed", "7"),
        ("once", "1"),
        ("tmp", "\"yes\""),
        ("split", "\"no\""),
        ("max_log", "-1"),
        ("max_log", "\"1Q\""),
        ("limits", "[]"),
        ("tags", "[1]"),
        ("created_at", "\"x\""),
        ("started_at", "1"),
        ("finished_at", "1"),
        ("retry_at", "1"),
        ("attempt", "-1"),
        ("interruptions", "-1"),
        ("pid", "0"),
        ("exit_code", "256"),
        ("signal", "0"),
        ("reason", "\"why\""),
        ("error", "1"),
        ("duration", "\"1s\""),
        ("duration", "1e999"),
        ("cpu", "[]"),
        ("max_rss", "-1"),
        ("output", "1"),
        ("log_bytes", "-1"),
        ("attempts", "{}"),
        ("attempts", "[1]"),
        ("proc", "[]"),
        ("url", "1"),
        ("headers", "[]"),
        ("dialect", "\"qmd\""),
        ("sign", "1"),
        ("callback_url", "\"\""),
        ("on_finish", "[]"),
        ("status_code", "99"),
        ("user", "\"www-data\""),
        ("sandbox", "true"),
        ("sandbox.sytem", r#"{"sytem": true}"#),
        ("sandbox.ro", r#"{"ro": "/srv"}"#),
        ("sandbox.ro", r#"{"ro": ["srv"]}"#),
        ("sandbox.rw", r#"{"rw": ["$PIRN_TMPS"]}"#),
        ("sandbox.rwf", r#"{"rwf": ["a\u0000"]}"#),
        ("sandbox", r#"{"ro": [], "network": "none"}"#),
        ("sandbox.network", r#"{"network": "tcp"}"#),
        ("sandbox.network.conect", r#"{"network": {"conect": [1]}}"#),
        (
            "sandbox.network.connect",
            r#"{"network": {"connect": [0]}}"#,
        ),
        ("sandbox.network.bind", r#"{"network": {"bind": [65536]}}"#),
        ("sandbox.network.udp", r#"{"network": {"udp": [53]}}"#),
        ("sandbox.syscalls", r#"{"syscalls": "few"}"#),
        ("sandbox.namespaces", r#"{"namespaces": 1}"#),
        ("sandbox.private_tmp", r#"{"private_tmp": true}"#),
        ("sandbox.best_effort", r#"{"best_effort": "yes"}"#),
        ("resources", "[]"),
        ("resources.memroy", r#"{"memroy": "1G"}"#),
        ("resources.memory", r#"{"memory": 0}"#),
        ("resources.swap", r#"{"swap": -1}"#),
        ("resources.tasks", r#"{"tasks": 0}"#),
        ("resources.cpu", r#"{"cpu": 0}"#),
        ("resources.cpu", r#"{"cpu": "1"}"#),
        ("resources.cpu_weight", r#"{"cpu_weight": 10001}"#),
        ("resources.io_weight", r#"{"io_weight": 0}"#),
        ("sandboxed", "[]"),
        ("oom", "1"),
    ];
    for (field, value) in wrong {
        let work = if field == "command" || field == "script" {
            ""
        } else {
            "\"command\": \"true\","
        };
        let key = field.split('.').next().unwrap();
        let error = Record::from_json(&format!("{{{work}\n\"{key}\": {value}}}")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("{field}: ")),
            "{field} = {value}: {text}"
        );
        if let RecordError::Json(error) = error {
            assert_eq!(
                (error.field.as_str(), error.line),
                (field, 2),
                "{field} = {value}"
            );
        }
    }
}

#[test]
fn mistakes_inside_a_field_are_named_with_their_path() {
    for (fields, path) in [
        (r#""env": {"A": "1", "A": "2"}"#, "env.A"),
        (r#""env": {"A": 1}"#, "env.A"),
        (r#""env": {"A=B": "1"}"#, "env.A=B"),
        (r#""files": {"a": "x", "a": "y"}"#, "files.a"),
        (r#""files": {"../a": "x"}"#, "files.../a"),
        (r#""files": {"a": {"base64": "?"}}"#, "files.a.base64"),
        (r#""files": {"a": {"base65": ""}}"#, "files.a"),
        (r#""backoff": {"factor": 0.5}"#, "backoff.factor"),
        (r#""backoff": {"fist": "1s"}"#, "backoff.fist"),
        (r#""limits": {"nofiles": 1}"#, "limits.nofiles"),
        (r#""limits": {"nofile": -1}"#, "limits.nofile"),
        (r#""slots": 0"#, "slots"),
        (r#""use": {"gpu": 0}"#, "use.gpu"),
        (r#""use": {"GPU": 1}"#, "use.GPU"),
        (r#""attempts": [{"reason": "x"}]"#, "attempts.reason"),
        (r#""proc": {"pid": -1}"#, "proc.pid"),
        (r#""stdin": "a", "stdin_base64": "YQ==""#, "stdin_base64"),
        (r#""tries": 1, "tries": 1"#, "tries"),
        (r#""x-mine": 1, "x-mine": 1"#, "x-mine"),
        (r#""tries": 1, "trie\u0073": 1"#, "tries"),
    ] {
        match Record::from_json(&format!("{{\"command\": \"true\", {fields}}}")) {
            Err(RecordError::Json(e)) => assert_eq!(e.field, path, "{fields}: {e}"),
            other => panic!("{fields}: {other:?}"),
        }
    }
}

#[test]
fn null_is_as_if_it_were_not_there() {
    let plain = whole(&read(r#"{"command": "true"}"#));
    for field in [
        "script", "args", "env", "stdin", "timeout", "retry_on", "after", "tmp", "url", "id",
        "result", "proc",
    ] {
        let text = format!("{{\"command\": \"true\", \"{field}\": null}}");
        assert_eq!(whole(&read(&text)), plain, "{field}");
    }
}

/// A record as `pirn show` prints it may be dropped again; the directory that it then lies in is its state.
#[test]
fn state_is_no_field() {
    let record = read(r#"{"command": "true"}"#);
    let shown = record.to_json_in(State::Failed);
    assert!(shown.contains("\"state\": \"failed\""));
    let again = read(&shown);
    assert_eq!(whole(&again), whole(&record));
    assert_eq!(
        again
            .to_json_in(State::Pending)
            .matches("\"state\"")
            .count(),
        1
    );
}

#[test]
fn exactly_one_kind_of_work() {
    for (text, word) in [
        ("{}", "nothing to run"),
        (r#"{"args": ["a"]}"#, "nothing to run"),
        (r#"{"command": "a", "script": "b"}"#, "more than one"),
        (r#"{"url": "a", "script": "b"}"#, "more than one"),
        (r#"{"headers": {}, "script": "b"}"#, "headers"),
        (r#"{"command": ["a"], "args": ["b"]}"#, "args"),
    ] {
        let error = Record::from_bytes(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let work = Work::Script {
        name: JobId::new("b").unwrap(),
        args: vec!["c".to_owned()],
    };
    assert_eq!(read(r#"{"args": ["c"], "script": "b"}"#).work, work);
}

#[test]
fn text_is_taken_as_it_is() {
    for text in [
        "make -C /src",
        "#!/bin/sh\nexec true\n",
        " {echo a; }",
        "é\n\n",
        "[1]",
        "\"x\"",
    ] {
        let record = read(text);
        assert_eq!(record.work, Work::Text(text.to_owned()));
        assert_eq!(read(&record.to_json()).work, record.work);
    }
    for empty in ["", " ", "\n\t\n"] {
        assert_eq!(
            Record::from_bytes(empty.as_bytes()).unwrap_err(),
            RecordError::Empty
        );
    }
    for bytes in [&b"ab\0c"[..], b"\xff\xfe", b"echo \xe9"] {
        assert_eq!(Record::from_bytes(bytes).unwrap_err(), RecordError::NotText);
    }
}

#[test]
fn deep_nesting_is_refused_wherever_it_is() {
    let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    for key in ["x", "command", "env", "attempts"] {
        let text = format!("{{\"command\": \"true\", \"{key}\": {}}}", nest(100_000));
        let error = Record::from_bytes(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("nested deeper"),
            "{key}: {error}"
        );
    }
    let text = format!("{{\"command\": \"true\", \"x\": {}}}", nest(99));
    assert_eq!(read(&read(&text).to_json()).extra[0].1.get(), nest(99));
}

#[test]
fn settings_that_switch_off() {
    let text = r#"{"command": "true", "timeout": 0, "warn": "0", "max_log": 0, "tmp": "keep"}"#;
    let record = read(text);
    for record in [&record, &read(&record.to_json())] {
        assert_eq!(
            (record.timeout, record.max_log, record.tmp),
            (Setting::Off, Setting::Off, Scratch::Keep)
        );
        assert_eq!(record.warn, Setting::Off);
    }
}

#[test]
fn warnings_are_kept() {
    let text = r#"{"command": "true", "timeout": 60, "warn": "30s=SIGHUP"}"#;
    let warn = read(&read(text).to_json()).warn;
    let before = Duration::from_secs(30);
    assert_eq!(
        warn,
        Setting::Set(Warning {
            before,
            signal: "HUP"
        })
    );
}
