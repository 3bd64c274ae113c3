//! The steps of a child between its clone and its exec: if one fails, nothing is executed, and the record says which.

use crate::spool::Spool;
use crate::strace::{Injection, has_tool};
use serde_json::json;
use std::process::Command;

/// System calls of the child, and the words for them in the record. The job asks for all of them.
const STEPS: [(&str, &str); 9] = [
    ("rt_sigaction", "rt_sigaction: "),
    ("setsid", "setsid: "),
    ("chdir", "cannot enter the working directory "),
    ("dup2", "dup2: "),
    ("umask", "umask: "),
    ("setpriority", "nice: "),
    ("prlimit64", "limits.nofile: "),
    ("close_range", "close_range: "),
    ("rt_sigprocmask", "rt_sigprocmask: "),
];

/// A daemon that leaves out what these faults say.
fn serving(faults: &str) -> Spool {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "--slots", "1"]);
    command.env("PIRN_FAULTS", faults);
    spool.serve_with(command);
    // At its first start the daemon asks for the actions of signals.
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    spool
}

/// Runs a job while a system call fails with EACCES. Gives its state and record, and whether it left a trace.
fn run_without(spool: &Spool, call: &str) -> (String, serde_json::Value, bool) {
    let trace = spool.beside(call);
    let line = format!("touch '{}'", trace.display());
    let job =
        json!({"command": line, "tries": 1, "umask": "027", "nice": 3, "limits": {"nofile": 64}});
    let daemon = spool.daemon_pid().unwrap();
    let failing = Injection::new(spool, daemon, &format!("{call}:error=EACCES"), None);
    spool.drop_json(call, &job);
    spool.wait_for("its end", || {
        ["complete", "failed"]
            .iter()
            .any(|state| spool.has(&format!("{state}/{call}")))
    });
    failing.end();
    let (state, record) = spool.wait_end(call);
    (state, record, trace.exists())
}

#[test]
fn a_step_that_fails_is_said_and_nothing_is_executed() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = serving("");
    let ends = [("clone", "clone: "), ("execve", "cannot execute /bin/sh: ")];
    for (call, said) in STEPS.into_iter().chain(ends) {
        let (state, record, trace) = run_without(&spool, call);
        assert_eq!(
            (state.as_str(), &record["reason"], &record["exit_code"]),
            ("failed", &json!("not_started"), &json!(126)),
            "{call}: {record}"
        );
        let error = record["error"].as_str().unwrap();
        assert!(error.starts_with(said), "{call}: {error}");
        assert!(error.contains("Permission denied"), "{call}: {error}");
        assert!(!trace, "{call}: the job ran");
    }
}

/// The control: with failures passed over, the same job leaves its trace.
#[test]
fn a_step_that_is_passed_over_leaves_a_trace() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = serving("ignore-step");
    for (call, _) in STEPS {
        // The program does not run without its own descriptors either.
        let (_, record, trace) = run_without(&spool, call);
        assert!(trace, "{call}: {record}");
    }
}

#[test]
fn a_step_that_fails_for_now_is_no_try() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = serving("");
    let daemon = spool.daemon_pid().unwrap();
    for (call, error) in [
        ("setsid", "EAGAIN"),
        ("clone", "EAGAIN"),
        ("execve", "ENOMEM"),
    ] {
        let failing = Injection::new(&spool, daemon, &format!("{call}:error={error}"), None);
        spool.drop_json(call, &json!({"command": "true", "tries": 1}));
        spool.wait_daemon_log(&format!("{call}: not started for now"));
        failing.end();
        assert_eq!(spool.wait_record(&format!("complete/{call}"))["attempt"], 1);
    }
}

#[test]
fn limits_and_nice_values_that_are_refused_are_named() {
    if !has_tool("setpriv", "util-linux") {
        return;
    }
    let mut spool = Spool::new();
    let mut command = Command::new("setpriv");
    command
        .arg("--bounding-set=-sys_nice,-sys_resource")
        .arg(env!("CARGO_BIN_EXE_pirn"))
        .args(["serve", "--slots", "1"])
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    for (id, extra, said) in [
        ("nice", json!({"nice": -5}), "nice: Permission denied"),
        (
            "limit",
            json!({"limits": {"nofile": 1u64 << 40}}),
            "limits.nofile: Operation not permitted",
        ),
    ] {
        let mut job = json!({"command": "true", "tries": 1});
        let fields = extra.as_object().unwrap().clone();
        job.as_object_mut().unwrap().extend(fields);
        let (state, record) = spool.run_json(id, &job);
        assert_eq!(
            (state.as_str(), &record["reason"]),
            ("failed", &json!("not_started")),
            "{record}"
        );
        let error = record["error"].as_str().unwrap();
        assert!(error.starts_with(said), "{error}");
    }
}
