//! The work of a job.

use super::call::Call;
use crate::core::id::JobId;

/// The work of a job: a command or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A text: run by `sh -c`, or by its own interpreter when it begins with `#!`.
    Text(String),
    /// A program and its arguments, executed as they are.
    Argv(Vec<String>),
    /// A program from the spool's `scripts/`.
    Script {
        /// The file's name; the rules for ids keep it inside the directory.
        name: JobId,
        /// Its arguments.
        args: Vec<String>,
    },
    /// A POST to a URL.
    Url(Box<Call>),
}

/// An empty command.
impl Default for Work {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// The name of `$PIRN_OUT` in the scratch directory. No file of `files` can have it.
pub const OUT: &str = ".out";

/// Its name for programs in `scripts/`: some of qmd's scripts write to it without asking `$QMD_OUT`.
const SCRIPT_OUT: &str = "qmd.out";

impl Work {
    /// No work: an `on_finish` of this runs nothing, whatever the settings say.
    pub const NONE: Self = Self::Text(String::new());

    /// The name of `$PIRN_OUT` in the scratch directory.
    pub fn out_name(&self) -> &'static str {
        match self {
            Self::Script { .. } => SCRIPT_OUT,
            Self::Text(_) | Self::Argv(_) | Self::Url(_) => OUT,
        }
    }

    /// The work in one line, for lists and logs.
    pub fn summary(&self) -> String {
        let text = match self {
            Self::Text(text) => text.trim().to_owned(),
            Self::Argv(argv) => argv.iter().map(|a| quote(a)).collect::<Vec<_>>().join(" "),
            Self::Script { name, args } => std::iter::once(name.as_str())
                .chain(args.iter().map(String::as_str))
                .map(quote)
                .collect::<Vec<_>>()
                .join(" "),
            Self::Url(call) => format!("POST {}", call.url),
        };
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

/// Quotes `arg` for a shell, if it must be.
fn quote(arg: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}
