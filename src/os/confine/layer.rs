//! One layer of confinement, and the files that a job needs in each of them.

use crate::core::sandbox::Sandbox;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// A sandbox with its place among others. The kernel permits only what all layers permit.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The field or option that asks for it, for messages: `sandbox`.
    pub name: &'a str,
    /// The bounds that it sets.
    pub sandbox: &'a Sandbox,
    /// Signals to processes outside, and connections to their abstract sockets, are refused, and most capabilities of
    /// root are dropped.
    pub is_scoped: bool,
}

/// The files of a job itself, which each layer with file rules permits too.
#[derive(Debug, Clone, Default)]
pub struct OwnFiles<'a> {
    /// Programs and scripts that may be read and executed. Those that cannot be executed are left out.
    pub programs: Vec<&'a Path>,
    /// A script that an interpreter reads.
    pub copy: Option<&'a Path>,
    /// The directory that paths name as `$PIRN_TMP`; it may be changed.
    pub scratch: Option<&'a Path>,
    /// The directory that paths name as `$PIRN_STORE`.
    pub store: Option<&'a Path>,
    /// Logs: they may be opened again, as `echo x > /dev/stderr` does.
    pub logs: Vec<BorrowedFd<'a>>,
}

/// Why a confinement cannot be had.
#[derive(Debug)]
pub enum ConfineError {
    /// The kernel lacks something, or a path is not there: the sentence says what.
    Impossible(String),
    /// A call failed.
    Call(&'static str, io::Error),
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(what) => f.write_str(what),
            Self::Call(call, e) => write!(f, "{call}: {e}"),
        }
    }
}

impl std::error::Error for ConfineError {}
