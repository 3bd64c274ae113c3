//! `GET /v1/queues`, `PATCH /v1/queues` and `PATCH /v1/queues/QUEUE`.

use super::{failed, input, require};
use crate::core::id::QueueName;
use crate::core::json::{self, Object};
use crate::http::{Door, Handled, Request, Response, Right, problem};
use crate::spool::{Overview, Where};
use serde_json::Value;
use std::io;
use std::sync::Arc;

pub fn list(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &[])?;
    Ok(Response::json(200, format!("{:#}\n", describe(door)?)).into())
}

fn describe(door: &Door) -> Result<Value, Response> {
    let config = door.config();
    let overview = Overview::read(door.spool(), &config, door.config_error());
    Ok(overview.map_err(failed)?.to_json())
}

/// How many jobs wait in a queue.
pub fn waiting(door: &Door, queue: &QueueName) -> io::Result<usize> {
    // A queue with settings that was never used has no directory.
    Ok(door
        .spool()
        .ids_there(&Where::Pending(queue.clone()))?
        .len())
}

/// The changes of a `PATCH`.
#[derive(Default)]
struct Change {
    /// The file of a pause is made or removed.
    paused: Option<bool>,
    /// The setting is changed; `Some(None)` removes it.
    slots: Option<Option<String>>,
}

impl Change {
    fn read(body: &[u8]) -> Result<Self, Response> {
        let text = std::str::from_utf8(body)
            .map_err(|_| problem::new(400, "the body is not UTF-8 text"))?;
        let object = Object::parse(text).map_err(|e| problem::new(400, e))?;
        let mut change = Self::default();
        for field in object.fields() {
            let read = match field.key {
                "paused" => field.read(json::boolean).map(|paused| {
                    change.paused = Some(paused);
                }),
                "slots" => {
                    let slots = field.optional(|raw| json::integer::<i64>(raw, 0..=10_000));
                    slots.map(|slots| change.slots = Some(slots.map(|n| n.to_string())))
                }
                _ => Err(field.unknown(&["paused", "slots"])),
            };
            read.map_err(|e| problem::new(422, e))?;
        }
        Ok(change)
    }
}

/// Changes `paused` and `slots`, of one queue or of all of them together.
pub fn patch(request: &Request, door: &Arc<Door>, queue: Option<&str>) -> Handled {
    require(request, Right::Admin, &[])?;
    let queue = queue.map(input::queue).transpose()?;
    let change = Change::read(&request.body)?;
    if let Some(slots) = change.slots {
        let path = match &queue {
            Some(queue) => vec!["queues", queue.as_str(), "slots"],
            None => vec!["slots"],
        };
        door.edit_settings(&[(&path, slots)])?;
    }
    match change.paused {
        Some(true) => pause(door, queue.as_ref())?,
        Some(false) => resume(door, queue.as_ref())?,
        None => {}
    }
    Ok(Response::json(200, format!("{:#}\n", describe(door)?)).into())
}

fn pause(door: &Door, queue: Option<&QueueName>) -> Result<(), Response> {
    if let Some(queue) = queue
        && !door
            .spool()
            .known_queues(&door.config())
            .map_err(failed)?
            .contains(queue)
    {
        return Err(problem::new(404, format!("there is no queue {queue}")));
    }
    door.spool().pause(queue).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidInput => problem::new(409, e.to_string()),
        _ => failed(e),
    })
}

/// Removes the file of a pause. A setting that pauses as well is not changed.
fn resume(door: &Door, queue: Option<&QueueName>) -> Result<(), Response> {
    door.spool().resume(queue).map_err(failed)?;
    match door.config().pausing_setting(queue) {
        Some(setting) => {
            let what = format!("nothing is resumed yet: the setting {setting} pauses it");
            Err(problem::new(409, what))
        }
        None => Ok(()),
    }
}
