//! `GET /v1/jobs/ID/log`.

use super::{Outcome, failed, follow, input, job_id, no_job, require};
use crate::core::id::JobId;
use crate::http::{Answer, Door, Next, PIECE, Request, Response, Right, Source, problem};
use crate::os::dir;
use crate::spool::stderr_log;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

pub fn get(request: &Request, door: &Arc<Door>, id: &str) -> Outcome {
    require(request, Right::Read)?;
    let id = job_id(id)?;
    if door.spool().find(&id).map_err(failed)?.is_none() {
        return Err(no_job(&id));
    }
    let name = log_name(request, &id)?;
    if input::flag(request, "follow")? {
        return follow::start(request, door, id, name);
    }
    let Some((file, size)) = open(door, &name).map_err(failed)? else {
        // No log: it wrote nothing.
        return Ok(text(200).into());
    };
    // Without a validator no client can know whether its part is a part of this.
    let range = request
        .headers
        .get("range")
        .filter(|_| !request.headers.has("if-range"));
    let (head, part) = match range.map_or(Part::Whole, |range| part(range, size)) {
        Part::Whole => (text(200), 0..size),
        Part::Some(part) => {
            let last = part.end - 1;
            let shown = format!("bytes {}-{last}/{size}", part.start);
            (text(206).header("Content-Range", shown), part)
        }
        Part::Outside => {
            let what = format!("the log has {size} bytes");
            return Err(problem::new(416, what).header("Content-Range", format!("bytes */{size}")));
        }
    };
    Ok(Answer::Stream {
        head,
        length: Some(part.end - part.start),
        source: Box::new(FilePart { file, part }),
    })
}

/// Which of the job's logs is asked for.
fn log_name(request: &Request, id: &JobId) -> Result<String, Response> {
    match request.query("stream") {
        None | Some("stdout") => Ok(id.as_str().to_owned()),
        Some("stderr") => Ok(stderr_log(id)),
        Some(other) => {
            let what = format!("stream: expected stdout or stderr, got {other:?}");
            Err(problem::new(400, what))
        }
    }
}

/// A log and its size by now, if there is one.
pub fn open(door: &Door, name: &str) -> io::Result<Option<(File, u64)>> {
    match door.spool().open_log(name) {
        Ok(file) => {
            let size = dir::look_at(&file)?.size;
            Ok(Some((file, size)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// What a job wrote is text, whatever it looks like.
fn text(status: u16) -> Response {
    Response::text(status, "")
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", "default-src 'none'; sandbox")
        .header("Accept-Ranges", "bytes")
        .header("Cache-Control", "no-cache")
}

/// What `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Some(Range<u64>),
    Outside,
}

/// Reads one range of bytes (RFC 9110 section 14.1.2). What is something else, or several, is answered with all.
fn part(range: &str, size: u64) -> Part {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let pair = range
        .strip_prefix("bytes=")
        .and_then(|set| set.trim().split_once('-'));
    let part = match pair.map(|(first, last)| (first, number(first), last, number(last))) {
        Some((_, Some(first), "", _)) => first..size,
        Some((_, Some(first), _, Some(last))) if first <= last => {
            first..last.saturating_add(1).min(size)
        }
        Some(("", _, _, Some(length))) => size.saturating_sub(length)..size,
        Some(_) | None => return Part::Whole,
    };
    match part.start < part.end {
        true => Part::Some(part),
        false => Part::Outside,
    }
}

/// A part of a file, read as it is sent.
struct FilePart {
    file: File,
    part: Range<u64>,
}

impl Source for FilePart {
    fn fill(&mut self, out: &mut Vec<u8>) -> Next {
        let left = self.part.end - self.part.start;
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        match read_at(&self.file, self.part.start, most, out) {
            // It has become shorter: the wire ends the connection.
            Ok(0) | Err(_) => return Next::End,
            Ok(n) => self.part.start += n as u64,
        }
        match self.part.start < self.part.end {
            true => Next::More,
            false => Next::End,
        }
    }
}

/// Appends at most `most` bytes of a file to `out`. Gives how many there were; 0 at the end.
pub fn read_at(file: &File, at: u64, most: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let start = out.len();
    out.resize(start + most, 0);
    let read = loop {
        match file.read_at(&mut out[start..], at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    out.truncate(start + read.as_ref().copied().unwrap_or(0));
    read
}

#[cfg(test)]
mod tests {
    use super::{Part, part};

    #[test]
    fn ranges() {
        for (range, wanted) in [
            ("bytes=0-3", Part::Some(0..4)),
            ("bytes=4-", Part::Some(4..10)),
            ("bytes=-3", Part::Some(7..10)),
            ("bytes=-99", Part::Some(0..10)),
            ("bytes=9-99999999999999999999999", Part::Some(9..10)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            assert_eq!(part(range, 10), wanted, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Outside);
    }
}
