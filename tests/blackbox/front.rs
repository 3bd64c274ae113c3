//! The process in front of the daemon, and SIGQUIT: exit codes are true whatever becomes of the daemon.

use crate::pid_reuse::Space;
use crate::spool::{Spool, is_alive, is_stopped, wait_for};
use crate::strace::has_tool;
use serde_json::json;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

fn kill(signal: &str, pid: i64) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), "--", &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
    if signal == "STOP" {
        wait_for("its threads to stop", || is_stopped(&pid.to_string()));
    }
}

/// The daemon behind the front that the test has started.
fn behind(spool: &Spool) -> i64 {
    let front = spool.daemon_pid().unwrap();
    let children = || fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap();
    spool.wait_for("the daemon", || !children().is_empty());
    children()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// A daemon with a front that has adopted what there is, and its pid.
fn serve(spool: &mut Spool, args: &[&str]) -> i64 {
    let mut command = spool.command(["serve"]);
    command.args(args);
    spool.serve_with_front(command);
    behind(spool)
}

/// A job that ends with this code once the file is there.
fn drop_until(spool: &Spool, id: &str, code: i32) -> PathBuf {
    let go = spool.beside(&format!("go-{id}"));
    let command = format!(
        "until [ -e '{}' ]; do sleep 0.02; done; exit {code}",
        go.display()
    );
    spool.drop_json(id, &json!({"command": command, "tries": 1}));
    go
}

fn let_go(go: PathBuf) {
    fs::write(go, "").unwrap();
}

/// The daemon is stopped; one of two jobs ends; the daemon is killed; the other job ends under the next one.
fn ends_around_a_crash(spool: &Spool, daemon: i64) {
    let first = drop_until(spool, "first", 42);
    let second = drop_until(spool, "second", 43);
    let pids = ["first", "second"].map(|id| spool.wait_note(id)["pid"].as_i64().unwrap());
    kill("STOP", daemon);
    let_go(first);
    spool.wait_for("the first job to end", || !is_alive(pids[0]));
    kill("KILL", daemon);
    spool.wait_daemon_log("second: still running");
    let_go(second);
}

fn assert_true_ends(spool: &Spool) {
    for (id, code) in [("first", 42), ("second", 43)] {
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(
            (&record["reason"], &record["exit_code"], &record["attempt"]),
            (&json!("exited"), &json!(code), &json!(1)),
            "{record}"
        );
    }
}

#[test]
fn a_killed_daemon_loses_no_exit_code() {
    let mut spool = Spool::new();
    let daemon = serve(&mut spool, &[]);
    let front = spool.daemon_pid();
    ends_around_a_crash(&spool, daemon);
    assert_true_ends(&spool);
    assert_eq!(spool.daemon_pid(), front, "lock still names the front");
    spool.drop_file("after", "true");
    spool.wait_record("complete/after");
    spool.stop();
}

/// A daemon with a front that takes the kernel for one before 6.15, which has no PIDFD_GET_INFO.
fn serve_on_older_kernel(spool: &mut Spool) -> i64 {
    let mut command = spool.command(["serve"]);
    command.env("PIRN_FAULTS", "no-pidfd-info");
    spool.serve_with_front(command);
    behind(spool)
}

#[test]
fn a_killed_daemon_loses_no_exit_code_on_an_older_kernel() {
    let mut spool = Spool::new();
    let daemon = serve_on_older_kernel(&mut spool);
    ends_around_a_crash(&spool, daemon);
    assert_true_ends(&spool);
    spool.stop();
}

/// The control: without a front, the code of a job that ended while there was no daemon is lost.
#[test]
fn without_a_front_the_exit_code_is_lost() {
    let mut spool = Spool::serving(&[]);
    let daemon = spool.daemon_pid().unwrap().into();
    let first = drop_until(&spool, "first", 42);
    let pid = spool.wait_note("first")["pid"].as_i64().unwrap();
    kill("STOP", daemon);
    let_go(first);
    spool.wait_for("the job to end", || !is_alive(pid));
    kill("KILL", daemon);
    spool.wait_exit();
    spool.wait_for("init to reap it", || {
        !PathBuf::from(format!("/proc/{pid}")).exists()
    });
    spool.serve(&[]);
    spool.wait_daemon_log("first: try 1 was interrupted");
}

#[test]
fn signals_and_the_exit_code_pass_through_the_front() {
    let mut spool = Spool::new();
    let config = spool.beside("settings.json");
    fs::write(&config, "{}").unwrap();
    let daemon = serve(&mut spool, &["--config", config.to_str().unwrap()]);
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    fs::write(&config, r#"{"slots": 2}"#).unwrap();
    spool.signal("HUP");
    spool.wait_daemon_log("config: read");
    let go = drop_until(&spool, "runs", 0);
    spool.wait_note("runs");
    spool.signal("USR2");
    spool.wait_daemon_log("runs: still running");
    assert_eq!(behind(&spool), daemon, "an upgrade keeps the pid");
    // After an upgrade a crash is what it was before.
    kill("KILL", daemon);
    spool.wait_for("the next daemon", || {
        spool.daemon_log().matches("runs: still running").count() == 2
    });
    spool.signal("TERM");
    spool.wait_daemon_log("stopping: 1 running");
    let_go(go);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.record("complete/runs")["attempt"], 1);
    fs::write(&config, "{").unwrap();
    let refused = spool.pirn(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(refused.code, 78, "{}", refused.stderr);
}

/// A daemon that was told to end, and is killed then, leaves that to the next one.
#[test]
fn a_stop_outlives_a_crash() {
    let mut spool = Spool::new();
    let daemon = serve(&mut spool, &[]);
    let go = drop_until(&spool, "runs", 0);
    spool.wait_note("runs");
    spool.signal("TERM");
    spool.wait_daemon_log("stopping: 1 running");
    kill("KILL", daemon);
    spool.wait_for("the next one to stop", || {
        spool.daemon_log().matches("stopping: 1 running").count() == 2
    });
    let_go(go);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.record("complete/runs")["attempt"], 1);
}

/// As script(1) has a terminal, its ^C reaches both processes, and the jobs are not ended as by a second signal.
#[test]
fn a_key_of_the_terminal_counts_once() {
    if !has_tool("script", "bsdutils") {
        return;
    }
    let spool = Spool::made();
    let log = spool.beside("daemon.log");
    let line = format!(
        "exec '{}' serve 2>'{}'",
        env!("CARGO_BIN_EXE_pirn"),
        log.display()
    );
    let mut terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("PIRN_SPOOL", spool.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    spool.wait_file("lock");
    let go = drop_until(&spool, "runs", 0);
    spool.wait_note("runs");
    let mut keys = terminal.stdin.take().unwrap();
    std::io::Write::write_all(&mut keys, b"\x03").unwrap();
    spool.wait_daemon_log("stopping: 1 running");
    let_go(go);
    let record = spool.wait_record("complete/runs");
    assert_eq!(record["attempt"], 1);
    assert!(!spool.daemon_log().contains("stopping: ending"));
    drop(keys);
    assert!(terminal.wait().unwrap().success());
}

/// The daemon is killed after the front, which a signal has woken, has found it alive, and before that is acted on.
#[test]
fn an_end_beside_a_signal_is_not_missed() {
    if !has_tool("strace", "strace") {
        return;
    }
    let mut spool = Spool::new();
    let mut command = Command::new("strace");
    command
        .args(["-D", "-o", "/dev/null", "-e", "trace=waitid"])
        .args(["-e", "inject=waitid:delay_exit=300000"])
        .args([env!("CARGO_BIN_EXE_pirn"), "serve"])
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with_front(command);
    let daemon = behind(&spool);
    let front = spool.daemon_pid().unwrap();
    let is = |state: &str| {
        let stat = fs::read_to_string(format!("/proc/{front}/stat")).unwrap();
        stat.contains(&format!(") {state} "))
    };
    spool.wait_for("the front to sleep", || is("S"));
    kill("HUP", front.into());
    spool.wait_for("the front to be held in its call", || is("t"));
    kill("KILL", daemon);
    spool.wait_daemon_log("taking its place");
    spool.stop();
}

/// The first process of a container gets the orphans of commands that others run in it.
#[test]
fn a_front_that_is_the_first_process_reaps_orphans() {
    let spool = Spool::new();
    let Some(space) = Space::serve(&spool, &[]) else {
        return;
    };
    let first = space.first();
    let children = || {
        let path = format!("/proc/{first}/task/{first}/children");
        let children = fs::read_to_string(path).unwrap();
        children.split_whitespace().count()
    };
    spool.wait_for("the daemon", || children() == 1);
    let go = spool.beside("go");
    let line = format!(
        "until [ -e '{}' ]; do sleep 0.02; done >/dev/null 2>&1 &",
        go.display()
    );
    let done = Command::new("nsenter")
        .args(["--pid", "--target", &first, "sh", "-c", &line])
        .status();
    assert!(done.unwrap().success());
    spool.wait_for("the orphan", || children() == 2);
    let_go(go);
    spool.wait_for("the orphan to be reaped", || children() == 1);
}

#[test]
fn the_daemon_dies_with_its_front() {
    let mut spool = Spool::new();
    let daemon = serve(&mut spool, &[]);
    let go = drop_until(&spool, "runs", 0);
    spool.wait_note("runs");
    spool.crash();
    spool.wait_for("the daemon to die", || !is_alive(daemon));
    serve(&mut spool, &[]);
    spool.wait_daemon_log("runs: still running");
    let_go(go);
    spool.wait_record("complete/runs");
    spool.stop();
}

#[test]
fn a_waiting_run_does_not_slip_in_after_a_crash() {
    let mut spool = Spool::new();
    let daemon = serve(&mut spool, &["--slots", "0"]);
    let mut run = spool.spawn_logged(&mut spool.command(["run", "--id", "r", "true"]));
    spool.wait_file("pending/r");
    kill("KILL", daemon);
    spool.wait_daemon_log("taking its place");
    spool.wait_for("the next daemon", || {
        let named = spool.daemon_pid().map(|pid| pid.to_string());
        named.is_some_and(|pid| spool.pirn(&["status"]).stdout.contains(&pid))
    });
    assert!(run.try_wait().unwrap().is_none() && spool.has("pending/r"));
    spool.stop();
    assert!(run.wait().unwrap().success());
}

#[test]
fn quit_leaves_the_jobs_to_the_next_daemon() {
    let mut spool = Spool::new();
    serve(&mut spool, &[]);
    let go = drop_until(&spool, "runs", 42);
    spool.wait_file("active/runs");
    spool.signal("QUIT");
    assert_eq!(spool.wait_exit(), 0);
    assert!(is_alive(
        spool.record("active/runs")["pid"].as_i64().unwrap()
    ));
    spool.drop_file("waits", "true");
    let daemon = serve(&mut spool, &[]);
    spool.wait_record("complete/waits");
    spool.wait_daemon_log("runs: still running");
    let_go(go);
    spool.wait_daemon_log("exit 42 (try 1");
    assert!(is_alive(daemon));
    spool.stop();
}

/// Where a process learns of its own children only, jobs are waited for.
#[test]
fn quit_drains_on_an_older_kernel() {
    let mut spool = Spool::new();
    serve_on_older_kernel(&mut spool);
    let go = drop_until(&spool, "runs", 0);
    spool.wait_note("runs");
    spool.signal("QUIT");
    spool.wait_daemon_log("stopping: 1 running");
    let_go(go);
    assert_eq!(spool.wait_exit(), 0);
    spool.wait_record("complete/runs");
}

/// Writes each message to a file, with the pid that the kernel says it is from.
const LISTENS: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
out = open(sys.argv[2], "w", buffering=1)
while True:
    data, control, _, _ = s.recvmsg(4096, 64)
    print(struct.unpack("iii", control[0][2])[0], data.decode().replace("\n", " "), file=out)
"#;

#[test]
fn messages_come_from_the_front() {
    if !has_tool("python3", "python3") {
        return;
    }
    let mut spool = Spool::new();
    let (path, heard) = (spool.beside("notify"), spool.beside("heard"));
    let mut python = Command::new("python3");
    python.args(["-c", LISTENS]).args([&path, &heard]);
    let mut manager = python.spawn().unwrap();
    spool.wait_for("the socket", || path.exists());
    let mut command = spool.command(["serve"]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "200000");
    spool.serve_with_front(command);
    let front = spool.daemon_pid().unwrap();
    let text = || fs::read_to_string(&heard).unwrap_or_default();
    let count = |what: &str| {
        let line = format!("{front} {what}");
        text()
            .lines()
            .filter(|found| found.starts_with(&line))
            .count()
    };
    let daemon = behind(&spool);
    spool.wait_for("READY", || count("READY=1") == 1);
    spool.wait_for("signs of life", || count("WATCHDOG=1") > 4);
    let go = drop_until(&spool, "runs", 0);
    spool.wait_for("STATUS", || count("STATUS=1 running, 0 waiting") == 1);
    spool.signal("HUP");
    spool.wait_for("RELOADING", || count("RELOADING=1 MONOTONIC_USEC=") == 1);
    spool.wait_for("READY after it", || count("READY=1") == 2);
    kill("KILL", daemon);
    spool.wait_for("READY of the next one", || count("READY=1") == 3);
    let before = count("WATCHDOG=1");
    spool.wait_for("signs of life", || count("WATCHDOG=1") > before + 4);
    spool.signal("TERM");
    let_go(go);
    assert_eq!(spool.wait_exit(), 0);
    spool.wait_for("STOPPING", || count("STOPPING=1") > 0);
    manager.kill().unwrap();
    manager.wait().unwrap();
    let strangers = text()
        .lines()
        .filter(|line| !line.starts_with(&format!("{front} ")))
        .count();
    assert_eq!(strangers, 0, "{}", text());
}

/// As a service manager: listens at a path, and executes a program with the socket as descriptor 3.
const PASSES: &str = r#"
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// The service manager's socket is served, also by the next daemon.
#[test]
fn a_passed_socket_is_served_after_a_crash() {
    if !has_tool("python3", "python3") {
        return;
    }
    let mut spool = Spool::new();
    let door = spool.beside("door");
    let mut command = Command::new("python3");
    command.args(["-c", PASSES]).arg(&door);
    command.args([env!("CARGO_BIN_EXE_pirn"), "serve", "--http", "fd:http"]);
    command.env("PIRN_SPOOL", spool.path());
    spool.serve_with_front(command);
    let answers = || {
        use std::io::{Read, Write};
        let mut stream = UnixStream::connect(&door).unwrap();
        let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.contains("200")
    };
    assert!(answers());
    let daemon = behind(&spool);
    kill("KILL", daemon);
    assert!(answers());
    spool.stop();
    assert!(door.exists(), "it is the service manager's");
    let done = spool.pirn(&["serve", "--http", "fd:http"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("fd:http"), "{}", done.stderr);
}
