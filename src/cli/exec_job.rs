//! `pirn exec-job`: the daemon starts it for a job that needs more set up than a plain spawn does. It sets this up and
//! becomes the job, with the same pid and session.

use super::exit::{CommandResult, Failure};
use crate::core::units::parse_umask;
use crate::os::cgroup::Cgroup;
use crate::os::{limits, spawn};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct ExecJobArgs {
    /// The control group to enter.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    #[arg(long, value_parser = parse_umask)]
    umask: Option<u32>,
    #[arg(long, allow_negative_numbers = true)]
    nice: Option<i32>,
    #[arg(long)]
    limit: Vec<String>,
    /// The program's path, then its arguments from the name on.
    #[arg(last = true, required = true, num_args = 2..)]
    program: Vec<OsString>,
}

/// Exit codes of a shell for a program that cannot be executed, or is not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub fn exec_job(args: ExecJobArgs) -> CommandResult {
    let refused =
        |what: String| move |e: io::Error| Failure::new(NOT_EXECUTABLE, format!("{what}: {e}"));
    if let Some(path) = args.cgroup
        && let Err(e) = Cgroup::at(path).enter()
    {
        // The job can be ended without it, but processes that leave its process group may survive.
        eprintln!("pirn: this job gets no control group: {e}");
    }
    if let Some(nice) = args.nice {
        limits::set_nice(nice).map_err(refused(format!("nice {nice}")))?;
    }
    for limit in &args.limit {
        let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
        limits::set_limit(name, value.parse().ok()).map_err(refused(format!("limit {limit}")))?;
    }
    if let Some(umask) = args.umask {
        limits::set_umask(umask);
    }
    let program = args.program[0].to_string_lossy();
    let e = spawn::replace_process(&program, &args.program[1..], &[]);
    let code = match e.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Err(Failure::new(code, format!("cannot execute {program}: {e}")))
}
