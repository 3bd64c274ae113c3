//! `pirn run`: adds, shows the output, exits as the job did; with a daemon and without.

use crate::spool::Spool;
use crate::tools::Gate;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A spool without a daemon, and one with a daemon.
fn both() -> [Spool; 2] {
    [Spool::new(), Spool::serving(&[])]
}

fn start(spool: &Spool, args: &[&str]) -> Child {
    let mut command = spool.command([&["run"], args].concat());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The end of a command in the background. If it hangs, it is killed.
fn end(mut child: Child) -> (Option<i32>, String, String) {
    let pid = i64::from(child.id());
    let deadline = std::time::Instant::now() + crate::spool::DEADLINE;
    while crate::spool::is_alive(pid) {
        if std::time::Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

fn kill(child: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn it_exits_as_the_job_did() {
    for spool in both() {
        for (args, code) in [
            (vec!["true"], 0),
            (vec!["exit 7"], 7),
            (vec!["exit 255"], 255),
            (vec!["kill -9 $$"], 137),
            (vec!["kill -TERM $$"], 143),
            (vec!["-t", "100ms", "sleep 600"], 124),
            (vec!["no-such-program-at-all", "x"], 127),
            (vec!["no-such-program-at-all"], 127),
            (vec!["/etc/passwd", "x"], 126),
            (vec!["--cwd", "/no/such/dir", "true"], 127),
            (
                vec![
                    "--tries",
                    "2",
                    "--backoff",
                    "first=5ms",
                    "[ $PIRN_ATTEMPT = 2 ]",
                ],
                0,
            ),
            (vec!["--expires", "2020-01-01T00:00:00Z", "true"], 125),
            (
                vec![
                    "--max-log",
                    "10",
                    "--grace",
                    "100ms",
                    "while :; do echo long line; done",
                ],
                125,
            ),
        ] {
            let done = spool.pirn(&[&["run"], &args[..]].concat());
            assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
        }
        // A job has one try by default.
        let failed = spool.ls("failed");
        assert!(!failed.is_empty());
        for id in failed {
            let record = spool.record(&format!("failed/{id}"));
            assert!(
                record["attempts"]
                    .as_array()
                    .is_none_or(|tries| tries.len() == 1),
                "{record}"
            );
        }
        assert_eq!((spool.ls("pending"), spool.ls("active")), (vec![], vec![]));
    }
}

#[test]
fn our_own_failures_are_125() {
    let spool = Spool::new();
    let done = spool.pirn(&["run", "--after", "nobody", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (125, ""));
    assert!(done.stderr.contains("nobody"));
    spool.config(r#"{"min_free": "1000000G"}"#);
    assert_eq!(spool.pirn(&["run", "true"]).code, 125);
    let done = spool
        .command(["run", "true"])
        .env("PIRN_SPOOL", "/dev/null/spool")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(125));
}

#[test]
fn what_it_shows_is_what_the_job_wrote() {
    for spool in both() {
        let done = spool.pirn(&["run", "printf 'no newline'; printf '\\033[31m\\001' "]);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, "no newline\u{1b}[31m\u{1}")
        );
        let done = spool.pirn(&["run", "--split", "echo out; echo err >&2"]);
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str()),
            ("out\n", "err\n")
        );
        let done = spool.pirn(&["run", "seq 200000"]);
        let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
        assert!(
            done.stdout == expected,
            "{} of {} bytes",
            done.stdout.len(),
            expected.len()
        );
        let done = spool.pirn(&["run", "true"]);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    }
}

#[test]
fn it_passes_on_where_it_was_called() {
    for spool in both() {
        let done = spool
            .command(["run", "pwd -P; echo $COLOUR"])
            .env("COLOUR", "green")
            .current_dir("/usr")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(done.stdout).unwrap(), "/usr\ngreen\n");
    }
}

#[test]
fn output_is_followed_live() {
    for spool in both() {
        let mut gate = Gate::new(&spool, "gate");
        let mut child = start(
            &spool,
            &[&format!("echo first; {}; echo second", gate.wait())],
        );
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "first\n");
        assert!(child.try_wait().unwrap().is_none());
        gate.open(1);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (rest.as_str(), child.wait().unwrap().code()),
            ("second\n", Some(0))
        );
    }
}

#[test]
fn several_at_once_without_a_daemon() {
    let spool = Spool::new();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let spool = &spool;
            scope.spawn(move || {
                let done = spool.pirn(&["run", &format!("echo job {n}; sleep 0.05; exit {n}")]);
                assert_eq!(
                    (done.code, done.stdout),
                    (n, format!("job {n}\n")),
                    "{}",
                    done.stderr
                );
            });
        }
    });
    assert_eq!(spool.ls("complete").len() + spool.ls("failed").len(), 6);
}

#[test]
fn it_runs_just_this_job() {
    let spool = Spool::new();
    let other = spool.add(&["true"]);
    assert_eq!(spool.pirn(&["run", "true"]).code, 0);
    assert!(spool.has(&format!("pending/{other}")));
    // The same for a job in another queue.
    let done = spool.pirn(&["run", "-q", "mail", "echo $PIRN_QUEUE"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "mail\n"));
}

#[test]
fn interrupting_it_cancels_the_job() {
    for spool in both() {
        let child = start(&spool, &["--id", "7", "echo begun; sleep 600"]);
        spool.wait_log("7", "begun");
        kill(&child, "INT");
        let out = child.wait_with_output().unwrap();
        assert!(
            out.status.code().is_some_and(|code| code != 0),
            "{:?}",
            out.status
        );
        let record = spool.wait_record("failed/7");
        assert_eq!(record["reason"], "cancelled");
        assert_eq!(spool.processes("7"), [0; 0]);
    }
}

#[test]
fn an_interrupt_that_comes_with_the_first_line_of_the_job() {
    let spool = Spool::serving(&["--slots", "1"]);
    for n in 0..5 {
        let id = format!("early-{n}");
        let text = "kill -INT $(cat $PIRN_STORE/client); exec sleep 600";
        let mut client = std::process::Command::new("sh");
        client
            .arg("-c")
            .arg("echo $$ > \"$PIRN_SPOOL/store/client\"; exec \"$0\" \"$@\"")
            .arg(spool.command([""; 0]).get_program())
            .args(["run", "--id", &id, text])
            .env("PIRN_SPOOL", spool.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (code, _, errors) = end(client.spawn().unwrap());
        assert!(code.is_some_and(|code| code != 0), "{code:?} {errors}");
        let record = spool.wait_record(&format!("failed/{id}"));
        assert_eq!(record["reason"], "cancelled");
    }
}

#[test]
fn interrupting_it_while_the_job_waits() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    let child = start(&spool, &["--id", "7", "echo never"]);
    spool.wait_file("pending/7");
    // The handler must be installed before the signal is sent.
    spool.wait_for("its signal handler", || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap_or("0")
            .trim()
            .to_owned();
        u64::from_str_radix(&caught, 16).unwrap_or(0) & 0b10 != 0
    });
    kill(&child, "TERM");
    assert_eq!(end(child).0, Some(125));
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    gate.open(1);
    spool.settle();
    assert!(!spool.has("log/7"));
}

#[test]
fn a_job_removed_under_it() {
    let spool = Spool::serving(&[]);
    let child = start(&spool, &["--id", "7", "echo begun; sleep 600"]);
    spool.wait_log("7", "begun");
    spool.rm("active/7");
    let (code, _, stderr) = end(child);
    assert_eq!(code, Some(125));
    assert!(stderr.contains("removed"), "{stderr}");
}

#[test]
fn it_takes_over_when_the_daemon_goes() {
    let mut spool = Spool::new();
    spool.config(r#"{"paused": true}"#);
    spool.serve(&["--slots", "1"]);
    let child = start(&spool, &["--id", "7", "echo after all; exit 4"]);
    spool.wait_file("pending/7");
    spool.config("{\"paused\": true, \"keep\": null}");
    spool.stop();
    spool.config("{}");
    let (code, stdout, _) = end(child);
    assert_eq!((code, stdout.as_str()), (Some(4), "after all\n"));
}

#[test]
fn a_reader_that_goes_away_does_not_hurt_the_job() {
    let spool = Spool::serving(&[]);
    let mut child = start(
        &spool,
        &["--id", "7", "seq 100000; echo done > $PIRN_STORE/done"],
    );
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    child.wait().unwrap();
    assert_eq!(spool.wait_record("complete/7")["exit_code"], 0);
    assert_eq!(spool.read("store/done"), "done\n");
}
