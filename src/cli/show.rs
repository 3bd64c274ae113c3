//! `pirn show`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, NO_INPUT, OK};
use super::output;
use super::select::Selection;
use super::settings;
use crate::core::json::Object;
use crate::core::record::State;
use crate::spool::{Found, Waits};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    jobs: Selection,
    /// The record as JSON, environment included
    #[arg(long)]
    json: bool,
}

pub fn show(path: &Path, args: &ShowArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let ids = args.jobs.to_look_at(&spool, &State::ALL)?.ids;
    let waits = settings::waits(&spool).ok();
    for (n, id) in ids.iter().enumerate() {
        let mut found = existing::job(&spool, id)?;
        let text = match args.json {
            true => json(waits.as_ref(), &found),
            false => {
                found.record.env.clear();
                as_text(&json(waits.as_ref(), &found))?
            }
        };
        let gap = if n > 0 && !args.json { "\n" } else { "" };
        output::bytes(format!("{gap}{text}").as_bytes())?;
    }
    Ok(if ids.is_empty() { NO_INPUT } else { OK })
}

/// The record with its state, and why the job waits.
fn json(waits: Option<&Waits<'_>>, found: &Found) -> String {
    let waiting = waits.and_then(|waits| waits.of(&found.id, &found.at, &found.record));
    found
        .record
        .to_json_waiting(found.at.state(), waiting.as_ref())
}

/// The word and the sentence that say why a job waits.
fn sentence(raw: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(raw).unwrap_or_default();
    let part = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", part("why"), part("text"))
}

/// The fields, a line each or more.
fn as_text(json: &str) -> Result<String, Failure> {
    let object = Object::parse(json).map_err(|e| Failure::new(FAILURE, e.to_string()))?;
    let width = object
        .fields()
        .map(|field| field.key.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for field in object.fields() {
        let (mut key, raw) = (field.key, field.raw.get());
        let value = match key {
            "waiting" => sentence(raw),
            _ => serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()),
        };
        // The key stands beside the first line only, also of a value that has none.
        for line in value.trim_end().split('\n') {
            text.push_str(&format!(
                "{key:width$}  {}\n",
                output::tame(line.trim_end_matches('\r'))
            ));
            key = "";
        }
    }
    Ok(text)
}
