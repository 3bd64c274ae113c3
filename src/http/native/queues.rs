//! `GET /v1/queues`, `PATCH /v1/queues` and `PATCH /v1/queues/QUEUE`.

use super::{Outcome, failed, input, require};
use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::core::json::{self, Object};
use crate::http::{Door, Request, Response, Right, problem};
use crate::spool::Where;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn list(request: &Request, door: &Arc<Door>) -> Outcome {
    require(request, Right::Read)?;
    Ok(Response::json(200, format!("{:#}\n", describe(door)?)).into())
}

fn describe(door: &Door) -> Result<Value, Response> {
    let config = door.config();
    let names = names(door, &config).map_err(failed)?;
    let mut queues = Vec::new();
    for name in names {
        let of_queue = config.queues.get(&name);
        queues.push(json!({
            "name": name.as_str(),
            "waiting": waiting(door, &name).map_err(failed)?,
            "paused": of_queue.is_some_and(|queue| queue.paused),
            "slots": config.slots_of(&name),
        }));
    }
    let active = door.spool().ids(&Where::Active).map_err(failed)?.len();
    Ok(json!({"queues": queues, "active": active, "paused": config.paused, "slots": door.slots()}))
}

/// Every queue that has a directory or a setting, and the default one.
pub fn names(door: &Door, config: &Config) -> std::io::Result<Vec<QueueName>> {
    let mut names = door.spool().queues()?;
    names.push(QueueName::default());
    names.extend(config.queues.keys().cloned());
    names.sort();
    names.dedup();
    Ok(names)
}

/// How many jobs wait in a queue.
pub fn waiting(door: &Door, queue: &QueueName) -> std::io::Result<usize> {
    match door.spool().ids(&Where::Pending(queue.clone())) {
        Ok(ids) => Ok(ids.len()),
        // It has settings, but was never used.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// Changes `paused` and `slots`, of one queue or of all of them together.
pub fn patch(request: &Request, door: &Arc<Door>, queue: Option<&str>) -> Outcome {
    require(request, Right::Admin)?;
    let queue = queue.map(input::queue).transpose()?;
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| problem::new(400, "the body is not UTF-8 text"))?;
    let object = Object::parse(text).map_err(|e| problem::new(400, e))?;
    let mut edits = Vec::new();
    for (key, raw) in object.fields() {
        let read = match key {
            "paused" => object
                .read(key, raw, json::boolean)
                .map(|paused| paused.to_string()),
            "slots" if json::is_null(raw) => Ok("null".to_owned()),
            "slots" => object
                .read(key, raw, |raw| json::integer(raw, 0..=10_000))
                .map(|slots| slots.to_string()),
            _ => Err(object.unknown(key, raw, &["paused", "slots"])),
        };
        let value = read.map_err(|e| problem::new(422, e))?;
        let path: Vec<&str> = match &queue {
            Some(queue) => vec!["queues", queue.as_str(), key],
            None => vec![key],
        };
        edits.push((path, value));
    }
    let edits: Vec<_> = edits
        .iter()
        .map(|(path, value)| (path.as_slice(), value.clone()))
        .collect();
    if !edits.is_empty() {
        door.edit_settings(&edits)?;
    }
    Ok(Response::json(200, format!("{:#}\n", describe(door)?)).into())
}
