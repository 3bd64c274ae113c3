//! `GET /v1/events`: the changes of jobs, as server-sent events.
//!
//! `ready` comes first: a client that reads the lists after it misses no change. `job` is a job that came to a state,
//! or is gone (`null`). `lost` says that some changes are missing, and that the client has to read the lists again.

use super::require;
use crate::http::wire::events::JobChange;
use crate::http::{Answer, Door, Handled, Outgoing, Request, Right, Topic, problem, sse};
use crate::os::clock;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// Most events in a piece.
const AT_ONCE: usize = 256;

pub fn get(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &[])?;
    let seen = match request.headers.get("last-event-id") {
        Some(text) => Some(text.parse().map_err(|_| {
            problem::new(
                400,
                format!("Last-Event-ID: expected a number, got {text:?}"),
            )
        })?),
        None => None,
    };
    let door = Arc::clone(door);
    Ok(Answer::Stream {
        head: sse::head(),
        length: None,
        body: Box::new(move |out| feed(&door, seen, out)),
    })
}

/// Sends the changes after number `seen`, or else from now on.
fn feed(door: &Door, seen: Option<u64>, out: &mut Outgoing<'_>) -> io::Result<()> {
    let on = [Topic::Events];
    let mut beat = clock::now().boot.after(sse::HEARTBEAT);
    let mut piece = Vec::new();
    sse::comment(&mut piece);
    out.write(&piece)?;
    // From here on the spool is watched.
    let mut goes_on = out.wait(&on, beat)?;
    let mut seen = match seen {
        Some(seen) => seen,
        None => {
            let last = door.events().last();
            piece.clear();
            sse::event(&mut piece, Some(&last), Some("ready"), "{}");
            out.write(&piece)?;
            last
        }
    };
    loop {
        let (now, news) = (clock::now().boot, door.events().since(seen, AT_ONCE));
        piece.clear();
        if news.missed {
            sse::event(&mut piece, None, Some("lost"), "{}");
        }
        for (number, event) in (news.first..).zip(&news.events) {
            sse::event(&mut piece, Some(&number), Some("job"), &show(event));
        }
        seen = news.first - 1 + news.events.len() as u64;
        if piece.is_empty() && beat <= now {
            sse::comment(&mut piece);
        }
        if !piece.is_empty() {
            beat = now.after(sse::HEARTBEAT);
            out.write(&piece)?;
        }
        if news.events.len() == AT_ONCE {
            continue;
        }
        if !goes_on {
            return Ok(());
        }
        goes_on = out.wait(&on, beat)?;
    }
}

fn show(event: &JobChange) -> String {
    json!({
        "id": event.id.as_str(),
        "state": event.state.map(|state| state.as_str()),
        "queue": event.queue.as_ref().map(|queue| queue.as_str()),
        "at": event.at.to_string(),
    })
    .to_string()
}
