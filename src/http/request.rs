//! A request, complete and taken apart.

use super::message::headers::Headers;
use super::message::method::Method;
use super::wire::peer::Peer;
use super::wire::waiter::Waiter;
use crate::core::config::rights::Caller;
use crate::core::percent::decode;
use std::rc::Rc;

/// A request with all of its body.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent, without the query: `/v1/jobs/a%20b`.
    pub raw_path: String,
    /// The path decoded: `/v1/jobs/a b`. To take it apart use [`Self::segments`], which tells `%2F` from `/`.
    pub path: String,
    /// The query as it was sent, without `?`; empty if there is none.
    pub raw_query: String,
    /// The query's fields, decoded, in the order given.
    pub query: Vec<(String, String)>,
    /// The header.
    pub headers: Headers,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// The other end of the connection.
    pub peer: Peer,
    /// The caller with its rights.
    pub caller: Caller,
    /// Waits for the handler.
    pub waiter: Rc<Waiter>,
}

impl Request {
    /// The parts of the path, each decoded by itself: `/v1/jobs/a%2Fb` is `["v1", "jobs", "a/b"]`, `/a/` is
    /// `["a", ""]`, `/` is `[""]`. Nothing is normalised: `..` is a part like any other, and names nothing.
    pub fn segments(&self) -> Vec<String> {
        self.raw_path
            .strip_prefix('/')
            .unwrap_or(&self.raw_path)
            .split('/')
            .map(|part| decode(part, false).unwrap_or_default())
            .collect()
    }

    /// The first value of a query field; `Some("")` for one without a value.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}
