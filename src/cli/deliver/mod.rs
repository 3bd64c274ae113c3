//! `pirn deliver`: the process of a job that calls a URL. What it is told comes by its standard input, the answer's
//! body goes to its standard output, which is the job's log, and how it went to `$PIRN_OUT`.

mod post;
mod redirect;
mod retry_after;
mod sign;

use super::exit::{CommandResult, FAILURE, Failure, OK};
use crate::core::record::{Order, Report};
use crate::core::retry::{EXIT_PERMANENT, EXIT_TEMPORARY};
use post::{Copied, PostAnswer, Trouble};
use std::io;

pub fn deliver() -> CommandResult {
    let order: Order = serde_json::from_reader(io::stdin().lock()).map_err(|e| {
        let what =
            format!("deliver is for the daemon, which says on standard input what to do: {e}");
        Failure::new(FAILURE, what)
    })?;
    let mut body = io::stdout().lock();
    let (report, code) = judge(&order, post::post(&order, &mut body));
    if let Some(path) = std::env::var_os("PIRN_OUT") {
        let text = serde_json::to_vec(&report).unwrap_or_default();
        // The call was made, or not: that is said by the exit code in any case.
        if let Err(e) = std::fs::write(path, text) {
            eprintln!("pirn: what came of the call could not be written down: {e}");
        }
    }
    Ok(code)
}

fn judge(order: &Order, answer: Result<PostAnswer, Trouble>) -> (Report, u8) {
    let code = |code: i32| u8::try_from(code).unwrap_or(FAILURE);
    let (permanent, temporary) = (code(EXIT_PERMANENT), code(EXIT_TEMPORARY[0]));
    match answer {
        Err(trouble) => {
            let what = match trouble.is_permanent {
                true => permanent,
                false => temporary,
            };
            let report = Report {
                error: Some(post::in_words(order, &trouble.what)),
                ..Report::default()
            };
            (report, what)
        }
        Ok(answer) => {
            let is_too_large = matches!(answer.copied, Copied::Most(_));
            let uncopied = match answer.copied {
                Copied::Whole => None,
                Copied::Most(most) => {
                    let what = format!(
                        "the answer, with status {}, is larger than the {most} bytes of max_log",
                        answer.status
                    );
                    Some(post::in_words(order, &what))
                }
                Copied::Unwritten(why) => {
                    Some(format!("the answer could not be written to the log: {why}"))
                }
            };
            let complaint = post::complaint(order, answer.status);
            let report = Report {
                status_code: Some(answer.status),
                error: match is_too_large {
                    true => uncopied,
                    false => complaint.or(uncopied),
                },
                retry_after: answer.retry_after,
                is_too_large,
            };
            let code = match answer.status {
                _ if is_too_large => permanent,
                status if order.manner.is_success(status) => OK,
                // Timed out, too early, too many, and whatever is the server's fault.
                408 | 425 | 429 | 500..=599 => temporary,
                _ => permanent,
            };
            (report, code)
        }
    }
}
