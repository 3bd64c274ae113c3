//! `pirn completions` prints what a shell is to read; that calls the hidden `pirn complete` at each TAB. Nothing of a
//! command line is expanded or run for it, nothing is created, and nothing is said if there is no spool.

mod line;
mod values;
mod walk;

use super::exit::{CommandResult, OK};
use super::output;
use super::sandbox;
use crate::os::user;
use clap::{Command, ValueEnum};
use line::{Quotes, Split};
use std::ffi::OsString;
use std::path::PathBuf;
use values::Offer;

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash, 4.4 and newer
    Bash,
    /// Z shell
    Zsh,
    /// fish, 3.0 and newer
    Fish,
}

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell that is to read it
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct CompleteArgs {
    shell: Shell,
    /// bash: the line up to the cursor, and the part of it that bash replaces; else the words of the line
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Prints the script for a shell.
pub fn completions(args: &CompletionsArgs) -> CommandResult {
    output::bytes(match args.shell {
        Shell::Bash => include_bytes!("../../../contrib/completions/pirn.bash"),
        Shell::Zsh => include_bytes!("../../../contrib/completions/_pirn"),
        Shell::Fish => include_bytes!("../../../contrib/completions/pirn.fish"),
    })?;
    Ok(OK)
}

/// Prints a line that says what may stand at the cursor, and for words a line with each and its description.
pub fn complete(args: &CompleteArgs, mut parser: Command) -> CommandResult {
    parser.build();
    let words = args.words.iter().map(|word| word.to_string_lossy());
    let words: Vec<String> = words.map(String::from).collect();
    let Some(asked) = ShellLine::of(args.shell, words) else {
        return Ok(OK);
    };
    let text = match asked.offer(&parser) {
        Offer::Files => "files\n".to_owned(),
        Offer::Dirs => "dirs\n".to_owned(),
        Offer::Commands => "commands\n".to_owned(),
        Offer::Words(words) => {
            let lines = words.iter().filter_map(|(word, about)| {
                let word = asked.replacement(word)?;
                Some(match (args.shell, about.as_str()) {
                    (Shell::Bash, _) | (_, "") => format!("{word}\n"),
                    (Shell::Zsh | Shell::Fish, about) => format!("{word}\t{about}\n"),
                })
            });
            ["words\n".to_owned()].into_iter().chain(lines).collect()
        }
    };
    output::bytes(text.as_bytes())?;
    Ok(OK)
}

/// The words of a whole line.
#[cfg(test)]
pub fn shell_words(text: &str) -> Vec<String> {
    line::split(&format!("{text} ")).words
}

/// The question of a shell.
struct ShellLine {
    /// The words before the cursor, the program first.
    before: Vec<String>,
    /// The beginning of the word at the cursor.
    typed: String,
    /// In bash: the part of that which stays as it is, the quotes that are open after it, and whether they open there.
    stays: Option<(String, Quotes, bool)>,
}

impl ShellLine {
    /// `None` for a line that makes no sense.
    fn of(shell: Shell, mut words: Vec<String>) -> Option<Self> {
        let last = words.pop()?;
        match shell {
            Shell::Bash => {
                let line = words.pop()?;
                let Split {
                    words,
                    typed,
                    start,
                    quotes: _,
                } = line::split(&line);
                let fixed = line.strip_suffix(last.as_str())?.get(start..)?;
                let is_first = fixed.ends_with(['\'', '"']);
                let fixed = line::split(fixed);
                let stays = (fixed.typed, fixed.quotes, is_first);
                Some(Self {
                    before: words,
                    typed,
                    stays: Some(stays),
                })
            }
            Shell::Zsh => Some(Self {
                before: words,
                typed: last,
                stays: None,
            }),
            // This word alone is as it was typed.
            Shell::Fish => Some(Self {
                before: words,
                typed: line::split(&last).typed,
                stays: None,
            }),
        }
    }

    fn offer(&self, parser: &Command) -> Offer {
        let words = self.before.iter().map(OsString::from).collect();
        let words = sandbox::rewritten(words, parser);
        let words = words.iter().map(|word| word.to_string_lossy());
        let words: Vec<String> = words.map(String::from).collect();
        let place = walk::walk(parser, &words, &self.typed);
        let spool = place.spool.as_deref().map(expanded);
        values::offer(&place, &spool.unwrap_or_else(|| user::default_spool().path))
    }

    /// The text that the shell inserts for a word; `None` if the word does not begin as what is there.
    fn replacement(&self, word: &str) -> Option<String> {
        match &self.stays {
            None => Some(word.to_owned()),
            Some((stays, quotes, is_first)) => {
                let rest = word.strip_prefix(stays.as_str())?;
                Some(line::quoted(rest, *quotes, *is_first))
            }
        }
    }
}

/// The path of a spool as the shell will read it, but that only `~` and a variable at its beginning are replaced.
fn expanded(path: &str) -> PathBuf {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let variable = match first.strip_prefix('$') {
        Some(name) => Some(name.trim_start_matches('{').trim_end_matches('}')),
        None => (first == "~").then_some("HOME"),
    };
    match variable.and_then(std::env::var_os) {
        Some(value) => PathBuf::from(value).join(rest),
        None => PathBuf::from(path),
    }
}
