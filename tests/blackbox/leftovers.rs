//! A failed try leaves no process behind that could run beside the next try.

use crate::groups::Group;
use crate::spool::{Spool, is_alive};
use crate::tools::Gate;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ways to leave a process behind that has closed the job's output: the end of the try, how the process is started, and
/// how the try ends.
const WAYS: [(&str, &str, &str); 5] = [
    (
        "session",
        "setsid sh -c \"$left\" </dev/null >/dev/null 2>&1 &",
        "exit 75",
    ),
    (
        "orphan",
        "(setsid sh -c \"$left\" </dev/null >/dev/null 2>&1 &)",
        "exit 1",
    ),
    (
        "killed",
        "(setsid sh -c \"$left\" </dev/null >/dev/null 2>&1 &)",
        "kill -KILL $$",
    ),
    (
        "stubborn",
        "(trap '' TERM; exec sh -c \"$left\" </dev/null >/dev/null 2>&1) &",
        "exit 75",
    ),
    (
        "bare",
        "env -i sh -c \"$left\" </dev/null >/dev/null 2>&1 &",
        "exit 75",
    ),
];

/// A job with four tries. Each notes in `DIR/NAME.two` the processes of earlier tries that are alive, leaves a process
/// behind whose pid it appends to `DIR/NAME.pids`, and fails.
fn job(dir: &Path, name: &str, leave: &str, end: &str) -> Value {
    let base = dir.join(name);
    let base = base.display();
    let line = format!(
        "touch {base}.pids
        for pid in $(cat {base}.pids); do
            state=$(sed 's/.*) //; s/ .*//' /proc/$pid/stat 2>/dev/null)
            case $state in ''|Z|X) ;; *) echo \"try $PIRN_ATTEMPT beside $pid\" >> {base}.two;; esac
        done
        left='echo $$ >> {base}.pids; exec sleep 600'
        {leave}
        while [ $(wc -l < {base}.pids) -lt $PIRN_ATTEMPT ]; do sleep 0.01; done
        {end}"
    );
    json!({"command": line, "tries": 4, "grace": "300ms", "backoff": {"first": "5ms", "factor": 1}})
}

fn pids(dir: &Path, name: &str) -> Vec<i64> {
    let text = fs::read_to_string(dir.join(format!("{name}.pids"))).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn nothing_lives_beside_the_next_try(spool: &Spool) {
    let dir = spool.beside("notes");
    fs::create_dir(&dir).unwrap();
    for (name, leave, end) in WAYS {
        spool.drop_json(name, &job(&dir, name, leave, end));
    }
    for (name, _, _) in WAYS {
        let record = spool.wait_record(&format!("failed/{name}"));
        let two = fs::read_to_string(dir.join(format!("{name}.two"))).unwrap_or_default();
        assert_eq!(two, "", "{name}: two tries at once\n{}", spool.daemon_log());
        assert_eq!(
            record["attempts"].as_array().map(Vec::len),
            Some(4),
            "{record}"
        );
        let pids = pids(&dir, name);
        assert_eq!(pids.len(), 4, "{name}");
        assert!(
            !pids.into_iter().any(is_alive),
            "{name}: a process was left"
        );
    }
}

#[test]
fn no_two_tries_at_once() {
    nothing_lives_beside_the_next_try(&Spool::serving(&["--slots", "5"]));
}

#[test]
fn no_two_tries_at_once_in_control_groups() {
    let Some(group) = Group::make("tries") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    nothing_lives_beside_the_next_try(&spool);
}

#[test]
fn a_dead_leader_names_the_session_to_look_through() {
    let mut spool = Spool::serving(&[]);
    let gate = Gate::new(&spool, "gate");
    let dir = spool.beside("notes");
    fs::create_dir(&dir).unwrap();
    // It has neither our variables nor our output, and is an orphan: only the session shows whose it is.
    let leave = "(env -i sh -c \"$left\" </dev/null >/dev/null 2>&1 &)";
    let end = format!("[ $PIRN_ATTEMPT = 1 ] || exit 0; {}", gate.wait());
    spool.drop_json("7", &job(&dir, "7", leave, &end));
    let note = spool.wait_note("7");
    spool.wait_for("the process", || pids(&dir, "7").len() == 1);
    spool.crash();
    let leader = note["pid"].as_i64().unwrap();
    crate::tools::sh(&format!("kill -KILL {leader}"));
    let (of, killed) = (format!("/proc/{leader}"), Instant::now());
    spool.wait_for("the leader to be reaped, where init does that", || {
        !Path::new(&of).exists() || killed.elapsed() > Duration::from_secs(5)
    });
    assert!(!is_alive(leader));
    let left = pids(&dir, "7")[0];
    assert!(is_alive(left));
    spool.serve(&[]);
    let record = spool.wait_record("complete/7");
    assert_eq!(record["attempt"], 2, "{record}");
    assert!(!is_alive(left), "{}", spool.daemon_log());
    assert!(!dir.join("7.two").exists(), "two tries at once");
    let second = pids(&dir, "7")[1];
    assert!(
        is_alive(second),
        "what a job leaves that ended with 0 is its own"
    );
    crate::tools::sh(&format!("kill -KILL {second}"));
}

#[test]
fn what_a_good_run_left_does_not_delay_the_next_unless_it_holds_the_log() {
    let spool = Spool::serving(&[]);
    let left = spool.beside("left");
    let line = format!(
        "setsid sh -c 'echo $$ >> {0}; exec sleep 600' </dev/null >/dev/null 2>&1 &
        while [ ! -s {0} ]; do sleep 0.01; done",
        left.display()
    );
    spool.drop_file("7", line);
    spool.wait_record("complete/7");
    spool.drop_file("7", "echo again");
    spool.wait_for("the next run", || {
        spool.has("complete/7~1") && spool.has("complete/7")
    });
    assert_eq!(spool.wait_record("complete/7")["output"], "again\n");
    let left = fs::read_to_string(left).unwrap();
    let left: i64 = left.trim().parse().unwrap();
    assert!(is_alive(left));
    crate::tools::sh(&format!("kill -KILL {left}"));
}

#[test]
fn what_a_good_run_left_outlives_a_later_run_that_fails() {
    let spool = Spool::serving(&[]);
    let pids = spool.beside("pids");
    let left = format!(
        "(setsid sh -c 'echo $$ >> {0}; exec sleep 600' </dev/null >/dev/null 2>&1 &)
        while ! [ \"$(wc -l < {0})\" = $lines ]; do sleep 0.01; done 2>/dev/null",
        pids.display()
    );
    spool.drop_file("7", format!("lines=1; {left}"));
    spool.wait_record("complete/7");
    // Start times are counted in ticks of 10 ms: within one tick, processes seem to have started together.
    let ended = Instant::now();
    spool.wait_for("another tick", || {
        ended.elapsed() > Duration::from_millis(20)
    });
    let bad = format!("lines=$((PIRN_ATTEMPT + 1)); {left}; exit 1");
    spool.drop_json(
        "7",
        &json!({"command": bad, "tries": 2, "backoff": {"first": "5ms"}}),
    );
    spool.wait_record("failed/7");
    let pids = fs::read_to_string(pids).unwrap();
    let pids: Vec<i64> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    let alive: Vec<bool> = pids.iter().map(|pid| is_alive(*pid)).collect();
    crate::tools::sh(&format!("kill -KILL {}", pids[0]));
    assert_eq!(alive, [true, false, false], "{}", spool.daemon_log());
}

#[test]
fn what_a_good_run_left_is_not_adopted_as_the_next_one() {
    let mut spool = Spool::serving(&[]);
    let left = spool.beside("left");
    spool.drop_file(
        "7",
        format!(
            "(setsid sh -c 'echo $$ > {0}; exec sleep 600' </dev/null >/dev/null 2>&1 &)
            while [ ! -s {0} ]; do sleep 0.01; done",
            left.display()
        ),
    );
    spool.wait_record("complete/7");
    let left = fs::read_to_string(left).unwrap();
    let left: i64 = left.trim().parse().unwrap();
    let mut gate = Gate::new(&spool, "gate");
    let job = json!({"command": format!("echo begun; {}", gate.wait()), "tries": 1});
    spool.drop_json("7", &job);
    spool.wait_log("7", "begun");
    spool.crash();
    // As if the daemon had been killed before it wrote the note.
    fs::write(spool.path().join("active/7"), job.to_string()).unwrap();
    spool.serve(&[]);
    spool.wait_daemon_log("7: still running as process");
    gate.open(1);
    spool.wait_gone("active/7");
    assert!(is_alive(left), "{}", spool.daemon_log());
    crate::tools::sh(&format!("kill -KILL {left}"));
}

/// Processes of other people, which a sweep must not touch. They are killed when this is dropped.
struct Strangers(Vec<Child>);

impl Strangers {
    fn start(&mut self, command: &mut Command) {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        self.0.push(quiet.spawn().unwrap());
    }

    /// The exit statuses of those that have ended.
    fn ends(&mut self) -> Vec<String> {
        let ended = |child: &mut Child| child.try_wait().unwrap();
        let ends = self.0.iter_mut().filter_map(ended);
        ends.map(|status| status.to_string()).collect()
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process that was not started for the job, but has the marks of the job's processes.
fn namesake(spool: &Spool, mut command: Command) -> Command {
    command
        .env("PIRN_ID", "7")
        .env("PIRN_SPOOL", spool.path().canonicalize().unwrap());
    command
}

fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

/// `sleep` as another user, if we may change the user.
fn sleep_as_nobody() -> Option<Command> {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "sleep",
        "600",
    ]);
    let mut trial = Command::new("setpriv");
    trial.args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"]);
    let can = trial.stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("left out: a process of another user (needs root and setpriv)");
        return None;
    }
    Some(command)
}

#[test]
fn readers_of_the_log_and_namesakes_are_not_ended() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    // Only the lock of the log shows that it is the job's.
    let left = spool.beside("left");
    let line = format!(
        "(setsid env -i sh -c 'echo $$ >> {0}; exec sleep 600' </dev/null 2>&1 &)
        while ! [ \"$(wc -l < {0})\" = $PIRN_ATTEMPT ]; do sleep 0.01; done 2>/dev/null
        echo begun; {1}; exit 75",
        left.display(),
        gate.wait()
    );
    let job = json!({"command": line, "tries": 2, "grace": "300ms", "backoff": {"first": "5ms"}});
    spool.drop_json("7", &job);
    spool.wait_log("7", "begun");
    let mut strangers = Strangers(Vec::new());
    let mut tail = Command::new("tail");
    strangers.start(tail.arg("-f").arg(spool.path().join("log/7")));
    strangers.start(&mut namesake(&spool, sleep()));
    let log = spool.path().join("log/7").display().to_string();
    spool.wait_for("the reader", || {
        let fds = format!("/proc/{}/fd", strangers.0[0].id());
        let links = fs::read_dir(fds).into_iter().flatten().flatten();
        links
            .flat_map(|fd| fs::read_link(fd.path()))
            .any(|path| path.ends_with(&log))
    });
    gate.open(2);
    spool.wait_record("failed/7");
    let left = fs::read_to_string(left).unwrap();
    let pids: Vec<i64> = left.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert!(!pids.into_iter().any(is_alive), "a process was left");
    assert_eq!(strangers.ends(), [""; 0], "{}", spool.daemon_log());
}

#[test]
fn a_namesake_of_another_user_is_not_ended_after_a_crash() {
    let mut spool = Spool::serving(&[]);
    let Some(nobody) = sleep_as_nobody() else {
        return;
    };
    spool.drop_json(
        "7",
        &json!({"command": "echo begun; sleep 600", "grace": "300ms"}),
    );
    spool.wait_note("7");
    spool.crash();
    let mut strangers = Strangers(Vec::new());
    strangers.start(&mut namesake(&spool, nobody));
    spool.serve(&[]);
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert_eq!(strangers.ends(), [""; 0], "{}", spool.daemon_log());
}
