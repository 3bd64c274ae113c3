//! One job: push, show, delete, restart, stop.

use super::input::Input;
use super::show::{self, Phase};
use super::{Fail, HqResult, find, require};
use crate::core::id::QueueName;
use crate::core::json::JsonError;
use crate::core::record::{Call, Manner, Record, RecordError, Setting, Work};
use crate::http::{Door, Request, Right};
use crate::os::clock;
use crate::spool::{NOT_RUNNING, NewId, Steered};
use serde_json::json;
use std::time::Duration;

/// The longest timeout that a record can hold.
const LONGEST_SECONDS: u64 = 100 * 365 * 86_400;

pub fn push(request: &Request, door: &Door) -> HqResult {
    require(request, Right::Push)?;
    let record = asked_for(&Input::of_body(request)?)?;
    let (number, record) = accept(request, door, record)?;
    Ok(show::job(number, &record, Phase::Unfinished, ""))
}

/// The job that a push asks for.
pub fn asked_for(input: &Input) -> Result<Record, Fail> {
    let fields = input.fields()?;
    let call = Call {
        url: fields.string("url")?,
        headers: fields.map("headers")?,
        payload: fields.any("payload")?,
        manner: Manner::Hq,
        sign: false,
    };
    let name = fields.string("name")?;
    let comment = fields.string("comment")?;
    let timeout = u64::try_from(fields.integer("timeout")?).unwrap_or(0);
    if call.url.trim().is_empty() {
        return Err(Fail(422, "'url' is required".to_owned()));
    }
    let mut record = Record::new(Work::Url(Box::new(call)));
    record.name = Some(name).filter(|name| !name.is_empty());
    record.comment = Some(comment).filter(|comment| !comment.is_empty());
    if timeout > 0 {
        record.timeout = Setting::Set(Duration::from_secs(timeout.min(LONGEST_SECONDS)));
    }
    // A record that the daemon could not read must not be accepted.
    Record::from_json(&record.to_json()).map_err(|e| match e {
        // An error without a field is one of depth, and only the payload can be deep.
        RecordError::Json(e) if e.field.is_empty() => Fail(400, format!("payload: {}", e.what)),
        RecordError::Json(e) => Fail(400, JsonError { line: 0, ..e }.to_string()),
        RecordError::Empty
        | RecordError::NotText
        | RecordError::Work(_)
        | RecordError::Unsupported(_) => Fail(400, e.to_string()),
    })
}

/// Accepts the job. As hq does, it is shown as neither waiting nor running.
fn accept(request: &Request, door: &Door, mut record: Record) -> Result<(u64, Record), Fail> {
    record.created_at = Some(clock::wall());
    // hq tries a job once, and its clients rely on that.
    record.tries = Some(door.config().tries_of_dialect(&QueueName::default()));
    let id = door.submit(&request.caller, record.clone(), NewId::Next)?;
    let number = id.as_str().parse().unwrap_or_default();
    let stored = door.spool().get(&id).ok().flatten();
    let created_at = stored.and_then(|found| found.record.created_at);
    record.created_at = created_at.or(record.created_at);
    Ok((number, record))
}

/// A job of another caller that was accepted again: without `read` only its number and state.
fn again(request: &Request, number: u64, record: &Record) -> String {
    match request.caller.may(Right::Read) {
        true => show::job(number, record, Phase::Unfinished, ""),
        false => json!({"id": number.to_string(), "status": Phase::Unfinished.word()}).to_string(),
    }
}

pub fn get(request: &Request, door: &Door, id: &str) -> HqResult {
    require(request, Right::Read)?;
    let (number, found) = find(door, id)?;
    let output = show::output(door, &found);
    Ok(show::job(number, &found.record, Phase::of(&found), &output))
}

fn reference(number: u64) -> String {
    json!({"id": number.to_string()}).to_string()
}

fn missing(number: u64) -> Fail {
    Fail(422, format!("Job '{number}' is not found"))
}

/// Refuses to touch a job that waits or runs.
fn busy(number: u64, phase: Phase) -> Result<(), Fail> {
    match phase {
        Phase::Waiting => Err(Fail(422, format!("The job {number} is waiting now"))),
        Phase::Running | Phase::Canceling => {
            Err(Fail(422, format!("The job {number} is running now")))
        }
        Phase::Unfinished | Phase::Success | Phase::Failure | Phase::Canceled => Ok(()),
    }
}

pub fn delete(request: &Request, door: &Door, id: &str) -> HqResult {
    require(request, Right::Push)?;
    let (number, found) = find(door, id)?;
    busy(number, Phase::of(&found))?;
    let spool = door.spool();
    match spool.durably(|changed| spool.forget(&found.id, &NOT_RUNNING, changed))? {
        Steered::Done(_) => Ok(reference(number)),
        Steered::Missing => Err(missing(number)),
        Steered::Wrong(_) => busy(number, Phase::Running).map(|()| reference(number)),
    }
}

pub fn stop(request: &Request, door: &Door, id: &str) -> HqResult {
    require(request, Right::Push)?;
    let (number, found) = find(door, id)?;
    let inactive = || Fail(422, format!("The job {number} is not active"));
    match Phase::of(&found) {
        Phase::Canceling => return Ok(reference(number)),
        Phase::Waiting | Phase::Running => {}
        Phase::Unfinished | Phase::Success | Phase::Failure | Phase::Canceled => {
            return Err(inactive());
        }
    }
    match door.spool().cancel(&found.id)? {
        Steered::Done(_) => Ok(reference(number)),
        Steered::Missing => Err(missing(number)),
        Steered::Wrong(_) => Err(inactive()),
    }
}

pub fn restart(request: &Request, door: &Door, id: &str) -> HqResult {
    require(request, Right::Push)?;
    let input = Input::of_body(request)?;
    let copy = input.fields()?.boolean("copy")?;
    let (number, found) = find(door, id)?;
    let mut record = found.record.clone();
    record.make_fresh();
    busy(number, Phase::of(&found))?;
    if copy {
        let (number, record) = accept(request, door, record)?;
        return Ok(again(request, number, &record));
    }
    let spool = door.spool();
    match spool.durably(|changed| spool.retry(&found.id, changed))? {
        Steered::Done(_) => Ok(again(request, number, &record)),
        Steered::Missing => Err(missing(number)),
        Steered::Wrong(_) => busy(number, Phase::Waiting).map(|()| reference(number)),
    }
}
