//! The languages of other job servers, so that their clients keep working. Each is one handler over the same spool;
//! where it differs from its original, and why, is said in pirn(1).

pub mod go;
#[cfg(feature = "url")]
pub mod hq;
pub mod jobrunner;
pub mod qmd;

use super::Response;
use crate::core::http::Dialect;
use serde_json::Value;

/// What is refused before a handler sees it (a body that is too large, a host that is not ours), as clients of this
/// path are told such things. Others get it as it is.
pub fn refusal(path: &str, dialects: &[Dialect], refused: &Response) -> Response {
    let (dialect, kind) = match path.split('/').nth(1) {
        Some("job" | "stats") => (Dialect::Hq, "application/json; charset=UTF-8"),
        Some("scripts" | "jobs" | "ping") => (Dialect::Qmd, "text/plain; charset=utf-8"),
        Some("payload") => (Dialect::Jobrunner, "text/plain; charset=utf-8"),
        Some(_) | None => return refused.clone(),
    };
    let problem: Value = serde_json::from_slice(&refused.body).unwrap_or_default();
    let (true, Some(detail)) = (dialects.contains(&dialect), problem["detail"].as_str()) else {
        return refused.clone();
    };
    let status = refused.status;
    let body = match (dialect, status) {
        (Dialect::Hq, _) => format!("{{\"status\":{status},\"error\":{}}}\n", problem["detail"]),
        (Dialect::Qmd, 503) => "Service Unavailable".to_owned(),
        (Dialect::Qmd, _) => detail.to_owned(),
        (Dialect::Jobrunner, _) => format!("{detail}\n"),
    };
    let mut response = Response::with(status, kind, body);
    let others = refused.headers.iter();
    let others = others.filter(|(name, _)| *name != "Content-Type");
    response.headers.extend(others.cloned());
    response
}
