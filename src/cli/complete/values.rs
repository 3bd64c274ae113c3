//! The words that may stand at a place of a command line, by the name that the help has for a value.

use super::walk::{Awaits, CursorPlace};
use crate::cli::help::TOPICS;
use crate::cli::settings;
use crate::core::config::Config;
use crate::core::config::rights::Right;
use crate::core::id::{JobId, QueueName, keep_first, natural_order};
use crate::core::record::{LIMIT_NAMES, Record, State};
use crate::os::signals;
use crate::spool::{NOT_RUNNING, Place, Spool, Where};
use clap::{Arg, Command};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The most ids that are offered, the newest first.
const MOST_IDS: usize = 200;

/// The most records that are read for names and tags.
const MOST_RECORDS: usize = 1000;

/// The choices that a shell is to offer.
pub enum Offer {
    /// These words, each with a description.
    Words(Vec<(String, String)>),
    /// Files.
    Files,
    /// Directories.
    Dirs,
    /// Programs.
    Commands,
}

/// The choices at the cursor. A spool that cannot be read has nothing to offer.
pub fn offer(place: &CursorPlace<'_>, spool: &Path) -> Offer {
    let words = match place.awaits {
        Awaits::Nothing => Vec::new(),
        Awaits::Foreign => return Offer::Files,
        Awaits::Option => options(place.command),
        Awaits::Subcommand => subcommands(place.command),
        Awaits::Value(arg, count) => match value(place, arg, count, spool) {
            Ok(Offer::Words(words)) => words,
            Ok(other) => return other,
            Err(_) => Vec::new(),
        },
    };
    let words = words
        .into_iter()
        .filter(|(word, _)| word.starts_with(&place.typed));
    Offer::Words(
        words
            .map(|(word, about)| (format!("{}{word}", place.head), about))
            .collect(),
    )
}

/// The first line of a help text.
fn about(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().replace('\t', " ")
}

fn options(command: &Command) -> Vec<(String, String)> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let named =
        visible.filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help()))));
    named.collect()
}

fn subcommands(command: &Command) -> Vec<(String, String)> {
    let visible = command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set());
    visible
        .map(|inner| (inner.get_name().to_owned(), about(inner.get_about())))
        .collect()
}

fn plain(words: impl IntoIterator<Item = impl ToString>) -> Offer {
    let words = words
        .into_iter()
        .map(|word| (word.to_string(), String::new()));
    Offer::Words(words.collect())
}

fn value(place: &CursorPlace<'_>, arg: &Arg, count: usize, path: &Path) -> io::Result<Offer> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let words = possible.iter().filter(|value| !value.is_hide_set());
        let words = words.map(|value| (value.get_name().to_owned(), about(value.get_help())));
        return Ok(Offer::Words(words.collect()));
    }
    let name = arg.get_value_names().and_then(|names| names.first());
    let name = name.map(clap::builder::Str::as_str).unwrap_or_default();
    let command = place.command.get_name();
    let spool = Spool::existing(path).ok().flatten();
    Ok(match (name, &spool) {
        ("CMD", _) => Offer::Commands,
        ("FILE" | "PATH", _) => Offer::Files,
        ("DIR" | "SPOOL", _) => Offer::Dirs,
        // The last word of this command is a queue.
        ("ID", Some(spool)) if command == "move" && count > 0 => plain(queues(spool)?),
        ("ID", Some(spool)) => Offer::Words(ids(spool, states(command), &place.typed)?),
        ("STATE|ID", _) => {
            let mut all = State::ALL
                .map(|state| (state.to_string(), String::new()))
                .to_vec();
            if let Some(spool) = &spool {
                all.extend(ids(spool, states(command), &place.typed)?);
            }
            Offer::Words(all)
        }
        ("KEY=VALUE", _) => {
            plain(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
        }
        ("NAME", Some(spool)) => plain(of_records(spool, |record| {
            record.name.into_iter().collect()
        })?),
        ("NAME=VALUE", _) => plain(LIMIT_NAMES.map(|name| format!("{name}="))),
        ("NAME|URL", _) => plain(config(path).remote.keys()),
        ("QUEUE", Some(spool)) => plain(queues(spool)?),
        ("RIGHTS", _) => plain(Right::ALL.map(Right::as_str)),
        ("SCRIPT", Some(spool)) => plain(scripts(spool)?),
        ("SIG", _) => plain(signals::names()),
        ("TAG", Some(spool)) => plain(of_records(spool, |record| record.tags)?),
        ("TIME", _) => plain(["now", "noon", "midnight", "teatime", "today", "tomorrow"]),
        ("TOPIC", _) if count == 0 => {
            let mut all = subcommands(place.parser);
            all.extend(TOPICS.map(|(name, _, _)| (name.to_owned(), String::new())));
            Offer::Words(all)
        }
        ("TOKENS", _) => plain(config(path).tokens.keys()),
        (_, _) => Offer::Words(Vec::new()),
    })
}

fn config(path: &Path) -> Config {
    settings::read(path).unwrap_or_default()
}

fn queues(spool: &Spool) -> io::Result<BTreeSet<QueueName>> {
    spool.known_queues(&config(spool.path()))
}

fn scripts(spool: &Spool) -> io::Result<Vec<JobId>> {
    let mut names = Vec::new();
    spool.names(&Place::Scripts, &mut |name| {
        names.extend(JobId::from_bytes(name))
    })?;
    Ok(names)
}

/// The states of the jobs to which a command can be applied.
fn states(command: &str) -> &'static [State] {
    match command {
        "cancel" | "wait" => &[State::Pending, State::Held, State::Active],
        "kill" => &[State::Active],
        "retry" => &[State::Complete, State::Failed],
        "hold" => &[State::Pending],
        "release" => &[State::Held],
        "urgent" | "move" | "edit" => &[State::Pending, State::Held],
        "rm" => &NOT_RUNNING,
        _ => &State::ALL,
    }
}

/// The newest jobs in these states whose ids begin so. No record is read.
fn newest(
    spool: &Spool,
    states: &[State],
    begin: &str,
    most: usize,
) -> io::Result<Vec<(JobId, Where)>> {
    let mut found = Vec::new();
    for state in states {
        for at in spool.places_of(*state)? {
            let ids = spool.ids_there(&at)?.into_iter();
            found.extend(
                ids.filter(|id| id.as_str().starts_with(begin))
                    .map(|id| (id, at.clone())),
            );
        }
    }
    let newest_first =
        |a: &(JobId, Where), b: &(JobId, Where)| natural_order(b.0.as_str(), a.0.as_str());
    keep_first(&mut found, most, newest_first);
    found.sort_by(newest_first);
    Ok(found)
}

fn ids(spool: &Spool, states: &[State], begin: &str) -> io::Result<Vec<(String, String)>> {
    let found = newest(spool, states, begin, MOST_IDS)?.into_iter();
    Ok(found
        .map(|(id, at)| (id.to_string(), at.state().to_string()))
        .collect())
}

/// Words out of the records of the newest jobs.
fn of_records(
    spool: &Spool,
    words: impl Fn(Record) -> Vec<String>,
) -> io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (id, at) in newest(spool, &State::ALL, "", MOST_RECORDS)? {
        all.extend(spool.load(&id, &at)?.into_iter().flat_map(&words));
    }
    // A word of a line has no such characters.
    all.retain(|word| !word.contains(char::is_control));
    Ok(all)
}
