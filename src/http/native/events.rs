//! `GET /v1/events`: what happens to jobs, as server-sent events.
//!
//! `ready` comes first: from there on nothing is missed, so that a client that looks at the lists now and listens from
//! here on knows all. `job` is a job that came to a state, or is gone (`null`). `lost` says that some are missing, and
//! that everything is to be looked at again.

use super::{Outcome, require};
use crate::core::time::Boot;
use crate::http::events::Event;
use crate::http::{Answer, Door, Next, Request, Right, Source, Topic, problem, sse};
use crate::os::clock;
use serde_json::json;
use std::sync::Arc;

/// Most events in a piece.
const AT_ONCE: usize = 256;

pub fn get(request: &Request, door: &Arc<Door>) -> Outcome {
    require(request, Right::Read)?;
    let seen = match request.headers.get("last-event-id") {
        Some(text) => Some(text.parse().map_err(|_| {
            problem::new(
                400,
                format!("Last-Event-ID: expected a number, got {text:?}"),
            )
        })?),
        None => None,
    };
    Ok(Answer::Stream {
        head: sse::head(),
        length: None,
        source: Box::new(Feed {
            door: Arc::clone(door),
            seen,
            greeted: false,
            beat: clock::now().boot.after(sse::HEARTBEAT),
        }),
    })
}

struct Feed {
    door: Arc<Door>,
    seen: Option<u64>,
    greeted: bool,
    beat: Boot,
}

impl Source for Feed {
    fn fill(&mut self, out: &mut Vec<u8>) -> Next {
        let now = clock::now().boot;
        let sleep = |beat| Next::Sleep {
            on: vec![Topic::Events],
            until: Some(beat),
        };
        if !self.greeted {
            // The second call comes when the spool is watched for us.
            self.greeted = true;
            sse::comment(out);
            return sleep(self.beat);
        }
        let Some(seen) = self.seen else {
            let last = self.door.events().last();
            self.seen = Some(last);
            sse::event(out, Some(&last), Some("ready"), "{}");
            return sleep(self.beat);
        };
        let news = self.door.events().since(seen, AT_ONCE);
        if news.missed {
            sse::event(out, None, Some("lost"), "{}");
        }
        for (number, event) in (news.first..).zip(&news.events) {
            sse::event(out, Some(&number), Some("job"), &show(event));
        }
        self.seen = Some(news.first - 1 + news.events.len() as u64);
        if !out.is_empty() {
            self.beat = now.after(sse::HEARTBEAT);
        } else if self.beat <= now {
            self.beat = now.after(sse::HEARTBEAT);
            sse::comment(out);
        }
        match news.events.len() == AT_ONCE {
            true => Next::More,
            false => sleep(self.beat),
        }
    }
}

fn show(event: &Event) -> String {
    json!({
        "id": event.id.as_str(),
        "state": event.state.map(|state| state.as_str()),
        "queue": event.queue.as_ref().map(|queue| queue.as_str()),
        "at": event.at.to_string(),
    })
    .to_string()
}
