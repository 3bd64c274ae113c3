//! The rights of the caller, and the scripts: `GET /v1/whoami` and `GET /v1/scripts`.

use super::{failed, require};
use crate::core::id::JobId;
use crate::http::{Door, Handled, Request, Response, Right};
use crate::spool::Place;
use serde_json::json;
use std::sync::Arc;

/// Shows the caller's name and rights. Needs no right.
pub fn whoami(request: &Request) -> Handled {
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
pub fn scripts(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read)?;
    let spool = door.spool();
    let mut names = Vec::new();
    let mut add = |name: &[u8]| names.extend(JobId::from_bytes(name));
    spool.names(&Place::Scripts, &mut add).map_err(failed)?;
    names.retain(|name| spool.check_script(name).is_ok());
    names.sort();
    let names: Vec<_> = names.iter().map(JobId::as_str).collect();
    Ok(Response::json(200, format!("{}\n", json!({"scripts": names}))).into())
}
