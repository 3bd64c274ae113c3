//! Every way to write a file into `pending/`: the job runs exactly once, and only when it is complete.

use crate::spool::Spool;
use crate::tools::sh;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

/// A job that appends a line for each run.
fn counting(spool: &Spool, id: &str) -> String {
    format!(
        "echo run >> {}",
        spool.beside(&format!("runs-{id}")).display()
    )
}

/// How often a job ran, counted once it has ended and the daemon has seen all other changes.
fn runs(spool: &Spool, id: &str) -> usize {
    spool.wait_end(id);
    spool.settle();
    let text = fs::read_to_string(spool.beside(&format!("runs-{id}"))).unwrap_or_default();
    text.lines().count()
}

/// Runs a shell script that writes job `id` with the text in `$JOB` to `$P` (pending), using `$D` (beside).
fn write_with(spool: &Spool, id: &str, script: &str) {
    let job = counting(spool, id);
    sh(&format!(
        "P={}/pending; D={}; JOB='{job}'; {script}",
        spool.path().display(),
        spool.beside("").display()
    ));
    assert_eq!(runs(spool, id), 1, "{script}");
    assert_eq!(spool.wait_end(id).0, "complete", "{script}");
    assert_eq!(spool.ls("bad"), [""; 0], "{script}");
}

#[test]
fn each_writer_makes_one_run() {
    let spool = Spool::serving(&[]);
    for (id, script) in [
        ("mv", r#"printf %s "$JOB" > $D/new; mv $D/new $P/mv"#),
        ("redirect", r#"printf %s "$JOB" > $P/redirect"#),
        ("cp", r#"printf %s "$JOB" > $D/new; cp $D/new $P/cp"#),
        (
            "link",
            r#"printf %s "$JOB" > $D/new; ln $D/new $P/link; rm $D/new"#,
        ),
        ("tee", r#"printf %s "$JOB" | tee $P/tee > /dev/null"#),
        ("dd", r#"printf %s "$JOB" | dd bs=1 of=$P/dd status=none"#),
        (
            "install",
            r#"printf %s "$JOB" > $D/new; install -m 600 $D/new $P/install"#,
        ),
        (
            "within",
            r#"printf %s "$JOB" > $P/.within; mv $P/.within $P/within"#,
        ),
        (
            "part",
            r#"printf %s "$JOB" > $P/part.part; mv $P/part.part $P/part"#,
        ),
        (
            "readonly",
            r#"printf %s "$JOB" > $D/new; chmod 400 $D/new; mv $D/new $P/readonly"#,
        ),
        (
            "touched",
            r#"printf %s "$JOB" > $D/new; mv $D/new $P/touched; touch -c $P/touched; chmod -f 600 $P/touched; true"#,
        ),
        (
            "editor",
            r#"printf %s "$JOB" > $P/editor~; mv $P/editor~ $P/editor"#,
        ),
        (
            "old",
            r#"printf %s "$JOB" > $D/new; touch -d 2001-01-01 $D/new; mv $D/new $P/old"#,
        ),
        (
            "future",
            r#"printf %s "$JOB" > $D/new; touch -d 2060-01-01 $D/new; mv $D/new $P/future"#,
        ),
    ] {
        write_with(&spool, id, script);
    }
}

#[test]
fn an_unnamed_file_that_is_linked_in() {
    let spool = Spool::serving(&[]);
    // One is linked after it was closed for writing (through /proc), one while it is still open.
    let python = r#"
import os, sys
for name in ("tmpfile",):
    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.write(fd, sys.argv[2].encode())
    os.link(f"/proc/self/fd/{fd}", f"{sys.argv[1]}/{name}", src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)
"#;
    fs::write(spool.beside("w.py"), python).unwrap();
    let script = format!(r#"python3 {} $P "$JOB""#, spool.beside("w.py").display());
    write_with(&spool, "tmpfile", &script);
}

#[test]
fn several_redirects_make_a_whole() {
    let spool = Spool::serving(&[]);
    let job = counting(&spool, "two");
    let path = spool.path().join("pending/two");
    // The second writer opens the file before the first closes it: only both parts together are the job.
    let mut first = File::create(&path).unwrap();
    first.write_all(b": \\\n").unwrap();
    let mut second = File::options().append(true).open(&path).unwrap();
    drop(first);
    spool.settle();
    assert!(spool.has("pending/two"), "taken while a writer has it open");
    second.write_all(format!("; {job}\n").as_bytes()).unwrap();
    drop(second);
    assert_eq!(runs(&spool, "two"), 1);
    assert_eq!(spool.wait_end("two").0, "complete");
}

#[test]
fn a_slow_writer_is_waited_for() {
    let spool = Spool::serving(&[]);
    let job = counting(&spool, "slow");
    let mut file = File::create(spool.path().join("pending/slow")).unwrap();
    for byte in job.bytes() {
        file.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    spool.settle();
    assert!(
        spool.has("pending/slow"),
        "taken while its writer has it open"
    );
    drop(file);
    assert_eq!(runs(&spool, "slow"), 1);
}

#[test]
fn a_writer_that_began_before_the_daemon() {
    let mut spool = Spool::serving(&[]);
    spool.stop();
    let job = counting(&spool, "early");
    let mut file = File::create(spool.path().join("pending/early")).unwrap();
    file.write_all(&job.as_bytes()[..5]).unwrap();
    spool.serve(&[]);
    spool.settle();
    assert!(spool.has("pending/early"));
    file.write_all(&job.as_bytes()[5..]).unwrap();
    drop(file);
    assert_eq!(runs(&spool, "early"), 1);
}

#[test]
fn a_locked_file_is_left_until_the_lock_is_free() {
    let spool = Spool::serving(&[]);
    let job = counting(&spool, "locked");
    let path = spool.path().join("pending/locked");
    // The lock is held through a read-only descriptor: the file is complete, but its producer asks to wait.
    fs::write(spool.beside("new"), &job).unwrap();
    let held = File::open(spool.beside("new")).unwrap();
    fs2::FileExt::lock_exclusive(&held).unwrap();
    fs::rename(spool.beside("new"), &path).unwrap();
    spool.settle();
    // Longer than any rule about the age of the file could wait.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(path.exists() && runs_so_far(&spool, "locked") == 0);
    drop(held);
    assert_eq!(runs(&spool, "locked"), 1);
}

fn runs_so_far(spool: &Spool, id: &str) -> usize {
    fs::read_to_string(spool.beside(&format!("runs-{id}")))
        .unwrap_or_default()
        .lines()
        .count()
}

#[test]
fn a_shared_lock_holds_too() {
    let spool = Spool::serving(&[]);
    let job = counting(&spool, "shared");
    fs::write(spool.beside("new"), &job).unwrap();
    let held = File::open(spool.beside("new")).unwrap();
    fs2::FileExt::lock_shared(&held).unwrap();
    fs::rename(spool.beside("new"), spool.path().join("pending/shared")).unwrap();
    spool.settle();
    assert_eq!(runs_so_far(&spool, "shared"), 0);
    drop(held);
    assert_eq!(runs(&spool, "shared"), 1);
}

#[test]
fn an_empty_file_may_still_be_filled() {
    let spool = Spool::serving(&[]);
    let path = spool.path().join("pending/empty");
    File::create(&path).unwrap();
    spool.settle();
    assert!(path.exists() && !spool.has("bad/empty"));
    fs::write(&path, counting(&spool, "empty")).unwrap();
    assert_eq!(runs(&spool, "empty"), 1);
}

#[test]
fn an_empty_file_that_stays_empty_is_no_job() {
    let spool = Spool::serving(&[]);
    File::create(spool.path().join("pending/empty")).unwrap();
    assert!(spool.wait_bad("empty").contains("empty"));
    spool.drop_file("blank", " \n\t\n");
    assert!(spool.wait_bad("blank").contains("empty"));
}

#[test]
fn other_peoples_names_are_left_alone() {
    let spool = Spool::serving(&[]);
    let names = [
        ".hidden", "backup~", "x.tmp", "y.part", ".z.swp", "z.swp", ".nfs0001",
    ];
    for name in names {
        spool.drop_file(name, "echo never");
        fs::create_dir_all(spool.path().join("pending/mail")).unwrap();
        spool.drop_file(&format!("mail/{name}"), "echo never");
    }
    fs::create_dir(spool.path().join("pending/.git")).unwrap();
    spool.drop_file(".git/config", "echo never");
    spool.settle();
    for name in names {
        assert!(spool.has(&format!("pending/{name}")), "{name}");
        assert!(spool.has(&format!("pending/mail/{name}")), "{name}");
    }
    assert!(spool.has("pending/.git/config"));
    assert_eq!((spool.ls("bad"), spool.ls("log")), (vec![], vec![]));
}

#[test]
fn a_file_changed_while_it_waits_runs_as_it_is_last() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = crate::tools::Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    spool.drop_file("7", "echo first");
    spool.drop_json("8", &json!({"command": "echo first", "priority": -5}));
    fs::write(spool.path().join("pending/7"), "echo second").unwrap();
    gate.open(1);
    assert_eq!(spool.wait_record("complete/7")["output"], "second\n");
    assert_eq!(spool.wait_record("complete/8")["output"], "first\n");
}

#[test]
fn a_writer_that_opens_a_waiting_job_again_is_waited_for() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = crate::tools::Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    spool.drop_file("7", counting(&spool, "7"));
    spool.drop_json("later", &json!({"command": "true", "priority": -5}));
    let mut file = File::options()
        .append(true)
        .open(spool.path().join("pending/7"))
        .unwrap();
    gate.open(1);
    spool.wait_record("complete/later");
    assert!(spool.has("pending/7") && runs_so_far(&spool, "7") == 0);
    file.write_all(b"; echo appended").unwrap();
    drop(file);
    assert_eq!(runs(&spool, "7"), 1);
    assert_eq!(spool.read("log/7"), "appended\n");
}

#[test]
fn the_log_of_a_job_goes_that_is_removed_while_a_writer_has_it_open() {
    let spool = Spool::serving(&[]);
    spool.run_json("7", &json!({"command": "echo words; false", "tries": 1}));
    let writer = File::options()
        .append(true)
        .open(spool.path().join("failed/7"));
    spool.mv("failed/7", "pending");
    spool.settle();
    assert!(spool.has("pending/7") && spool.has("log/7"));
    spool.rm("pending/7");
    spool.wait_gone("log/7");
    drop(writer.unwrap());
}
