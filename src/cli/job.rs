//! The options that describe a job, shared by `add` and `run`.

use super::exit::{BAD_DATA, FAILURE, Failure, NOT_NOW, USAGE};
use super::settings;
use super::when;
use crate::core::config::Config;
use crate::core::id::{JobId, QueueName};
use crate::core::policy::{BackoffSpec, ExitRules};
use crate::core::record::{
    LIMIT_NAMES, Record, Scratch, Setting, Work, parse_umask, settle_parents,
};
use crate::core::time::Wall;
use crate::core::units::{parse_size, parse_span};
use crate::os::{clock, limits, procfs};
use crate::spool::{NewId, NotAdmitted, Spool, Submit, SubmitError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Once;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "When it runs")]
pub struct Schedule {
    /// Queue to wait in; made if it is new
    #[arg(short, long, value_name = "NAME")]
    queue: Option<QueueName>,
    /// Higher runs first
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Run after these jobs completed (repeat, or separate with commas)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after: Vec<JobId>,
    /// Run after these jobs ended, well or not
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after_any: Vec<JobId>,
    /// One at a time with others of this group, in order
    #[arg(short, long, value_name = "NAME")]
    group: Option<String>,
    /// Not before this time: 16:00, "2026-11-21 16:00", RFC 3339, @UNIX
    #[arg(long, value_name = "TIME", value_parser = when::parse, conflicts_with = "in_")]
    at: Option<Wall>,
    /// Not before this much time has passed
    #[arg(long = "in", id = "in_", value_name = "DURATION", value_parser = parse_span)]
    in_: Option<Duration>,
    /// Fail it if it was not started by this time, or within this duration
    #[arg(long, value_name = "TIME", value_parser = when::parse_or_within)]
    expires: Option<Wall>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How often and how long")]
pub struct Endurance {
    /// End a try that takes longer; 0 for no limit
    #[arg(short, long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// From TERM to KILL
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    grace: Option<Duration>,
    /// Tries in all [default: what the settings say for the queue or for all jobs, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tries: Option<u32>,
    /// The interruption (a crash, a forced stop) that is the last; 0 is the first [default: the settings', else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_interruptions: Option<u32>,
    /// Wait between tries, as first=1s,factor=2,max=10m
    #[arg(long, value_name = "RULE", value_parser = parse_backoff)]
    backoff: Option<BackoffSpec>,
    /// Only these exit codes are tried again (and 75 and 111)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    retry_on: Vec<u8>,
    /// These exit codes are not tried again (nor is 100)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    fail_on: Vec<u8>,
    /// At most once, instead of at least once
    #[arg(long)]
    once: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What it runs in")]
pub struct Surroundings {
    /// Working directory [default: this one]
    #[arg(short = 'C', long, value_name = "DIR")]
    cwd: Option<String>,
    /// Set a variable (KEY=VALUE), or pass one on (KEY)
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Pass on no variables but those set with --env
    #[arg(long)]
    clean_env: bool,
    /// File mode creation mask [default: this shell's]
    #[arg(long, value_name = "OCTAL", value_parser = parse_umask)]
    umask: Option<u32>,
    /// Nice value
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
    /// Resource limit, as nofile=256 or as=2G or core=unlimited
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_limit)]
    limit: Vec<(String, Option<u64>)>,
    /// Read the job's standard input from this file; - is ours
    #[arg(long, value_name = "FILE")]
    stdin: Option<String>,
    /// Put a copy of this file into the scratch directory, as NAME=PATH or PATH
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Give it a scratch directory ($PIRN_TMP)
    #[arg(long)]
    tmp: bool,
    /// As --tmp, and leave the directory in place
    #[arg(long)]
    keep_tmp: bool,
    /// Standard error into a log of its own
    #[arg(long)]
    split: bool,
    /// End it when its log grows beyond this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_log: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[command(flatten)]
    schedule: Schedule,
    #[command(flatten)]
    endurance: Endurance,
    #[command(flatten)]
    surroundings: Surroundings,
    /// The job's id [default: the next number]
    #[arg(long, value_name = "ID", help_heading = "What it is called")]
    id: Option<JobId>,
    /// Replace a waiting job of that id
    #[arg(long, requires = "id", help_heading = "What it is called")]
    replace: bool,
    /// Label for people
    #[arg(long, help_heading = "What it is called")]
    name: Option<String>,
    /// Text for people
    #[arg(long, value_name = "TEXT", help_heading = "What it is called")]
    comment: Option<String>,
    /// Word to find it by (repeat)
    #[arg(long, help_heading = "What it is called")]
    tag: Vec<String>,
    /// Run this program of the spool's scripts/; CMD and ARGs are its arguments
    #[arg(long, value_name = "NAME")]
    script: Option<JobId>,
    /// One word: a shell line; several: a program and its arguments; "-": a script on standard input
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    command: Vec<String>,
}

/// Variables that pirn gives its own jobs: a job that adds a job does not pass them on.
const OWN_VARIABLES: [&str; 11] = [
    "PIRN_ID",
    "PIRN_PID",
    "PIRN_QUEUE",
    "PIRN_ATTEMPT",
    "PIRN_SLOT",
    "PIRN_QUEUE_SLOT",
    "PIRN_SPOOL",
    "PIRN_STORE",
    "PIRN_TMP",
    "PIRN_OUT",
    "PIRN_LOCK_FD",
];

impl JobArgs {
    /// The id that was asked for.
    pub fn id(&self) -> Option<&JobId> {
        self.id.as_ref()
    }

    /// Accepts the job into the spool.
    pub fn submit(self, spool: &Spool) -> Result<JobId, Failure> {
        self.submit_after(spool, || Ok(())).map(|(id, ())| id)
    }

    /// As [`Self::submit`], with something to be done once all of the job is read and before it is accepted.
    pub fn submit_after<T>(
        mut self,
        spool: &Spool,
        last: impl FnOnce() -> io::Result<T>,
    ) -> Result<(JobId, T), Failure> {
        let config = admit(spool)?;
        room(spool, &config)?;
        self.schedule.check_parents(spool)?;
        let id = match (self.id.clone(), self.replace) {
            (None, _) => NewId::Next,
            (Some(id), false) => NewId::Exact(id),
            (Some(id), true) => NewId::Replace(id),
        };
        let queue = self.schedule.queue.clone().unwrap_or_default();
        let mut record = self.record()?;
        let tries = config.tries_of_accepted(&queue);
        record.tries.get_or_insert(tries);
        let size = record.to_json().len() as u64;
        if size > config.max_job_bytes {
            let most = config.max_job_bytes;
            let what = format!("the job's record would be {size} bytes; max_job_bytes is {most}");
            return Err(Failure::new(BAD_DATA, what));
        }
        let done = last()?;
        let submit = Submit {
            record: &mut record,
            queue,
            id,
        };
        Ok((spool.submit(submit, &procfs::boot_id())?, done))
    }

    /// A record that asks for all that the options ask for, and runs nothing yet.
    pub fn template(mut self, spool: &Spool) -> Result<Record, Failure> {
        if self.surroundings.stdin.as_deref() == Some("-") {
            let what = "--stdin -: the jobs themselves are on standard input";
            return Err(Failure::new(USAGE, what));
        }
        self.schedule.check_parents(spool)?;
        let queue = self.schedule.queue.clone();
        let mut record = self.with(Work::Text(String::new()))?;
        record.queue = queue.filter(|queue| !queue.is_default());
        Ok(record)
    }

    fn record(mut self) -> Result<Record, Failure> {
        let command = std::mem::take(&mut self.command);
        let work = work(self.script.take(), command)?;
        self.with(work)
    }

    fn with(self, work: Work) -> Result<Record, Failure> {
        let mut record = Record::new(work);
        record.name = self.name;
        record.comment = self.comment;
        record.tags = self.tag;
        record.created_at = Some(clock::wall());
        self.schedule.tell_passed_dates();
        self.schedule.fill(&mut record);
        self.endurance.fill(&mut record);
        self.surroundings.fill(&mut record)?;
        Ok(record)
    }
}

impl From<SubmitError> for Failure {
    fn from(e: SubmitError) -> Self {
        match e {
            SubmitError::Taken(_) => Self::new(FAILURE, e.to_string()),
            SubmitError::NoJob(why) => Self::new(BAD_DATA, why),
            SubmitError::Io(e) => e.into(),
        }
    }
}

impl Schedule {
    fn check_parents(&mut self, spool: &Spool) -> Result<(), Failure> {
        settle_parents(&mut self.after, &mut self.after_any)
            .map_err(|why| Failure::new(USAGE, why))?;
        match spool.first_missing(self.after.iter().chain(&self.after_any))? {
            Some(id) => Err(Failure::new(
                super::exit::NO_JOB,
                format!("there is no job {id} to come after"),
            )),
            None => Ok(()),
        }
    }

    /// A date in the past is a mistake more often than not, but scripts may compute one: the job is accepted.
    fn tell_passed_dates(&self) {
        let now = clock::wall();
        let has_passed = |date: &Wall| *date <= now;
        if let Some(at) = self.at.filter(has_passed) {
            eprintln!("pirn: --at: {at} has passed; the job may start at once");
        }
        if let Some(expires) = self.expires.filter(has_passed) {
            eprintln!(
                "pirn: --expires: {expires} has passed; the job will not run, and fails as expired"
            );
        }
    }

    fn fill(self, record: &mut Record) {
        record.priority = self.priority.unwrap_or(0);
        record.after = self.after;
        record.after_any = self.after_any;
        record.group = self.group;
        record.not_before = self.at.or(self.in_.map(|span| clock::wall().after(span)));
        record.expires = self.expires;
    }
}

impl Endurance {
    fn fill(self, record: &mut Record) {
        record.timeout = match self.timeout {
            None => Setting::Default,
            Some(Duration::ZERO) => Setting::Off,
            Some(span) => Setting::Set(span),
        };
        record.grace = self.grace;
        record.tries = self.tries;
        record.max_interruptions = self.max_interruptions;
        record.backoff = self.backoff.unwrap_or_default();
        let codes = |list: Vec<u8>| list.into_iter().map(i32::from).collect::<BTreeSet<_>>();
        record.rules = ExitRules::new(
            Some(codes(self.retry_on)).filter(|l| !l.is_empty()),
            codes(self.fail_on),
        );
        record.once = self.once;
    }
}

impl Surroundings {
    fn fill(self, record: &mut Record) -> Result<(), Failure> {
        record.env = environment(&self.env, self.clean_env)?;
        record.cwd = Some(directory(self.cwd)?);
        record.umask = Some(self.umask.unwrap_or_else(limits::current_umask));
        record.nice = self.nice;
        record.limits = self.limit.into_iter().collect();
        record.stdin = match self.stdin.as_deref() {
            None => None,
            Some("-") => Some(read_all(&mut std::io::stdin().lock(), "standard input")?),
            Some(path) => Some(read_file(path)?),
        };
        for file in &self.file {
            let (name, path) = match file.split_once('=') {
                Some((name, path)) => (name, path),
                None => (file.rsplit('/').next().unwrap_or(file), file.as_str()),
            };
            JobId::new(name)
                .map_err(|e| Failure::new(USAGE, format!("--file: the name {name:?} {e}")))?;
            record.files.insert(name.to_owned(), read_file(path)?);
        }
        record.tmp = match (self.keep_tmp, self.tmp) {
            (true, _) => Scratch::Keep,
            (false, true) => Scratch::Yes,
            (false, false) => Scratch::No,
        };
        record.split = self.split;
        record.max_log = match self.max_log {
            None => Setting::Default,
            Some(0) => Setting::Off,
            Some(bytes) => Setting::Set(bytes),
        };
        Ok(())
    }
}

fn work(script: Option<JobId>, mut command: Vec<String>) -> Result<Work, Failure> {
    if let Some(name) = script {
        return Ok(Work::Script {
            name,
            args: command,
        });
    }
    if command.len() > 1 {
        return Ok(Work::Argv(command));
    }
    let mut text = command.pop().unwrap_or_default();
    if text == "-" {
        let bytes = read_all(&mut std::io::stdin().lock(), "standard input")?;
        text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(BAD_DATA, "standard input: a script must be UTF-8 text"))?;
    }
    if text.trim().is_empty() {
        return Err(Failure::new(USAGE, "the command is empty"));
    }
    Ok(Work::Text(text))
}

fn directory(cwd: Option<String>) -> Result<String, Failure> {
    let here = || {
        std::env::current_dir()
            .map_err(|e| Failure::new(FAILURE, format!("the current directory: {e}")))
    };
    let path = match cwd {
        Some(dir) => here()?.join(dir),
        None => here()?,
    };
    path.into_os_string().into_string().map_err(|path| {
        Failure::new(
            FAILURE,
            format!(
                "the directory {} is not UTF-8; use --cwd",
                path.to_string_lossy()
            ),
        )
    })
}

/// The caller's environment, without pirn's own variables, and what is set beside it.
pub fn environment(set: &[String], clean: bool) -> Result<BTreeMap<String, String>, Failure> {
    let mut env = BTreeMap::new();
    if !clean {
        for (key, value) in std::env::vars_os() {
            match (key.into_string(), value.into_string()) {
                (Ok(key), Ok(value)) if key != "_" && !OWN_VARIABLES.contains(&key.as_str()) => {
                    env.insert(key, value);
                }
                (Ok(_), Ok(_)) => {}
                (key, _) => eprintln!("pirn: variable {key:?} is not UTF-8 and is not passed on"),
            }
        }
    }
    for entry in set {
        let (key, value) = match entry.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (entry.clone(), std::env::var(entry).ok()),
        };
        if key.is_empty() {
            return Err(Failure::new(
                USAGE,
                format!("--env {entry}: a variable needs a name"),
            ));
        }
        let value = value.ok_or_else(|| {
            Failure::new(
                USAGE,
                format!("--env {entry}: there is no such variable here"),
            )
        })?;
        env.insert(key, value);
    }
    Ok(env)
}

fn read_file(path: &str) -> Result<Vec<u8>, Failure> {
    let mut file = std::fs::File::open(path)
        .map_err(|e| Failure::new(super::exit::NO_JOB, format!("{path}: {e}")))?;
    read_all(&mut file, path)
}

/// What fits into a record; more belongs into a file that the job opens itself.
const MAX_INLINE: u64 = 16 << 20;

fn read_all(source: &mut impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source
        .take(MAX_INLINE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new(FAILURE, format!("{name}: {e}")))?;
    if bytes.len() as u64 > MAX_INLINE {
        return Err(Failure::new(
            BAD_DATA,
            format!("{name}: more than {MAX_INLINE} bytes; let the job read it itself"),
        ));
    }
    Ok(bytes)
}

fn parse_backoff(text: &str) -> Result<BackoffSpec, String> {
    let mut spec = BackoffSpec::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("first", value)) => spec.first = Some(parse_span(value)?),
            Some(("max", value)) => spec.max = Some(parse_span(value)?),
            Some(("factor", value)) => {
                let factor: f64 = value
                    .parse()
                    .map_err(|_| format!("factor: expected a number, got {value:?}"))?;
                if !(1.0..=1000.0).contains(&factor) {
                    return Err(format!(
                        "factor: expected a number from 1 to 1000, got {value}"
                    ));
                }
                spec.factor = Some(factor);
            }
            Some(_) | None => {
                return Err(format!("expected first=, factor= or max=, got {part:?}"));
            }
        }
    }
    Ok(spec)
}

fn parse_limit(text: &str) -> Result<(String, Option<u64>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE, got {text:?}"))?;
    if !LIMIT_NAMES.contains(&name) {
        return Err(match crate::core::json::nearest(name, &LIMIT_NAMES) {
            Some(right) => format!("no such limit {name:?}; did you mean {right:?}?"),
            None => format!(
                "no such limit {name:?}; there are {}",
                LIMIT_NAMES.join(", ")
            ),
        });
    }
    let value = if value == "unlimited" {
        None
    } else {
        Some(parse_size(value)?)
    };
    Ok((name.to_owned(), value))
}

/// Refuses new work while there is too little room for it on the disk, or the disk has failed.
pub fn admit(spool: &Spool) -> Result<Config, Failure> {
    let config = settings_or_defaults(spool);
    spool.admit(&config).map_err(not_now)?;
    Ok(config)
}

/// The settings. While their file is not valid, a daemon goes on with those that it has, which are not known here: new
/// jobs are accepted with pirn's own defaults then, and the user is told so, once.
fn settings_or_defaults(spool: &Spool) -> Config {
    static TOLD: Once = Once::new();
    settings::read(spool.path()).unwrap_or_else(|e| {
        TOLD.call_once(|| {
            eprintln!("pirn: {e}; until that is mended, jobs that do not say how many tries they have get 1");
        });
        Config::default()
    })
}

/// How many more jobs may wait. Refuses new work when that is none.
pub fn room(spool: &Spool, config: &Config) -> Result<u64, Failure> {
    spool.room(config).map_err(not_now)
}

fn not_now(why: NotAdmitted) -> Failure {
    match why {
        NotAdmitted::Io(e) => e.into(),
        NotAdmitted::Trouble(_) | NotAdmitted::Shortage(_) | NotAdmitted::Full { .. } => {
            Failure::new(NOT_NOW, why.to_string())
        }
    }
}
