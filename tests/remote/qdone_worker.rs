//! `worker` beside what the real qdone said, and where its jobs run.

use crate::faults::{Fault, FaultySqs};
use crate::moto::{Moto, SharedMoto};
use crate::qdone::{Qdone, assert_as_captured, captured, mask};
use crate::spool::{DEADLINE, Done, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Weak;
use std::time::{Duration, Instant};

static MOTO: SharedMoto = SharedMoto::new(Weak::new());

/// The lines of JSON for failures.
fn failures(done: &Done) -> Vec<Value> {
    let lines = done.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A worker that runs in the background, its stdout and stderr in files.
struct Running {
    child: Child,
    err: PathBuf,
}

impl Running {
    fn start(qdone: &Qdone, name: &str, args: &[&str]) -> Self {
        let err = qdone.spool.beside(&format!("{name}.err"));
        let file = fs::File::create(&err).unwrap();
        let mut command = qdone.command(&[&["worker", "-v"], args].concat());
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, err }
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    fn wait_told(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.told().contains(text) {
            assert!(
                Instant::now() < end,
                "not told: {text}; told:\n{}",
                self.told()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; gives the exit code, -1 for a signal.
    fn wait(mut self) -> (i32, String) {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code().unwrap_or(-1), self.told());
            }
            assert!(
                Instant::now() < end,
                "the worker does not end; told:\n{}",
                self.told()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_those_of_qdone() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    let sqs = qdone.sqs;
    for queue in [
        "new1", "wild_a", "wild_b", "wild_c", "bad1", "bad2", "sig1", "slow1", "jfq1", "bigout",
        "ff.fifo",
    ] {
        sqs.make_pair(&format!("qdone_{queue}"), 1);
    }
    // A message that the shell refuses: a failure in the middle.
    for body in [
        "echo hello world",
        "echo hello again",
        "echo it's quiet \"é\" & <done>",
    ] {
        sqs.send("qdone_new1", body);
    }
    let drained = qdone.run(&["worker", "-v", "--drain", "-w", "1", "new1"]);
    // The words of the shell are not qdone's; ours counts lines in another way.
    let plain = |text: &str| {
        let lines = text
            .lines()
            .map(|line| match line.contains("Syntax error") {
                true => "SYNTAX",
                false => line,
            });
        mask(&lines.collect::<Vec<_>>().join("\n"))
    };
    let capture = captured("v1-worker-drain");
    assert_eq!(
        plain(&drained.stderr),
        plain(capture["stderr"].as_str().unwrap())
    );
    assert_eq!((drained.code, drained.stdout.as_str()), (0, ""));

    for (queue, body) in [
        ("wild_a", "echo a"),
        ("wild_b", "echo b"),
        ("wild_c", "echo c"),
    ] {
        sqs.send(&format!("qdone_{queue}"), body);
    }
    let wild = qdone.run(&["worker", "-v", "--drain", "-w", "1", "wild_*"]);
    assert_as_captured("v1-worker-wildcard", &wild);
    sqs.send("qdone_wild_b", "echo b2");
    let active = qdone.run(&[
        "worker",
        "-v",
        "--drain",
        "--active-only",
        "-w",
        "1",
        "wild_*",
    ]);
    assert_as_captured("v1-worker-active-only", &active);

    sqs.send("qdone_ff.fifo", "echo fifo");
    sqs.send("qdone_ff.fifo", "echo fifo2");
    let fifo = qdone.run(&["worker", "-v", "--fifo", "--drain", "-w", "1", "ff"]);
    assert_as_captured("v1-worker-fifo", &fifo);

    // A fail queue has no fail queue: a job that fails there comes again later.
    sqs.send("qdone_bad1_failed", "echo out; echo err >&2; exit 3");
    let args = [
        "worker",
        "-v",
        "--drain",
        "-w",
        "1",
        "--include-failed",
        "bad1",
        "bad1_failed",
    ];
    assert_as_captured("v1-worker-failed-queue", &qdone.run(&args));
    assert_eq!(sqs.counts("qdone_bad1_failed"), (0, 1));

    sqs.send("qdone_bad2", "echo out; echo err >&2; exit 3");
    let fails = qdone.run(&["worker", "-v", "--drain", "-w", "1", "bad2"]);
    assert_as_captured("v1-worker-fails-verbose", &fails);
}

#[test]
fn failures_are_lines_of_json() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    let sqs = qdone.sqs;
    let run = |queue: &str, body: &str, args: &[&str]| {
        sqs.make_pair(&format!("qdone_{queue}"), 1);
        let id = sqs.send(&format!("qdone_{queue}"), body);
        let done = qdone.run(&[&["worker", "-q", "--drain", "-w", "1"], args, &[queue]].concat());
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{body}");
        let mut lines = failures(&done);
        assert_eq!(lines.len(), 1, "{body}: {}", done.stdout);
        let line = lines.remove(0);
        assert_eq!(
            (&line["event"], &line["job"], &line["command"]),
            (&json!("JOB_FAILED"), &json!(id), &json!(body))
        );
        let order: Vec<String> = [
            "event",
            "timestamp",
            "job",
            "command",
            "exitCode",
            "killSignal",
            "stderr",
            "stdout",
            "errorMessage",
        ]
        .into_iter()
        .filter(|key| line.get(key).is_some())
        .map(|key| format!("\"{key}\":"))
        .collect();
        let places: Vec<usize> = order
            .iter()
            .map(|key| done.stdout.find(key).unwrap())
            .collect();
        assert!(places.is_sorted(), "{}", done.stdout);
        line
    };
    // As 2.0.35: what the job wrote, in both streams, also where it is empty.
    let line = run("f1", "echo out; echo err >&2; exit 3", &[]);
    let theirs: Value =
        serde_json::from_str(captured("v2-worker-fails-json")["stdout"].as_str().unwrap()).unwrap();
    for key in ["command", "exitCode", "stderr", "stdout", "errorMessage"] {
        assert_eq!(line[key], theirs[key], "{key}");
    }
    let line = run("f2", "echo a; echo b; exit 1", &[]);
    assert_eq!(
        (&line["stdout"], &line["stderr"], line.get("errorMessage")),
        (&json!("a\nb\n"), &json!(""), None)
    );
    // Builtins are commands like all others.
    assert_eq!(run("f3", "exit 4", &[])["exitCode"], 4);
    let line = run("f4", "kill -TERM $$", &[]);
    assert_eq!(
        (&line["killSignal"], line.get("exitCode")),
        (&json!("SIGTERM"), None)
    );
    let line = run("f5", "echo begun; sleep 30", &["-k", "1"]);
    assert_eq!(
        (&line["killSignal"], line.get("exitCode")),
        (&json!("SIGTERM"), None)
    );
    assert_eq!(line["stdout"], "begun\n");
    // The message of a failed job is on the fail queue at once, and keeps its id.
    let taken = sqs.take_all("qdone_f3_failed");
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].1, "exit 4");
    assert_eq!(sqs.counts("qdone_f3"), (0, 0));
}

#[test]
fn a_job_has_the_surroundings_of_the_worker() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    qdone.sqs.make_pair("qdone_env", 1);
    let out = qdone.spool.beside("out");
    let body = format!(
        "{{ pwd; umask; nice; echo $COLOUR; cat; head -c 2000000 /dev/zero | wc -c; }} > {}",
        out.display()
    );
    qdone.sqs.send("qdone_env", &body);
    let dir = qdone.spool.beside("dir");
    fs::create_dir(&dir).unwrap();
    let mut command = qdone.command(&["worker", "-q", "--drain", "-w", "1", "env"]);
    let done = qdone
        .spool
        .finish(command.current_dir(&dir).env("COLOUR", "green"));
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "", "")
    );
    let lines = fs::read_to_string(out).unwrap();
    let dir = dir.canonicalize().unwrap();
    assert_eq!(
        lines,
        format!("{}\n0022\n10\ngreen\n2000000\n", dir.display())
    );
}

#[test]
fn a_command_may_have_half_a_megabyte() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    qdone.sqs.make_pair("qdone_longq", 1);
    let out = qdone.spool.beside("out");
    let body = format!("echo ok > {}; : {}", out.display(), "a".repeat(500_000));
    qdone.sqs.send("qdone_longq", &body);
    let done = qdone.run(&["worker", "-q", "--drain", "-w", "1", "longq"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "", "")
    );
    assert_eq!(fs::read_to_string(out).unwrap(), "ok\n");
}

#[test]
fn nobody_has_to_read_what_it_tells() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    qdone.sqs.send("qdone_q", "exit 1");
    qdone.sqs.send("qdone_q", "true");
    for level in ["-q", "-v"] {
        let mut command = qdone.command(&["worker", level, "--drain", "-w", "1", "q"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{level}");
    }
    assert_eq!(server.bodies("qdone_q"), [""; 0]);
    assert_eq!(server.bodies("qdone_q_failed"), ["exit 1"]);
}

#[test]
fn nothing_to_listen_to() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    let quiet = qdone.run(&["worker", "-q", "--drain", "-w", "1", "nosuchqueue"]);
    assert_as_captured("v1-worker-missing-queue-drain-quiet", &quiet);
    let verbose = qdone.run(&["worker", "-v", "--drain", "-w", "1", "nosuchqueue"]);
    // JSON has another text for people than XML.
    let plain = |text: &str| text.replace(" for this wsdl version", "");
    let theirs = captured("v1-worker-missing-queue-drain")["stderr"].clone();
    assert_eq!(verbose.stderr, plain(theirs.as_str().unwrap()));
    let wait = qdone.run(&["worker", "--drain", "-w", "0", "q"]);
    assert_as_captured("v1-worker-drain-wait0", &wait);
    let waiting = Running::start(&qdone, "waiting", &["-w", "1", "nosuchqueue"]);
    waiting.wait_told("No queues to listen on!\nRetrying in 1s\n");
    waiting.signal("TERM");
    assert_eq!(waiting.wait().0, 0);
}

#[test]
fn the_first_term_runs_what_the_poll_brings() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_term1", 1);
    // In the middle of a job.
    qdone.sqs.send("qdone_term1", "sleep 1; echo finished");
    let worker = Running::start(&qdone, "job", &["-w", "5", "term1"]);
    worker.wait_told("Executing job command");
    worker.signal("TERM");
    let (code, told) = worker.wait();
    let theirs = captured("v1-worker-term-during-job")["stderr"]
        .as_str()
        .unwrap()
        .to_owned();
    let theirs = theirs.replace("sleep 3; echo finished", "sleep 1; echo finished");
    assert_eq!((code, mask(&told)), (0, mask(&theirs)));

    // In the middle of a poll, which then brings a message: it is run, and not lost to the fail queue.
    let worker = Running::start(&qdone, "poll", &["-w", "20", "term1"]);
    worker.wait_told("Looking for work on term1");
    wait_for("the poll", || server.count("ReceiveMessage") >= 2);
    worker.signal("TERM");
    worker.wait_told("Shutdown requested.");
    qdone.sqs.send("qdone_term1", "echo late");
    let (code, told) = worker.wait();
    assert_eq!(code, 0);
    assert!(
        told.contains("stdout: late") && told.ends_with("Shutting down as requested.\n"),
        "{told}"
    );
    assert_eq!(server.bodies("qdone_term1"), [""; 0]);
    assert_eq!(server.bodies("qdone_term1_failed"), [""; 0]);
}

#[test]
fn the_second_term_ends_the_job_and_the_next_worker_finishes() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    let id = qdone.sqs.send("qdone_q", "sleep 600");
    let worker = Running::start(&qdone, "first", &["-w", "1", "-k", "1000", "q"]);
    worker.wait_told("Executing job command");
    qdone.spool.wait_for("the job to run", || running(&id));
    worker.signal("TERM");
    worker.wait_told("Shutdown requested.");
    worker.signal("TERM");
    assert_eq!(worker.wait().0, 1);
    wait_for("the job to be ended", || !running(&id));
    assert_eq!(server.bodies("qdone_q"), ["sleep 600"]);
    // The next worker of these queues gives the message back, which moves it to the fail queue.
    qdone.ok(&["worker", "--drain", "-w", "1", "q"]);
    assert_eq!(server.bodies("qdone_q_failed"), ["sleep 600"]);
}

#[test]
fn a_worker_takes_up_the_lease_of_one_that_was_killed() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    let out = qdone.spool.beside("out");
    let id = qdone.sqs.send(
        "qdone_q",
        &format!("echo run >> {}; sleep 1", out.display()),
    );
    let worker = Running::start(&qdone, "first", &["-w", "1", "q"]);
    qdone
        .spool
        .wait_for("the job to run", || running(&id) && out.exists());
    worker.signal("KILL");
    assert_eq!(worker.wait().0, -1);
    qdone.ok(&["worker", "--drain", "-w", "1", "q"]);
    assert_eq!(fs::read_to_string(out).unwrap(), "run\n");
    assert_eq!(server.bodies("qdone_q"), [""; 0]);
    assert_eq!(server.bodies("qdone_q_failed"), [""; 0]);
}

/// True if a process of this job is there, in any spool.
fn running(id: &str) -> bool {
    let wanted = format!("PIRN_ID={id}");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut environs = pids.filter_map(|entry| fs::read(entry.path().join("environ")).ok());
    environs.any(|environ| {
        environ
            .split(|b| *b == 0)
            .any(|entry| entry == wanted.as_bytes())
    })
}

#[test]
fn workers_without_a_daemon_run_side_by_side() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    // Each job waits for the other.
    let (a, b) = (qdone.spool.beside("a"), qdone.spool.beside("b"));
    let meet = |own: &PathBuf, other: &PathBuf| {
        format!(
            "touch {}; until [ -e {} ]; do sleep 0.05; done",
            own.display(),
            other.display()
        )
    };
    qdone.sqs.send("qdone_q", &meet(&a, &b));
    qdone.sqs.send("qdone_q", &meet(&b, &a));
    let first = Running::start(&qdone, "first", &["--drain", "-w", "1", "q"]);
    let second = Running::start(&qdone, "second", &["--drain", "-w", "1", "q"]);
    for worker in [first, second] {
        let (code, told) = worker.wait();
        assert_eq!(code, 0);
        assert!(
            told.ends_with("Ran 1 jobs: 1 succeeded 0 failed\n"),
            "{told}"
        );
    }
}

#[test]
fn jobs_run_in_the_spool_of_a_daemon_if_there_is_one() {
    let server = FaultySqs::start();
    let mut qdone = Qdone::at(server.port);
    qdone.spool.serve(&[]);
    qdone.sqs.make_pair("qdone_q", 1);
    let good = qdone.sqs.send("qdone_q", "echo here");
    let bad = qdone.sqs.send("qdone_q", "exit 1");
    qdone.ok(&["worker", "-q", "--drain", "-w", "1", "q"]);
    let record = qdone.spool.wait_record(&format!("complete/{good}"));
    assert_eq!(
        (&record["nice"], &record["max_interruptions"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(record["x"]["lease"]["queue"], "qdone_q");
    assert!(qdone.spool.has(&format!("failed/{bad}")));
    assert!(!qdone.spool.beside("own").exists());
    // The last round has moved the message that was given back.
    assert_eq!(server.bodies("qdone_q"), [""; 0]);
    assert_eq!(server.bodies("qdone_q_failed"), ["exit 1"]);
}

#[test]
fn archived_commands_are_printed_and_not_run() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    qdone.sqs.make_pair("qdone_arch2", 1);
    qdone.sqs.send("qdone_arch2", "echo never run");
    let done = qdone.run(&["worker", "-v", "--archive", "--drain", "-w", "1", "arch2"]);
    assert_as_captured("v2-worker-archive", &done);
    assert_eq!(qdone.sqs.counts("qdone_arch2"), (0, 0));
    assert!(!qdone.spool.beside("own").exists());
}

#[test]
fn a_failed_message_goes_round_through_the_fail_queue() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    for (queue, options) in [("round", &[][..]), ("roundf", &["-f"])] {
        let full = |name: &str| match options.is_empty() {
            true => format!("qdone_{name}"),
            false => format!("qdone_{name}.fifo"),
        };
        let mark = qdone.spool.beside(&format!("{queue}-mark"));
        let body = format!("test -e {}", mark.display());
        let (_, told) = qdone.ok(&[&["enqueue", "-v"], options, &[queue, &body]].concat());
        let id = told.trim().rsplit(' ').next().unwrap().to_owned();
        let drain = |more: &[&str]| {
            qdone.run(&[&["worker", "-q", "--drain", "-w", "1"], options, more].concat())
        };
        let failed = drain(&[queue]);
        assert_eq!(failures(&failed)[0]["job"], json!(id));
        assert_eq!(qdone.sqs.counts(&full(queue)), (0, 0));
        // A fail queue is left alone unless it is asked for.
        let fail = format!("{queue}_failed");
        let both = [queue, fail.as_str()];
        assert_eq!(drain(&both).stdout, "");
        assert_eq!(qdone.sqs.counts(&full(&fail)), (1, 0));
        fs::write(&mark, "").unwrap();
        let done = drain(&[&["--include-failed"], &both[..]].concat());
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (0, "", "")
        );
        assert_eq!(qdone.sqs.counts(&full(&fail)), (0, 0));
    }
}

#[test]
fn troubles_of_the_server_are_borne() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 3);
    let out = qdone.spool.beside("out");
    let send = |n: u32| {
        qdone
            .sqs
            .send("qdone_q", &format!("echo {n} >> {}", out.display()))
    };
    let ran = || fs::read_to_string(&out).unwrap_or_default();
    let worker = Running::start(&qdone, "worker", &["-w", "1", "q"]);
    for (n, (operation, fault)) in [
        (
            "ReceiveMessage",
            Fault::Error(400, "RequestThrottled", "slow down"),
        ),
        ("ReceiveMessage", Fault::Status(500)),
        ("ReceiveMessage", Fault::Reset),
        (
            "ReceiveMessage",
            Fault::Error(403, "ExpiredToken", "expired"),
        ),
        ("DeleteMessageBatch", Fault::Status(503)),
        ("DeleteMessageBatch", Fault::Lost),
        ("DeleteMessageBatch", Fault::Cut),
        ("DeleteMessageBatch", Fault::Busy),
        ("ReceiveMessage", Fault::Doubled),
    ]
    .into_iter()
    .enumerate()
    {
        server.order(operation, fault.clone());
        send(n as u32);
        wait_for("the job and its message's end", || {
            server.is_done() && ran().lines().count() > n && server.bodies("qdone_q").is_empty()
        });
        assert_eq!(ran().lines().count(), n + 1, "{fault:?}: {}", ran());
    }
    worker.signal("TERM");
    assert_eq!(worker.wait().0, 0);
    assert_eq!(server.bodies("qdone_q_failed"), [""; 0]);
}

#[test]
fn a_refused_receipt_loses_the_lease_and_not_the_job() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    server.order(
        "DeleteMessageBatch",
        Fault::Refused("ReceiptHandleIsInvalid", "it has expired"),
    );
    qdone.sqs.send("qdone_q", "echo done");
    let (_, told) = qdone.ok(&["worker", "-v", "--drain", "-w", "1", "q"]);
    assert!(told.contains("the lease is lost"), "{told}");
    assert!(
        told.ends_with("Ran 1 jobs: 1 succeeded 0 failed\n"),
        "{told}"
    );
}

#[test]
fn without_credentials_it_exits_with_1() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    let mut command = qdone.command(&["worker", "--drain", "q"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let done = qdone.spool.finish(&mut command);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.contains("AWS_SECRET_ACCESS_KEY"),
        "{}",
        done.stderr
    );
    server.order("GetQueueUrl", Fault::ErrorXml(403, "AccessDenied"));
    let denied = qdone.run(&["worker", "--drain", "-w", "1", "q"]);
    assert_eq!(denied.code, 1);
    assert!(denied.stderr.contains("AccessDenied"), "{}", denied.stderr);
}

#[test]
fn a_link_called_qdone_is_qdone() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    let link = qdone.spool.beside("qdone");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pirn"), &link).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(&link);
        command.args(args);
        qdone.equip(&mut command);
        qdone.spool.finish(&mut command)
    };
    let version = run(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.trim()),
        (0, env!("CARGO_PKG_VERSION"))
    );
    let none = run(&[]);
    assert_eq!(none.code, 0);
    for word in [
        "enqueue",
        "enqueue-batch",
        "worker",
        "idle-queues",
        "monitor",
    ] {
        assert!(none.stdout.contains(word), "{}", none.stdout);
    }
    assert_eq!(
        run(&["--prefix", "p_", "enqueue", "-q", "a", "echo x"]).code,
        0
    );
    assert_eq!(server.bodies("p_a"), ["echo x"]);
    for wrong in [
        &["frobnicate"][..],
        &["worker", "--frob", "q"],
        &["enqueue", "-k", "3", "q", "x"],
    ] {
        let done = run(wrong);
        assert_eq!(done.code, 1);
        assert!(
            done.stdout.to_lowercase().contains("usage: ") && !done.stderr.is_empty(),
            "{wrong:?}"
        );
    }
}

#[cfg(feature = "redis")]
#[test]
fn workers_share_what_is_known_of_idle_queues() {
    use crate::redis_server::RedisServer;
    use redis::Commands;
    let Some(redis) = RedisServer::start() else {
        return;
    };
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_new1", 1);
    let args = [
        "worker",
        "-q",
        "--active-only",
        "--drain",
        "-w",
        "1",
        "--cache-uri",
        &redis.url(),
        "new*",
    ];
    let done = qdone.run(&args);
    assert_as_captured("v1-worker-active-only-cache", &done);
    // The key and the value are those of qdone.
    let mut cache = redis::Client::open(redis.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let url = qdone.sqs.url("qdone_new1").unwrap();
    let key = format!("qdone:cheap-idle-check:{url}");
    let kept: String = cache.get(&key).unwrap();
    let expected = json!({
        "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0", "queue": "new1", "idle": true
    });
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), expected);
    let left: i64 = cache.ttl(&key).unwrap();
    assert!((1..=10).contains(&left), "{left}");
    // Another worker takes the word of the first one: it asks SQS for no number.
    let before = server.count("GetQueueAttributes");
    assert_eq!(qdone.run(&args).code, 0);
    assert_eq!(server.count("GetQueueAttributes"), before);
    let wrong = qdone.run(&[
        "worker",
        "--active-only",
        "--drain",
        "--cache-uri",
        "http://h",
        "q",
    ]);
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.stderr.contains("only redis:// and redis-cluster://"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn the_first_lease_outlives_a_restart() {
    let server = FaultySqs::start();
    let qdone = Qdone::at(server.port);
    qdone.sqs.make_pair("qdone_q", 1);
    qdone.sqs.send("qdone_q", "true");
    qdone.ok(&["worker", "--drain", "-w", "1", "q"]);
    let mut calls = server.calls().into_iter();
    let receive = calls
        .find(|call| call.operation == "ReceiveMessage")
        .unwrap();
    assert_eq!(receive.body["VisibilityTimeout"], 120);
    assert_eq!(receive.body["MaxNumberOfMessages"], 1);
    let operations: Vec<String> = calls.map(|call| call.operation).collect();
    assert_eq!(operations, ["DeleteMessageBatch", "ReceiveMessage"]);
}

#[test]
fn refusals_of_aws_say_which_credentials_are_wanted() {
    let Some(moto) = Moto::start(&[("INITIAL_NO_AUTH_ACTION_COUNT", "0")]) else {
        return;
    };
    let qdone = Qdone::at(moto.port);
    let done = qdone.run(&["enqueue", "-v", "deny", "echo x"]);
    let theirs = captured("v1-unknown-key")["stderr"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    let help = done
        .stderr
        .strip_prefix(&theirs)
        .unwrap_or_else(|| panic!("{}", done.stderr));
    assert!(help.starts_with("give credentials by --profile"), "{help}");
    for text in [&done.stderr, &done.stdout] {
        assert!(!text.contains("wJalrXUtnFEMI"), "{text}");
    }
}
