//! The job record: the fields of a job, those that pirn adds, and every key that pirn does not know.
//!
//! One JSON object per job (pirn-spool(5)). Reading is in `read`, printing in `write`; a record that
//! is read and printed keeps every field, unknown ones byte for byte.

mod call;
mod parents;
mod read;
mod tries;
mod work;
mod write;

pub use call::{Call, Manner, Order, Report, check_port, without_userinfo};
pub use parents::settle_parents;
pub use read::read_on_finish;
pub use tries::{Origin, Try};
pub use work::{OUT, Work};

use super::id::{JobId, QueueName};
use super::json::JsonError;
use super::process::Proc;
use super::retry::{BackoffSpec, ExitRules};
use super::sandbox::{Resources, Sandbox, Sandboxed};
use super::time::Wall;
use super::tokens::{Units, Uses};
use super::warning::Warning;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The directory a job's file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Waiting.
    Pending,
    /// Not started until it is released.
    Held,
    /// Running now.
    Active,
    /// Its last try succeeded, or it was not needed.
    Complete,
    /// Its last try failed, or it was not run.
    Failed,
}

impl State {
    /// All states, in the order of a job's life.
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

    /// True for the states of ended jobs.
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
    /// A user cancelled it.
    Cancelled,
    /// Still waiting at `expires`.
    Expired,
    /// The program could not be started.
    NotStarted,
    /// The daemon or the machine stopped while it ran, and its status is not known.
    Interrupted,
    /// A job that it comes `after` failed.
    Dependency,
    /// It wrote more than `max_log`.
    LogLimit,
    /// A job of `after_failed` completed: it was not needed.
    Skipped,
}

impl Reason {
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
            Self::Skipped => "skipped",
        }
    }

    /// The reason that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        let mut all = std::iter::successors(Some(Self::Exited), |reason| reason.next());
        all.find(|reason| reason.as_str() == word)
    }

    /// The reason that is listed after this one. A list of all would compile with one left out.
    fn next(self) -> Option<Self> {
        Some(match self {
            Self::Exited => Self::Signaled,
            Self::Signaled => Self::Timeout,
            Self::Timeout => Self::Cancelled,
            Self::Cancelled => Self::Expired,
            Self::Expired => Self::NotStarted,
            Self::NotStarted => Self::Interrupted,
            Self::Interrupted => Self::Dependency,
            Self::Dependency => Self::LogLimit,
            Self::LogLimit => Self::Skipped,
            Self::Skipped => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason why a file is no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// It is empty.
    Empty,
    /// It is not UTF-8, or has NUL bytes.
    NotText,
    /// A JSON record with a mistake in it.
    Json(JsonError),
    /// None or several of `command`, `script`, `url`.
    Work(&'static str),
    /// A field that this version does not support yet.
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

/// A setting that has a default in the config, which a job may replace or switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// The job does not name it: the default holds.
    #[default]
    Default,
    /// The job says `0`: there is no limit.
    Off,
    /// The job's own value.
    Set(T),
}

impl<T: Default + PartialEq> Setting<T> {
    /// The setting with this value. Zero switches it off.
    pub fn of(value: T) -> Self {
        Some(value).filter(|value| *value != T::default()).into()
    }
}

/// `None` switches it off.
impl<T> From<Option<T>> for Setting<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Off, Self::Set)
    }
}

impl<T: Copy> Setting<T> {
    /// The value that holds with this default.
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
    /// As `Yes`, but it stays, for people to look at.
    Keep,
    /// As `Yes`, but it stays until the request that waits for the job is answered. Only the sender of that request
    /// needs `files` and `stdin`: the record of the ended job has neither.
    Answer,
}

/// The limits of setrlimit(2) that a job may set, by the names of the constants in lower case.
pub const LIMIT_NAMES: [&str; 9] = [
    "as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "stack",
];

/// The variable with the queue of the job that has asked for this one with `on_finish`.
pub const PARENT_QUEUE: &str = "PIRN_PARENT_QUEUE";

/// A job record.
#[derive(Debug, Clone, Default)]
pub struct Record {
    // The fields that users write.
    /// The command, or the URL to call.
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
    /// The bytes of its standard input.
    pub stdin: Option<Vec<u8>>,
    /// Files to put into the scratch directory.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The longest that a try may take.
    pub timeout: Setting<Duration>,
    /// The warning that comes before that.
    pub warn: Setting<Warning>,
    /// The time from TERM to KILL.
    pub grace: Option<Duration>,
    /// Tries in all, at least 1.
    pub tries: Option<u32>,
    /// After this many interruptions the job fails; 0 means the same as 1.
    pub max_interruptions: Option<u32>,
    /// The wait between tries.
    pub backoff: BackoffSpec,
    /// The exit codes after which the job is tried again.
    pub rules: ExitRules,
    /// Not started before this date.
    pub not_before: Option<Wall>,
    /// Not started after this date.
    pub expires: Option<Wall>,
    /// Jobs of one group run one at a time, in order.
    pub group: Option<String>,
    /// How many slots it takes; `None` for one.
    pub slots: Option<u32>,
    /// The tokens that it needs.
    pub uses: Uses,
    /// Jobs that must complete first.
    pub after: Vec<JobId>,
    /// Jobs that must fail first.
    pub after_failed: Vec<JobId>,
    /// Jobs that must end first, either way.
    pub after_any: Vec<JobId>,
    /// It is run at most once instead of at least once.
    pub once: bool,
    /// Whether there is a scratch directory.
    pub tmp: Scratch,
    /// Its standard error goes to a log of its own.
    pub split: bool,
    /// Bytes of log after which the job is killed.
    pub max_log: Setting<u64>,
    /// Resource limits: name to value, `None` for unlimited.
    pub limits: BTreeMap<String, Option<u64>>,
    /// Its sandbox. Most jobs have none, and many records are in memory at a time.
    pub sandbox: Option<Box<Sandbox>>,
    /// How much of the machine its processes may take together.
    pub resources: Option<Box<Resources>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The URL to send the record to when the job has ended.
    pub callback_url: Option<String>,
    /// A command to run then; [`Work::NONE`] for none, whatever the settings say.
    pub on_finish: Option<Work>,

    // The fields that pirn adds.
    /// The file's name when the record was written.
    pub id: Option<JobId>,
    /// When the job was made.
    pub created_at: Option<Wall>,
    /// When its last try began.
    pub started_at: Option<Wall>,
    /// When the job ended. Only the record of an ended job has this.
    pub finished_at: Option<Wall>,
    /// Tries begun so far.
    pub attempt: u32,
    /// How many of them were interrupted.
    pub interruptions: u32,
    /// When the last try was warned of its timeout.
    pub warned_at: Option<Wall>,
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
    /// An error message, for people.
    pub error: Option<String>,
    /// Seconds the last try took.
    pub duration: Option<f64>,
    /// Processor seconds of the last try, user and system, with the children it waited for.
    pub cpu: Option<f64>,
    /// Largest resident set of the last try, in bytes.
    pub max_rss: Option<u64>,
    /// A process of the last try was killed because they needed more than `resources.memory`.
    pub oom: bool,
    /// The sandbox and limits that the last try had, if any.
    pub sandboxed: Option<Box<Sandboxed>>,
    /// The end of the log, lossy UTF-8.
    pub output: Option<String>,
    /// Where in the log the output of the running try begins.
    pub log_offset: Option<u64>,
    /// Size of the log in bytes.
    pub log_bytes: Option<u64>,
    /// The text that the job wrote to `$PIRN_OUT`.
    pub result: Option<String>,
    /// The tries that ended.
    pub attempts: Vec<Try>,
    /// When the next try is due.
    pub retry_at: Option<Wall>,
    /// The running try's process.
    pub proc: Option<Proc>,
    /// The units that the last try was given.
    pub units: Units,

    /// Keys that pirn does not know, with the texts of their values, in the order of the file.
    pub extra: Vec<(String, Box<RawValue>)>,
}

impl Record {
    /// A record with this work and no other field.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            ..Self::default()
        }
    }

    /// The fields of [`Self::start_date`].
    pub const START_FIELDS: [&str; 2] = ["not_before", "retry_at"];

    /// The date that a waiting job waits for, if it has not come: its own, or that of its next try.
    pub fn start_date(&self, now: Wall) -> Option<Wall> {
        let date = self.not_before.max(self.retry_at);
        date.filter(|at| *at > now)
    }

    /// Refuses a warning without a timeout that leaves time for it. The timeout must be the record's own, since that of
    /// the settings may change before the job runs.
    pub fn check_warning(&self) -> Result<(), String> {
        match (self.warn, self.timeout) {
            (Setting::Default | Setting::Off, _) => Ok(()),
            (Setting::Set(warning), Setting::Set(timeout)) => warning.check(timeout),
            (Setting::Set(_), Setting::Default | Setting::Off) => {
                Err("needs a timeout of the job's own beside it".to_owned())
            }
        }
    }

    /// True when the job has a scratch directory. The process of a call writes its report there.
    pub fn wants_scratch(&self) -> bool {
        self.tmp != Scratch::No || !self.files.is_empty() || matches!(self.work, Work::Url(_))
    }

    /// Removes the fields that may hold secrets, before others see the record.
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
}
