//! `pirn add`: queues, ids and numbers.

use crate::spool::Spool;
use serde_json::Value;
use std::fs;

fn pending(spool: &Spool, id: &str) -> Value {
    spool.record(&format!("pending/{id}"))
}

#[test]
fn into_a_queue() {
    let spool = Spool::new();
    assert_eq!(spool.add(&["-q", "mail", "true"]), "1");
    assert!(spool.has("pending/mail/1"));
    assert_eq!(spool.add(&["--queue", "default", "true"]), "2");
    assert!(spool.has("pending/2"));
    for queue in ["a/b", "..", ".git", "-x", ""] {
        let done = spool.pirn(&["add", &format!("--queue={queue}"), "true"]);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{queue}");
    }
    assert_eq!(spool.ls("pending"), ["2", "mail"]);
}

#[test]
fn a_taken_id_is_refused_unless_told_to_replace() {
    let mut spool = Spool::new();
    spool.add(&["--id", "backup", "echo first"]);
    let done = spool.pirn(&["add", "--id", "backup", "echo second"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("backup"), "{}", done.stderr);
    assert_eq!(pending(&spool, "backup")["command"], "echo first");
    // The same for a job that waits in another queue.
    assert_ne!(
        spool
            .pirn(&["add", "--id", "backup", "-q", "mail", "true"])
            .code,
        0
    );
    assert_eq!(
        spool.add(&["--id", "backup", "--replace", "echo second"]),
        "backup"
    );
    assert_eq!(pending(&spool, "backup")["command"], "echo second");
    spool.serve(&[]);
    spool.wait_record("complete/backup");
    // An ended job has the id.
    assert_eq!(spool.pirn(&["add", "--id", "backup", "true"]).code, 1);
    spool.add(&["--id", "backup", "--replace", "echo third"]);
    spool.wait_record("complete/backup~1");
    spool.wait_for("the third", || {
        spool.has("complete/backup") && spool.record("complete/backup")["output"] == "third\n"
    });
    for id in ["a/b", ".x", "-x", "x~", "x.tmp", "", "a\nb"] {
        assert_eq!(
            spool.pirn(&["add", &format!("--id={id}"), "true"]).code,
            2,
            "{id:?}"
        );
    }
}

#[test]
fn numbers_are_never_given_twice() {
    let mut spool = Spool::new();
    let all = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let id: u32 = spool.add(&["true"]).parse().unwrap();
                    all.lock().unwrap().push(id);
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_unstable();
    assert_eq!(all, (1..=80).collect::<Vec<_>>());
    // Numbers do not come back: not after the jobs are removed, not after a daemon has run, not if a name is taken
    // already.
    spool.serve(&["--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    for id in 1..=80 {
        spool.rm(&format!("complete/{id}"));
    }
    spool.drop_file("82", "true");
    assert_eq!(spool.add(&["true"]), "81");
    let next: u32 = spool.add(&["true"]).parse().unwrap();
    assert!(next > 82, "{next}");
}

/// With an unusable `seq`, no number is given again that a job has, wherever the job is.
#[test]
fn a_seq_that_is_no_number() {
    let spool = Spool::new();
    spool.add(&["true"]);
    for (content, name) in [
        (&b"junk"[..], "pending/12"),
        (b"\xff\xfe7", "complete/20~3"),
        (b"18446744073709551615", "failed/31"),
        (
            b"18446744073709551615 18446744073709551615 x\n",
            "log/40~err",
        ),
        (b"5 99999999999999999999", "active/55"),
        (b"", "pending/mail/60"),
    ] {
        let path = spool.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "true").unwrap();
        fs::write(spool.path().join("seq"), content).unwrap();
        let highest: u64 = name.rsplit('/').next().unwrap()[..2].parse().unwrap();
        for n in 1..=2 {
            assert_eq!(
                spool.add(&["true"]),
                (highest + n).to_string(),
                "{content:?}"
            );
        }
    }
    spool.rm("seq");
    assert_eq!(spool.add(&["true"]), "63");
    // A plain number is believed, within limits.
    fs::write(spool.path().join("seq"), "100").unwrap();
    assert_eq!(spool.add(&["true"]), "100");
    fs::write(spool.path().join("seq"), "9223372036854775800").unwrap();
    let done = spool.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("seq"), "{}", done.stderr);
}

#[test]
fn parents_must_be_there() {
    let spool = Spool::new();
    let done = spool.pirn(&["add", "--after", "nobody", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (66, ""));
    assert!(done.stderr.contains("nobody"));
}

#[test]
fn a_script_of_the_spool() {
    let mut spool = Spool::new();
    spool.serve(&[]);
    crate::tools::sh(&format!(
        "printf '#!/bin/sh\necho \"$1-$2\"' > {0}; chmod +x {0}",
        spool.path().join("scripts/greet").display()
    ));
    let id = spool.add(&["--script", "greet", "a", "b c"]);
    assert_eq!(
        spool.wait_record(&format!("complete/{id}"))["output"],
        "a-b c\n"
    );
}

/// Numbers that files have are skipped in one step; the first free one is given.
#[test]
fn many_numbers_that_were_dropped_by_hand() {
    let spool = Spool::new();
    assert_eq!(spool.add(&["true"]), "1");
    for n in (2..500).chain(501..600) {
        let place = ["pending", "active", "complete", "failed"][n % 4];
        fs::write(spool.path().join(place).join(n.to_string()), "true").unwrap();
    }
    assert_eq!(spool.add(&["true"]), "500");
    assert_eq!(spool.add(&["true"]), "600");
    assert_eq!(spool.add(&["-q", "mail", "true"]), "601");
    for file in ["pending/603", "failed/604"] {
        fs::write(spool.path().join(file), "true").unwrap();
    }
    let batch = spool.pirn_with_input(&["add", "--batch"], b"true\ntrue\ntrue\n");
    let mut ids: Vec<&str> = batch.stdout.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids, ["602", "605", "606"]);
}
