//! `pirn add --batch`: one job a line. The lines that have arrived are accepted together: a slow writer gets its ids at
//! once, and the lines of a fast one share syncs. Memory is bounded by [`WINDOW_BYTES`], not by the input.

use super::admission;
use super::exit::{BAD_DATA, CommandResult, FAILURE, Failure, OK};
use super::job::JobArgs;
use super::served;
use crate::core::config::Config;
use crate::core::id::JobId;
use crate::core::json::{JsonError, Object};
use crate::core::record::{Record, RecordError};
use crate::os::{clock, poll, procfs};
use crate::spool::{JobText, Spool};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

/// The most lines that are accepted together.
const WINDOW: usize = 1024;

/// The most bytes of such lines, not counting the last of them.
const WINDOW_BYTES: usize = 4 << 20;

/// Bytes to read at a time: as many as a pipe holds.
const PIECE: usize = 64 << 10;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A line that is not blank.
struct InputLine {
    /// From 1.
    number: u64,
    bytes: Vec<u8>,
}

/// The number of the first line that was not accepted, and the reason.
type NotAccepted = (u64, Failure);

pub fn add(spool: &Spool, args: JobArgs) -> CommandResult {
    let options = BatchOptions::new(args.template(spool)?)?;
    let mut batch = BatchAdder {
        spool,
        options,
        boot: procfs::boot_id(),
        room: 0,
        accepted: 0,
    };
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Err((line, Failure { code, message })) = batch.add_all(&mut InputLines::new(input)) else {
        return Ok(OK);
    };
    let accepted = batch.accepted;
    let what =
        format!("line {line}: {message}; accepted before it: {accepted}, from there on: none");
    Err(Failure::new(code, what))
}

struct BatchAdder<'a> {
    spool: &'a Spool,
    options: BatchOptions,
    boot: String,
    /// How many more jobs may wait. Jobs are counted again when it is 0.
    room: u64,
    accepted: usize,
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
        let maker = || {
            let mut options = self.options.clone();
            move |n: usize, id: &JobId| options.draft(&lines[n].bytes, id, config)
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

/// Unlike `output`, this fails if the reader has closed the pipe: nobody would learn the ids of accepted jobs.
fn print(ids: &[JobId]) -> io::Result<()> {
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The options, which hold for every job of the batch.
#[derive(Clone)]
struct BatchOptions {
    /// As a record, for shell lines: only the command is missing.
    record: Record,
    /// As JSON fields, for lines that are records and do not have them. `env` is not among them: it is long, and parsing
    /// it for each line would take longer than all the rest.
    fields: Vec<(String, String)>,
}

impl BatchOptions {
    fn new(record: Record) -> Result<Self, Failure> {
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
        Ok(Self { record, fields })
    }

    fn draft(&mut self, line: &[u8], id: &JobId, config: &Config) -> Result<JobText, String> {
        let text = str::from_utf8(line).map_err(|_| RecordError::NotText.to_string())?;
        let text = text.trim_start_matches(BYTE_ORDER_MARK);
        let mut filled_in;
        let record = if text.starts_with('{') {
            filled_in = self.fill_in(text).map_err(without_line)?;
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
        let text = record.to_json();
        admission::check_size(&text, config)?;
        Ok(JobText { text, queue })
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

/// The lines of standard input.
struct InputLines {
    input: BufReader<File>,
    /// The beginning of the next line.
    partial: Vec<u8>,
    /// The number of the last line that was read.
    number: u64,
    have_ended: bool,
}

/// The next line, as far as it has arrived.
enum NextLine {
    Whole(Vec<u8>),
    /// No more has arrived yet.
    Awaited,
    Ended,
}

impl InputLines {
    fn new(input: File) -> Self {
        Self {
            input: BufReader::with_capacity(PIECE, input),
            partial: Vec::new(),
            number: 0,
            have_ended: false,
        }
    }

    /// Waits for a line that is not blank, and gives it with those behind it that have arrived. With them, the failure
    /// that ends the input early, if there is one.
    fn window(&mut self, most: u64) -> (Vec<InputLine>, Option<Failure>) {
        let (mut lines, mut size) = (Vec::new(), 0);
        while lines.len() < WINDOW && size < WINDOW_BYTES {
            match self.next_line(lines.is_empty(), most) {
                Ok(NextLine::Whole(bytes)) => {
                    size += bytes.len();
                    let number = self.number;
                    let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
                    lines.extend((!is_blank).then_some(InputLine { number, bytes }));
                }
                Ok(NextLine::Awaited) => break,
                Ok(NextLine::Ended) => {
                    self.have_ended = true;
                    break;
                }
                Err(failure) => return (lines, Some(failure)),
            }
        }
        (lines, None)
    }

    fn next_line(&mut self, may_wait: bool, most: u64) -> Result<NextLine, Failure> {
        loop {
            let must_read = self.input.buffer().is_empty();
            if must_read && !may_wait && !poll::is_readable(self.input.get_ref().as_fd()) {
                return Ok(NextLine::Awaited);
            }
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            let end = piece.iter().position(|byte| *byte == b'\n');
            let length = end.unwrap_or(piece.len());
            self.partial.extend_from_slice(&piece[..length]);
            let has_ended = piece.is_empty();
            self.input.consume(end.map_or(length, |end| end + 1));
            if has_ended && self.partial.is_empty() {
                return Ok(NextLine::Ended);
            }
            let is_whole = has_ended || end.is_some();
            let is_too_long = self.partial.len() as u64 > most;
            self.number += u64::from(is_whole || is_too_long);
            if is_too_long {
                let what = format!("the line is longer than {most} bytes (max_job_bytes)");
                return Err(Failure::new(BAD_DATA, what));
            }
            if is_whole {
                return Ok(NextLine::Whole(std::mem::take(&mut self.partial)));
            }
        }
    }
}
