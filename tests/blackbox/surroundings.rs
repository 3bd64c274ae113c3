//! The surroundings of a job's process: environment, descriptors, signals, session. It inherits nothing of the
//! daemon's.

use crate::spool::Spool;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variables that pirn-spool(5) documents; those of the locale and time zone (LANG, LC_*, TZ) only if the daemon
/// has them.
const ALWAYS: [&str; 14] = [
    "HOME",
    "LOGNAME",
    "PATH",
    "PIRN_ATTEMPT",
    "PIRN_ID",
    "PIRN_PID",
    "PIRN_PROGRESS",
    "PIRN_QUEUE",
    "PIRN_QUEUE_SLOT",
    "PIRN_SLOT",
    "PIRN_SPOOL",
    "PIRN_STORE",
    "SHELL",
    "USER",
];

fn names(environ: &str) -> BTreeSet<String> {
    let name = |entry: &str| entry.split_once('=').map(|(name, _)| name.to_owned());
    let is_local = |name: &String| name == "LANG" || name == "TZ" || name.starts_with("LC_");
    environ
        .split('\0')
        .filter_map(name)
        .filter(|name| !is_local(name))
        .collect()
}

fn value<'e>(environ: &'e str, name: &str) -> &'e str {
    environ
        .split('\0')
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("{name} is not in {environ:?}"))
}

#[test]
fn the_environment_is_made_from_nothing() {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "--slots", "3"]);
    command
        .env("SECRET_OF_THE_DAEMON", "x")
        .env("LD_FOO", "y")
        .env("TZ", "UTC");
    spool.serve_with(command);
    for (id, job) in [
        ("argv", json!({"command": ["cat", "/proc/self/environ"]})),
        (
            "limited",
            json!({"command": ["cat", "/proc/self/environ"], "nice": 5, "umask": "077", "limits": {"core": 0}}),
        ),
    ] {
        let (_, record) = spool.run_json(id, &job);
        let environ = record["output"].as_str().unwrap().to_owned();
        assert_eq!(names(&environ), ALWAYS.map(str::to_owned).into(), "{id}");
        let path = spool.path().display().to_string();
        assert_eq!(value(&environ, "PIRN_ID"), id);
        assert_eq!(value(&environ, "PIRN_QUEUE"), "default");
        assert_eq!(value(&environ, "PIRN_ATTEMPT"), "1");
        assert_eq!(value(&environ, "PIRN_SPOOL"), path);
        assert_eq!(value(&environ, "PIRN_STORE"), format!("{path}/store"));
        assert!((0..=3).contains(&value(&environ, "PIRN_SLOT").parse::<i32>().unwrap()));
        assert_eq!(value(&environ, "TZ"), "UTC");
        // No name appears twice.
        assert_eq!(
            environ
                .split('\0')
                .filter(|e| e.starts_with("PIRN_ID="))
                .count(),
            1
        );
    }
    let (_, record) = spool.run_json(
        "scratch",
        &json!({"command": ["cat", "/proc/self/environ"], "tmp": true}),
    );
    let environ = record["output"].as_str().unwrap();
    let mut expected: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    expected.extend(["PIRN_TMP".to_owned(), "PIRN_OUT".to_owned()]);
    assert_eq!(names(environ), expected);
}

#[test]
fn the_spool_is_named_by_its_full_path() {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "spool"]);
    command
        .env_remove("PIRN_SPOOL")
        .current_dir(spool.beside(""));
    spool.serve_with(command);
    spool.drop_file("1", "echo $PIRN_SPOOL; cd $PIRN_STORE && pwd");
    let path = spool.path().display().to_string();
    assert_eq!(
        spool.wait_record("complete/1")["output"],
        format!("{path}\n{path}/store\n")
    );
}

#[test]
fn slots_have_numbers_of_their_own() {
    let spool = Spool::serving(&["--slots", "3"]);
    let mut gate = crate::tools::Gate::new(&spool, "gate");
    for id in ["a", "b", "c"] {
        spool.drop_file(id, format!("echo slot $PIRN_SLOT; {}", gate.wait()));
        spool.wait_log(id, "slot");
    }
    let slots: BTreeSet<String> = ["a", "b", "c"]
        .iter()
        .map(|id| spool.read(&format!("log/{id}")))
        .collect();
    assert_eq!(slots.len(), 3, "{slots:?}");
    gate.open(3);
    spool.wait_record("complete/a");
    // A free slot number is given again: the numbers do not grow.
    for id in ["b", "c"] {
        spool.wait_record(&format!("complete/{id}"));
    }
    spool.drop_file("d", "echo slot $PIRN_SLOT");
    let again = spool.wait_record("complete/d")["output"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(slots.contains(&again), "{again} is not of {slots:?}");
}

/// Jobs that run `show`: directly, with limits, and as a script.
fn looks(show: &str) -> [(&'static str, serde_json::Value); 4] {
    [
        ("text", json!({"command": show})),
        (
            "limited",
            json!({"command": show, "umask": "077", "nice": 1, "limits": {"core": 0}}),
        ),
        (
            "stdin",
            json!({"command": show, "stdin": "input", "split": true}),
        ),
        ("script", json!({"command": format!("#!/bin/sh\n{show}\n")})),
    ]
}

#[test]
fn three_descriptors_and_no_more() {
    let mut spool = Spool::new();
    // The daemon inherits one more descriptor, as from a careless parent.
    let daemon = spool.command(["serve"]);
    let line = format!(
        "exec 9</dev/null; exec '{}' serve",
        daemon.get_program().display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]).env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    for (id, job) in looks("find /proc/$$/fd -mindepth 1 -printf '%f %l\\n'; exit 0") {
        let (state, record) = spool.run_json(id, &job);
        let output = record["output"].as_str().unwrap_or_default().to_owned();
        assert_eq!(state, "complete", "{id}: {output}");
        let log = spool.path().join("log").join(id);
        let mut open: Vec<(&str, &str)> = output
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        // A script has its own file open.
        open.retain(|(number, target)| {
            !(number.parse::<i32>().unwrap() >= 10 && target.contains("/tmp/"))
        });
        let numbers: Vec<_> = open.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{id}: {output}");
        assert_eq!(open[1].1, log.display().to_string(), "{id}");
        assert!(open[2].1.starts_with(&log.display().to_string()), "{id}");
        if id == "stdin" {
            assert_ne!(open[2].1, open[1].1);
        } else {
            assert_eq!((open[0].1, open[2].1), ("/dev/null", open[1].1), "{id}");
        }
    }
}

#[test]
fn signals_are_as_a_login_has_them() {
    let mut spool = Spool::new();
    let daemon = spool.command(["serve"]);
    // The daemon is started under nohup, with signals ignored and others blocked.
    let python = format!(
        "import os, signal\n\
         for s in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGQUIT): signal.signal(s, signal.SIG_IGN)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGRTMIN])\n\
         os.execv('{0}', ['{0}', 'serve'])",
        daemon.get_program().display()
    );
    let mut command = Command::new("python3");
    command
        .args(["-c", &python])
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    for (id, job) in [
        ("argv", json!({"command": ["cat", "/proc/self/status"]})),
        (
            "limited",
            json!({"command": ["cat", "/proc/self/status"], "nice": 1}),
        ),
    ] {
        let (_, record) = spool.run_json(id, &job);
        let output = record["output"].as_str().unwrap().to_owned();
        for line in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
            let mask = output
                .lines()
                .find_map(|l| l.strip_prefix(line)?.strip_prefix(":"))
                .unwrap()
                .trim();
            assert_eq!(
                u64::from_str_radix(mask, 16).unwrap(),
                0,
                "{id} {line} {mask}"
            );
        }
    }
    // A daemon that was started with TERM blocked still obeys it.
    spool.stop();
}

#[test]
fn a_job_leads_its_own_session_without_a_terminal() {
    let spool = Spool::serving(&[]);
    for (id, job) in looks(
        "read -r pid comm state ppid pgrp session tty rest < /proc/$$/stat; echo $(($pid == $pgrp)) $(($pid == $session)) $tty",
    ) {
        let (_, record) = spool.run_json(id, &job);
        assert_eq!(record["output"], "1 1 0\n", "{id}");
    }
}

#[test]
fn a_job_runs_in_the_home_directory_unless_told() {
    let spool = Spool::serving(&[]);
    spool.drop_file(
        "1",
        "[ \"$(pwd -P)\" = \"$(cd \"$HOME\" && pwd -P)\" ]; echo $?",
    );
    assert_eq!(spool.wait_record("complete/1")["output"], "0\n");
}

#[test]
fn the_log_is_absent_when_nothing_was_written() {
    let spool = Spool::serving(&[]);
    let (_, record) = spool.run_json("quiet", &json!({"command": "true"}));
    assert_eq!(
        (&record["log_bytes"], record.get("output")),
        (&json!(0), None)
    );
    spool.run_json(
        "quiet-split",
        &json!({"command": "false", "split": true, "tries": 2, "backoff": {"first": "5ms"}}),
    );
    spool.run_json(
        "quiet-tries",
        &json!({"command": "false", "tries": 2, "backoff": {"first": "5ms"}}),
    );
    spool.run_json("loud", &json!({"command": "echo x"}));
    assert_eq!(spool.ls("log"), ["loud"]);
}

#[test]
fn a_job_may_use_the_spool_itself() {
    let spool = Spool::serving(&["--slots", "1"]);
    let pirn = spool.command([""]).get_program().display().to_string();
    // A job that adds one job by hand and one with the command, and keeps a file in the store.
    let line = format!(
        "echo 'echo by hand; cat $PIRN_STORE/note' > $PIRN_SPOOL/pending/child; echo kept > $PIRN_STORE/note; {pirn} add 'echo $PIRN_ID of $PIRN_QUEUE'"
    );
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("mail/parent", line);
    assert_eq!(
        spool.wait_record("complete/child")["output"],
        "by hand\nkept\n"
    );
    assert_eq!(spool.wait_record("complete/1")["output"], "1 of default\n");
    assert_eq!(spool.wait_record("complete/parent")["output"], "1\n");
}

#[test]
fn a_daemon_in_a_session_that_ends_keeps_its_jobs() {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve"]);
    command.process_group(0);
    spool.serve_with(command);
    let mut gate = crate::tools::Gate::new(&spool, "gate");
    spool.drop_file("1", gate.wait());
    let note = spool.wait_note("1");
    let daemon = spool.daemon_pid().unwrap();
    // A signal to the daemon's whole group, as a terminal sends it, does not reach the job.
    let killed = Command::new("kill")
        .args(["-TERM", "--", &format!("-{daemon}")])
        .status()
        .unwrap();
    assert!(killed.success());
    spool.wait_daemon_log("stopping");
    assert!(crate::spool::is_alive(note["pid"].as_i64().unwrap()));
    gate.open(1);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.record("complete/1")["exit_code"], 0);
}
