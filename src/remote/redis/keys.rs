//! The names of a queue's keys. The braces are part of them: a cluster keeps keys with the same text between braces on
//! one server, as the scripts require.

/// The end of the name of a queue with failed jobs.
const FAILED: &str = ":failed";

/// A queue's keys.
#[derive(Debug)]
pub(super) struct QueueKeys {
    /// The part of the name that is between the braces: for a queue of failed jobs that of the queue where they failed.
    base: String,
    is_failed: bool,
}

impl QueueKeys {
    pub(super) fn new(queue: &str) -> Self {
        let base = queue.strip_suffix(FAILED);
        Self {
            base: base.unwrap_or(queue).to_owned(),
            is_failed: base.is_some(),
        }
    }

    /// True for a queue of failed jobs.
    pub(super) fn is_failed(&self) -> bool {
        self.is_failed
    }

    /// The name of the queue with these jobs once they have failed.
    pub(super) fn failed_queue(&self) -> String {
        format!("{}{FAILED}", self.base)
    }

    /// A stream with the messages: field `job`, and perhaps `group`, and `id` if the first id was another.
    pub(super) fn stream(&self) -> String {
        match self.is_failed {
            true => self.failed(),
            false => format!("pirn:{{{}}}", self.base),
        }
    }

    /// The stream of failed messages.
    pub(super) fn failed(&self) -> String {
        format!("pirn:{{{}}}{FAILED}", self.base)
    }

    /// A hash with the terms that hold for all receivers: `lease` in milliseconds, and `max`, the receives.
    pub(super) fn settings(&self) -> String {
        format!("pirn:{{{}}}:settings", self.base)
    }

    /// A stream of ended jobs, the newest: fields `id` and `record`.
    pub(super) fn ended(&self) -> String {
        format!("pirn:{{{}}}:ended", self.base)
    }

    /// The record of an ended job.
    pub(super) fn result(&self, first_id: &str) -> String {
        format!("pirn:{{{}}}:result:{first_id}", self.base)
    }

    /// The id of the job that a message is for, from its first id in the stream.
    pub(super) fn job_id(&self, first_id: &str) -> String {
        format!("{}.{first_id}", self.base)
    }

    /// The message's first id, from the id of its job.
    pub(super) fn first_id<'a>(&self, job_id: &'a str) -> &'a str {
        let own = job_id.strip_prefix(self.base.as_str());
        own.and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(job_id)
    }
}
