//! Accepting a job from a client: the checks of the caller's rights, and of the room for the job.

use super::message::response::Response;
use super::problem::status_of;
use super::{Door, problem};
use crate::core::config::Config;
use crate::core::config::rights::{Caller, Right};
use crate::core::id::JobId;
use crate::core::record::{Record, Work};
use crate::core::time::Wall;
use crate::os::clock;
use crate::spool::{NewId, NotAdmitted, Submit, SubmitError};
use std::fmt;
use std::io;

/// The reason why a job is not accepted.
#[derive(Debug)]
pub enum JobRefusal {
    /// The caller may not ask for this.
    Forbidden(Caller, String),
    /// The id is taken.
    Taken(JobId),
    /// The record is no job that could run.
    Invalid(String),
    /// The record is too large.
    TooLarge(String),
    /// No jobs are accepted now.
    NotNow(NotAdmitted),
    /// The spool could not be written.
    Io(io::Error),
}

impl JobRefusal {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Forbidden(caller, _) => caller.refusal(),
            Self::Taken(_) => 409,
            Self::Invalid(_) => 422,
            Self::TooLarge(_) => 413,
            Self::NotNow(NotAdmitted::Shortage(_)) => 507,
            Self::NotNow(NotAdmitted::Trouble(_) | NotAdmitted::Full { .. }) => 503,
            Self::NotNow(NotAdmitted::Io(e)) | Self::Io(e) => status_of(e),
        }
    }

    /// The answer as RFC 9457 has it.
    pub fn problem(&self) -> Response {
        let response = problem::new(self.status(), self);
        match response.status {
            401 => response.header("WWW-Authenticate", "Bearer"),
            503 => response.header("Retry-After", 10),
            507 => response.header("Retry-After", 60),
            _ => response,
        }
    }
}

impl fmt::Display for JobRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(_, why) | Self::Invalid(why) | Self::TooLarge(why) => f.write_str(why),
            Self::Taken(id) => write!(f, "there is a job {id} already"),
            Self::NotNow(why) => write!(f, "{why}"),
            Self::Io(e) if status_of(e) == 409 => {
                f.write_str("a job and a queue cannot both have this name")
            }
            Self::Io(e) => write!(f, "{e}"),
        }
    }
}

impl From<SubmitError> for JobRefusal {
    fn from(e: SubmitError) -> Self {
        match e {
            SubmitError::Taken(id) => Self::Taken(id),
            SubmitError::NoJob(why) => Self::Invalid(why),
            SubmitError::Io(e) => Self::Io(e),
        }
    }
}

impl Door {
    /// Accepts a job into the queue that its record names. When this returns, the job survives a power cut. Fields that
    /// only pirn writes are removed before.
    pub fn submit(&self, caller: &Caller, record: Record, id: NewId) -> Result<JobId, JobRefusal> {
        self.submit_or_hold(caller, record, id, false)
    }

    /// As [`Self::submit`]. A job that is `held` waits until it is released.
    pub fn submit_or_hold(
        &self,
        caller: &Caller,
        record: Record,
        id: NewId,
        held: bool,
    ) -> Result<JobId, JobRefusal> {
        may_ask_for(caller, &record)?;
        let config = self.config();
        self.spool().admit(&config).map_err(JobRefusal::NotNow)?;
        self.spool().room(&config).map_err(JobRefusal::NotNow)?;
        let mut record = self.judge(caller, record, &config, clock::wall())?;
        let queue = record.queue.clone().unwrap_or_default();
        let submit = Submit {
            record: &mut record,
            queue,
            held,
            id,
        };
        Ok(self.spool().submit(submit, self.boot())?)
    }

    /// The record to write, without its id. `made`: when it came.
    pub(super) fn judge(
        &self,
        caller: &Caller,
        mut record: Record,
        config: &Config,
        made: Wall,
    ) -> Result<Record, JobRefusal> {
        may_ask_for(caller, &record)?;
        if let Some(missing) = self
            .spool()
            .first_missing(record.parents())
            .map_err(JobRefusal::Io)?
        {
            return Err(JobRefusal::Invalid(format!(
                "there is no job {missing} to come after"
            )));
        }
        record.make_fresh();
        record.id = None;
        record.created_at = Some(made);
        let queue = record.queue.clone().unwrap_or_default();
        let tries = config.tries_of_accepted(&queue);
        record.tries.get_or_insert(tries);
        let (size, most) = (record.to_json().len() as u64, config.max_job_bytes);
        if size > most {
            let what = format!("the job's record would be {size} bytes; max_job_bytes is {most}");
            return Err(JobRefusal::TooLarge(what));
        }
        Ok(record)
    }
}

/// Checks the rights that a record needs. `push` starts the files in `scripts/` as they are, and calls the addresses
/// that the operator allows. A caller that chooses a program's surroundings chooses the program, and a caller that has
/// a call signed speaks for the operator: both need `run`.
fn may_ask_for(caller: &Caller, record: &Record) -> Result<(), JobRefusal> {
    // Every field is named, so that a new one has to be judged here.
    let Record {
        work,
        cwd,
        env,
        umask,
        nice,
        limits,
        sandbox,
        resources,
        on_finish,
        // Input, time and result of the job.
        name: _,
        comment: _,
        queue: _,
        priority: _,
        stdin: _,
        files: _,
        timeout: _,
        warn: _,
        grace: _,
        tries: _,
        max_interruptions: _,
        backoff: _,
        rules: _,
        not_before: _,
        expires: _,
        group: _,
        slots: _,
        uses: _,
        after: _,
        after_failed: _,
        after_any: _,
        once: _,
        tmp: _,
        split: _,
        max_log: _,
        tags: _,
        callback_url: _,
        // No part of pirn reads them.
        extra: _,
        // Removed before the job is accepted.
        id: _,
        created_at: _,
        started_at: _,
        finished_at: _,
        warned_at: _,
        attempt: _,
        interruptions: _,
        pid: _,
        exit_code: _,
        signal: _,
        reason: _,
        status_code: _,
        error: _,
        duration: _,
        cpu: _,
        max_rss: _,
        oom: _,
        sandboxed: _,
        output: _,
        log_offset: _,
        log_bytes: _,
        result: _,
        attempts: _,
        retry_at: _,
        proc: _,
        units: _,
    } = record;
    let needed = match work {
        // The operator's settings say where a call may go; they are checked when it is made.
        Work::Script { .. } | Work::Url(_) => ("starting a job", Right::Push),
        Work::Text(_) | Work::Argv(_) => ("a command", Right::Run),
    };
    let surroundings = [
        ("env", !env.is_empty()),
        ("cwd", cwd.is_some()),
        ("umask", umask.is_some()),
        ("nice", nice.is_some()),
        ("limits", !limits.is_empty()),
        ("sandbox", sandbox.is_some()),
        ("resources", resources.is_some()),
        ("on_finish", on_finish.is_some()),
        ("sign", matches!(work, Work::Url(call) if call.sign)),
    ];
    let set = surroundings.into_iter().filter(|(_, is_set)| *is_set);
    let all = std::iter::once(needed).chain(set.map(|(field, _)| (field, Right::Run)));
    for (what, right) in all {
        if !caller.may(right) {
            let what = format!("{what} needs the right {:?}", right.as_str());
            return Err(JobRefusal::Forbidden(caller.clone(), what));
        }
    }
    Ok(())
}
