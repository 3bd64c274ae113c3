//! Lines of standard input that are jobs. A slow writer's lines are given as they arrive, those of a fast one together.
//! Memory is bounded by [`WINDOW_BYTES`], not by the input.

use super::exit::{BAD_DATA, Failure};
use super::inputs;
use crate::os::poll;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;

/// The most lines that are given together.
const WINDOW: usize = 1024;

/// The most bytes of such lines, not counting the last of them.
const WINDOW_BYTES: usize = 4 << 20;

/// Bytes to read at a time: as many as a pipe holds.
const PIECE: usize = 64 << 10;

/// A line that is not blank.
pub struct InputLine {
    /// From 1.
    pub number: u64,
    /// Its text, without the newline.
    pub bytes: Vec<u8>,
}

/// The lines of standard input.
pub struct InputLines {
    input: BufReader<File>,
    /// The size of the input, if it is a file.
    pub size: Option<u64>,
    /// The beginning of the next line.
    partial: Vec<u8>,
    /// The number of the last line that was read.
    pub number: u64,
    /// True once the last line was read.
    pub have_ended: bool,
}

/// The next line, as far as it has arrived.
enum NextLine {
    Whole(Vec<u8>),
    /// No more has arrived yet.
    Awaited,
    Ended,
}

impl InputLines {
    /// The lines of this process.
    pub fn of_stdin() -> io::Result<Self> {
        inputs::tell_typed();
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let about = input.metadata()?;
        Ok(Self {
            size: about.is_file().then_some(about.len()),
            input: BufReader::with_capacity(PIECE, input),
            partial: Vec::new(),
            number: 0,
            have_ended: false,
        })
    }

    /// Waits for a line that is not blank, and gives it with those behind it that have arrived. With them, the failure
    /// that ends the input early, if there is one.
    pub fn window(&mut self, most: u64) -> (Vec<InputLine>, Option<Failure>) {
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
