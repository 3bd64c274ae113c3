//! `pirn deliver`: the process of a job that calls a URL. It reads its order from standard input, copies the body of the
//! answer to standard output, which is the job's log, and writes its report to `$PIRN_OUT`.

mod agent;
mod failure;
mod headers;
mod post;
mod redirect;
mod retry_after;
mod sign;

use super::exit::{CommandResult, FAILURE, Failure, OK};
use crate::core::quote::without_codes;
use crate::core::record::{Manner, Order, Report, without_userinfo};
use crate::core::retry::{EXIT_PERMANENT, EXIT_TEMPORARY};
use failure::CallFailure;
use post::{Copied, PostAnswer};
use std::io;
use ureq::http::StatusCode;

pub fn deliver() -> CommandResult {
    let order: Order = serde_json::from_reader(io::stdin().lock()).map_err(|e| {
        let what =
            format!("deliver is for the daemon, which writes an order to its standard input: {e}");
        Failure::new(FAILURE, what)
    })?;
    let mut body = io::stdout().lock();
    let (report, code) = judge(&order, post::post(&order, &mut body));
    if let Some(path) = std::env::var_os("PIRN_OUT") {
        let text = serde_json::to_vec(&report).unwrap_or_default();
        // Not a failure: the exit code still says how the call went.
        if let Err(e) = std::fs::write(path, text) {
            eprintln!("pirn: the report on the call could not be written: {e}");
        }
    }
    Ok(code)
}

/// The report about a call, and the exit code of the job's process.
fn judge(order: &Order, answer: Result<PostAnswer, CallFailure>) -> (Report, u8) {
    let code = |code: i32| u8::try_from(code).unwrap_or(FAILURE);
    let (permanent, temporary) = (code(EXIT_PERMANENT), code(EXIT_TEMPORARY[0]));
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            let report = Report {
                error: Some(in_words(order, &failure.what)),
                ..Report::default()
            };
            return (
                report,
                if failure.is_permanent {
                    permanent
                } else {
                    temporary
                },
            );
        }
    };
    let status = answer.status;
    let is_too_large = matches!(answer.copied, Copied::Most(_));
    let error = match answer.copied {
        Copied::Whole => complaint(order, status),
        Copied::Most(most) => Some(in_words(
            order,
            &format!(
                "the answer, with status {status}, is larger than the {most} bytes of max_log"
            ),
        )),
        Copied::Unwritten(why) => complaint(order, status)
            .or_else(|| Some(format!("the answer could not be written to the log: {why}"))),
    };
    let code = match status {
        _ if is_too_large => permanent,
        status if order.manner.is_success(status) => OK,
        // Timeout, too early, too many requests, and errors of the server.
        408 | 425 | 429 | 500..=599 => temporary,
        _ => permanent,
    };
    let report = Report {
        status_code: Some(status),
        error,
        retry_after: answer.retry_after,
        is_too_large,
    };
    (report, code)
}

/// The error for a status; `None` for a success.
fn complaint(order: &Order, status: u16) -> Option<String> {
    if order.manner.is_success(status) {
        return None;
    }
    let phrase = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    match order.manner {
        Manner::Own => Some(format!("answered {status} {phrase}").trim_end().to_owned()),
        Manner::Hq => Some(phrase.to_owned()),
    }
}

/// The error for a call without a complete answer.
fn in_words(order: &Order, what: &str) -> String {
    let (url, what) = (without_userinfo(&order.url), without_codes(what));
    match order.manner {
        Manner::Own => format!("POST {url}: {what}"),
        Manner::Hq => format!("failed to do http request: Post \"{url}\": {what}"),
    }
}
