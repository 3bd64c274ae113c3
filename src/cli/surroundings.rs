//! The options that say what a job finds: its directory, environment, files and limits.

use super::exit::{Failure, USAGE};
use super::inputs;
use crate::core::id::JobId;
use crate::core::json::nearest;
use crate::core::record::{LIMIT_NAMES, Record, Scratch, Setting};
use crate::core::units::{parse_size, parse_umask};
use crate::os::limits;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Environment")]
pub struct SurroundingsArgs {
    /// The working directory [default: this one]
    #[arg(short = 'C', long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set a variable (`KEY=VALUE`), or pass on the caller's (`KEY`) (repeat)
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Pass on no variables but those given with --env
    #[arg(long)]
    pub clean_env: bool,
    /// The file mode creation mask [default: this shell's]
    #[arg(long, value_name = "OCTAL", value_parser = parse_umask)]
    pub umask: Option<u32>,
    /// The nice value [default: the daemon's]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
    /// A resource limit of each process, as `nofile=256`, `as=2G` or `core=unlimited` (repeat)
    ///
    /// `pirn help record` has the names.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_limit)]
    limit: Vec<(String, Option<u64>)>,
    /// Take the job's standard input from this file, which is read now; `-` is the standard input of pirn
    ///
    /// Without this option it is not read; if it is a file, standard error says so.
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<String>,
    /// Put a copy of this file into the scratch directory (repeat)
    ///
    /// `NAME=PATH` gives it another name there.
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// Give it a scratch directory ($PIRN_TMP)
    #[arg(long)]
    tmp: bool,
    /// As --tmp, and leave the directory in place afterwards
    #[arg(long)]
    keep_tmp: bool,
    /// Write standard error to a log of its own
    #[arg(long)]
    split: bool,
    /// End it when a try writes more than this [default: what the settings say, else no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_log: Option<u64>,
}

impl SurroundingsArgs {
    pub fn fill(self, record: &mut Record) -> Result<(), Failure> {
        record.env = inputs::environment(&self.env, self.clean_env)?;
        record.cwd = Some(inputs::directory(self.cwd)?);
        record.umask = Some(self.umask.unwrap_or_else(limits::current_umask));
        record.nice = self.nice;
        record.limits = self.limit.into_iter().collect();
        record.stdin = match self.stdin.as_deref() {
            None => None,
            Some("-") => Some(inputs::stdin()?),
            Some(path) => Some(inputs::file(path)?),
        };
        for file in &self.file {
            let (name, path) = match file.split_once('=') {
                Some((name, path)) => (name, path),
                None => (file.rsplit('/').next().unwrap_or(file), file.as_str()),
            };
            JobId::new(name)
                .map_err(|e| Failure::new(USAGE, format!("--file: the name {name:?} {e}")))?;
            record.files.insert(name.to_owned(), inputs::file(path)?);
        }
        record.tmp = match (self.keep_tmp, self.tmp) {
            (true, _) => Scratch::Keep,
            (false, true) => Scratch::Yes,
            (false, false) => Scratch::No,
        };
        record.split = self.split;
        record.max_log = match self.max_log {
            None => Setting::Default,
            Some(0) => Setting::Off,
            Some(bytes) => Setting::Set(bytes),
        };
        Ok(())
    }
}

fn parse_limit(text: &str) -> Result<(String, Option<u64>), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("expected NAME=VALUE, got {text:?}"))?;
    if !LIMIT_NAMES.contains(&name) {
        return Err(match nearest(name, &LIMIT_NAMES) {
            Some(right) => format!("no such limit {name:?}; did you mean {right:?}?"),
            None => {
                let known = LIMIT_NAMES.join(", ");
                format!("no such limit {name:?}; there are {known}")
            }
        });
    }
    let value = match value {
        "unlimited" => None,
        value => Some(parse_size(value)?),
    };
    Ok((name.to_owned(), value))
}
