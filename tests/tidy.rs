//! The source, read as text: layers import downward only, `unsafe` stays at the rim, the core stays pure, and
//! what must not be in a program that runs unattended is not in it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers with their heights: a layer may import itself and what is strictly lower.
const LAYERS: [(&str, u8); 7] = [
    ("core", 0),
    ("os", 1),
    ("spool", 2),
    ("daemon", 3),
    ("http", 4),
    ("remote", 4),
    ("cli", 5),
];

/// What `src/core` must not know of.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::process",
    "std::net",
    "std::thread",
    "std::env",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
    "libc",
    "nix",
];

const MOST_LINES: usize = 600;
const MANY_LINES: usize = 300;

/// A source file, in the forms that the rules look at. All of them have the lines of the file.
struct Source {
    /// From `src/`, with slashes.
    name: String,
    text: String,
    /// Without comments, strings and characters.
    code: String,
    /// Of that, without what is compiled for tests only.
    shipped: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        let code = code_of(text);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            shipped: without_tests(&code).0,
            code,
        }
    }

    fn layer(&self) -> Option<&str> {
        let first = self.name.split('/').next().unwrap_or("");
        first
            .strip_suffix(".rs")
            .or(Some(first))
            .filter(|name| height(name).is_some())
    }

    /// How deep the file's module lies below the crate's root.
    fn depth(&self) -> usize {
        let parts = self.name.split('/').count();
        let is_mod = self.name.ends_with("/mod.rs");
        parts - usize::from(is_mod)
    }
}

fn height(layer: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == layer)
        .map(|(_, height)| *height)
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

/// All of `src/`. A file that is a test module counts as not shipped at all.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut tests = BTreeSet::new();
    let mut sources = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let dir = match path.file_stem().unwrap().to_str().unwrap() {
            "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        for module in without_tests(&code_of(&text)).1 {
            tests.insert(dir.join(format!("{module}.rs")));
        }
        sources.push((path.clone(), Source::new(name, &text)));
    }
    assert!(sources.len() > 20, "src/ was not found");
    sources
        .into_iter()
        .map(|(path, mut source)| {
            if tests.contains(&path) {
                source.shipped = "\n".repeat(source.text.lines().count());
            }
            source
        })
        .collect()
}

/// The text with comments, strings and characters blanked out; newlines stay.
fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    let at = |i: usize| bytes.get(i).copied().unwrap_or('\0');
    let blank = |code: &mut String, from: usize, to: usize| {
        for c in &bytes[from..to.min(bytes.len())] {
            code.push(if *c == '\n' { '\n' } else { ' ' });
        }
    };
    while i < bytes.len() {
        let start = i;
        let in_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let raw = raw_string(&bytes, i).filter(|_| !in_word);
        if at(i) == '/' && at(i + 1) == '/' {
            while i < bytes.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 1;
            i += 2;
            while i < bytes.len() && depth > 0 {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
            }
        } else if let Some(end) = raw {
            i = end;
        } else if at(i) == '"' {
            i += 1;
            while i < bytes.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < bytes.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            code.push(at(i));
            i += 1;
            continue;
        }
        blank(&mut code, start, i);
    }
    code
}

/// Where the raw string that begins here ends.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut i = start;
    if matches!(chars.get(i), Some('b' | 'c')) {
        i += 1;
    }
    if chars.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < chars.len() {
        let closes =
            chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// The code with each item under `#[cfg(test)]` blanked out, and the test modules that are files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code.to_owned();
    let mut files = Vec::new();
    while let Some(start) = rest.find(MARK) {
        let tail = &rest[start + MARK.len()..];
        let stop = tail.find([';', '{']).unwrap_or(tail.len());
        let end = if tail[stop..].starts_with('{') {
            let mut depth = 0;
            let length = tail[stop..].char_indices().find_map(|(i, c)| {
                depth += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                (depth == 0).then_some(i + 1)
            });
            stop + length.unwrap_or(tail.len() - stop)
        } else {
            files.extend(
                tail[..stop]
                    .split_whitespace()
                    .skip_while(|word| *word != "mod")
                    .nth(1)
                    .map(str::to_owned),
            );
            (stop + 1).min(tail.len())
        };
        let range = start..start + MARK.len() + end;
        let blank: String = rest[range.clone()]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        rest.replace_range(range, &blank);
    }
    (rest, files)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every path in the code with its line: those written out, and those that `use` trees mean.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut chars = code.char_indices().peekable();
    let mut previous = ' ';
    while let Some((start, c)) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        if !is_word(c) || is_word(previous) || c.is_ascii_digit() {
            previous = c;
            continue;
        }
        previous = c;
        let tail = &code[start..];
        if let Some(tree) = tail.strip_prefix("use ") {
            let tree = &tree[..tree.find(';').unwrap_or(tree.len())];
            expand("", tree, &mut |path| found.push((line, path)));
            line += tree.matches('\n').count();
            while chars
                .peek()
                .is_some_and(|(i, _)| *i < start + 4 + tree.len())
            {
                chars.next();
            }
            previous = ' ';
            continue;
        }
        let end = tail.find(|c| !is_word(c) && c != ':').unwrap_or(tail.len());
        let path = tail[..end].trim_end_matches(':');
        if path.contains("::") {
            found.push((line, path.to_owned()));
            // The parts of this path are not paths of their own.
            while chars.peek().is_some_and(|(i, _)| *i < start + path.len()) {
                previous = chars.next().map_or(previous, |(_, c)| c);
            }
        }
    }
    found
}

/// Writes out a `use` tree.
fn expand(prefix: &str, tree: &str, each: &mut dyn FnMut(String)) {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => {
            let path = tree.split_whitespace().next().unwrap_or("");
            if !path.is_empty() {
                each(format!("{prefix}{path}"));
            }
        }
        Some((head, inside)) => {
            let prefix = format!("{prefix}{}", head.trim());
            let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
            let (mut depth, mut from) = (0, 0);
            for (i, c) in inside.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        expand(&prefix, &inside[from..i], each);
                        from = i + 1;
                    }
                    _ => {}
                }
            }
            expand(&prefix, &inside[from..], each);
        }
    }
}

/// The lines in which `wanted` stands as a word of its own.
fn lines_with(code: &str, wanted: &str) -> Vec<usize> {
    let has = |line: &str| {
        line.match_indices(wanted).any(|(i, _)| {
            let before = line[..i].chars().next_back().is_none_or(|c| !is_word(c));
            let after = line[i + wanted.len()..].chars().next();
            let open_ended = !wanted.ends_with(is_word);
            before && (open_ended || after.is_none_or(|c| !is_word(c)))
        })
    };
    code.lines()
        .enumerate()
        .filter(|(_, line)| has(line))
        .map(|(i, _)| i + 1)
        .collect()
}

/// Fails with all that a rule found, at once.
fn report(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

fn check(rule: &str, of_file: impl Fn(&Source) -> Vec<String>) {
    report(rule, sources().iter().flat_map(of_file).collect());
}

fn upward_imports(source: &Source) -> Vec<String> {
    let Some(layer) = source.layer() else {
        return Vec::new();
    };
    let own = height(layer).unwrap();
    let mut found = Vec::new();
    for (line, path) in paths(&source.code) {
        let mut parts = path.split("::").filter(|part| *part != "self");
        if parts.next() == Some("crate") {
            let target = parts.next().unwrap_or("");
            let allowed = target == layer || height(target).is_some_and(|other| other < own);
            if !allowed {
                found.push(format!("src/{}:{line}: {path}", source.name));
            }
        }
    }
    for (line, path) in paths(&source.shipped) {
        let supers = path.split("::").take_while(|part| *part == "super").count();
        if supers > 0 && supers >= source.depth() {
            found.push(format!(
                "src/{}:{line}: {path} leaves the layer",
                source.name
            ));
        }
    }
    found
}

fn impurities(source: &Source) -> Vec<String> {
    if source.layer() != Some("core") {
        return Vec::new();
    }
    let is_impure = |path: &str| {
        IMPURE
            .iter()
            .any(|bad| path == *bad || path.starts_with(&format!("{bad}::")))
            || path
                .split("::")
                .any(|part| part == "Instant" || part == "SystemTime")
            || path.ends_with("::now")
    };
    let mut found: Vec<String> = paths(&source.code)
        .into_iter()
        .filter(|(_, path)| is_impure(path))
        .map(|(line, path)| format!("src/{}:{line}: {path}", source.name))
        .collect();
    for word in ["Instant", "SystemTime"] {
        for line in lines_with(&source.code, word) {
            found.push(format!("src/{}:{line}: {word}", source.name));
        }
    }
    found
}

fn unsafe_inland(source: &Source) -> Vec<String> {
    if source.layer() == Some("os") {
        return Vec::new();
    }
    lines_with(&source.code, "unsafe")
        .into_iter()
        .map(|line| format!("src/{}:{line}", source.name))
        .collect()
}

/// `unsafe` without a comment that begins with SAFETY right above its statement.
fn unexplained(source: &Source) -> Vec<String> {
    let text: Vec<&str> = source.text.lines().collect();
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let explained = |line: usize| {
        // The statement may have begun some lines above.
        let above = (0..line).rev().take(5);
        let Some(comment) = above.into_iter().find(|i| is_comment(text[*i])) else {
            return false;
        };
        (0..=comment)
            .rev()
            .take_while(|i| is_comment(text[*i]))
            .any(|i| text[i].contains("SAFETY:"))
    };
    lines_with(&source.code, "unsafe")
        .into_iter()
        .filter(|line| !explained(line - 1))
        .map(|line| format!("src/{}:{line}", source.name))
        .collect()
}

/// Result::expect takes an argument; a method `expect()` of our own does not.
fn panics(source: &Source) -> Vec<String> {
    let code = &source.shipped;
    let mut found = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let unwraps = text.contains(".unwrap(") || text.contains("::unwrap(");
        let expects = text.match_indices("expect(").any(|(i, word)| {
            let before = text[..i].chars().next_back();
            matches!(before, Some('.' | ':')) && !text[i + word.len()..].starts_with(')')
        });
        if unwraps || expects {
            found.push(format!("src/{}:{}", source.name, line + 1));
        }
    }
    found
}

fn forbidden(source: &Source) -> Vec<String> {
    let in_code = [
        "pre_exec",
        "todo!",
        "unimplemented!",
        "dbg!",
        "panic!",
        "use super::*",
    ];
    let in_text = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let code = in_code.iter().flat_map(|word| {
        lines_with(&source.shipped, word)
            .into_iter()
            .map(move |line| (line, *word))
    });
    let text = in_text.iter().flat_map(|word| {
        lines_with(&source.text, word)
            .into_iter()
            .map(move |line| (line, *word))
    });
    code.chain(text)
        .map(|(line, word)| format!("src/{}:{line}: {word}", source.name))
        .collect()
}

#[test]
fn imports_go_downward() {
    check("a layer imports itself and lower ones only", upward_imports);
}

#[test]
fn every_directory_is_a_layer() {
    check("not in a layer", |source| {
        let is_root = matches!(source.name.as_str(), "lib.rs" | "main.rs");
        match source.layer() {
            None if !is_root => vec![format!("src/{}", source.name)],
            Some(_) | None => Vec::new(),
        }
    });
}

#[test]
fn main_knows_the_command_line_only() {
    let sources = sources();
    let main = sources.iter().find(|s| s.name == "main.rs").unwrap();
    let ours: Vec<_> = paths(&main.code)
        .into_iter()
        .filter(|(_, path)| path.starts_with("pirn::") || path.starts_with("crate::"))
        .map(|(_, path)| path)
        .collect();
    assert_eq!(ours, ["pirn::cli::main"]);
}

#[test]
fn the_core_is_pure() {
    check(
        "src/core knows no clock, file, process or thread",
        impurities,
    );
}

#[test]
fn unsafe_stays_at_the_rim() {
    check("unsafe outside src/os", unsafe_inland);
}

#[test]
fn every_unsafe_says_why_it_is_safe() {
    check("unsafe without SAFETY:", unexplained);
}

#[test]
fn nothing_shipped_unwraps() {
    check("unwrap or expect outside tests", panics);
}

#[test]
fn nothing_forbidden_or_unfinished() {
    check("must not be in src/", forbidden);
}

#[test]
fn files_are_of_a_size_to_read() {
    let lines: Vec<(usize, String)> = sources()
        .into_iter()
        .map(|source| (source.text.lines().count(), source.name))
        .collect();
    let too_long = lines.iter().filter(|(n, _)| *n > MOST_LINES);
    let list = too_long.map(|(n, name)| format!("src/{name}: {n} lines"));
    report("longer than 600 lines", list.collect());
    let long = lines.iter().filter(|(n, _)| *n > MANY_LINES).count();
    assert!(
        long * 4 <= lines.len(),
        "{long} of {} files are longer than {MANY_LINES} lines",
        lines.len()
    );
}

#[test]
fn the_rules_bite() {
    let bad = Source::new(
        "core/x.rs",
        "use crate::{os::dir, core::id};\nuse std::{io, fs::File};\nfn f() { unsafe { g() } crate::cli::main(); }\n",
    );
    assert_eq!(upward_imports(&bad).len(), 2);
    assert_eq!(impurities(&bad), ["src/core/x.rs:2: std::fs::File"]);
    assert_eq!(unsafe_inland(&bad), ["src/core/x.rs:3"]);
    assert_eq!(unexplained(&bad).len(), 1);
    let escapes = Source::new("core/mod.rs", "use super::cli;\n");
    assert_eq!(upward_imports(&escapes).len(), 1);
    let clock = Source::new("core/x.rs", "fn f() { let t = jiff::Timestamp::now(); }\n");
    assert_eq!(impurities(&clock).len(), 1);
    let panicky = "fn f() { x.unwrap(); y.expect(a); z.expect(); }\n#[cfg(test)]\nmod t { fn g() { x.unwrap() } }\n";
    assert_eq!(panics(&Source::new("os/x.rs", panicky)), ["src/os/x.rs:1"]);
    let two = Source::new("os/x.rs", "fn f() { x.pre_exec(); } // TO\n// FIXME\n");
    assert_eq!(forbidden(&two).len(), 2);
}

#[test]
fn code_is_told_from_text() {
    let code = code_of(
        "a \"unsafe \\\" b\" /* unsafe /* */ c */ 'x' '\\'' b'\"' r#\"unsafe\"# d<'e> // unsafe\nf",
    );
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "d<'e>", "f"]
    );
    let (shipped, files) = without_tests(
        "a\n#[cfg(test)]\n#[allow(x)]\nmod tests;\nb\n#[cfg(test)]\nmod t { { } }\nc",
    );
    assert_eq!(
        shipped.split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(files, ["tests"]);
    let found: Vec<String> = paths("use a::{b, c::{self, d as e}};\nx::y(z)")
        .into_iter()
        .map(|(line, path)| format!("{line} {path}"))
        .collect();
    assert_eq!(found, ["1 a::b", "1 a::c::self", "1 a::c::d", "2 x::y"]);
}
