//! The request of a call, and those of its redirects.

use super::agent;
use super::failure::CallFailure;
use super::headers;
use super::redirect::{is_same_site, join, tidy};
use super::retry_after;
use crate::core::config::allow::Allow;
use crate::core::record::{Manner, Order, without_userinfo};
use crate::os::clock;
use std::io::{self, Read, Write};
use ureq::Body;
use ureq::http::header::HeaderValue;
use ureq::http::{Method, Response};

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// The last answer to a call.
pub struct PostAnswer {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// How much of its body was copied to the log.
    pub copied: Copied,
}

/// How much of a body was copied. The call was made in any case: an incomplete copy is no reason to repeat it.
pub enum Copied {
    /// All of it.
    Whole,
    /// The first bytes: this many are allowed.
    Most(u64),
    /// A part: writing failed.
    Unwritten(io::Error),
}

/// Calls the URL, follows redirects, and copies the body of the last answer to `out`.
pub fn post(order: &Order, out: &mut impl Write) -> Result<PostAnswer, CallFailure> {
    let allow = Allow::parse(&order.allow).map_err(CallFailure::permanent)?;
    let body = order.payload.as_ref().map_or("", |payload| payload.get());
    let (mut headers, own_headers) = (headers::all(order, body)?, headers::own(order)?);
    let (mut method, mut url) = (Method::POST, tidy(&order.url));
    let mut hops = 0;
    loop {
        let response = agent::call(&method, &url, &headers, body, &allow)?;
        let status = response.status();
        let location = response.headers().get("location").map(|l| l.as_bytes());
        let location = location.map(String::from_utf8_lossy);
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let (true, false, Some(location)) = (is_redirect, order.sign, location) else {
            return read_answer(response, order.most, out);
        };
        hops += 1;
        if hops > MOST_REDIRECTS {
            let what = format!("stopped after {MOST_REDIRECTS} redirects");
            return Err(CallFailure::permanent(what));
        }
        let next = join(&url, &location);
        let leaves_site = !is_same_site(&url, &next);
        if leaves_site {
            // The job's headers are for the site that it names. pirn's own are still sent: without them, a server on
            // this machine could take the call for a person's request and give it rights (see `http::gate`).
            headers.clone_from(&own_headers);
        }
        if !matches!(status.as_u16(), 307 | 308) {
            method = Method::GET;
        }
        if method == Method::GET {
            headers.remove("content-type");
        }
        headers.remove("referer");
        let sends_referer = match order.manner {
            Manner::Own => !leaves_site,
            Manner::Hq => !(url.starts_with("https:") && next.starts_with("http:")),
        };
        if sends_referer && let Ok(referer) = HeaderValue::from_str(&without_userinfo(&url)) {
            headers.insert("referer", referer);
        }
        url = next;
    }
}

fn read_answer(
    mut response: Response<Body>,
    most: Option<u64>,
    out: &mut impl Write,
) -> Result<PostAnswer, CallFailure> {
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
        Err(e) => Err(CallFailure {
            what: format!("the answer, with status {status}, was cut off: {e}"),
            is_permanent: false,
        }),
    }
}

/// Copies the body, or its first `most` bytes. Errors: it could not be read. After a failed write nothing more is read.
fn copy(from: &mut impl Read, most: Option<u64>, to: &mut impl Write) -> io::Result<Copied> {
    let mut buffer = vec![0; 64 * 1024];
    let mut room = most.unwrap_or(u64::MAX);
    let copied = loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break Copied::Whole,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(n);
        room -= fits as u64;
        if let Err(e) = to.write_all(&buffer[..fits]) {
            return Ok(Copied::Unwritten(e));
        }
        if let Some(most) = most.filter(|_| fits < n) {
            break Copied::Most(most);
        }
    };
    Ok(to.flush().map_or_else(Copied::Unwritten, |()| copied))
}
