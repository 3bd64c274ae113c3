//! No descriptors, no processes, no memory for a fork.

use crate::spool::Spool;
use crate::strace::{Injection, has_tool};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Thirty jobs that fail once and write down their ids.
fn drop_thirty(spool: &Spool) {
    for n in 0..30 {
        let line = "echo $PIRN_ID.$PIRN_ATTEMPT; echo $PIRN_ID > $PIRN_OUT; sleep 0.05; exit $((2 - PIRN_ATTEMPT))";
        spool.drop_json(
            &format!("j{n}"),
            &json!({"command": line, "tmp": true, "tries": 2, "backoff": {"first": "20ms", "max": "50ms"}}),
        );
    }
}

fn check_thirty(spool: &Spool) {
    for n in 0..30 {
        let (state, record) = spool.wait_end(&format!("j{n}"));
        assert_eq!(state, "complete", "{record}");
        assert_eq!(
            record["attempts"].as_array().map(Vec::len),
            Some(2),
            "{record}"
        );
        assert_eq!(record["output"], format!("j{n}.2\n"), "{record}");
        assert_eq!(record["result"], format!("j{n}\n"), "{record}");
    }
    assert!(spool.ls("active").is_empty() && spool.ls("pending").is_empty());
    assert_eq!(spool.scratch(), [""; 0]);
}

#[test]
fn short_of_descriptors_all_jobs_end_as_they_should() {
    let mut spool = Spool::new();
    let mut command = Command::new("prlimit");
    let pirn = spool.command([""]).get_program().to_owned();
    command
        .arg("--nofile=30")
        .arg(pirn)
        .args(["serve", "--slots", "12"]);
    command.env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    drop_thirty(&spool);
    check_thirty(&spool);
}

#[test]
fn more_queues_than_descriptors() {
    let mut spool = Spool::new();
    let mut command = Command::new("prlimit");
    let pirn = spool.command([""]).get_program().to_owned();
    command.arg("--nofile=48").arg(pirn).arg("serve");
    command.env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    for n in 0..60 {
        fs::create_dir(spool.path().join(format!("pending/q{n}"))).unwrap();
        spool.drop_file(&format!("q{n}/j{n}"), "true");
    }
    for n in 0..60 {
        spool.wait_record(&format!("complete/j{n}"));
    }
}

/// A spool and a copy of the program that user 65534 can use.
fn for_nobody(spool: &Spool) -> PathBuf {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(spool.beside(""), open.clone()).unwrap();
    fs::create_dir_all(spool.path()).unwrap();
    chown(spool.path(), Some(65534), Some(65534)).unwrap();
    let pirn = spool.beside("pirn");
    fs::copy(spool.command([""]).get_program(), &pirn).unwrap();
    fs::set_permissions(&pirn, open).unwrap();
    pirn
}

#[test]
fn short_of_processes_all_jobs_run_in_the_end() {
    let mut spool = Spool::new();
    if !nix::unistd::geteuid().is_root() || !has_tool("setpriv", "util-linux") {
        eprintln!("skipped: needs to become another user");
        return;
    }
    let pirn = for_nobody(&spool);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["prlimit", "--nproc=14"]).arg(pirn);
    command.args(["serve", "--slots", "12"]);
    command
        .env("PIRN_SPOOL", spool.path())
        .env("HOME", "/")
        .current_dir("/");
    spool.serve_with(command);
    for n in 0..24 {
        let path = spool.path().join(format!("pending/.j{n}"));
        fs::write(&path, r#"{"command": "exec sleep 0.3", "cwd": "/"}"#).unwrap();
        fs::rename(path, spool.path().join(format!("pending/j{n}"))).unwrap();
    }
    for n in 0..24 {
        let record = spool.wait_record(&format!("complete/j{n}"));
        assert_eq!(record["attempt"], 1, "{record}");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1));
    }
    spool.wait_daemon_log("not started for now");
}

#[test]
fn a_spawn_that_fails_is_no_try() {
    if !has_tool("strace", "strace") {
        return;
    }
    for error in ["EAGAIN", "ENOMEM"] {
        let spool = Spool::serving(&["--slots", "4"]);
        // These jobs make the daemon start its threads for jobs.
        for n in 0..6 {
            spool.drop_file(&format!("warm{n}"), "sleep 0.05");
        }
        for n in 0..6 {
            spool.wait_record(&format!("complete/warm{n}"));
        }
        spool.drop_json(
            "again",
            &json!({"command": "exit $((2 - PIRN_ATTEMPT))", "tries": 2, "backoff": {"first": "1s"}}),
        );
        spool.wait_for("its first try", || {
            spool.daemon_log().contains("again: try 1 of 2")
        });
        let pid = spool.daemon_pid().unwrap();
        let what = format!("clone,clone3,vfork,fork:error={error}");
        let broken = Injection::new(&spool, pid, &what, None);
        for n in 0..4 {
            spool.drop_json(&format!("j{n}"), &json!({"command": "true", "tries": 1}));
        }
        spool.drop_json("once", &json!({"command": "true", "once": true}));
        spool.wait_daemon_log("not started for now");
        std::thread::sleep(Duration::from_secs(2));
        for id in ["j0", "j1", "j2", "j3", "once", "again"] {
            assert!(spool.has(&format!("pending/{id}")), "{error} {id}");
        }
        broken.end();
        let tries = |record: &Value| record["attempts"].as_array().map(Vec::len);
        for id in ["j0", "j1", "j2", "j3", "once"] {
            let (state, record) = spool.wait_end(id);
            assert_eq!(
                (state.as_str(), tries(&record)),
                ("complete", Some(1)),
                "{record}"
            );
        }
        let (state, record) = spool.wait_end("again");
        assert_eq!(
            (state.as_str(), tries(&record)),
            ("complete", Some(2)),
            "{record}"
        );
        // The control: a failure for another reason counts as a try.
        let broken = Injection::new(&spool, pid, "execve:error=EACCES", None);
        spool.drop_json("denied", &json!({"command": "true", "tries": 1}));
        assert_eq!(spool.wait_record("failed/denied")["reason"], "not_started");
        broken.end();
    }
}
