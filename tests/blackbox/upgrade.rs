//! SIGUSR2: the daemon becomes the binary that is installed now, whatever happens at the same time.

use crate::spool::{DEADLINE, Spool, is_alive, write_program};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// The daemon logs this right before the exec.
const BECOMING: &str = "upgrade: becoming";

/// The rounds of each test.
const ROUNDS: usize = 34;

/// A daemon with settings that it does not watch, and a job that runs until `go` exists.
struct Rig {
    spool: Spool,
    config: PathBuf,
    go: PathBuf,
    pid: i64,
}

impl Rig {
    fn new() -> Self {
        let spool = Spool::new();
        let (config, go) = (spool.beside("settings.json"), spool.beside("go"));
        let mut rig = Self {
            spool,
            config,
            go,
            pid: 0,
        };
        rig.pause(0);
        rig.serve();
        rig
    }

    fn serve(&mut self) {
        let _ = fs::remove_file(&self.go);
        self.spool
            .serve(&["--slots", "2", "--config", self.config.to_str().unwrap()]);
        let until_go = format!("until [ -e '{}' ]; do sleep 0.02; done", self.go.display());
        self.spool.drop_file("runs", until_go);
        self.pid = self.spool.wait_note("runs")["pid"].as_i64().unwrap();
    }

    /// Sends SIGUSR2 and waits for 0 to 20 ms; in every other round the wait starts at the exec.
    fn upgrade(&self, round: usize) {
        let execs = || {
            let log = self.spool.daemon_log();
            let becoming = log.lines().filter(|line| line.contains(BECOMING));
            becoming.filter(|line| !line.contains(" once ")).count()
        };
        let before = execs();
        self.spool.signal("USR2");
        let end = Instant::now() + DEADLINE;
        while round % 2 == 1 && execs() == before {
            assert!(
                Instant::now() < end,
                "no exec in {}",
                self.spool.daemon_log()
            );
        }
        std::thread::sleep(Duration::from_millis(round as u64 * 13 % 21));
    }

    /// Writes settings that pause all queues from number `first` on.
    fn pause(&self, first: usize) {
        let paused = (first..ROUNDS).map(|n| (format!("q{n}"), json!({"paused": true})));
        let queues: serde_json::Map<_, _> = paused.collect();
        let staged = self.spool.beside("staged-settings");
        fs::write(&staged, json!({"queues": queues}).to_string()).unwrap();
        fs::rename(staged, &self.config).unwrap();
    }

    /// The job is still the one that was started first, and ends normally.
    fn finish(&self) {
        assert!(is_alive(self.pid));
        fs::write(&self.go, "").unwrap();
        let record = self.spool.wait_record("complete/runs");
        assert_eq!(
            (&record["attempt"], &record["exit_code"]),
            (&1.into(), &0.into())
        );
    }
}

#[test]
fn a_hup_right_after_usr2_is_not_lost() {
    let rig = Rig::new();
    for round in 0..ROUNDS {
        let id = format!("job{round}");
        let record = json!({"command": "true", "queue": format!("q{round}")});
        rig.spool.drop_json(&id, &record);
        rig.spool.wait_file(&format!("pending/q{round}/{id}"));
        rig.upgrade(round);
        rig.pause(round + 1);
        rig.spool.signal("HUP");
        rig.spool.wait_record(&format!("complete/{id}"));
    }
    rig.finish();
    // The signals that were blocked for the exec are not blocked in jobs.
    rig.spool
        .drop_file("mask", "grep -E '^Sig(Blk|Ign)' /proc/self/status");
    let output = rig.spool.wait_record("complete/mask")["output"].to_string();
    assert_eq!(output.matches("0000000000000000").count(), 2, "{output}");
}

#[test]
fn a_term_right_after_usr2_is_not_lost() {
    let mut rig = Rig::new();
    for round in 0..ROUNDS {
        rig.upgrade(round);
        rig.spool.signal("TERM");
        rig.spool.wait_daemon_log("stopping: 1 running");
        rig.finish();
        assert_eq!(rig.spool.wait_exit(), 0);
        rig.spool.rm("complete/runs");
        fs::remove_file(rig.spool.beside("daemon.log")).unwrap();
        rig.serve();
    }
}

#[test]
fn a_second_usr2_is_not_lost() {
    let rig = Rig::new();
    for round in 0..ROUNDS {
        rig.upgrade(round);
        let sent = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        rig.spool.signal("USR2");
        rig.spool.wait_for("an exec after the second signal", || {
            rig.spool
                .daemon_log()
                .lines()
                .any(|line| line.contains(BECOMING) && !line.contains(" once ") && *line >= *sent)
        });
    }
    rig.finish();
}

#[test]
fn pirn_run_does_not_begin_anew() {
    let spool = Spool::new();
    let go = spool.beside("go");
    let until_go = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    let mut command = spool.command(["run", "--", &until_go]);
    let mut run = spool.spawn_logged(&mut command);
    spool.wait_note("1");
    let pid = run.id().to_string();
    let sent = Command::new("kill").args(["-USR2", &pid]).status().unwrap();
    assert!(sent.success());
    spool.wait_daemon_log("upgrade: not done");
    fs::write(go, "").unwrap();
    assert!(run.wait().unwrap().success());
    assert_eq!(spool.ls("complete"), ["1"]);
    assert_eq!(spool.record("complete/1")["attempt"], 1);
}

/// A daemon that runs a copy of the binary, which can be replaced.
fn own_binary() -> (Spool, PathBuf) {
    let mut spool = Spool::new();
    let binary = spool.beside("pirn");
    copy(Path::new(env!("CARGO_BIN_EXE_pirn")), &binary);
    let mut command = Command::new(&binary);
    command.arg("serve").env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    spool.drop_file("runs", "sleep 1000");
    spool.wait_file("active/runs");
    (spool, binary)
}

/// Copied by a child process, so that no process of another test has it open for writing when it is executed.
fn copy(from: &Path, to: &Path) {
    let staged = to.with_extension("staged");
    let copied = Command::new("cp").args([from, &staged]).status().unwrap();
    assert!(copied.success());
    fs::rename(staged, to).unwrap();
}

/// Replaces the binary with this content.
fn replace(binary: &Path, content: &[u8]) {
    let staged = binary.with_extension("staged");
    write_program(&staged, content);
    fs::rename(staged, binary).unwrap();
}

fn count(spool: &Spool, words: &str) -> usize {
    spool.daemon_log().matches(words).count()
}

#[test]
fn a_binary_that_cannot_take_over_is_refused() {
    let (mut spool, binary) = own_binary();
    let whole = fs::read(&binary).unwrap();
    let wrong: [(&str, &[u8]); 7] = [
        // The cut is inside the loaded part: more than half of a debug build is not loaded.
        ("a tenth", &whole[..whole.len() / 10]),
        ("a page", &whole[..4096]),
        ("empty", b""),
        ("text", b"echo pirn 1.0\n"),
        ("script", b"#!/bin/sh\necho pirn 9.9; [ $1 = --version ]\n"),
        ("another", b"#!/bin/true\n"),
        ("chatty", b"#!/bin/sh\nexec head -c 1000000 /dev/zero\n"),
    ];
    for (round, (what, content)) in wrong.into_iter().enumerate() {
        replace(&binary, content);
        spool.signal("USR2");
        spool.wait_for(what, || {
            count(&spool, "upgrade refused, going on as before") == round + 1
        });
        spool.drop_file(what, "true");
        spool.wait_record(&format!("complete/{what}"));
        assert!(
            spool.daemon_pid().is_some() && spool.has("active/runs"),
            "{what}"
        );
    }
    assert_eq!(
        count(&spool, "signal 25 ends it"),
        1,
        "its answer is bounded"
    );
    fs::remove_file(&binary).unwrap();
    spool.signal("USR2");
    spool.wait_for("none", || {
        count(&spool, "upgrade refused") == wrong.len() + 1
    });
    copy(Path::new(env!("CARGO_BIN_EXE_pirn")), &binary);
    spool.signal("USR2");
    spool.wait_daemon_log("runs: still running");
    spool.rm("active/runs");
    spool.stop();
}

#[test]
fn a_binary_that_does_not_answer_holds_nothing_up() {
    let (spool, binary) = own_binary();
    replace(&binary, b"#!/bin/sh\nsleep 1000\n");
    spool.signal("USR2");
    spool.wait_daemon_log("upgrade: proving");
    spool.drop_file("meanwhile", "true");
    spool.wait_record("complete/meanwhile");
    assert_eq!(count(&spool, "upgrade refused"), 0);
    spool.wait_daemon_log("it does not answer");
    spool.drop_file("after", "true");
    spool.wait_record("complete/after");
}

#[test]
fn settings_that_are_refused_refuse_the_upgrade() {
    let spool = Spool::serving(&[]);
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    spool.config("{\"slots\": 2}");
    spool.wait_daemon_log("config: read");
    spool.config("{\"slots\": true}");
    spool.wait_daemon_log("config: not used");
    spool.signal("USR2");
    spool.wait_daemon_log("upgrade refused, going on as before");
    assert!(spool.daemon_log().contains("line 1: slots"));
    spool.drop_file("second", "true");
    spool.wait_record("complete/second");
    assert!(spool.daemon_pid().is_some());
    assert_eq!(count(&spool, "upgrade: becoming"), 0);
    spool.config("{}");
    spool.signal("USR2");
    spool.wait_daemon_log("upgrade: becoming");
    spool.drop_file("third", "true");
    spool.wait_record("complete/third");
}
