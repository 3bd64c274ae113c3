//! More tools for the tests: JSON drops, gates that hold jobs, a view of processes.

use crate::spool::{DEADLINE, Spool, is_alive, wait_for, waits_for_events};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The ids that `pirn ls` lists with these words.
pub fn listed(spool: &Spool, args: &[&str]) -> Vec<String> {
    let done = spool.pirn(&[&["ls", "--ids"], args].concat());
    assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    done.stdout.lines().map(str::to_owned).collect()
}

/// Runs a command that must succeed and print nothing.
pub fn ok(spool: &Spool, args: &[&str]) {
    let done = spool.pirn(args);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "", ""),
        "{args:?}"
    );
}

/// The text with `Ny` for the number of years since a date of 2020, which does not stay the same.
pub fn without_years(text: &str) -> String {
    let years = (1..1000).rev().map(|n| format!("{n}y"));
    years.fold(text.to_owned(), |text, years| text.replace(&years, "Ny"))
}

/// Holds jobs until the test opens it. A job waits with `read x < PATH`, without using the processor.
pub struct Gate {
    path: PathBuf,
    lock: PathBuf,
    /// Open for reading and writing, so that a job's open(2) does not block and written lines are kept.
    pipe: File,
}

impl Gate {
    /// A named pipe beside the spool.
    pub fn new(spool: &Spool, name: &str) -> Self {
        let path = spool.beside(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success() && fs::metadata(&path).unwrap().file_type().is_fifo());
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        let lock = spool.path().join("lock");
        Self { path, lock, pipe }
    }

    /// The shell line with which a job waits here.
    pub fn wait(&self) -> String {
        format!("read x < '{}'", self.path.display())
    }

    /// Lets this many jobs through, once the daemon has noticed all earlier changes: otherwise it could notice the end
    /// of a job and an earlier drop in any order.
    pub fn open(&mut self, jobs: usize) {
        let end = Instant::now() + DEADLINE;
        while !self.is_noticed() && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.pipe.write_all(&vec![b'\n'; jobs]).unwrap();
    }
}

impl Gate {
    /// True if there is no daemon, or if it waits for events. A rename has woken the daemon before the call returns.
    fn is_noticed(&self) -> bool {
        let Ok(lock) = fs::read_to_string(&self.lock) else {
            return true;
        };
        waits_for_events(lock.lines().next().unwrap_or_default())
    }
}

impl Spool {
    /// Drops a JSON record.
    pub fn drop_json(&self, name: &str, record: &Value) {
        self.drop_file(name, record.to_string());
    }

    /// Drops a JSON record and waits for its end.
    pub fn run_json(&self, name: &str, record: &Value) -> (String, Value) {
        self.drop_json(name, record);
        self.wait_end(name.rsplit('/').next().unwrap())
    }

    /// Runs a job that has to say `ready` before its timeout. If the machine is too slow for that, runs another one
    /// with a longer timeout. Gives also the timeout, in seconds.
    pub fn run_ready(&self, name: &str, job: impl Fn(f64) -> Value) -> (String, Value, f64) {
        for timeout in [0.2, 2.0, 20.0] {
            let id = format!("{name}-{timeout}");
            let (state, record) = self.run_json(&id, &job(timeout));
            if self.read(&format!("log/{id}")).contains("ready\n") {
                return (state, record, timeout);
            }
        }
        panic!("{name} was never ready:\n{}", self.daemon_log());
    }

    /// Waits until a job has ended; gives `complete` or `failed`, and its record.
    pub fn wait_end(&self, id: &str) -> (String, Value) {
        let ended = || {
            ["complete", "failed"].into_iter().find_map(|state| {
                let text = fs::read(self.path().join(state).join(id)).ok()?;
                let record: Value = serde_json::from_slice(&text).ok()?;
                record.get("finished_at")?;
                Some((state.to_owned(), record))
            })
        };
        self.wait_for(&format!("the end of {id}"), || ended().is_some());
        ended().unwrap()
    }

    /// Waits until a name has gone to `bad/`; gives its reason.
    pub fn wait_bad(&self, name: &str) -> String {
        self.wait_file(&format!("bad/{name}"));
        let reason = self.read(&format!("bad/{name}.reason"));
        assert!(
            reason.trim().len() > 5 && reason.ends_with('\n'),
            "{name}: {reason:?}"
        );
        reason
    }

    /// Waits until a job's log has this text in it.
    pub fn wait_log(&self, id: &str, text: &str) {
        self.wait_for(&format!("{text:?} in log/{id}"), || {
            fs::read_to_string(self.path().join("log").join(id)).is_ok_and(|log| log.contains(text))
        });
    }

    /// The line on standard error for a spool without a daemon.
    pub fn unserved(&self) -> String {
        let path = self.path().display().to_string();
        format!("pirn: no daemon serves {path} yet; pirn serve {path} starts what waits there\n")
    }

    /// Makes a queue's directory.
    pub fn make_queue(&self, queue: &str) {
        fs::create_dir(self.path().join("pending").join(queue)).unwrap();
    }

    /// Puts a config into place as an editor does: written to another file and renamed.
    pub fn config(&self, text: &str) {
        let staged = self.beside("staged-config");
        fs::create_dir_all(self.path()).unwrap();
        fs::write(&staged, text).unwrap();
        fs::rename(staged, self.path().join("config.json")).unwrap();
    }

    /// Waits until the daemon's log has this text.
    pub fn wait_daemon_log(&self, text: &str) {
        self.wait_for(&format!("{text:?} in the daemon's log"), || {
            self.daemon_log().contains(text)
        });
    }

    /// The live processes that were started for a job, in any session.
    pub fn processes(&self, id: &str) -> Vec<i64> {
        let id = format!("PIRN_ID={id}");
        self.processes_with(|entry| entry == id.as_bytes())
    }

    /// The live processes of all jobs.
    pub fn all_processes(&self) -> Vec<i64> {
        self.processes_with(|entry| entry.starts_with(b"PIRN_ID="))
    }

    fn processes_with(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<i64> {
        let spool = format!("PIRN_SPOOL={}", self.path().display());
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i64>().ok())
            .filter(|pid| {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                let mut entries = environ.split(|byte| *byte == 0);
                entries.clone().any(|entry| entry == spool.as_bytes()) && entries.any(&is_wanted)
            })
            .filter(|pid| is_alive(*pid))
            .collect()
    }

    /// Waits until no process of a job is left.
    pub fn wait_no_process(&self, id: &str) {
        wait_for(&format!("no process of {id}"), || {
            self.processes(id).is_empty()
        });
    }

    /// The names in `tmp/`, without the space that the daemon keeps in reserve for records.
    pub fn scratch(&self) -> Vec<String> {
        let mut names = self.ls("tmp");
        names.retain(|name| !name.starts_with(".reserve."));
        names
    }

    /// Runs jobs after whose end the daemon has seen all earlier changes in `pending/`.
    pub fn settle(&self) {
        for n in 0..2 {
            let id = format!("settle-{n}-{}", self.ls("complete").len());
            self.drop_file(&id, "true");
            self.wait_record(&format!("complete/{id}"));
            self.rm(&format!("complete/{id}"));
        }
    }
}

/// Runs a shell line; fails the test if it fails.
pub fn sh(line: &str) {
    let status = Command::new("bash").args(["-c", line]).status().unwrap();
    assert!(status.success(), "{line}: {status}");
}

/// A field that must be a text.
pub fn text<'v>(record: &'v Value, key: &str) -> &'v str {
    record[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is no text in {record}"))
}

/// Gives a command the environment that another one would have.
pub fn with_environment_of<'c>(command: &'c mut Command, like: &Command) -> &'c mut Command {
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
