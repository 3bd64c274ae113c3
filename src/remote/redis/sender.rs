//! Sending jobs to a stream, and reading the records of those that have ended.

use super::keys::QueueKeys;
use super::link::RedisLink;
use super::scripts;
use crate::core::config::remote_url::RedisUrl;
use crate::remote::engine::Trouble;
use crate::remote::sender::{JobSender, NotSent, OutgoingJob, RemoteJob, Sent};
use redis::cmd;
use std::time::Duration;

/// A queue on Redis that jobs are sent to.
pub struct RedisSender {
    link: RedisLink,
    keys: QueueKeys,
}

impl RedisSender {
    /// Prepares to send to a queue; connects to nothing yet.
    pub fn new(url: &RedisUrl) -> Result<Self, Trouble> {
        Ok(Self {
            link: RedisLink::new(&url.server)?,
            keys: QueueKeys::new(&url.queue),
        })
    }
}

impl JobSender for RedisSender {
    fn most(&self) -> usize {
        1024
    }

    fn send(&self, jobs: &[OutgoingJob]) -> Sent {
        let sent: Result<Vec<String>, Trouble> = self.link.call(Duration::ZERO, |connection| {
            let mut script = scripts::SEND.key(self.keys.stream());
            for job in jobs {
                script.arg(&job.body);
                script.arg(job.group.as_deref().unwrap_or_default());
            }
            script.invoke(connection)
        });
        match sent {
            Ok(ids) => Sent {
                ids: ids.iter().map(|id| self.keys.job_id(id)).collect(),
                ..Sent::default()
            },
            Err(trouble) => Sent::none(NotSent::Trouble(trouble)),
        }
    }

    fn result(&self, id: &str, wait: Duration) -> Result<RemoteJob, Trouble> {
        let first_id = self.keys.first_id(id);
        if !is_stream_id(first_id) {
            return Ok(RemoteJob::Unknown);
        }
        let (found, newest) = self.look(first_id)?;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // To the server, zero would mean to wait for ever.
        if found != RemoteJob::Unended || wait_ms == 0 {
            return Ok(found);
        }
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(1).arg("BLOCK").arg(wait_ms);
        read.arg("STREAMS").arg(self.keys.ended()).arg(newest);
        self.link.call(wait, |connection| read.exec(connection))?;
        Ok(self.look(first_id)?.0)
    }
}

impl RedisSender {
    /// The job, and the id of the newest end of any.
    fn look(&self, first_id: &str) -> Result<(RemoteJob, String), Trouble> {
        let (waits, record, newest): (u32, Option<String>, String) =
            self.link.call(Duration::ZERO, |connection| {
                scripts::LOOK
                    .key(self.keys.stream())
                    .key(self.keys.ended())
                    .key(self.keys.result(first_id))
                    .arg(first_id)
                    .invoke(connection)
            })?;
        let job = match (record, waits) {
            (Some(record), _) => RemoteJob::Ended(record),
            (None, 0) => RemoteJob::Unknown,
            (None, _) => RemoteJob::Unended,
        };
        Ok((job, newest))
    }
}

/// True for the id of a stream's entry.
fn is_stream_id(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    text.split_once('-')
        .is_some_and(|(ms, n)| is_number(ms) && is_number(n))
}
