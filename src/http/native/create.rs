//! `POST /v1/jobs`, `PUT /v1/jobs/ID` and `POST /v1/jobs/ID/copy`.

use super::{in_path, input, job_id, no_job, require};
use crate::core::id::JobId;
use crate::core::record::Record;
use crate::core::time::Boot;
use crate::http::tokens::digest;
use crate::http::{
    Door, Ended, Handled, JobRefusal, Request, Response, Right, brief, problem, shown_now,
    wait_for_end,
};
use crate::os::clock;
use crate::spool::{Found, NewId};
use std::io;
use std::sync::Arc;

/// The answer to a push: until when it waits, the span that `Prefer` asked for, and how much of the job it shows.
struct CreatedReply {
    until: Option<Boot>,
    preferred: Option<u64>,
    show: fn(&Found, &Door) -> String,
}

impl CreatedReply {
    fn of(request: &Request) -> Result<Self, Response> {
        let span = input::wait(request)?;
        Ok(Self {
            until: span.map(|span| clock::now().boot.after(span)),
            preferred: span
                .filter(|_| request.query("wait").is_none())
                .map(|span| span.as_secs()),
            // The caller has sent the job, and waits for its result.
            show: shown_pushed,
        })
    }

    /// The answer about a job that another caller may have sent: without `read` it shows the id and the state.
    fn of_others(mut self, request: &Request) -> Self {
        if !request.caller.may(Right::Read) {
            self.show = |found, _| brief(found);
        }
        self
    }

    /// The answer about a job that an earlier push with the same key has sent. A key belongs to its caller, but all
    /// callers without a token share theirs.
    fn of_key(self, request: &Request) -> Self {
        match request.caller.name {
            Some(_) => self,
            None => self.of_others(request),
        }
    }
}

pub fn post(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Push, &["hold", "wait"])?;
    let manner = CreatedReply::of(request)?;
    let hold = input::flag(request, "hold")?;
    let record = input::job(request)?;
    let submit = |record, id| door.submit_or_hold(&request.caller, record, id, hold);
    let Some(key) = idempotency_key(request)? else {
        let id = submit(record, NewId::Next).map_err(|e| e.problem())?;
        return created(request, door, id, manner, 201);
    };
    let asked = asked_for(&record);
    match submit(record, NewId::Exact(key.clone())) {
        Ok(id) => created(request, door, id, manner, 201),
        Err(JobRefusal::Taken(_)) if is_there(door, &key, &asked)? => {
            created(request, door, key, manner.of_key(request), 201)
        }
        Err(JobRefusal::Taken(_)) => Err(problem::new(
            422,
            "this Idempotency-Key was used with another request",
        )),
        Err(e) => Err(e.problem()),
    }
}

pub fn put(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Push, &["hold", "replace", "wait"])?;
    let id = JobId::new(id)
        .map_err(|e| problem::new(422, format!("no job can be called that: the name {e}")))?;
    let manner = CreatedReply::of(request)?;
    let hold = input::flag(request, "hold")?;
    let record = input::job(request)?;
    let submit = |record, id| door.submit_or_hold(&request.caller, record, id, hold);
    // The answer shows the job of this name, which after a replacement may be the one that still runs or ran before.
    let (new, manner) = match input::flag(request, "replace")? {
        true => (NewId::Replace(id.clone()), manner.of_others(request)),
        false => (NewId::Exact(id.clone()), manner),
    };
    let asked = asked_for(&record);
    match submit(record, new) {
        Ok(id) => created(request, door, id, manner, 201),
        Err(JobRefusal::Taken(_)) if is_there(door, &id, &asked)? => {
            created(request, door, id, manner.of_others(request), 200)
        }
        Err(e) => Err(e.problem()),
    }
}

/// Accepts the same job again, beside the one that is there. That needs the rights of a push, since both may run at a
/// time. The environment, which no client sees, is copied too.
pub fn copy(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Push, &["wait"])?;
    let id = job_id(id)?;
    let manner = CreatedReply::of(request)?.of_others(request);
    let found = door.spool().get(&id).map_err(super::failed)?;
    let mut record = found.ok_or_else(|| no_job(&id))?.record;
    // The parents were waited for already, and may be removed by now.
    record.forget_parents();
    let id = door
        .submit(&request.caller, record, NewId::Next)
        .map_err(|e| e.problem())?;
    created(request, door, id, manner, 201)
}

/// The id of a job that was pushed with an `Idempotency-Key`. It follows from the key and its caller: the same push
/// finds the same file, also after a crash, without a table of keys.
fn idempotency_key(request: &Request) -> Result<Option<JobId>, Response> {
    let mut keys = request.headers.all("idempotency-key");
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let text = std::str::from_utf8(key).unwrap_or_default().trim();
    let text = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let is_plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    if text.is_empty() || text.len() > 255 || !is_plain || keys.next().is_some() {
        let what = "Idempotency-Key: expected one string of up to 255 ASCII characters";
        return Err(problem::new(400, what));
    }
    let caller = request.caller.name.as_deref().unwrap_or_default();
    let digest = digest(&format!("{caller}\n{text}"));
    job_id(&format!("key-{}", digest.get(..32).unwrap_or_default())).map(Some)
}

/// The part of a record that a client has sent.
fn asked_for(record: &Record) -> Record {
    let mut record = record.clone();
    record.make_fresh();
    record.id = None;
    record.created_at = None;
    record.queue = record.queue.filter(|queue| !queue.is_default());
    record
}

/// True if the job of this name is the one that the request asks for. Then it is also durable.
fn is_there(door: &Door, id: &JobId, asked: &Record) -> Result<bool, Response> {
    let Some(found) = door.spool().get(id).map_err(super::failed)? else {
        return Ok(false);
    };
    let mut there = asked_for(&found.record);
    // A request that does not say how many tries it wants was given the default of its time.
    there.tries.take_if(|_| asked.tries.is_none());
    let is_same = there.to_json() == asked.to_json();
    if is_same {
        door.spool().confirm(&found).map_err(super::failed)?;
    }
    Ok(is_same)
}

/// The answer to a push that is durable by now: the job as it is, or once it has ended.
fn created(
    request: &Request,
    door: &Door,
    id: JobId,
    manner: CreatedReply,
    status: u16,
) -> Handled {
    let location = format!("/v1/jobs/{}", in_path(id.as_str()));
    let response = match manner.until {
        None => describe(&id, door, door.spool().get(&id), status, manner.show),
        Some(_) => match wait_for_end(request, door, &id, manner.until) {
            Ended::Over(found) => describe(&id, door, Ok(Some(*found)), status, manner.show),
            Ended::Late(found) => describe(&id, door, Ok(Some(*found)), 202, manner.show),
            Ended::Gone => no_job(&id),
            Ended::Failed(e) => super::failed(e),
        },
    };
    let response = response.header("Location", &location);
    let response = match manner.preferred {
        Some(seconds) => response.header("Preference-Applied", format!("wait={seconds}")),
        None => response,
    };
    Ok(response.into())
}

/// A job for the one who has sent it. If it takes several slots, or tokens, it says why it waits: there may be fewer in
/// all.
fn shown_pushed(found: &Found, door: &Door) -> String {
    let takes_more = found.record.slots.is_some() || !found.record.uses.is_empty();
    let waits = takes_more.then(|| door.spool().waits(&door.config()).ok());
    shown_now(found, door.spool(), waits.flatten().as_ref())
}

/// The job. When it is gone or cannot be read, its id: it was accepted all the same.
fn describe(
    id: &JobId,
    door: &Door,
    found: io::Result<Option<Found>>,
    status: u16,
    show: fn(&Found, &Door) -> String,
) -> Response {
    match found {
        Ok(Some(found)) => Response::json(status, show(&found, door)),
        Ok(None) | Err(_) => Response::json(
            status,
            format!("{}\n", serde_json::json!({"id": id.as_str()})),
        ),
    }
}
