//! `pirn add`: prints the id and nothing else; every option ends in the record.

use crate::spool::Spool;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

fn pending(spool: &Spool, id: &str) -> Value {
    spool.record(&format!("pending/{id}"))
}

#[test]
fn prints_the_id_and_nothing_else() {
    let spool = Spool::new();
    for n in 1..=3 {
        let done = spool.pirn(&["add", "true"]);
        assert_eq!(
            (done.code, done.stdout, done.stderr),
            (0, format!("{n}\n"), spool.unserved())
        );
    }
    let done = spool.pirn(&["add", "--id", "backup", "true"]);
    assert_eq!(
        (done.code, done.stdout, done.stderr),
        (0, "backup\n".to_owned(), spool.unserved())
    );
    assert_eq!(spool.ls("pending"), ["1", "2", "3", "backup"]);
    assert_eq!(spool.scratch(), [""; 0]);
}

#[test]
fn one_word_is_a_shell_line_several_are_a_program() {
    let spool = Spool::new();
    spool.add(&["echo $HOME | wc"]);
    spool.add(&["echo", "$HOME", "|", "-n", "--tries"]);
    spool.add(&["--", "-odd", "--name"]);
    spool.add(&["--tries", "4", "--", "ls -l"]);
    assert_eq!(pending(&spool, "1")["command"], "echo $HOME | wc");
    assert_eq!(
        pending(&spool, "2")["command"],
        json!(["echo", "$HOME", "|", "-n", "--tries"])
    );
    assert_eq!(pending(&spool, "2")["tries"], 1);
    assert_eq!(pending(&spool, "3")["command"], json!(["-odd", "--name"]));
    assert_eq!(
        (
            &pending(&spool, "4")["command"],
            &pending(&spool, "4")["tries"]
        ),
        (&json!("ls -l"), &json!(4))
    );
}

#[test]
fn a_script_on_standard_input() {
    let spool = Spool::new();
    let script = "#!/bin/bash\necho ${BASH_VERSION:+bash}\n";
    let done = spool.pirn_with_input(&["add", "-"], script.as_bytes());
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    assert_eq!(pending(&spool, "1")["command"], script);
    assert_eq!(spool.pirn_with_input(&["add", "-"], b"").code, 2);
    assert_eq!(spool.pirn_with_input(&["add", "-"], b"\xff\xfe").code, 65);
}

#[test]
fn every_option_ends_in_the_record() {
    let spool = Spool::new();
    let payload = spool.beside("payload");
    fs::write(&payload, "pay\nload").unwrap();
    let payload = payload.to_str().unwrap();
    spool.add(&["--id", "p1", "true"]);
    spool.add(&["--id", "p2", "true"]);
    for (args, expected) in [
        (vec!["-p", "7"], json!({"priority": 7})),
        (
            vec!["--on-finish", "date >> ends"],
            json!({"on_finish": "date >> ends"}),
        ),
        (vec!["--priority", "-3"], json!({"priority": -3})),
        (vec!["--after", "p1"], json!({"after": ["p1"]})),
        (vec!["--after", "p1,p2"], json!({"after": ["p1", "p2"]})),
        (
            vec!["--after", "p1", "--after-any", "p2"],
            json!({"after": ["p1"], "after_any": ["p2"]}),
        ),
        (
            vec!["--after-failed", "p1"],
            json!({"after_failed": ["p1"]}),
        ),
        (vec!["-g", "db"], json!({"group": "db"})),
        (vec!["-t", "90s"], json!({"timeout": "1m 30s"})),
        (vec!["--timeout", "0"], json!({"timeout": 0})),
        (
            vec!["-t", "1h", "--warn", "90=hup"],
            json!({"timeout": "1h", "warn": "1m 30s=HUP"}),
        ),
        (vec!["--warn", "0"], json!({"warn": 0})),
        (vec!["--grace", "1h 30m"], json!({"grace": "1h 30m"})),
        (vec!["--tries", "9"], json!({"tries": 9})),
        (
            vec!["--max-interruptions", "0"],
            json!({"max_interruptions": 0}),
        ),
        (
            vec!["--backoff", "first=2s,factor=3,max=1m"],
            json!({"backoff": {"first": "2s", "factor": 3.0, "max": "1m"}}),
        ),
        (
            vec!["--retry-on", "1,2", "--fail-on", "3"],
            json!({"retry_on": [1, 2], "fail_on": [3]}),
        ),
        (vec!["--once"], json!({"once": true})),
        (vec!["-C", "/usr"], json!({"cwd": "/usr"})),
        (vec!["--umask", "027"], json!({"umask": "027"})),
        (vec!["--nice", "-5"], json!({"nice": -5})),
        (
            vec![
                "--limit",
                "nofile=64",
                "--limit",
                "core=unlimited",
                "--limit",
                "as=2G",
            ],
            json!({"limits": {"nofile": 64, "core": "unlimited", "as": 2u64 << 30}}),
        ),
        (vec!["--stdin", payload], json!({"stdin": "pay\nload"})),
        (
            vec!["--file", payload, "--file", &format!("f={payload}")],
            json!({"files": {"payload": "pay\nload", "f": "pay\nload"}}),
        ),
        (vec!["--tmp"], json!({"tmp": true})),
        (vec!["--keep-tmp"], json!({"tmp": "keep"})),
        (vec!["--split"], json!({"split": true})),
        (vec!["--max-log", "64K"], json!({"max_log": 65536})),
        (vec!["--name", "label"], json!({"name": "label"})),
        (
            vec!["--comment", "some text"],
            json!({"comment": "some text"}),
        ),
        (
            vec!["--tag", "a", "--tag", "b"],
            json!({"tags": ["a", "b"]}),
        ),
        (
            vec!["--at", "2199-01-01T00:00:00Z"],
            json!({"not_before": "2199-01-01T00:00:00.000Z"}),
        ),
        (
            vec!["--at", "@7226582400"],
            json!({"not_before": "2199-01-01T00:00:00.000Z"}),
        ),
        (
            vec!["--expires", "2199-01-01T00:00:00Z"],
            json!({"expires": "2199-01-01T00:00:00.000Z"}),
        ),
    ] {
        let id = spool.add(&[&args[..], &["true"]].concat());
        let record = pending(&spool, &id);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&record[key], value, "{args:?}");
        }
    }
}

#[test]
fn dates_that_are_spans() {
    let spool = Spool::new();
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let seconds = |time: &Value| -> u64 {
        let out = Command::new("date")
            .args(["-u", "-d", time.as_str().unwrap(), "+%s"])
            .output()
            .unwrap();
        String::from_utf8(out.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let id = spool.add(&["--in", "1h 30m", "--expires", "2h", "true"]);
    let record = pending(&spool, &id);
    let due = seconds(&record["not_before"]);
    assert!((now() + 5390..=now() + 5401).contains(&due));
    assert!((now() + 7190..=now() + 7201).contains(&seconds(&record["expires"])));
    // The next instant at which the clock shows this time.
    let done = Command::new("bash")
        .args([
            "-c",
            &format!(
                "TZ=America/New_York '{}' add --at 16:00 true",
                spool.command([""]).get_program().display()
            ),
        ])
        .env("PIRN_SPOOL", spool.path())
        .output()
        .unwrap();
    let id = String::from_utf8(done.stdout).unwrap();
    let due = seconds(&pending(&spool, id.trim())["not_before"]);
    assert!(due > now() && due <= now() + 90_000);
    let shown = Command::new("date")
        .args(["-d", &format!("@{due}"), "+%H:%M:%S"])
        .env("TZ", "America/New_York")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), "16:00:00\n");
    assert_eq!(
        spool
            .pirn(&["add", "--in", "1h", "--at", "16:00", "true"])
            .code,
        2
    );
}

/// Adds a job in a time zone; gives the field of its record, and its stderr.
fn dated(spool: &Spool, zone: &str, option: &str, date: &str, field: &str) -> (Value, String) {
    let done = spool.finish(spool.command(["add", option, date, "true"]).env("TZ", zone));
    assert_eq!(done.code, 0, "{date}: {}", done.stderr);
    let record = pending(spool, done.stdout.trim());
    (record[field].clone(), done.stderr)
}

#[test]
fn a_date_with_a_time_is_that_date() {
    let spool = Spool::new();
    // Rules instead of zone files: New York, Lord Howe Island (half an hour) and India.
    let new_york = "EST5EDT,M3.2.0,M11.1.0";
    let lord_howe = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    for (zone, date, instant) in [
        (new_york, "2199-12-24 18:30", "2199-12-24T23:30:00.000Z"),
        (new_york, "2199-12-24T18:30", "2199-12-24T23:30:00.000Z"),
        (
            new_york,
            "2199-12-24 18:30:15.5",
            "2199-12-24T23:30:15.500Z",
        ),
        (
            new_york,
            "2199-12-24 18:30+02:00",
            "2199-12-24T16:30:00.000Z",
        ),
        (new_york, "2199-12-24", "2199-12-24T05:00:00.000Z"),
        // Clocks skip the first of these, and show the second twice.
        (new_york, "2199-03-10 02:30", "2199-03-10T07:30:00.000Z"),
        (new_york, "2199-11-03 01:30", "2199-11-03T05:30:00.000Z"),
        (lord_howe, "2199-01-01 00:00", "2198-12-31T13:00:00.000Z"),
        (lord_howe, "2199-10-06 02:15", "2199-10-05T15:45:00.000Z"),
        ("IST-5:30", "2199-12-24 18:30", "2199-12-24T13:00:00.000Z"),
    ] {
        for (option, field) in [("--at", "not_before"), ("--expires", "expires")] {
            let (found, said) = dated(&spool, zone, option, date, field);
            assert_eq!(found, instant, "{zone} {option} {date}");
            assert!(!said.contains("passed"), "{date}: {said}");
        }
    }
}

#[test]
fn a_date_that_has_passed_is_said() {
    let spool = Spool::new();
    let passed = "2020-01-02 03:04";
    let (at, said) = dated(&spool, "UTC0", "--at", passed, "not_before");
    assert_eq!(at, "2020-01-02T03:04:00.000Z");
    assert!(
        said.contains("--at: 2020-01-02T03:04:00.000Z has passed"),
        "{said}"
    );
    let (expires, said) = dated(&spool, "UTC0", "--expires", passed, "expires");
    assert_eq!(expires, "2020-01-02T03:04:00.000Z");
    assert!(
        said.contains("--expires: 2020-01-02T03:04:00.000Z has passed; the job will not run"),
        "{said}"
    );
    let batch = spool.pirn_with_input(&["add", "--batch", "--at", passed], b"true\ntrue\n");
    assert_eq!(batch.code, 0);
    assert_eq!(batch.stderr.matches("has passed").count(), 1);
}

#[test]
fn it_captures_where_it_was_called() {
    let spool = Spool::new();
    let here = fs::canonicalize(spool.beside("")).unwrap();
    let add = |args: &[&str]| {
        let done = spool
            .command([&["add"], args].concat())
            .env_clear()
            .env("PIRN_SPOOL", spool.path())
            .env("PATH", "/bin:/usr/bin")
            .env("COLOUR", "green")
            .env("PIRN_ID", "99")
            .env("PIRN_TMP", "/x")
            .current_dir(&here)
            .output()
            .unwrap();
        let id = String::from_utf8(done.stdout).unwrap().trim().to_owned();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        pending(&spool, &id)
    };
    let record = add(&["true"]);
    assert_eq!(record["cwd"], here.to_str().unwrap());
    assert_eq!(
        record["env"],
        json!({"PATH": "/bin:/usr/bin", "COLOUR": "green"})
    );
    assert_eq!(record["umask"], "022");
    assert_eq!(add(&["--clean-env", "true"]).get("env"), None);
    assert_eq!(
        add(&["--clean-env", "-e", "A=b=c", "-e", "COLOUR", "true"])["env"],
        json!({"A": "b=c", "COLOUR": "green"})
    );
    assert_eq!(
        add(&["-e", "COLOUR=red", "true"])["env"],
        json!({"PATH": "/bin:/usr/bin", "COLOUR": "red"})
    );
    assert_eq!(
        add(&["-C", "sub/dir", "true"])["cwd"],
        here.join("sub/dir").to_str().unwrap()
    );
}

#[test]
fn a_program_of_the_spool_that_is_missing_is_named() {
    let spool = Spool::made();
    let said = |name| spool.pirn(&["add", "--script", name]).stderr;
    fs::write(spool.path().join("scripts/there"), "#!/bin/sh\n").unwrap();
    let scripts = spool.path().join("scripts");
    let missing = format!("pirn: there is no program gone in {};", scripts.display());
    assert!(said("gone").starts_with(&missing), "{}", said("gone"));
    assert!(!said("there").contains("no program"), "{}", said("there"));
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let spool = Spool::new();
    let done = spool.pirn(&["add", "-C", "/no/such", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    let said = "pirn: there is no directory /no/such here; without it, the job cannot be started\n";
    assert!(done.stderr.starts_with(said), "{}", done.stderr);
}
