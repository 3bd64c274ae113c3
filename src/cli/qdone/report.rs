//! The words of a worker about an ended job: lines for people, or a line of JSON for each failure.

use crate::core::record::{Reason, Record};
use crate::core::time::Wall;
use crate::os::signals;
use serde::Serialize;

/// The end of a job, in the words of qdone.
#[derive(Debug)]
pub struct EndReport<'a> {
    /// The id of the message.
    pub job: &'a str,
    /// The body of the message.
    pub command: &'a str,
    /// The record of the job.
    pub record: &'a Record,
    /// The end of what it wrote to its standard output.
    pub stdout: &'a str,
    /// The same for standard error.
    pub stderr: &'a str,
}

/// The order of the fields is that of qdone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobFailed<'a> {
    event: &'static str,
    timestamp: String,
    job: &'a str,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

impl EndReport<'_> {
    /// The exit code, if the job ended by itself.
    fn exit_code(&self) -> Option<i32> {
        self.record
            .exit_code
            .filter(|_| self.kill_signal().is_none())
    }

    /// The name of the signal that ended it. A job that took too long was sent TERM first.
    fn kill_signal(&self) -> Option<String> {
        let sent = (self.record.reason == Some(Reason::Timeout)).then_some(libc::SIGTERM);
        sent.or(self.record.signal).map(signals::name)
    }

    fn error_message(&self) -> Option<&str> {
        let stderr = self.stderr.strip_suffix('\n').unwrap_or(self.stderr);
        let own = self
            .record
            .error
            .as_deref()
            .filter(|_| self.exit_code().is_none() && self.kill_signal().is_none());
        Some(stderr).filter(|text| !text.is_empty()).or(own)
    }

    /// The line of JSON for a failure.
    pub fn json(&self, now: Wall) -> Result<String, serde_json::Error> {
        let has_run = self.record.started_at.is_some();
        serde_json::to_string(&JobFailed {
            event: "JOB_FAILED",
            timestamp: now.to_string(),
            job: self.job,
            command: self.command,
            exit_code: self.exit_code(),
            kill_signal: self.kill_signal(),
            stderr: has_run.then_some(self.stderr),
            stdout: has_run.then_some(self.stdout),
            error_message: self.error_message(),
        })
    }

    /// The lines of a failure.
    pub fn failure(&self) -> String {
        let mut text = "  FAILED\n".to_owned();
        if let Some(code) = self.exit_code() {
            text.push_str(&format!("  code  : {code}\n"));
        }
        if let Some(signal) = self.kill_signal() {
            text.push_str(&format!("  signal: {signal}\n"));
        }
        let why = self.error_message().unwrap_or_default();
        text.push_str(&format!(
            "  error : Error: Command failed: nice {}\n{why}",
            self.command
        ));
        ended(text)
    }

    /// The lines of a success, before the message is removed.
    pub fn success(&self) -> String {
        match self.stdout.is_empty() {
            true => "  SUCCESS".to_owned(),
            false => format!("  SUCCESS\n{}", ended(format!("  stdout: {}", self.stdout))),
        }
    }
}

/// The text, so that an empty line follows when it is printed as a line.
fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
