//! One request: name resolution, the check of the address, TLS.

use super::failure::CallFailure;
use super::redirect::scheme;
use crate::core::config::allow::Allow;
use crate::core::record::check_port;
use crate::os::trust;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use ureq::config::Config;
use ureq::http::header::HeaderMap;
use ureq::http::{Method, Request, Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};

/// Sends one request. It connects to addresses in `allow` only.
pub fn call(
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    body: &str,
    allow: &Allow,
) -> Result<Response<Body>, CallFailure> {
    match scheme(url) {
        Some(("http" | "https", _)) => {}
        other => {
            let name = other.map_or("", |(name, _)| name);
            return Err(CallFailure::permanent(format!(
                "unsupported protocol scheme \"{name}\""
            )));
        }
    }
    check_port(url).map_err(CallFailure::permanent)?;
    let agent = agent(url, allow);
    let mut request = Request::builder().method(method).uri(url);
    if let Some(fields) = request.headers_mut() {
        fields.extend(headers.clone());
    }
    let sent = match *method == Method::POST {
        true => request
            .body(body)
            .map_err(Error::from)
            .and_then(|r| agent.run(r)),
        false => request
            .body(())
            .map_err(Error::from)
            .and_then(|r| agent.run(r)),
    };
    sent.map_err(|e| CallFailure {
        is_permanent: is_permanent(&e),
        what: match e {
            Error::Other(cause) => cause.to_string(),
            e => e.to_string(),
        },
    })
}

/// Without a proxy: the proxy's address would be checked instead of that of the call.
fn agent(url: &str, allow: &Allow) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("")
        .accept("");
    if url.starts_with("https:") {
        config = config.tls_config(trust::tls());
    }
    Agent::with_parts(
        config.build(),
        DefaultConnector::default(),
        Checked(allow.clone()),
    )
}

/// Resolves names to allowed addresses only. A name is resolved once, so that no other address is connected to than the
/// one that was checked.
#[derive(Debug)]
struct Checked(Allow);

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            Some(_) | None => 80,
        });
        let mut allowed = self.empty();
        let mut refused = None;
        for address in (bare, port).to_socket_addrs()? {
            if !self.0.permits(bare, address.ip(), port) {
                refused = Some(address.ip());
            } else if allowed.len() < 16 {
                allowed.push(address);
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(address)) => Err(Error::Other(Box::new(NotAllowed(address, port)))),
            (true, None) => Err(Error::HostNotFound),
        }
    }
}

/// The address is not in the list of allowed ones.
#[derive(Debug)]
struct NotAllowed(IpAddr, u16);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Allow::refusal(self.0, self.1))
    }
}

impl std::error::Error for NotAllowed {}

/// True if the call itself is wrong. Networks and servers may recover.
fn is_permanent(e: &Error) -> bool {
    match e {
        Error::Other(cause) => cause.is::<NotAllowed>(),
        Error::BadUri(_) | Error::Http(_) => true,
        _ => false,
    }
}
