//! The headers of a call.

use super::failure::CallFailure;
use super::sign::signature;
use crate::core::config::http::Secret;
use crate::core::record::{Manner, Order};
use crate::os::clock;
use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};

/// The release of hq whose headers are sent.
const HQ_AGENT: &str = "HQ/1.1.0";

/// The headers of pirn itself, or of hq, which are sent to every site.
pub fn own(order: &Order) -> Result<HeaderMap, CallFailure> {
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

/// All headers. Those of the job replace pirn's own. In hq's manner they are sent as well, except for `User-Agent`.
pub fn all(order: &Order, body: &str) -> Result<HeaderMap, CallFailure> {
    let mut headers = own(order)?;
    for (name, value) in &order.headers {
        let value = text(name, value)?;
        let key: HeaderName = name
            .parse()
            .map_err(|_| CallFailure::permanent(format!("{name:?} cannot be a header's name")))?;
        match (order.manner, key.as_str()) {
            // A job cannot set headers of the connection, those that identify the call, and those of the signature.
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

fn text(name: &str, value: &str) -> Result<HeaderValue, CallFailure> {
    HeaderValue::from_str(value).map_err(|_| {
        CallFailure::permanent(format!("the value of the header {name} is not allowed"))
    })
}

fn sign(order: &Order, body: &str, headers: &mut HeaderMap) -> Result<(), CallFailure> {
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
