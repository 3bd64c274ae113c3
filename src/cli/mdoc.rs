//! Texts of the help as mdoc(7), the language of manual pages.
#![allow(clippy::panic)]

use super::help::{ManualPage, TOPICS};
use std::collections::BTreeSet;

/// A page has a line, or more, for each sentence.
pub fn sentences(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let begins = word.starts_with(|c: char| c.is_uppercase() || "`$-".contains(c));
        let last = out.len() - 1;
        if begins && out[last].ends_with(['.', '?']) {
            out.push(word.to_owned());
            continue;
        }
        if !out[last].is_empty() {
            out[last].push(' ');
        }
        out[last].push_str(word);
    }
    out.retain(|sentence| !sentence.is_empty());
    out
}

/// The longest line of text.
const WIDTH: usize = 80;

/// A sentence as mdoc(7): names, paths and the like as macros, on lines of their own.
pub fn roff(sentence: &str, values: &[&str]) -> String {
    let (mut out, mut line) = (String::new(), String::new());
    let flush = |line: &mut String, out: &mut String| {
        if !line.is_empty() {
            let guard = if line.starts_with(['.', '\'']) {
                "\\&"
            } else {
                ""
            };
            out.push_str(&format!("{guard}{line}\n"));
            line.clear();
        }
    };
    for token in tokens(sentence) {
        let open = &token[..token.len() - token.trim_start_matches('(').len()];
        let rest = &token[open.len()..];
        let mut core = rest;
        // A page of the manual ends in a bracket of its own.
        while mark(core, values).is_none()
            && let Some(shorter) = core.strip_suffix(['.', ',', ';', ':', '?', ')'])
        {
            core = shorter;
        }
        if let Some((name, words)) = mark(core, values) {
            flush(&mut line, &mut out);
            let spaced = |text: &str| text.chars().map(|c| format!(" {c}")).collect::<String>();
            let (before, after) = (spaced(open), spaced(&rest[core.len()..]));
            out.push_str(&format!(".{name}{before} {words}{after}\n"));
            continue;
        }
        let token = token.replace('\\', "\\e");
        if line.len() + token.len() >= WIDTH {
            flush(&mut line, &mut out);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&token);
    }
    flush(&mut line, &mut out);
    out
}

/// Words; what is between backticks is one.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut is_quoted = false;
    for word in text.split(' ') {
        match out.last_mut().filter(|_| is_quoted) {
            Some(last) => last.push_str(&format!(" {word}")),
            None => out.push(word.to_owned()),
        }
        is_quoted ^= word.matches('`').count() % 2 == 1;
    }
    out
}

/// The macro for a word, with its arguments.
fn mark(word: &str, values: &[&str]) -> Option<(&'static str, String)> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_-".contains(c))
    };
    let is_upper = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
    };
    if let Some(inner) = word
        .strip_prefix('`')
        .and_then(|word| word.strip_suffix('`'))
    {
        if let Some(topic) = inner.strip_prefix("pirn help ") {
            return Some(section(topic));
        }
        if let Some(flag) = inner.strip_prefix("--").filter(|flag| is_name(flag)) {
            return Some(("Fl", format!("-{flag}")));
        }
        let variable = inner.strip_prefix('$').filter(|name| is_upper(name));
        let is_path =
            inner.contains('/') && !inner.contains([' ', '=', '*']) && !inner.contains("://");
        return Some(match variable {
            Some(name) => ("Ev", name.to_owned()),
            None if inner.starts_with("pirn ") && is_name(&inner[5..]) => {
                ("Nm", format!("pirn Cm {}", &inner[5..]))
            }
            None if is_path || inner.contains(".json") || inner.contains(".log") => {
                ("Pa", escaped(inner))
            }
            None if inner.contains(['.', '_']) && is_name(&inner.replace('.', "")) => {
                ("Va", inner.to_owned())
            }
            None if is_name(inner) => ("Cm", inner.to_owned()),
            None => ("Ql", escaped(inner)),
        });
    }
    if let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) {
        let name = flag.strip_prefix('-').unwrap_or(flag);
        let is_flag = is_name(name) && (name.len() < flag.len() || name.len() == 1);
        return is_flag.then(|| ("Fl", flag.to_owned()));
    }
    if let Some(name) = word.strip_prefix('$').filter(|name| is_upper(name)) {
        return Some(("Ev", name.to_owned()));
    }
    if let Some((name, rest)) = word.split_once('(')
        && let Some(section) = rest.strip_suffix(')')
        && section.len() == 1
        && section.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some(("Xr", format!("{name} {section}")));
    }
    if word.strip_prefix("SIG").is_some_and(is_upper) {
        return Some(("Dv", word.to_owned()));
    }
    values.contains(&word).then(|| ("Ar", word.to_lowercase()))
}

/// The words of a literal text: none of them is a macro or punctuation.
fn escaped(text: &str) -> String {
    let word = |word: &str| {
        let is_macro = word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
        let is_mark = word.len() == 1 && !word.starts_with(|c: char| c.is_alphanumeric());
        let guard = if is_macro || is_mark { "\\&" } else { "" };
        format!("{guard}{}", word.replace('\\', "\\e").replace('"', "\\(dq"))
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The part of the manual that `pirn help TOPIC` prints.
fn section(topic: &str) -> (&'static str, String) {
    let found = TOPICS.iter().find(|(name, _, _)| *name == topic);
    match found.unwrap_or_else(|| panic!("there is no topic {topic}")) {
        (_, ManualPage::Commands, heading) => ("Sx", (*heading).to_owned()),
        (_, ManualPage::Spool, _) => ("Xr", "pirn-spool 5".to_owned()),
    }
}

/// The long options that a page names: `Fl -name`, or `Fl a , Fl -name`.
pub fn page_options(page: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with('.')) {
        let line = line.replace("\\-", "-");
        let mut is_flag = false;
        for word in line.trim_start_matches('.').split_whitespace() {
            match word {
                "Fl" => is_flag = true,
                "Ar" | "Op" | "Cm" | "Pq" | "Nm" | "No" | "Va" | "It" => is_flag = false,
                _ if is_flag => options.extend(word.strip_prefix('-').map(str::to_owned)),
                _ => {}
            }
        }
    }
    options
}

#[test]
fn help_becomes_mdoc() {
    let values = ["PATH", "KEY=VALUE"];
    for (text, expected) in [
        ("As --ro, for a PATH.", "As\n.Fl -ro ,\nfor a\n.Ar path .\n"),
        ("Give it ($PIRN_TMP).", "Give it\n.Ev ( PIRN_TMP ) .\n"),
        (
            "See `pirn help times`; sh(1) waits.",
            "See\n.Sx Times ;\n.Xr sh 1\nwaits.\n",
        ),
        (
            "In `/etc` and `a + \"b\"`, `none`",
            "In\n.Pa /etc\nand\n.Ql a \\&+ \\(dqb\\(dq ,\n.Cm none\n",
        ),
        ("(sd_notify(3)), `a.b`", ".Xr ( sd_notify 3 ) ,\n.Va a.b\n"),
        (
            "From SIGTERM to `-`, as -f",
            "From\n.Dv SIGTERM\nto\n.Ql \\&- ,\nas\n.Fl f\n",
        ),
        (".Dot at first", "\\&.Dot at first\n"),
    ] {
        assert_eq!(roff(text, &values), expected);
    }
    let named = page_options(".It Fl q , Fl -queue Ar name\n.Op Fl -only Ar -x\nFl -text\n");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["only", "queue"]);
    assert_eq!(sentences("A is. B is. as 1. c"), ["A is.", "B is. as 1. c"]);
}
