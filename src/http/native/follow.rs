//! `GET /v1/jobs/ID/log?follow`: a log as it grows, as server-sent events. The id of an event is the offset of the
//! byte behind it, so that a client that comes back goes on where it was.

use super::log_file::{open, read_at};
use crate::core::id::JobId;
use crate::http::{Answer, Door, Handled, Outgoing, PIECE, Request, Response, Topic, problem, sse};
use crate::os::clock;
use crate::spool::{Found, Where};
use serde_json::json;
use std::fs::File;
use std::io;
use std::sync::Arc;

pub fn start(request: &Request, door: &Arc<Door>, id: JobId, name: String) -> Handled {
    let offset = match request.headers.get("last-event-id") {
        Some(text) => text.parse().map_err(|_| {
            problem::new(
                400,
                format!("Last-Event-ID: expected an offset, got {text:?}"),
            )
        })?,
        None => super::input::number(request, "from")?.unwrap_or(0),
    };
    let follow = Follow {
        door: Arc::clone(door),
        id,
        name,
        // A file is no longer than that.
        offset: u64::min(offset, i64::MAX.unsigned_abs() - PIECE as u64),
        file: None,
    };
    // A browser's EventSource comes back after the end; 204 tells it to stay away.
    if request.headers.has("last-event-id") && follow.is_at_end() {
        return Ok(Response::new(204).into());
    }
    Ok(Answer::Stream {
        head: sse::head(),
        length: None,
        body: Box::new(move |out| follow.send(out)),
    })
}

struct Follow {
    door: Arc<Door>,
    id: JobId,
    name: String,
    offset: u64,
    file: Option<File>,
}

impl Follow {
    fn is_at_end(&self) -> bool {
        let size = open(&self.door, &self.name)
            .ok()
            .flatten()
            .map_or(0, |(_, size)| size);
        matches!(self.state(), FollowedJob::Over(_)) && self.offset >= size
    }

    fn state(&self) -> FollowedJob {
        match self.door.spool().find(&self.id) {
            Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) => FollowedJob::Open,
            Ok(Some(Where::Complete | Where::Failed)) => match self.door.spool().get(&self.id) {
                Ok(Some(found)) if found.record.is_over() => FollowedJob::Over(Box::new(found)),
                Ok(_) | Err(_) => FollowedJob::Open,
            },
            Ok(None) => FollowedJob::Gone,
            Err(_) => FollowedJob::Open,
        }
    }

    /// Reads the next bytes of the log.
    fn read(&mut self) -> Vec<u8> {
        if self.file.is_none() {
            self.file = open(&self.door, &self.name)
                .ok()
                .flatten()
                .map(|(file, _)| file);
        }
        let mut bytes = Vec::new();
        if let Some(file) = &self.file
            && let Err(e) = read_at(file, self.offset, PIECE, &mut bytes)
        {
            log::warn!("http: log/{}: {e}", self.name);
        }
        bytes
    }

    /// Sends the output as it comes, and the end of the job.
    fn send(mut self, out: &mut Outgoing<'_>) -> io::Result<()> {
        let on = [Topic::Log(self.name.clone()), Topic::Job(self.id.clone())];
        let mut beat = clock::now().boot.after(sse::HEARTBEAT);
        let mut goes_on = true;
        loop {
            let now = clock::now().boot;
            // First the state, then the output: so nothing is missed that the job has written before its end.
            let state = self.state();
            let mut bytes = self.read();
            let is_full = bytes.len() == PIECE;
            if is_full || matches!(state, FollowedJob::Open) {
                bytes.truncate(whole_characters(&bytes));
            }
            let mut piece = Vec::new();
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                let text = String::from_utf8_lossy(&bytes);
                sse::event(&mut piece, Some(&self.offset), None, &text);
            }
            let end = end_of(&state).filter(|_| !is_full);
            if let Some(end) = &end {
                sse::event(&mut piece, Some(&self.offset), Some("end"), end);
            } else if piece.is_empty() && beat <= now {
                sse::comment(&mut piece);
            }
            if !piece.is_empty() {
                beat = now.after(sse::HEARTBEAT);
                out.write(&piece)?;
            }
            if end.is_some() || !goes_on {
                return Ok(());
            }
            // Frees their memory for the time of the wait.
            drop((piece, bytes, state));
            if !is_full {
                goes_on = out.wait(&on, beat)?;
            }
        }
    }
}

enum FollowedJob {
    Open,
    Over(Box<Found>),
    Gone,
}

/// The end of a job, if it has ended.
fn end_of(state: &FollowedJob) -> Option<String> {
    let end = match state {
        FollowedJob::Open => return None,
        FollowedJob::Over(found) => json!({
            "state": found.at.state().as_str(), "reason": found.record.reason.map(|r| r.as_str()),
            "exit_code": found.record.exit_code, "signal": found.record.signal,
        }),
        FollowedJob::Gone => json!({"state": null}),
    };
    Some(end.to_string())
}

/// The number of bytes before a character that is not complete.
fn whole_characters(bytes: &[u8]) -> usize {
    let is_start = |byte: &u8| byte & 0xc0 != 0x80;
    let from = bytes.len().saturating_sub(3);
    let Some(start) = bytes[from..].iter().rposition(is_start).map(|i| from + i) else {
        return bytes.len();
    };
    let length = match bytes[start] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    match start + length > bytes.len() {
        true => start,
        false => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::whole_characters;

    #[test]
    fn characters_are_not_cut() {
        for (text, whole) in [
            (&b""[..], 0),
            (b"abc", 3),
            ("aä".as_bytes(), 3),
            (&"aä".as_bytes()[..2], 1),
            (&"a€".as_bytes()[..3], 1),
            (&"a😀".as_bytes()[..4], 1),
            ("a😀".as_bytes(), 5),
            (b"a\xff", 2),
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(whole_characters(text), whole, "{text:?}");
        }
    }
}
