//! The request that is being answered, as the access log has it.

use super::send::Manner;
use crate::core::time::Boot;
use crate::http::request::Peer;

/// A request with its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// `GET /v1/jobs`, without the query.
    pub what: String,
    /// Who asked.
    pub caller: Option<String>,
    /// When its head was complete.
    pub began: Boot,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer, head included.
    pub sent: u64,
    /// How it is answered.
    pub manner: Manner,
}

impl Exchange {
    /// Writes its line.
    pub fn log(&self, peer: Peer, now: Boot) {
        log::info!(
            target: "access",
            "access {peer} {} {} {} {} {:.1}ms",
            self.caller.as_deref().unwrap_or("-"),
            self.what,
            self.status,
            self.sent,
            now.since(self.began).as_secs_f64() * 1000.0
        );
    }
}
