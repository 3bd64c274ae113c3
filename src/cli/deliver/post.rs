//! The request itself, and those that redirects lead to.

use super::redirect::{is_same_site, join, scheme, tidy};
use super::retry_after;
use super::sign::signature;
use crate::core::config::allow::Allow;
use crate::core::config::http::Secret;
use crate::core::record::{Manner, Order, check_port, without_userinfo};
use crate::os::clock;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use ureq::config::Config;
use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Method, Response, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// The release of hq whose customs are followed.
const HQ_AGENT: &str = "HQ/1.1.0";

/// What came back.
pub struct PostAnswer {
    /// The status of the last answer.
    pub status: u16,
    /// Its `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// How much of its body is in the log.
    pub copied: Copied,
}

/// How a body was copied. The call was made in any case, and is not to be made again if that is not all.
pub enum Copied {
    /// All of it.
    Whole,
    /// So many bytes of it, which is the most that there may be.
    Most(u64),
    /// Not all, since it could not be written.
    Unwritten(io::Error),
}

/// Nothing came back.
#[derive(Debug)]
pub struct Trouble {
    /// What was wrong.
    pub what: String,
    /// True if another try would meet the same.
    pub is_permanent: bool,
}

impl Trouble {
    fn permanent(what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            is_permanent: true,
        }
    }
}

/// Calls, follows redirects, and writes the last answer's body to `out`.
pub fn post(order: &Order, out: &mut impl Write) -> Result<PostAnswer, Trouble> {
    let allow = Allow::parse(&order.allow).map_err(Trouble::permanent)?;
    let body = order.payload.as_ref().map_or("", |payload| payload.get());
    let (mut headers, abroad) = (headers(order, body)?, own_headers(order)?);
    let (mut method, mut url) = (Method::POST, tidy(&order.url));
    let mut hops = 0;
    loop {
        let response = call(&method, &url, &headers, body, &allow)?;
        let status = response.status();
        let location = response.headers().get("location").map(|l| l.as_bytes());
        let location = location.map(String::from_utf8_lossy);
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let (true, false, Some(location)) = (is_redirect, order.sign, location) else {
            return answer(response, order.most, out);
        };
        hops += 1;
        if hops > MOST_REDIRECTS {
            let what = format!("stopped after {MOST_REDIRECTS} redirects");
            return Err(Trouble::permanent(what));
        }
        let next = join(&url, &location);
        let goes_abroad = !is_same_site(&url, &next);
        if goes_abroad {
            // What the job says is for the one that it names. That this is a call stays said: whoever takes it for a
            // person on this machine might give it rights (see `http::gate`).
            headers.clone_from(&abroad);
        }
        if !matches!(status.as_u16(), 307 | 308) {
            method = Method::GET;
        }
        if method == Method::GET {
            headers.remove("content-type");
        }
        headers.remove("referer");
        let is_told = match order.manner {
            Manner::Own => !goes_abroad,
            Manner::Hq => !(url.starts_with("https:") && next.starts_with("http:")),
        };
        if let (true, Ok(referer)) = (is_told, HeaderValue::from_str(&without_userinfo(&url))) {
            headers.insert("referer", referer);
        }
        url = next;
    }
}

fn answer(
    mut response: Response<Body>,
    most: Option<u64>,
    out: &mut impl Write,
) -> Result<PostAnswer, Trouble> {
    let status = response.status().as_u16();
    let field = |name| response.headers().get(name)?.to_str().ok();
    let now = clock::wall().0 / 1_000_000_000;
    let retry_after =
        field("retry-after").and_then(|value| retry_after::seconds(value, field("date"), now));
    match copy(&mut response.body_mut().as_reader(), most, out) {
        Ok(copied) => Ok(PostAnswer {
            status,
            retry_after,
            copied,
        }),
        Err(e) => Err(Trouble {
            what: format!("the answer, with status {status}, was cut off: {e}"),
            is_permanent: false,
        }),
    }
}

/// Copies all there is, or the most that there may be. An error of the reader is one; after that of the writer nothing
/// more is read.
fn copy(from: &mut impl Read, most: Option<u64>, to: &mut impl Write) -> io::Result<Copied> {
    let mut buffer = vec![0; 64 * 1024];
    let mut room = most.unwrap_or(u64::MAX);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => {
                return Ok(to
                    .flush()
                    .map_or_else(Copied::Unwritten, |()| Copied::Whole));
            }
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(n);
        let (part, rest) = buffer[..n].split_at(fits);
        room -= part.len() as u64;
        if let Err(e) = to.write_all(part) {
            return Ok(Copied::Unwritten(e));
        }
        if let (false, Some(most)) = (rest.is_empty(), most) {
            return Ok(to
                .flush()
                .map_or_else(Copied::Unwritten, |()| Copied::Most(most)));
        }
    }
}

fn call(
    method: &Method,
    url: &str,
    headers: &HeaderMap,
    body: &str,
    allow: &Allow,
) -> Result<Response<Body>, Trouble> {
    match scheme(url) {
        Some(("http" | "https", _)) => {}
        other => {
            let name = other.map_or("", |(name, _)| name);
            return Err(Trouble::permanent(format!(
                "unsupported protocol scheme \"{name}\""
            )));
        }
    }
    check_port(url).map_err(Trouble::permanent)?;
    let agent = agent(url, allow);
    let sent = if *method == Method::POST {
        let mut request = agent.post(url);
        if let Some(fields) = request.headers_mut() {
            fields.extend(headers.clone());
        }
        request.send(body)
    } else {
        let mut request = agent.get(url);
        if let Some(fields) = request.headers_mut() {
            fields.extend(headers.clone());
        }
        request.call()
    };
    sent.map_err(|e| Trouble {
        is_permanent: is_permanent(&e),
        what: words(e),
    })
}

/// No proxy: it would be the address that is connected to, and say nothing about where the call goes.
fn agent(url: &str, allow: &Allow) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("")
        .accept("");
    if url.starts_with("https:") {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let roots = certificates
            .iter()
            .map(|one| Certificate::from_der(one).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
            .build();
        config = config.tls_config(tls);
    }
    Agent::with_parts(
        config.build(),
        DefaultConnector::default(),
        Checked(allow.clone()),
    )
}

/// Gives none but allowed addresses, and those are what is connected to: what a name leads to is asked once.
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

/// The operator's list does not have it.
#[derive(Debug)]
struct NotAllowed(IpAddr, u16);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Allow::refusal(self.0, self.1))
    }
}

impl std::error::Error for NotAllowed {}

/// True for what is wrong with the call itself; networks and servers may be well again later.
fn is_permanent(e: &Error) -> bool {
    match e {
        Error::Other(cause) => cause.is::<NotAllowed>(),
        Error::BadUri(_) | Error::Http(_) => true,
        _ => false,
    }
}

fn words(e: Error) -> String {
    match e {
        Error::Other(cause) => cause.to_string(),
        e => e.to_string(),
    }
}

/// What is said in any case: that this is a call, and whose.
fn own_headers(order: &Order) -> Result<HeaderMap, Trouble> {
    let number = order.attempt.to_string();
    let own = match order.manner {
        Manner::Own => vec![
            ("content-type", "application/json"),
            ("user-agent", concat!("pirn/", env!("CARGO_PKG_VERSION"))),
            ("x-pirn-job-id", order.id.as_str()),
            ("x-pirn-attempt", number.as_str()),
        ],
        Manner::Hq => vec![
            ("content-type", "application/json"),
            ("user-agent", HQ_AGENT),
            ("x-hq-job-id", order.id.as_str()),
        ],
    };
    let mut headers = HeaderMap::new();
    for (name, value) in own {
        headers.insert(HeaderName::from_static(name), text(name, value)?);
    }
    Ok(headers)
}

/// The header. What the job says replaces pirn's own; in hq's manner it is added to it, but for `User-Agent`.
fn headers(order: &Order, body: &str) -> Result<HeaderMap, Trouble> {
    let mut headers = own_headers(order)?;
    for (name, value) in &order.headers {
        let value = text(name, value)?;
        let key: HeaderName = name
            .parse()
            .map_err(|_| Trouble::permanent(format!("{name:?} cannot be a header's name")))?;
        match (order.manner, key.as_str()) {
            // The connection's own, what says whose call this is, and what a signature consists of.
            (
                _,
                "host" | "content-length" | "transfer-encoding" | "connection" | "expect" | "te"
                | "trailer" | "upgrade" | "x-pirn-job-id" | "x-pirn-attempt" | "x-hq-job-id"
                | "webhook-id" | "webhook-timestamp" | "webhook-signature",
            )
            | (Manner::Hq, "user-agent") => {}
            (Manner::Hq, _) => {
                headers.append(key, value);
            }
            (Manner::Own, _) => {
                headers.insert(key, value);
            }
        }
    }
    if order.sign {
        sign(order, body, &mut headers)?;
    }
    Ok(headers)
}

fn text(name: &str, value: &str) -> Result<HeaderValue, Trouble> {
    HeaderValue::from_str(value)
        .map_err(|_| Trouble::permanent(format!("the value of the header {name} is not allowed")))
}

fn sign(order: &Order, body: &str, headers: &mut HeaderMap) -> Result<(), Trouble> {
    let now = clock::wall().0 / 1_000_000_000;
    headers.insert("webhook-id", text("webhook-id", &order.id)?);
    headers.insert("webhook-timestamp", HeaderValue::from(now));
    let secret = order.secret.as_deref().and_then(|s| Secret::parse(s).ok());
    let signed = secret.and_then(|secret| signature(&secret, &order.id, now, body));
    if let Some(signed) = signed {
        headers.insert("webhook-signature", text("webhook-signature", &signed)?);
    }
    Ok(())
}

/// What to say of a status; `None` for a good one.
pub fn complaint(order: &Order, status: u16) -> Option<String> {
    if order.manner.is_success(status) {
        return None;
    }
    let phrase = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    match order.manner {
        Manner::Own => Some(format!("answered {status} {phrase}").trim_end().to_owned()),
        Manner::Hq => Some(phrase.to_owned()),
    }
}

/// What to say of no answer at all.
pub fn in_words(order: &Order, what: &str) -> String {
    let url = without_userinfo(&order.url);
    match order.manner {
        Manner::Own => format!("POST {url}: {what}"),
        Manner::Hq => format!("failed to do http request: Post \"{url}\": {what}"),
    }
}
