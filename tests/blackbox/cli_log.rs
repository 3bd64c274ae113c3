//! `log` and `wait`: single tries, following all that runs, and why a job ended badly.

use crate::pty::Terminal;
use crate::spool::{Spool, waits_for_events};
use crate::tools::Gate;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::process::{Child, Stdio};

/// A job `7` with two tries that failed, and a third that waits at the gate.
fn three_tries() -> (Spool, Gate) {
    let spool = Spool::serving(&[]);
    let gate = Gate::new(&spool, "gate");
    let command = format!(
        "echo try $PIRN_ATTEMPT; echo end $PIRN_ATTEMPT; [ $PIRN_ATTEMPT = 3 ] && {}; exit 5",
        gate.wait()
    );
    let job = json!({"command": command, "tries": 3, "backoff": {"first": "1ms"}});
    spool.drop_json("7", &job);
    spool.wait_log("7", "end 3");
    spool.wait_for("the note of the third try", || {
        spool.record("active/7")["log_offset"] == 24
    });
    (spool, gate)
}

#[test]
fn one_try_of_several() {
    let (spool, mut gate) = three_tries();
    let log = |args: &[&str]| spool.pirn(&[&["log", "7"], args].concat());
    let check = || {
        for (args, text) in [
            (&["--attempt", "1"][..], "try 1\nend 1\n"),
            (&["--attempt", "2"], "try 2\nend 2\n"),
            (&["--attempt", "3"], "try 3\nend 3\n"),
            (&["--attempt", "2", "-n", "1"], "end 2\n"),
            (&["--attempt", "2", "-n", "9"], "try 2\nend 2\n"),
            (&["-n", "1"], "end 3\n"),
            (&[], "try 1\nend 1\ntry 2\nend 2\ntry 3\nend 3\n"),
        ] {
            let done = log(args);
            assert_eq!((done.code, done.stdout.as_str()), (0, text), "{args:?}");
        }
        let done = log(&["--attempt", "4"]);
        assert_eq!((done.code, done.stdout.as_str()), (66, ""));
        assert!(done.stderr.contains("has begun 3"), "{}", done.stderr);
    };
    check();
    gate.open(1);
    let record = spool.wait_record("failed/7");
    assert_eq!(record.get("log_offset"), None);
    check();
    for wrong in [&["-f", "--attempt", "1"][..], &["--err", "--attempt", "1"]] {
        assert_eq!(log(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_terminal_shows_where_a_try_begins() {
    let (spool, mut gate) = three_tries();
    gate.open(1);
    spool.wait_record("failed/7");
    let on_terminal = |args: &[&str]| {
        let args = [&["log"], args].concat();
        Terminal::start(&spool, &args, 24, 80).end().1
    };
    let shown = on_terminal(&["7"]);
    for n in 1..=3 {
        let part = format!("\u{1b}[2m--- try {n}: exit 5 at ");
        assert!(shown.contains(&part), "{shown:?}");
        assert!(shown.contains(&format!("---\u{1b}[0m\ntry {n}\nend {n}\n")));
    }
    assert_eq!(on_terminal(&["7", "-n", "1"]), "end 3\n");
    // Several jobs are told apart.
    assert!(on_terminal(&["7", "7"]).starts_with("\u{1b}[2m==> 7 <==\u{1b}[0m\n"));
    assert_eq!(
        spool.pirn(&["log", "7", "7", "-n", "1"]).stdout,
        "end 3\nend 3\n"
    );
}

#[test]
fn a_job_that_never_ran_says_why() {
    let spool = Spool::new();
    spool.add(&["true"]);
    spool.add(&["--after", "1", "true"]);
    for (id, says) in [
        (
            "1",
            "pirn: job 1 has not run yet: no daemon serves the spool; pirn serve starts it\n",
        ),
        (
            "2",
            "pirn: job 2 has not run yet: it comes after job 1, which has not ended\n",
        ),
    ] {
        let done = spool.pirn(&["log", id]);
        assert_eq!(
            (done.code, done.stdout.as_str(), done.stderr.as_str()),
            (0, "", says)
        );
    }
    assert_eq!(spool.pirn(&["cancel", "1"]).code, 0);
    let done = spool.pirn(&["log", "1"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert!(
        done.stderr.contains("job 1 never ran: cancelled"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_job_that_could_not_be_started_says_why() {
    let mut spool = Spool::new();
    spool.serve(&[]);
    let id = spool.add(&["./nosuch", "7"]);
    spool.wait_record(&format!("failed/{id}"));
    for args in [&["log", &id][..], &["log", "-f", &id]] {
        let done = spool.pirn(args);
        assert_eq!((done.code, done.stdout.as_str()), (0, ""));
        let why = "pirn: job 1 never ran: not_started: cannot execute ./nosuch: ";
        assert!(done.stderr.starts_with(why), "{args:?}: {}", done.stderr);
    }
}

/// A command in the background whose output goes to a file beside the spool.
struct Follower<'s> {
    spool: &'s Spool,
    child: Child,
}

impl<'s> Follower<'s> {
    fn of(spool: &'s Spool, args: &[&str]) -> Self {
        let out = fs::File::create(spool.beside("out")).unwrap();
        let mut command = spool.command(args);
        command.stdin(Stdio::null()).stdout(out);
        let child = command.spawn().unwrap();
        Self { spool, child }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.spool.beside("out")).unwrap()
    }

    fn wait_output(&self, text: &str) {
        self.spool.wait_for(text, || self.output() == text);
    }

    /// The whole output, once it has ended with 0.
    fn end(mut self) -> String {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.output()
    }
}

#[test]
fn follow_begins_with_the_last_lines() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("7", format!("seq 100; {}; echo more", gate.wait()));
    spool.wait_log("7", "100");
    let follower = Follower::of(&spool, &["log", "-f", "-n", "2", "7"]);
    follower.wait_output("99\n100\n");
    gate.open(1);
    assert_eq!(follower.end(), "99\n100\nmore\n");
}

#[test]
fn follow_shows_all_that_runs_and_starts() {
    let spool = Spool::serving(&["--slots", "2"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("a", format!("echo a0; echo a1; {}; echo a2", gate.wait()));
    spool.wait_log("a", "a1");
    let follower = Follower::of(&spool, &["log", "-f", "-n", "1"]);
    follower.wait_output("==> a <==\na1\n");
    spool.make_queue("mail");
    spool.drop_file("mail/b", "echo b1; echo b2");
    spool.wait_record("complete/b");
    follower.wait_output("==> a <==\na1\n==> b <==\nb1\nb2\n");
    gate.open(1);
    assert_eq!(
        follower.end(),
        "==> a <==\na1\n==> b <==\nb1\nb2\n==> a <==\na2\n"
    );
    // Nothing runs and nothing waits.
    let done = spool.pirn(&["log", "-f"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert_eq!(done.stderr, "pirn: no job runs or waits\n");
}

/// A job that writes nothing is one that runs.
#[test]
fn follow_of_a_silent_job_says_nothing() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("a", gate.wait());
    spool.wait_note("a");
    let mut command = spool.command(["log", "-f"]);
    let output = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = output.id().to_string();
    spool.wait_for("the command to wait", || waits_for_events(&pid));
    gate.open(1);
    let output = output.wait_with_output().unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b""[..], &b""[..])
    );
}

/// The jobs come and go while the command is stopped, so it cannot see them run.
#[test]
fn follow_shows_jobs_that_ended_before_it_looked() {
    let spool = Spool::serving(&["--slots", "2"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("a", format!("echo a1; {}", gate.wait()));
    let follower = Follower::of(&spool, &["log", "-f"]);
    follower.wait_output("==> a <==\na1\n");
    let signal = |signal| kill(Pid::from_raw(follower.child.id() as i32), signal).unwrap();
    signal(Signal::SIGSTOP);
    spool.drop_file("b", "echo b1");
    spool.wait_record("complete/b");
    spool.drop_file("c", "echo c1");
    spool.wait_record("complete/c");
    gate.open(1);
    spool.wait_record("complete/a");
    signal(Signal::SIGCONT);
    assert_eq!(
        follower.end(),
        "==> a <==\na1\n==> b <==\nb1\n==> c <==\nc1\n"
    );
}

#[test]
fn wait_says_why() {
    let spool = Spool::serving(&[]);
    spool.run_json("a", &json!({"command": "exit 7", "tries": 1}));
    spool.run_json("b", &json!({"command": "kill -9 $$", "tries": 1}));
    spool.run_json("c", &json!({"command": ["/no/such"], "tries": 1}));
    spool.run_json("d", &json!({"command": "true"}));
    for (id, code, says) in [
        ("a", 7, "job a failed: exit 7\n"),
        ("b", 137, "job b failed: signal 9\n"),
        ("c", 127, "job c failed: not_started: "),
        ("d", 0, ""),
    ] {
        let done = spool.pirn(&["wait", id]);
        assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{id}");
        assert!(done.stderr.contains(says), "{id}: {}", done.stderr);
    }
    assert!(spool.pirn(&["wait", "d"]).stderr.is_empty());
}

#[test]
fn wait_for_any() {
    let spool = Spool::serving(&["--slots", "3"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("slow", gate.wait());
    spool.wait_note("slow");
    let done = spool.pirn(&["wait", "--any", "--timeout", "10ms", "slow"]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    spool.drop_json("fast", &json!({"command": "exit 3", "tries": 1}));
    let done = spool.pirn(&["wait", "--any", "slow", "fast"]);
    assert_eq!((done.code, done.stdout.as_str()), (3, "fast\n"));
    gate.open(1);
}

#[test]
fn wait_for_batches_counts_what_has_ended() {
    let spool = Spool::serving(&[]);
    let bad = json!({"command": "exit 3", "tries": 1, "tags": ["t"], "queue": "mail"});
    spool.run_json("bad", &bad);
    for (args, code) in [
        (&["--tag", "t"][..], 3),
        (&["--failed"], 3),
        (&["--all"], 0),
        (&["-q", "mail"], 0),
        (&["-q", "mail", "--tag", "t"], 3),
    ] {
        assert_eq!(
            spool.pirn(&[&["wait"], args].concat()).code,
            code,
            "{args:?}"
        );
    }
}
