//! The servers and machines of the crash table, for both engines.

use crate::bridge::{FAILED, Pull, QUEUE, Remote, leases};
use crate::bridge_sqs::with_keys;
use crate::faults::FaultySqs;
use crate::spool::Spool;
use std::fs;
use std::process::Command;

/// The options of each daemon.
pub const SLOTS: [&str; 2] = ["--slots", "1"];

/// A queue at one of the engines, with one message.
pub enum Server {
    Sqs(FaultySqs),
    Redis(Remote),
}

impl Server {
    pub fn start(engine: &str, lease: u32, max: u32) -> Option<Self> {
        if engine == "redis" {
            return Remote::start(lease * 1000, max).map(Self::Redis);
        }
        let sqs = FaultySqs::start();
        sqs.asker().make_pair("q", max);
        Some(Self::Sqs(sqs))
    }

    pub fn send(&self, command: &str) -> String {
        match self {
            Self::Sqs(sqs) => sqs.asker().send("q", command),
            Self::Redis(remote) => remote.push(command),
        }
    }

    /// How many messages are on the queue, leased or not, and on the failed queue.
    pub fn counts(&self) -> (usize, usize) {
        match self {
            Self::Sqs(sqs) => (sqs.bodies("q").len(), sqs.bodies("q_failed").len()),
            Self::Redis(remote) => (remote.length(QUEUE), remote.length(FAILED)),
        }
    }

    /// The settings of a bridge called `work`.
    pub fn configure(&self, spool: &Spool, lease: u32) {
        let (url, endpoint) = match self {
            Self::Sqs(sqs) => ("sqs:q".to_owned(), Some(sqs.url())),
            Self::Redis(remote) => (remote.url(), None),
        };
        let job = serde_json::json!({"backoff": {"first": "100ms", "max": "100ms"}});
        let mut entry =
            serde_json::json!({"url": url, "wait": "1s", "lease": format!("{lease}s"), "job": job});
        if let Some(endpoint) = endpoint {
            entry["endpoint"] = endpoint.into();
        }
        let text = serde_json::json!({"remote": {"work": entry}}).to_string();
        fs::write(spool.path().join("config.json"), text).unwrap();
    }
}

/// A spool with a daemon that runs one job at a time, and a bridge to the server.
pub struct Machine {
    pub spool: Spool,
    pub pull: Option<Pull>,
}

impl Machine {
    pub fn new(server: &Server, lease: u32) -> Self {
        let spool = Spool::serving(&SLOTS);
        server.configure(&spool, lease);
        fs::create_dir_all(spool.path().join("remote/work")).unwrap();
        Self { spool, pull: None }
    }

    pub fn start(&mut self) {
        let mut command = self.spool.command(["pull", "work"]);
        let child = self.spool.spawn_logged(with_keys(&mut command));
        self.pull = Some(Pull(child));
    }

    /// Runs a bridge until its `n`-th call of this kind in a directory of the spool, which is not carried out.
    pub fn until(&self, call: &str, dir: &str, n: usize) {
        let bridge = self.spool.command(["pull", "work"]);
        let mut command = Command::new("strace");
        command
            .args(["-D", "-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(self.spool.path().join(dir))
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
            .arg(bridge.get_program())
            .args(bridge.get_args())
            .env("PIRN_SPOOL", self.spool.path());
        let child = self.spool.spawn_logged(with_keys(&mut command));
        assert_eq!(Pull(child).exit_code(), -1, "{}", self.spool.daemon_log());
    }

    /// Kills the bridge, the daemon and all jobs.
    pub fn crash(&mut self) {
        self.pull = None;
        self.spool.crash();
        for pid in self.spool.all_processes() {
            let pid = pid.to_string();
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }

    /// Starts the bridge, which receives the job and runs it.
    pub fn run(&mut self, id: &str) {
        self.start();
        let is_noted = || {
            let text = fs::read_to_string(self.spool.path().join("active").join(id));
            text.is_ok_and(|text| text.contains("\"pid\""))
        };
        self.spool.wait_for("the job to run", is_noted);
    }

    /// Lets the job end.
    pub fn go(&self) {
        fs::write(self.spool.beside("go"), "").unwrap();
    }

    pub fn wait(&self, place: &str, id: &str) {
        self.spool.wait_file(&format!("{place}/{id}"));
    }

    pub fn wait_no_lease(&self) {
        let none = || leases(&self.spool).is_empty();
        self.spool.wait_for("the leases to go", none);
    }
}
