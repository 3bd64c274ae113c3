//! `pirn show`: a job in words.

use crate::pty::Terminal;
use crate::spool::Spool;
use crate::tools::{Gate, without_years};
use serde_json::json;
use std::fs;

/// The text for a job.
fn shown(spool: &Spool, id: &str) -> String {
    let done = spool.finish(spool.command(["show", id]).env("TZ", "UTC"));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{id}");
    without_years(&done.stdout)
}

#[test]
fn a_job_that_failed() {
    let spool = Spool::made();
    let attempt = |n: u32, second: u32, end: serde_json::Value| {
        let mut one = json!({
            "attempt": n, "log_offset": 0, "duration": 1.25,
            "started_at": format!("2020-01-04T00:00:{second:02}Z"),
            "finished_at": format!("2020-01-04T00:00:{:02}Z", second + 1),
        });
        let fields = end.as_object().unwrap().clone();
        one.as_object_mut().unwrap().extend(fields);
        one
    };
    let record = json!({
        "id": "7", "name": "nightly", "command": "seq 12\nexit 2", "queue": "mail",
        "cwd": "/src", "umask": "022", "env": {"SECRET": "hidden"}, "tries": 2, "timeout": "10m",
        "tags": ["a", "b"], "after": ["6"], "limits": {"nofile": 100}, "use": {"gpu": 1},
        "created_at": "2020-01-03T23:59:00Z", "started_at": "2020-01-04T00:00:10Z",
        "finished_at": "2020-01-04T00:00:11Z", "attempt": 2, "exit_code": 2, "reason": "exited",
        "duration": 65.5, "cpu": 1.2, "max_rss": 34 << 20,
        "attempts": [
            attempt(1, 1, json!({"reason": "signaled", "signal": 9})),
            attempt(2, 10, json!({"reason": "exited", "exit_code": 2})),
        ],
        "own": {"key": [1]},
    });
    fs::write(spool.path().join("failed/7"), record.to_string()).unwrap();
    let log: String = (1..=12).map(|n| format!("line {n}\n")).collect();
    fs::write(
        spool.path().join("log/7"),
        format!("{log}10%\r20%\r\n\x1b[31mred\x1b[0m\tx\n"),
    )
    .unwrap();
    let text = "\
× 7 [nightly] failed Ny ago: exit 2
  command  seq 12
           exit 2
  ended    it exited with code 2 after 1m 5s, in try 2 of 2
  queue    mail
  after    6 (gone)
  tags     a, b
  cwd      /src
  limits   nofile=100
  use      gpu=1
  timeout  10m
  own      key=[1]
  added    2020-01-03 23:59, Ny ago
  used     cpu 1.2s, max rss 34 MiB, log 111 B

  try  started           ran   end
  1    2020-01-04 00:00  1.2s  signal 9
  2    2020-01-04 00:00  1.2s  exit 2

  log: the end of it, pirn log 7 shows all
  line 5
  line 6
  line 7
  line 8
  line 9
  line 10
  line 11
  line 12
  20%
  red     x
";
    assert_eq!(shown(&spool, "7"), text);
}

#[test]
fn a_job_that_waits_runs_and_has_ended_well() {
    let mut spool = Spool::made();
    spool.drop_json(
        "1",
        &json!({"command": ["echo", "a b"], "created_at": "2020-01-04T00:00:00Z", "not_before": "2199-01-01T00:00:00Z"}),
    );
    let waits = "waits       not_before: it is not to start before 2199-01-01 00:00, in Ny";
    let text = format!(
        "○ 1 pending, added Ny ago\n  command     echo 'a b'\n  {waits}\n  not_before  2199-01-01 00:00\n  \
         added       2020-01-04 00:00, Ny ago\n"
    );
    assert_eq!(shown(&spool, "1"), text);
    spool.serve(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "2",
        &json!({"command": format!("echo begun; {}", gate.wait())}),
    );
    spool.wait_note("2");
    spool.wait_log("2", "begun");
    let text = shown(&spool, "2");
    assert!(text.starts_with("● 2 active for "), "{text}");
    assert!(text.contains("\n  runs     process "), "{text}");
    assert!(text.ends_with("  runs\n\n  log\n  begun\n"), "{text}");
    gate.open(1);
    spool.wait_record("complete/2");
    let text = shown(&spool, "2");
    assert!(text.starts_with("✓ 2 complete "), "{text}");
    assert!(
        text.contains("\n  ended    it exited with code 0 after "),
        "{text}"
    );
    assert!(text.ends_with("  exit 0\n\n  log\n  begun\n"), "{text}");
}

#[test]
fn long_texts_are_cut() {
    let spool = Spool::made();
    let script: String = (0..100).map(|n| format!("echo {n}\n")).collect();
    spool.drop_file("7", format!("echo {}\n{script}", "x".repeat(9000)));
    let text = shown(&spool, "7");
    assert!(
        text.contains("  echo 8\n           … 91 more lines: --json shows them\n"),
        "{text}"
    );
    assert!(text.len() < 4000, "{text}");
}

#[test]
fn a_terminal_breaks_sentences_between_words_and_leaves_commands_alone() {
    let spool = Spool::made();
    let error = "the disk has no room for the record of the try";
    let record = json!({
        "command": format!("echo {}", "word ".repeat(15)), "created_at": "2020-01-04T00:00:00Z",
        "finished_at": "2020-01-04T00:00:11Z", "attempt": 1, "reason": "not_started", "error": error,
    });
    fs::write(spool.path().join("failed/7"), record.to_string()).unwrap();
    let mut command = spool.command(["show", "7"]);
    command.env("NO_COLOR", "1");
    let shown = Terminal::start_command(command, 24, 60).end().1;
    let ended = "\
  ended    it could not be started: the disk has no room for
           the record of the try
";
    assert!(shown.contains(ended), "{shown}");
    assert!(shown.contains("word ".repeat(15).trim_end()), "{shown}");
    assert!(spool.pirn(&["show", "7"]).stdout.contains(error));
}

#[test]
fn on_a_terminal_it_is_the_same_in_colours() {
    let spool = Spool::made();
    let record = json!({"command": "true", "created_at": "2020-01-04T00:00:00Z"});
    fs::write(spool.path().join("held/7"), record.to_string()).unwrap();
    let (code, text) = Terminal::start(&spool, &["show", "7"], 24, 80).end();
    assert!(
        code == 0
            && text.starts_with("\x1b[33m○\x1b[0m \x1b[1m7\x1b[0m \x1b[33mheld\x1b[0m, added "),
        "{text}"
    );
    let mut plain = text;
    for code in ["1", "2", "33", "0"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, spool.pirn(&["show", "7"]).stdout);
}
