//! `add` and `wait` say on stderr, never on stdout, that no daemon is there to start the job.

use crate::spool::{DEADLINE, Spool};
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Instant;

/// A command in the background, with its output in files.
struct Waiting {
    child: Child,
    name: String,
}

impl Waiting {
    fn start(spool: &Spool, args: &[&str]) -> Self {
        let name = args.join("-");
        let file = |kind| File::create(spool.beside(&format!("{name}.{kind}"))).unwrap();
        let child = spool
            .command(args)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Self { child, name }
    }

    fn said(&self, spool: &Spool, kind: &str) -> String {
        fs::read_to_string(spool.beside(&format!("{}.{kind}", self.name))).unwrap()
    }

    /// Waits until it has written exactly this to standard error.
    fn wait_said(&self, spool: &Spool, expected: &str) {
        let is_said = || self.said(spool, "err") == expected;
        spool.wait_for(&format!("{}: {expected}", self.name), is_said);
    }

    fn end(mut self, spool: &Spool) -> (i32, String, String) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("{} did not end", self.name);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        let (out, err) = (self.said(spool, "out"), self.said(spool, "err"));
        (status.code().unwrap_or(-1), out, err)
    }
}

#[test]
fn add_says_that_nobody_serves() {
    let mut spool = Spool::new();
    let done = spool.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    assert_eq!(done.stderr, spool.unserved());
    // The message appears once, though there are more jobs than are accepted together.
    let done = spool.pirn_with_input(&["add", "--batch"], "true\n".repeat(2500).as_bytes());
    assert_eq!((done.code, done.stdout.lines().count()), (0, 2500));
    assert_eq!(done.stderr, spool.unserved());
    let done = spool.pirn_with_input(&["add", "--batch"], b"\n");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));

    spool.serve(&["--slots", "0"]);
    let done = spool.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    let done = spool.pirn_with_input(&["add", "--batch"], b"true\n");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}

#[test]
fn wait_and_log_say_what_they_wait_for() {
    let mut spool = Spool::new();
    spool.add(&["-q", "mail", "echo out"]);
    spool.add(&["--after", "1", "--at", "2199-01-01T00:00:00Z", "true"]);
    for _ in 0..3 {
        spool.add(&["true"]);
    }
    let wait = Waiting::start(&spool, &["wait", "1"]);
    let log = Waiting::start(&spool, &["log", "-f", "1"]);
    let told = format!("pirn: waiting for 1\n{}", spool.unserved());
    wait.wait_said(&spool, &told);
    log.wait_said(&spool, &told);
    let done = spool.pirn(&["wait", "--timeout", "3s", "1", "2", "3", "4", "5"]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    assert_eq!(
        done.stderr,
        format!(
            "pirn: waiting for 1, 2 (it comes after job 1, which has not ended), 3 and 2 more\n{}pirn: not all jobs have ended in time\n",
            spool.unserved()
        )
    );

    spool.serve(&[]);
    assert_eq!(wait.end(&spool), (0, String::new(), told.clone()));
    assert_eq!(log.end(&spool), (0, "out\n".to_owned(), told));
    // The job has ended: no message.
    let done = spool.pirn(&["wait", "1"]);
    assert_eq!(
        (done.code, done.stdout, done.stderr),
        (0, String::new(), String::new())
    );
    let done = spool.pirn(&["log", "-f", "1"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "out\n", "")
    );
    // A daemon serves the spool, but the job takes longer than the timeout.
    let done = spool.pirn(&["wait", "--timeout", "3s", "2"]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    assert!(
        done.stderr
            .starts_with("pirn: waiting for 2 (it is not to start before 219")
            && !done.stderr.contains("no daemon"),
        "{}",
        done.stderr
    );
}

#[test]
fn run_needs_no_daemon_and_says_nothing() {
    let spool = Spool::new();
    let done = spool.pirn(&["run", "echo out; exit 3"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (3, "out\n", "")
    );
}

/// `wait` must notice that a job leaves its queue for good: no other event would wake it.
#[test]
fn what_waits_for_a_job_in_a_queue_notices_that_it_is_withdrawn() {
    let spool = Spool::new();
    for (verb, code, said) in [
        (&["wait"][..], 66, "there is no job"),
        (&["log", "-f"], 0, ""),
    ] {
        for by_hand in [true, false] {
            let id = spool.add(&["-q", "mail", "true"]);
            let waiting = Waiting::start(&spool, &[verb, &[&id]].concat());
            let told = format!("pirn: waiting for {id}\n{}", spool.unserved());
            waiting.wait_said(&spool, &told);
            // First it goes to another queue.
            fs::create_dir_all(spool.path().join("pending/web")).unwrap();
            spool.mv(&format!("pending/mail/{id}"), "pending/web");
            if by_hand {
                spool.rm(&format!("pending/web/{id}"));
            } else {
                assert_eq!(spool.pirn(&["rm", &id]).code, 0);
            }
            let (left, _, err) = waiting.end(&spool);
            assert_eq!(left, code, "{verb:?} {by_hand}: {err}");
            assert!(err.contains(said), "{verb:?} {by_hand}: {err}");
        }
    }
}

/// A `pirn run` holds the lock, but starts no other job.
#[test]
fn beside_a_run_nobody_serves() {
    let spool = Spool::new();
    let run = Waiting::start(&spool, &["run", "echo begun; exec sleep 600"]);
    spool.wait_log("1", "begun");
    let done = spool.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stderr), (0, spool.unserved()));
    let status = spool.pirn(&["status"]).stdout;
    let daemon = format!("daemon    none: pirn run, process {}, ", run.child.id());
    assert!(status.contains(&daemon), "{status}");
    let status = spool.pirn(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["daemon"].is_null(), "{status}");
    assert_eq!(spool.pirn(&["cancel", "1"]).code, 0);
    assert_eq!(run.end(&spool).0, 125);
}
