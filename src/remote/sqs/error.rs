//! Errors of AWS, by what is to be done about them.

use super::transport::HttpAnswer;
use super::xml;
use crate::core::quote::cut_to;
use crate::remote::engine::Trouble;
use serde_json::Value;
use std::fmt;

/// Where credentials come from, for people whom AWS refuses.
pub const CREDENTIALS_HELP: &str = "give credentials by --profile, by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in \
     ~/.aws/credentials, or by a role of this machine or container";

/// The most characters of an answer that are shown.
const MOST_SHOWN: usize = 400;

/// The kinds of failure that are treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqsFault {
    /// There is no such queue.
    NoQueue,
    /// There is a queue of this name with other attributes.
    QueueExists,
    /// A queue of this name was deleted in the last 60 seconds.
    QueueDeletedRecently,
    /// The receipt is no longer good: another may have the message, or it was held for 12 hours.
    LeaseLost,
    /// The request is larger than the server takes.
    TooLong,
    /// The server refuses the text of a message.
    BadMessage,
    /// The server does not answer, or asks us to come again later.
    Temporary,
    /// The credentials are no longer good, or not known.
    StaleKeys,
    /// The signature is wrong. The clock may be.
    BadSignature,
    /// There are no credentials, or they may not do this.
    Denied,
    /// Another error. It would happen again.
    Other,
}

impl SqsFault {
    /// The kind of an error code, as the answer to `operation`. Rules: the errors of each operation in the SQS API
    /// reference, and the errors common to all of AWS.
    fn of(code: &str, status: u16, operation: &str) -> Self {
        let name = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
        match name.strip_suffix("Exception").unwrap_or(name) {
            "NonExistentQueue" | "QueueDoesNotExist" => Self::NoQueue,
            "QueueAlreadyExists" | "QueueNameExists" => Self::QueueExists,
            "QueueDeletedRecently" => Self::QueueDeletedRecently,
            "ReceiptHandleIsInvalid" | "MessageNotInflight" => Self::LeaseLost,
            "InvalidParameterValue" if is_about_a_receipt(operation) => Self::LeaseLost,
            "InvalidParameterValue" if operation.starts_with("SendMessage") => Self::BadMessage,
            "InvalidMessageContents" => Self::BadMessage,
            "BatchRequestTooLong" => Self::TooLong,
            "RequestThrottled" | "Throttling" | "OverLimit" => Self::Temporary,
            "ExpiredToken" | "InvalidClientTokenId" | "UnrecognizedClient" => Self::StaleKeys,
            "SignatureDoesNotMatch" | "RequestExpired" | "InvalidSignature" => Self::BadSignature,
            "AccessDenied" | "InvalidSecurity" => Self::Denied,
            _ if matches!(status, 429 | 500..=504) => Self::Temporary,
            // Gateways in front of SQS say so without a code.
            _ if status == 413 => Self::TooLong,
            _ if matches!(status, 401 | 403) => Self::Denied,
            _ => Self::Other,
        }
    }
}

fn is_about_a_receipt(operation: &str) -> bool {
    operation.starts_with("ChangeMessageVisibility") || operation.starts_with("DeleteMessage")
}

fn first_part(message: &str) -> &str {
    let message = message.trim();
    message.split("\n\n").next().unwrap_or(message)
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsError {
    /// Its kind.
    pub fault: SqsFault,
    /// The call.
    pub operation: String,
    /// AWS's code for the error; empty if the error is not AWS's.
    pub code: String,
    /// The cause, for people.
    pub message: String,
}

impl SqsError {
    /// An error that AWS has not answered with.
    pub fn own(fault: SqsFault, operation: &str, message: impl fmt::Display) -> Self {
        Self {
            fault,
            operation: operation.to_owned(),
            code: String::new(),
            message: message.to_string(),
        }
    }

    /// An error with a code: of a whole answer, or of one entry of it. Behind an empty line AWS repeats the request that
    /// it could not verify, with the token of temporary keys: that is left out.
    pub fn coded(operation: &str, code: &str, status: u16, message: &str) -> Self {
        Self {
            fault: SqsFault::of(code, status, operation),
            operation: operation.to_owned(),
            code: code.to_owned(),
            message: cut_to(first_part(message), MOST_SHOWN).into_owned(),
        }
    }

    /// Reads an answer that is no success. Its code is the first of: `x-amzn-query-error` up to `;`, `__type` after `#`,
    /// `<Code>` in XML, which some servers answer even to JSON, and the status.
    pub fn read(operation: &str, answer: &HttpAnswer) -> Self {
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let field = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let header = answer.header("x-amzn-query-error");
        let code = header
            .and_then(|value| value.split(';').next())
            .filter(|code| !code.is_empty())
            .map(str::to_owned)
            .or_else(|| Some(field("__type")?.rsplit('#').next()?.to_owned()))
            .or_else(|| xml::text(&answer.body, "Code"))
            .unwrap_or_else(|| answer.status.to_string());
        let message = field("message")
            .or_else(|| field("Message"))
            .or_else(|| xml::text(&answer.body, "Message"))
            .unwrap_or_else(|| match answer.body.trim() {
                "" => format!("the server answered with status {}", answer.status),
                body => body.to_owned(),
            });
        Self::coded(operation, &code, answer.status, &message)
    }

    /// True if the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.fault == SqsFault::Temporary
    }

    /// True if other credentials, or more rights, are needed.
    pub fn is_refusal(&self) -> bool {
        match self.fault {
            SqsFault::StaleKeys | SqsFault::BadSignature | SqsFault::Denied => true,
            SqsFault::NoQueue
            | SqsFault::QueueExists
            | SqsFault::QueueDeletedRecently
            | SqsFault::LeaseLost
            | SqsFault::TooLong
            | SqsFault::BadMessage
            | SqsFault::Temporary
            | SqsFault::Other => false,
        }
    }
}

/// One line: `SendMessage: The specified queue does not exist. (AWS.SimpleQueueService.NonExistentQueue)`. Refusals end
/// with the ways to give credentials.
impl fmt::Display for SqsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        for c in self.message.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        if !self.code.is_empty() {
            write!(f, " ({})", self.code.escape_debug())?;
        }
        if self.is_refusal() {
            write!(f, "; {CREDENTIALS_HELP}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqsError {}

impl From<SqsError> for Trouble {
    fn from(error: SqsError) -> Self {
        let why = error.to_string();
        match error.fault {
            SqsFault::Temporary => Self::Unreachable(why),
            SqsFault::NoQueue => Self::NoQueue(why),
            SqsFault::QueueExists
            | SqsFault::QueueDeletedRecently
            | SqsFault::LeaseLost
            | SqsFault::TooLong
            | SqsFault::BadMessage
            | SqsFault::StaleKeys
            | SqsFault::BadSignature
            | SqsFault::Denied
            | SqsFault::Other => Self::Refused(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_not_repeated() {
        let answer = "The signature does not match.\n\nThe Canonical String should have been\n'POST\nx-amz-security-token:T'";
        let error = SqsError::coded("SendMessage", "SignatureDoesNotMatch", 403, answer);
        assert_eq!(error.message, "The signature does not match.");
    }
}
