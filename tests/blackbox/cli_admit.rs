//! The options of `pirn add` that decide whether a job is accepted, and what follows its end.

use crate::spool::Spool;
use crate::strace::{Stopped, has_tool};
use crate::tools::{Gate, ok};
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_command_runs_when_the_job_has_ended() {
    let spool = Spool::serving(&[]);
    let ends = spool.beside("ends");
    let tell = format!(
        "echo $PIRN_PARENT_ID $PIRN_PARENT_EXIT_CODE > {0}.new; mv {0}.new {0}",
        ends.display()
    );
    spool.add(&["--id", "build", "--on-finish", &tell, "exit 3"]);
    spool.wait_for("the command", || ends.exists());
    assert_eq!(fs::read_to_string(ends).unwrap(), "build 3\n");
    let done = spool.pirn(&["add", "--on-finish", " \n", "true"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (2, ""),
        "{}",
        done.stderr
    );
}

#[test]
fn a_job_is_refused_while_many_wait() {
    let spool = Spool::new();
    let add = |max: &str| spool.pirn(&["add", "--max", max, "-q", "mail", "true"]);
    for (max, code, stdout) in [
        ("0", 75, ""),
        ("1", 0, "1\n"),
        ("1", 75, ""),
        ("2", 0, "2\n"),
        ("18446744073709551615", 0, "3\n"),
        ("-1", 2, ""),
        ("many", 2, ""),
    ] {
        let done = add(max);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (code, stdout),
            "{max}: {}",
            done.stderr
        );
    }
    // Jobs of all queues count, held ones do not.
    assert_eq!(
        spool.pirn(&["add", "--max", "3", "true"]).stderr,
        "pirn: not accepted: 3 jobs wait, --max is 3\n"
    );
    spool.pirn(&["hold", "1"]);
    assert_eq!(spool.pirn(&["add", "--max", "3", "true"]).code, 0);
    assert_eq!(spool.pirn(&["add", "--batch", "--max", "3"]).code, 2);
}

#[test]
fn a_job_that_waits_or_runs_is_not_added_again() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    let add = |command: &str| {
        let done = spool.pirn(&["add", "--id", "backup", "--dedup", command]);
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (0, "backup\n", "")
        );
    };
    add(&format!("echo first; {}", gate.wait()));
    spool.wait_note("backup");
    add("echo second");
    assert_eq!(spool.ls("pending"), [""; 0]);
    gate.open(1);
    spool.wait_file("complete/backup");
    assert_eq!(spool.read("log/backup"), "first\n");
    // It has ended: the next one is a new run.
    add("echo third");
    spool.wait_for("the second run", || {
        spool.has("complete/backup") && spool.read("log/backup") == "third\n"
    });
    assert_eq!(spool.read("log/backup~1"), "first\n");
}

#[test]
fn a_waiting_and_a_held_job_stay_as_they_are() {
    let spool = Spool::new();
    spool.add(&["--id", "backup", "-q", "mail", "echo first"]);
    let again = [
        "add",
        "--id",
        "backup",
        "--dedup",
        "--max",
        "0",
        "echo second",
    ];
    for dir in ["pending/mail", "held"] {
        let done = spool.pirn(&again);
        assert_eq!((done.code, done.stdout.as_str()), (0, "backup\n"), "{dir}");
        assert_eq!(
            spool.record(&format!("{dir}/backup"))["command"],
            "echo first"
        );
        spool.pirn(&["hold", "backup"]);
    }
    assert_eq!(spool.ls("pending"), ["mail"]);
    for args in [
        &["add", "--dedup", "true"][..],
        &["add", "--dedup", "--id", "a", "--replace", "true"],
        &["add", "--dedup", "--id", "a/b", "true"],
        &["add", "--dedup", "--batch"],
    ] {
        assert_eq!(spool.pirn(args).code, 2, "{args:?}");
    }
}

#[test]
fn a_file_that_the_job_does_not_get_is_said() {
    let spool = Spool::new();
    let (full, empty) = (spool.beside("full"), spool.beside("empty"));
    fs::write(&full, "a\nb\n").unwrap();
    fs::write(&empty, "").unwrap();
    for (line, expected) in [
        ("\"$0\" add cat < \"$1\"", 1),
        ("\"$0\" at noon cat < \"$1\"", 1),
        ("\"$0\" add --stdin - cat < \"$1\"", 0),
        ("\"$0\" add - < \"$1\"", 0),
        (
            "while read -r x; do \"$0\" add echo \"$x\"; done < \"$1\"",
            0,
        ),
        ("cat \"$1\" | \"$0\" add cat", 0),
        ("\"$0\" add cat < \"$2\"", 0),
        ("\"$0\" add cat <&-", 0),
    ] {
        let program = spool.command([""]).get_program().to_owned();
        let mut shell = Command::new("bash");
        shell.args(["-c", line]).arg(program).args([&full, &empty]);
        let done = spool.finish(shell.env("PIRN_SPOOL", spool.path()));
        assert_eq!(done.code, 0, "{line}: {}", done.stderr);
        let said = done.stderr.matches("--stdin - gives it to the job").count();
        assert_eq!(said, expected, "{line}: {}", done.stderr);
    }
    assert_eq!(spool.record("pending/3")["stdin"], "a\nb\n");
}

#[test]
fn at_may_leave_a_job_out_too() {
    let spool = Spool::new();
    let at = |args: &[&str]| {
        let done = spool.pirn(&[&["at", "noon jan 5 2199"], args].concat());
        (done.code, done.stdout)
    };
    let backup = ["--id", "backup", "--dedup", "--max", "1"];
    for line in ["echo first", "echo second"] {
        assert_eq!(at(&[&backup[..], &[line]].concat()), (0, "backup\n".into()));
    }
    assert_eq!(spool.record("pending/backup")["command"], "echo first");
    assert_eq!(at(&["--max", "1", "true"]), (75, String::new()));
    assert_eq!(at(&["--max", "2", "true"]), (0, "1\n".to_owned()));
    assert_eq!(at(&["--dedup", "true"]), (2, String::new()));
}

#[test]
fn standard_input_above_the_largest_job_is_refused() {
    let spool = Spool::made();
    spool.config(r#"{"max_job_bytes": "4K"}"#);
    let add = ["add", "--stdin", "-", "cat"];
    let done = spool.pirn_with_input(&add, &[b'x'; 4096]);
    assert_eq!((done.code, done.stdout.as_str()), (65, ""));
    assert!(
        done.stderr.contains("max_job_bytes is 4096"),
        "{}",
        done.stderr
    );
    assert_eq!(spool.ls("pending"), [""; 0]);
    assert_eq!(spool.scratch(), [""; 0]);
    let done = spool.pirn_with_input(
        &[&add[..1], &["-e", "A=b", "--clean-env"], &add[1..]].concat(),
        &[b'x'; 3000],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(spool.ls("pending"), [done.stdout.trim()]);
}

/// The job's own command comes first, then that of its queue, then that for all; an empty one means none.
#[test]
fn the_settings_name_a_command_for_all_ends() {
    let mut spool = Spool::made();
    let ends = spool.beside("ends");
    let tell = |word: &str| format!("echo {word} $PIRN_PARENT_ID >> {}", ends.display());
    let config = json!({
        "defaults": {"on_finish": tell("all")},
        "queues": {
            "mail": {"defaults": {"on_finish": ["sh", "-c", tell("mail")]}},
            "mute": {"defaults": {"on_finish": ""}},
        },
    });
    spool.config(&config.to_string());
    // It was cancelled without a daemon.
    spool.add(&["--id", "withdrawn", "true"]);
    ok(&spool, &["cancel", "withdrawn"]);
    spool.serve(&["--slots", "1"]);
    spool.drop_file("dropped", "exit 3");
    for args in [
        &["--id", "late", "--expires", "2020-01-01", "true"][..],
        &["--id", "posted", "-q", "mail", "true"],
        &["--id", "quiet", "-q", "mute", "true"],
        &[
            "--id",
            "own",
            "-q",
            "mute",
            "--on-finish",
            &tell("own"),
            "true",
        ],
        &["--id", "none", "--on-finish", "", "true"],
    ] {
        spool.add(args);
    }
    let expected = "all dropped\nall late\nall withdrawn\nmail posted\nown own\n";
    let sorted = || {
        let text = fs::read_to_string(&ends).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().map(|line| format!("{line}\n")).collect();
        lines.sort();
        lines.concat()
    };
    spool.wait_for("all commands", || sorted() == expected);
    spool.wait_file("complete/none");
    spool.wait_file("complete/quiet");
    // A command that follows an end is followed by none: that would wait before the end can be seen.
    spool.wait_for("their ends", || {
        spool.ls("active").is_empty() && spool.ls("pending/callbacks").is_empty()
    });
    assert_eq!(sorted(), expected);
    let ended = [spool.ls("complete"), spool.ls("failed")].concat();
    let follow_ups = ended.iter().filter(|id| id.starts_with("finish-"));
    assert_eq!(follow_ups.count(), 5, "{ended:?}");
    assert_eq!(spool.ls("pending"), ["callbacks", "mail", "mute"]);
    let errors = spool.pirn(&["config", "set", "defaults.on_finish", "7"]);
    assert_ne!(errors.code, 0);
}

/// Both the command that cancels a job and the daemon accept what follows; the slower one finds that it has run.
#[test]
fn a_command_that_follows_a_cancelled_job_runs_once() {
    if !has_tool("strace", "strace") {
        return;
    }
    let mut spool = Spool::made();
    spool.make_queue("callbacks");
    let id = spool.add(&["--on-finish", "true", "sleep 600"]);
    // The command has synced the follow-up's text, and is about to rename it into its queue.
    let cancel = Stopped::after(&spool, &["cancel", &id], "fdatasync", None);
    spool.serve(&[]);
    let follow_ups = || {
        let files = ["complete", "pending/callbacks", "active"].map(|dir| spool.ls(dir));
        let names = files.concat();
        names.iter().filter(|id| id.starts_with("finish-")).count()
    };
    spool.wait_for("the command", || {
        follow_ups() == 1 && spool.ls("complete").len() == 1
    });
    spool.wait_record(&format!("failed/{id}"));
    assert!(cancel.go_on().success(), "{}", spool.daemon_log());
    spool.wait_for("nothing to wait", || {
        spool.ls("pending/callbacks").is_empty()
    });
    assert_eq!(follow_ups(), 1);
}
