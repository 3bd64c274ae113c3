//! `GET /v1/jobs/ID/log`.

use super::log_file::{open, read_at};
use super::{failed, follow, input, job_id, no_job, require};
use crate::core::id::JobId;
use crate::http::{Answer, Door, Handled, Outgoing, PIECE, Request, Response, Right, problem};
use crate::spool::stderr_log;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub fn get(request: &Request, door: &Arc<Door>, id: &str) -> Handled {
    require(request, Right::Read, &["stream", "follow", "from"])?;
    let id = job_id(id)?;
    if door.spool().find(&id).map_err(failed)?.is_none() {
        return Err(no_job(&id));
    }
    let name = log_name(request, &id)?;
    if input::flag(request, "follow")? {
        return follow::start(request, door, id, name);
    }
    let Some((file, size)) = open(door, &name).map_err(failed)? else {
        // A job without a log has written nothing.
        return Ok(text(200).into());
    };
    // Logs have no validator, so that `If-Range` never matches.
    let range = request
        .headers
        .get("range")
        .filter(|_| !request.headers.has("if-range"));
    let (head, part) = match range.map_or(ByteRange::Whole, |range| part(range, size)) {
        ByteRange::Whole => (text(200), 0..size),
        ByteRange::Some(part) => {
            let last = part.end - 1;
            let shown = format!("bytes {}-{last}/{size}", part.start);
            (text(206).header("Content-Range", shown), part)
        }
        ByteRange::Outside => {
            let what = format!("the log has {size} bytes");
            return Err(problem::new(416, what).header("Content-Range", format!("bytes */{size}")));
        }
    };
    Ok(Answer::Stream {
        head,
        length: Some(part.end - part.start),
        body: Box::new(move |out| send(&file, part, out)),
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

/// The head of an answer with output. That is text, whatever it looks like.
fn text(status: u16) -> Response {
    Response::text(status, "")
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", "default-src 'none'; sandbox")
        .header("Accept-Ranges", "bytes")
        .header("Cache-Control", "no-cache")
}

/// The part of a log that `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    Whole,
    Some(Range<u64>),
    Outside,
}

/// Reads one range of bytes (RFC 9110 section 14.1.2). Other units, and several ranges, are answered with all.
fn part(range: &str, size: u64) -> ByteRange {
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
        Some(_) | None => return ByteRange::Whole,
    };
    match part.start < part.end {
        true => ByteRange::Some(part),
        false => ByteRange::Outside,
    }
}

/// Sends a part of a file. Errors: the client is gone, or the file has become shorter.
fn send(file: &File, mut part: Range<u64>, out: &mut Outgoing<'_>) -> io::Result<()> {
    let mut piece = Vec::new();
    while part.start < part.end {
        let left = usize::try_from(part.end - part.start).unwrap_or(PIECE);
        piece.clear();
        match read_at(file, part.start, left.min(PIECE), &mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => part.start += n as u64,
        }
        out.write(&piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, part};

    #[test]
    fn ranges() {
        for (range, wanted) in [
            ("bytes=0-3", ByteRange::Some(0..4)),
            ("bytes=4-", ByteRange::Some(4..10)),
            ("bytes=-3", ByteRange::Some(7..10)),
            ("bytes=-99", ByteRange::Some(0..10)),
            ("bytes=9-99999999999999999999999", ByteRange::Some(9..10)),
            ("bytes=10-", ByteRange::Outside),
            ("bytes=-0", ByteRange::Outside),
            ("bytes=3-2", ByteRange::Whole),
            ("bytes=0-1,3-4", ByteRange::Whole),
            ("bytes=-", ByteRange::Whole),
            ("bytes=+1-2", ByteRange::Whole),
            ("lines=1-2", ByteRange::Whole),
        ] {
            assert_eq!(part(range, 10), wanted, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), ByteRange::Outside);
    }
}
