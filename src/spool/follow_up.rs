//! The jobs that a job asks for with `callback_url` and `on_finish`. They are accepted when it has ended.
//!
//! They are durable when the end is on the disk and before it is visible. A process that finds an end which is not
//! visible yet accepts them before making it so: a crash in between loses none. Their ids follow from the job's id and
//! from when it ended, so accepting them again finds them there.
//!
//! If a user has put the file into `failed/` or `complete/`, it is visible already. Then they are accepted before the
//! end is written. A command that cancels the job and the daemon may both do so, with different ends, and after a
//! crash the next daemon does it again. Their ids then follow from the file that was put there, which is the same for
//! all of them.

use super::{Fs, NewId, Place, Spool, Submit, SubmitError, is_of_qmd};
use crate::core::config::CALLBACKS;
use crate::core::hex::hex;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Call, PARENT_QUEUE, Record, Setting, State, Work};
use crate::core::retry::BackoffSpec;
use crate::os::dir::Look;
use sha2::{Digest, Sha256};
use std::io;
use std::time::Duration;

/// How long the receiver of a callback may take to answer.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);

/// A receiver may be down for a day: the backoff grows from 5 s, 20 s and so on to five hours, 30 hours in all.
const CALLBACK_TRIES: u32 = 12;
const CALLBACK_BACKOFF: BackoffSpec = BackoffSpec {
    first: Some(Duration::from_secs(5)),
    factor: Some(4.0),
    max: Some(Duration::from_secs(5 * 3600)),
};

/// The two kinds of such jobs.
#[derive(Clone, Copy)]
enum FollowUp {
    Callback,
    OnFinish,
}

/// The mark that tells one run of a job from the next.
#[derive(Clone, Copy)]
pub(super) enum RunMark<'a> {
    /// The end in its record.
    Ended,
    /// The file without an end that a user has put into `failed/` or `complete/`.
    Put(&'a Look),
}

impl<F: Fs> Spool<F> {
    /// Accepts the jobs that this job asks for, now that it has ended in this state. It may be called again.
    pub(super) fn follow_up(
        &self,
        id: &JobId,
        record: &Record,
        state: State,
        run: RunMark<'_>,
    ) -> io::Result<()> {
        let settings = self.settings();
        let to_run = settings.on_finish(record);
        if record.callback_url.is_none() && to_run.is_none() {
            return Ok(());
        }
        let data = shown(record, state);
        if let Some(url) = &record.callback_url {
            // A client of qmd expects qmd's own object there.
            let job = match is_of_qmd(record) {
                true => callback(url, &self.qmd_result(id, record, state)),
                false => callback(url, &data),
            };
            self.accept_follow_up(id, record, job, (FollowUp::Callback, run))?;
        }
        if let Some(work) = to_run {
            let job = on_finish(work, id, record, state, data);
            self.accept_follow_up(id, record, job, (FollowUp::OnFinish, run))?;
        }
        Ok(())
    }

    fn accept_follow_up(
        &self,
        id: &JobId,
        record: &Record,
        mut job: Record,
        (kind, run): (FollowUp, RunMark<'_>),
    ) -> io::Result<()> {
        let new = name(id, record, kind, run)?;
        // The settings may name a command for all jobs. It would follow itself for ever.
        job.on_finish = Some(Work::NONE);
        job.created_at = record.finished_at;
        job.name = Some(match kind {
            FollowUp::Callback => format!("callback of {id}"),
            FollowUp::OnFinish => format!("on_finish of {id}"),
        });
        let mut queue = QueueName::new(CALLBACKS).map_err(io::Error::other)?;
        loop {
            let submit = Submit {
                record: &mut job,
                queue: queue.clone(),
                held: false,
                id: NewId::Exact(new.clone()),
            };
            // The id is given, so `submit` takes no number and needs no boot id.
            match self.submit(submit, "") {
                Ok(_) => return Ok(()),
                // Another process has made it, and may have been killed before it was durable.
                Err(SubmitError::Taken(_)) => {
                    return self.sync_all(&[Place::of_queue(&queue)].into());
                }
                // A job has the name of the queue.
                Err(SubmitError::Io(e))
                    if matches!(e.raw_os_error(), Some(libc::ENOTDIR | libc::EEXIST))
                        && !queue.is_default() =>
                {
                    queue = QueueName::default();
                }
                Err(SubmitError::NoJob(why)) => return Err(io::Error::other(why)),
                Err(SubmitError::Io(e)) => return Err(e),
            }
        }
    }
}

/// The id: `callback-7-5f0c9a1b2d3e`. The digest tells one run of a job from the next.
fn name(id: &JobId, record: &Record, kind: FollowUp, run: RunMark<'_>) -> io::Result<JobId> {
    let run = match run {
        RunMark::Ended => record.finished_at.map(|at| at.to_string()),
        RunMark::Put(file) => Some(format!("{} {}", file.inode, file.modified)),
    };
    let digest = Sha256::digest(format!("{id}\n{}", run.unwrap_or_default()).as_bytes());
    let digest = hex(&digest[..6]);
    let word = match kind {
        FollowUp::Callback => "callback",
        FollowUp::OnFinish => "finish",
    };
    // A `~` would make it an older run of another job.
    let short: String = id.as_str().chars().take(25).collect();
    let short = short.replace('~', "-");
    JobId::new(&format!("{word}-{short}-{digest}")).map_err(io::Error::other)
}

/// The record without secrets and without its input.
fn shown(record: &Record, state: State) -> String {
    let mut record = record.clone();
    record.hide_secrets();
    record.stdin = None;
    record.files.clear();
    let text = record.to_json_in(state);
    // It becomes a part of another record, which must not be nested too deep.
    let fits = |text: &str| Record::from_json(&callback("-", text).to_json()).is_ok();
    if fits(&text) {
        return text;
    }
    record.extra.clear();
    if let Work::Url(call) = &mut record.work {
        call.payload = None;
    }
    record.to_json_in(state)
}

fn callback(url: &str, data: &str) -> Record {
    let call = Call {
        url: url.to_owned(),
        payload: Some(data.trim_end().to_owned()),
        sign: true,
        ..Call::default()
    };
    let mut job = Record::new(Work::Url(Box::new(call)));
    job.timeout = Setting::Set(CALLBACK_TIMEOUT);
    job.tries = Some(CALLBACK_TRIES);
    job.backoff = CALLBACK_BACKOFF;
    job
}

/// The command runs in the directory of the job, and its environment tells it about the job.
fn on_finish(work: &Work, id: &JobId, record: &Record, state: State, data: String) -> Record {
    let mut job = Record::new(work.clone());
    job.cwd.clone_from(&record.cwd);
    job.umask = record.umask;
    job.nice = record.nice;
    job.env.clone_from(&record.env);
    job.stdin = Some(data.into_bytes());
    let mut tell = |key: &str, value: Option<String>| {
        job.env
            .extend(value.map(|value| (key.to_owned(), value.replace('\0', ""))));
    };
    tell("PIRN_PARENT_ID", Some(id.to_string()));
    tell("PIRN_PARENT_STATE", Some(state.to_string()));
    let queue = record.queue.clone().unwrap_or_default();
    tell(PARENT_QUEUE, Some(queue.to_string()));
    tell("PIRN_PARENT_NAME", record.name.clone());
    tell("PIRN_PARENT_ATTEMPT", Some(record.attempt.to_string()));
    tell("PIRN_PARENT_REASON", record.reason.map(|r| r.to_string()));
    tell("PIRN_PARENT_ERROR", record.error.clone());
    tell(
        "PIRN_PARENT_EXIT_CODE",
        record.exit_code.map(|c| c.to_string()),
    );
    tell("PIRN_PARENT_SIGNAL", record.signal.map(|s| s.to_string()));
    job
}
