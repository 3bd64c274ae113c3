//! The documentation against the source: it is an error if one of them names something that the other lacks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn none(what: &str, missing: Vec<String>) {
    assert!(missing.is_empty(), "{what}:\n  {}", missing.join("\n  "));
}

/// The words of the macro lines of a man page, without the markup of dashes.
fn macro_words(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('.') && !line.starts_with(".\\\""))
        .flat_map(str::split_whitespace)
        .map(|word| {
            word.replace("\\-", "-")
                .trim_matches(['"', ',', ';'])
                .to_owned()
        })
        .collect()
}

/// The quoted words that `line` of the source has before `=>`: `"a" | "b" =>`.
fn arms(source: &str) -> BTreeSet<String> {
    let name = |word: &str| {
        let inner = word.strip_prefix('"')?.strip_suffix('"')?;
        let is_name = inner
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        (is_name && !inner.is_empty()).then(|| inner.to_owned())
    };
    source
        .lines()
        .filter_map(|line| line.split_once("=>"))
        .flat_map(|(head, _)| head.split('|').map(str::trim).filter_map(name))
        .collect()
}

/// The words of `const NAME: [&str; N] = [...]`.
fn list(source: &str, name: &str) -> BTreeSet<String> {
    let head = format!("const {name}: [&str;");
    let rest = source
        .split_once(&head)
        .unwrap_or_else(|| panic!("there is no {name}"))
        .1;
    let body = rest.split_once("= [").unwrap().1.split_once(']').unwrap().0;
    body.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The words that are not among those of the page.
fn missing(page: &BTreeSet<String>, words: &BTreeSet<String>) -> Vec<String> {
    words.difference(page).cloned().collect()
}

/// The code before its tests.
fn shipped(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn every_exit_code_is_in_the_manual() {
    let page = read("doc/pirn.1");
    let codes: BTreeSet<String> = read("src/cli/exit.rs")
        .lines()
        .filter(|line| line.contains("const ") && line.contains(": u8 ="))
        .filter_map(|line| line.rsplit_once("= "))
        .map(|(_, code)| code.trim_end_matches(';').to_owned())
        .collect();
    assert!(codes.len() > 5);
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It "))
        .map(str::to_owned)
        .collect();
    none("exit codes", missing(&documented, &codes));
}

#[test]
fn every_variable_of_a_job_is_in_the_manual() {
    let page = macro_words(&read("doc/pirn.1"));
    let sources = files("src")
        .into_iter()
        .filter(|path| path.ends_with(".rs"));
    let text: String = sources.map(|path| read(&path)).collect();
    let rests = text.split("put(\"").skip(1);
    let variables: BTreeSet<String> = rests
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(str::to_owned)
        .collect();
    assert!(variables.contains("PIRN_ID"));
    none("variables", missing(&page, &variables));
}

#[test]
fn every_record_field_is_in_the_manual() {
    let page = macro_words(&read("doc/pirn-spool.5"));
    let source = read("src/core/record/read.rs");
    let source = shipped(&source);
    let mut fields = arms(source);
    fields.extend(list(source, "UNSUPPORTED"));
    for other in ["src/core/record/call.rs", "src/core/retry.rs"] {
        fields.extend(arms(&read(other)));
    }
    let sandbox = read("src/core/sandbox/read.rs");
    for name in ["FIELDS", "PORT_FIELDS", "RESOURCE_FIELDS"] {
        fields.extend(list(&sandbox, name));
    }
    assert!(fields.contains("not_before") && fields.contains("log_offset"));
    none("record fields", missing(&page, &fields));

    let record = read("src/core/record/mod.rs");
    none("limits", missing(&page, &list(&record, "LIMIT_NAMES")));
    let words: BTreeSet<String> = record
        .lines()
        .filter(|line| line.trim_start().starts_with("Self::"))
        .filter_map(|line| line.split_once("=> \""))
        .filter_map(|(_, word)| word.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(words.contains("log_limit") && words.contains("pending"));
    none("reasons and states", missing(&page, &words));
}

#[test]
fn every_setting_is_in_the_manual() {
    let page = macro_words(&read("doc/pirn-spool.5"));
    let source = read("src/core/config/mod.rs");
    let source = shipped(&source);
    let mut fields = arms(source);
    for name in ["FIELDS", "QUEUE_FIELDS", "DEFAULTS_FIELDS"] {
        fields.extend(list(source, name));
    }
    let http = read("src/core/config/http.rs");
    fields.extend(arms(shipped(&http)));
    fields.extend(list(&http, "HTTP_FIELDS"));
    let remote = read("src/core/config/remote.rs");
    fields.extend(list(&remote, "REMOTE_FIELDS"));
    assert!(fields.contains("keep_bytes") && fields.contains("max_log"));
    assert!(fields.contains("anonymous"));
    none("settings", missing(&page, &fields));
}

/// Every file below a directory, by its path from the top.
fn files(dir: &str) -> Vec<String> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let paths = fs::read_dir(full).unwrap().map(|entry| entry.unwrap());
    paths
        .flat_map(|entry| {
            let name = format!("{dir}/{}", entry.file_name().display());
            match entry.file_type().unwrap().is_dir() {
                true => files(&name),
                false => vec![name],
            }
        })
        .collect()
}

/// Links, and files that are named between backticks, from the top or from `src/` or `tests/`.
#[test]
fn what_is_linked_and_named_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut gone = Vec::new();
    let mut n = 0;
    for page in files("doc").into_iter().chain(["README.md".to_owned()]) {
        // The list of changes names files of its time.
        if !page.ends_with(".md") || page.ends_with("CHANGES.md") {
            continue;
        }
        let text = read(&page);
        let dir = top.join(&page).parent().unwrap().to_owned();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            n += 1;
            if !dir.join(link).exists() {
                gone.push(format!("{page}: {link}"));
            }
        }
        let quoted = text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        let is_ours = |name: &&str| {
            name.contains('/') && (name.ends_with(".rs") || name.starts_with("contrib"))
        };
        for name in quoted
            .filter(is_ours)
            .filter_map(|name| name.split(' ').next())
        {
            n += 1;
            if !["", "src", "tests"]
                .iter()
                .any(|dir| top.join(dir).join(name).exists())
            {
                gone.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(n > 50, "only {n} names were found");
    none("not there", gone);
}

#[test]
fn every_dependency_says_why() {
    let map = read("doc/ARCHITECTURE.md");
    let explained: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`:"))
        .map(|(name, _)| name.to_owned())
        .collect();
    let manifest = read("Cargo.toml");
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once('=')
        {
            names.insert(name.trim().to_owned());
        }
    }
    assert!(names.len() > 5);
    none("dependencies", missing(&explained, &names));
    none("no dependency any more", missing(&names, &explained));
}

/// The manual pages are well formed, if mandoc is installed.
#[test]
fn the_manual_is_well_formed() {
    for page in ["doc/pirn.1", "doc/pirn-spool.5"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let output = Command::new("mandoc")
            .args(["-Tlint", "-Wwarning"])
            .arg(&path)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success() && said.is_empty(), "{said}");
            }
            Err(_) => eprintln!("skipped: mandoc is not installed"),
        }
    }
}

#[test]
fn the_checks_find_what_is_missing() {
    let source = "match key {\n \"a\" | \"b_c\" => 1,\n \"D\" => 2,\n _ => 3 }";
    assert_eq!(arms(source).into_iter().collect::<Vec<_>>(), ["a", "b_c"]);
}
