//! Jobs that become another user, whom the daemon may not signal.

use crate::spool::{Spool, is_alive};
use crate::tools::{sh, text};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const USER: u32 = 65534;

/// A spool of an unprivileged user, and a program with the set-user-id bit that becomes root, like sudo(8).
struct Unprivileged {
    spool: Spool,
    become_root: PathBuf,
}

impl Unprivileged {
    fn new() -> Option<Self> {
        let spool = Spool::new();
        let home = spool.path().parent().unwrap().to_owned();
        let become_root = spool.beside("become-root");
        let made = fs::set_permissions(&home, fs::Permissions::from_mode(0o755))
            .and_then(|()| fs::create_dir(spool.path()))
            .and_then(|()| chown(spool.path(), Some(USER), Some(USER)))
            .and_then(|()| fs::copy("/usr/bin/setpriv", &become_root))
            .and_then(|_| fs::set_permissions(&become_root, fs::Permissions::from_mode(0o4755)));
        if let Err(e) = made {
            eprintln!("skipped: needs root and setpriv: {e}");
            return None;
        }
        let this = Self { spool, become_root };
        let trial = this
            .as_user("sh")
            .args(["-c", &format!("{} id -ru", this.root("exec"))])
            .output();
        if !trial.is_ok_and(|output| output.stdout == b"0\n") {
            eprintln!("skipped: nobody can become root here (nosuid?)");
            return None;
        }
        Some(this)
    }

    /// The beginning of a shell line whose rest runs as root.
    fn root(&self, how: &str) -> String {
        let program = self.become_root.display();
        format!("{how} {program} --reuid=0 --regid=0 --clear-groups")
    }

    /// A command of the unprivileged user.
    fn as_user(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(program)
            .env("PIRN_SPOOL", self.spool.path());
        command
    }

    fn serve(&mut self) {
        let mut command = self.as_user(env!("CARGO_BIN_EXE_pirn"));
        command.arg("serve");
        self.spool.serve_with(command);
    }

    /// A shell line that writes down its pid and becomes `sleep 600` as root.
    fn sleep(&self) -> String {
        let note = self.spool.path().join("store/pid");
        let note = note.display();
        format!(
            "sh -c 'echo $$ > {note}.new; mv {note}.new {note}; {} sleep 600'",
            self.root("exec")
        )
    }

    /// The pid of that process, once it runs as root.
    fn wait_root(&self) -> i64 {
        let pid = || {
            fs::read_to_string(self.spool.path().join("store/pid"))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let is_root = |pid: i64| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            status
                .is_ok_and(|status| status.contains("Uid:\t0\t0\t0\t0") && status.contains("sleep"))
        };
        self.spool
            .wait_for("a process of root", || pid().is_some_and(is_root));
        pid().unwrap()
    }

    /// Waits until the record says that this process cannot be ended; gives the sentence.
    fn wait_stuck(&self, name: &str, pid: i64) {
        let says = |text: &str| {
            text.contains("cannot be ended")
                && text.contains(&format!("process {pid} runs as user 0"))
                && text.contains("65534")
        };
        self.spool
            .wait_for(&format!("{name} to say that it cannot be ended"), || {
                let text = fs::read_to_string(self.spool.path().join(name)).unwrap_or_default();
                says(&text) && text.contains("\"error\"")
            });
        assert!(
            says(&self.spool.daemon_log()),
            "{}",
            self.spool.daemon_log()
        );
    }
}

fn kill(pid: i64) {
    sh(&format!("kill -KILL {pid}"));
}

/// Kills a process when the test ends.
struct Killed(i64);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-KILL", &self.0.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_job_that_cannot_be_ended_says_so_and_does_not_hold_the_daemon() {
    let Some(mut user) = Unprivileged::new() else {
        return;
    };
    user.serve();
    let job = json!({"command": format!("exec {}", user.sleep()), "timeout": "3s", "grace": "200ms", "tries": 2});
    user.spool.drop_json("7", &job);
    chown(user.spool.path().join("pending/7"), Some(USER), Some(USER)).ok();
    let pid = user.wait_root();
    let _killed = Killed(pid);
    user.wait_stuck("active/7", pid);
    // The first TERM is not enough: the job may end by itself.
    user.spool.signal("TERM");
    user.spool.wait_daemon_log("stopping: 1 running job");
    user.spool.signal("TERM");
    assert_eq!(user.spool.wait_exit(), 0);
    assert!(is_alive(pid) && user.spool.has("active/7"));

    // The next daemon adopts it, starts no second try beside it, and reports the same.
    user.serve();
    user.spool.wait_daemon_log("7: still running");
    user.spool.settle();
    user.wait_stuck("active/7", pid);
    assert!(is_alive(pid));
    user.spool.mv("active/7", "failed");
    kill(pid);
    let record = user.spool.wait_record("failed/7");
    assert_eq!(record["attempt"], 1, "{record}");
    assert!(
        text(&record, "error").contains("cannot be ended"),
        "{record}"
    );
}

#[test]
fn a_job_that_is_cancelled_in_vain_says_so_where_its_file_is() {
    let Some(mut user) = Unprivileged::new() else {
        return;
    };
    user.serve();
    let job =
        json!({"command": format!("exec {} >/dev/null 2>&1", user.sleep()), "grace": "200ms"});
    user.spool.drop_json("7", &job);
    let pid = user.wait_root();
    let _killed = Killed(pid);
    user.spool.mv("active/7", "failed");
    user.wait_stuck("failed/7", pid);
    user.spool.settle();
    assert_eq!(
        user.spool.record("failed/7").get("finished_at"),
        None,
        "it still runs"
    );
    kill(pid);
    let record = user.spool.wait_record("failed/7");
    assert_eq!(record["reason"], "cancelled", "{record}");
}

#[test]
fn what_a_try_leaves_and_cannot_be_ended_holds_up_the_next_one() {
    let Some(mut user) = Unprivileged::new() else {
        return;
    };
    user.serve();
    let runs = user.spool.path().join("store/runs");
    // Before that process is root's, it could be ended.
    let line = format!(
        "echo x >> {0}; [ $(wc -l < {0}) = 2 ] && exit 0; {1} >/dev/null 2>&1 &
        until grep -qs '^Uid:.0' /proc/$(cat {2})/status; do sleep 0.01; done 2>/dev/null; exit 75",
        runs.display(),
        user.sleep(),
        user.spool.path().join("store/pid").display()
    );
    let job = json!({"command": line, "tries": 2, "grace": "200ms", "backoff": {"first": "5ms"}});
    user.spool.drop_json("7", &job);
    let pid = user.wait_root();
    let _killed = Killed(pid);
    user.wait_stuck("active/7", pid);
    user.spool.settle();
    assert_eq!(
        fs::read_to_string(&runs).unwrap(),
        "x\n",
        "two tries at once"
    );
    kill(pid);
    let record = user.spool.wait_record("complete/7");
    assert_eq!(record["attempt"], 2, "{record}");
    assert_eq!(record["attempts"][0]["exit_code"], 75, "{record}");
    assert!(
        text(&record["attempts"][0], "error").contains("cannot be ended"),
        "{record}"
    );
    assert_eq!(record.get("error"), None, "{record}");
}

/// The processes of a job are found even where other users' processes are listed in /proc but cannot be examined.
#[test]
fn hidden_processes_of_others_do_not_hold_up_a_sweep() {
    let Some(mut user) = Unprivileged::new() else {
        return;
    };
    let pirn = format!(
        "mount -t proc -o hidepid=1 proc /proc && exec setpriv --reuid={USER} --regid={USER} --clear-groups \"$0\" serve"
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &pirn, env!("CARGO_BIN_EXE_pirn")])
        .env("PIRN_SPOOL", user.spool.path());
    user.spool.serve_with(command);
    let note = user.spool.path().join("store/left");
    let line = format!(
        "rm -f {0}
        (setsid sh -c 'echo $$ > {0}; exec sleep 600' </dev/null >/dev/null 2>&1 &)
        while [ ! -s {0} ]; do sleep 0.01; done; exit 75",
        note.display()
    );
    let job = json!({"command": line, "tries": 2, "grace": "300ms", "backoff": {"first": "5ms"}});
    user.spool.drop_json("7", &job);
    let record = user.spool.wait_record("failed/7");
    assert_eq!(record["attempt"], 2, "{record}");
    let left: i64 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
    assert!(!is_alive(left), "{}", user.spool.daemon_log());
}

#[test]
fn pirn_run_leaves_such_a_job_to_itself() {
    let Some(user) = Unprivileged::new() else {
        return;
    };
    let mut command = user.as_user(env!("CARGO_BIN_EXE_pirn"));
    let command = command.args([
        "run",
        "--clean-env",
        "--grace",
        "200ms",
        &format!("exec {}", user.sleep()),
    ]);
    let mut run = user.spool.spawn_logged(command);
    let pid = user.wait_root();
    let _killed = Killed(pid);
    for _ in 0..2 {
        sh(&format!("kill -TERM {}", run.id()));
        user.wait_stuck("failed/1", pid);
    }
    let pirn = i64::from(run.id());
    user.spool.wait_for("its exit", || !is_alive(pirn));
    assert!(!run.wait().unwrap().success());
    assert!(
        user.spool.daemon_log().contains("left job 1 to itself"),
        "{}",
        user.spool.daemon_log()
    );
    assert!(is_alive(pid));
}

#[test]
fn root_signals_processes_of_the_spools_owner_only() {
    let Some(mut user) = Unprivileged::new() else {
        return;
    };
    user.serve();
    let line = "trap 'exit 7' USR1; echo; while :; do sleep 0.05; done";
    let job = json!({"command": line, "tries": 1});
    user.spool.drop_json("own", &job);
    user.spool.wait_note("own");
    user.spool
        .wait_for("its trap", || user.spool.read("log/own") == "\n");
    assert_eq!(user.spool.pirn(&["kill", "-s", "USR1", "own"]).code, 0);
    assert_eq!(user.spool.wait_record("failed/own")["exit_code"], 7);
    // No daemon corrects what the owner writes.
    user.spool.stop();
    let mut victim = Command::new("sleep")
        .arg("600")
        .process_group(0)
        .spawn()
        .unwrap();
    let pid = victim.id();
    let _killed = Killed(pid.into());
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let stat = read(&format!("/proc/{pid}/stat"));
    let start: u64 = stat.split(' ').nth(21).unwrap().parse().unwrap();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let proc = json!({"boot": boot.trim(), "pid": pid, "start": start});
    let forged = json!({"command": "x", "attempt": 1, "pid": pid, "proc": proc});
    fs::write(user.spool.path().join("active/forged"), forged.to_string()).unwrap();
    let done = user.spool.pirn(&["kill", "-s", "KILL", "forged"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let why = format!("process {pid} runs as user 0, and the spool belongs to {USER}");
    assert!(done.stderr.contains(&why), "{}", done.stderr);
    assert!(victim.try_wait().unwrap().is_none());
}
