//! How jobs ended, in words.

use super::output::tame;
use super::when;
use crate::core::record::{Reason, Record, State, Try};
use crate::core::units::brief_span;
use crate::os::{clock, signals};
use std::time::Duration;

/// How a job ended that has not ended well, in few words.
pub fn end(record: &Record) -> String {
    let end = |reason| end_for(reason, record.exit_code, record.signal);
    record.reason.map_or_else(String::new, end)
}

/// How a try ended, in few words.
pub fn end_of_try(one: &Try) -> String {
    end_for(one.reason, one.exit_code, one.signal)
}

fn end_for(reason: Reason, exit_code: Option<i32>, signal: Option<i32>) -> String {
    match (reason, exit_code, signal) {
        (Reason::Exited, Some(code), _) => format!("exit {code}"),
        (Reason::Signaled, _, Some(signal)) => format!("signal {signal}"),
        (reason, _, _) => reason.to_string(),
    }
}

/// How and when a try ended.
pub fn how_a_try_ended(one: &Try) -> String {
    let at = when::brief(one.finished_at, clock::wall());
    format!("{} at {at}", end_of_try(one))
}

/// How a job ended that has not ended well, with the message that the record has.
pub fn how_it_failed(record: &Record) -> String {
    let mut parts = vec![end(record)];
    parts.extend(record.error.as_deref().map(tame));
    parts.retain(|part| !part.is_empty());
    match parts.is_empty() {
        true => "its record does not say how".to_owned(),
        false => parts.join(": "),
    }
}

/// How a job ended that is in this state, in a sentence.
pub fn sentence(record: &Record, state: State) -> String {
    let mut text = match record.reason {
        None => "its record does not say how".to_owned(),
        Some(reason) => cause(record, reason),
    };
    if let Some(tries) = record.tries.filter(|_| record.attempt > 0)
        && (state == State::Failed || record.attempt > 1)
        && tries > 1
    {
        text.push_str(&format!(", in try {} of {tries}", record.attempt));
    }
    if let Some(error) = &record.error {
        text.push_str(&format!(": {}", tame(error)));
    }
    text
}

fn cause(record: &Record, reason: Reason) -> String {
    let after = record.duration.map_or_else(String::new, |seconds| {
        format!(" after {}", brief_span(seconds_to_span(seconds)))
    });
    match reason {
        Reason::Exited => match record.exit_code {
            Some(code) => format!("it exited with code {code}{after}"),
            None => format!("it exited{after}"),
        },
        Reason::Signaled => match record.signal {
            Some(signal) => format!("{} ended it{after}", signals::name(signal)),
            None => format!("a signal ended it{after}"),
        },
        Reason::Timeout => format!("its timeout ended it{after}"),
        Reason::Cancelled => format!("it was cancelled{after}"),
        Reason::Expired => "it still waited when it expired".to_owned(),
        Reason::NotStarted => "it could not be started".to_owned(),
        Reason::Interrupted => "the daemon or the machine stopped while it ran".to_owned(),
        Reason::Dependency => "it was not run".to_owned(),
        Reason::Skipped => "it was not needed, and did not run".to_owned(),
        Reason::LogLimit => format!("it wrote more than its log may have, and was ended{after}"),
    }
}

/// The duration in a record.
pub fn seconds_to_span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}
