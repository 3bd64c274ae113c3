//! `pirn exec-job`: what the daemon starts when a job needs more than its own child sets up. It sets itself up,
//! then becomes the job: same pid, same session.

use super::exit::{CommandResult, Failure};
use crate::core::record::parse_umask;
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

/// Exit codes of a shell, for what could not be executed or found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub fn exec_job(args: ExecJobArgs) -> CommandResult {
    let refused = |what: String, e: io::Error| Failure::new(NOT_EXECUTABLE, format!("{what}: {e}"));
    if let Some(path) = args.cgroup
        && let Err(e) = Cgroup::at(path).enter()
    {
        // It can be ended without, only less surely.
        eprintln!("pirn: this job gets no control group: {e}");
    }
    if let Some(nice) = args.nice {
        limits::set_nice(nice).map_err(|e| refused(format!("nice {nice}"), e))?;
    }
    for limit in &args.limit {
        let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
        limits::set_limit(name, value.parse().ok())
            .map_err(|e| refused(format!("limit {limit}"), e))?;
    }
    if let Some(umask) = args.umask {
        limits::set_umask(umask);
    }
    let program = args
        .program
        .first()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    let e = spawn::replace_process(&program, args.program.get(1..).unwrap_or_default(), &[]);
    let code = if e.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    };
    Err(Failure::new(code, format!("cannot execute {program}: {e}")))
}
