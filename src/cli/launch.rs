//! `pirn launch`: confines this process and becomes a command.

use super::exit::{CommandResult, Failure, NOT_CONFINED, NOT_EXECUTABLE, NOT_FOUND};
use super::sandbox::SandboxArgs;
use crate::core::sandbox::Sandbox;
use crate::os::confine::{ConfineError, Confinement, Layer, OwnFiles};
use crate::os::dir::{self, FileType};
use crate::os::spawn::{self, path_text};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct LaunchArgs {
    #[command(flatten)]
    sandbox: SandboxArgs,
    /// The program and its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

pub fn launch(args: LaunchArgs) -> CommandResult {
    let cwd = std::env::current_dir()
        .map_err(|e| Failure::new(NOT_CONFINED, format!("the working directory: {e}")))?;
    let sandbox = args.sandbox.sandbox()?.unwrap_or_default();
    let name = args.command.first().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    let program =
        spawn::find_program(&name, &path, &path_text(&cwd)).map_err(|e| not_run(&name, &e, ""))?;
    let confined = confine(&sandbox, Path::new(&program));
    confined.map_err(|e| Failure::new(NOT_CONFINED, e.to_string()))?;
    let e = spawn::replace_process(&program, &args.command, &[]);
    let hint = match e.kind() {
        ErrorKind::PermissionDenied if sandbox.has_file_rules() => spawn::outside_rules("ro"),
        _ => String::new(),
    };
    Err(not_run(&program, &e, &hint))
}

fn confine(sandbox: &Sandbox, program: &Path) -> Result<(), ConfineError> {
    let layer = Layer {
        name: "sandbox",
        sandbox,
        is_scoped: true,
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let mut logs = vec![stdout.as_fd(), stderr.as_fd()];
    logs.retain(is_regular);
    let programs = [program].into_iter().filter(|program| program.exists());
    let own = OwnFiles {
        programs: programs.collect(),
        logs,
        ..OwnFiles::default()
    };
    Confinement::prepare(&[layer], &own)?.confine_self()
}

fn is_regular(fd: &BorrowedFd<'_>) -> bool {
    dir::look_at(fd).is_ok_and(|look| look.kind == FileType::File)
}

fn not_run(program: &str, e: &io::Error, hint: &str) -> Failure {
    let code = match e.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    Failure::new(code, format!("cannot execute {program}: {e}{hint}"))
}
