//! Files that are large, deep, or changed while the daemon looks: no link is followed, only judged files run, and no
//! job is lost.

use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_directory_with_files_in_a_queue_is_kept_whole() {
    let spool = Spool::serving(&[]);
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    let staged = spool.beside("tree");
    fs::create_dir_all(staged.join("deeper")).unwrap();
    fs::write(staged.join("1"), "echo never").unwrap();
    fs::write(staged.join("deeper/2"), "echo never").unwrap();
    fs::rename(&staged, spool.path().join("pending/mail/tree")).unwrap();
    assert!(spool.wait_bad("tree").contains("queues are not nested"));
    assert_eq!(spool.read("bad/tree/1"), "echo never");
    assert_eq!(spool.read("bad/tree/deeper/2"), "echo never");
    spool.settle();
    assert_eq!(spool.ls("log"), [""; 0]);
}

#[test]
fn two_gigabytes_are_not_read() {
    let spool = Spool::serving(&[]);
    let staged = spool.beside("staged");
    let size = 2 << 30;
    fs::File::create(&staged).unwrap().set_len(size).unwrap();
    fs::rename(&staged, spool.path().join("pending/sparse")).unwrap();
    let reason = spool.wait_bad("sparse");
    assert!(reason.contains(&size.to_string()), "{reason}");
    let moved = fs::metadata(spool.path().join("bad/sparse")).unwrap();
    assert_eq!(moved.len(), size);
    let status = format!("/proc/{}/status", spool.daemon_pid().unwrap());
    let status = fs::read_to_string(status).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib: u64 = peak
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(kib < 100 << 10, "{kib} KiB");
}

#[test]
fn json_a_hundred_thousand_levels_deep() {
    let spool = Spool::serving(&[]);
    let levels = 100_000;
    for (name, open, close) in [("lists", "[", "]"), ("objects", "{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        spool.drop_file(name, format!("{{\"command\": \"true\", \"x\": {deep}}}"));
        assert!(spool.wait_bad(name).contains("nested deeper"), "{name}");
    }
    spool.drop_file("after", "echo alive");
    assert_eq!(spool.wait_record("complete/after")["output"], "alive\n");
}

/// Somebody keeps replacing the file with a link to another and back, as fast as possible.
#[test]
fn a_file_swapped_for_a_symlink_in_a_loop() {
    let spool = Spool::serving(&[]);
    let (pending, over) = (spool.path().join("pending"), AtomicBool::new(false));
    let secret = spool.beside("secret");
    let traces = spool.beside("traces");
    fs::write(&secret, format!("echo followed >> {}", traces.display())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::SeqCst) {
                let name = format!("swapped{}", n % 20);
                n += 1;
                let (file, link) = (spool.beside("file"), spool.beside("link"));
                fs::write(&file, format!("echo judged >> {}", traces.display())).unwrap();
                fs::rename(&file, pending.join(&name)).unwrap();
                symlink(&secret, &link).unwrap();
                fs::rename(&link, pending.join(&name)).unwrap();
            }
        });
        spool.wait_for("many swaps to be judged", || spool.ls("bad").len() > 100);
        over.store(true, Ordering::SeqCst);
    });
    spool.wait_for("all to be judged", || spool.ls("pending").is_empty());
    spool.settle();
    let traces = fs::read_to_string(&traces).unwrap_or_default();
    assert!(!traces.contains("followed"), "a link was followed");
    // The links were moved, and their targets were not.
    assert!(secret.exists());
    for name in spool.ls("bad").iter().filter(|n| !n.ends_with(".reason")) {
        let look = fs::symlink_metadata(spool.path().join("bad").join(name)).unwrap();
        let why = spool.read(&format!("bad/{name}.reason"));
        assert!(
            look.is_symlink() || why.contains("replaced by a newer"),
            "{name}: {why}"
        );
    }
    let ended = [spool.ls("complete"), spool.ls("failed")].concat();
    assert!(ended.iter().all(|id| id.starts_with("swapped")));
}

/// A user who keeps a file open may write into it after it was claimed, and again while the job runs.
#[test]
fn a_writer_that_edits_after_acceptance() {
    use std::io::{Seek, Write};
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    // Written again while it waits: the last content runs, whole.
    spool.drop_file("waits", "echo first");
    fs::write(spool.path().join("pending/waits"), "echo second; echo line").unwrap();
    // Written again while it runs: the claimed content runs, and the record does not have the new one.
    spool.drop_json(
        "runs",
        &json!({"command": format!("echo taken; {}", gate.wait()), "priority": 1}),
    );
    let path = spool.path().join("pending/runs");
    gate.open(1);
    spool.wait_log("runs", "taken");
    assert!(!path.exists());
    let mut file = fs::File::options()
        .write(true)
        .open(spool.path().join("active/runs"))
        .unwrap();
    file.write_all(b"{\"command\": \"echo edited\"}").unwrap();
    gate.open(1);
    let record = spool.wait_record("complete/runs");
    assert_eq!(record["output"], "taken\n");
    assert_eq!(
        spool.wait_record("complete/waits")["output"],
        "second\nline\n"
    );
    // The record does not have it after the end either.
    file.rewind().unwrap();
    file.write_all(b"{\"command\": \"echo edited again\"}")
        .unwrap();
    assert_eq!(spool.record("complete/runs"), record);
    assert_eq!(spool.ls("bad"), [""; 0]);
}

/// Somebody keeps renaming a queue's directory and back while its jobs are judged, claimed and started.
#[test]
fn a_queue_that_is_renamed_in_a_loop_loses_no_job() {
    const JOBS: usize = 600;
    let spool = Spool::serving(&["--slots", "2", "--no-sync"]);
    let (staged, out) = (spool.beside("staged"), spool.beside("out"));
    fs::create_dir(&staged).unwrap();
    fs::write(&out, "").unwrap();
    for n in 0..JOBS {
        let text = format!("echo job-{n} >> {}", out.display());
        fs::write(staged.join(format!("job-{n}")), text).unwrap();
    }
    let [a, b] = ["a", "b"].map(|queue| spool.path().join("pending").join(queue));
    fs::rename(staged, &a).unwrap();
    for round in 0.. {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        fs::rename(from, to).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        if round >= 1000 || fs::read_to_string(&out).unwrap().lines().count() == JOBS {
            break;
        }
    }
    spool.wait_progress("all jobs to be over or in bad/", || {
        let over = spool.ls("complete").len() + spool.ls("bad").len();
        (over, over >= JOBS)
    });
    assert_eq!(spool.ls("bad"), [""; 0]);
    assert_eq!(spool.ls("complete").len(), JOBS);
    let ran = fs::read_to_string(&out).unwrap();
    let unique: std::collections::BTreeSet<&str> = ran.lines().collect();
    assert_eq!((ran.lines().count(), unique.len()), (JOBS, JOBS));
}
