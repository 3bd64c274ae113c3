//! The fuzz targets of `tests/fuzz` over their committed corpus, and over random changes of it.
//!
//! `PIRN_FUZZ_SECONDS=60 cargo test --test fuzz_corpus -- --nocapture` goes on for longer, `PIRN_FUZZ_SEED=n` begins
//! elsewhere. For a search that is guided by coverage, use `cargo fuzz`: see `tests/fuzz/Cargo.toml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "fuzz/bodies.rs"]
mod bodies;
#[path = "sim/dice.rs"]
#[allow(dead_code)]
mod dice;

use bodies::Body;
use dice::Dice;
use pirn::core::config::Config;
use pirn::core::record::Record;
// The source that is compiled in (`when.rs`) imports these from the root.
use pirn::{core, os};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Files = Vec<(String, Vec<u8>)>;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a whole number"))
}

/// The files of one target, by name.
fn corpus(target: &str) -> Files {
    let entries = fs::read_dir(directory().join("corpus").join(target)).unwrap();
    let mut files: Files = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The words of `tests/fuzz/dict`, which libFuzzer uses too.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(directory().join("dict")).unwrap();
    let quoted = text.lines().filter_map(|line| {
        let word = line.strip_prefix('"')?.strip_suffix('"')?;
        Some(
            word.replace("\\\"", "\"")
                .replace("\\\\", "\\")
                .into_bytes(),
        )
    });
    quoted.collect()
}

/// An input that is similar to those of the corpus.
fn change(dice: &mut Dice, files: &[(String, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = dice.pick(files).1.clone();
    for _ in 0..=dice.below(4) {
        let at = dice.index(input.len() + 1);
        let end = input.len().min(at + dice.index(16));
        match dice.below(8) {
            0 => drop(input.drain(at..end)),
            1 => input.truncate(at),
            2 => input.insert(at, dice.roll() as u8),
            3 => input.insert(at, *dice.pick(b"{}[]\",:\\0e-n \n~.")),
            4 => drop(input.splice(at..at, dice.pick(words).clone())),
            5 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            6 => {
                let other = &dice.pick(files).1;
                let from = dice.index(other.len() + 1);
                input.splice(at.., other[from..].to_vec());
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    input.truncate(4096);
    input
}

/// True if the body finds no error. The panic's own message has been printed by then.
fn passes(body: Body, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| body(input))).is_ok()
}

/// The first input that breaks a law within the time, and the number of inputs that were tried.
fn search(files: &Files, body: Body, seed: u64, time: Duration) -> (Option<Vec<u8>>, u64) {
    let (began, words, mut tried) = (Instant::now(), words(), 0);
    while began.elapsed() < time {
        // Each input has a seed of its own.
        let input = change(&mut Dice::new(seed + tried), files, &words);
        tried += 1;
        if !passes(body, &input) {
            return (Some(input), tried);
        }
    }
    (None, tried)
}

fn drive(target: &str) {
    let (_, body) = bodies::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .unwrap();
    let files = corpus(target);
    for (name, input) in &files {
        assert!(passes(*body, input), "{target}: corpus/{target}/{name}");
    }
    let seed = from_env("PIRN_FUZZ_SEED").unwrap_or(1);
    let time = Duration::from_secs(from_env("PIRN_FUZZ_SECONDS").unwrap_or(1));
    let (broken, tried) = search(&files, *body, seed, time);
    if let Some(input) = broken {
        let seed = seed + tried - 1;
        panic!(
            "{target}: PIRN_FUZZ_SEED={seed} breaks a law with b\"{}\"",
            input.escape_ascii()
        );
    }
    println!(
        "{target}: {} files and {tried} changes of them",
        files.len()
    );
}

#[test]
fn job_file() {
    drive("job_file");
}

#[test]
fn record() {
    drive("record");
}

#[test]
fn config() {
    drive("config");
}

#[test]
fn id() {
    drive("id");
}

#[test]
fn time_span() {
    drive("time_span");
}

#[test]
fn seq() {
    drive("seq");
}

#[test]
fn http_head() {
    drive("http_head");
}

#[cfg(feature = "url")]
#[test]
fn hq_body() {
    drive("hq_body");
}

#[cfg(feature = "sqs")]
#[test]
fn batch() {
    drive("batch");
}

#[test]
fn http_body() {
    drive("http_body");
}

#[test]
fn qmd() {
    drive("qmd");
}

#[test]
fn jobrunner() {
    drive("jobrunner");
}

/// The control: a law that does not hold is reported as broken.
#[test]
fn a_broken_law_is_found() {
    fn tries(data: &[u8]) -> Option<u32> {
        Record::from_bytes(data).ok()?.tries
    }
    fn few_tries(data: &[u8]) {
        if tries(data).is_some_and(|n| n > 9) {
            // Not by `panic!`: this one is intended, and its message would only confuse.
            std::panic::resume_unwind(Box::new(()));
        }
    }
    let files = vec![(
        String::new(),
        b"{\"command\": \"true\", \"tries\": 7}".to_vec(),
    )];
    assert!(passes(few_tries, &files[0].1));
    let (broken, tried) = search(&files, few_tries, 1, Duration::from_secs(60));
    assert!(tries(&broken.unwrap()).unwrap() > 9);
    println!("found after {tried}");
}

#[test]
fn the_corpus_is_small_and_every_target_has_one() {
    let (mut files, mut bytes) = (0, 0);
    for (target, _) in bodies::TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target}");
        files += corpus.len();
        bytes += corpus.iter().map(|(_, input)| input.len()).sum::<usize>();
        let source = directory().join(format!("fuzz_targets/{target}.rs"));
        assert!(source.exists(), "{target} has no target for libFuzzer");
    }
    assert!(
        files <= 40 * bodies::TARGETS.len() && bytes < 200_000,
        "{files} files, {bytes} bytes"
    );
}

/// libFuzzer's targets are not built here: their own manifest must name all crates that they use.
#[test]
fn the_targets_have_the_crates_that_they_use() {
    let manifest = fs::read_to_string(directory().join("Cargo.toml")).unwrap();
    let all = fs::read_to_string(directory().join("../../Cargo.toml")).unwrap();
    let crates = |text: &str| -> Vec<String> {
        let (_, rest) = text.split_once("[dependencies]\n").unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| line.split_once(" = "));
        names.map(|(name, _)| name.replace('-', "_")).collect()
    };
    let entries = fs::read_dir(directory()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    for file in files.clone() {
        let text = fs::read_to_string(file).unwrap();
        let paths = text
            .lines()
            .filter_map(|line| line.strip_prefix("#[path = \"../../src/"));
        let src = directory().join("../../src");
        files.extend(paths.map(|path| src.join(path.trim_end_matches("\"]"))));
    }
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for name in crates(&all) {
            let uses = text.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"_:".contains(c))
            });
            assert!(
                !uses || crates(&manifest).contains(&name),
                "{}: tests/fuzz/Cargo.toml has no {name}",
                file.display()
            );
        }
    }
}

/// A megabyte, the limit for a job file, of the same text again and again.
fn megabyte(before: &str, each: impl Fn(usize) -> String, after: &str) -> String {
    let mut text = String::with_capacity(1 << 20);
    text.push_str(before);
    for n in 0.. {
        let part = each(n);
        if text.len() + part.len() + after.len() > 1 << 20 {
            break;
        }
        text.push_str(&part);
    }
    text.truncate(text.trim_end_matches(',').len());
    text + after
}

/// One file must not keep the daemon from the others: the time to read it and to print it again is proportional to its
/// length.
#[test]
fn a_hostile_megabyte_is_read_at_once() {
    let same = |part: &str| {
        let part = part.to_owned();
        move |_: usize| part.clone()
    };
    let job = "{\"command\":\"true\",";
    let of = |field: &str, each: &dyn Fn(usize) -> String, after: &str| {
        megabyte(&format!("{job}{field}"), each, after)
    };
    let shapes = [
        ("tries", of("\"attempts\":[", &same("{},"), "]}")),
        (
            "broken tries",
            of("\"attempts\":[", &same("{},"), ",{\"signal\":0}]}"),
        ),
        (
            "files",
            of(
                "\"files\":{",
                &|n| format!("\"{n}\":{{\"base64\":\"\"}},"),
                "}}",
            ),
        ),
        ("unknown keys", of("", &|n| format!("\"k{n}\":{n},"), "}")),
        ("nulls", of("", &|n| format!("\"k{n}\":null,"), "}")),
        (
            "variables",
            of("\"env\":{", &|n| format!("\"k{n}\":\"\","), "}}"),
        ),
        ("one limit", of("\"limits\":{\"", &same("nofile"), "\":1}}")),
        ("one key", of("\"", &same("\\n"), "\":[]}")),
        ("tags", of("\"tags\":[", &same("\"\","), "]}")),
        ("ids", of("\"after\":[", &same("\"a\","), "]}")),
        ("exit codes", of("\"retry_on\":[", &same("1,"), "]}")),
        (
            "depth",
            of(
                "\"x\":[",
                &same(&format!("{}{},", "[".repeat(90), "]".repeat(90))),
                "]}",
            ),
        ),
        ("an open list", of("\"x\":[", &same("[],"), "")),
        ("digits", of("\"duration\":0.", &same("3"), "}")),
        ("a span", of("\"timeout\":\"", &same("1s "), "\"}")),
        ("a date", of("\"expires\":\"", &same("2026-"), "\"}")),
        ("base64", of("\"stdin_base64\":\"", &same("AAAA"), "\"}")),
        (
            "escapes",
            of("\"comment\":\"", &same("\\ud83d\\ude00"), "\"}"),
        ),
        ("lines", of("", &same("\n"), "\"tries\":0}")),
        ("a command", megabyte("", same("true; "), "")),
        ("control characters", megabyte("", same("\u{1}"), "")),
    ];
    for (name, text) in shapes {
        let began = Instant::now();
        if let Ok(record) = Record::from_bytes(text.as_bytes()) {
            assert!(record.to_json().len() > 10);
        }
        let took = began.elapsed();
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
    let queues = megabyte("{\"queues\":{", |n| format!("\"q{n}\":{{}},"), "}}");
    let typo = megabyte("{\"", same("slots"), "\":1}");
    for (name, text, is_good) in [("queues", queues, true), ("typo", typo, false)] {
        let began = Instant::now();
        assert_eq!(Config::parse(&text).is_ok(), is_good);
        let took = began.elapsed();
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}
