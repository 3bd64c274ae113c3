//! The options that describe a job, shared by `add` and `run`.

use super::admission;
use super::exit::{BAD_DATA, FAILURE, Failure, NO_INPUT, USAGE};
use super::inputs;
use super::sandbox::SandboxArgs;
use super::select;
use super::when;
use crate::core::id::{JobId, QueueName};
use crate::core::json::nearest;
use crate::core::record::{LIMIT_NAMES, Record, Scratch, Setting, Work, settle_parents};
use crate::core::retry::{BackoffSpec, ExitRules};
use crate::core::sandbox::{MOST_TASKS, Resources, check_memory, parse_cpu};
use crate::core::time::Wall;
use crate::core::tokens::{self, Uses};
use crate::core::units::{parse_size, parse_span, parse_umask};
use crate::os::{clock, limits, procfs};
use crate::spool::{NewId, Spool, Submit, SubmitError, Where};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Queue and time")]
struct ScheduleArgs {
    /// Queue to wait in; made if it is new
    #[arg(short, long, value_name = "NAME")]
    queue: Option<QueueName>,
    /// Higher runs first
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Run after these jobs completed (repeat, or separate with commas)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after: Vec<JobId>,
    /// Run after these jobs ended, completed or failed
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after_any: Vec<JobId>,
    /// One at a time with others of this group, in order
    #[arg(short, long, value_name = "NAME")]
    group: Option<String>,
    /// Take this many slots [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=tokens::MOST))]
    slots: Option<u32>,
    /// Need these tokens of the settings while it runs, as gpu or gpu=2,licence
    #[arg(long = "use", value_name = "TOKENS", value_parser = tokens::parse_uses)]
    uses: Vec<Uses>,
    /// Not before this time: 16:00, "tomorrow 4pm", "2026-11-21 16:00", RFC 3339, 90m, @UNIX
    #[arg(long, value_name = "TIME", value_parser = when::parse, conflicts_with = "in_")]
    at: Option<Wall>,
    /// Not before this much time has passed
    #[arg(long = "in", id = "in_", value_name = "DURATION", value_parser = parse_span)]
    in_: Option<Duration>,
    /// Fail it if it has not started by this time, as for --at
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    expires: Option<Wall>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tries and limits")]
struct TriesArgs {
    /// End a try that takes longer; 0 for no limit
    #[arg(short, long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// Time from SIGTERM to SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    grace: Option<Duration>,
    /// Tries in all [default: from the settings, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tries: Option<u32>,
    /// Fail it at its Nth interruption (a crash, a forced stop); 0 is the first [default: from the settings, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    max_interruptions: Option<u32>,
    /// Backoff between tries, as first=1s,factor=2,max=10m
    #[arg(long, value_name = "RULE", value_parser = parse_backoff)]
    backoff: Option<BackoffSpec>,
    /// Retry only after these exit codes (and 75 and 111)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    retry_on: Vec<u8>,
    /// Never retry after these exit codes (nor after 100)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    fail_on: Vec<u8>,
    /// Start it at most once, instead of at least once
    #[arg(long)]
    once: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Environment")]
struct SurroundingsArgs {
    /// Working directory [default: this one]
    #[arg(short = 'C', long, value_name = "DIR")]
    cwd: Option<String>,
    /// Set a variable (KEY=VALUE), or pass one on (KEY)
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Pass on no variables but those of --env
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
    /// Give the job this file as standard input; - means the standard input of pirn
    #[arg(long, value_name = "FILE")]
    stdin: Option<String>,
    /// Put a copy of this file into the scratch directory, as NAME=PATH or PATH
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Give it a scratch directory ($PIRN_TMP)
    #[arg(long)]
    tmp: bool,
    /// As --tmp, and keep the directory afterwards
    #[arg(long)]
    keep_tmp: bool,
    /// Write standard error to a log of its own
    #[arg(long)]
    split: bool,
    /// End it when its log grows larger than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_log: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits of all its processes together (cgroup v2)")]
struct ResourceArgs {
    /// End it when it needs more memory
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// Swap that it may use
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    swap: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_TASKS))]
    tasks: Option<u64>,
    /// Processors; 1.5 is one and a half
    #[arg(long, value_name = "N", value_parser = parse_cpu)]
    cpu: Option<u64>,
    /// Share of the processors where others want them, 1 to 10000; 100 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    cpu_weight: Option<u16>,
    /// The same of the disks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    io_weight: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// One word: a shell line; several: a program and its arguments; "-": a script on standard input
    #[arg(value_name = "CMD", trailing_var_arg = true, help_heading = "Command")]
    command: Vec<String>,
    /// Run this program of the spool's scripts/; CMD and ARGs are its arguments
    #[arg(long, value_name = "NAME", help_heading = "Command")]
    script: Option<JobId>,
    #[command(flatten)]
    schedule: ScheduleArgs,
    #[command(flatten)]
    tries: TriesArgs,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Shell line to run when it has ended; its record is on standard input
    #[arg(long, value_name = "CMD", help_heading = "Command")]
    on_finish: Option<String>,
    /// The job's id [default: the next number]
    #[arg(long, value_name = "ID", help_heading = "Id and description")]
    id: Option<JobId>,
    /// Replace a waiting job of that id
    #[arg(long, requires = "id", help_heading = "Id and description")]
    replace: bool,
    /// Label for people
    #[arg(long, help_heading = "Id and description")]
    name: Option<String>,
    /// Text for people
    #[arg(long, value_name = "TEXT", help_heading = "Id and description")]
    comment: Option<String>,
    /// Word to find it by (repeat)
    #[arg(long, help_heading = "Id and description")]
    tag: Vec<String>,
}

/// A job that is read whole and checked, and only has to be accepted.
pub struct PreparedJob {
    record: Record,
    queue: QueueName,
    id: NewId,
}

impl PreparedJob {
    /// The id that was asked for.
    pub fn id(&self) -> Option<&JobId> {
        match &self.id {
            NewId::Next => None,
            NewId::Exact(id) | NewId::Replace(id) => Some(id),
        }
    }

    /// The job of a record, as if it had never run. Those that it came after have been waited for, and may be gone.
    pub fn copy_of(spool: &Spool, mut record: Record) -> Result<Self, Failure> {
        let config = admission::admit(spool)?;
        admission::room(spool, &config)?;
        record.make_fresh();
        record.after.clear();
        record.after_any.clear();
        record.created_at = Some(clock::wall());
        let queue = record.queue.clone().unwrap_or_default();
        let id = NewId::Next;
        Ok(Self { record, queue, id })
    }

    /// Accepts the job into the spool. If it is `held`, it waits until it is released.
    pub fn submit(mut self, spool: &Spool, held: bool) -> Result<JobId, Failure> {
        let submit = Submit {
            record: &mut self.record,
            queue: self.queue,
            held,
            id: self.id,
        };
        Ok(spool.submit(submit, &procfs::boot_id())?)
    }
}

impl JobArgs {
    /// The job of `pirn at`: not before this time; without a command, the script on standard input.
    pub fn starting_at(mut self, time: Wall) -> Result<Self, Failure> {
        if self.schedule.at.is_some() || self.schedule.in_.is_some() {
            return Err(Failure::new(
                USAGE,
                "the time is given twice: leave out --at and --in",
            ));
        }
        self.schedule.at = Some(time);
        if self.command.is_empty() && self.script.is_none() {
            self.command.push("-".to_owned());
        }
        Ok(self)
    }

    /// The job that waits or runs under the id that is asked for. If there is none, an ended one does not matter.
    pub fn unfinished_twin(&mut self, spool: &Spool) -> Result<Option<JobId>, Failure> {
        let Some(id) = &self.id else { return Ok(None) };
        self.replace = true;
        let Some(found) = spool.get(id)? else {
            return Ok(None);
        };
        match found.at {
            Where::Pending(_) | Where::Held | Where::Active => {
                spool.confirm(&found)?;
                Ok(Some(id.clone()))
            }
            Where::Complete | Where::Failed => Ok(None),
        }
    }

    /// Reads and checks all of the job.
    pub fn prepare(mut self, spool: &Spool) -> Result<PreparedJob, Failure> {
        let config = admission::admit(spool)?;
        admission::room(spool, &config)?;
        self.schedule.check_parents(spool)?;
        let id = match (self.id.take(), self.replace) {
            (None, _) => NewId::Next,
            (Some(id), false) => NewId::Exact(id),
            (Some(id), true) => NewId::Replace(id),
        };
        let queue = self.schedule.queue.clone().unwrap_or_default();
        let reads_script = self.script.is_none() && self.command == ["-"];
        if !reads_script && self.surroundings.stdin.is_none() {
            inputs::tell_unread();
        }
        let work = work(self.script.take(), std::mem::take(&mut self.command))?;
        let mut record = self.record(work)?;
        record.tries.get_or_insert(config.tries_of_accepted(&queue));
        admission::check_size(&record.to_json(), &config)
            .map_err(|what| Failure::new(BAD_DATA, what))?;
        admission::tell_excess(spool, &config, &queue, &record);
        Ok(PreparedJob { record, queue, id })
    }

    /// A record of these options with an empty command.
    pub fn template(mut self, spool: &Spool) -> Result<Record, Failure> {
        self.refuse_stdin()?;
        self.schedule.check_parents(spool)?;
        let queue = self.schedule.queue.clone();
        let mut record = self.record(Work::Text(String::new()))?;
        let config = admission::admit(spool)?;
        admission::tell_excess(spool, &config, &queue.clone().unwrap_or_default(), &record);
        record.queue = queue.filter(|queue| !queue.is_default());
        Ok(record)
    }

    /// The record of a job for another machine.
    pub fn prepare_abroad(mut self) -> Result<Record, Failure> {
        let work = work(self.script.take(), std::mem::take(&mut self.command))?;
        self.record_abroad(work)
    }

    /// The same with an empty command.
    pub fn template_abroad(self) -> Result<Record, Failure> {
        self.refuse_stdin()?;
        self.record_abroad(Work::Text(String::new()))
    }

    /// Takes over nothing of this process and its spool but what the options name.
    fn record_abroad(mut self, work: Work) -> Result<Record, Failure> {
        let given = [
            ("--id", self.id.is_some()),
            ("--queue", self.schedule.queue.is_some()),
            ("--after", !self.schedule.after.is_empty()),
            ("--after-any", !self.schedule.after_any.is_empty()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, is_given)| *is_given) {
            let what = format!("{option}: another machine has its own ids and queues");
            return Err(Failure::new(USAGE, what));
        }
        let options = &mut self.surroundings;
        if let Some(dir) = options.cwd.as_ref().filter(|dir| !dir.starts_with('/')) {
            let what = format!("--cwd {dir}: for another machine, name the whole path");
            return Err(Failure::new(USAGE, what));
        }
        if let Some(rule) = self.sandbox.relative_path() {
            let (list, path) = (rule.list(), rule.path);
            let what = format!("--{list} {path}: for another machine, name the whole path");
            return Err(Failure::new(USAGE, what));
        }
        options.clean_env = true;
        let (has_cwd, has_umask) = (options.cwd.is_some(), options.umask.is_some());
        let mut record = self.record(work)?;
        record.cwd.take_if(|_| !has_cwd);
        record.umask.take_if(|_| !has_umask);
        record.created_at = None;
        Ok(record)
    }

    fn refuse_stdin(&self) -> Result<(), Failure> {
        match self.surroundings.stdin.as_deref() {
            Some("-") => {
                let what = "--stdin -: the jobs themselves are on standard input";
                Err(Failure::new(USAGE, what))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn record(self, work: Work) -> Result<Record, Failure> {
        let mut record = Record::new(work);
        record.name = self.name;
        record.comment = self.comment;
        record.tags = self.tag;
        record.on_finish = self.on_finish.map(shell_line).transpose()?;
        record.created_at = Some(clock::wall());
        self.schedule.tell_passed_dates();
        self.schedule.fill(&mut record);
        self.tries.fill(&mut record);
        self.surroundings.fill(&mut record)?;
        record.resources = self
            .resources
            .resources(self.sandbox.best_effort)
            .map(Box::new);
        if self.sandbox.is_asked() || record.resources.is_none() {
            record.sandbox = self.sandbox.sandbox()?.map(Box::new);
        }
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

impl ScheduleArgs {
    fn check_parents(&mut self, spool: &Spool) -> Result<(), Failure> {
        for parents in [&mut self.after, &mut self.after_any] {
            *parents = select::meant_by(spool, parents)?;
        }
        settle_parents(&mut self.after, &mut self.after_any)
            .map_err(|why| Failure::new(USAGE, why))?;
        match spool.first_missing(self.after.iter().chain(&self.after_any))? {
            Some(id) => {
                let what = format!("there is no job {id} to come after");
                Err(Failure::new(NO_INPUT, what))
            }
            None => Ok(()),
        }
    }

    /// Warns of a date in the past: it is probably a mistake. The job is still accepted, since scripts compute dates.
    fn tell_passed_dates(&self) {
        let now = clock::wall();
        // `now` was read a moment ago.
        let has_passed = |date: &Wall| date.after(Duration::from_secs(1)) <= now;
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
        record.slots = self.slots;
        record.uses = self.uses.into_iter().flatten().collect();
        record.not_before = self.at.or(self.in_.map(|span| clock::wall().after(span)));
        record.expires = self.expires;
    }
}

impl TriesArgs {
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

impl SurroundingsArgs {
    fn fill(self, record: &mut Record) -> Result<(), Failure> {
        record.env = inputs::environment(&self.env, self.clean_env)?;
        record.cwd = Some(inputs::directory(self.cwd)?);
        record.umask = Some(self.umask.unwrap_or_else(limits::current_umask));
        record.nice = self.nice;
        record.limits = self.limit.into_iter().collect();
        record.stdin = match self.stdin.as_deref() {
            None => None,
            Some("-") => Some(inputs::stdin()?),
            Some(path) => Some(inputs::file(path)?),
        };
        for file in &self.file {
            let (name, path) = match file.split_once('=') {
                Some((name, path)) => (name, path),
                None => (file.rsplit('/').next().unwrap_or(file), file.as_str()),
            };
            JobId::new(name)
                .map_err(|e| Failure::new(USAGE, format!("--file: the name {name:?} {e}")))?;
            record.files.insert(name.to_owned(), inputs::file(path)?);
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

impl ResourceArgs {
    /// The limits that the options ask for, if any does.
    fn resources(self, best_effort: bool) -> Option<Resources> {
        let resources = Resources {
            memory: self.memory,
            swap: self.swap,
            tasks: self.tasks,
            cpu_millis: self.cpu,
            cpu_weight: self.cpu_weight,
            io_weight: self.io_weight,
            best_effort,
        };
        let is_asked = resources.limits().next().is_some();
        is_asked.then_some(resources)
    }
}

fn work(script: Option<JobId>, mut command: Vec<String>) -> Result<Work, Failure> {
    if let Some(name) = script {
        let args = command;
        return Ok(Work::Script { name, args });
    }
    if command.len() > 1 {
        return Ok(Work::Argv(command));
    }
    let mut text = command.pop().unwrap_or_default();
    if text == "-" {
        text = String::from_utf8(inputs::stdin()?)
            .map_err(|_| Failure::new(BAD_DATA, "standard input: a script must be UTF-8 text"))?;
    }
    shell_line(text)
}

fn shell_line(text: String) -> Result<Work, Failure> {
    match text.trim().is_empty() {
        true => Err(Failure::new(USAGE, "the command is empty")),
        false => Ok(Work::Text(text)),
    }
}

fn parse_memory(text: &str) -> Result<u64, String> {
    check_memory(parse_size(text)?)
}

fn parse_backoff(text: &str) -> Result<BackoffSpec, String> {
    let mut spec = BackoffSpec::default();
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("first", value)) => spec.first = Some(parse_span(value)?),
            Some(("max", value)) => spec.max = Some(parse_span(value)?),
            Some(("factor", value)) => {
                let factor = value.parse().ok().filter(|n| (1.0..=1000.0).contains(n));
                spec.factor = Some(factor.ok_or_else(|| {
                    format!("factor: expected a number from 1 to 1000, got {value:?}")
                })?);
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
        return Err(match nearest(name, &LIMIT_NAMES) {
            Some(right) => format!("no such limit {name:?}; did you mean {right:?}?"),
            None => {
                let known = LIMIT_NAMES.join(", ");
                format!("no such limit {name:?}; there are {known}")
            }
        });
    }
    let value = match value {
        "unlimited" => None,
        value => Some(parse_size(value)?),
    };
    Ok((name.to_owned(), value))
}
