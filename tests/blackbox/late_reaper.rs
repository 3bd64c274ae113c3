//! If a killed daemon's jobs have a new parent that never reaps them, their exit codes can still be read.

use crate::spool::{Spool, is_alive, wait_for};
use crate::tools::{Gate, sh};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Becomes a subreaper, starts the program in its arguments, and never waits for a child.
const NEVER_REAPS: &str = "
import ctypes, signal, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    sys.exit('prctl failed')
subprocess.Popen(sys.argv[1:])
signal.pause()
";

/// The parent of the daemon, and of its jobs once the daemon is killed.
struct LateReaper(Child);

impl LateReaper {
    fn serve(spool: &Spool) -> Option<Self> {
        let tried = Command::new("python3")
            .args(["-c", "import ctypes"])
            .status();
        if !tried.is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs python3 with ctypes");
            return None;
        }
        let mut command = Command::new("python3");
        command
            .args([
                "-c",
                NEVER_REAPS,
                env!("CARGO_BIN_EXE_pirn"),
                "serve",
                "--no-front",
                "--slots",
                "5",
            ])
            .env("PIRN_SPOOL", spool.path());
        let this = Self(spool.spawn_logged(&mut command));
        spool.wait_for("a daemon that is its child", || {
            this.daemon(spool).is_some()
        });
        Some(this)
    }

    /// The daemon that holds the lock.
    fn daemon(&self, spool: &Spool) -> Option<i64> {
        let lock = fs::read_to_string(spool.path().join("lock")).ok()?;
        let pid = lock.lines().next()?.parse().ok()?;
        (parent(pid)? == i64::from(self.0.id())).then_some(pid)
    }

    /// Kills the daemon as a crash would.
    fn crash(&self, spool: &Spool) {
        let daemon = self.daemon(spool).unwrap();
        sh(&format!("kill -KILL {daemon}"));
        wait_for("its end", || !is_alive(daemon));
    }
}

impl Drop for LateReaper {
    fn drop(&mut self) {
        let pid = self.0.id();
        // The daemon, if a failed test has not killed it.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_ascii_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parent(pid: i64) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A job that waits at the gate and then ends with this command.
fn job(gate: &Gate, end: &str) -> Value {
    json!({"command": format!("{}; {end}", gate.wait()), "tries": 1, "timeout": "6s"})
}

#[test]
fn exit_codes_of_zombies_are_recorded() {
    let mut spool = Spool::new();
    let Some(reaper) = LateReaper::serve(&spool) else {
        return;
    };
    let began = Instant::now();
    let (mut first, mut second) = (Gate::new(&spool, "first"), Gate::new(&spool, "second"));
    for (name, end) in [
        ("seven", "exit 7"),
        ("good", "exit 0"),
        ("crashed", "kill -SEGV $$"),
        ("killed", "kill -KILL $$"),
    ] {
        spool.drop_json(name, &job(&first, end));
    }
    let mut late = job(&second, "exit 7");
    late["timeout"] = json!("1h");
    spool.drop_json("late", &late);
    let names = ["seven", "good", "crashed", "killed", "late"];
    let pids = names.map(|name| spool.wait_note(name)["pid"].as_i64().unwrap());
    reaper.crash(&spool);
    first.open(4);
    wait_for("four zombies", || {
        !pids[..4].iter().any(|pid| is_alive(*pid))
    });
    // Their timeouts pass before a daemon looks, but they ended by themselves before.
    wait_for("the timeout to pass", || {
        began.elapsed() > Duration::from_secs(7)
    });
    assert_eq!(
        parent(pids[0]),
        Some(i64::from(reaper.0.id())),
        "a zombie was reaped"
    );

    spool.serve(&["--slots", "5"]);
    let ended = |name: &str| {
        let (state, record) = spool.wait_end(name);
        let how = ["reason", "exit_code", "signal", "attempt"].map(|key| record[key].clone());
        (state, how)
    };
    let failed = "failed".to_owned();
    let exited = json!("exited");
    let null = Value::Null;
    let seven = [exited.clone(), json!(7), null.clone(), json!(1)];
    assert_eq!(
        ended("seven"),
        (failed.clone(), seven.clone()),
        "{}",
        spool.daemon_log()
    );
    let good = [exited, json!(0), null.clone(), json!(1)];
    assert_eq!(ended("good"), ("complete".to_owned(), good));
    let crashed = [json!("signaled"), null.clone(), json!(11), json!(1)];
    assert_eq!(ended("crashed"), (failed.clone(), crashed));
    // The killed job ended with its daemon: its next try waits at the gate.
    spool.wait_for("its second try", || {
        spool.wait_note("killed")["attempt"] == 2
    });
    let note = spool.record("active/killed");
    assert_eq!(
        (&note["attempt"], &note["interruptions"]),
        (&json!(2), &json!(1)),
        "{note}"
    );
    assert_eq!(note["attempts"][0]["reason"], "interrupted", "{note}");

    // One job ends under the next daemon, and is not reaped either.
    second.open(1);
    assert_eq!(ended("late"), (failed, seven), "{}", spool.daemon_log());
    assert!(
        pids.iter().all(|pid| parent(*pid).is_some()),
        "a zombie was reaped"
    );
}
