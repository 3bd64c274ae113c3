//! The lock of a spool: its text, and that it keeps every other daemon out.

use crate::spool::{Spool, wait_for};
use serde_json::Value;
use std::fs;
use std::process::{Child, Command};

/// The answer of `pirn status` while another process holds a lock with this text.
fn status_under(text: &str) -> Value {
    let spool = Spool::new();
    assert_eq!(spool.pirn(&["add", "true"]).code, 0);
    fs::write(spool.path().join("lock"), text).unwrap();
    let lock = fs::File::open(spool.path().join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    let done = spool.pirn(&["status", "--json"]);
    let status: Value = serde_json::from_str(&done.stdout).unwrap();
    let code = if status["trouble"].is_null() { 0 } else { 69 };
    assert_eq!(done.code, code, "{}", done.stderr);
    status
}

#[test]
fn the_lock_says_pid_and_version() {
    let mut spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        spool.read("lock"),
        format!("{pid}\nversion: {version}\ncommand: serve\n")
    );
    spool.crash();
    fs::write(spool.path().join("lock"), "old text\n".repeat(400)).unwrap();
    spool.serve(&[]);
    let pid = spool.daemon_pid().unwrap();
    assert_eq!(
        spool.read("lock"),
        format!("{pid}\nversion: {version}\ncommand: serve\n")
    );
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

/// Drops ten jobs that append a line when they are started, and waits for their ends.
fn ten_jobs(spool: &Spool) {
    let starts = spool.beside("starts");
    let names: Vec<String> = (0..10).map(|n| format!("job{n}")).collect();
    for name in &names {
        let line = format!("echo $PIRN_ID >> '{}'; sleep 0.2", starts.display());
        spool.drop_file(name, line);
    }
    names
        .iter()
        .for_each(|name| drop(spool.wait_record(&format!("complete/{name}"))));
    let text = fs::read_to_string(starts).unwrap();
    let mut started: Vec<&str> = text.lines().collect();
    started.sort_unstable();
    assert_eq!(started, names);
}

/// The pid that `lock` names.
fn named(spool: &Spool) -> Option<u32> {
    let text = fs::read_to_string(spool.path().join("lock")).ok()?;
    text.lines().next()?.parse().ok()
}

/// Fails unless a second daemon is refused with these words.
fn refused(spool: &Spool, words: &str) {
    let done = spool.pirn(&["serve", "--drain"]);
    assert_eq!(done.code, 75, "{}", done.stderr);
    assert!(done.stderr.contains(words), "{}", done.stderr);
}

/// The state letter of a process.
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Stops the daemon like a debugger: it notices no change until it goes on.
fn freeze(spool: &Spool) {
    spool.signal("STOP");
    let pid = spool.daemon_pid().unwrap();
    spool.wait_for("the daemon to be stopped", || state_of(pid) == Some('T'));
}

#[test]
fn a_removed_lock_lets_nobody_in() {
    let spool = Spool::serving(&["--slots", "4"]);
    let pid = spool.daemon_pid().unwrap();
    for round in 0..5 {
        spool.rm("lock");
        match round {
            0 => spool.wait_file("lock"),
            1 => fs::write(spool.path().join("lock"), "1\n").unwrap(),
            _ => {}
        }
        refused(&spool, "in use by");
        spool.wait_for("the lock to say who has it", || named(&spool) == Some(pid));
        refused(&spool, &format!("in use by process {pid}"));
    }
    assert!(spool.daemon_log().contains("lock: was removed"));
    ten_jobs(&spool);
}

#[test]
fn a_daemon_without_its_lock_file_is_seen() {
    let spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    freeze(&spool);
    spool.rm("lock");
    refused(&spool, "in use by another process");
    // The refused daemon may have created the file; it is empty.
    let status = spool.pirn(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["daemon"], 0);
    spool.signal("CONT");
    spool.wait_for("the lock to say who has it", || named(&spool) == Some(pid));
    ten_jobs(&spool);
}

/// A second daemon, with its log in the same file. It is killed when this is dropped.
struct Second(Child);

impl Second {
    fn start(spool: &Spool) -> Self {
        let second = Self(spool.spawn_logged(&mut spool.command(["serve", "--slots", "2"])));
        spool.wait_for("the second daemon to have the spool", || {
            named(spool) == Some(second.0.id())
        });
        second
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_whose_spool_was_removed_starts_nothing_in_the_new_one() {
    let spool = Spool::serving(&["--slots", "2"]);
    // Until the spool is gone, the daemon restores what is removed: the removal is repeated, as a user would do it.
    wait_for("the spool to be gone", || {
        fs::remove_dir_all(spool.path()).is_ok()
    });
    let second = Second::start(&spool);
    ten_jobs(&spool);
    assert_eq!(named(&spool), Some(second.0.id()));
}

#[test]
fn a_daemon_that_finds_another_one_in_its_spool_leaves_it() {
    let mut spool = Spool::serving(&["--slots", "2"]);
    freeze(&spool);
    for entry in fs::read_dir(spool.path()).unwrap().flatten() {
        match entry.path().is_dir() {
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
    let second = Second::start(&spool);
    let go = spool.beside("go");
    let until_go = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    spool.drop_file("runs", until_go);
    spool.wait_note("runs");
    spool.signal("CONT");
    assert_eq!(spool.wait_exit(), 75);
    let words = format!("in use by process {}", second.0.id());
    assert!(spool.daemon_log().contains(&words));
    ten_jobs(&spool);
    fs::write(go, "").unwrap();
    assert_eq!(spool.wait_record("complete/runs")["attempt"], 1);
}

#[test]
fn a_daemon_that_locks_the_file_only_keeps_the_newer_one_from_starting_jobs() {
    let spool = Spool::serving(&[]);
    freeze(&spool);
    // The form of versions before 0.2.0.
    spool.rm("lock");
    fs::write(spool.path().join("lock"), "4242\n").unwrap();
    let older = fs::File::open(spool.path().join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&older).unwrap();
    spool.drop_file("waits", "true");
    spool.signal("CONT");
    spool.wait_daemon_log("in use by process 4242");
    assert!(spool.has("pending/waits") && !spool.has("log/waits"));
    drop(older);
    spool.wait_record("complete/waits");
    assert_eq!(named(&spool), spool.daemon_pid());
}

#[test]
fn a_lock_on_either_part_keeps_a_daemon_out() {
    for (part, words) in [
        ("lock", "in use by process 4242"),
        ("active", "in use by another process"),
    ] {
        let spool = Spool::new();
        spool.add(&["true"]);
        fs::write(spool.path().join("lock"), "4242\n").unwrap();
        let held = fs::File::open(spool.path().join(part)).unwrap();
        fs2::FileExt::lock_exclusive(&held).unwrap();
        refused(&spool, words);
        assert!(!spool.pirn(&["status"]).stdout.contains("none"), "{part}");
        drop(held);
        assert!(spool.pirn(&["status"]).stdout.contains("none"), "{part}");
        assert_eq!(spool.pirn(&["serve", "--drain"]).code, 0);
    }
}

#[test]
fn a_descriptor_named_by_a_variable_is_not_trusted() {
    let spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec \"$0\" serve --drain 8<\"$PIRN_SPOOL/lock\" 9<\"$PIRN_SPOOL/active\"",
        ])
        .arg(env!("CARGO_BIN_EXE_pirn"))
        .env("PIRN_SPOOL", spool.path())
        .envs([("PIRN_LOCK_FD", "8"), ("PIRN_ACTIVE_FD", "9")]);
    let done = spool.finish(&mut command);
    assert_eq!(done.code, 75, "{}", done.stderr);
    assert!(
        done.stderr.contains(&format!("process {pid}")),
        "{}",
        done.stderr
    );
    assert_eq!(named(&spool), Some(pid));
}

#[test]
fn pirn_run_waits_for_a_daemon_whose_lock_was_removed() {
    let mut spool = Spool::serving(&["--slots", "0"]);
    let mut run = spool.spawn_logged(&mut spool.command(["run", "--id", "r", "true"]));
    spool.wait_file("pending/r");
    spool.rm("lock");
    spool.wait_for("the lock to be written again", || {
        spool.daemon_pid().is_some()
    });
    assert!(run.try_wait().unwrap().is_none() && spool.has("pending/r"));
    spool.stop();
    assert!(run.wait().unwrap().success());
    spool.wait_record("complete/r");
}
