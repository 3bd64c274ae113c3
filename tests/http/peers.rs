//! Callers on a socket in the file system: their user decides, and whether they are in a sandbox.

use crate::client::post;
use crate::spool::Spool;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const COMMAND: &str = "true";
const SCRIPT: &str = r#"{"script": "hello"}"#;

/// A daemon with this beginning of its command line, on a socket that everybody can connect to, and on a port.
fn serving(config: &str, before: &[&str], faults: &str) -> (Spool, PathBuf) {
    let mut spool = Spool::made();
    std::fs::write(spool.path().join("config.json"), config).unwrap();
    spool.script("hello", "#!/bin/sh\n");
    let socket = spool.beside("sock");
    let pirn = env!("CARGO_BIN_EXE_pirn");
    let (program, words) = before.split_first().unwrap_or((&pirn, &[]));
    let mut command = Command::new(program);
    command.args(words);
    if !before.is_empty() {
        command.arg(pirn);
    }
    command
        .args(["serve", "--http", "127.0.0.1:0", "--http"])
        .arg(format!("unix:{}", socket.display()))
        .env("PIRN_SPOOL", spool.path())
        .env("PIRN_FAULTS", faults);
    spool.serve_with(command);
    spool.wait_for("both doors to open", || {
        !spool.ports().is_empty() && spool.daemon_log().contains("listening on unix:")
    });
    for (path, mode) in [(spool.beside("."), 0o755), (socket.clone(), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    (spool, socket)
}

/// curl with this beginning of its command line, which sends a job to the socket; prints the status.
fn curl(before: &[&str], socket: &std::path::Path, body: &str) -> Command {
    let words: Vec<&str> = before.iter().copied().chain(["curl"]).collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}"])
        .arg("--unix-socket")
        .arg(socket)
        .args(["-d", body, "http://localhost/v1/jobs"])
        .current_dir("/");
    command
}

fn status(spool: &Spool, before: &[&str], body: &str) -> String {
    let done = spool.finish(&mut curl(before, &spool.beside("sock"), body));
    assert_eq!(done.code, 0, "{before:?}: {}", done.stderr);
    done.stdout
}

/// False if this program cannot be started so here; says so.
fn can(before: &[&str]) -> bool {
    let done = Command::new(before[0])
        .args(&before[1..])
        .arg("true")
        .output();
    let can = done.is_ok_and(|done| done.status.success());
    if !can {
        eprintln!("skipped: {before:?} does not work here");
    }
    can
}

const SANDBOXED: [&str; 2] = ["setpriv", "--no-new-privs"];

#[test]
fn the_daemons_user_may_run_commands_unless_sandboxed() {
    if !can(&SANDBOXED) {
        return;
    }
    let (spool, _) = serving("{}", &[], "");
    assert_eq!(status(&spool, &[], COMMAND), "201");
    assert_eq!(post(spool.ports()[0], "/v1/jobs", COMMAND).status, 401);
    assert_eq!(status(&spool, &SANDBOXED, COMMAND), "401");
    assert_eq!(status(&spool, &SANDBOXED, SCRIPT), "201");
    let (by_user_alone, _) = serving("{}", &[], "no-sandbox-check");
    assert_eq!(status(&by_user_alone, &SANDBOXED, COMMAND), "201");
}

/// A job may open the socket, unless its sandbox has no such sockets.
#[test]
fn a_sandboxed_job_may_not_run_commands() {
    let (spool, socket) = serving("{}", &[], "");
    let line = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --unix-socket {} -d true http://localhost/v1/jobs",
        socket.display()
    );
    for (id, sandbox, wanted) in [("free", "null", "201"), ("boxed", "{}", "401")] {
        let sandbox: serde_json::Value = serde_json::from_str(sandbox).unwrap();
        spool.drop_json(id, &json!({"command": line, "sandbox": sandbox}));
        let (_, record) = spool.wait_end(id);
        if record["reason"] == "not_started" {
            eprintln!("skipped: {record}");
            return;
        }
        assert_eq!(record["output"], wanted, "{record}");
    }
}

/// The daemon looks at a connection when its client has ended.
#[test]
fn a_client_that_is_gone_may_not_run_commands() {
    if !can(&SANDBOXED) {
        return;
    }
    for (faults, wanted) in [("", 401), ("no-sandbox-check", 201)] {
        let (spool, socket) = serving("{}", &[], faults);
        spool.signal("STOP");
        for before in [&[][..], &SANDBOXED] {
            let mut curl = curl(before, &socket, COMMAND);
            // It waits in vain for the answer.
            assert_eq!(spool.finish(curl.args(["-m", "0.3"])).code, 28);
        }
        spool.signal("CONT");
        let line = format!("POST /v1/jobs {wanted}");
        spool.wait_for(&line, || spool.daemon_log().matches(&line).count() == 2);
    }
}

#[test]
fn settings_for_callers_without_a_token_hold_on_sockets_too() {
    for (rights, command, script) in [
        ("[]", "401", "401"),
        (r#"["push"]"#, "401", "201"),
        (r#"["run"]"#, "201", "201"),
        ("null", "201", "201"),
    ] {
        let config = format!(r#"{{"http": {{"anonymous": {rights}}}}}"#);
        let (spool, _) = serving(&config, &[], "");
        assert_eq!(status(&spool, &[], COMMAND), command, "{rights}");
        assert_eq!(status(&spool, &[], SCRIPT), script, "{rights}");
    }
}

/// A user of no account.
const OTHER: [&str; 4] = ["setpriv", "--reuid", "54321", "--clear-groups"];

fn as_other(more: &[&'static str]) -> Vec<&'static str> {
    OTHER.iter().chain(more).copied().collect()
}

#[test]
fn a_user_namespace_changes_nobody() {
    if !can(&["unshare", "-U"]) || !can(&as_other(&["unshare", "-Ur"])) {
        return;
    }
    let (spool, _) = serving("{}", &[], "");
    assert_eq!(status(&spool, &["unshare", "-U"], COMMAND), "201");
    assert_eq!(status(&spool, &["unshare", "-Ur"], COMMAND), "201");
    assert_eq!(
        status(&spool, &as_other(&["unshare", "-Ur"]), SCRIPT),
        "401"
    );
    assert_eq!(status(&spool, &as_other(&["unshare", "-U"]), SCRIPT), "401");
}

/// In a user namespace without a map, the daemon and all others have the same number.
#[test]
fn a_daemon_in_a_user_namespace_does_not_know_strangers() {
    if !can(&["unshare", "-U"]) || !can(&OTHER) {
        return;
    }
    let (mapped, _) = serving("{}", &["unshare", "-Ur"], "");
    assert_eq!(status(&mapped, &[], COMMAND), "201");
    assert_eq!(status(&mapped, &OTHER, SCRIPT), "401");
    let (unmapped, _) = serving("{}", &["unshare", "-U"], "");
    assert_eq!(status(&unmapped, &OTHER, SCRIPT), "401");
    assert_eq!(status(&unmapped, &[], SCRIPT), "401");
}
