//! Calls that fail.

use std::fmt::Display;

/// A call without a complete answer.
#[derive(Debug)]
pub struct CallFailure {
    /// The cause, for people.
    pub what: String,
    /// True if another try would fail in the same way.
    pub is_permanent: bool,
}

impl CallFailure {
    /// A failure that would happen again.
    pub fn permanent(what: impl Display) -> Self {
        Self {
            what: what.to_string(),
            is_permanent: true,
        }
    }
}
