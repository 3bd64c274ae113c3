//! The parts of doc/pirn.1 that describe options are made of the help of the command line. They stand between the lines
//! `.\" Options of COMMAND` or `.\" Options of COMMAND: HEADING` and `.\" End of options`. All else in the page is
//! written by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::mdoc::{page_options, roff, sentences};
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
