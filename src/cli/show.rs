//! `pirn show` and `pirn log`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, OK};
use super::follow::{Follower, OldLogs};
use super::output;
use super::served;
use crate::core::id::JobId;
use crate::core::json::Object;
use crate::spool::stderr_log;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The job
    id: JobId,
    /// The record as JSON, environment included
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The job
    id: JobId,
    /// Show output as it is written, until the job ends
    #[arg(short, long, conflicts_with = "lines")]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// The log of standard error, where it was split off
    #[arg(long, conflicts_with = "follow")]
    stderr: bool,
}

pub fn show(spool: &Path, args: &ShowArgs) -> CommandResult {
    let spool = existing::spool(spool)?;
    let mut found = existing::job(&spool, &args.id)?;
    if args.json {
        output::bytes(found.record.to_json_in(found.at.state()).as_bytes())?;
        return Ok(OK);
    }
    found.record.env.clear();
    let json = found.record.to_json_in(found.at.state());
    let object = Object::parse(&json).map_err(|e| Failure::new(FAILURE, e.to_string()))?;
    let width = object
        .fields()
        .map(|field| field.key.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for field in object.fields() {
        let (mut key, raw) = (field.key, field.raw.get());
        let value = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
        // The key stands beside the first line only, also of a value that has none.
        for line in value.trim_end().split('\n') {
            text.push_str(&format!(
                "{key:width$}  {}\n",
                output::tame(line.trim_end_matches('\r'))
            ));
            key = "";
        }
    }
    output::bytes(text.as_bytes())?;
    Ok(OK)
}

pub fn log(spool: &Path, args: &LogArgs) -> CommandResult {
    let spool = existing::spool(spool)?;
    let found = existing::job(&spool, &args.id)?;
    if args.follow {
        if !found.is_over() {
            served::tell_waiting(&spool, &[&args.id]);
        }
        Follower::new(&spool, &args.id, OldLogs::default())?.follow(&mut || Ok(false))?;
        return Ok(OK);
    }
    let name = match args.stderr {
        true => stderr_log(&args.id),
        false => args.id.as_str().to_owned(),
    };
    let mut file = match spool.open_log(&name) {
        Ok(file) => file,
        // The job has written nothing.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(OK),
        Err(e) => return Err(e.into()),
    };
    if let Some(lines) = args.lines {
        let start = start_of_last(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
    }
    output::file(&mut file)?;
    Ok(OK)
}

/// The offset of the last `lines` lines. The log is read backwards, so that only the end of a large one is read.
fn start_of_last(file: &mut File, lines: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut position, mut found) = (end, 0);
    let mut buffer = vec![0; 64 * 1024];
    while position > 0 {
        let size = position.min(buffer.len() as u64);
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
    Ok(if lines == 0 { end } else { 0 })
}
