//! `pirn push`.

use super::batch::BatchOptions;
use super::exit::{BAD_DATA, CommandResult, FAILURE, Failure, OK};
use super::job::JobArgs;
use super::lines::{InputLine, InputLines};
use super::output;
use super::remote;
use crate::core::config::Config;
use crate::core::config::remote::BodyFormat;
use crate::core::record::{Record, Work};
use crate::remote::sender::{JobSender, OutgoingJob};
use clap::ArgGroup;
use std::io;
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["command", "script", "batch"]).required(true).multiple(true))]
pub struct PushArgs {
    /// A name under `remote` in the settings, or a URL such as redis://HOST#QUEUE
    #[arg(value_name = "NAME|URL")]
    to: String,
    /// Send a job for each line of standard input, as `pirn add` accepts them with --batch
    #[arg(long, conflicts_with_all = ["command", "script"])]
    batch: bool,
    #[command(flatten)]
    job: JobArgs,
}

pub fn push(spool: &Path, args: PushArgs) -> CommandResult {
    let (sender, config) = remote::sender(spool, &args.to)?;
    if args.batch {
        let options = BatchOptions::new(args.job.template_abroad()?)?;
        return push_all(&*sender, config.format, options);
    }
    let record = args.job.prepare_abroad()?;
    let job = outgoing(&record, config.format).map_err(|why| Failure::new(BAD_DATA, why))?;
    let sent = sender.send(&[job]);
    output::ids(&sent.ids).map_err(|e| unprinted(&e))?;
    sent.failed.map_or(Ok(OK), |why| Err(remote::not_sent(why)))
}

/// Sends a job for each line, in order, up to the first that cannot be sent.
fn push_all(
    sender: &dyn JobSender,
    format: BodyFormat,
    mut options: BatchOptions,
) -> CommandResult {
    let mut lines = InputLines::of_stdin()?;
    let mut pushed = 0;
    let most = Config::default().max_job_bytes;
    while !lines.have_ended {
        let (window, trouble) = lines.window(most);
        for part in window.chunks(sender.most()) {
            let draft = |line: &InputLine| draft(&mut options, &line.bytes, format);
            push_part(sender, draft, part, &mut pushed)?;
        }
        if let Some(failure) = trouble {
            return Err(at_line(lines.number, pushed, &[], failure));
        }
    }
    Ok(OK)
}

fn push_part(
    sender: &dyn JobSender,
    draft: impl FnMut(&InputLine) -> Result<OutgoingJob, String>,
    lines: &[InputLine],
    pushed: &mut usize,
) -> Result<(), Failure> {
    let jobs = lines.iter().map(draft);
    let mut wrong = None;
    // The jobs before a line that is no job are sent.
    let jobs: Vec<OutgoingJob> = jobs
        .map_while(|job| job.map_err(|why| wrong = Some(why)).ok())
        .collect();
    let sent = sender.send(&jobs);
    *pushed += sent.ids.len();
    output::ids(&sent.ids).map_err(|e| unprinted(&e))?;
    let failure = match (sent.failed, wrong) {
        (Some(why), _) => remote::not_sent(why),
        (None, Some(why)) => Failure::new(BAD_DATA, why),
        (None, None) => return Ok(()),
    };
    let line = lines.get(sent.ids.len()).map_or(0, |line| line.number);
    Err(at_line(line, *pushed, &sent.behind, failure))
}

fn unprinted(e: &io::Error) -> Failure {
    Failure::new(FAILURE, format!("the ids could not be printed: {e}"))
}

fn at_line(line: u64, pushed: usize, behind: &[String], failure: Failure) -> Failure {
    let Failure { code, message, .. } = failure;
    let behind = match behind {
        [] => "from there on: none".to_owned(),
        ids => format!("of the lines behind it: {}", ids.join(" ")),
    };
    let what = format!("line {line}: {message}; sent before it: {pushed}, {behind}");
    Failure::new(code, what)
}

/// The message for a line.
fn draft(
    options: &mut BatchOptions,
    line: &[u8],
    format: BodyFormat,
) -> Result<OutgoingJob, String> {
    let record = options.record(line)?;
    let local = [
        ("queue", record.queue.is_some()),
        ("after", !record.after.is_empty()),
        ("after_failed", !record.after_failed.is_empty()),
        ("after_any", !record.after_any.is_empty()),
    ];
    if let Some((field, _)) = local.iter().find(|(_, is_given)| *is_given) {
        return Err(format!(
            "{field}: another machine has its own ids and queues"
        ));
    }
    record.id = None;
    outgoing(record, format)
}

fn outgoing(record: &Record, format: BodyFormat) -> Result<OutgoingJob, String> {
    let job = |body, is_record| OutgoingJob {
        body,
        is_record,
        group: record.group.clone(),
    };
    let whole = record.to_json();
    if format != BodyFormat::Command {
        return Ok(job(whole, true));
    }
    match &record.work {
        Work::Text(text) if Record::new(record.work.clone()).to_json() == whole => {
            Ok(job(text.clone(), false))
        }
        Work::Text(_) | Work::Argv(_) | Work::Script { .. } | Work::Url(_) => Err(
            "the settings of the queue say `format: command`: a job is a line for sh, and has no options"
                .to_owned(),
        ),
    }
}
