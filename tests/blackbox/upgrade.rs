//! SIGUSR2: the daemon becomes the binary that is there now, whatever comes at the same time.

use crate::spool::{Spool, is_alive};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The rounds of each test.
const ROUNDS: usize = 34;

/// A daemon with settings that it does not watch, and a job that runs until `go` is there.
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

    /// Writes settings that pause the queues from this one on.
    fn pause(&self, first: usize) {
        let paused = (first..ROUNDS).map(|n| (format!("q{n}"), json!({"paused": true})));
        let queues: serde_json::Map<_, _> = paused.collect();
        let staged = self.spool.beside("staged-settings");
        fs::write(&staged, json!({"queues": queues}).to_string()).unwrap();
        fs::rename(staged, &self.config).unwrap();
    }

    /// The job is the one that was started at first, and ends as it would have ended anyway.
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

/// The delay of a round: 0 to 20 ms.
fn pause(round: usize) {
    std::thread::sleep(Duration::from_millis(round as u64 * 13 % 21));
}

#[test]
fn a_hup_right_after_usr2_is_not_lost() {
    let rig = Rig::new();
    for round in 0..ROUNDS {
        let id = format!("job{round}");
        let record = json!({"command": "true", "queue": format!("q{round}")});
        rig.spool.drop_json(&id, &record);
        rig.spool.wait_file(&format!("pending/q{round}/{id}"));
        rig.spool.signal("USR2");
        pause(round);
        rig.pause(round + 1);
        rig.spool.signal("HUP");
        rig.spool.wait_record(&format!("complete/{id}"));
    }
    rig.finish();
    // The signals that were kept back for the exec are not kept back from jobs.
    rig.spool
        .drop_file("mask", "grep -E '^Sig(Blk|Ign)' /proc/self/status");
    let output = rig.spool.wait_record("complete/mask")["output"].to_string();
    assert_eq!(output.matches("0000000000000000").count(), 2, "{output}");
}

#[test]
fn a_term_right_after_usr2_is_not_lost() {
    let mut rig = Rig::new();
    for round in 0..ROUNDS {
        rig.spool.signal("USR2");
        pause(round);
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
        rig.spool.signal("USR2");
        pause(round);
        let sent = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        rig.spool.signal("USR2");
        rig.spool.wait_for("an exec after the second signal", || {
            rig.spool.daemon_log().lines().any(|line| {
                line.contains("upgrade: becoming") && !line.contains(" once ") && *line >= *sent
            })
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
