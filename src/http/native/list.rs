//! `GET /v1/jobs`: jobs by id, a page at a time.

use super::{failed, in_path, input, require};
use crate::core::id::{JobId, QueueName, keep_first, natural_order};
use crate::core::json;
use crate::core::record::{Record, State, Work, without_userinfo};
use crate::http::{Door, Handled, Request, Response, Right, problem, shown_now};
use crate::spool::{Found, Waits, Where};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

/// Jobs on a page unless the client says otherwise, and at most.
const PAGE: u64 = 100;
const LARGEST_PAGE: u64 = 1000;

/// A page ends early when it has grown to this, in bytes.
const PAGE_BYTES: usize = 1 << 20;

/// As many names are looked at for a page of all jobs. Some may move on, or cannot be read: then it is a short page.
const NAMES: usize = 2048;

/// As many names are looked at for a page of a search, however few of the jobs are on it: so a search keeps its permit
/// for a short time only. With fewer, a search would need more pages, and each page lists all names.
const SEARCHED_NAMES: usize = 20_000;

/// The parameters of a list.
const PARAMETERS: [&str; 8] = [
    "state", "queue", "tag", "name", "search", "after", "reverse", "limit",
];

struct ListQuery<'r> {
    states: Vec<State>,
    queue: Option<QueueName>,
    tag: Option<&'r str>,
    name: Option<&'r str>,
    search: Option<Search>,
    after: Option<&'r str>,
    reverse: bool,
    limit: u64,
}

impl<'r> ListQuery<'r> {
    fn of(request: &'r Request) -> Result<Self, Response> {
        let words = request.query.iter().filter(|(key, _)| key == "state");
        let mut states = Vec::new();
        for word in words.flat_map(|(_, value)| value.split(',')) {
            let state = State::ALL.into_iter().find(|state| state.as_str() == word);
            states.push(state.ok_or_else(|| {
                let what = format!(
                    "state: expected pending, held, active, complete or failed, got {word:?}"
                );
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
            search: request.query("search").map(Search::of),
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
        let has = |search: &Search| {
            let work = match &record.work {
                Work::Text(_) | Work::Argv(_) | Work::Script { .. } => {
                    Cow::from(record.work.summary())
                }
                // A search must not reveal the part that is not shown.
                Work::Url(call) => without_userinfo(&call.url),
            };
            let texts = [
                Some(id.as_str()),
                Some(&work),
                record.name.as_deref(),
                record.comment.as_deref(),
            ];
            let tags = record.tags.iter().map(String::as_str);
            let mut texts = texts.into_iter().flatten().chain(tags);
            texts.any(|text| text.to_lowercase().contains(&search.text))
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

    /// How many names to look at for a page.
    fn names_for_page(&self) -> usize {
        let wants_all = self.queue.is_none()
            && self.tag.is_none()
            && self.name.is_none()
            && self.search.is_none();
        match wants_all {
            true => NAMES,
            false => SEARCHED_NAMES,
        }
    }

    /// The places to look in, in the order of a job's life.
    fn places(&self, door: &Door) -> io::Result<Vec<Where>> {
        let mut places = Vec::new();
        let wanted = State::ALL
            .into_iter()
            .filter(|state| self.states.contains(state));
        for state in wanted {
            match state {
                State::Held => places.push(Where::Held),
                State::Active => places.push(Where::Active),
                State::Complete => places.push(Where::Complete),
                State::Failed => places.push(Where::Failed),
                State::Pending => {
                    let named = door
                        .spool()
                        .queues()?
                        .into_iter()
                        .filter(|q| !q.is_default());
                    let all = std::iter::once(QueueName::default()).chain(named);
                    let wanted = all.filter(|q| self.queue.as_ref().is_none_or(|one| one == q));
                    places.extend(wanted.map(Where::Pending));
                }
            }
        }
        Ok(places)
    }

    /// The first names behind `after`, and whether there are more. No more are kept in memory, however many there are in
    /// the spool.
    fn names<'p>(&self, door: &Door, places: &'p [Where]) -> io::Result<(Names<'p>, bool)> {
        let (mut names, mut is_more) = (Names::new(), false);
        // One more, since the last one is left out.
        let most = self.names_for_page() + 1;
        let order =
            |a: &(JobId, &Where), b: &(JobId, &Where)| self.order(a.0.as_str(), b.0.as_str());
        for at in places {
            let mut add = |id: JobId| {
                let is_behind = |after| self.order(id.as_str(), after).is_gt();
                if self.after.is_none_or(is_behind) {
                    names.push((id, at));
                }
                if names.len() >= 2 * most {
                    keep_first(&mut names, most, order);
                    is_more = true;
                }
            };
            match door.spool().each_id(at, &mut add) {
                // A queue may be removed at any time.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        names.sort_by(order);
        is_more |= names.len() > most;
        names.truncate(most);
        if is_more && let Some((last, _)) = names.last().cloned() {
            // The last name may also be in a place that was left out: it is left to the next page.
            names.retain(|(id, _)| *id != last);
        }
        Ok((names, is_more))
    }
}

/// A text that is searched for.
struct Search {
    /// In lower case.
    text: String,
    /// The longest part of it that stands in a record as it is.
    word: String,
}

impl Search {
    fn of(text: &str) -> Self {
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let word = words.max_by_key(|word| word.len()).unwrap_or_default();
        Self {
            word: word.to_owned(),
            text,
        }
    }

    /// False if it cannot be found in the job with this id and this file. Text that is not ASCII is never ruled out: a
    /// letter of it may be ASCII in lower case (the Kelvin sign).
    fn may_be_in(&self, id: &JobId, file: &[u8]) -> bool {
        let may_have = |text: &[u8]| !text.is_ascii() || json::may_have(text, &self.word);
        may_have(file) || may_have(id.as_str().as_bytes())
    }
}

/// Jobs by name, with the place where each was.
type Names<'p> = Vec<(JobId, &'p Where)>;

/// A page that is being filled.
struct JobPage {
    body: String,
    count: u64,
    last: Option<JobId>,
}

impl JobPage {
    /// Adds those of these jobs that are asked for. True once the page is full: then there is more behind `last`.
    fn fill(
        &mut self,
        names: Names<'_>,
        wanted: &ListQuery<'_>,
        door: &Door,
        waits: &Waits<'_>,
    ) -> bool {
        for (id, at) in names {
            let is_full = self.count >= wanted.limit || self.body.len() > PAGE_BYTES;
            // A page does not end between two jobs of one name: the next page begins behind it.
            if is_full && self.last.as_ref() != Some(&id) {
                return true;
            }
            let may_be_wanted = |file: &[u8]| {
                let search = wanted.search.as_ref();
                search.is_none_or(|search| search.may_be_in(&id, file))
            };
            // A job that cannot be read, or has just moved on, is left out.
            if let Ok(Some(record)) = door.spool().load_if(&id, at, may_be_wanted)
                && wanted.is_wanted(&id, &record)
            {
                self.body
                    .push_str(if self.count > 0 { ",\n" } else { "\n" });
                let found = Found {
                    id: id.clone(),
                    at: at.clone(),
                    record,
                };
                self.body
                    .push_str(shown_now(&found, door.spool(), Some(waits)).trim_end());
                self.count += 1;
            }
            self.last = Some(id);
        }
        false
    }
}

pub fn list(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &PARAMETERS)?;
    let wanted = ListQuery::of(request)?;
    let config = door.config();
    let waits = door.spool().waits(&config).map_err(failed)?;
    let places = wanted.places(door).map_err(failed)?;
    let (names, is_more) = wanted.names(door, &places).map_err(failed)?;
    let mut page = JobPage {
        body: String::from("{\"jobs\": ["),
        count: 0,
        last: None,
    };
    let is_full = page.fill(names, &wanted, door, &waits);
    let next = page.last.filter(|_| is_full || is_more);
    let cursor = serde_json::json!(next.as_ref().map(JobId::as_str));
    let body = format!("{}],\n\"next\": {cursor}}}\n", page.body);
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
