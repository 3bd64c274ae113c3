//! A spool for one test, with or without a daemon on it.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time within which everything must happen. It is generous: a slow machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A temporary spool. The daemon, if one was started, is killed with its jobs when this is dropped.
pub struct Spool {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

/// The result of a finished command.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Spool {
    /// A directory that is empty until the first command makes the spool.
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        }
    }

    /// A spool without jobs.
    pub fn made() -> Self {
        let spool = Self::new();
        spool.make();
        spool
    }

    /// Makes the directories that every spool has.
    pub fn make(&self) {
        for dir in [
            "pending", "held", "active", "complete", "failed", "bad", "log", "tmp", "store",
            "scripts",
        ] {
            fs::create_dir_all(self.path().join(dir)).unwrap();
        }
    }

    /// A spool with a daemon that is ready.
    pub fn serving(args: &[&str]) -> Self {
        let mut spool = Self::new();
        spool.serve(args);
        spool
    }

    /// Starts a daemon and waits until it holds the lock. Its log is in `daemon.log` beside the spool.
    pub fn serve(&mut self, args: &[&str]) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let mut command = self.command(["serve"]);
        command.args(args);
        self.serve_with(command);
    }

    /// As [`Self::serve`], with a command that becomes the daemon. It has no front, so that signals and strace(1) reach the
    /// daemon itself.
    pub fn serve_with(&mut self, mut command: Command) {
        command.arg("--no-front");
        self.serve_with_front(command);
        // It has the lock before it reads the settings and watches the spool.
        let pid = self.daemon.as_ref().unwrap().id();
        let is_ready = || waits_for_events(&pid.to_string()) || !is_alive(pid.into());
        let end = Instant::now() + DEADLINE;
        while !is_ready() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As [`Self::serve_with`], with a front.
    pub fn serve_with_front(&mut self, mut command: Command) {
        self.daemon = Some(self.spawn_logged(&mut command));
        wait_for("the daemon to hold the lock", || {
            self.daemon_pid().is_some()
        });
    }

    /// Starts a command in the background, its stderr going to `daemon.log`.
    pub fn spawn_logged(&self, command: &mut Command) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The pid in `lock`, if the daemon that we started has written it.
    pub fn daemon_pid(&self) -> Option<u32> {
        let pid = self.daemon.as_ref()?.id();
        let held = fs::read_to_string(self.path().join("lock")).ok()?;
        (held.lines().next() == Some(&pid.to_string())).then_some(pid)
    }

    /// Sends the daemon a signal by its name. After STOP it does nothing more.
    pub fn signal(&self, signal: &str) {
        let pid = self.daemon.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status()
                .unwrap()
                .success()
        );
        if signal == "STOP" {
            wait_for("all threads of the daemon to stop", || is_stopped(&pid));
        }
    }

    /// Waits for the daemon to exit and gives its code (-1 for a signal).
    pub fn wait_exit(&mut self) -> i32 {
        let mut child = self.daemon.take().unwrap();
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(
                Instant::now() < end,
                "the daemon did not exit; its log:\n{}",
                self.daemon_log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the daemon to end, and waits.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait_exit(), 0);
    }

    /// Kills the daemon as a crash would: its jobs go on.
    pub fn crash(&mut self) {
        self.signal("KILL");
        self.wait_exit();
    }

    /// Where the spool is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// A path outside of the spool, on the same file system.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log_path(&self) -> PathBuf {
        self.beside("daemon.log")
    }

    /// The log of all daemons so far.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A pirn command on this spool.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pirn"));
        command.env("PIRN_SPOOL", self.path()).args(args);
        let colours = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"];
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"];
        for name in colours.iter().chain(&locale) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a pirn command to its end.
    pub fn pirn(&self, args: &[&str]) -> Done {
        self.finish(self.command(args).stdin(Stdio::null()))
    }

    /// Runs a pirn command with this text on its standard input.
    pub fn pirn_with_input(&self, args: &[&str], input: &[u8]) -> Done {
        let path = self.beside("input");
        fs::write(&path, input).unwrap();
        self.finish(self.command(args).stdin(fs::File::open(path).unwrap()))
    }

    /// Runs a command to its end. A command that does not end in time is killed and fails the test.
    pub fn finish(&self, command: &mut Command) -> Done {
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut child = command
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap();
        let end = Instant::now() + DEADLINE;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("did not end: {command:?}");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let text = |file: &mut fs::File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Done {
            code: status.code().unwrap_or(-1),
            stdout: text(&mut out),
            stderr: text(&mut err),
        }
    }

    /// Adds a job and gives its id; fails the test if that fails.
    pub fn add(&self, args: &[&str]) -> String {
        let done = self.pirn(&[&["add"], args].concat());
        assert_eq!(done.code, 0, "pirn add {args:?}: {}", done.stderr);
        done.stdout.trim().to_owned()
    }

    /// Drops a file as documented: written elsewhere on the same file system, then renamed in. `name` may be
    /// `QUEUE/ID`.
    pub fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let staged = self.beside(&format!("staged-{}", name.replace('/', "-")));
        fs::write(&staged, content).unwrap();
        fs::rename(staged, self.path().join("pending").join(name)).unwrap();
    }

    /// Moves a job's file by hand, as in `mv failed/7 pending/`.
    pub fn mv(&self, from: &str, to: &str) {
        let name = Path::new(from).file_name().unwrap();
        let to = self.path().join(to);
        let to = if to.is_dir() { to.join(name) } else { to };
        fs::rename(self.path().join(from), to).unwrap();
    }

    /// Removes a job's file by hand.
    pub fn rm(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }

    /// True when the spool has this file.
    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).symlink_metadata().is_ok()
    }

    /// The text of a file in the spool.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(
            &fs::read(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}")),
        )
        .into_owned()
    }

    /// The JSON record in a file of the spool.
    pub fn record(&self, name: &str) -> Value {
        let text = self.read(name);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}: {text}"))
    }

    /// Waits until this file exists.
    pub fn wait_file(&self, name: &str) {
        self.wait_for(name, || self.has(name));
    }

    /// Waits until this file is gone.
    pub fn wait_gone(&self, name: &str) {
        self.wait_for(&format!("{name} to be gone"), || !self.has(name));
    }

    /// Waits until this record is there and over, and gives it: `complete/7`, `failed/backup`.
    pub fn wait_record(&self, name: &str) -> Value {
        // A plain text that was moved by hand is not a record yet.
        let over = || {
            let text = fs::read(self.path().join(name)).unwrap_or_default();
            serde_json::from_slice::<Value>(&text)
                .ok()
                .filter(|record| record.get("finished_at").is_some())
        };
        self.wait_for(&format!("the record {name}"), || over().is_some());
        over().unwrap_or_else(|| self.record(name))
    }

    /// Waits until a running job has its note, and gives it.
    pub fn wait_note(&self, id: &str) -> Value {
        let name = format!("active/{id}");
        let noted = || {
            let text = fs::read_to_string(self.path().join(&name)).unwrap_or_default();
            serde_json::from_str::<Value>(&text)
                .ok()
                .filter(|record| record.get("pid").is_some())
        };
        self.wait_for(&format!("the note of {id}"), || noted().is_some());
        noted().unwrap_or_else(|| self.record(&name))
    }

    /// The names in a directory of the spool as ls(1) shows them: sorted, hidden ones left out.
    pub fn ls(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// Waits for a condition; on failure shows its name, the spool and the daemon's log.
    pub fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        self.wait_progress(what, || ((), condition()));
    }

    /// As [`Self::wait_for`], for much work: each step of it, which changes the first value, must come in time.
    pub fn wait_progress<P: PartialEq>(&self, what: &str, look: impl Fn() -> (P, bool)) {
        let (mut before, mut is_over) = look();
        let mut end = Instant::now() + DEADLINE;
        while !is_over {
            if Instant::now() > end {
                let tree = Command::new("find")
                    .arg(self.path())
                    .output()
                    .map(|o| o.stdout)
                    .unwrap_or_default();
                let log = self.daemon_log();
                let last: Vec<&str> = log.lines().rev().take(400).collect();
                panic!(
                    "waited in vain for {what}\n{}\n{}",
                    String::from_utf8_lossy(&tree),
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(2));
            let progress;
            (progress, is_over) = look();
            if progress != before {
                (before, end) = (progress, Instant::now() + DEADLINE);
            }
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            // The second TERM ends the jobs too; the grace of a stubborn job is not waited for.
            for _ in 0..2 {
                let _ = Command::new("kill")
                    .args(["-TERM", &child.id().to_string()])
                    .status();
                std::thread::sleep(Duration::from_millis(20));
            }
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end && child.try_wait().is_ok_and(|status| status.is_none()) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        // Kills the processes that a failed test has left.
        for pid in self.all_processes() {
            let _ = Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        }
    }
}

/// Writes a program. A child process does it, so that no process that another test starts has it open for writing when
/// it is executed.
pub fn write_program(path: &Path, text: impl AsRef<[u8]>) {
    let mut child = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_ref()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// Waits for a condition that has nothing to do with a spool.
pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The system calls by which a daemon waits for events.
const POLLS: &[i64] = &[
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// True if the first thread of a daemon waits for events, or if the system does not tell.
pub fn waits_for_events(pid: &str) -> bool {
    // One look: with two, it could go on in between.
    let Ok(call) = fs::read_to_string(format!("/proc/{pid}/syscall")) else {
        return true;
    };
    let call = call.split(' ').next().and_then(|n| n.parse().ok());
    call.is_some_and(|n: i64| POLLS.contains(&n))
}

/// True if every thread of a process is stopped: they do so one by one, after kill(2) has returned.
pub fn is_stopped(pid: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

/// True for a process that exists and is not a zombie.
pub fn is_alive(pid: i64) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
