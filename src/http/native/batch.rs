//! `POST /v1/jobs:batch`: a job a line.

use super::{input, require};
use crate::http::{Door, Handled, Request, Response, Right, problem};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most lines of a batch.
const MOST: usize = 10_000;

pub fn post(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Push, &[])?;
    let lines = request.body.split(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines.filter(|line| !line.trim_ascii().is_empty()).collect();
    if lines.is_empty() {
        return Err(problem::new(
            400,
            "the body is empty; write a job as JSON on each line",
        ));
    }
    if lines.len() > MOST {
        let what = format!("{} lines; {MOST} are the most at a time", lines.len());
        return Err(problem::new(413, what));
    }
    // Each line has an answer of its own; a mistake in one does not touch the others.
    let (mut records, mut mistakes) = (Vec::new(), Vec::new());
    for line in lines {
        mistakes.push(
            input::read_job(line, true)
                .map(|record| records.push(record))
                .err(),
        );
    }
    let mut outcomes = door.submit_each(&request.caller, records).into_iter();
    let mut body = String::new();
    for mistake in mistakes {
        let outcome = match mistake {
            Some(problem) => Some(Err(problem)),
            None => outcomes.next().map(|o| o.map_err(|e| e.problem())),
        };
        let told = match outcome {
            Some(Ok(id)) => json!({"status": 201, "id": id.as_str()}),
            Some(Err(problem)) => serde_json::from_slice(&problem.body).unwrap_or(Value::Null),
            None => Value::Null,
        };
        body.push_str(&format!("{told}\n"));
    }
    Ok(Response::with(200, "application/x-ndjson", body).into())
}
