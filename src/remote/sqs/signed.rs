//! One signed request and its answer.

use super::clock::ServerClock;
use super::endpoint::Endpoint;
use super::error::{SqsError, SqsFault};
use super::keys::Keys;
use super::sigv4::{Signer, stamp};
use super::transport::{HttpAnswer, Limits, Transport};
use ureq::http::Method;

/// The parts of a request but its signature.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// The operation, as errors call it.
    pub operation: &'a str,
    /// The form of the body.
    pub content_type: &'a str,
    /// Further headers. Their names begin with `x-amz`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a str,
    /// How long it may take.
    pub limits: Limits,
}

/// Connections and the server's clock: all that signed requests share.
#[derive(Default)]
pub struct Wires {
    /// The connections.
    pub transport: Transport,
    /// The clock.
    pub clock: ServerClock,
}

impl Wires {
    /// Sends a request, and once more if only our clock was wrong. Errors: any answer that is no success.
    pub fn exchange(
        &self,
        endpoint: &Endpoint,
        keys: &Keys,
        request: &Unsigned<'_>,
    ) -> Result<HttpAnswer, SqsError> {
        let first = self.attempt(endpoint, keys, request)?;
        let Err(error) = judge(request.operation, &first) else {
            return Ok(first);
        };
        let date = first.header("date").unwrap_or_default();
        if error.fault != SqsFault::BadSignature || !self.clock.learn(date) {
            return Err(error);
        }
        log::warn!(
            "this machine's clock is wrong: requests are signed for the server's time, {date}"
        );
        let second = self.attempt(endpoint, keys, request)?;
        judge(request.operation, &second)?;
        Ok(second)
    }

    fn attempt(
        &self,
        endpoint: &Endpoint,
        keys: &Keys,
        request: &Unsigned<'_>,
    ) -> Result<HttpAnswer, SqsError> {
        let date = stamp(self.clock.now());
        let mut headers = vec![
            ("content-type", request.content_type),
            ("host", endpoint.host.as_str()),
            ("x-amz-date", date.as_str()),
        ];
        headers.extend_from_slice(request.headers);
        if let Some(token) = &keys.token {
            headers.push(("x-amz-security-token", token));
        }
        let signer = Signer {
            access_key_id: &keys.access_key_id,
            secret: &keys.secret,
            region: &endpoint.region,
            service: endpoint.service.name(),
        };
        let signature = signer.authorization(&date, &headers, request.body.as_bytes());
        headers.push(("authorization", &signature));
        self.transport
            .send(
                Method::POST,
                &endpoint.url,
                &headers,
                request.body,
                request.limits,
            )
            .map_err(|why| {
                let why = format!("{}: {why}", endpoint.host);
                SqsError::own(SqsFault::Temporary, request.operation, why)
            })
    }
}

fn judge(operation: &str, answer: &HttpAnswer) -> Result<(), SqsError> {
    match answer.is_success() {
        true => Ok(()),
        false => Err(SqsError::read(operation, answer)),
    }
}
