//! Makes system calls of a running process fail, with strace(1).

use crate::spool::Spool;
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};

/// True if this program is there, after an attempt to install it; otherwise says so.
pub fn has_tool(program: &str, package: &str) -> bool {
    let is_there = || {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .unwrap();
        found.status.success()
    };
    if is_there() {
        return true;
    }
    let _ = Command::new("timeout")
        .args(["120", "apt-get", "install", "-y", package])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = is_there();
    if !there {
        eprintln!("skipped: there is no {program}");
    }
    there
}

/// Makes a running process's system calls fail until this is dropped.
pub struct Injection {
    strace: Child,
    pid: u32,
    is_all: bool,
}

impl Injection {
    /// `what` is as in `strace -e inject=`; `path` narrows it to one file.
    pub fn new(spool: &Spool, pid: u32, what: &str, path: Option<&str>) -> Self {
        let mut command = Command::new("strace");
        command.arg("-f");
        Self::start(spool, command, pid, what, path)
    }

    /// Injects into one thread of a process only.
    #[allow(dead_code)]
    pub fn in_thread(spool: &Spool, tid: u32, what: &str) -> Self {
        Self::start(spool, Command::new("strace"), tid, what, None)
    }

    fn start(
        spool: &Spool,
        mut command: Command,
        pid: u32,
        what: &str,
        path: Option<&str>,
    ) -> Self {
        command.args(["-p", &pid.to_string(), "-o"]);
        command.arg(spool.beside("strace.out"));
        let calls = what.split(':').next().unwrap();
        command.args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={what}")]);
        if let Some(path) = path {
            command.arg("-P").arg(spool.path().join(path));
        }
        let strace = command.stderr(Stdio::null()).spawn().unwrap();
        let is_all = command.get_args().next() == Some("-f".as_ref());
        let this = Self {
            strace,
            pid,
            is_all,
        };
        spool.wait_for("strace to attach", || this.is_attached());
        this
    }

    fn is_attached(&self) -> bool {
        if !self.is_all {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
            return !status.unwrap_or_default().contains("TracerPid:\t0\n");
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return false;
        };
        tasks.flatten().all(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        })
    }

    /// Ends the faults.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let strace = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-INT", &strace]).status();
        let _ = self.strace.wait();
    }
}

/// A pirn command that is stopped between two of its steps.
pub struct Stopped(Child);

impl Stopped {
    /// Starts a command and waits until it has made its first call of this kind, on this file if one is named.
    pub fn after(spool: &Spool, args: &[&str], call: &str, path: Option<&str>) -> Self {
        let trace = spool.beside("trace");
        let pirn = spool.command(args);
        let mut strace = Command::new("strace");
        strace.args(["-e", call, "-e"]);
        strace.arg(format!("inject={call}:signal=STOP:when=1"));
        strace.args(path.iter().flat_map(|path| ["-P", path]));
        strace.arg("-o").arg(&trace);
        strace.arg(pirn.get_program()).args(pirn.get_args());
        strace.env("PIRN_SPOOL", spool.path());
        let strace = spool.spawn_logged(&mut strace);
        spool.wait_for("the command to be stopped", || {
            fs::read_to_string(&trace).is_ok_and(|text| text.contains("stopped by SIGSTOP"))
        });
        Self(strace)
    }

    /// Lets it go on to its end.
    pub fn go_on(mut self) -> ExitStatus {
        let tracer = self.0.id();
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        for child in children.unwrap().split_whitespace() {
            let sent = Command::new("kill").args(["-CONT", child]).status();
            assert!(sent.unwrap().success());
        }
        self.0.wait().unwrap()
    }
}
