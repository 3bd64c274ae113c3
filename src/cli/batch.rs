//! `pirn add --batch`: a job a line. What has arrived is accepted together, so that a slow writer is not waited for
//! and a fast one shares its syncs; memory is bounded by that window, not by the input.

use super::exit::{BAD_DATA, CommandResult, FAILURE, Failure, OK};
use super::job::{self, JobArgs};
use super::served;
use crate::core::config::Config;
use crate::core::id::JobId;
use crate::core::json::{JsonError, Object};
use crate::core::record::{Record, RecordError};
use crate::os::{clock, poll, procfs};
use crate::spool::{Draft, Spool};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// InputLines that are accepted together, at most.
const WINDOW: usize = 1024;

/// Their bytes, at most, but for the last of them.
const WINDOW_BYTES: usize = 4 << 20;

/// What is read at a time: as much as a pipe holds.
const PIECE: usize = 64 << 10;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A line that is not blank.
struct InputLine {
    /// From 1.
    number: u64,
    bytes: Vec<u8>,
}

pub fn add(spool: &Spool, args: JobArgs) -> CommandResult {
    let common = Common::new(args.template(spool)?)?;
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = InputLines::new(input);
    let mut batch = Adding {
        spool,
        common,
        boot: procfs::boot_id(),
        room: 0,
        accepted: 0,
    };
    let Err((line, Failure { code, message })) = batch.all(&mut lines) else {
        return Ok(OK);
    };
    let accepted = batch.accepted;
    let what =
        format!("line {line}: {message}; accepted before it: {accepted}, from there on: none");
    Err(Failure::new(code, what))
}

struct Adding<'a> {
    spool: &'a Spool,
    common: Common,
    boot: String,
    /// How many more may wait, when that was last counted.
    room: u64,
    accepted: usize,
}

/// Where it went wrong, and how.
type Broken = (u64, Failure);

impl Adding<'_> {
    fn all(&mut self, lines: &mut InputLines) -> Result<(), Broken> {
        let mut config = job::admit(self.spool).map_err(|e| (1, e))?;
        loop {
            let window = lines.window(config.max_job_bytes);
            let mut rest = window.as_slice();
            if let Some(first) = rest.first() {
                // It may have been waited for.
                config = job::admit(self.spool).map_err(|e| (first.number, e))?;
            }
            while let Some(first) = rest.first() {
                if self.room == 0 {
                    self.room = job::room(self.spool, &config).map_err(|e| (first.number, e))?;
                }
                let most = usize::try_from(self.room).unwrap_or(usize::MAX);
                let (part, more) = rest.split_at(rest.len().min(most));
                self.window(part, &config)?;
                self.room -= part.len() as u64;
                rest = more;
            }
            if let Some(failure) = lines.trouble.take() {
                return Err((lines.number, failure));
            }
            if lines.is_over() {
                return Ok(());
            }
        }
    }

    /// Accepts these lines, and prints their ids.
    fn window(&mut self, lines: &[InputLine], config: &Config) -> Result<(), Broken> {
        let most = config.max_job_bytes;
        // Jobs of the same age run in the order of their numbers, which is that of their lines. Several threads that
        // asked the clock for each line would give a later line an earlier time, and so would a clock that is set back.
        let made = &mut self.common.record.created_at;
        *made = (*made).max(Some(clock::wall()));
        let maker = || {
            let mut common = self.common.clone();
            move |n: usize, id: &JobId| {
                let draft = common.draft(&lines[n].bytes, id, config)?;
                match draft.text.len() as u64 {
                    size if size > most => Err(format!(
                        "the job's record would be {size} bytes; max_job_bytes is {most}"
                    )),
                    _ => Ok(draft),
                }
            }
        };
        let batch = self
            .spool
            .submit_all(lines.len(), self.spool.writers(), &self.boot, maker);
        let is_first = self.accepted == 0 && !batch.ids.is_empty();
        self.accepted += batch.ids.len();
        print(&batch.ids).map_err(|e| {
            let what = format!("the ids could not be printed: {e}");
            let last = lines.last().map_or(0, |line| line.number);
            (last + 1, Failure::new(FAILURE, what))
        })?;
        if is_first {
            served::tell_unserved(self.spool);
        }
        match batch.failed {
            None => Ok(()),
            Some((n, e)) => Err((lines[n].number, e.into())),
        }
    }
}

fn print(ids: &[JobId]) -> io::Result<()> {
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What the options ask for.
#[derive(Clone)]
struct Common {
    /// For shell lines: only the command is missing.
    record: Record,
    /// For records: the fields, each with its text, that hold where a record does not say. Not `env`, which is long,
    /// and would take longer to read for each record than all the rest.
    fields: Vec<(String, String)>,
}

impl Common {
    fn new(record: Record) -> Result<Self, Failure> {
        let text = record.to_json();
        let object = Object::parse(&text).map_err(|e| Failure::new(FAILURE, e.to_string()))?;
        let fields = object
            .fields()
            .filter(|(key, _)| !["command", "created_at", "env"].contains(key))
            .map(|(key, raw)| (key.to_owned(), format!("\"{key}\":{raw}")))
            .collect();
        Ok(Self { record, fields })
    }

    fn draft(&mut self, line: &[u8], id: &JobId, config: &Config) -> Result<Draft, String> {
        let text = str::from_utf8(line).map_err(|_| RecordError::NotText.to_string())?;
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        let mut filled_in;
        let record = if text.starts_with('{') {
            filled_in = self.fill_in(text).map_err(in_a_line)?;
            filled_in.make_fresh();
            filled_in.created_at = self.record.created_at;
            &mut filled_in
        } else {
            let asked = Record::from_bytes(text.as_bytes()).map_err(|e| e.to_string())?;
            self.record.work = asked.work;
            &mut self.record
        };
        record.id = Some(id.clone());
        record.queue.take_if(|queue| queue.is_default());
        let queue = record.queue.clone().unwrap_or_default();
        let tries = config.tries_of_accepted(&queue);
        record.tries.get_or_insert(tries);
        Ok(Draft {
            text: record.to_json(),
            queue,
        })
    }

    /// The record with the fields of ours that it does not have. One that it says is `null` stays away.
    fn fill_in(&self, text: &str) -> Result<Record, RecordError> {
        let text = text.trim_end();
        let object = Object::parse(text)?;
        let has = |key: &str| object.fields().any(|(given, _)| given == key);
        let is_said = |key: &str| match key {
            "stdin" | "stdin_base64" => has("stdin") || has("stdin_base64"),
            _ => has(key),
        };
        let mut whole = text.strip_suffix('}').unwrap_or(text).to_owned();
        let mut comma = if object.fields().next().is_some() {
            ","
        } else {
            ""
        };
        for (key, field) in &self.fields {
            if !is_said(key) {
                whole.push_str(comma);
                whole.push_str(field);
                comma = ",";
            }
        }
        whole.push('}');
        let mut record = Record::from_json(&whole)?;
        if !has("env") {
            record.env.clone_from(&self.record.env);
        }
        Ok(record)
    }
}

/// The message about a record that is one line of many.
fn in_a_line(e: RecordError) -> String {
    match e {
        RecordError::Json(e) => RecordError::Json(JsonError { line: 0, ..e }).to_string(),
        RecordError::Empty
        | RecordError::NotText
        | RecordError::Work(_)
        | RecordError::Unsupported(_) => e.to_string(),
    }
}

/// The lines of standard input.
struct InputLines {
    input: File,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out, and how much has been looked through.
    given: usize,
    seen: usize,
    /// The number of the last line that was given out.
    number: u64,
    ended: bool,
    /// Why there will be no more lines, though there is more input.
    trouble: Option<Failure>,
}

impl InputLines {
    fn new(input: File) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            given: 0,
            seen: 0,
            number: 0,
            ended: false,
            trouble: None,
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.given == self.buffer.len()
    }

    /// The lines that are there, blank ones left out; waits for the first. None are given when there are no more, or
    /// when `trouble` says why.
    fn window(&mut self, most: u64) -> Vec<InputLine> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < WINDOW && bytes < WINDOW_BYTES {
            if let Some(line) = self.next_line() {
                self.number += 1;
                if line.len() as u64 > most {
                    self.give_up(format!(
                        "the line is {} bytes long; max_job_bytes is {most}",
                        line.len()
                    ));
                    break;
                }
                bytes += line.len();
                let number = self.number;
                let is_blank = line.iter().all(u8::is_ascii_whitespace);
                lines.extend((!is_blank).then_some(InputLine {
                    number,
                    bytes: line,
                }));
            } else if self.ended {
                break;
            } else if (self.buffer.len() - self.given) as u64 > most {
                self.number += 1;
                self.give_up(format!("the line is too long; max_job_bytes is {most}"));
                break;
            } else if !lines.is_empty() && !poll::is_readable(self.input.as_fd()) {
                break;
            } else if let Err(e) = self.read() {
                self.trouble = Some(e.into());
                break;
            }
        }
        lines
    }

    fn give_up(&mut self, why: String) {
        self.trouble = Some(Failure::new(BAD_DATA, why));
    }

    /// The next line, if it has come to its end.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        let unseen = self.buffer.get(self.seen..)?;
        let end = match unseen.iter().position(|byte| *byte == b'\n') {
            Some(length) => self.seen + length,
            None if self.ended && self.given < self.buffer.len() => self.buffer.len(),
            None => {
                self.seen = self.buffer.len();
                return None;
            }
        };
        let line = self.buffer.get(self.given..end)?.to_vec();
        self.given = (end + 1).min(self.buffer.len());
        self.seen = self.given;
        Some(line)
    }

    fn read(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.given);
        (self.given, self.seen) = (0, self.seen - self.given);
        let end = self.buffer.len();
        self.buffer.resize(end + PIECE, 0);
        let read = self.input.read(&mut self.buffer[end..]);
        self.buffer.truncate(end + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(n) => self.ended = n == 0,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
