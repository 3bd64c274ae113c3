//! `pirn pull` between Redis and a spool: what is run where, how often, and what the server is told, also when the bridge,
//! the daemon or the machine dies.

use crate::redis_server::RedisServer;
use crate::spool::{Spool, wait_for};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const QUEUE: &str = "pirn:{q}";
pub const FAILED: &str = "pirn:{q}:failed";

/// A server with a queue whose leases and number of receives are set.
pub struct Remote(RedisServer);

impl Remote {
    pub fn start(lease_ms: u32, max: u32) -> Option<Self> {
        let server = RedisServer::start()?;
        let remote = Self(server);
        let (lease, max) = (lease_ms.to_string(), max.to_string());
        remote.ask(&["HSET", "pirn:{q}:settings", "lease", &lease, "max", &max]);
        Some(remote)
    }

    pub fn url(&self) -> String {
        format!("{}#q", self.0.url())
    }

    /// One command; gives the lines of the answer.
    fn ask(&self, words: &[&str]) -> String {
        let done = Command::new("redis-cli")
            .args(["-p", &self.0.port.to_string()])
            .args(words)
            .output()
            .unwrap();
        assert!(done.status.success(), "{words:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    pub fn push(&self, command: &str) -> String {
        format!("q.{}", self.ask(&["XADD", QUEUE, "*", "job", command]))
    }

    pub fn length(&self, stream: &str) -> usize {
        self.ask(&["XLEN", stream]).parse().unwrap()
    }

    /// How many messages are leased to somebody.
    fn leased(&self) -> usize {
        let pending = self.ask(&["XPENDING", QUEUE, "pirn"]);
        match pending.contains("NOGROUP") {
            true => 0,
            false => pending.lines().next().unwrap().parse().unwrap(),
        }
    }
}

/// A process that is killed when the test ends.
pub struct Pull(pub Child);

impl Pull {
    fn start(spool: &Spool, args: &[&str]) -> Self {
        let mut command = spool.command(["pull"]);
        command.args(args).env("PIRN_LOG", "debug");
        Self(spool.spawn_logged(&mut command))
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Kills it as a crash would.
    fn crash(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn exit_code(&mut self) -> i32 {
        let end = Instant::now() + crate::spool::DEADLINE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "pull does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.crash();
    }
}

pub fn runs(spool: &Spool) -> usize {
    let text = fs::read_to_string(spool.beside("runs")).unwrap_or_default();
    text.lines().count()
}

/// A command that notes that it was run, and then does this.
fn noted(spool: &Spool, then: &str) -> String {
    format!("echo run >> {}; {then}", spool.beside("runs").display())
}

pub fn has(spool: &Spool, place: &str, id: &str) -> bool {
    spool.path().join(place).join(id).exists()
}

/// The files of open leases.
pub fn leases(spool: &Spool) -> Vec<String> {
    let mut names = Vec::new();
    for bridge in fs::read_dir(spool.path().join("remote"))
        .into_iter()
        .flatten()
    {
        for entry in fs::read_dir(bridge.unwrap().path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !["lock", "boot", "counts"].contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

/// Makes this the settings, with `work` as the only bridge.
fn set_bridge(spool: &Spool, entry: &serde_json::Value) {
    let text = serde_json::json!({"remote": {"work": entry}}).to_string();
    fs::write(spool.beside("new"), text).unwrap();
    fs::rename(spool.beside("new"), spool.path().join("config.json")).unwrap();
}

/// A file, and a command that waits until it is there.
fn gate(spool: &Spool) -> (PathBuf, String) {
    let go = spool.beside("go");
    let wait = format!("while ! [ -e {} ]; do sleep 0.02; done", go.display());
    (go, wait)
}

#[test]
fn jobs_are_run_and_acknowledged_or_given_back() {
    let Some(remote) = Remote::start(60_000, 1) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "4"]);
    let good = remote.push("echo out");
    let bad = remote.push("exit 3");
    let record =
        remote.push(r#"{"command": ["printf", "%s", "a b"], "queue": "elsewhere", "tags": ["t"]}"#);
    let wrong = remote.push(r#"{"command": 7}"#);
    let done = spool.pirn(&["pull", "--drain", "--slots", "2", &remote.url()]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains(&format!("{wrong}: refused: ")),
        "{}",
        done.stderr
    );
    assert!(has(&spool, "complete", &good) && has(&spool, "failed", &bad));
    let record = spool.record(&format!("complete/{record}"));
    assert_eq!(record["output"], "a b");
    assert_eq!(
        (&record["queue"], &record["tags"][0]),
        (&serde_json::Value::Null, &"t".into())
    );
    assert_eq!(record["max_interruptions"], 0);
    assert_eq!(record["x"]["lease"]["engine"], "redis");
    assert_eq!(record["x"]["lease"]["queue"], "q");
    assert!(!has(&spool, "bad", &wrong) && !has(&spool, "pending", &wrong));
    assert_eq!((remote.length(QUEUE), remote.length(FAILED)), (0, 2));
    assert_eq!(leases(&spool), Vec::<String>::new());
    let status: serde_json::Value =
        serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["remote"][0]["refused"], 1);
    assert_eq!(status["remote"][0]["running"], false);
}

#[test]
fn a_bridge_that_comes_back_runs_nothing_twice() {
    let Some(remote) = Remote::start(20_000, 1) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "2"]);
    let go = spool.beside("go");
    let wait = format!("while ! [ -e {} ]; do sleep 0.02; done", go.display());
    let good = remote.push(&noted(&spool, &wait));
    let bad = remote.push(&noted(&spool, &format!("{wait}; exit 1")));
    let mut pull = Pull::start(&spool, &["--slots", "2", &remote.url()]);
    wait_for("both to run", || runs(&spool) == 2);
    pull.crash();
    let rows = spool.pirn(&["pull", "--status"]).stdout;
    assert!(rows.lines().all(|row| row.ends_with("active")), "{rows}");
    assert_eq!(rows.lines().count(), 2);
    fs::write(&go, "").unwrap();
    wait_for("both to end", || {
        has(&spool, "complete", &good) && has(&spool, "failed", &bad)
    });
    assert_eq!(remote.leased(), 2);
    let pull = Pull::start(&spool, &["--slots", "2", &remote.url()]);
    wait_for("the server to be told", || {
        remote.leased() == 0 && remote.length(FAILED) == 1
    });
    wait_for("the leases to go", || leases(&spool).is_empty());
    assert_eq!((runs(&spool), remote.length(QUEUE)), (2, 0));
    drop(pull);
}

#[test]
fn the_jobs_of_a_machine_that_died_move_to_another() {
    let Some(remote) = Remote::start(2_000, 3) else {
        return;
    };
    let mut dead = Spool::serving(&[]);
    let alive = Spool::serving(&[]);
    let flag = alive.beside("second");
    let command = format!(
        "if [ -e {0} ]; then true; else touch {0}; exec sleep 5; fi",
        flag.display()
    );
    let id = remote.push(&command);
    let mut pull = Pull::start(&dead, &[&remote.url()]);
    wait_for("it to run", || flag.exists() && has(&dead, "active", &id));
    pull.crash();
    dead.crash();
    let other = Pull::start(&alive, &[&remote.url()]);
    wait_for("the other machine to run it", || {
        has(&alive, "complete", &id)
    });
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    assert_eq!(
        alive.record(&format!("complete/{id}"))["x"]["lease"]["count"],
        2
    );
    drop(other);
    let _ = Command::new("pkill")
        .args(["-f", &flag.display().to_string()])
        .status();
}

#[test]
fn a_job_that_waits_or_runs_keeps_its_lease() {
    let Some(remote) = Remote::start(1_500, 2) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "1"]);
    let other = Spool::serving(&[]);
    let first = remote.push(&noted(&spool, "sleep 4"));
    let second = remote.push(&noted(&spool, "true"));
    let pull = Pull::start(&spool, &["--slots", "1", "--prefetch", "1", &remote.url()]);
    wait_for("both to be there", || {
        has(&spool, "active", &first) && has(&spool, "pending", &second)
    });
    let thief = Pull::start(&other, &[&remote.url()]);
    wait_for("both to be acknowledged", || remote.length(QUEUE) == 0);
    assert_eq!(runs(&spool), 2);
    assert!(has(&spool, "complete", &first) && has(&spool, "complete", &second));
    assert!(!has(&other, "complete", &first) && !has(&other, "complete", &second));
    drop((pull, thief));
}

#[test]
fn moves_by_hand_decide_about_messages() {
    let Some(remote) = Remote::start(60_000, 1) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "3"]);
    let pull = Pull::start(&spool, &["--slots", "3", &remote.url()]);
    let ids: Vec<String> = (0..3).map(|_| remote.push("exec sleep 60")).collect();
    let active = |id: &String| has(&spool, "active", id);
    wait_for("all to run", || ids.iter().all(active));
    let at = |place: &str, id: &str| spool.path().join(place).join(id);
    fs::remove_file(at("active", &ids[0])).unwrap();
    fs::rename(at("active", &ids[1]), at("failed", &ids[1])).unwrap();
    fs::rename(at("active", &ids[2]), at("complete", &ids[2])).unwrap();
    wait_for("the server to be told", || {
        remote.leased() == 0 && remote.length(FAILED) == 2
    });
    assert_eq!(remote.length(QUEUE), 0);
    drop(pull);
}

#[test]
fn nothing_is_asked_for_that_would_not_be_run() {
    let Some(remote) = Remote::start(60_000, 5) else {
        return;
    };
    let mut spool = Spool::made();
    remote.push("true");
    let pull = Pull::start(&spool, &[&remote.url()]);
    wait_for("word of it", || {
        spool.daemon_log().contains("no daemon serves")
    });
    assert_eq!(remote.leased(), 0);
    let paused = spool.path().join("pending/.paused");
    fs::write(&paused, "").unwrap();
    spool.serve(&[]);
    wait_for("word of the pause", || {
        spool.daemon_log().contains("paused")
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(remote.leased(), 0);
    fs::remove_file(&paused).unwrap();
    wait_for("it to be run", || remote.length(QUEUE) == 0);
    drop(pull);
}

#[test]
fn no_more_is_held_than_asked_for() {
    let Some(remote) = Remote::start(60_000, 5) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "2"]);
    for _ in 0..12 {
        remote.push("sleep 0.1");
    }
    let pull = Pull::start(&spool, &["--slots", "2", "--prefetch", "1", &remote.url()]);
    let end = Instant::now() + crate::spool::DEADLINE;
    while remote.length(QUEUE) > 0 {
        // A message that was acknowledged but is not unlinked yet is still counted here.
        let leased = remote.leased();
        let ended = fs::read_dir(spool.path().join("complete")).unwrap().count();
        let open = remote
            .length(QUEUE)
            .saturating_sub(12usize.saturating_sub(ended));
        assert!(leased <= 3 + 10 - open.min(10), "{leased} are leased");
        assert!(Instant::now() < end);
    }
    drop(pull);
}

#[test]
fn told_to_stop_it_ends_with_its_last_job() {
    let Some(remote) = Remote::start(60_000, 5) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "1"]);
    let entry = serde_json::json!({"url": remote.url(), "slots": 1, "prefetch": 1, "wait": "1s"});
    set_bridge(&spool, &entry);
    let (go, wait) = gate(&spool);
    let first = remote.push(&wait);
    remote.push("true");
    let mut pull = Pull::start(&spool, &["work"]);
    wait_for("both to be there", || {
        has(&spool, "active", &first) && leases(&spool).len() == 2
    });
    pull.signal("-TERM");
    wait_for("the second to be given back", || leases(&spool).len() == 1);
    fs::write(&go, "").unwrap();
    assert_eq!(pull.exit_code(), 0);
    assert!(has(&spool, "complete", &first));
    assert_eq!((leases(&spool).len(), remote.length(QUEUE)), (0, 1));

    let drain = || {
        let done = spool.pirn(&["pull", "--drain", "work"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!((leases(&spool).len(), remote.length(QUEUE)), (0, 0));
    };
    drain();

    // Told twice it leaves the lease to the next one.
    fs::remove_file(&go).unwrap();
    let long = remote.push(&wait);
    remote.push("true");
    let mut pull = Pull::start(&spool, &["work"]);
    wait_for("both to be there", || {
        has(&spool, "active", &long) && leases(&spool).len() == 2
    });
    pull.signal("-TERM");
    // Two signals at once would be one.
    wait_for("the second to be given back", || leases(&spool).len() == 1);
    pull.signal("-TERM");
    assert_eq!(pull.exit_code(), 0);
    assert_eq!(leases(&spool), [long.as_str()]);
    fs::write(&go, "").unwrap();
    drain();
    assert!(has(&spool, "complete", &long));
}

#[test]
fn serve_runs_a_bridge_and_takes_it_along() {
    let Some(remote) = Remote::start(20_000, 5) else {
        return;
    };
    let mut spool = Spool::made();
    let config = |start: bool| {
        let entry = serde_json::json!({"url": remote.url(), "start": start, "wait": "1s"});
        let text = serde_json::json!({"remote": {"work": entry}}).to_string();
        fs::write(spool.beside("new"), text).unwrap();
        fs::rename(spool.beside("new"), spool.path().join("config.json")).unwrap();
    };
    config(true);
    let lock = spool.path().join("remote/work/lock");
    let is_up = || {
        let lock = fs::File::open(&lock);
        lock.is_ok_and(|lock| {
            Command::new("flock")
                .args(["-n", "/proc/self/fd/0", "true"])
                .stdin(Stdio::from(lock))
                .status()
                .is_ok_and(|status| !status.success())
        })
    };
    let status = || {
        let text = spool.pirn(&["status", "--json"]).stdout;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["remote"][0]["running"].clone()
    };
    assert!(!is_up());
    let mut daemon = spool.command(["serve"]);
    let mut daemon = Pull(spool.spawn_logged(&mut daemon));
    let first = remote.push("true");
    wait_for("it to be run", || has(&spool, "complete", &first));
    assert_eq!(status(), true);
    config(false);
    wait_for("the bridge to end", || status() == false);
    config(true);
    let second = remote.push("true");
    wait_for("it to be run", || has(&spool, "complete", &second));
    // A crash of the daemon takes the bridge along.
    daemon.crash();
    wait_for("the bridge to end", || status() == false);
    spool.serve(&[]);
    let third = remote.push("true");
    wait_for("it to be run", || has(&spool, "complete", &third));
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    spool.stop();
}

/// The bridges of two machines are killed at random moments: every job ends or is on the failed queue, none is run more
/// often than it was received, and none that was acknowledged lacks a record.
#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let Some(remote) = Remote::start(2_000, 3) else {
        return;
    };
    let spools = [
        Spool::serving(&["--slots", "4"]),
        Spool::serving(&["--slots", "4"]),
    ];
    let counts = spools[0].beside("counts");
    fs::create_dir(&counts).unwrap();
    let ids: Vec<String> = (0..80)
        .map(|n| {
            let code = if n % 9 == 0 { 1 } else { 0 };
            remote.push(&format!(
                "echo >> {}/$PIRN_ID; sleep 0.0{}; exit {code}",
                counts.display(),
                n % 7
            ))
        })
        .collect();
    let mut dice: u64 = 88_172_645_463_325_252;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let pull =
        |spool: &Spool| Pull::start(spool, &["--slots", "4", "--prefetch", "2", &remote.url()]);
    let mut bridges = [pull(&spools[0]), pull(&spools[1])];
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(roll(150)));
        let which = usize::from(roll(2) == 0);
        bridges[which].crash();
        bridges[which] = pull(&spools[which]);
    }
    let end = Instant::now() + 2 * crate::spool::DEADLINE;
    while remote.length(QUEUE) > 0 {
        assert!(Instant::now() < end, "{} are left", remote.length(QUEUE));
        std::thread::sleep(Duration::from_millis(50));
    }
    let failed = remote.ask(&["XRANGE", FAILED, "-", "+"]);
    for (n, id) in ids.iter().enumerate() {
        let times = fs::read_to_string(counts.join(id)).unwrap_or_default();
        let times = times.lines().count();
        assert!(times <= 3, "{id} was run {times} times");
        let is_complete = spools.iter().any(|spool| has(spool, "complete", id));
        let is_failed = failed.contains(id.strip_prefix("q.").unwrap());
        assert!(is_complete || is_failed, "{id} is lost");
        if n % 9 == 0 {
            assert!(is_failed, "{id} is not on the failed queue");
        }
    }
    for spool in &spools {
        wait_for("the leases to go", || leases(spool).is_empty());
    }
}

#[test]
fn told_to_stop_in_a_poll_it_runs_what_that_brings() {
    let Some(remote) = Remote::start(60_000, 1) else {
        return;
    };
    let spool = Spool::serving(&[]);
    let mut pull = Pull::start(&spool, &[&remote.url()]);
    let is_blocked = || remote.ask(&["CLIENT", "LIST"]).contains("cmd=xreadgroup");
    wait_for("the poll", is_blocked);
    pull.signal("-TERM");
    let id = remote.push("echo x");
    assert_eq!(pull.exit_code(), 0);
    assert!(has(&spool, "complete", &id));
    assert_eq!((remote.length(QUEUE), leases(&spool).len()), (0, 0));
}

#[test]
fn a_server_that_is_away_loses_nothing() {
    let Some(mut remote) = Remote::start(3_000, 2) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "6"]);
    let pull = Pull::start(&spool, &["--slots", "6", &remote.url()]);
    let first = remote.push(&noted(&spool, "sleep 6"));
    wait_for("it to run", || has(&spool, "active", &first));
    // Frozen for longer than the lease, with nobody else there.
    remote.0.signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    remote.0.signal("CONT");
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    assert_eq!(runs(&spool), 1);
    let ids: Vec<String> = (0..6)
        .map(|_| remote.push(&noted(&spool, "sleep 1")))
        .collect();
    wait_for("all to run", || runs(&spool) == 7);
    remote.0.crash();
    remote.0.restart();
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    assert!(ids.iter().all(|id| has(&spool, "complete", id)));
    assert_eq!(runs(&spool), 7);
    drop(pull);
}

#[test]
fn a_daemon_that_dies_keeps_its_job() {
    let Some(remote) = Remote::start(20_000, 1) else {
        return;
    };
    let mut spool = Spool::serving(&[]);
    let pull = Pull::start(&spool, &[&remote.url()]);
    let id = remote.push(&noted(&spool, "sleep 2"));
    wait_for("it to have its note", || {
        has(&spool, "active", &id) && spool.record(&format!("active/{id}"))["pid"].is_number()
    });
    spool.crash();
    spool.serve(&[]);
    wait_for("the server to be told", || remote.leased() == 0);
    assert_eq!((runs(&spool), leases(&spool).len()), (1, 0));
    drop(pull);
}

#[test]
fn accepted_jobs_belong_to_this_machine() {
    let Some(remote) = Remote::start(60_000, 3) else {
        return;
    };
    let spool = Spool::serving(&["--slots", "1"]);
    let entry = serde_json::json!({"url": remote.url(), "ack": "accepted", "slots": 1, "prefetch": 1, "wait": "1s"});
    set_bridge(&spool, &entry);
    let (go, wait) = gate(&spool);
    let ids: Vec<String> = (0..4).map(|_| remote.push(&noted(&spool, &wait))).collect();
    let mut pull = Pull::start(&spool, &["work"]);
    wait_for("two to be accepted", || {
        remote.length(QUEUE) == 2 && leases(&spool).is_empty()
    });
    // No more are taken until one has ended, also after a crash of the bridge.
    pull.crash();
    let pull = Pull::start(&spool, &["work"]);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(remote.length(QUEUE), 2);
    assert!(has(&spool, "active", &ids[0]) && has(&spool, "pending", &ids[1]));
    fs::write(&go, "").unwrap();
    wait_for("all to end", || {
        ids.iter().all(|id| has(&spool, "complete", id))
    });
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    assert_eq!(runs(&spool), 4);
    drop(pull);
}

/// How often the threads of a process have gone to sleep.
fn sleeps(pid: u32) -> u64 {
    let mut all = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        all += line.unwrap().trim().parse::<u64>().unwrap();
    }
    all
}

/// The thread that decides sleeps while nothing happens, and a poller wakes for the answers to its requests.
#[test]
fn an_idle_bridge_asks_and_does_nothing_else() {
    let Some(remote) = Remote::start(60_000, 3) else {
        return;
    };
    let spool = Spool::serving(&[]);
    let pull = Pull::start(&spool, &["--slots", "4", &remote.url()]);
    let done = remote.push("true");
    wait_for("a job to be over", || {
        has(&spool, "complete", &done) && leases(&spool).is_empty()
    });
    let asked = |remote: &Remote| {
        let info = remote.ask(&["INFO", "commandstats"]);
        let line = info
            .lines()
            .find(|line| line.starts_with("cmdstat_xreadgroup:"))
            .unwrap();
        line.split(['=', ','])
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    std::thread::sleep(Duration::from_millis(1500));
    let (before, requests) = (sleeps(pull.0.id()), asked(&remote));
    std::thread::sleep(Duration::from_secs(10));
    let (after, requests) = (sleeps(pull.0.id()) - before, asked(&remote) - requests);
    assert!(requests <= 1, "{requests} requests");
    assert!(
        after <= 4 * (requests + 1),
        "{after} times awake for {requests} requests"
    );
}

#[test]
fn an_upgrade_of_the_daemon_takes_the_bridge_along() {
    let Some(remote) = Remote::start(20_000, 1) else {
        return;
    };
    let mut spool = Spool::made();
    let entry = serde_json::json!({"url": remote.url(), "start": true, "wait": "1s"});
    set_bridge(&spool, &entry);
    spool.serve(&[]);
    let id = remote.push(&noted(&spool, "sleep 2"));
    wait_for("it to have its note", || {
        has(&spool, "active", &id) && spool.record(&format!("active/{id}"))["pid"].is_number()
    });
    spool.signal("USR2");
    wait_for("the next image", || {
        spool
            .daemon_log()
            .matches("remote: pull work is process")
            .count()
            == 2
    });
    wait_for("the server to be told", || remote.leased() == 0);
    assert!(has(&spool, "complete", &id));
    assert_eq!((runs(&spool), leases(&spool).len()), (1, 0));
    spool.stop();
}

#[test]
fn a_change_of_the_settings_waits_for_jobs_only_if_the_next_bridge_cannot() {
    let Some(remote) = Remote::start(20_000, 1) else {
        return;
    };
    let mut spool = Spool::serving(&["--slots", "4"]);
    let (go, wait) = gate(&spool);
    let mut entry =
        serde_json::json!({"url": remote.url(), "start": true, "wait": "1s", "slots": 1});
    set_bridge(&spool, &entry);
    let long = remote.push(&noted(&spool, &wait));
    wait_for("it to run", || has(&spool, "active", &long));
    entry["slots"] = 2.into();
    set_bridge(&spool, &entry);
    let short = remote.push(&noted(&spool, "true"));
    wait_for("a second one to be run beside it", || {
        has(&spool, "complete", &short) && remote.length(QUEUE) == 1
    });
    // Only the process that knows the queue can tell the server how its job has ended.
    entry["url"] = format!("{}#other", remote.0.url()).into();
    set_bridge(&spool, &entry);
    entry["slots"] = 3.into();
    set_bridge(&spool, &entry);
    remote.ask(&["XADD", "pirn:{other}", "*", "job", &noted(&spool, "true")]);
    assert!(has(&spool, "active", &long));
    fs::write(go, "").unwrap();
    wait_for("the server to be told", || remote.length(QUEUE) == 0);
    wait_for("the other queue to be emptied", || {
        remote.length("pirn:{other}") == 0
    });
    assert_eq!((runs(&spool), remote.length(FAILED)), (3, 0));
    spool.stop();
}

#[test]
fn one_poller_at_a_time_asks_for_a_queue_that_is_refused() {
    let Some(remote) = Remote::start(60_000, 1) else {
        return;
    };
    let spool = Spool::serving(&[]);
    let urls = ["q", "bad"].map(|queue| format!("{}#{queue}", remote.0.url()));
    set_bridge(&spool, &serde_json::json!({"urls": urls, "wait": "1s"}));
    let pull = Pull::start(&spool, &["work"]);
    wait_for("the queues to be looked up", || {
        remote.ask(&["EXISTS", "pirn:{bad}:settings"]) == "1"
    });
    remote.ask(&["SET", "pirn:{bad}", "no stream"]);
    for _ in 0..6 {
        remote.push("true");
        wait_for("it to end", || remote.length(QUEUE) == 0);
    }
    let told = |log: &str| log.matches("WRONGTYPE").count();
    wait_for("the refusal", || told(&spool.daemon_log()) > 0);
    assert_eq!(told(&spool.daemon_log()), 1, "{}", spool.daemon_log());
    drop(pull);
}
