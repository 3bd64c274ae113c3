//! `pirn log`.

use super::ends::{how_a_try_ended, how_it_failed};
use super::existing;
use super::exit::{CommandResult, Failure, NO_INPUT, OK};
use super::follow::{Follower, OldLogs};
use super::follow_running;
use super::output;
use super::select::Selection;
use super::served;
use super::tail::{all_but_last, start_of_last};
use crate::core::record::{Record, State};
use crate::spool::{Found, Spool, Where, stderr_log};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Show it from the beginning, and go on until the job has ended
    ///
    /// If the job has not ended yet, standard error says where it is, and if no daemon serves the spool. Without jobs:
    /// the output of all jobs that run, each under a line with its id, and of those that start meanwhile, until nothing
    /// runs and nothing waits.
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines; with -f, and what comes after them
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Only the output of this try, the first being 1
    #[arg(long, value_name = "K", conflicts_with = "follow")]
    attempt: Option<u32>,
    /// The log of standard error, where --split made one
    #[arg(long, conflicts_with_all = ["follow", "attempt"])]
    err: bool,
    #[command(flatten)]
    jobs: Selection,
}

pub fn log(path: &Path, args: &LogArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    if args.follow && args.jobs.says_nothing() {
        return follow_running::follow(&spool, args.lines);
    }
    let ids = args.jobs.to_look_at(&spool, &State::ALL)?.ids;
    for id in &ids {
        let found = existing::job(&spool, id)?;
        if ids.len() > 1 {
            output::aside(&format!("==> {id} <=="))?;
        }
        match args.follow {
            true => follow(&spool, &found, args.lines)?,
            false => show(&spool, &found, args)?,
        }
    }
    Ok(if ids.is_empty() { NO_INPUT } else { OK })
}

fn follow(spool: &Spool, found: &Found, lines: Option<usize>) -> Result<(), Failure> {
    if !found.is_over() {
        served::tell_waiting(spool, &[&found.id]);
    }
    let old = match lines {
        None => OldLogs::default(),
        Some(lines) => all_but_last(spool, &found.id, lines)?,
    };
    let mut follower = Follower::new(spool, &found.id, old)?;
    if let Some(ended) = follower.follow(&mut || Ok(false))? {
        tell_unstarted(spool, &ended);
    }
    Ok(())
}

fn show(spool: &Spool, found: &Found, args: &LogArgs) -> Result<(), Failure> {
    let record = &found.record;
    if args.err && !record.split {
        let id = &found.id;
        eprintln!("pirn: job {id} has one log for its output and its errors (see add --split)");
    }
    tell_unstarted(spool, found);
    let name = match args.err {
        true => stderr_log(&found.id),
        false => found.id.as_str().to_owned(),
    };
    let opened = spool.open_log(&name);
    let mut file = match opened {
        // The job has written nothing.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let tries = tries(record, file.metadata()?.len());
    let (from, to) = match args.attempt {
        Some(attempt) => part_of(found, &tries, attempt)?,
        None if args.lines.is_none() && !args.err && tries.len() > 1 => {
            return show_tries(&mut file, &tries);
        }
        None => (0, u64::MAX),
    };
    show_part(&mut file, from, to, args.lines)
}

/// Says why a job that has never run did not.
fn tell_unstarted(spool: &Spool, found: &Found) {
    let (id, record) = (&found.id, &found.record);
    let mut tries = record.attempts.iter();
    if record.started_at.is_some() || tries.any(|one| one.started_at.is_some()) {
        return;
    }
    match found.at {
        Where::Active => {}
        Where::Pending(_) | Where::Held => served::tell_unstarted(spool, found),
        Where::Complete | Where::Failed => {
            eprintln!("pirn: job {id} never ran: {}", how_it_failed(record));
        }
    }
}

/// A try: its number, how it ended if it has, and the bytes of the log that it wrote.
struct LogPart {
    attempt: u32,
    ended: Option<String>,
    from: u64,
    to: u64,
}

/// The tries of a job, as far as its record tells where their output is.
fn tries(record: &Record, size: u64) -> Vec<LogPart> {
    let ended = record.attempts.iter().map(|one| LogPart {
        attempt: one.attempt,
        ended: Some(how_a_try_ended(one)),
        from: one.log_offset,
        to: size,
    });
    let running = record.log_offset.map(|from| LogPart {
        attempt: record.attempt,
        ended: None,
        from,
        to: size,
    });
    let mut parts: Vec<LogPart> = ended.chain(running).collect();
    for n in 1..parts.len() {
        parts[n - 1].to = parts[n].from;
    }
    parts
}

/// The part of one try.
fn part_of(found: &Found, tries: &[LogPart], attempt: u32) -> Result<(u64, u64), Failure> {
    let part = tries.iter().find(|part| part.attempt == attempt);
    part.map(|part| (part.from, part.to)).ok_or_else(|| {
        let (id, begun) = (&found.id, found.record.attempt);
        let what = match attempt == begun {
            true => format!("job {id}: where the output of try {attempt} begins is not known yet"),
            false => format!("job {id} has no try {attempt}: it has begun {begun}"),
        };
        Failure::new(NO_INPUT, what)
    })
}

/// Shows the output of all tries, on a terminal with a line before each.
fn show_tries(file: &mut File, tries: &[LogPart]) -> Result<(), Failure> {
    // An earlier run of the job may have left output before its first try.
    let first = tries.first().map_or(0, |part| part.from);
    show_part(file, 0, first, None)?;
    for part in tries {
        let ended = part.ended.as_deref().unwrap_or("running");
        output::aside(&format!("--- try {}: {ended} ---", part.attempt))?;
        // The last one may still be growing.
        let to = part.ended.as_ref().map_or(u64::MAX, |_| part.to);
        show_part(file, part.from, to, None)?;
    }
    Ok(())
}

/// Shows a part of a log, or its last lines.
fn show_part(file: &mut File, from: u64, to: u64, lines: Option<usize>) -> Result<(), Failure> {
    let start = match lines {
        None => from,
        Some(lines) => start_of_last(file, from, to, lines)?,
    };
    file.seek(SeekFrom::Start(start))?;
    output::copy(&mut file.take(to.saturating_sub(start)))
}
