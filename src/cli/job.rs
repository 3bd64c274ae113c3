//! The options that describe a job, shared by `add` and `run`.

use super::admission;
use super::exit::{BAD_DATA, FAILURE, Failure, USAGE};
use super::inputs;
use super::resources::ResourceArgs;
use super::sandbox::SandboxArgs;
use super::schedule::ScheduleArgs;
use super::surroundings::SurroundingsArgs;
use super::tries::TriesArgs;
use super::when;
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, Work};
use crate::core::time::Wall;
use crate::os::{clock, procfs};
use crate::spool::{NewId, Spool, Submit, SubmitError, Where};

#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// One word: a shell line; several: a program and its arguments; "-": a script on standard input
    #[arg(value_name = "CMD", trailing_var_arg = true, help_heading = "Command")]
    command: Vec<String>,
    /// Run this program of the spool's `scripts/`; all words are its arguments
    #[arg(long, value_name = "SCRIPT", help_heading = "Command")]
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
    /// A line for sh(1) to run when the job has ended, well or not
    ///
    /// The record is on its standard input; see `on_finish` in `pirn help record`. An empty text means none, whatever
    /// the settings say.
    #[arg(long, value_name = "CMD", help_heading = "Command")]
    on_finish: Option<String>,
    /// The id [default: the next number]
    ///
    /// Refused when a job has this id.
    #[arg(long, value_name = "ID", help_heading = "Id and description")]
    id: Option<JobId>,
    /// With --id: replace a waiting job of that id, in any queue
    ///
    /// If it runs, wait for it; if it has ended, its record and log are kept under an older name.
    #[arg(long, requires = "id", help_heading = "Id and description")]
    replace: bool,
    /// A label for people
    #[arg(long, help_heading = "Id and description")]
    name: Option<String>,
    /// A text for people
    #[arg(long, value_name = "TEXT", help_heading = "Id and description")]
    comment: Option<String>,
    /// A word to find it by (repeat)
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
        record.forget_parents();
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

/// The most words of a time that follow its first, as in `now + 5 minutes`.
const MOST_WORDS: usize = 3;

impl JobArgs {
    /// Fails if the command begins with words that go on with the time: at(1) takes times in several words, and here
    /// `pirn at noon tomorrow` would run a program called `tomorrow`.
    pub fn refuse_rest_of_time(&self, word: &str) -> Result<(), Failure> {
        let mut time = word.to_owned();
        for next in self.command.iter().take(MOST_WORDS) {
            time = format!("{time} {next}");
            if when::parse(&time).is_ok() {
                let what = format!("the time has to be one word: pirn at '{time}'");
                return Err(Failure::new(USAGE, what));
            }
        }
        Ok(())
    }

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
        admission::tell_obstacles(spool, &config, &queue, &record);
        Ok(PreparedJob { record, queue, id })
    }

    /// A record of these options with an empty command.
    pub fn template(mut self, spool: &Spool) -> Result<Record, Failure> {
        self.refuse_stdin()?;
        self.schedule.check_parents(spool)?;
        let queue = self.schedule.queue.clone();
        let mut record = self.record(Work::Text(String::new()))?;
        let config = admission::admit(spool)?;
        admission::tell_obstacles(spool, &config, &queue.clone().unwrap_or_default(), &record);
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
            ("--after-failed", !self.schedule.after_failed.is_empty()),
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
        record.on_finish = match self.on_finish {
            Some(none) if none.is_empty() => Some(Work::NONE),
            given => given.map(shell_line).transpose()?,
        };
        record.created_at = Some(clock::wall());
        self.schedule.tell_passed_dates();
        self.schedule.fill(&mut record);
        self.tries.fill(&mut record)?;
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
