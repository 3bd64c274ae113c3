//! The last lines of logs.

use super::follow::{OldLogs, old_logs};
use crate::core::id::JobId;
use crate::spool::{Spool, stderr_log};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The part of a job's logs before the last lines.
pub fn all_but_last(spool: &Spool, id: &JobId, lines: usize) -> io::Result<OldLogs> {
    let mut old = old_logs(spool, id);
    for (name, old) in [id.as_str().to_owned(), stderr_log(id)]
        .iter()
        .zip(&mut old)
    {
        if let Some((_, size)) = old {
            *size = start_of_last(&mut spool.open_log(name)?, 0, *size, lines)?;
        }
    }
    Ok(old)
}

/// The offset of the last `lines` lines before `to`. The log is read backwards, so that only the end of a large one is
/// read.
pub fn start_of_last(file: &mut File, from: u64, to: u64, lines: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?.min(to);
    let (mut position, mut found) = (end, 0);
    let mut buffer = vec![0; 64 * 1024];
    while position > from {
        let size = (position - from).min(buffer.len() as u64);
        position -= size;
        file.seek(SeekFrom::Start(position))?;
        let chunk = &mut buffer[..usize::try_from(size).unwrap_or(0)];
        file.read_exact(chunk)?;
        for i in (0..chunk.len()).rev().filter(|i| chunk[*i] == b'\n') {
            let start = position + i as u64 + 1;
            found += usize::from(start < end);
            if start < end && found == lines {
                return Ok(start);
            }
        }
    }
    Ok(if lines == 0 { end } else { from })
}
