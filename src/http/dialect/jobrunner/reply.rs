//! The answer to a payload: the output of the command in base64, sent while it is read.

use super::response_file;
use crate::core::record::Record;
use crate::http::dialect::go::BASE64;
use crate::http::native::log_file;
use crate::http::{Answer, Door, Outgoing, Response};
use crate::os::dir;
use crate::spool::{Found, stderr_log};
use base64::Engine as _;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes that are read for one piece; a multiple of three, so that only the last one is padded.
const READ: u64 = 48 * 1024;

/// The result of a job. Removes its scratch directory, whose response file is open by then.
pub fn reply(door: &Arc<Door>, found: &Found) -> io::Result<Answer> {
    let (id, record) = (&found.id, &found.record);
    let response = open_response(door, found)?;
    let output = log_file::open(door, id.as_str())?;
    let errors = log_file::open(door, &stderr_log(id))?;
    door.spool().remove_scratch(id)?;
    let mut parts = vec![ReplyPart::text("{\"data\":\"")];
    parts.extend(response.map(ReplyPart::file));
    parts.push(ReplyPart::text(format!(
        "\",\"worker_id\":{},\"elapsed_sec\":{},\"exit_status\":{},\"output\":\"",
        worker(record),
        record.duration.unwrap_or(0.0),
        exit_status(record),
    )));
    parts.extend(output.map(ReplyPart::file));
    parts.push(ReplyPart::text("\",\"error\":\""));
    match errors {
        Some(errors) => parts.push(ReplyPart::file(errors)),
        // A command that could not be started has written nothing; the record has the reason.
        None => parts.extend(
            record
                .error
                .as_ref()
                .map(|e| ReplyPart::Text(BASE64.encode(e))),
        ),
    }
    parts.push(ReplyPart::text("\"}\n"));
    Ok(Answer::Stream {
        head: Response::json(200, ""),
        length: Some(parts.iter().map(ReplyPart::length).sum()),
        body: Box::new(|out| send(parts, out)),
    })
}

/// The response file and its size, if the command has left a regular file.
fn open_response(door: &Door, found: &Found) -> io::Result<Option<(File, u64)>> {
    let (id, record) = (&found.id, &found.record);
    let name = response_file(worker(record), record, id);
    match door.spool().open_in_scratch(id, &name) {
        Ok(file) => {
            let look = dir::look_at(&file)?;
            Ok((look.kind == dir::FileType::File).then_some((file, look.size)))
        }
        // Not there, or a link.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The number of the worker, which the run has noted.
fn worker(record: &Record) -> u64 {
    let noted = record.result.as_deref().unwrap_or_default();
    noted.trim().parse().unwrap_or(1)
}

/// The exit code; -1 if a signal has ended the command, or there is no exit.
fn exit_status(record: &Record) -> i32 {
    record.exit_code.unwrap_or(-1)
}

enum ReplyPart {
    Text(String),
    /// A range of a file, in base64.
    Base64(File, u64, u64),
}

impl ReplyPart {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn file((file, size): (File, u64)) -> Self {
        Self::Base64(file, 0, size)
    }

    /// Its bytes in the answer.
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Base64(_, from, to) => (to - from).div_ceil(3) * 4,
        }
    }
}

/// Sends the parts. Errors: the client is gone, or a file has become shorter.
fn send(parts: Vec<ReplyPart>, out: &mut Outgoing<'_>) -> io::Result<()> {
    for part in parts {
        match part {
            ReplyPart::Text(text) => out.write(text.as_bytes())?,
            ReplyPart::Base64(file, mut from, to) => {
                while from < to {
                    let end = from.saturating_add(READ).min(to);
                    out.write(BASE64.encode(read(&file, from, end)?).as_bytes())?;
                    from = end;
                }
            }
        }
    }
    Ok(())
}

/// All bytes of a range.
fn read(file: &File, mut from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while from < to {
        let most = usize::try_from(to - from).unwrap_or(usize::MAX);
        match log_file::read_at(file, from, most, &mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => from += n as u64,
        }
    }
    Ok(bytes)
}
