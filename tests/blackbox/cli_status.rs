//! `pirn status` while a daemon is starting.

use crate::pty::Terminal;
use crate::spool::Spool;
use crate::tools::{Gate, without_years};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a shell line with our `pirn` in its path; gives its output.
fn shell(spool: &Spool, line: &str) -> String {
    let pirn = spool.command([""]).get_program().to_owned();
    let path = std::env::var("PATH").unwrap();
    let dir = Path::new(&pirn).parent().unwrap().display();
    let out = Command::new("bash")
        .args(["-c", line])
        .env("PATH", format!("{dir}:{path}"))
        .env("PIRN_SPOOL", spool.path())
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_daemon_that_is_just_starting_is_there() {
    for n in 0..30 {
        let spool = match n % 3 {
            0 => Spool::new(),
            1 => Spool::made(),
            _ => {
                let spool = Spool::new();
                fs::create_dir(spool.path()).unwrap();
                spool
            }
        };
        let said = shell(&spool, "pirn serve 2>&- & pirn status; kill $!; wait $!");
        assert!(said.contains("daemon    process "), "{n}: {said}");
    }
}

#[test]
fn a_daemon_that_is_slow_to_start_is_there() {
    let spool = Spool::made();
    let said = shell(
        &spool,
        "(sleep 0.3; exec pirn serve) 2>&- & pirn status --json; kill $!; wait $!",
    );
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(status["daemon"].is_i64(), "{said}");
}

#[test]
fn where_no_daemon_comes_it_says_so() {
    let spool = Spool::made();
    let done = spool.pirn(&["status"]);
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("daemon    none"), "{}", done.stdout);
}

/// The lines for people, without those about the machine.
fn lines(spool: &Spool, code: i32) -> String {
    let done = spool.finish(spool.command(["status"]).env("TZ", "UTC"));
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (code, ""),
        "{}",
        done.stdout
    );
    let text = done
        .stdout
        .replace(&spool.path().display().to_string(), "SPOOL");
    let lines = text.lines().filter(|line| !line.starts_with("sandbox"));
    without_years(&lines.map(|line| format!("{line}\n")).collect::<String>())
}

#[test]
fn troubles_come_first_and_have_a_code() {
    let spool = Spool::made();
    spool.config(r#"{"slots": 4}"#);
    let text = "\
spool     SPOOL
daemon    none: nothing is started (pirn serve)
slots     0 of 4 in use
pending   0
held      0
active    0
complete  0
failed    0
";
    assert_eq!(lines(&spool, 0), text);
    spool.config(r#"{"slots": 4, "slot": 5}"#);
    let shown = lines(&spool, 69);
    let (first, _) = shown.split_once('\n').unwrap();
    assert!(
        first.starts_with("trouble   config.json is not used: line 1: slot: "),
        "{shown}"
    );
    let (code, shown) = Terminal::start(&spool, &["status"], 24, 80).end();
    assert_eq!(code, 69);
    assert!(
        shown.contains("\x1b[31mconfig.json is not used: "),
        "{shown}"
    );
    assert_eq!(spool.pirn(&["status", "--json"]).code, 69);
}

#[test]
fn slots_queues_and_dates_are_shown() {
    let mut spool = Spool::made();
    spool.config(
        r#"{"queues": {"mail": {"slots": 3}, "web": {"paused": true}}, "tokens": {"gpu": 2}}"#,
    );
    let gate = Gate::new(&spool, "gate");
    spool.serve(&["--slots", "5"]);
    for (id, queue, extra) in [
        ("a", "default", json!({"use": {"gpu": 2}})),
        ("b", "mail", json!({"slots": 2})),
    ] {
        let mut job = json!({"command": gate.wait(), "queue": queue});
        job.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        spool.drop_json(id, &job);
        spool.wait_note(id);
    }
    for (id, fields) in [
        (
            "c",
            json!({"queue": "web", "created_at": "2020-01-04T00:00:00Z"}),
        ),
        ("d", json!({"not_before": "2199-01-01T00:00:00Z"})),
        ("e", json!({"not_before": "2198-01-01T00:00:00Z"})),
    ] {
        let mut job = json!({"command": "true"});
        job.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        spool.drop_json(id, &job);
    }
    spool.wait_file("pending/web/c");
    spool.settle();
    let pid = spool.daemon_pid().unwrap();
    let text = format!(
        "\
spool     SPOOL
daemon    process {pid}
slots     3 of 5 in use
pending   3, the oldest for Ny
next      in Ny, at 2198-01-01 00:00
held      0
active    2
complete  0
failed    0
queue     mail: 0 waiting, 2 of 3 slots in use
queue     web: 1 waiting, paused
token     gpu: 2 of 2 in use
"
    );
    let shown = lines(&spool, 0);
    // There are more than a hundred years until then.
    let shown = shown.replace("in 1Ny", "in Ny");
    assert_eq!(shown, text);
    let status: Value = serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert_eq!((&status["used"], &status["slots"]), (&json!(3), &json!(5)));
    assert_eq!(status["next_start"], "2198-01-01T00:00:00.000Z");
    assert!(status["oldest_waiting"].as_f64().unwrap() > 1e8, "{status}");
    let mail = json!({"name": "mail", "waiting": 0, "used": 2, "slots": 3, "paused": false});
    assert!(
        status["queues"].as_array().unwrap().contains(&mail),
        "{status}"
    );

    // A pause of all queues is not one of each queue: resuming a queue would not end it.
    spool.pirn(&["pause"]);
    let paused: Value = serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        (&paused["paused"], &paused["queues"]),
        (&json!(true), &status["queues"])
    );
}

#[test]
fn the_next_start_is_found_among_very_many_jobs() {
    let spool = Spool::made();
    for n in 1..=10_001 {
        std::fs::write(spool.path().join(format!("pending/{n}")), "true").unwrap();
    }
    for (id, date) in [
        ("20000", "2199-01-01T00:00:00Z"),
        ("20001", "2198-01-01T00:00:00Z"),
    ] {
        spool.drop_json(id, &json!({"command": "true", "not_before": date}));
    }
    let status: Value = serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["next_start"], "2198-01-01T00:00:00.000Z");
}
