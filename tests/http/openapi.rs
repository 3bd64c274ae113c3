//! `doc/openapi.yaml` against the server: schemathesis asks all that the description allows, and some that it does not.

use crate::client::ANYBODY_MAY_RUN;
use crate::spool::Spool;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERSION: &str = "4.32.5";

/// Streams have no end, and there is no serializer for lines of JSON: see `logs.rs`, `watch.rs` and `jobs.rs`.
const TESTED_ELSEWHERE: [&str; 3] = ["getEvents", "getLog", "pushJobs"];

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance,\
    missing_required_header,use_after_free,ensure_resource_availability";

/// The program, installed into an environment of its own; or why there is none.
fn schemathesis() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{VERSION}"));
    let program = home.join("bin/schemathesis");
    if program.exists() {
        return Ok(program);
    }
    let run = |command: &mut Command| {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match quiet.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{command:?}: {status}")),
            Err(e) => Err(format!("{command:?}: {e}")),
        }
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    let package = format!("schemathesis=={VERSION}");
    run(Command::new(home.join("bin/pip")).args(["install", "-q", &package]))?;
    Ok(program)
}

#[test]
fn the_server_is_as_described() {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(why) => return eprintln!("skipped: schemathesis cannot be installed: {why}"),
    };
    // Nothing is run: the jobs are made up.
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let description = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/openapi.yaml");
    let mut command = Command::new(program);
    command
        .current_dir(spool.beside(""))
        .arg("run")
        .arg(description)
        .args([
            "-u",
            &format!("http://127.0.0.1:{port}"),
            "--checks",
            CHECKS,
        ])
        .args(["--phases", "coverage,fuzzing", "-n", "5", "--seed", "1"])
        .args(["--request-timeout", "20", "--continue-on-failure"]);
    for operation in TESTED_ELSEWHERE {
        command.args(["--exclude-operation-id", operation]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("passed"), "{said}");
    assert!(!spool.daemon_log().contains("panicked"));
}
