//! Jobs that call a URL: what `pirn deliver` is told, and what it says.

use crate::core::config::Config;
use crate::core::record::{Call, Order, Reason, Record, Report, Work};
use serde_json::value::RawValue;
use std::time::Duration;

/// The text that the process of a call reads from its standard input. Neither its arguments nor its environment, which others
/// may look at, have any of it. `most` is the bound on the answer, in bytes.
pub fn order(record: &Record, call: &Call, most: Option<u64>, config: &Config) -> Vec<u8> {
    let order = Order {
        id: record
            .id
            .as_ref()
            .map_or_else(String::new, |id| id.as_str().to_owned()),
        attempt: record.attempt,
        url: call.url.clone(),
        headers: call.headers.clone().unwrap_or_default(),
        payload: call
            .payload
            .clone()
            .and_then(|text| RawValue::from_string(text).ok()),
        manner: call.manner,
        sign: call.sign,
        secret: config
            .http
            .webhook_secret
            .as_ref()
            .filter(|_| call.sign)
            .map(|secret| secret.as_str().to_owned()),
        allow: config.http.url_allow.to_strings(),
        most,
    };
    // Strings, numbers and JSON: printing them cannot fail.
    serde_json::to_vec(&order).unwrap_or_default()
}

/// Moves what a call reported from `result` to the fields that it is for. Gives the wait that the server asked for.
pub fn take_report(record: &mut Record) -> Option<Duration> {
    if !matches!(record.work, Work::Url(_)) {
        return None;
    }
    let report: Report = serde_json::from_str(&record.result.take()?).ok()?;
    record.status_code = report.status_code;
    if report.is_too_large {
        record.reason = Some(Reason::LogLimit);
    }
    record.error = record.error.take().or(report.error);
    report.retry_after.map(Duration::from_secs)
}
