//! `pirn config`.

use super::existing;
use super::exit::{BAD_CONFIG, CommandResult, FAILURE, Failure, NOT_NOW, OK, USAGE};
use super::output;
use super::settings;
use crate::os::written;
use crate::spool::{self, EditError, Spool};
use clap::Subcommand;
use serde_json::value::RawValue;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the settings are valid, and what is wrong where
    Check {
        /// The file [default: config.json in the spool]
        file: Option<PathBuf>,
    },
    /// Change one setting; null removes it
    Set {
        /// Keys with dots between them, such as queues.mail.slots
        key: String,
        /// JSON; a string needs no quotes
        value: String,
    },
}

pub fn config(spool: &Path, args: ConfigArgs) -> CommandResult {
    match args.command {
        ConfigCommand::Check { file } => check(spool, file.as_deref()),
        ConfigCommand::Set { key, value } => set_value(spool, &key, &value),
    }
}

fn check(spool: &Path, file: Option<&Path>) -> CommandResult {
    let path = file.map_or_else(|| settings::path(spool), Path::to_owned);
    let bad = |e: String| Failure::new(BAD_CONFIG, format!("{}: {e}", path.display()));
    let verdict = match written::read_finished(&path, spool::read_config) {
        Ok(checked) => checked.map(|_| "valid").map_err(bad)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound && file.is_none() => {
            existing::spool(spool)?;
            "not there; all settings have their defaults"
        }
        Err(e) => return Err(Failure::at(&path, e).with_code(BAD_CONFIG)),
    };
    output::line(format!("{}: {verdict}", path.display()))?;
    Ok(OK)
}

/// The one setting for which null is a value.
const KEEPS_NULL: &str = "keep";

fn set_value(path: &Path, key: &str, value: &str) -> CommandResult {
    let spool = existing::spool(path)?;
    let keys = keys(key)?;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let removes = value == "null" && key != KEEPS_NULL;
    set(&spool, &keys, (!removes).then(|| as_json(value)))
}

/// Sets or removes the value to which these keys lead.
pub fn set(spool: &Spool, keys: &[&str], value: Option<String>) -> CommandResult {
    let path = spool.path();
    let edit = (keys, value);
    let file = settings::path(path);
    if file != path.join("config.json") {
        let file = file.display();
        let what = format!("the daemon's settings are in {file}; edit them there");
        return Err(Failure::new(FAILURE, what));
    }
    match spool.edit_settings(&[edit]) {
        Ok(()) => Ok(OK),
        Err(EditError::Io(e)) if e.raw_os_error().is_none() => {
            let code = match e.kind() {
                io::ErrorKind::ResourceBusy => NOT_NOW,
                _ => FAILURE,
            };
            Err(Failure::new(code, format!("{}: {e}", file.display())))
        }
        Err(EditError::Io(e)) => Err(Failure::at(&file, e)),
        Err(e @ (EditError::Invalid(_) | EditError::Unreadable(_))) => {
            Err(Failure::new(BAD_CONFIG, format!("{}: {e}", file.display())))
        }
    }
}

/// Splits a path such as `queues.mail.slots`. A name with dots stands in quotes.
fn keys(path: &str) -> Result<Vec<String>, Failure> {
    let (mut keys, mut key, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in path.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => keys.push(std::mem::take(&mut key)),
            c => key.push(c),
        }
    }
    keys.push(key);
    if is_quoted || keys.iter().any(String::is_empty) {
        let what =
            format!("{path}: expected keys with dots between them, such as queues.mail.slots");
        return Err(Failure::new(USAGE, what));
    }
    Ok(keys)
}

/// The value as JSON. Text that is not JSON becomes a string.
fn as_json(value: &str) -> String {
    match serde_json::from_str::<&RawValue>(value) {
        Ok(_) => value.to_owned(),
        Err(_) => serde_json::Value::from(value).to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_dots_between_them() {
        assert_eq!(keys("slots").unwrap(), ["slots"]);
        assert_eq!(
            keys("queues.\"a.b\".slots").unwrap(),
            ["queues", "a.b", "slots"]
        );
        for wrong in ["", ".", "a..b", "a.", "queues.\"a.slots"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_json_or_strings() {
        for (value, json) in [
            ("4", "4"),
            ("true", "true"),
            ("1h 30m", "\"1h 30m\""),
            ("[\"a\"]", "[\"a\"]"),
        ] {
            assert_eq!(as_json(value), json);
        }
    }
}
