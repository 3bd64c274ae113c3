//! `pirn add --batch`: one job a line, ids in order, and no accepted job is lost.

use crate::spool::{Spool, wait_for};
use crate::strace::has_tool;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

fn pending(spool: &Spool, id: &str) -> Value {
    spool.record(&format!("pending/{id}"))
}

fn ids(numbers: impl Iterator<Item = u32>) -> String {
    numbers.map(|n| format!("{n}\n")).collect()
}

#[test]
fn lines_and_records() {
    let mut spool = Spool::new();
    let input = "\u{feff}echo $((1 + 1))\n\n  \t\n{\"command\": [\"echo\", \"two words\"], \"queue\": \"mail\"}\n { echo grouped; }\n{\"script\": \"greet\"}\necho last";
    let done = spool.pirn_with_input(&["add", "--batch"], input.as_bytes());
    assert_eq!(
        (done.code, done.stdout, done.stderr),
        (0, ids(1..=5), spool.unserved())
    );
    assert_eq!(pending(&spool, "1")["command"], "echo $((1 + 1))");
    assert_eq!(
        pending(&spool, "mail/2")["command"],
        json!(["echo", "two words"])
    );
    assert_eq!(pending(&spool, "4")["script"], "greet");
    assert_eq!(pending(&spool, "5")["id"], "5");
    assert_eq!(spool.scratch(), [""; 0]);
    spool.rm("pending/4");
    spool.serve(&["--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    for (id, output) in [
        ("1", "2\n"),
        ("2", "two words\n"),
        ("3", "grouped\n"),
        ("5", "last\n"),
    ] {
        assert_eq!(spool.record(&format!("complete/{id}"))["output"], output);
    }
    // The next batch continues the numbers; empty lines are not jobs.
    let done = spool.pirn_with_input(&["add", "--batch"], b"\n\n");
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert_eq!(spool.add(&["true"]), "6");
}

#[test]
fn options_hold_for_each_line_that_does_not_say() {
    let spool = Spool::new();
    let payload = spool.beside("payload");
    fs::write(&payload, "in").unwrap();
    let payload = payload.to_str().unwrap();
    let args = [
        "add", "--batch", "-q", "mail", "-p", "7", "--tries", "4", "--tag", "t", "-e", "A=b",
        "--stdin", payload, "-t", "5s",
    ];
    let input = concat!(
        "echo text\n",
        "{\"command\": \"echo record\"}\n",
        "{\"command\": \"echo own\", \"queue\": \"web\", \"priority\": 1, \"tags\": [], \"stdin_base64\": \"AA==\", \"x\": 1}\n",
        "{\"command\": \"echo none\", \"timeout\": null, \"env\": {\"A\": \"c\"}, \"queue\": \"default\"}\n",
        "{\"id\": \"7\", \"command\": \"echo again\", \"attempt\": 3, \"exit_code\": 1, \"finished_at\": \"2026-01-01T00:00:00Z\", \"state\": \"failed\"}\n",
    );
    let done = spool.pirn_with_input(&args, input.as_bytes());
    assert_eq!((done.code, done.stdout), (0, ids(1..=5)), "{}", done.stderr);
    let here = std::env::current_dir().unwrap();
    for id in ["1", "2", "5"] {
        let record = pending(&spool, &format!("mail/{id}"));
        let got = ["priority", "tries", "tags", "stdin", "timeout", "cwd"].map(|key| &record[key]);
        let wanted = [
            json!(7),
            json!(4),
            json!(["t"]),
            json!("in"),
            json!("5s"),
            json!(here),
        ];
        assert_eq!(got, wanted.each_ref(), "{id}");
        assert_eq!(
            (&record["env"]["A"], &record["umask"]),
            (&json!("b"), &json!("022"))
        );
        assert!(record["env"]["PATH"].is_string());
    }
    let record = pending(&spool, "web/3");
    assert_eq!(
        (&record["priority"], &record["tries"], &record["x"]),
        (&json!(1), &json!(4), &json!(1))
    );
    assert_eq!(
        (record.get("tags"), record.get("stdin_base64").is_some()),
        (None, false)
    );
    assert_eq!(record["stdin"], "\0");
    let record = pending(&spool, "4");
    assert_eq!(
        (record.get("timeout"), &record["env"]),
        (None, &json!({"A": "c"}))
    );
    // The record does not keep what an earlier run added.
    let record = pending(&spool, "mail/5");
    for key in ["attempt", "exit_code", "finished_at", "state"] {
        assert_eq!(record.get(key), None, "{key}");
    }
    assert_eq!(record["id"], "5");
}

#[test]
fn a_bad_line_is_named_and_those_before_it_are_accepted() {
    for (bad, why) in [
        (&b"{\"command\": 1}"[..], "command"),
        (b"{\"command\": \"true\"", "EOF"),
        (b"{\"command\": \"a\", \"command\": \"b\"}", "twice"),
        (b"{}", "nothing to run"),
        (b"{\"command\": \"true\", \"url\": \"x\"}", "url"),
        (b"echo caf\xe9", "UTF-8"),
        (b"echo a\0b", "UTF-8"),
        (&vec![b'x'; 3000], "max_job_bytes"),
        (&vec![b'x'; 1000], "max_job_bytes"),
    ] {
        let spool = Spool::made();
        spool.config(r#"{"max_job_bytes": 1024}"#);
        let mut input = b"echo 1\n\necho 2\n".to_vec();
        input.extend(bad);
        input.extend(b"\necho 3\n");
        let args = ["add", "--batch", "--clean-env", "-q", "new"];
        let done = spool.pirn_with_input(&args, &input);
        assert_eq!(
            (done.code, done.stdout),
            (65, ids(1..=2)),
            "{why}: {}",
            done.stderr
        );
        assert!(
            done.stderr.contains("line 4: ")
                && done.stderr.contains(why)
                && done.stderr.contains("before it: 2"),
            "{why}: {}",
            done.stderr
        );
        assert_eq!(spool.ls("pending/new"), ["1", "2"], "{why}");
        assert_eq!(spool.scratch(), [""; 0], "{why}");
    }
    let spool = Spool::new();
    let done = spool.pirn_with_input(&["add", "--batch", "-q", "new"], b"{}\ntrue");
    assert_eq!((done.code, done.stdout.as_str()), (65, ""));
    assert_eq!(spool.ls("pending"), [""; 0]);
}

/// More lines than one window and one read hold.
#[test]
fn many_lines() {
    let mut spool = Spool::new();
    let line = |n: u32| format!("echo {n} {} >> out\n", "#".repeat((n as usize * 7) % 300));
    let input: String = (1..=5000).map(line).collect();
    spool.make();
    fs::write(spool.path().join("failed/2500"), "{\"command\": \"true\"}").unwrap();
    fs::write(spool.path().join("seq"), "1").unwrap();
    let args = ["add", "--batch", "--clean-env", "--no-sync"];
    let done = spool.pirn_with_input(&args, input.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let printed: Vec<u32> = done.stdout.lines().map(|id| id.parse().unwrap()).collect();
    assert_eq!(printed.len(), 5000);
    assert!(!printed.contains(&2500));
    for (n, id) in (1..).zip(&printed) {
        assert_eq!(
            pending(&spool, &id.to_string())["command"],
            line(n).trim_end()
        );
    }
    let mut unique = printed.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 5000);
    let next: u32 = spool.add(&["true"]).parse().unwrap();
    assert!(next > unique[4999]);
    // The same with syncs.
    let done = spool.pirn_with_input(
        &["add", "--batch", "--clean-env"],
        "true\n".repeat(200).as_bytes(),
    );
    assert_eq!((done.code, done.stdout.lines().count()), (0, 200));
    spool.serve(&["--only", "none", "--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.ls("bad"), [""; 0]);
}

/// The lines of a slow writer are accepted as they come.
#[test]
fn a_slow_writer_is_not_waited_for() {
    let spool = Spool::new();
    let mut child = spool
        .command(["add", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 1..=3 {
        // An unfinished line is not a job yet.
        write!(input, "true\nec").unwrap();
        assert_eq!(output.next().unwrap().unwrap(), n.to_string());
        assert!(spool.has(&format!("pending/{n}")));
        writeln!(input, "ho {n}").unwrap();
        assert_eq!(output.next().unwrap().unwrap(), (n + 1).to_string());
        fs::rename(
            spool.path().join(format!("pending/{}", n + 1)),
            spool.beside("x"),
        )
        .unwrap();
        fs::write(spool.path().join("seq"), (n + 1).to_string()).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_is_told_of() {
    let spool = Spool::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // A process that another test starts has a copy of the reader until its exec.
    wait_for("no reader to be left", || (&writer).write(b"x").is_err());
    let mut child = spool
        .command(["add", "--batch", "--no-sync"])
        .stdin(Stdio::piped())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "true").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(spool.has("pending/1"));
}

#[test]
fn limits_hold_for_each_line() {
    let spool = Spool::made();
    spool.config(r#"{"max_pending": 3}"#);
    let done = spool.pirn_with_input(&["add", "--batch"], "true\n".repeat(5).as_bytes());
    assert_eq!(
        (done.code, done.stdout),
        (75, ids(1..=3)),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("line 4: ") && done.stderr.contains("max_pending"),
        "{}",
        done.stderr
    );
    spool.config(r#"{"min_free": "99%"}"#);
    let done = spool.pirn_with_input(&["add", "--batch"], b"true");
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (75, ""),
        "{}",
        done.stderr
    );
    for args in [
        &["add", "--batch", "true"][..],
        &["add", "--batch", "--id", "x"],
        &["add", "--batch", "--script", "x"],
        &["add", "--batch", "--stdin", "-"],
        &["add"],
    ] {
        let done = spool.pirn_with_input(args, b"true");
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (2, ""),
            "{args:?}: {}",
            done.stderr
        );
    }
}

/// An id is printed only once its job is on the disk.
#[test]
fn a_disk_that_does_not_sync() {
    if !has_tool("strace", "strace") {
        return;
    }
    for (what, at, code) in [
        ("fsync:error=EIO", "pending", 74),
        ("fsync:error=EIO", "pending/new", 74),
        ("fdatasync:error=EIO", "seq", 74),
        ("fdatasync:error=ENOSPC", "", 75),
        ("renameat2:error=ENOSPC", "", 75),
        ("fdatasync:error=ENOSPC:when=3+", "", 75),
    ] {
        for faults in ["", "no-pending-sync"] {
            let spool = Spool::new();
            spool.add(&["true"]);
            spool.pirn(&["rm", "1"]);
            fs::write(spool.path().join("seq"), "5").unwrap();
            fs::write(spool.beside("lines"), "true\n".repeat(60)).unwrap();
            let mut command = std::process::Command::new("strace");
            let calls = what.split(':').next().unwrap();
            command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            command.args(["-e", &format!("inject={what}")]);
            if !at.is_empty() {
                fs::create_dir_all(spool.path().join("pending/new")).unwrap();
                command.arg("-P").arg(spool.path().join(at));
            }
            command.arg(env!("CARGO_BIN_EXE_pirn"));
            command.args(["add", "--batch", "--clean-env", "-q", "new"]);
            command
                .env("PIRN_SPOOL", spool.path())
                .env("PIRN_FAULTS", faults);
            command.stdin(fs::File::open(spool.beside("lines")).unwrap());
            let done = spool.finish(&mut command);
            if faults == "no-pending-sync" && at.starts_with("pending") {
                // Without the sync, the command cannot fail: this shows that the test depends on it.
                assert_eq!(done.code, 0, "{what} {at}: {}", done.stderr);
                continue;
            }
            assert_eq!(done.code, code, "{what} {at}: {}", done.stderr);
            assert!(done.stderr.contains("line "), "{}", done.stderr);
            let there = match spool.has("pending/new") {
                true => spool.ls("pending/new").len(),
                false => 0,
            };
            assert_eq!(done.stdout.lines().count(), there, "{what} {at}");
            assert_eq!(spool.scratch(), [""; 0], "{what} {at}");
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_input() {
    let spool = Spool::new();
    let mut child = spool
        .command(["add", "--batch", "--no-sync"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        line.map_or(0, |line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
    };
    let blank = " ".repeat(1000) + "\n";
    for _ in 0..50_000 {
        input.write_all(blank.as_bytes()).unwrap();
    }
    writeln!(input, "true").unwrap();
    wait_for("the job", || spool.has("pending/1"));
    let peak = peak();
    assert!((1..32 << 10).contains(&peak), "{peak} KiB");
    drop(input);
    assert!(child.wait().unwrap().success());
}

const LINES: u32 = 2000;

const ONE_SLOT: &[&str] = &["--slots", "1", "--no-sync"];

/// Starts `add --batch`. Each line of its input appends the line's number to a file.
fn start_batch(spool: &Spool, args: &[&str]) -> Child {
    let out = spool.beside("out");
    let input: String = (1..=LINES)
        .map(|n| format!("echo {n} >> {}\n", out.display()))
        .collect();
    fs::write(spool.beside("lines"), input).unwrap();
    fs::write(out, "").unwrap();
    spool
        .command([&["add", "--batch", "--clean-env"], args].concat())
        .stdin(fs::File::open(spool.beside("lines")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn lines_run(spool: &Spool) -> usize {
    let text = fs::read_to_string(spool.beside("out")).unwrap();
    text.lines().count()
}

fn assert_all_ran_in_order(spool: &Spool) {
    // This test is about the order, not about the speed.
    spool.wait_progress("all lines to run", || {
        let lines = lines_run(spool);
        (lines, lines >= LINES as usize)
    });
    let text = fs::read_to_string(spool.beside("out")).unwrap();
    let ran = text.lines().map(|line| line.parse::<u32>().unwrap());
    let strays: Vec<_> = (1..).zip(ran).filter(|(n, ran)| n != ran).collect();
    assert!(
        strays.is_empty(),
        "{} out of order, such as {:?}",
        strays.len(),
        strays[0]
    );
}

#[test]
fn one_slot_runs_lines_in_order_across_a_restart() {
    let mut spool = Spool::serving(ONE_SLOT);
    let mut batch = start_batch(&spool, &[]);
    spool.wait_progress("some lines to run", || {
        (lines_run(&spool), lines_run(&spool) >= 300)
    });
    spool.stop();
    assert!(batch.wait().unwrap().success());
    assert!(lines_run(&spool) < LINES as usize);
    spool.serve(ONE_SLOT);
    assert_all_ran_in_order(&spool);
}

/// Numbers that files already have are skipped, and the jobs still run in the order of their lines.
#[test]
fn one_slot_runs_lines_in_order_that_waited_before_the_daemon_came() {
    let mut spool = Spool::new();
    fs::create_dir_all(spool.path().join("failed")).unwrap();
    for n in [1, 700, 1500] {
        fs::write(
            spool.path().join(format!("failed/{n}")),
            "{\"command\": \"true\"}",
        )
        .unwrap();
    }
    fs::write(spool.path().join("seq"), "1").unwrap();
    assert!(
        start_batch(&spool, &["-q", "mail"])
            .wait()
            .unwrap()
            .success()
    );
    assert_eq!(spool.ls("pending/mail").len(), LINES as usize);
    spool.serve(ONE_SLOT);
    assert_all_ran_in_order(&spool);
}

#[test]
fn one_slot_runs_lines_in_order_while_they_come() {
    let mut spool = Spool::new();
    let mut batch = start_batch(&spool, &["-q", "mail"]);
    spool.serve(ONE_SLOT);
    assert!(batch.wait().unwrap().success());
    assert_all_ran_in_order(&spool);
}
