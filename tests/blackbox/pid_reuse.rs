//! Numbers of processes that were given away again. Needs root, for a space of numbers where the next one can be chosen.

use crate::spool::{Spool, wait_for};
use crate::tools::Gate;
use serde_json::json;
use std::fs;
use std::process::{Child, Command, Stdio};

/// The daemon is the first process, and there are numbers enough.
const ONE_PROCESS: [&str; 3] = ["--no-front", "--slots", "40"];

/// A daemon in a PID namespace of its own; all in there is killed when this is dropped.
pub struct Space(Child);

impl Space {
    pub fn serve(spool: &Spool, options: &[&str]) -> Option<Self> {
        let args = ["--pid", "--fork", "--kill-child", "--mount-proc"];
        let mut trial = Command::new("unshare");
        let trial = trial.args(args).arg("true").stderr(Stdio::null()).status();
        if !trial.is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs root and unshare");
            return None;
        }
        let mut command = Command::new("unshare");
        command
            .args(args)
            .args([env!("CARGO_BIN_EXE_pirn"), "serve"])
            .args(options)
            .env("PIRN_SPOOL", spool.path())
            .env("PIRN_LOG", "debug");
        let space = Self(spool.spawn_logged(&mut command));
        spool.wait_daemon_log("serving");
        spool.wait_file("pending");
        Some(space)
    }

    /// The first process in the namespace, by its number outside.
    pub fn first(&self) -> String {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().to_owned()
    }

    /// Sets the namespace's counter so that the next thread takes the free number below `pid`, and the process after that
    /// takes `pid`.
    fn count_to(&self, pid: i64) {
        let line = format!(
            "n={pid}; while n=$((n - 1)); [ -e /proc/$n ]; do :; done; echo $((n - 1)) > /proc/sys/kernel/ns_last_pid"
        );
        let done = Command::new("nsenter")
            .args(["--pid", "--mount", "--target", &self.first()])
            .args(["sh", "-c", &line])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?} {pid}");
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_job_with_the_number_of_a_dead_leader_is_not_part_of_what_that_left() {
    let spool = Spool::new();
    let Some(space) = Space::serve(&spool, &ONE_PROCESS) else {
        return;
    };
    let (mut left, mut others) = (Gate::new(&spool, "left"), Gate::new(&spool, "others"));
    let pid_of = |name: &str| -> i64 {
        let text = || fs::read_to_string(spool.beside(name)).unwrap_or_default();
        wait_for("a job to say its number", || text().ends_with('\n'));
        text().trim().parse().unwrap()
    };
    let (leader, up) = (spool.beside("leader"), spool.beside("up"));
    let line = format!(
        "echo $$ > {}
        left=\"trap '' TERM; echo > {1}; {2}\"
        setsid sh -c \"$left\" </dev/null >/dev/null 2>&1 &
        while [ ! -e {1} ]; do sleep 0.01; done; exit 75",
        leader.display(),
        up.display(),
        left.wait()
    );
    // Numbers below the leader's have to stay free, for the thread that comes before the process.
    space.count_to(100);
    spool.drop_json("7", &json!({"command": line, "tries": 1, "grace": "1m"}));
    spool.wait_daemon_log("is left behind: Term");
    let leader = pid_of("leader");
    // The counting shell may have the number below, and a spare job thread takes none. Then this job misses the
    // number, and the next one is tried.
    let same = (0..30).find(|n| {
        space.count_to(leader);
        let name = format!("job{n}");
        let note = spool.beside(&name);
        spool.drop_file(
            &name,
            format!("echo $$ > {}; {}", note.display(), others.wait()),
        );
        pid_of(&name) == leader
    });
    let same = format!("job{}", same.expect("no job got the number"));
    left.open(1);
    let record = spool.wait_record("failed/7");
    assert_eq!(record["exit_code"], 75, "{record}");
    assert!(
        spool.has(&format!("active/{same}")),
        "{}",
        spool.daemon_log()
    );
    others.open(30);
    let record = spool.wait_record(&format!("complete/{same}"));
    assert_eq!(record["attempt"], 1, "{record}");
}
