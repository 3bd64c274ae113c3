//! `pirn show` and `pirn log`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, OK};
use super::follow::Follower;
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
    /// Go on until the job ends
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
    let width = object.fields().map(|(key, _)| key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, raw) in object.fields() {
        let value =
            serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        let mut lines = value.trim_end().lines();
        text.push_str(&format!(
            "{key:width$}  {}\n",
            output::tame(lines.next().unwrap_or(""))
        ));
        for line in lines {
            text.push_str(&format!("{:width$}  {}\n", "", output::tame(line)));
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
        Follower::new(&spool, &args.id)?.follow(&mut || Ok(false))?;
        return Ok(OK);
    }
    let name = if args.stderr {
        stderr_log(&args.id)
    } else {
        args.id.as_str().to_owned()
    };
    let mut file = match spool.open_log(&name) {
        Ok(file) => file,
        // No log: the job wrote nothing.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(OK),
        Err(e) => return Err(e.into()),
    };
    if let Some(lines) = args.lines {
        let start = start_of_last(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(OK),
            n => output::bytes(&buffer[..n])?,
        }
    }
}

/// Where the last `lines` lines begin: read backwards, so that a large log costs no more than what is shown.
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
        for (i, _) in chunk
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let at = position + i as u64;
            if at + 1 == end {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(at + 1);
            }
        }
    }
    Ok(if lines == 0 { end } else { 0 })
}
