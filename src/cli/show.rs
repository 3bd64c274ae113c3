//! `pirn show`.

use super::describe::Description;
use super::existing;
use super::exit::{CommandResult, NO_INPUT, OK};
use super::output;
use super::select::Selection;
use super::settings;
use super::style::Style;
use crate::core::record::State;
use crate::os::clock;
use crate::spool::Where;
use std::cell::OnceCell;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Each record as JSON, environment included
    ///
    /// It has its `state`, and if it waits the reason (`waiting`).
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    jobs: Selection,
}

pub fn show(path: &Path, args: &ShowArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let ids = args.jobs.to_look_at(&spool, &State::ALL)?.ids;
    let reasons = OnceCell::new();
    for (n, id) in ids.iter().enumerate() {
        let found = existing::job(&spool, id)?;
        let waits = || settings::waits(&spool).ok();
        let waiting = match found.at {
            Where::Pending(_) | Where::Held => reasons.get_or_init(waits).as_ref(),
            Where::Active | Where::Complete | Where::Failed => None,
        };
        let waiting = waiting.and_then(|waits| waits.of(id, &found.at, &found.record));
        let text = match args.json {
            true => {
                let state = found.at.state();
                let progress = spool.progress(id, &found.at);
                found
                    .record
                    .to_json_now(state, waiting.as_ref(), progress.as_ref())
            }
            false => Description {
                spool: &spool,
                found: &found,
                waiting,
                now: clock::wall(),
                style: Style::of_stdout(),
            }
            .text(),
        };
        let gap = if n > 0 && !args.json { "\n" } else { "" };
        output::bytes(format!("{gap}{text}").as_bytes())?;
    }
    Ok(if ids.is_empty() { NO_INPUT } else { OK })
}
