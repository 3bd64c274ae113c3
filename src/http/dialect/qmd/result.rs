//! The result of a job, with what it wrote.

use crate::core::qmd;
use crate::http::Door;
use crate::http::native::log;
use crate::spool::Found;

/// Most of a log that is shown, in bytes: its end. All of it is in `log/ID`.
const MOST_LOG: u64 = 1 << 20;

/// A job with what came of it, as it is sent.
pub fn of(door: &Door, found: &Found) -> String {
    let log = end_of_log(door, found);
    let result = qmd::result(&found.id, &found.record, found.at.state(), &log);
    format!("{result}\n")
}

/// What the last try wrote. A log that cannot be read is none.
fn end_of_log(door: &Door, found: &Found) -> String {
    let Ok(Some((file, size))) = log::open(door, found.id.as_str()) else {
        return String::new();
    };
    let last = found.record.attempts.last().map_or(0, |t| t.log_offset);
    let begin = if last <= size { last } else { 0 };
    let mut at = size.saturating_sub(MOST_LOG).max(begin);
    let mut bytes = Vec::new();
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX);
        match log::read_at(&file, at, most, &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(n) => at += n as u64,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
