//! From a message to a job's record, and from the record of an ended job to a result.

use super::BridgePlan;
use crate::core::config::Config;
use crate::core::config::remote::{AckWhen, BodyFormat};
use crate::core::id::JobId;
use crate::core::json::Object;
use crate::core::lease::Lease;
use crate::core::record::{Record, Setting};
use crate::core::time::Wall;
use crate::os::procfs::host_name;
use crate::remote::engine::{BodyForm, Message};
use crate::spool::Spool;
use serde_json::value::RawValue;
use std::time::Duration;

/// Fields of a record that no sender decides about.
const NOT_FROM_OUTSIDE: [&str; 6] = ["id", "state", "queue", "after", "after_failed", "after_any"];

/// The largest result: the limit of a message of SQS.
const MOST_OF_A_RESULT: usize = 1 << 20;

/// A lease of SQS ends after 12 h whatever one does; a job without a timeout gets this one.
const BEFORE_THE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The record of the job that a message asks for. Errors say why it is none.
pub(super) fn record(
    plan: &BridgePlan,
    config: &Config,
    longest_hold: Option<Duration>,
    message: &Message,
    lease: &Lease,
    now: Wall,
) -> Result<Record, String> {
    let body = message.body.as_ref().map_err(Clone::clone)?;
    let is_record = match (plan.config.format, message.form) {
        (BodyFormat::Record, _) | (BodyFormat::Auto, BodyForm::Record) => true,
        (BodyFormat::Command, _) => false,
        (BodyFormat::Auto, BodyForm::Command | BodyForm::Unmarked) => false,
    };
    let mut fields = match is_record {
        true => sent_fields(body)?,
        false => vec![("command".to_owned(), quoted(body))],
    };
    for (key, raw) in &plan.config.job.0 {
        if !fields.iter().any(|(known, _)| known == key) {
            fields.push((key.clone(), raw.clone()));
        }
    }
    let fields = with_lease(fields, &lease.to_json(Some(plan.name.as_str())))?;
    let mut record = Record::from_json(&object(&fields)).map_err(|e| e.to_string())?;
    record.make_fresh();
    record.id = Some(message.id.clone());
    record.created_at = Some(now);
    let queue = &plan.config.queue;
    record.queue = (!queue.is_default()).then(|| queue.clone());
    record.group = message
        .group
        .as_ref()
        .map(|group| format!("{}/{group}", lease.queue))
        .or(record.group);
    record.tries.get_or_insert(config.tries_of_accepted(queue));
    if plan.config.ack == AckWhen::Done {
        // After a crash of this machine the engine hands the message to another one.
        record.max_interruptions = Some(0);
        let timeout = config.terms(queue, &record).timeout;
        if let (None, Some(longest)) = (timeout, longest_hold) {
            record.timeout = Setting::Set(longest.saturating_sub(BEFORE_THE_LIMIT));
        }
    }
    let (size, most) = (record.to_json().len() as u64, config.max_job_bytes);
    match size > most {
        true => Err(format!(
            "its record would be {size} bytes; max_job_bytes is {most}"
        )),
        false => Ok(record),
    }
}

/// The fields of a record that was sent, without those that no sender decides about.
fn sent_fields(body: &str) -> Result<Vec<(String, String)>, String> {
    let object = Object::parse(body).map_err(|e| e.to_string())?;
    let fields = object.fields();
    Ok(fields
        .filter(|field| !NOT_FROM_OUTSIDE.contains(&field.key))
        .map(|field| (field.key.to_owned(), field.raw.get().to_owned()))
        .collect())
}

/// Puts the lease into `x`, in place of one that the sender has put there.
fn with_lease(
    mut fields: Vec<(String, String)>,
    lease: &str,
) -> Result<Vec<(String, String)>, String> {
    let sent = fields.iter().position(|(key, _)| key == "x");
    let sent = sent.map(|at| fields.remove(at).1);
    let mut inner = match sent.as_deref() {
        None | Some("null") => Vec::new(),
        Some(text) => {
            let object = Object::parse(text).map_err(|e| format!("x: {e}"))?;
            let kept = object.fields().filter(|field| field.key != "lease");
            kept.map(|field| (field.key.to_owned(), field.raw.get().to_owned()))
                .collect()
        }
    };
    inner.push(("lease".to_owned(), lease.to_owned()));
    fields.push(("x".to_owned(), object(&inner)));
    Ok(fields)
}

fn object(fields: &[(String, String)]) -> String {
    let fields = fields.iter();
    let fields: Vec<_> = fields
        .map(|(key, raw)| format!("{}: {raw}", quoted(key)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn quoted(text: &str) -> String {
    // A string always has a text.
    serde_json::to_string(text).unwrap_or_default()
}

/// The lease in the record of a job, and the bridge that has written it.
pub(super) fn lease_in(record: &Record) -> Option<(Lease, Option<String>)> {
    let (_, x) = record.extra.iter().find(|(key, _)| key == "x")?;
    let object = Object::parse(x.get()).ok()?;
    let lease = object.fields().find(|field| field.key == "lease")?;
    Lease::read(lease.raw.get()).ok()
}

/// The result of an ended job: its record without secrets and input. `None` if it is gone.
pub(super) fn result(spool: &Spool, id: &JobId) -> Option<String> {
    let at = spool.find_ended(id).ok()??;
    let mut record = spool.load(id, &at).ok()??;
    record.hide_secrets();
    record.stdin = None;
    record.files.clear();
    let host = host_name();
    let raw = |value: &str| RawValue::from_string(value.to_owned()).ok();
    if let Some(host) = raw(&quoted(&host)) {
        record.extra.push(("host".to_owned(), host));
    }
    let text = record.to_json_in(at.state());
    let too_much = text.len().saturating_sub(MOST_OF_A_RESULT);
    if too_much == 0 {
        return Some(text);
    }
    record.output = None;
    if let Some(result) = &mut record.result {
        let keep = result.len().saturating_sub(2 * too_much);
        let keep = (0..=keep).rev().find(|at| result.is_char_boundary(*at));
        result.truncate(keep.unwrap_or(0));
    }
    record
        .extra
        .extend(raw("true").map(|raw| ("truncated".to_owned(), raw)));
    Some(record.to_json_in(at.state()))
}

/// True if a text names the same date in its record as this lease.
pub(super) fn is_of(record: &Record, lease: &Lease) -> bool {
    let own = lease_in(record);
    own.is_some_and(|(own, _)| own.is_same_message(lease) && own.since == lease.since)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_decides_about_its_fields_only() {
        let fields = sent_fields(
            r#"{"command": "true", "queue": "q", "id": "7", "after": "1", "tags": ["a"]}"#,
        );
        let text = object(&fields.unwrap());
        assert_eq!(text, r#"{"command": "true", "tags": ["a"]}"#);
        let fields = vec![(
            "x".to_owned(),
            r#"{"a": 1, "lease": {"by": "me"}}"#.to_owned(),
        )];
        let text = object(&with_lease(fields, "{}").unwrap());
        assert_eq!(text, r#"{"x": {"a": 1, "lease": {}}}"#);
        assert!(with_lease(vec![("x".to_owned(), "1".to_owned())], "{}").is_err());
    }
}
