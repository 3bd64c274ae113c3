//! The server, the rights of the caller, the scripts, and the bridges: `GET /v1`, `GET /v1/whoami`, `GET /v1/scripts` and
//! `GET /v1/remote`.

use super::{failed, input, require};
use crate::core::id::JobId;
use crate::http::{Door, Handled, Request, Response, Right};
use crate::os::clock;
use crate::os::confine::Ability;
use crate::spool::{Place, SpoolLock};
use serde_json::json;
use std::sync::Arc;

/// Shows the caller's name and rights. Needs no right.
pub fn whoami(request: &Request) -> Handled {
    input::only(request, &[])?;
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

/// Shows the version of pirn, and the sandboxes and limits that its jobs can have.
pub fn server(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &[])?;
    let ability = Ability::get();
    let holder = SpoolLock::holder(door.spool().path()).map_err(failed)?;
    let groups = holder.map(|holder| holder.groups).unwrap_or_default();
    let about = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "sandbox": {"landlock": ability.landlock, "seccomp": ability.seccomp, "groups": groups},
    });
    Ok(Response::json(200, format!("{about}\n")).into())
}

/// The names in `scripts/` that a job can give as its `script`.
pub fn scripts(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &[])?;
    let spool = door.spool();
    let mut names = Vec::new();
    let mut add = |name: &[u8]| names.extend(JobId::from_bytes(name));
    spool.names(&Place::Scripts, &mut add).map_err(failed)?;
    names.retain(|name| spool.check_script(name).is_ok());
    names.sort();
    let names: Vec<_> = names.iter().map(JobId::as_str).collect();
    Ok(Response::json(200, format!("{}\n", json!({"scripts": names}))).into())
}

/// Lists the bridges to queues on other servers.
pub fn remote(request: &Request, door: &Arc<Door>) -> Handled {
    require(request, Right::Read, &[])?;
    let now = clock::wall();
    let bridges = door.spool().bridges().map_err(failed)?;
    let bridges = bridges.iter().map(|bridge| {
        let sum = bridge.summary(now);
        json!({
            "name": bridge.name.as_str(), "running": bridge.is_running, "leases": sum.open,
            "oldest": sum.oldest.map(|age| age.as_secs_f64()), "lost": sum.lost, "refused": sum.refused,
        })
    });
    let bridges: Vec<_> = bridges.collect();
    Ok(Response::json(200, format!("{:#}\n", json!({"remote": bridges}))).into())
}
