//! Why a command of qdone was not done.

use crate::cli::exit::Failure;
use crate::remote::sqs::error::{CREDENTIALS_HELP, SqsError};
use std::fmt;

/// Why a command was not done.
#[derive(Debug)]
pub enum QdoneError {
    /// Its arguments are wrong.
    Usage(String),
    /// The server's answer, or none.
    Aws(SqsError),
    /// Another trouble.
    Other(String),
}

/// Another trouble than those with a kind of their own.
pub fn other(why: impl fmt::Display) -> QdoneError {
    QdoneError::Other(why.to_string())
}

impl From<SqsError> for QdoneError {
    fn from(e: SqsError) -> Self {
        Self::Aws(e)
    }
}

impl From<Failure> for QdoneError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure.message)
    }
}

/// `CODE: MESSAGE`, as qdone says it.
pub fn in_short(e: &SqsError) -> String {
    match e.code.is_empty() {
        true => format!("{}: {}", e.operation, e.message),
        false => format!("{}: {}", e.code, e.message),
    }
}

impl fmt::Display for QdoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => write!(f, "Error: {what}"),
            Self::Other(what) => f.write_str(what),
            Self::Aws(e) if e.is_refusal() => write!(f, "{}\n{CREDENTIALS_HELP}", in_short(e)),
            Self::Aws(e) => f.write_str(&in_short(e)),
        }
    }
}
