//! `pirn add --batch`: one job a line. The lines that have arrived are accepted together: a slow writer gets its ids at
//! once, and the lines of a fast one share syncs.

use super::admission;
use super::bar::Bar;
use super::exit::{CommandResult, FAILURE, Failure, OK};
use super::job::JobArgs;
use super::lines::{InputLine, InputLines};
use super::output;
use super::start::StartArgs;
use crate::core::config::Config;
use crate::core::id::JobId;
use crate::core::json::{JsonError, Object};
use crate::core::record::{Record, RecordError};
use crate::os::{clock, procfs};
use crate::spool::{JobText, Spool};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The number of the first line that was not accepted, and the reason.
type NotAccepted = (u64, Failure);

/// Adds the jobs of standard input. If they are `held`, they wait until they are released.
pub fn add(spool: &Spool, args: JobArgs, held: bool, start: StartArgs) -> CommandResult {
    let options = BatchOptions::new(args.template(spool)?)?;
    let mut lines = InputLines::of_stdin()?;
    let mut batch = BatchAdder {
        spool,
        start,
        options,
        held,
        boot: procfs::boot_id(),
        room: 0,
        accepted: 0,
        bar: Bar::new(lines.size, true),
    };
    let Err((line, failure)) = batch.add_all(&mut lines) else {
        return Ok(OK);
    };
    let Failure { code, message, .. } = failure.in_place(spool.path());
    let accepted = batch.accepted;
    let what =
        format!("line {line}: {message}; accepted before it: {accepted}, from there on: none");
    Err(Failure::new(code, what))
}

struct BatchAdder<'a> {
    spool: &'a Spool,
    start: StartArgs,
    options: BatchOptions,
    held: bool,
    boot: String,
    /// How many more jobs may wait. Jobs are counted again when it is 0.
    room: u64,
    accepted: usize,
    bar: Bar,
}

impl BatchAdder<'_> {
    fn add_all(&mut self, lines: &mut InputLines) -> Result<(), NotAccepted> {
        let mut config = admission::admit(self.spool).map_err(|e| (1, e))?;
        loop {
            let (window, trouble) = lines.window(config.max_job_bytes);
            let mut rest = window.as_slice();
            if let Some(first) = rest.first() {
                // Asked again: the first line may have come much later.
                config = admission::admit(self.spool).map_err(|e| (first.number, e))?;
            }
            while let Some(first) = rest.first() {
                if self.room == 0 {
                    self.room =
                        admission::room(self.spool, &config).map_err(|e| (first.number, e))?;
                }
                let most = usize::try_from(self.room).unwrap_or(usize::MAX);
                let (part, more) = rest.split_at(rest.len().min(most));
                self.add_lines(part, &config)?;
                self.room -= part.len() as u64;
                rest = more;
            }
            if let Some(failure) = trouble {
                return Err((lines.number, failure));
            }
            if lines.have_ended {
                return Ok(());
            }
        }
    }

    /// Accepts these lines, and prints their ids.
    fn add_lines(&mut self, lines: &[InputLine], config: &Config) -> Result<(), NotAccepted> {
        // Jobs of the same age run in the order of their numbers, which is that of their lines. If several threads took
        // the time for each line, or if the clock was set back, a later line could get an earlier time.
        let created_at = &mut self.options.record.created_at;
        *created_at = (*created_at).max(Some(clock::wall()));
        let held = self.held;
        let maker = || {
            let mut options = self.options.clone();
            move |n: usize, id: &JobId| {
                let job = options.draft(&lines[n].bytes, id, config)?;
                Ok(JobText { held, ..job })
            }
        };
        let batch = self
            .spool
            .submit_all(lines.len(), self.spool.writers(), &self.boot, maker);
        let bytes: usize = lines.iter().map(|line| line.bytes.len() + 1).sum();
        self.bar.advance(bytes as u64, batch.ids.len() as u64);
        let is_first = self.accepted == 0 && !batch.ids.is_empty();
        self.accepted += batch.ids.len();
        output::ids(&batch.ids).map_err(|e| {
            let what = format!("the ids could not be printed: {e}");
            let last = lines.last().map_or(0, |line| line.number);
            (last + 1, Failure::new(FAILURE, what))
        })?;
        let starts = is_first || self.accepted > 0 && self.start.is_asked(self.spool);
        if starts && !held {
            self.start.see_to_daemon(self.spool);
        }
        match batch.failed {
            None => Ok(()),
            Some((n, e)) => Err((lines[n].number, e.into())),
        }
    }
}

/// The options, which hold for every job of the batch.
#[derive(Clone)]
pub struct BatchOptions {
    /// As a record, for shell lines: only the command is missing.
    record: Record,
    /// The last line that was a record, with the options that it did not have.
    filled_in: Record,
    /// As JSON fields, for lines that are records and do not have them. `env` is not among them: it is long, and parsing
    /// it for each line would take longer than all the rest.
    fields: Vec<(String, String)>,
}

impl BatchOptions {
    /// The options of this record, whose command is empty.
    pub fn new(record: Record) -> Result<Self, Failure> {
        let text = record.to_json();
        let object = Object::parse(&text).map_err(|e| Failure::new(FAILURE, e.to_string()))?;
        let fields = object
            .fields()
            .filter(|field| !["command", "created_at", "env"].contains(&field.key))
            .map(|field| {
                (
                    field.key.to_owned(),
                    format!("\"{}\":{}", field.key, field.raw),
                )
            })
            .collect();
        Ok(Self {
            record,
            filled_in: Record::default(),
            fields,
        })
    }

    fn draft(&mut self, line: &[u8], id: &JobId, config: &Config) -> Result<JobText, String> {
        let record = self.record(line)?;
        record.id = Some(id.clone());
        record.queue.take_if(|queue| queue.is_default());
        let queue = record.queue.clone().unwrap_or_default();
        let tries = config.tries_of_accepted(&queue);
        record.tries.get_or_insert(tries);
        let text = record.to_json();
        admission::check_size(&text, config)?;
        Ok(JobText {
            text,
            queue,
            held: false,
        })
    }

    /// The job of a line.
    pub fn record(&mut self, line: &[u8]) -> Result<&mut Record, String> {
        let text = str::from_utf8(line).map_err(|_| RecordError::NotText.to_string())?;
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        if text.starts_with('{') {
            self.filled_in = self.fill_in(text).map_err(without_line)?;
            self.filled_in.make_fresh();
            self.filled_in.created_at = self.record.created_at;
            return Ok(&mut self.filled_in);
        }
        let asked = Record::from_bytes(text.as_bytes()).map_err(|e| e.to_string())?;
        self.record.work = asked.work;
        Ok(&mut self.record)
    }

    /// Reads a record, and adds the fields of the options that it does not have. A field that is `null` counts as present.
    fn fill_in(&self, text: &str) -> Result<Record, RecordError> {
        let text = text.trim_end();
        let object = Object::parse(text)?;
        let has = |key: &str| object.fields().any(|field| field.key == key);
        let is_given = |key: &str| match key {
            "stdin" | "stdin_base64" => has("stdin") || has("stdin_base64"),
            _ => has(key),
        };
        let mut whole = text.strip_suffix('}').unwrap_or(text).to_owned();
        let mut is_first = object.fields().next().is_none();
        for (_, field) in self.fields.iter().filter(|(key, _)| !is_given(key)) {
            if !std::mem::take(&mut is_first) {
                whole.push(',');
            }
            whole.push_str(field);
        }
        whole.push('}');
        let mut record = Record::from_json(&whole)?;
        if !has("env") {
            record.env.clone_from(&self.record.env);
        }
        Ok(record)
    }
}

/// The message without its line number: the record is itself one line of the input.
fn without_line(e: RecordError) -> String {
    match e {
        RecordError::Json(e) => RecordError::Json(JsonError { line: 0, ..e }).to_string(),
        RecordError::Empty
        | RecordError::NotText
        | RecordError::Work(_)
        | RecordError::Unsupported(_) => e.to_string(),
    }
}
