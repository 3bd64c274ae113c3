//! `/scripts`: the programs that can be run, running one, and the results of earlier runs.

use super::request::{Priority, RunRequest, address};
use super::{failed, jobs, not_found, refused, require};
use crate::core::config::allow::Allow;
use crate::core::id::{JobId, is_foreign};
use crate::core::record::{Record, State, Work};
use crate::http::{Answer, Door, Handled, Request, Response, Right};
use crate::spool::{NewId, Place, QmdResult, is_of_qmd};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// Most results in one answer.
const MOST: usize = 50;

/// An answer with results ends when it has grown to this, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// A program in `scripts/`.
fn runnable(door: &Door, name: &str) -> Option<JobId> {
    let id = JobId::new(name).ok()?;
    let about = door.spool().check_script(&id).ok()?;
    (about.permissions().mode() & 0o111 != 0).then_some(id)
}

/// qmd's whitelist as it is now.
enum Whitelist {
    /// There is none.
    All,
    Only(Vec<String>),
}

impl Whitelist {
    /// Reads the file that the settings name. A directory allows all, as in qmd. Errors: the file cannot be read, and
    /// nothing is allowed.
    fn read(door: &Door) -> io::Result<Self> {
        let config = door.config();
        let Some(path) = &config.http.qmd_whitelist else {
            return Ok(Self::All);
        };
        let path = door.spool().path().join(path);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self::Only(
                text.lines().map(|l| l.trim().to_owned()).collect(),
            )),
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => Ok(Self::All),
            Err(e) => {
                let what = format!("qmd_whitelist: {}: {e}", path.display());
                Err(io::Error::new(e.kind(), what))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|listed| listed == name),
        }
    }
}

pub fn list(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read)?;
    let mut names = Vec::new();
    let mut add = |name: &[u8]| {
        if !is_foreign(name) {
            names.extend(std::str::from_utf8(name).map(str::to_owned));
        }
    };
    door.spool()
        .names(&Place::Scripts, &mut add)
        .map_err(failed)?;
    let whitelist = Whitelist::read(door).map_err(failed)?;
    names.retain(|name| whitelist.has(name) && runnable(door, name).is_some());
    names.sort();
    Ok(Response::json(200, format!("{}\n", serde_json::json!(names))).into())
}

/// Does nothing: the directory is read for each request.
pub fn reload(request: &Request) -> Handled {
    require(request, Right::Push)?;
    Ok(Response::text(200, "Reload request sent").into())
}

pub fn run(request: &Request, door: &Arc<Door>, name: &str) -> Handled {
    require(request, Right::Push)?;
    let wrong = |what: String| Response::text(422, what);
    let priority = Priority::parse(request.query("priority").unwrap_or_default()).map_err(wrong)?;
    let wanted = RunRequest::read(&request.body)
        .map_err(|e| Response::text(422, format!("parse request body: {e}")))?;
    let script = runnable(door, name).ok_or_else(not_found)?;
    let mut record = wanted.record(&script, priority).map_err(wrong)?;
    if !Whitelist::read(door).map_err(failed)?.has(name) {
        let log = format!("{script} is not on script whitelist");
        return Ok(shown(&QmdResult::new("", &record, State::Failed, &log)));
    }
    // An address that is not allowed is refused now; a name is resolved when it is called.
    if let Some((ip, port)) = wanted.callback_url.as_deref().and_then(address)
        && !door
            .config()
            .http
            .url_allow
            .permits(&ip.to_string(), ip, port)
    {
        let why = Allow::refusal(ip, port);
        return Err(wrong(format!("callback_url: {why}")));
    }
    let queue = record.queue.clone().unwrap_or_default();
    record.tries = Some(door.config().tries_of_dialect(&queue));
    let id = door
        .submit(&request.caller, record.clone(), NewId::Next)
        .map_err(|e| refused(&e))?;
    match wanted.callback_url {
        Some(_) => Ok(shown(&QmdResult::new(
            id.as_str(),
            &record,
            State::Pending,
            "",
        ))),
        None => Ok(super::result_of(request, door, &id).into()),
    }
}

fn shown(result: &QmdResult<'_>) -> Answer {
    Response::json(200, format!("{}\n", result.to_json())).into()
}

fn is_of(record: &Record, script: &str) -> bool {
    let named = matches!(&record.work, Work::Script { name, .. } if name.as_str() == script);
    named && is_of_qmd(record)
}

pub fn logs(request: &Request, door: &Arc<Door>, name: &str) -> Handled {
    require(request, Right::Read)?;
    let limit = jobs::limit(request, MOST)?;
    let mut results: Vec<String> = Vec::new();
    let mut bytes = 0;
    for found in jobs::finished(door).map_err(failed)? {
        if results.len() >= limit || bytes > MOST_BYTES {
            break;
        }
        if is_of(&found.record, name) {
            let result = super::result(door, &found);
            bytes += result.len();
            results.push(result.trim_end().to_owned());
        }
    }
    Ok(Response::json(200, format!("[{}]\n", results.join(",\n"))).into())
}

pub fn log(request: &Request, door: &Arc<Door>, name: &str, id: &str) -> Handled {
    require(request, Right::Read)?;
    let id = JobId::new(id).map_err(|_| not_found())?;
    match door.spool().get(&id).map_err(failed)? {
        Some(found) if is_of(&found.record, name) => {
            Ok(Response::json(200, super::result(door, &found)).into())
        }
        Some(_) | None => Err(not_found()),
    }
}
