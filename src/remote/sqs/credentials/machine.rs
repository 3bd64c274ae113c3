//! Keys of a machine of EC2, from its metadata service (IMDSv2).

use super::{OPERATION, silence};
use crate::remote::sqs::env::AwsEnv;
use crate::remote::sqs::error::SqsError;
use crate::remote::sqs::keys::Keys;
use crate::remote::sqs::signed::Wires;
use crate::remote::sqs::transport::{HttpAnswer, Limits};
use std::time::Duration;
use ureq::http::Method;

/// The service's address on every machine.
const ENDPOINT: &str = "http://169.254.169.254";

/// The directory that holds the name of the role.
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// Elsewhere than on EC2 nobody answers: that has to show soon.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(1),
    silence: Duration::from_secs(2),
    whole: Duration::from_secs(10),
};

/// The keys of this machine's role, if it has one.
pub fn keys(env: &AwsEnv, wires: &Wires) -> Result<Option<Keys>, SqsError> {
    let is_disabled = env.get("AWS_EC2_METADATA_DISABLED");
    if is_disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let endpoint = env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let endpoint = endpoint.unwrap_or(ENDPOINT).trim_end_matches('/');
    let call = |method, path: &str, header: (&str, &str)| {
        let url = format!("{endpoint}/{path}");
        wires.transport.send(method, &url, &[header], "", LIMITS)
    };
    let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    let token = match call(Method::PUT, "latest/api/token", lifetime) {
        Ok(answer) => read(answer)?,
        Err(e) => {
            log::debug!("no metadata service of EC2: {e}");
            return Ok(None);
        }
    };
    let get = |path: &str| {
        call(Method::GET, path, ("x-aws-ec2-metadata-token", &token))
            .map_err(|e| silence(format!("the metadata service: {e}")))
    };
    let roles = get(ROLES)?;
    if roles.status == 404 {
        return Ok(None);
    }
    let roles = read(roles)?;
    let Some(role) = roles.lines().next() else {
        return Ok(None);
    };
    let keys = read(get(&format!("{ROLES}{role}"))?)?;
    Keys::read(&keys).map(Some).map_err(silence)
}

fn read(answer: HttpAnswer) -> Result<String, SqsError> {
    match answer.is_success() {
        true => Ok(answer.body),
        false => Err(SqsError::read(OPERATION, &answer)),
    }
}
