//! Keys of a container, from the agent beside it (ECS, EKS).

use super::{OPERATION, refusal, silence};
use crate::remote::sqs::endpoint::is_loopback;
use crate::remote::sqs::env::AwsEnv;
use crate::remote::sqs::error::SqsError;
use crate::remote::sqs::keys::Keys;
use crate::remote::sqs::signed::Wires;
use crate::remote::sqs::transport::Limits;
use ureq::http::{Method, Uri};

/// The agent of ECS.
const AGENT: &str = "http://169.254.170.2";

/// Hosts of agents, to which the token is sent without encryption: ECS, and EKS by IPv4 and IPv6.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// The keys of the role of this container, if it is told of an agent.
pub fn keys(env: &AwsEnv, wires: &Wires) -> Result<Option<Keys>, SqsError> {
    let relative = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let url = match (relative, env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        (Some(path), _) if path.starts_with('/') => format!("{AGENT}{path}"),
        (Some(_), _) => {
            let why = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /";
            return Err(refusal(why));
        }
        (None, Some(url)) => url.to_owned(),
        (None, None) => return Ok(None),
    };
    check(&url)?;
    let token = token(env)?;
    let headers = token.as_deref().map(|token| ("authorization", token));
    let headers: Vec<(&str, &str)> = headers.into_iter().collect();
    let answer = wires
        .transport
        .send(Method::GET, &url, &headers, "", Limits::PROMPT)
        .map_err(|e| silence(format!("the container's agent: {e}")))?;
    match answer.is_success() {
        true => Keys::read(&answer.body).map(Some).map_err(silence),
        false => Err(SqsError::read(OPERATION, &answer)),
    }
}

fn check(url: &str) -> Result<(), SqsError> {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    match scheme {
        Some("https") => Ok(()),
        Some("http") if is_loopback(host) || AGENTS.contains(&host) => Ok(()),
        Some(_) | None => Err(refusal(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI: expected https, or http to this machine or its agent",
        )),
    }
}

fn token(env: &AwsEnv) -> Result<Option<String>, SqsError> {
    let Some(file) = env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
        return Ok(env
            .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(str::to_owned));
    };
    match std::fs::read_to_string(file) {
        Ok(token) => Ok(Some(token.trim().to_owned())),
        Err(e) => Err(refusal(format!("{file}: {e}"))),
    }
}
