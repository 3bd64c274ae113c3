//! A hundred real jobs of mixed kinds, with priorities, dependencies, retries and timeouts. Every record is checked
//! with jq, as a user would.

use crate::spool::{Spool, is_alive};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The result of a `jq` filter over a record.
fn jq(spool: &Spool, filter: &str, file: &str) -> String {
    let output = Command::new("jq")
        .args(["-r", filter])
        .arg(spool.path().join(file))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "jq {filter} {file}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The record must be here, and all of these filters be true for it.
fn expect(spool: &Spool, file: &str, filters: &[&str]) {
    spool.wait_record(file);
    let common = [
        "(.id | type) == \"string\"",
        "(.created_at | fromdateiso8601? // true) | . != null",
        ".duration >= 0",
        "(.attempts | length) >= 1",
    ];
    for filter in filters.iter().chain(&common) {
        assert_eq!(
            jq(spool, filter, file),
            "true",
            "{file}: {filter}\n{}",
            spool.read(file)
        );
    }
}

#[test]
fn a_hundred_real_jobs() {
    if Command::new("jq").arg("--version").output().is_err() {
        println!("skipped: jq is not installed");
        return;
    }
    let spool = Spool::serving(&["--slots", "4"]);
    let work = spool.beside("work");
    fs::create_dir(&work).unwrap();
    for n in 0..20 {
        let line = format!("line of file {n}\n");
        fs::write(work.join(format!("data{n}")), line.repeat(20_000)).unwrap();
    }
    let has_cc = Command::new("cc").arg("--version").output().is_ok();
    submit_files(&spool, &work);
    submit_scripts(&spool, &work, has_cc);
    submit_trouble(&spool);

    for n in 0..20 {
        expect(
            &spool,
            &format!("complete/gzip{n}"),
            &[
                ".exit_code == 0",
                ".reason == \"exited\"",
                ".priority == 5",
                ".attempt == 1",
            ],
        );
        expect(
            &spool,
            &format!("complete/sum{n}"),
            &[
                ".exit_code == 0",
                "(.result | length) == 65",
                &format!(".after == [\"gzip{n}\"]"),
            ],
        );
        let ended = jq(&spool, ".finished_at", &format!("complete/gzip{n}"));
        let began = jq(&spool, ".started_at", &format!("complete/sum{n}"));
        assert!(
            ended <= began,
            "sum{n} began at {began}, gzip{n} ended at {ended}"
        );
        // The checksum is that of the file that gzip made.
        let sum = Command::new("sha256sum")
            .arg(work.join(format!("data{n}.gz")))
            .output()
            .unwrap()
            .stdout;
        let sum = String::from_utf8(sum).unwrap();
        assert_eq!(
            jq(&spool, ".result", &format!("complete/sum{n}")),
            sum.split(' ').next().unwrap()
        );
    }
    for n in 0..10 {
        if has_cc {
            expect(
                &spool,
                &format!("complete/cc{n}"),
                &[
                    ".exit_code == 0",
                    &format!(".output == \"{}\\n\"", n * n),
                    ".cpu > 0",
                    ".max_rss > 1000000",
                ],
            );
        }
        expect(
            &spool,
            &format!("complete/trap{n}"),
            &[".exit_code == 0", ".output == \"working\\ncleaned up\\n\""],
        );
        expect(
            &spool,
            &format!("complete/flaky{n}"),
            &[
                ".exit_code == 0",
                ".attempt == 3",
                "(.attempts | map(.exit_code)) == [75, 75, 0]",
            ],
        );
        expect(
            &spool,
            &format!("failed/never{n}"),
            &[".exit_code == 1", ".attempt == 2", ".reason == \"exited\""],
        );
        expect(
            &spool,
            &format!("failed/slow{n}"),
            &[
                ".reason == \"timeout\"",
                ".signal == 15",
                ".attempt == 1",
                ".duration < 20",
            ],
        );
    }
    expect(
        &spool,
        "complete/big",
        &[".log_bytes == 52428800", "(.output | length) == 4096"],
    );
    assert_eq!(
        fs::metadata(spool.path().join("log/big")).unwrap().len(),
        52_428_800
    );
    expect(
        &spool,
        "complete/forks",
        &[".exit_code == 0", ".output == \"10 children done\\n\""],
    );
    expect(
        &spool,
        "failed/stubborn",
        &[".reason == \"timeout\"", ".signal == 9"],
    );
    expect(&spool, "failed/tree", &[".reason == \"timeout\""]);
    let left = spool.read("log/tree");
    for pid in left.lines() {
        spool.wait_for("the whole tree to be gone", || {
            !is_alive(pid.parse().unwrap())
        });
    }
    spool.wait_record("failed/orphaned");
    assert_eq!(jq(&spool, ".reason", "failed/orphaned"), "dependency");
    expect(
        &spool,
        "complete/report",
        &[
            ".exit_code == 0",
            ".tags == [\"nightly\"]",
            ".x == {\"ticket\": 17}",
        ],
    );

    let total = spool.ls("complete").len() + spool.ls("failed").len();
    let expected = if has_cc { 100 } else { 90 };
    assert_eq!(total, expected);
    assert_eq!(
        spool.ls("pending").len()
            + spool.ls("active").len()
            + spool.ls("bad").len()
            + spool.scratch().len(),
        0
    );
    if !has_cc {
        println!("skipped: the ten jobs that compile C, there is no cc");
    }
}

/// Jobs that compress files, and jobs for their checksums that come after them.
fn submit_files(spool: &Spool, work: &Path) {
    for n in 0..20 {
        let dir = work.display();
        // The child is dropped first: it waits for a parent that is not there yet.
        spool.drop_file(&format!("sum{n}"), format!(
            r#"{{"command": "sha256sum data{n}.gz | cut -d ' ' -f 1 > $PIRN_OUT", "cwd": "{dir}", "after": ["gzip{n}"], "tmp": true}}"#
        ));
        spool.drop_file(
            &format!("gzip{n}"),
            format!(
                r#"{{"command": ["gzip", "-9", "-k", "data{n}"], "cwd": "{dir}", "priority": 5}}"#
            ),
        );
    }
}

/// Scripts with their own interpreters, a compiler, jobs that fork and write much.
fn submit_scripts(spool: &Spool, work: &Path, has_cc: bool) {
    for n in 0..10 {
        if has_cc {
            let source = format!(
                "#include <stdio.h>\nint main(void) {{ printf(\"%d\\n\", {n} * {n}); return 0; }}\n"
            );
            let files = serde_json::json!({"command": "cc -O1 -o prog prog.c && ./prog", "files": {"prog.c": source}});
            spool.drop_file(&format!("cc{n}"), files.to_string());
        }
        spool.drop_file(
            &format!("trap{n}"),
            "#!/bin/sh\ntrap 'echo cleaned up' EXIT\necho working\n",
        );
        let mark = work.join(format!("tries{n}"));
        spool.drop_file(&format!("flaky{n}"), serde_json::json!({
            "command": format!("echo x >> {0}; [ $(wc -l < {0}) -ge 3 ] || exit 75", mark.display()),
            "retry_on": [4], "backoff": {"first": "20ms"},
        }).to_string());
    }
    spool.drop_file("big", "head -c 52428800 /dev/zero | tr '\\0' 'x'");
    spool.drop_file(
        "forks",
        "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1) & done; wait; echo 10 children done",
    );
    spool.drop_file("report", r#"{"command": "true", "after": ["big", "forks"], "after_any": ["never0"], "tags": ["nightly"], "x": {"ticket": 17}}"#);
}

/// Jobs that fail.
fn submit_trouble(spool: &Spool) {
    for n in 0..12 {
        spool.drop_file(
            &format!("never{n}"),
            r#"{"command": "false", "tries": 2, "backoff": {"first": "30ms"}}"#,
        );
        spool.drop_file(
            &format!("slow{n}"),
            r#"{"command": "exec sleep 1000", "timeout": "100ms", "tries": 1}"#,
        );
    }
    spool.drop_file("stubborn", r#"{"command": "trap '' TERM; while :; do sleep 0.05; done", "timeout": 0.2, "grace": 0.3, "tries": 1}"#);
    // A session of its own and a double fork: killing the group alone would miss both.
    spool.drop_file("tree", r#"{"command": "setsid sh -c 'echo $$; exec sleep 1000' & (sh -c 'echo $$; exec sleep 1000' &) ; sleep 1000", "timeout": "500ms", "grace": "1s", "tries": 1}"#);
    spool.drop_file("orphaned", r#"{"command": "true", "after": ["stubborn"]}"#);
}
