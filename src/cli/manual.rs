//! The parts of doc/pirn.1 that describe options are made of the help of the command line. They stand between the lines
//! `.\" Options of COMMAND` or `.\" Options of COMMAND: HEADING` and `.\" End of options`. All else in the page is
//! written by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::help::{ManualPage, TOPICS};
use super::whole_command;
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeSet;
use std::path::PathBuf;

const BEGIN: &str = ".\\\" Options of ";
const END: &str = ".\\\" End of options";

/// If this variable is set, the test writes the page.
const WRITE: &str = "PIRN_WRITE_MANUAL";

/// All visible commands by their names, as `pirn config set`.
fn commands() -> Vec<(String, Command)> {
    fn walk(command: &Command, name: String, all: &mut Vec<(String, Command)>) {
        for inner in command.get_subcommands() {
            if !inner.is_hide_set() && inner.get_name() != "help" {
                walk(inner, format!("{name} {}", inner.get_name()), all);
            }
        }
        all.push((name, command.clone()));
    }
    let mut command = whole_command();
    command.build();
    let mut all = Vec::new();
    walk(&command, "pirn".to_owned(), &mut all);
    all
}

/// The options of a command that a manual describes.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    options
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
}

fn texts(arg: &Arg) -> (String, String) {
    let text = |text: Option<_>| text.map(ToString::to_string).unwrap_or_default();
    let name = arg.get_long().map(str::to_owned);
    let name = name.or_else(|| arg.get_short().map(String::from));
    (
        name.unwrap_or_default(),
        text(arg.get_long_help().or(arg.get_help())),
    )
}

/// The page with these parts made anew, and the options that it describes, each with its text: two commands may have
/// the same option.
fn renewed(page: &str) -> (String, BTreeSet<(String, String)>) {
    let commands = commands();
    let (mut out, mut described) = (String::new(), BTreeSet::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(what) = line.strip_prefix(BEGIN) else {
            continue;
        };
        let (name, heading) = match what.split_once(": ") {
            Some((name, heading)) => (name, Some(heading)),
            None => (what, None),
        };
        let found = commands.iter().find(|(known, _)| known == name);
        let (_, command) = found.unwrap_or_else(|| panic!("{line}: there is no such command"));
        let is_top = ["pirn", "pirn qdone"].contains(&name);
        let here: Vec<&Arg> = options(command)
            .filter(|arg| arg.get_help_heading() == heading && (is_top || !arg.is_global_set()))
            .collect();
        assert!(!here.is_empty(), "{line}: there are no such options");
        for arg in here {
            out.push_str(&item(command, arg));
            described.insert(texts(arg));
        }
        assert!(lines.any(|line| line == END), "{line}: there is no end");
        out.push_str(END);
        out.push('\n');
    }
    (out, described)
}

/// An item of a list: the option, and its text.
fn item(command: &Command, arg: &Arg) -> String {
    let values: Vec<&str> = command
        .get_arguments()
        .filter_map(|arg| {
            let is_valued = arg.is_positional() || arg.get_action().takes_values();
            arg.get_value_names()
                .filter(|_| is_valued)
                .and_then(|names| Some(names.first()?.as_str()))
        })
        .collect();
    let own = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values());
    let before = match arg
        .get_num_args()
        .is_some_and(|number| number.min_values() == 0)
    {
        true => "Ns Op = Ns Ar",
        false => "Ar",
    };
    let value = own.map(|names| {
        format!(
            " {before} {}",
            names
                .join(" ")
                .to_lowercase()
                .replace("[=", " Ns Op = Ns Ar ")
                .replace(']', "")
        )
    });
    let value = value.unwrap_or_default();
    let short = arg.get_short().map(|letter| format!("Fl {letter}{value}"));
    let long = arg.get_long().map(|long| format!("Fl -{long}{value}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let mut out = format!(".It {}\n", flags.join(" , "));
    let (_, text) = texts(arg);
    for (n, paragraph) in text.split("\n\n").enumerate() {
        let (paragraph, aside) = match n {
            0 => first(arg, paragraph),
            1 => (paragraph.to_owned(), String::new()),
            _ => {
                out.push_str(".Pp\n");
                (paragraph.to_owned(), String::new())
            }
        };
        for text in [paragraph, aside] {
            for sentence in sentences(&text) {
                out.push_str(&roff(&sentence, &values));
            }
        }
    }
    out
}

/// The first paragraph as a sentence, and what its brackets say in sentences of their own.
fn first(arg: &Arg, text: &str) -> (String, String) {
    let mut aside = String::new();
    let defaults = arg
        .get_default_values()
        .iter()
        .map(|value| value.display().to_string());
    let mut default = defaults.map(|value| format!("`{value}`")).next();
    let mut text = text.trim_end_matches('.');
    if let Some((rest, named)) = text.split_once(" [default: ") {
        default = Some(named.trim_end_matches(']').to_owned());
        text = rest;
    }
    if let Some(rest) = text.strip_suffix(" (repeat)") {
        aside.push_str("May be repeated. ");
        text = rest;
    } else if let Some(rest) = text.strip_suffix(" (repeat, or separate with commas)") {
        aside.push_str("May be repeated, or take several with commas between them. ");
        text = rest;
    } else if matches!(arg.get_action(), ArgAction::Append) && !text.contains("repeat") {
        aside.push_str("May be repeated. ");
    }
    if let Some(default) = default.filter(|_| arg.get_action().takes_values()) {
        aside.push_str(&format!("The default is {default}."));
    }
    (format!("{text}."), aside)
}

/// A page has a line, or more, for each sentence.
fn sentences(text: &str) -> Vec<String> {
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
fn roff(sentence: &str, values: &[&str]) -> String {
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

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/pirn.1"))
}

#[test]
fn the_manual_has_the_options() {
    let page = std::fs::read_to_string(path()).unwrap();
    let (right, described) = renewed(&page);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path(), right).unwrap();
    } else if let Some((is, should)) = page.lines().zip(right.lines()).find(|(a, b)| a != b) {
        panic!(
            "doc/pirn.1 is not what the help says:\n  {is}\nshould be\n  {should}\n\
             {WRITE}=1 cargo test --lib the_manual_has_the_options\nwrites it; then look at the difference"
        );
    } else {
        assert_eq!(page.len(), right.len(), "{WRITE}=1 makes doc/pirn.1 right");
    }
    let (mut gaps, mut names) = (
        Vec::new(),
        BTreeSet::from(["help".to_owned(), "version".to_owned()]),
    );
    for (name, command) in commands() {
        let options: Vec<_> = options(&command).map(texts).collect();
        names.extend(options.iter().map(|(option, _)| option.clone()));
        let here = options
            .into_iter()
            .filter(|option| !described.contains(option));
        gaps.extend(
            here.map(|(option, _)| format!("{name} --{option}: no part `{BEGIN}...` has it")),
        );
        if !page.lines().any(|line| {
            [".Ss", ".Cm"].contains(&&line[..3.min(line.len())])
                && line.contains(&name["pirn".len()..])
        }) {
            gaps.push(format!("{name} is not named"));
        }
    }
    let unknown = page_options(&page)
        .into_iter()
        .filter(|option| !names.contains(option));
    gaps.extend(unknown.map(|option| format!("--{option} is no option")));
    assert!(gaps.is_empty(), "doc/pirn.1:\n  {}", gaps.join("\n  "));
}

/// The long options that a page names: `Fl -name`, or `Fl a , Fl -name`.
fn page_options(page: &str) -> BTreeSet<String> {
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
