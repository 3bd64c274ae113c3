//! `pirn config`, `pirn pause`, `pirn resume`.

use super::exit::{BAD_CONFIG, Failure, OK, Outcome};
use super::output;
use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::core::json::Object;
use crate::os::dir::How;
use crate::spool::{Fs, Place};
use clap::Subcommand;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether the settings are valid, and what is wrong where
    Check {
        /// The file [default: config.json in the spool]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub struct QueueArgs {
    /// The queue [default: all of them]
    queue: Option<QueueName>,
}

pub fn config(spool: &Path, args: Args) -> Outcome {
    let Action::Check { file } = args.command;
    let named = file.is_some();
    let path = file.unwrap_or_else(|| spool.join("config.json"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !named => {
            output::line(format!(
                "{}: not there; all settings have their defaults",
                path.display()
            ))?;
            return Ok(OK);
        }
        Err(e) => return Err(Failure::new(BAD_CONFIG, format!("{}: {e}", path.display()))),
    };
    check(&path, &text)?;
    output::line(format!("{}: valid", path.display()))?;
    Ok(OK)
}

fn check(path: &Path, text: &str) -> Result<Config, Failure> {
    Config::parse(text).map_err(|e| Failure::new(BAD_CONFIG, format!("{}: {e}", path.display())))
}

/// Writes the pause into `config.json`, where everybody can see it.
pub fn pause(path: &Path, args: &QueueArgs, paused: bool) -> Outcome {
    let spool = super::open(path, true)?;
    let file = path.join("config.json");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
        Err(e) => return Err(Failure::new(BAD_CONFIG, format!("{}: {e}", file.display()))),
    };
    check(&file, &text)?;
    let keys = match &args.queue {
        Some(queue) => vec!["queues", queue.as_str(), "paused"],
        None => vec!["paused"],
    };
    let edited = set(&text, &keys, if paused { "true" } else { "false" }, 0)?;
    check(&file, &edited)?;
    let staged = format!(".config.{}", std::process::id());
    let fs = spool.fs();
    fs.write_new(
        &Place::Tmp,
        staged.as_bytes(),
        format!("{edited}\n").as_bytes(),
        true,
    )?;
    fs.rename(
        &Place::Tmp,
        staged.as_bytes(),
        &Place::Root,
        b"config.json",
        How::Replace,
    )?;
    fs.sync(&Place::Root)?;
    Ok(OK)
}

/// The text with the value at `keys` replaced; every other value keeps its own text and place.
fn set(text: &str, keys: &[&str], value: &str, depth: usize) -> Result<String, Failure> {
    let Some((key, rest)) = keys.split_first() else {
        return Ok(value.to_owned());
    };
    let object = Object::parse(text).map_err(|e| Failure::new(BAD_CONFIG, e.to_string()))?;
    let mut fields: Vec<(String, String)> = object
        .fields()
        .map(|(key, raw)| (key.to_owned(), raw.get().to_owned()))
        .collect();
    match fields.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = set(old, rest, value, depth + 1)?,
        None => fields.push(((*key).to_owned(), set("{}", rest, value, depth + 1)?)),
    }
    let indent = "  ".repeat(depth + 1);
    let quoted = |name: &str| serde_json::to_string(name).unwrap_or_default();
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, raw)| format!("{indent}{}: {raw}", quoted(name)))
        .collect();
    Ok(format!(
        "{{\n{}\n{}}}",
        lines.join(",\n"),
        "  ".repeat(depth)
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::set;

    #[test]
    fn edits_touch_one_value() {
        let text = r#"{"slots": 4, "queues": {"mail": {"slots": 1}}, "keep": "1d"}"#;
        let edited = set(text, &["queues", "mail", "paused"], "true", 0).unwrap();
        assert_eq!(
            edited,
            "{\n  \"slots\": 4,\n  \"queues\": {\n    \"mail\": {\n      \"slots\": 1,\n      \"paused\": true\n    }\n  },\n  \"keep\": \"1d\"\n}"
        );
        assert_eq!(
            set("{}", &["paused"], "false", 0).unwrap(),
            "{\n  \"paused\": false\n}"
        );
    }
}
