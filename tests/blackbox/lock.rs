//! The lock of a spool: what it says, and that it keeps every other daemon out.

use crate::spool::Spool;
use serde_json::Value;
use std::fs;

/// What `pirn status` reads in a lock that somebody else holds.
fn status_under(text: &str) -> Value {
    let spool = Spool::new();
    assert_eq!(spool.pirn(&["add", "true"]).code, 0);
    fs::write(spool.path().join("lock"), text).unwrap();
    let lock = fs::File::open(spool.path().join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let done = spool.pirn(&["status", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn the_lock_says_pid_and_version() {
    let mut spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(spool.read("lock"), format!("{pid}\nversion: {version}\n"));
    spool.crash();
    fs::write(spool.path().join("lock"), "old text\n".repeat(400)).unwrap();
    spool.serve(&[]);
    let pid = spool.daemon_pid().unwrap();
    assert_eq!(spool.read("lock"), format!("{pid}\nversion: {version}\n"));
}

#[test]
fn keys_of_later_versions_are_skipped() {
    let status = status_under("4242\nversion: 9.9.9\nslots: 4\ntrouble: the disk: gone\nx\n");
    assert_eq!(status["daemon"], 4242);
    assert_eq!(status["trouble"], "the disk: gone");
    let status = status_under("4242\nversion: 9.9.9\nslots: 4\n");
    assert_eq!(status["trouble"], Value::Null);
}

#[test]
fn the_trouble_of_an_older_daemon_is_shown() {
    let status = status_under("4242\nactive/7 failed: Input/output error\n");
    assert_eq!(status["daemon"], 4242);
    assert_eq!(status["trouble"], "active/7 failed: Input/output error");
    let status = status_under("4242\n");
    assert_eq!(
        (&status["daemon"], &status["trouble"]),
        (&4242.into(), &Value::Null)
    );
}
