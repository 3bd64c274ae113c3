//! inotify loses events, or the directories are moved: no job is lost, and the daemon reports what it cannot do.

mod swaps;

use crate::spool::Spool;
use crate::tools::{Gate, sh};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Fills the daemon's event queue completely with events of names that no job can have. False if the queue is too large
/// for that.
fn fill_event_queue(spool: &Spool) -> bool {
    let size = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let size: usize = size.trim().parse().unwrap();
    if size > 1_000_000 {
        eprintln!("skipped: the event queue of this machine holds {size} events");
        return false;
    }
    let (one, other) = (
        spool.path().join("pending/.one"),
        spool.path().join("pending/.other"),
    );
    fs::write(&one, "").unwrap();
    // A rename is two events.
    for _ in 0..=size / 4 {
        fs::rename(&one, &other).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    true
}

#[test]
fn an_overflow_of_the_event_queue_loses_nothing() {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "--slots", "3"]);
    command.env("PIRN_LOG", "debug");
    spool.serve_with(command);
    // The daemon takes its lock before it sets its watches.
    spool.settle();
    let mut gate = Gate::new(&spool, "gate");
    for id in ["cancelled", "forgotten", "requeued"] {
        spool.drop_file(id, gate.wait());
        spool.wait_note(id);
    }
    spool.drop_file("waiting", "true");
    spool.drop_json("child", &json!({"command": "true", "after": ["waiting"]}));
    spool.drop_file("withdrawn", "true");
    spool.wait_for("withdrawn to be known", || {
        spool.daemon_log().contains("withdrawn: waiting")
    });
    spool.signal("STOP");
    if !fill_event_queue(&spool) {
        return spool.signal("CONT");
    }
    // Every kind of change by hand; there is no room for the event of any of them.
    for n in 0..200 {
        spool.drop_file(&format!("j{n}"), "true");
    }
    spool.mv("active/cancelled", "failed");
    spool.rm("active/forgotten");
    spool.mv("active/requeued", "pending");
    spool.rm("pending/withdrawn");
    spool.mv("pending/waiting", "complete");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("mail/queued", "true");
    spool.config(r#"{"slots": 2, "keep": "2h"}"#);
    fs::write(spool.path().join("pending/bad"), "{").unwrap();
    spool.signal("CONT");
    for n in 0..200 {
        spool.wait_record(&format!("complete/j{n}"));
    }
    spool.wait_daemon_log("dropped events");
    spool.wait_daemon_log("config: read");
    assert_eq!(spool.wait_record("failed/cancelled")["reason"], "cancelled");
    spool.wait_no_process("forgotten");
    spool.wait_record("complete/queued");
    spool.wait_record("complete/child");
    spool.wait_bad("bad");
    gate.open(1);
    spool.wait_record("complete/requeued");
    assert!(!spool.has("log/withdrawn") && !spool.has("failed/forgotten"));
    assert!(!spool.has("complete/forgotten") && !spool.has("pending/forgotten"));
}

#[test]
fn a_spool_that_is_moved_away_and_back() {
    let spool = Spool::serving(&["--slots", "2"]);
    let away = spool.beside("away");
    let mut gate = Gate::new(&spool, "gate");
    let wait = gate.wait();
    spool.drop_file("runs", format!("{wait}; echo ran"));
    spool.wait_note("runs");
    fs::rename(spool.path(), &away).unwrap();
    spool.wait_daemon_log("was moved or removed");
    // It works in its new place: jobs with a script and a scratch directory as well.
    for (id, job) in [
        ("text", json!({"command": "true"})),
        (
            "script",
            json!({"command": "#!/bin/sh\nexit 0", "tries": 1}),
        ),
        (
            "tmp",
            json!({"command": "echo x > $PIRN_OUT", "tmp": true, "tries": 1}),
        ),
    ] {
        let staged = spool.beside("staged");
        fs::write(&staged, job.to_string()).unwrap();
        fs::rename(staged, away.join("pending").join(id)).unwrap();
    }
    gate.open(1);
    spool.wait_for("the end of what runs", || {
        away.join("complete/runs").exists()
    });
    std::thread::sleep(Duration::from_millis(500));
    fs::rename(&away, spool.path()).unwrap();
    assert_eq!(spool.wait_record("complete/runs")["output"], "ran\n");
    for id in ["text", "script", "tmp"] {
        let (state, record) = spool.wait_end(id);
        assert_eq!(state, "complete", "{record}");
    }
    assert_eq!(spool.add(&["true"]), "1");
    spool.wait_record("complete/1");
}

#[test]
fn a_queue_that_is_removed_and_made_again() {
    let spool = Spool::serving(&["--slots", "1"]);
    let queue = spool.path().join("pending/mail");
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("first", gate.wait());
    spool.wait_note("first");
    fs::create_dir(&queue).unwrap();
    for round in 0..4 {
        spool.drop_file("mail/waits", "true");
        // The directory is moved away with the job in it, and back under its name: a new inode, then the old one again.
        let aside = spool.beside(&format!("aside{round}"));
        fs::rename(&queue, &aside).unwrap();
        fs::create_dir(&queue).unwrap();
        spool.drop_file(&format!("mail/new{round}"), "true");
        if round % 2 == 0 {
            sh(&format!("rm -r {}", aside.display()));
        } else {
            fs::rename(aside.join("waits"), queue.join(format!("old{round}"))).unwrap();
            let newer = format!("new{}", round - 1);
            fs::rename(aside.join(&newer), queue.join(&newer)).unwrap();
        }
    }
    // The queue of this job is gone when its next try comes.
    spool.drop_json(
        "mail/again",
        &json!({"command": "rmdir $PIRN_SPOOL/pending/mail; exit $((2 - PIRN_ATTEMPT))", "backoff": {"first": "10ms"}}),
    );
    gate.open(1);
    for id in ["new2", "new3", "old3"] {
        spool.wait_record(&format!("complete/{id}"));
    }
    assert_eq!(spool.wait_record("complete/again")["attempt"], 2);
    fs::create_dir_all(&queue).unwrap();
    spool.drop_file("mail/last", "true");
    assert_eq!(spool.wait_record("complete/last")["queue"], "mail");
    assert!(!spool.has("complete/waits"));
}

#[test]
fn pending_that_is_replaced_is_told_or_followed() {
    let mut spool = Spool::serving(&["--slots", "1"]);
    let (pending, aside) = (spool.path().join("pending"), spool.path().join("pending2"));
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("runs", gate.wait());
    spool.wait_note("runs");
    spool.drop_file("waits", "true");
    fs::rename(&pending, &aside).unwrap();
    fs::create_dir_all(&pending).unwrap();
    spool.wait_daemon_log("was moved or removed");
    spool.drop_file("new", "true");
    gate.open(1);
    spool.wait_record("complete/runs");
    // After it was put back, or with a new daemon, all jobs are found.
    std::thread::sleep(Duration::from_millis(300));
    for entry in fs::read_dir(&aside).unwrap().flatten() {
        fs::rename(entry.path(), pending.join(entry.file_name())).unwrap();
    }
    if !spool.has("complete/new") {
        spool.crash();
        spool.serve(&[]);
    }
    spool.wait_record("complete/new");
    spool.wait_record("complete/waits");
    assert!(!aside.join("waits").exists());
}

#[test]
fn a_directory_that_is_removed_does_not_make_its_jobs_run_again_and_again() {
    for (dir, line, id) in [("complete", "exit 0", "1"), ("failed", "exit 100", "2")] {
        let mut spool = Spool::serving(&[]);
        let runs = spool.beside("runs");
        fs::remove_dir(spool.path().join(dir)).unwrap();
        spool.drop_file(id, format!("echo x >> '{}'; {line}", runs.display()));
        spool.wait_for("its run", || runs.exists());
        std::thread::sleep(Duration::from_secs(1));
        let ran = fs::read_to_string(&runs).unwrap().lines().count();
        assert_eq!(ran, 1, "{dir}");
        if !spool.has(&format!("{dir}/{id}")) {
            assert!(spool.has(&format!("active/{id}")));
            let log = spool.daemon_log();
            assert!(log.contains("ERROR") || log.contains("WARN"), "{log}");
            spool.crash();
            spool.serve(&[]);
        }
        spool.wait_end(id);
    }
}

/// A daemon in a user namespace with its own limits on inotify.
fn serve_with_limit(spool: &Spool, name: &str, limit: u32) -> Command {
    let pirn = spool.command([""]).get_program().to_owned();
    let line = format!("echo {limit} > /proc/sys/user/{name} && exec \"$0\" serve");
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "sh", "-c", &line]).arg(pirn);
    command.env("PIRN_SPOOL", spool.path());
    command
}

fn has_namespaces() -> bool {
    let tried = Command::new("unshare")
        .args([
            "-U",
            "-r",
            "test",
            "-w",
            "/proc/sys/user/max_inotify_watches",
        ])
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: no user namespaces");
    }
    works
}

#[test]
fn a_queue_beyond_the_limit_of_watches_is_told_of_and_served() {
    if !has_namespaces() {
        return;
    }
    let mut spool = Spool::new();
    let command = serve_with_limit(&spool, "max_inotify_watches", 6);
    spool.serve_with(command);
    for queue in ["a", "b", "c"] {
        fs::create_dir(spool.path().join("pending").join(queue)).unwrap();
        spool.drop_file(&format!("{queue}/{queue}1"), "true");
    }
    spool.drop_file("plain", "true");
    spool.wait_record("complete/plain");
    spool.wait_daemon_log("No space left on device");
    for id in ["a1", "b1", "c1"] {
        spool.wait_record(&format!("complete/{id}"));
    }
    // The same for a file that is dropped later, if not at once.
    spool.drop_file("c/c2", "true");
    spool.wait_record("complete/c2");
}

#[test]
fn a_queue_beyond_the_limit_of_watches_is_paused_all_the_same() {
    if !has_namespaces() {
        return;
    }
    let mut spool = Spool::made();
    for queue in ["a", "b", "c"] {
        spool.make_queue(queue);
        fs::write(spool.path().join(format!("pending/{queue}/.paused")), "").unwrap();
        spool.drop_file(&format!("{queue}/{queue}1"), "true");
    }
    let command = serve_with_limit(&spool, "max_inotify_watches", 6);
    spool.serve_with(command);
    spool.wait_daemon_log("No space left on device");
    spool.drop_file("plain", "true");
    spool.wait_record("complete/plain");
    spool.settle();
    for queue in ["a", "b", "c"] {
        assert!(spool.has(&format!("pending/{queue}/{queue}1")), "{queue}");
    }
    for queue in ["a", "b", "c"] {
        spool.rm(&format!("pending/{queue}/.paused"));
        spool.wait_record(&format!("complete/{queue}1"));
    }
}

#[test]
fn without_any_watches_a_daemon_says_why_it_does_not_start() {
    if !has_namespaces() {
        return;
    }
    for (name, limit) in [("max_inotify_watches", 3), ("max_inotify_instances", 0)] {
        let mut spool = Spool::new();
        let mut command = serve_with_limit(&spool, name, limit);
        let done = spool.finish(&mut command);
        assert!(done.code > 0, "{name}: {}", done.code);
        let lower = done.stderr.to_lowercase();
        assert!(
            lower.contains("inotify") || lower.contains("watch"),
            "{name}: {}",
            done.stderr
        );
        // The lock is free.
        spool.serve(&[]);
        spool.drop_file("1", "true");
        spool.wait_record("complete/1");
    }
}
