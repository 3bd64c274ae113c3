//! Keys of roles, from AWS's security token service.

use super::files::Section;
use super::{OPERATION, refusal, silence};
use crate::remote::sqs::endpoint::{AwsService, Endpoint};
use crate::remote::sqs::env::AwsEnv;
use crate::remote::sqs::error::{SqsError, SqsFault};
use crate::remote::sqs::form::{self, form};
use crate::remote::sqs::keys::Keys;
use crate::remote::sqs::signed::{Unsigned, Wires};
use crate::remote::sqs::transport::Limits;
use crate::remote::sqs::xml;
use ureq::http::Method;

/// The name of our sessions, if none is set.
const SESSION: &str = "pirn";

/// STS of a region.
pub struct Sts<'a> {
    wires: &'a Wires,
    endpoint: Endpoint,
}

impl<'a> Sts<'a> {
    /// The service that this environment leads to.
    pub fn new(env: &AwsEnv, wires: &'a Wires, region: &str) -> Result<Self, SqsError> {
        let endpoint = Endpoint::find(AwsService::Sts, None, region, false, env)?;
        Ok(Self { wires, endpoint })
    }

    /// The keys of a role for the token in a file. The request is not signed: the token is the proof.
    pub fn assume_with_web_identity(
        &self,
        role: &str,
        session: Option<&str>,
        file: &str,
    ) -> Result<Keys, SqsError> {
        let token = std::fs::read_to_string(file).map_err(|e| refusal(format!("{file}: {e}")))?;
        let body = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", session.unwrap_or(SESSION)),
            ("WebIdentityToken", token.trim()),
        ]);
        let (url, headers) = (&self.endpoint.url, [("content-type", form::CONTENT_TYPE)]);
        let sent = self
            .wires
            .transport
            .send(Method::POST, url, &headers, &body, Limits::PROMPT);
        let answer = sent.map_err(|e| silence(format!("{}: {e}", self.endpoint.host)))?;
        match answer.is_success() {
            true => read(&answer.body),
            false => Err(refused(SqsError::read(OPERATION, &answer), role)),
        }
    }

    /// The keys of the role of a profile, for which other keys sign.
    pub fn assume_role(
        &self,
        keys: &Keys,
        role: &str,
        profile: &Section,
    ) -> Result<Keys, SqsError> {
        let get = |name: &str| profile.get(name).map(String::as_str);
        let mut pairs = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            (
                "RoleSessionName",
                get("role_session_name").unwrap_or(SESSION),
            ),
        ];
        let optional = [
            ("DurationSeconds", "duration_seconds"),
            ("ExternalId", "external_id"),
        ];
        for (parameter, name) in optional {
            pairs.extend(get(name).map(|value| (parameter, value)));
        }
        let request = Unsigned {
            operation: OPERATION,
            content_type: form::CONTENT_TYPE,
            headers: &[],
            body: &form(&pairs),
            limits: Limits::PROMPT,
        };
        let answer = self.wires.exchange(&self.endpoint, keys, &request);
        read(&answer.map_err(|e| refused(e, role))?.body)
    }
}

/// An error about a role. Other keys than those of the role would not help, unless they are only late.
fn refused(error: SqsError, role: &str) -> SqsError {
    let fault = match error.is_temporary() {
        true => SqsFault::Temporary,
        false => SqsFault::Denied,
    };
    let message = format!("{role}: {}", error.message);
    SqsError {
        fault,
        message,
        ..error
    }
}

fn read(xml: &str) -> Result<Keys, SqsError> {
    let text = |name| xml::text(xml, name);
    let keys = (text("AccessKeyId"), text("SecretAccessKey"));
    let (Some(access_key_id), Some(secret)) = keys else {
        return Err(silence(
            "STS answered without AccessKeyId and SecretAccessKey",
        ));
    };
    let expiration = text("Expiration");
    Keys::new(
        access_key_id,
        secret,
        text("SessionToken"),
        expiration.as_deref(),
    )
    .map_err(silence)
}
