//! `pirn ls`: the table, on a terminal and in a pipe, and JSON lines.

use crate::pty::Terminal;
use crate::spool::Spool;
use crate::strace::has_tool;
use crate::tools::{listed, without_years};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::process::Command;

/// Writes a record of January 2020.
fn put(spool: &Spool, place: &str, fields: &Value) {
    let mut record = json!({"created_at": "2020-01-04T00:00:00Z"});
    let fields = fields.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(fields);
    fs::write(spool.path().join(place), record.to_string()).unwrap();
}

/// Jobs in all states but `active`.
fn old_jobs() -> Spool {
    let spool = Spool::made();
    put(
        &spool,
        "pending/10",
        &json!({"command": "true", "name": "label"}),
    );
    put(
        &spool,
        "pending/11",
        &json!({"command": "echo 日本", "after": ["10"]}),
    );
    put(&spool, "held/12", &json!({"command": "true"}));
    for (place, code) in [("failed/8", 3), ("complete/9", 0)] {
        put(
            &spool,
            place,
            &json!({
                "command": format!("exit {code}"), "started_at": "2020-01-04T00:02:00Z", "attempt": 1,
                "finished_at": "2020-01-04T00:03:05Z", "duration": 65, "reason": "exited", "exit_code": code,
            }),
        );
    }
    spool
}

#[test]
fn a_job_that_has_not_run_has_the_time_that_it_has_waited() {
    let spool = old_jobs();
    let shown = on_terminal(&spool, &["ls", "held", "failed"], 56);
    let text = "\
ID  STATE   TIME   ENDED   RESULT  COMMAND
12  held    Ny     -       -       true
8   failed  1m 5s  Ny ago  exit 3  exit 3
";
    assert_eq!(on_terminal(&spool, &["ls", "held", "failed"], 48), text);
    assert!(shown.contains("WAITED  RAN"), "{shown}");
}

/// The output on a terminal, without colours.
fn on_terminal(spool: &Spool, args: &[&str], columns: u16) -> String {
    let mut command = spool.command(args);
    command.env("NO_COLOR", "1");
    let (code, shown) = Terminal::start_command(command, 24, columns).end();
    assert_eq!(code, 0, "{shown}");
    without_years(&shown)
}

#[test]
fn a_pipe_gets_all_columns() {
    let spool = old_jobs();
    let text = "\
ID  STATE     QUEUE    WAITED  RAN    ENDED   RESULT     COMMAND
10  pending   default  Ny      -      -       no_daemon  [label] true
11  pending   default  Ny      -      -       after 10   echo 日本
12  held      default  Ny      -      -       -          true
8   failed    default  2m      1m 5s  Ny ago  exit 3     exit 3
9   complete  default  2m      1m 5s  Ny ago  -          exit 0
";
    assert_eq!(without_years(&spool.pirn(&["ls"]).stdout), text);
    // Also those that say nothing.
    let text = "\
ID  STATE  QUEUE    WAITED  RAN  ENDED  RESULT  COMMAND
12  held   default  Ny      -    -      -       true
";
    assert_eq!(without_years(&spool.pirn(&["ls", "held"]).stdout), text);
}

#[test]
fn a_terminal_gets_the_columns_that_say_something() {
    let spool = old_jobs();
    let text = "\
ID  STATE  WAITED  COMMAND
12  held   Ny      true
";
    assert_eq!(on_terminal(&spool, &["ls", "held"], 80), text);
    let queue = |name: &str| {
        spool.make_queue(name);
        put(
            &spool,
            &format!("pending/{name}/13"),
            &json!({"command": "true"}),
        );
    };
    queue("mail");
    let text = "\
ID  STATE    QUEUE    WAITED  RESULT     COMMAND
10  pending  default  Ny      no_daemon  [label] true
11  pending  default  Ny      after 10   echo 日本
13  pending  mail     Ny      no_daemon  true
";
    assert_eq!(on_terminal(&spool, &["ls", "pending"], 80), text);
}

#[test]
fn a_narrow_terminal_cuts_commands_and_then_spares_columns() {
    let spool = Spool::made();
    let id = "a-long-id-that-is-never-cut-0123456789";
    put(
        &spool,
        &format!("failed/{id}"),
        &json!({
            "command": "echo 1234567890123456789012345678901234567890", "started_at": "2020-01-04T00:02:00Z",
            "finished_at": "2020-01-04T00:03:05Z", "duration": 65, "reason": "timeout", "attempt": 1, "queue": "mail",
        }),
    );
    let shown = |columns| {
        let shown = on_terminal(&spool, &["ls"], columns);
        let lines: Vec<_> = shown
            .lines()
            .map(|line| line[id.len()..].to_owned())
            .collect();
        [lines[0].clone(), lines[1].clone()]
    };
    assert_eq!(
        shown(200),
        [
            "  STATE   QUEUE  WAITED  RAN    ENDED   RESULT   COMMAND",
            "  failed  mail   2m      1m 5s  Ny ago  timeout  echo 1234567890123456789012345678901234567890",
        ]
    );
    assert_eq!(
        shown(115),
        [
            "  STATE   QUEUE  WAITED  RAN    ENDED   RESULT   COMMAND",
            "  failed  mail   2m      1m 5s  Ny ago  timeout  echo 1234567890123456789012…",
        ]
    );
    assert_eq!(
        shown(110),
        [
            "  STATE   QUEUE  TIME   ENDED   RESULT   COMMAND",
            "  failed  mail   1m 5s  Ny ago  timeout  echo 1234567890123456789012345…",
        ]
    );
    assert_eq!(
        shown(97),
        [
            "  STATE   QUEUE  TIME   RESULT   COMMAND",
            "  failed  mail   1m 5s  timeout  echo 12345678901234567890…",
        ]
    );
    assert_eq!(
        shown(80),
        [
            "  STATE   RESULT   COMMAND",
            "  failed  timeout  echo 12345678901234567…",
        ]
    );
    assert_eq!(
        shown(60),
        ["  STATE   RESULT   CO…", "  failed  timeout  ec…"]
    );
}

#[test]
fn an_id_that_is_too_long_has_a_line_of_its_own() {
    let spool = Spool::made();
    let long = "a-long-id-that-is-never-cut-01234567890";
    put(&spool, "held/12", &json!({"command": "true"}));
    put(&spool, &format!("held/{long}"), &json!({"command": "true"}));
    put(
        &spool,
        "pending/13",
        &json!({"command": "true", "after": [long]}),
    );
    let text = format!(
        "\
ID  STATE    WAITED  RESULT                COMMAND
13  pending  Ny      after a-long-id-tha…  true
12  held     Ny      -                     true
{long}
    held     Ny      -                     true
"
    );
    assert_eq!(on_terminal(&spool, &["ls"], 80), text);
    let piped = spool.pirn(&["ls"]).stdout;
    assert!(piped.contains(&format!("\n{long}  held ")), "{piped}");
    assert!(piped.contains(&format!("  after {long}  ")), "{piped}");
}

#[test]
fn no_text_of_a_job_turns_the_direction_of_a_line() {
    let spool = Spool::made();
    let odd = "\u{202e}cba\u{202c}\u{2066}\u{2069}\u{200f}\u{61c}";
    spool.make_queue(odd);
    put(
        &spool,
        &format!("pending/{odd}/x{odd}"),
        &json!({"command": format!("echo {odd}"), "name": odd, "group": odd, "comment": odd}),
    );
    let id = format!("x{odd}");
    for args in [&["ls"][..], &["show", &id], &["status"], &["log", &id]] {
        let done = spool.finish(&mut spool.command(args));
        let text = done.stdout + &done.stderr;
        let is_odd = |c: char| odd.contains(c) && !c.is_ascii();
        assert!(!text.contains(is_odd), "{args:?}: {text:?}");
        assert!(text.contains("?cba?????"), "{args:?}: {text}");
    }
}

#[test]
fn each_waiting_file_is_opened_once() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::made();
    put(&spool, "pending/job12", &json!({"command": "true"}));
    let trace = spool.beside("opened");
    let done = Command::new("strace")
        .args(["-f", "-e", "trace=openat", "-o"])
        .arg(&trace)
        .arg(spool.command(["ls"]).get_program())
        .arg("-S")
        .args([spool.path().as_os_str(), OsStr::new("ls")])
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("no_daemon"), "{text}");
    let trace = fs::read_to_string(trace).unwrap();
    let opened = trace.lines().filter(|line| {
        let is_job = line.contains("\"job12\"");
        is_job && !line.contains("ENOENT")
    });
    assert_eq!(opened.count(), 1, "{trace}");
}

#[test]
fn a_terminal_without_jobs_gets_a_line() {
    let spool = Spool::made();
    let path = spool.path().display().to_string();
    for (args, such) in [
        (&["ls"][..], ""),
        (&["ls", "held"], " such"),
        (&["ls", "--tag", "x"], " such"),
    ] {
        let line = format!("pirn: there is no{such} job in {path}\n");
        assert_eq!(on_terminal(&spool, args, 80), line);
        let done = spool.pirn(args);
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (0, "", "")
        );
    }
    for form in ["--ids", "--jsonl"] {
        assert_eq!(on_terminal(&spool, &["ls", form], 80), "");
    }
}

#[test]
fn failures_are_red_and_old_ends_dim() {
    let spool = old_jobs();
    let (_, shown) = Terminal::start(&spool, &["ls", "failed", "complete"], 24, 80).end();
    let line = |id: &str| {
        shown
            .lines()
            .find(|line| line.contains(id))
            .unwrap()
            .to_owned()
    };
    assert!(line("exit 3").contains("\x1b[31mfailed\x1b[0m"), "{shown}");
    assert!(line("exit 3").contains("\x1b[31mexit 3\x1b[0m"), "{shown}");
    assert!(
        line("exit 0").contains("\x1b[32mcomplete\x1b[0m"),
        "{shown}"
    );
    assert!(line("exit 0").contains("\x1b[2mexit 0\x1b[0m"), "{shown}");
}

#[test]
fn json_lines_are_the_records_of_the_list() {
    let spool = old_jobs();
    put(
        &spool,
        "held/13",
        &json!({"command": "a\n  b", "own": {"key": ["\n  x"]}}),
    );
    let list = spool.pirn(&["ls", "--json"]).stdout;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let lines = spool.pirn(&["ls", "--jsonl"]).stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines, list);
    assert_eq!(spool.pirn(&["ls", "--json", "--jsonl"]).code, 2);
}

#[test]
fn a_parent_is_named_while_it_has_not_ended() {
    let spool = Spool::new();
    spool.add(&["--id", "a", "true"]);
    spool.add(&["--id", "b", "--after", "a", "true"]);
    spool.add(&["--id", "c", "--after", "a,b", "true"]);
    let result = |id: &str| {
        let table = spool.pirn(&["ls"]).stdout;
        let row = table.lines().find(|line| line.starts_with(id)).unwrap();
        let mut cells = row
            .rsplit("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        cells.nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (result("b"), result("c")),
        ("after a".to_owned(), "after".to_owned())
    );
    spool.mv("pending/a", "complete/a");
    assert_eq!(
        (result("b"), result("c")),
        ("no_daemon".to_owned(), "after".to_owned())
    );
}

#[test]
fn words_that_stand_for_jobs_list_them() {
    let spool = old_jobs();
    spool.add(&["--id", "build", "--tag", "t", "true"]);
    put(&spool, "failed/7", &json!({"command": "true"}));
    put(&spool, "pending/held", &json!({"command": "true"}));
    for (args, expected) in [
        (
            &["12", "8-10", "build", "9"][..],
            &["10", "build", "12", "8", "9"][..],
        ),
        (&["last"], &["build"]),
        (&["8", "8", "7-8"], &["7", "8"]),
        // The words are taken among the jobs of these states.
        (&["failed", "7-12"], &["7", "8"]),
        (&["7-12", "failed", "complete"], &["7", "8", "9"]),
        (&["7-12", "--failed"], &["7", "8"]),
        (&["last", "--tag", "t"], &["build"]),
        (&["--all", "9", "12"], &["12", "9"]),
        (&["-n", "1", "7-9"], &["8", "9"]),
        // The word for a state is never an id.
        (&["held"], &["12"]),
    ] {
        assert_eq!(listed(&spool, args), expected, "{args:?}");
    }
    for (args, says) in [
        (&["99"][..], "there is no job 99 in "),
        (&["9", "99"], "there is no job 99 in "),
        (&["99-100"], "there is no job 99-100 in "),
        (&["last~99"], "there is no last~99: "),
        (
            &["held", "9"],
            "job 9 is none of those that the options mean",
        ),
        (
            &["failed", "last", "--tag", "t"],
            "there is no such job in ",
        ),
        (&["faild"], "; did you mean the state failed?"),
        (&["faild", "--tag", "t"], "; did you mean the state failed?"),
    ] {
        let done = spool.pirn(&[&["ls"], args].concat());
        assert_eq!((done.code, done.stdout.as_str()), (66, ""), "{args:?}");
        assert!(done.stderr.contains(says), "{args:?}: {}", done.stderr);
    }
    assert_eq!(spool.pirn(&["ls", "../x"]).code, 2);
    let table = spool.pirn(&["ls", "8", "10"]).stdout;
    let text = "\
ID  STATE    QUEUE    WAITED  RAN    ENDED   RESULT     COMMAND
10  pending  default  Ny      -      -       no_daemon  [label] true
8   failed   default  2m      1m 5s  Ny ago  exit 3     exit 3
";
    assert_eq!(without_years(&table), text);
    let list: Vec<Value> =
        serde_json::from_str(&spool.pirn(&["ls", "--json", "9"]).stdout).unwrap();
    assert_eq!((list.len(), &list[0]["id"]), (1, &json!("9")));
}

/// A named job that cannot be read is told of, and does not hide the others.
#[test]
fn a_named_file_that_is_no_record_hides_no_other() {
    let spool = old_jobs();
    fs::write(spool.path().join("pending/broken"), "{").unwrap();
    let done = spool.pirn(&["ls", "--ids", "broken", "9"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "9\n"));
    assert!(done.stderr.contains("broken"), "{}", done.stderr);
}

/// Both are listed: the one that runs, and the one of its name that waits behind it.
#[test]
fn an_id_lists_all_jobs_of_its_name() {
    let spool = Spool::made();
    for path in ["active/backup", "pending/backup", "held/other"] {
        put(&spool, path, &json!({"command": "true"}));
    }
    let shown = |args: &[&str]| {
        let done = spool.pirn(&[&["ls", "--jsonl"], args].concat());
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        let lines = done.stdout.lines();
        let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let states = records.map(|job| job["state"].as_str().unwrap().to_owned());
        states.collect::<Vec<_>>()
    };
    assert_eq!(shown(&["backup", "backup"]), ["active", "pending"]);
    assert_eq!(shown(&["pending", "backup"]), ["pending"]);
    assert_eq!(shown(&["active", "backup"]), ["active"]);
    for args in [&["failed", "backup"][..], &["--tag", "t", "backup"]] {
        let done = spool.pirn(&[&["ls"], args].concat());
        let says = "pirn: job backup is none of those that the options mean\n";
        assert_eq!((done.code, done.stderr.as_str()), (66, says), "{args:?}");
    }
}

/// A job that cannot be listed, as one that has just moved on, makes room for the next.
#[test]
fn a_limit_is_filled() {
    let spool = Spool::made();
    for n in 1..=5 {
        let date = format!("2020-01-0{n}T00:00:00Z");
        let command = if n == 1 { json!(7) } else { json!("true") };
        let job = json!({"command": command, "created_at": date});
        put(&spool, &format!("pending/{n}"), &job);
    }
    let done = spool.pirn(&["ls", "pending", "-n", "2", "--ids"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "2\n3\n"));
    let lines: Vec<&str> = done.stderr.lines().collect();
    assert!(
        lines[0].starts_with("pirn: 1: line 1: command: "),
        "{}",
        done.stderr
    );
    assert_eq!(lines[1..], ["pirn: 2 more; --all shows them"]);
}

#[test]
fn a_limit_keeps_the_first_to_start_and_the_last_to_end() {
    let spool = Spool::made();
    for n in 1..=9 {
        let date = |day: usize| format!("2020-01-{day:02}T00:00:00Z");
        let waiting = json!({"command": "true", "created_at": date(10 - n), "priority": if n == 2 { 3 } else { 0 }});
        put(&spool, &format!("pending/{n}"), &waiting);
        // Ended in the order of 8, 9, 1, 2, ... 7.
        let ended = json!({"command": "false", "finished_at": date((n + 1) % 9 + 1), "reason": "exited", "exit_code": 1});
        put(&spool, &format!("failed/f{n}"), &ended);
    }
    // Of plain text, the date is that of the file: later than all others.
    fs::write(spool.path().join("pending/text"), "true").unwrap();
    // The key of the priority has an escape, and the text of another one is in the environment.
    fs::write(
        spool.path().join("pending/first"),
        r#"{"command": "true", "pri\u006frity": 7, "env": {"priority": "9"}}"#,
    )
    .unwrap();
    spool.make_queue("mail");
    put(
        &spool,
        "pending/mail/m",
        &json!({"command": "true", "created_at": "2020-01-01T12:00:00Z"}),
    );
    let all = [
        "first", "2", "9", "m", "8", "7", "6", "5", "4", "3", "1", "text",
    ];
    assert_eq!(listed(&spool, &["pending"]), all);
    let ended = ["f8", "f9", "f1", "f2", "f3", "f4", "f5", "f6", "f7"];
    for n in 0..=12 {
        let limit = n.to_string();
        assert_eq!(listed(&spool, &["pending", "-n", &limit]), all[..n.min(12)]);
        let last = &ended[9_usize.saturating_sub(n)..];
        assert_eq!(listed(&spool, &["failed", "-n", &limit]), last);
    }
    let done = spool.pirn(&["ls", "-n", "3"]);
    assert_eq!(done.stderr, "pirn: 15 more; --all shows them\n");
    assert_eq!(done.stdout.lines().count(), 1 + 3 + 3);
    // The queue of an ended job is in its record.
    assert_eq!(
        listed(&spool, &["-q", "default", "failed", "-n", "1"]),
        ["f7"]
    );
}

#[test]
fn records_that_are_not_listed_are_not_read_whole() {
    let spool = Spool::made();
    for n in 1..=3 {
        // Wrong, but in a field that says nothing about the order.
        put(
            &spool,
            &format!("pending/{n}"),
            &json!({"command": "true", "umask": n}),
        );
    }
    fs::write(spool.path().join("pending/4"), "{").unwrap();
    put(&spool, "pending/0", &json!({"command": "true"}));
    let done = spool.pirn(&["ls", "--ids", "-n", "1"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "0\n"));
    let told = done.stderr.lines().count();
    assert_eq!(told, 2, "{}", done.stderr);
    assert!(done.stderr.contains("pirn: 3 more"), "{}", done.stderr);
    assert_eq!(spool.pirn(&["ls", "--ids"]).stderr.lines().count(), 4);
}
