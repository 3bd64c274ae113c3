//! One job: `GET` and `DELETE /v1/jobs/ID`, and `POST /v1/jobs/ID/VERB`.

use super::{failed, input, job_id, no_job, require};
use crate::core::record::State;
use crate::http::tokens::digest;
use crate::http::{
    Door, Ended, Handled, Request, Response, Right, problem, shown, shown_now, shown_to,
    wait_for_end,
};
use crate::os::clock;
use crate::spool::{Found, NOT_RUNNING, Steered, Where};
use std::io;
use std::sync::Arc;

/// The verbs that steer a job.
pub const VERBS: [&str; 6] = ["cancel", "retry", "hold", "release", "urgent", "move"];

pub fn get(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Read, &["wait"])?;
    let id = job_id(id)?;
    let known = request.headers.get("if-none-match").map(str::to_owned);
    let Some(span) = input::wait(request)? else {
        let found = door.spool().get(&id).map_err(failed)?;
        let found = found.ok_or_else(|| no_job(&id))?;
        return Ok(tagged(as_it_is(door, &found)?, known.as_deref()).into());
    };
    let until = clock::now().boot.after(span);
    let response = match wait_for_end(request, door, &id, Some(until)) {
        Ended::Over(found) => tagged(shown(&found), known.as_deref()),
        Ended::Late(found) => Response::json(202, as_it_is(door, &found)?),
        Ended::Gone => no_job(&id),
        Ended::Failed(e) => failed(e),
    };
    Ok(response.into())
}

/// The job, and why it waits, or how far it is.
fn as_it_is(door: &Door, found: &Found) -> Result<String, Response> {
    let waits = match found.at {
        Where::Pending(_) | Where::Held => {
            Some(door.spool().waits(&door.config()).map_err(failed)?)
        }
        Where::Active | Where::Complete | Where::Failed => None,
    };
    Ok(shown_now(found, door.spool(), waits.as_ref()))
}

/// The job with a tag that changes whenever it does; 304 if the client has it already.
fn tagged(text: String, known: Option<&str>) -> Response {
    let tag = format!("\"{}\"", digest(&text).get(..24).unwrap_or_default());
    let is_known = known.is_some_and(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|one| one == tag || one == "*")
    });
    match is_known {
        true => Response::new(304),
        false => Response::json(200, text),
    }
    .header("ETag", tag)
    .header("Cache-Control", "no-cache")
}

pub fn delete(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Push, &["kill"])?;
    let id = job_id(id)?;
    let spool = door.spool();
    let states = match input::flag(request, "kill")? {
        true => &State::ALL[..],
        false => &NOT_RUNNING,
    };
    let forgotten = spool.durably(|changed| spool.forget(&id, states, changed));
    match forgotten.map_err(failed)? {
        Steered::Done(State::Active) => {
            Ok(Response::json(202, format!("{}\n", serde_json::json!({"id": id.as_str()}))).into())
        }
        Steered::Done(_) => Ok(Response::new(204).into()),
        Steered::Missing => Err(no_job(&id)),
        Steered::Wrong(_) => Err(problem::new(
            409,
            format!("job {id} is running; ?kill ends and removes it"),
        )),
    }
}

pub fn steer(request: &Request, door: &Arc<Door>, id: &str, verb: &str) -> Handled {
    let parameters: &[&str] = match verb {
        "move" => &["queue"],
        _ => &[],
    };
    require(request, Right::Push, parameters)?;
    let id = job_id(id)?;
    let spool = door.spool();
    let steered = match verb {
        "cancel" => spool.cancel(&id),
        "retry" => spool.durably(|changed| spool.retry(&id, changed)),
        "hold" => spool.durably(|changed| spool.hold(&id, changed)),
        "urgent" => spool.durably(|changed| spool.make_urgent(&id, changed)),
        "move" => {
            let queue = request.query("queue");
            let queue = queue.ok_or_else(|| problem::new(400, "move: ?queue= is missing"))?;
            let queue = input::queue(queue)?;
            spool.durably(|changed| spool.move_to(&id, &queue, changed))
        }
        _ => spool.durably(|changed| spool.release(&id, changed)),
    };
    let status = match steered {
        // The daemon ends it.
        Ok(Steered::Done(State::Active)) => 202,
        Ok(Steered::Done(_)) => 200,
        Ok(Steered::Missing) => return Err(no_job(&id)),
        Ok(Steered::Wrong(state)) => {
            let what = format!("job {id} is in {state}/; {verb} is not possible there");
            return Err(problem::new(409, what));
        }
        Err(e) if is_in_the_way(&e) => {
            let what =
                format!("job {id}: another job of that name is in the way, or it keeps moving");
            return Err(problem::new(409, what));
        }
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            return Err(problem::new(400, e.to_string()));
        }
        Err(e) => return Err(failed(e)),
    };
    let found = door.spool().get(&id).map_err(failed)?;
    let found = found.ok_or_else(|| no_job(&id))?;
    Ok(Response::json(status, shown_to(request, &found)).into())
}

fn is_in_the_way(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy
    )
}
