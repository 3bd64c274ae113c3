//! `pirn help`, and what the help of the commands has beside their options: examples, the commands in groups, topics.

mod examples;
mod page;

pub use page::wrapped;

use super::exit::{CommandResult, Failure, OK, USAGE};
use super::output;
use crate::core::json::nearest;
use crate::os::terminal;
use clap::Command;
use std::io;

#[derive(Debug, clap::Args)]
pub struct HelpArgs {
    /// A command, or a topic
    #[arg(value_name = "TOPIC")]
    words: Vec<String>,
}

/// The commands in the order in which somebody new needs them.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "To begin with",
        &["add", "run", "ls", "log", "wait", "watch", "serve"],
    ),
    (
        "Jobs",
        &[
            "at", "show", "cancel", "kill", "retry", "rm", "hold", "release", "urgent", "move",
            "edit", "clean",
        ],
    ),
    (
        "Queues and the daemon",
        &["status", "slots", "pause", "resume", "stop", "drain"],
    ),
    ("Other machines", &["push", "result", "pull", "qdone"]),
    (
        "The machine and its settings",
        &["config", "token", "users", "launch"],
    ),
    ("For scripts and shells", &["new-id", "completions", "help"]),
];

/// The pages of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManualPage {
    /// pirn(1)
    Commands,
    /// pirn-spool(5)
    Spool,
}

/// Parts of the manual that `pirn help` prints: the name, the page and the heading.
pub const TOPICS: [(&str, ManualPage, &str); 11] = [
    ("times", ManualPage::Commands, "Times"),
    ("jobs", ManualPage::Commands, "Which jobs"),
    ("record", ManualPage::Spool, "THE RECORD"),
    ("config", ManualPage::Spool, "SETTINGS"),
    ("spool", ManualPage::Spool, "THE DIRECTORY"),
    ("steering", ManualPage::Spool, "STEERING BY HAND"),
    ("sandbox", ManualPage::Commands, "Sandbox"),
    ("environment", ManualPage::Commands, "ENVIRONMENT"),
    ("exit-codes", ManualPage::Commands, "EXIT STATUS"),
    ("signals", ManualPage::Commands, "SIGNALS"),
    ("http", ManualPage::Commands, "HTTP"),
];

/// The widest help.
const WIDEST: usize = 100;

fn width() -> usize {
    terminal::width(&io::stdout()).clamp(40, WIDEST)
}

/// Makes the help of a parser as wide as the terminal.
pub fn fitted(parser: Command) -> Command {
    parser.term_width(width())
}

/// A parser whose help has examples, topics, and the commands in groups.
pub fn dressed(mut parser: Command) -> Command {
    let width = width();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        groups(&parser, width)
    );
    for (name, lines) in examples::ALL {
        // Not every binary has all commands.
        if parser.find_subcommand(name).is_none() {
            continue;
        }
        parser = parser.mut_subcommand(name, |command| {
            command.after_long_help(examples::text(lines))
        });
    }
    let topics: Vec<&str> = TOPICS.iter().map(|(name, _, _)| *name).collect();
    let after = format!(
        "pirn help COMMAND tells more and has examples. pirn help TOPIC prints a part of the manual: {}.",
        topics.join(", ")
    );
    fitted(parser.help_template(template).after_help(after))
}

fn groups(parser: &Command, width: usize) -> String {
    let mut out = String::new();
    for (title, names) in GROUPS {
        out.push_str(&format!("{title}:\n"));
        let known = names.iter().filter_map(|name| parser.find_subcommand(name));
        for command in known {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            out.push_str(&page::wrapped(
                &about,
                &format!("  {:<12}", command.get_name()),
                width,
            ));
        }
        out.push('\n');
    }
    out
}

/// Prints the help of a command, a part of the manual, or both where they have one name.
pub fn help(args: &HelpArgs, mut parser: Command) -> CommandResult {
    parser.build();
    let mut command = Some(&mut parser);
    for word in &args.words {
        command = command.and_then(|command| command.find_subcommand_mut(word));
    }
    let mut parts: Vec<String> = command
        .into_iter()
        .map(|command| command.render_long_help().to_string())
        .collect();
    if let [word] = args.words.as_slice() {
        let topics = TOPICS.iter().filter(|(name, _, _)| name == word);
        parts.extend(
            topics.filter_map(|(_, page, heading)| page::render(page.text(), heading, width())),
        );
    }
    if parts.is_empty() {
        return Err(unknown(&args.words.join(" "), &parser));
    }
    output::bytes(parts.join("\n").as_bytes())?;
    Ok(OK)
}

fn unknown(asked: &str, parser: &Command) -> Failure {
    let commands = parser
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let names = commands
        .map(Command::get_name)
        .chain(TOPICS.iter().map(|(name, _, _)| *name));
    let names: Vec<&str> = names.collect();
    let hint = match nearest(asked, &names) {
        Some(right) => format!("did you mean pirn help {right}?"),
        None => "pirn help lists commands and topics".to_owned(),
    };
    Failure::new(
        USAGE,
        format!("there is no command or topic {asked}; {hint}"),
    )
}

impl ManualPage {
    fn text(self) -> &'static str {
        match self {
            Self::Commands => include_str!("../../../doc/pirn.1"),
            Self::Spool => include_str!("../../../doc/pirn-spool.5"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, whole_command};
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_is_in_a_group_and_has_examples() {
        let parser = Cli::command();
        let commands = parser
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let commands: BTreeSet<&str> = commands.map(Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let once: BTreeSet<&str> = grouped.iter().copied().collect();
        assert_eq!(grouped.len(), once.len(), "a command is in two groups");
        assert_eq!(commands.difference(&once).next(), None, "it is in no group");
        let shown: BTreeSet<&str> = examples::ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            commands.difference(&shown).next(),
            None,
            "it has no examples"
        );
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn examples_can_be_parsed() {
        let parser = whole_command();
        for (name, lines) in examples::ALL {
            if parser.find_subcommand(name).is_none() {
                continue;
            }
            assert!((1..=4).contains(&lines.len()), "{name}");
            let widest = examples::text(lines).lines().map(str::len).max();
            assert!(widest.unwrap() <= 80, "{name}");
            for (line, _) in lines {
                let last = line.rsplit(" | ").next().unwrap();
                let words = crate::cli::complete::shell_words(last);
                let parsed = parser.clone().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                assert!(words[1..].join(" ").starts_with(name), "{line}");
            }
        }
    }

    #[test]
    fn every_topic_is_in_the_manual() {
        for (name, page, heading) in TOPICS {
            let text = page::render(page.text(), heading, 80).unwrap_or_default();
            assert!(text.lines().count() > 8, "{name}: {text}");
            let wide: Vec<&str> = text
                .lines()
                .filter(|line| line.chars().count() > 100)
                .collect();
            assert!(wide.is_empty(), "{name}: {wide:?}");
            for rest in ["\\&", "\\e", "\u{1}", " Ns ", ".Pp"] {
                assert!(!text.contains(rest), "{name} has {rest:?}");
            }
        }
    }
}
