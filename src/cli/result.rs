//! `pirn result`.

use super::exit::{self, CommandResult, FAILURE, Failure, NO_INPUT, NOT_NOW};
use super::output;
use super::pull;
use super::remote;
use crate::core::record::Record;
use crate::core::units::parse_span;
use crate::remote::engine::Trouble;
use crate::remote::sender::RemoteJob;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct ResultArgs {
    /// A name under `remote` in the settings, or a URL such as redis://HOST#QUEUE
    #[arg(value_name = "NAME|URL")]
    from: String,
    /// The id that push printed
    id: String,
    /// Wait so long for the job's end, then give up with exit code 75
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    wait: Option<Duration>,
}

/// The longest time between two looks: not every way that a job can take is announced.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The wait after a server could not be reached.
const PAUSE: Duration = Duration::from_millis(500);

/// Prints the record, and exits as the job did.
pub fn result(spool: &Path, args: &ResultArgs) -> CommandResult {
    let (sender, config) = remote::sender(spool, &args.from)?;
    let deadline = args.wait.and_then(|wait| Instant::now().checked_add(wait));
    let left = || match (args.wait, deadline) {
        (None, _) => Duration::ZERO,
        (Some(_), None) => LOOK_INTERVAL,
        (Some(_), Some(end)) => end.saturating_duration_since(Instant::now()),
    };
    loop {
        match sender.result(&args.id, left().min(LOOK_INTERVAL)) {
            Ok(RemoteJob::Ended(text)) => return ended(&text),
            Ok(RemoteJob::Unended) if left().is_zero() => {
                let what = format!("job {} has not ended", args.id);
                return Err(Failure::new(NOT_NOW, what));
            }
            Ok(RemoteJob::Unended) => {}
            Ok(RemoteJob::Unknown) => {
                let what = format!(
                    "{} has no job {} and no record of it; Redis keeps records for 7 days, and none if `results` is false in the settings of the receivers",
                    pull::shown(&args.from, &config),
                    args.id
                );
                return Err(Failure::new(NO_INPUT, what));
            }
            Err(Trouble::Unreachable(_)) if !left().is_zero() => {
                std::thread::sleep(PAUSE.min(left()));
            }
            Err(trouble) => return Err(remote::failure(trouble)),
        }
    }
}

fn ended(text: &str) -> CommandResult {
    output::line(text.trim_end())?;
    let record = Record::from_json(text)
        .map_err(|e| Failure::new(FAILURE, format!("the record cannot be read: {e}")))?;
    Ok(exit::of_job(&record))
}
