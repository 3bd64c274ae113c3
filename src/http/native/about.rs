//! What a client needs to know to offer what will be granted: `GET /v1/whoami` and `GET /v1/scripts`.

use super::{Outcome, failed, require};
use crate::core::id::JobId;
use crate::http::{Door, Request, Response, Right};
use crate::os::dir::{self, Kind};
use crate::spool::{Place, RealFs};
use serde_json::json;
use std::sync::Arc;

/// Who asks, and what they may do with requests of any method. Needs no right: it tells callers about themselves.
pub fn whoami(request: &Request) -> Outcome {
    let caller = &request.caller;
    let rights = Right::ALL.into_iter().filter(|r| caller.granted.has(*r));
    let rights: Vec<_> = rights.map(Right::as_str).collect();
    let mut about = json!({"name": caller.name, "rights": rights});
    if caller.may(Right::Read) {
        about["version"] = json!(env!("CARGO_PKG_VERSION"));
    }
    let response = Response::json(200, format!("{about}\n"));
    Ok(response.header("Cache-Control", "no-store").into())
}

/// The names in `scripts/` that a job can give as its `script`.
pub fn scripts(request: &Request, door: &Arc<Door>) -> Outcome {
    require(request, Right::Read)?;
    let list = |scripts: &std::os::fd::OwnedFd| {
        let mut names = Vec::new();
        dir::names(scripts, |name| names.extend(JobId::from_bytes(name)))?;
        let is_file = |name: &JobId| {
            let look = dir::look(scripts, name.as_str().as_bytes());
            look.is_ok_and(|look| {
                look.is_some_and(|look| matches!(look.kind, Kind::File | Kind::Symlink))
            })
        };
        names.retain(is_file);
        Ok(names)
    };
    let mut names = RealFs::with(door.spool().fs(), &Place::Scripts, list).map_err(failed)?;
    names.sort();
    let names: Vec<_> = names.iter().map(JobId::as_str).collect();
    Ok(Response::json(200, format!("{}\n", json!({"scripts": names}))).into())
}
