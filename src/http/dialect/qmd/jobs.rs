//! `/jobs`: the jobs that wait, run and have ended.

use super::request::Priority;
use super::{failed, not_found, queue, require, result_of};
use crate::core::id::{JobId, natural_order};
use crate::http::{Door, Handled, Request, Response, Right};
use crate::spool::{Found, QmdResult, Where, is_of_qmd};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

/// The number of newest ended jobs that are looked through for those of qmd.
const LOOKED_THROUGH: usize = 10_000;

/// Ended jobs in a list unless the client says otherwise.
const SHOWN: usize = 50;

pub fn list(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read)?;
    let mut waiting = in_place(door, &Where::Pending(queue()?)).map_err(failed)?;
    waiting.extend(in_place(door, &Where::Held).map_err(failed)?);
    let running = in_place(door, &Where::Active).map_err(failed)?;
    let ended = finished(door).map_err(failed)?;
    let ended = ended.filter(|found| is_of_qmd(&found.record));
    if wants_json(request) {
        let limit = limit(request, LOOKED_THROUGH)?;
        let jobs = running.iter().chain(&waiting).map(line);
        let ended = ended.take(limit).map(|found| line(&found));
        let jobs: Vec<String> = jobs.chain(ended).collect();
        return Ok(Response::json(200, format!("[{}]\n", jobs.join(",\n"))).into());
    }
    let kept = ended.count() as u64;
    let tally = door.tally().read();
    let counted = tally
        .get(&queue()?)
        .map_or(0, |of_queue| of_queue.complete + of_queue.failed);
    let mut text = String::new();
    for (word, jobs) in [("Queued", &waiting), ("Running", &running)] {
        let _ = writeln!(text, "{word}: {}", jobs.len());
        for class in [Priority::Urgent, Priority::High, Priority::Low] {
            let of_class = |found: &&Found| Priority::of(found.record.priority) == class;
            let n = jobs.iter().filter(of_class).count();
            let _ = writeln!(text, "- {n} ({})", class.as_str());
        }
        text.push('\n');
    }
    let _ = write!(
        text,
        "Finished (in-cache): {kept}\n\nFinished (total): {}",
        kept.max(counted)
    );
    Ok(Response::text(200, text).into())
}

/// A job in the list.
#[derive(Serialize)]
struct JobLine<'a> {
    id: &'a str,
    script: &'a str,
    priority: &'static str,
    status: &'static str,
    start_time: String,
    end_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn line(found: &Found) -> String {
    let record = &found.record;
    let result = QmdResult::new(found.id.as_str(), record, found.at.state(), "");
    // Printing a value of these types cannot fail.
    serde_json::to_string(&JobLine {
        id: result.id,
        script: result.script,
        priority: Priority::of(record.priority).as_str(),
        status: result.status,
        start_time: result.start_time,
        end_time: result.end_time,
        error: result.error,
    })
    .unwrap_or_default()
}

/// The result of a job, once there is one.
pub fn wait(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Read)?;
    let id = JobId::new(id).map_err(|_| not_found())?;
    match door.spool().get(&id).map_err(failed)? {
        Some(found) if is_of_qmd(&found.record) => Ok(result_of(request, door, &id).into()),
        Some(_) | None => Err(not_found()),
    }
}

/// The value of `limit`, at most `most`.
pub fn limit(request: &Request, most: usize) -> Result<usize, Response> {
    match request.query("limit") {
        None => Ok(SHOWN),
        Some(text) => text.parse().map(|n: usize| n.min(most)).map_err(|_| {
            Response::text(422, format!("limit: expected a whole number, got {text:?}"))
        }),
    }
}

fn wants_json(request: &Request) -> bool {
    match request.query("format") {
        Some(format) => format == "json",
        None => request.headers.lists("accept", "application/json"),
    }
}

/// qmd's jobs in a place, the oldest first. A job that has just moved on is left out.
fn in_place(door: &Door, at: &Where) -> io::Result<Vec<Found>> {
    let mut ids = match door.spool().ids(at) {
        // The queue was not used yet.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    ids.sort_by(|a, b| natural_order(a.as_str(), b.as_str()));
    let load = |id| load(door, id, at);
    Ok(ids
        .into_iter()
        .filter_map(load)
        .filter(|found| is_of_qmd(&found.record))
        .collect())
}

/// The newest jobs that have ended, the last one first. qmd's have numbers: names are not looked at.
pub fn finished(door: &Door) -> io::Result<impl Iterator<Item = Found>> {
    let mut ids = Vec::new();
    for at in [Where::Complete, Where::Failed] {
        let is_number = |id: &JobId| id.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let here = door.spool().ids(&at)?.into_iter().filter(is_number);
        ids.extend(here.map(|id| (id, at.clone())));
    }
    ids.sort_by(|a, b| natural_order(b.0.as_str(), a.0.as_str()));
    let newest = ids.into_iter().take(LOOKED_THROUGH);
    Ok(newest.filter_map(|(id, at)| load(door, id, &at)))
}

/// The job, unless its record cannot be read.
fn load(door: &Door, id: JobId, at: &Where) -> Option<Found> {
    let record = door.spool().load(&id, at).ok()??;
    Some(Found {
        id,
        at: at.clone(),
        record,
    })
}
