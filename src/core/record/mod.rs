//! The job record: what was asked for, what came of it, and every key that pirn does not know.
//!
//! One JSON object per job (DESIGN section 3, pirn-spool(5)). Reading is in `read`, printing in `write`;
//! printing what was read keeps every field, unknown ones byte for byte.

mod call;
mod read;
mod work;
mod write;

pub use call::{Call, Manner, Order, Report, check_port, without_userinfo};
pub use work::{OUT, Work};

use super::id::{JobId, QueueName};
use super::json::JsonError;
use super::process::Proc;
use super::retry::{BackoffSpec, ExitRules};
use super::time::Wall;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

/// The directory a job's file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waiting.
    Pending,
    /// Held back: not started until it is released.
    Held,
    /// Running now.
    Active,
    /// Ended well.
    Complete,
    /// Gave up.
    Failed,
}

impl State {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Held,
        Self::Active,
        Self::Complete,
        Self::Failed,
    ];

    /// The directory's name, which is also the word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// True where a job's life is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job, or one of its tries, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The program ended by itself; `exit_code` says how.
    Exited,
    /// A signal that pirn did not send ended it.
    Signaled,
    /// Killed after its `timeout`.
    Timeout,
    /// Someone withdrew it.
    Cancelled,
    /// Still waiting at `expires`.
    Expired,
    /// The program could not be started.
    NotStarted,
    /// The daemon or the machine went away under it, and its status is not known.
    Interrupted,
    /// A job that it comes `after` failed.
    Dependency,
    /// It wrote more than `max_log`.
    LogLimit,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Exited,
        Self::Signaled,
        Self::Timeout,
        Self::Cancelled,
        Self::Expired,
        Self::NotStarted,
        Self::Interrupted,
        Self::Dependency,
        Self::LogLimit,
    ];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::NotStarted => "not_started",
            Self::Interrupted => "interrupted",
            Self::Dependency => "dependency",
            Self::LogLimit => "log_limit",
        }
    }

    /// The reason that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a file is no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// Nothing in it.
    Empty,
    /// Not UTF-8, or with NUL bytes.
    NotText,
    /// A JSON record with a mistake in it.
    Json(JsonError),
    /// None or several of `command`, `script`, `url`.
    Work(&'static str),
    /// A field that this version cannot serve yet.
    Unsupported(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty; write a shell command, a #! script or a JSON record into it"),
            Self::NotText => f.write_str("the file is not UTF-8 text; a job is a shell command, a #! script or a JSON record"),
            Self::Json(e) => {
                write!(f, "{e}")?;
                if e.field.is_empty() {
                    f.write_str(" (a file that begins with { is read as a JSON record; start a shell command with a space instead)")?;
                }
                Ok(())
            }
            Self::Work(what) => f.write_str(what),
            Self::Unsupported(field) => write!(f, "{field}: this version of pirn does not support it yet"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<JsonError> for RecordError {
    fn from(e: JsonError) -> Self {
        Self::Json(e)
    }
}

/// A setting that the config gives a default for, and a job may replace or switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// The job says nothing: the default holds.
    #[default]
    Default,
    /// The job says `0`: no such limit.
    Off,
    /// The job's own.
    Set(T),
}

impl<T: Copy> Setting<T> {
    /// The value that holds, given the config's.
    pub fn or(self, default: Option<T>) -> Option<T> {
        match self {
            Self::Default => default,
            Self::Off => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// Whether the job has a scratch directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scratch {
    /// Only if it has `files`.
    #[default]
    No,
    /// One for each try, removed after it.
    Yes,
    /// As `Yes`, but left in place for people to look at.
    Keep,
    /// As `Yes`, but left in place until the request that waits for the job is answered. Its caller alone has a use for
    /// what it sent: an ended record has neither `files` nor `stdin`.
    Answer,
}

/// What a job may set with setrlimit(2): the names are those of the constants, in lower case.
pub const LIMIT_NAMES: [&str; 9] = [
    "as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "stack",
];

/// One try.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    /// Its number, from 1.
    pub attempt: u32,
    /// When the program was started.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub finished_at: Wall,
    /// Its exit code, if it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: Reason,
    /// What could not be done, for people.
    pub error: Option<String>,
    /// Seconds from start to end, where that is known.
    pub duration: Option<f64>,
    /// Where in the log its output begins.
    pub log_offset: u64,
}

/// Where a file in `pending/` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A user wrote it.
    Dropped,
    /// pirn wrote it, and it has been waiting.
    Waiting,
    /// It was running, and somebody moved it.
    Running,
    /// It had ended, and is to run again.
    Finished,
}

/// A job record.
#[derive(Debug, Clone)]
pub struct Record {
    // What was asked for.
    /// What to run.
    pub work: Work,
    /// A label for people.
    pub name: Option<String>,
    /// Free text for people.
    pub comment: Option<String>,
    /// The queue asked for; the directory overrules it.
    pub queue: Option<QueueName>,
    /// Higher runs first.
    pub priority: i32,
    /// Working directory.
    pub cwd: Option<String>,
    /// Added to the environment that every job gets.
    pub env: BTreeMap<String, String>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Nice value, -20 to 19.
    pub nice: Option<i32>,
    /// What the job reads from its standard input.
    pub stdin: Option<Vec<u8>>,
    /// Files to put into the scratch directory.
    pub files: BTreeMap<String, Vec<u8>>,
    /// How long a try may take.
    pub timeout: Setting<Duration>,
    /// How long after TERM comes KILL.
    pub grace: Option<Duration>,
    /// How many tries in all, at least 1.
    pub tries: Option<u32>,
    /// Which interruption is the last; 0 means the first.
    pub max_interruptions: Option<u32>,
    /// How long to wait between tries.
    pub backoff: BackoffSpec,
    /// Which exit codes are tried again.
    pub rules: ExitRules,
    /// Not started before this date.
    pub not_before: Option<Wall>,
    /// Not started after this date.
    pub expires: Option<Wall>,
    /// Jobs of one group run one at a time, in order.
    pub group: Option<String>,
    /// Ids that must complete first.
    pub after: Vec<JobId>,
    /// Ids that must end first, either way.
    pub after_any: Vec<JobId>,
    /// At most once instead of at least once.
    pub once: bool,
    /// Scratch directory wanted.
    pub tmp: Scratch,
    /// Standard error into a log of its own.
    pub split: bool,
    /// Bytes of log after which the job is killed.
    pub max_log: Setting<u64>,
    /// Resource limits: name to value, `None` for unlimited.
    pub limits: BTreeMap<String, Option<u64>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Where to send the record when the job has ended.
    pub callback_url: Option<String>,
    /// A command to run then.
    pub on_finish: Option<Work>,

    // Added by pirn.
    /// The id, as the file was called when the record was written.
    pub id: Option<JobId>,
    /// When the job was made.
    pub created_at: Option<Wall>,
    /// When its last try began.
    pub started_at: Option<Wall>,
    /// When it ended for good; a record that has this is over.
    pub finished_at: Option<Wall>,
    /// Tries begun so far.
    pub attempt: u32,
    /// How many of them were interrupted.
    pub interruptions: u32,
    /// Process id of the running try.
    pub pid: Option<i32>,
    /// Exit code of the last try.
    pub exit_code: Option<i32>,
    /// Signal that ended the last try.
    pub signal: Option<i32>,
    /// Why the last try ended.
    pub reason: Option<Reason>,
    /// The status of the last answer to a job that calls a URL.
    pub status_code: Option<u16>,
    /// What could not be done, for people.
    pub error: Option<String>,
    /// Seconds the last try took.
    pub duration: Option<f64>,
    /// Processor seconds of the last try, user and system, with the children it waited for.
    pub cpu: Option<f64>,
    /// Largest resident set of the last try, in bytes.
    pub max_rss: Option<u64>,
    /// The end of the log, lossy UTF-8.
    pub output: Option<String>,
    /// Size of the log in bytes.
    pub log_bytes: Option<u64>,
    /// What the job wrote to `$PIRN_OUT`.
    pub result: Option<String>,
    /// One entry for each try that ended.
    pub attempts: Vec<Try>,
    /// When the next try is due.
    pub retry_at: Option<Wall>,
    /// The running try's process.
    pub proc: Option<Proc>,

    /// Keys that pirn does not know, in the order and the words they were given.
    pub extra: Vec<(String, Box<RawValue>)>,
}

/// Most jobs that a job can come after. Each is looked up when it arrives, and considered whenever one of them ends.
const MOST_PARENTS: usize = 10_000;

/// Leaves each job that another comes after in one list, once: `after` asks for more than `after_any`.
pub fn settle_parents(
    after: &mut Vec<JobId>,
    after_any: &mut Vec<JobId>,
) -> Result<(), &'static str> {
    if after.is_empty() && after_any.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::new();
    after.retain(|id| seen.insert(id.clone()));
    after_any.retain(|id| seen.insert(id.clone()));
    match seen.len() > MOST_PARENTS {
        true => Err("after, after_any: a job can come after 10000 jobs at most"),
        false => Ok(()),
    }
}

impl Record {
    /// A record that asks for `work` and nothing else.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            name: None,
            comment: None,
            queue: None,
            priority: 0,
            cwd: None,
            env: BTreeMap::new(),
            umask: None,
            nice: None,
            stdin: None,
            files: BTreeMap::new(),
            timeout: Setting::Default,
            grace: None,
            tries: None,
            max_interruptions: None,
            backoff: BackoffSpec::default(),
            rules: ExitRules::default(),
            not_before: None,
            expires: None,
            group: None,
            after: Vec::new(),
            after_any: Vec::new(),
            once: false,
            tmp: Scratch::No,
            split: false,
            max_log: Setting::Default,
            limits: BTreeMap::new(),
            tags: Vec::new(),
            callback_url: None,
            on_finish: None,
            id: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            attempt: 0,
            interruptions: 0,
            pid: None,
            exit_code: None,
            signal: None,
            reason: None,
            status_code: None,
            error: None,
            duration: None,
            cpu: None,
            max_rss: None,
            output: None,
            log_bytes: None,
            result: None,
            attempts: Vec::new(),
            retry_at: None,
            proc: None,
            extra: Vec::new(),
        }
    }

    /// True when the record carries its end.
    pub fn is_over(&self) -> bool {
        self.finished_at.is_some()
    }

    /// True when the job wants a scratch directory. A call reports there how it went.
    pub fn wants_scratch(&self) -> bool {
        self.tmp != Scratch::No || !self.files.is_empty() || matches!(self.work, Work::Url(_))
    }

    /// Leaves out what may hold secrets, before others see the record.
    pub fn hide_secrets(&mut self) {
        self.env.clear();
        if let Work::Url(call) = &mut self.work {
            call.headers = None;
            call.url = without_userinfo(&call.url).into_owned();
        }
        if let Some(url) = &mut self.callback_url {
            *url = without_userinfo(url).into_owned();
        }
    }

    /// Forgets what came of earlier runs: the job is as new, with all its tries before it.
    pub fn make_fresh(&mut self) {
        self.forget_try();
        self.attempt = 0;
        self.interruptions = 0;
        self.attempts.clear();
    }

    /// What a record found in `pending/` has behind it. To be asked before [`Self::renew`].
    pub fn origin(&self) -> Origin {
        if self.is_over() {
            Origin::Finished
        } else if self.started_at.is_some() {
            Origin::Running
        } else if self.id.is_some() {
            Origin::Waiting
        } else {
            Origin::Dropped
        }
    }

    /// Makes a record that was found waiting ready to run. One that pirn itself put back for its next try keeps its
    /// count; any other (finished, or taken out of `active/` by hand) starts afresh.
    pub fn renew(&mut self) {
        if self.is_over() || self.started_at.is_some() || self.attempt == 0 {
            self.make_fresh();
        }
    }

    /// Gives the record of a job that did not run, or not to its own end, its end.
    pub fn end_unrun(&mut self, at: Wall, reason: Reason, error: &str) {
        self.forget_try();
        self.finished_at = Some(at);
        self.reason = Some(reason);
        self.error = Some(error.to_owned());
        self.forget_input();
    }

    /// Forgets what only the caller of an ended job had a use for.
    pub fn forget_input(&mut self) {
        if self.tmp == Scratch::Answer {
            self.files.clear();
            self.stdin = None;
        }
    }

    /// Forgets what came of the last try, before the next one or its outcome.
    pub fn forget_try(&mut self) {
        self.started_at = None;
        self.finished_at = None;
        self.pid = None;
        self.exit_code = None;
        self.signal = None;
        self.reason = None;
        self.status_code = None;
        self.error = None;
        self.duration = None;
        self.cpu = None;
        self.max_rss = None;
        self.output = None;
        self.log_bytes = None;
        self.result = None;
        self.retry_at = None;
        self.proc = None;
    }
}
