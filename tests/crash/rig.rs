//! A spool under test, with its daemon, its jobs' account and its log.

use crate::host::{DEADLINE, comes, wait_for};
use crate::ledger::Ledger;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The directories of the states.
pub const STATES: [&str; 4] = ["pending", "active", "complete", "failed"];

/// The spool may be on a file system that is cut off; the other files are on one that stays.
pub struct Rig {
    pub spool: PathBuf,
    pub ledger: Ledger,
    /// The steps that the daemon and the commands leave out.
    pub faults: String,
    log: PathBuf,
    daemon: Option<Child>,
    /// Dropped last.
    home: Option<tempfile::TempDir>,
}

/// The result of a command.
pub struct Done {
    pub ok: bool,
    pub text: String,
}

/// strace of a command and its children as long as they are pirn; further options say what it injects.
pub const STRACE: [&str; 7] = ["strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null"];

impl Rig {
    /// A rig with its account in `home`.
    pub fn new(home: &Path, spool: &Path, faults: &str) -> Self {
        Self {
            spool: spool.to_owned(),
            ledger: Ledger::new(&home.join("ledger")),
            faults: faults.to_owned(),
            log: home.join("daemon.log"),
            daemon: None,
            home: None,
        }
    }

    /// A rig with a spool and an account in a directory of its own.
    pub fn alone(faults: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut rig = Self::new(home.path(), &home.path().join("spool"), faults);
        rig.make();
        rig.home = Some(home);
        rig
    }

    /// Makes the spool. The images are too small for the usual reserve.
    pub fn make(&self) {
        fs::create_dir_all(&self.spool).unwrap();
        let config = r#"{"min_free": 0, "slots": 4, "http": {"anonymous": ["run"]}}"#;
        let path = self.spool.join("config.json");
        fs::write(&path, config).unwrap();
        // The daemon does not sync settings: the user who writes them must.
        let file = path.to_string_lossy();
        crate::host::tool("sync", &[&file, &self.spool.to_string_lossy()]);
    }

    /// The binary on this spool.
    pub fn command(&self, args: &[&str]) -> Command {
        self.through(&[], args)
    }

    /// The binary, started by another program.
    pub fn through(&self, wrapper: &[&str], args: &[&str]) -> Command {
        let pirn = env!("CARGO_BIN_EXE_pirn");
        let words: Vec<&str> = wrapper.iter().copied().chain([pirn]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(args)
            .env("PIRN_SPOOL", &self.spool)
            .env("PIRN_FAULTS", &self.faults)
            .env("PIRN_LOG", "debug")
            .env_remove("PIRN_CUTS")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn pirn(&self, args: &[&str]) -> Done {
        run(&mut self.command(args))
    }

    /// Adds a job that runs the account's program: options of `add`, then the words of the program. The id, if it was
    /// accepted.
    pub fn try_add(&self, options: &[&str], words: &[&str]) -> Option<String> {
        let job = self.ledger.job();
        let head = ["add", "--clean-env", "--backoff", "first=20ms,max=50ms"];
        let args = [&head, options, &[job.as_str()], words].concat();
        let done = self.pirn(&args);
        done.ok.then_some(done.text)
    }

    /// Adds a job that must be accepted.
    pub fn add(&self, options: &[&str], words: &[&str]) -> String {
        self.try_add(options, words).expect("pirn add failed")
    }

    /// Starts a daemon by this command. It has no front: after each crash the rig decides what comes next.
    pub fn serve_by(&mut self, mut command: Command) {
        command.arg("--no-front");
        self.serve_by_front(command);
    }

    /// As [`Self::serve_by`], with a front.
    pub fn serve_by_front(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let mut options = fs::File::options();
        let log = options.create(true).append(true).open(&self.log).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Starts a daemon and waits until it has taken the lock.
    pub fn serve(&mut self) {
        self.serve_by(self.command(&["serve"]));
        let pid = self.daemon.as_ref().unwrap().id().to_string();
        wait_for("the daemon to have the spool", || {
            fs::read_to_string(self.spool.join("lock"))
                .is_ok_and(|text| text.lines().next() == Some(&pid))
        });
    }

    /// Starts a daemon and waits until it has adopted this running job.
    pub fn serve_adopting(&mut self, id: &str) {
        let before = self.log().len();
        self.serve();
        let word = format!("{id}: still running");
        wait_for("the adoption", || self.log()[before..].contains(&word));
    }

    /// True while the daemon (or the program that started it) lives.
    pub fn is_serving(&mut self) -> bool {
        let ended = |child: &mut Child| child.try_wait().unwrap().is_some();
        self.daemon.as_mut().is_some_and(|child| !ended(child))
    }

    /// Kills the daemon as a crash would: its jobs go on.
    pub fn kill_daemon(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills a daemon that runs under another program, which ends with it.
    pub fn kill_traced(&mut self) {
        let lock = fs::read_to_string(self.spool.join("lock")).unwrap_or_default();
        if self.is_serving() {
            let pid = lock.lines().next().unwrap_or_default();
            crate::host::try_tool("kill", &["-KILL", pid]);
        }
        self.wait_exit();
    }

    /// Waits until the daemon (or the program that started it) has ended by itself; false if that takes too long.
    pub fn wait_exit(&mut self) -> bool {
        let end = Instant::now() + DEADLINE;
        while self.is_serving() {
            if Instant::now() > end {
                self.kill_daemon();
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// A new daemon does all the work there is. Errors: it did not.
    pub fn recover(&mut self) -> Result<(), String> {
        self.kill_daemon();
        self.serve_by(self.command(&["serve", "--drain"]));
        if !self.wait_exit() {
            return Err("the next daemon does not come to an end".to_owned());
        }
        let code = self.daemon.take().unwrap().wait().unwrap().code();
        match code {
            Some(0) => Ok(()),
            code => Err(format!("the next daemon ended with {code:?}")),
        }
    }

    /// The log of the daemons.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The names in a directory of the spool.
    pub fn names(&self, dir: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.spool.join(dir)).into_iter().flatten();
        let name = |e: fs::DirEntry| e.file_name().to_string_lossy().into_owned();
        entries.flatten().map(name).collect()
    }

    /// The files in a directory of the spool and in its queues: each with its path from the spool.
    pub fn files(&self, dir: &str) -> Vec<String> {
        let mut files = Vec::new();
        for name in self.names(dir) {
            let path = format!("{dir}/{name}");
            if self.spool.join(&path).is_dir() {
                files.extend(self.files(&path));
            } else {
                files.push(path);
            }
        }
        files
    }

    /// A record, if it can be read.
    pub fn record(&self, dir: &str, id: &str) -> Option<Value> {
        let text = fs::read(self.spool.join(dir).join(id)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Waits for the end of a job; gives where it is and its record.
    pub fn end_of(&self, id: &str) -> Option<(&'static str, Value)> {
        let look = || {
            ["complete", "failed"].into_iter().find_map(|dir| {
                let record = self.record(dir, id)?;
                record.get("finished_at")?;
                Some((dir, record))
            })
        };
        comes(|| look().is_some()).then(look).flatten()
    }

    /// The note of a running job, once it is there.
    pub fn wait_note(&self, id: &str) -> Value {
        let note = || self.record("active", id).filter(|r| r.get("pid").is_some());
        wait_for("the note", || note().is_some());
        note().unwrap()
    }

    /// The live processes of this spool's jobs.
    pub fn processes(&self) -> Vec<i64> {
        let mark = format!("PIRN_SPOOL={}", self.spool.display());
        let ours = |pid: &i64| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut entries = environ.split(|byte| *byte == 0);
            entries.any(|entry| entry == mark.as_bytes())
        };
        let daemon = self.daemon.as_ref().map(|child| i64::from(child.id()));
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| Some(*pid) != daemon)
            .filter(ours)
            .filter(|pid| is_alive(*pid))
            .collect()
    }

    /// Kills the daemon and all of its jobs, and waits until they are gone.
    pub fn kill_all(&mut self) {
        self.kill_daemon();
        wait_for("the jobs to die", || {
            let left = self.processes();
            for pid in &left {
                crate::host::try_tool("kill", &["-KILL", &pid.to_string()]);
            }
            left.is_empty()
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemons' log:\n{}", self.log());
        }
        self.kill_daemon();
        for pid in self.processes() {
            crate::host::try_tool("kill", &["-KILL", &pid.to_string()]);
        }
    }
}

/// True for a process that exists and is not a zombie.
pub fn is_alive(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Runs a command that must end in time.
pub fn run(command: &mut Command) -> Done {
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            let _ = child.kill();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    Done {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    }
}
