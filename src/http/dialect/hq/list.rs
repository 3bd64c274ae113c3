//! `GET /job`: jobs by number.

use super::input::{Fields, Input};
use super::show::{self, Phase};
use super::{Fail, HqResult, require};
use crate::core::id::{JobId, QueueName};
use crate::http::{Door, Request, Right};
use crate::spool::{Found, Where};
use regex_lite::{Regex, RegexBuilder};
use std::io;

/// Largest compiled pattern, in bytes.
const MOST_PATTERN: usize = 1 << 20;

/// A list stops when it has grown to this, in bytes: it has a `next` then.
const MOST_BYTES: usize = 32 << 20;

struct HqQuery {
    name: String,
    term: String,
    status: String,
    begin: Option<u64>,
    reverse: bool,
    limit: usize,
}

impl HqQuery {
    fn of(fields: &Fields<'_>) -> Result<Self, Fail> {
        Ok(Self {
            name: fields.string("name")?,
            term: fields.string("term")?,
            status: fields.string("status")?,
            begin: fields.number("begin")?.filter(|begin| *begin > 0),
            reverse: fields.boolean("reverse")?,
            limit: match usize::try_from(fields.integer("limit")?) {
                Ok(limit @ 1..) => limit,
                Ok(0) | Err(_) => usize::MAX,
            },
        })
    }
}

/// The two patterns, compiled when there is a job to try them on.
struct Patterns {
    name: Option<Regex>,
    term: Option<Regex>,
}

impl Patterns {
    fn of(wanted: &HqQuery) -> Result<Self, Fail> {
        let compile = |text: &str| match text {
            "" => Ok(None),
            text => RegexBuilder::new(text)
                .size_limit(MOST_PATTERN)
                .build()
                .map(Some)
                .map_err(|e| Fail(500, format!("error parsing regexp: {e}"))),
        };
        Ok(Self {
            name: compile(&wanted.name)?,
            term: compile(&wanted.term)?,
        })
    }

    fn match_job(&self, found: &Found, status: &str) -> bool {
        let record = &found.record;
        let texts = [
            show::name(record),
            record.comment.as_deref().unwrap_or(""),
            show::call(record).map_or("", |call| &call.url),
            status,
            found.id.as_str(),
        ];
        self.name
            .as_ref()
            .is_none_or(|name| name.is_match(show::name(record)))
            && self
                .term
                .as_ref()
                .is_none_or(|term| texts.iter().any(|text| term.is_match(text)))
    }
}

/// Every job that has a number, from the lowest, with its place.
pub fn numbers(door: &Door) -> io::Result<Vec<(u64, JobId, Where)>> {
    let spool = door.spool();
    let named = spool.queues()?.into_iter().filter(|q| !q.is_default());
    let queues = std::iter::once(QueueName::default()).chain(named);
    let mut places = vec![Where::Active];
    places.extend(queues.map(Where::Pending));
    places.extend([Where::Held, Where::Complete, Where::Failed]);
    let mut all = Vec::new();
    for at in places {
        let ids = match spool.ids(&at) {
            Ok(ids) => ids,
            // A queue may be removed at any time.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for id in ids {
            let number = id.as_str().parse::<u64>().ok();
            if let Some(number) = number.filter(|number| number.to_string() == id.as_str()) {
                all.push((number, id, at.clone()));
            }
        }
    }
    // Of a name in two places the job that waits or runs comes first.
    all.sort_by_key(|(number, ..)| *number);
    all.dedup_by_key(|(number, ..)| *number);
    Ok(all)
}

/// The job, if it is hq's. It may have moved on meanwhile.
pub fn load(door: &Door, id: &JobId, at: &Where) -> Option<Found> {
    let found = match door.spool().load(id, at) {
        Ok(Some(record)) => Found {
            id: id.clone(),
            at: at.clone(),
            record,
        },
        Ok(None) => door.spool().get(id).ok()??,
        Err(_) => return None,
    };
    show::call(&found.record).is_some().then_some(found)
}

pub fn list(request: &Request, door: &Door) -> HqResult {
    require(request, Right::Read)?;
    let input = Input::of_query(request);
    let wanted = HqQuery::of(&input.fields()?)?;
    let mut numbers = numbers(door)?;
    if wanted.reverse {
        numbers.reverse();
    }
    if let Some(begin) = wanted.begin {
        numbers.retain(|(number, ..)| match wanted.reverse {
            true => *number <= begin,
            false => *number >= begin,
        });
    }
    let mut patterns = None;
    let (mut jobs, mut bytes, mut next) = (Vec::new(), 0, None);
    for (number, id, at) in numbers {
        let Some(found) = load(door, &id, &at) else {
            continue;
        };
        if jobs.len() >= wanted.limit || bytes > MOST_BYTES {
            next = Some(number);
            break;
        }
        let patterns = match &mut patterns {
            Some(patterns) => patterns,
            none @ None => none.insert(Patterns::of(&wanted)?),
        };
        let phase = Phase::of(&found);
        let is_status = wanted.status.is_empty() || wanted.status == phase.word();
        if is_status && patterns.match_job(&found, phase.word()) {
            // The list shows the end of a long answer, which the record has; the job itself shows all.
            let output = found.record.output.as_deref().unwrap_or("");
            let job = show::job(number, &found.record, phase, output);
            bytes += job.len();
            jobs.push(job);
        }
    }
    let next_id = next.map_or(String::new(), |next| format!(",\"next\":\"{next}\""));
    Ok(format!(
        "{{\"jobs\":[{}],\"hasNext\":{}{next_id},\"count\":{}}}",
        jobs.join(","),
        next.is_some(),
        jobs.len()
    ))
}
