//! `GET /v1/jobs`: jobs by id, a page at a time.

use super::{Outcome, failed, in_path, input, require};
use crate::core::id::{JobId, QueueName, natural_order};
use crate::core::record::{Record, State};
use crate::http::{Door, Request, Response, Right, problem, shown};
use crate::spool::{Found, Where};
use std::cmp::Ordering;
use std::sync::Arc;

/// Jobs on a page unless the client says otherwise, and at most.
const PAGE: u64 = 100;
const LARGEST_PAGE: u64 = 1000;

/// A page ends early when it has grown to this, in bytes.
const PAGE_BYTES: usize = 1 << 20;

/// A page also ends, with however little there is on it, when so many records were read for it: a search through very
/// many keeps no worker for long.
const MOST_READ: usize = 5000;

struct Wanted<'r> {
    states: Vec<State>,
    queue: Option<QueueName>,
    tag: Option<&'r str>,
    name: Option<&'r str>,
    /// In lower case.
    search: Option<String>,
    after: Option<&'r str>,
    reverse: bool,
    limit: u64,
}

impl<'r> Wanted<'r> {
    fn of(request: &'r Request) -> Result<Self, Response> {
        let words = request.query.iter().filter(|(key, _)| key == "state");
        let mut states = Vec::new();
        for word in words.flat_map(|(_, value)| value.split(',')) {
            let state = State::ALL.into_iter().find(|state| state.as_str() == word);
            states.push(state.ok_or_else(|| {
                let what =
                    format!("state: expected pending, active, complete or failed, got {word:?}");
                problem::new(400, what)
            })?);
        }
        if states.is_empty() {
            states.extend(State::ALL);
        }
        Ok(Self {
            states,
            queue: request.query("queue").map(input::queue).transpose()?,
            tag: request.query("tag"),
            name: request.query("name"),
            search: request.query("search").map(str::to_lowercase),
            after: request.query("after"),
            reverse: input::flag(request, "reverse")?,
            limit: input::number(request, "limit")?
                .unwrap_or(PAGE)
                .clamp(1, LARGEST_PAGE),
        })
    }

    fn order(&self, a: &str, b: &str) -> Ordering {
        match self.reverse {
            true => natural_order(b, a),
            false => natural_order(a, b),
        }
    }

    fn is_wanted(&self, id: &JobId, record: &Record) -> bool {
        let queue = record.queue.clone().unwrap_or_default();
        let has = |wanted: &String| {
            let texts = [Some(id.as_str()), record.name.as_deref()];
            let tags = record.tags.iter().map(String::as_str);
            let mut texts = texts.into_iter().flatten().chain(tags);
            texts.any(|text| text.to_lowercase().contains(wanted))
        };
        self.queue.as_ref().is_none_or(|wanted| *wanted == queue)
            && self
                .tag
                .is_none_or(|tag| record.tags.iter().any(|t| t == tag))
            && self
                .name
                .is_none_or(|name| record.name.as_deref() == Some(name))
            && self.search.as_ref().is_none_or(has)
    }

    /// Every name in question with its place, in order. Only names: records are read page by page.
    fn names(&self, door: &Door) -> std::io::Result<Vec<(JobId, Where)>> {
        let spool = door.spool();
        let mut places = Vec::new();
        for state in State::ALL
            .into_iter()
            .filter(|state| self.states.contains(state))
        {
            match state {
                State::Active => places.push(Where::Active),
                State::Complete => places.push(Where::Complete),
                State::Failed => places.push(Where::Failed),
                State::Pending => {
                    let named = spool.queues()?.into_iter().filter(|q| !q.is_default());
                    let all = std::iter::once(QueueName::default()).chain(named);
                    let wanted = all.filter(|q| self.queue.as_ref().is_none_or(|one| one == q));
                    places.extend(wanted.map(Where::Pending));
                }
            }
        }
        let mut names = Vec::new();
        for at in places {
            let ids = match spool.ids(&at) {
                Ok(ids) => ids,
                // A queue may go at any time.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let is_later = |id: &JobId| {
                self.after
                    .is_none_or(|after| self.order(id.as_str(), after).is_gt())
            };
            names.extend(ids.into_iter().filter(is_later).map(|id| (id, at.clone())));
        }
        names.sort_by(|a, b| self.order(a.0.as_str(), b.0.as_str()));
        Ok(names)
    }
}

pub fn list(request: &Request, door: &Arc<Door>) -> Outcome {
    require(request, Right::Read)?;
    let wanted = Wanted::of(request)?;
    let names = wanted.names(door).map_err(failed)?;
    let mut body = String::from("{\"jobs\": [");
    let (mut count, mut last, mut next): (u64, Option<JobId>, Option<JobId>) = (0, None, None);
    for (read, (id, at)) in names.into_iter().enumerate() {
        let is_full = count >= wanted.limit || body.len() > PAGE_BYTES || read >= MOST_READ;
        // A page does not end between two jobs of one name: the next page begins behind it.
        if is_full && last.as_ref() != Some(&id) {
            next = last;
            break;
        }
        // What cannot be read, or has just moved on, is left out.
        if let Ok(Some(record)) = door.spool().load(&id, &at)
            && wanted.is_wanted(&id, &record)
        {
            body.push_str(if count > 0 { ",\n" } else { "\n" });
            let found = Found {
                id: id.clone(),
                at,
                record,
            };
            body.push_str(shown(&found).trim_end());
            count += 1;
        }
        last = Some(id);
    }
    let cursor = serde_json::json!(next.as_ref().map(JobId::as_str));
    body.push_str(&format!("],\n\"next\": {cursor}}}\n"));
    let response = Response::json(200, body);
    Ok(match next {
        Some(next) => response.header("Link", format!("<{}>; rel=\"next\"", link(request, &next))),
        None => response,
    }
    .into())
}

/// The same request for the next page.
fn link(request: &Request, next: &JobId) -> String {
    let kept = request.query.iter().filter(|(key, _)| key != "after");
    let mut query: Vec<String> = kept
        .map(|(key, value)| format!("{}={}", in_path(key), in_path(value)))
        .collect();
    query.push(format!("after={}", in_path(next.as_str())));
    format!("/v1/jobs?{}", query.join("&"))
}
