//! The signals TERM, INT, HUP, USR2 and KILL; sd_notify; and a daemon with nothing to do, which sleeps.

use crate::spool::{Spool, is_alive};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

#[test]
fn term_lets_running_jobs_end_and_starts_nothing_more() {
    let mut spool = Spool::serving(&["--slots", "1"]);
    let go = spool.beside("go");
    let running = format!("while ! [ -e {} ]; do sleep 0.02; done", go.display());
    spool.drop_file("running", &running);
    spool.wait_file("active/running");
    spool.drop_file("waiting", "true");
    spool.signal("TERM");
    spool.wait_for("the daemon to say so", || {
        spool.daemon_log().contains("stopping")
    });
    assert!(spool.has("active/running"));
    fs::write(go, "").unwrap();
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.record("complete/running")["exit_code"], 0);
    assert!(
        spool.has("pending/waiting"),
        "nothing is started after TERM"
    );
}

#[test]
fn a_second_term_ends_jobs_which_go_back_as_interrupted_tries() {
    let mut spool = Spool::serving(&["--slots", "2"]);
    spool.drop_file("polite", "exec sleep 1000");
    spool.drop_file(
        "stubborn",
        r#"{"command": "trap '' TERM; while :; do sleep 0.05; done", "grace": "300ms"}"#,
    );
    let pids: Vec<i64> = ["polite", "stubborn"]
        .map(|id| spool.wait_note(id)["pid"].as_i64().unwrap())
        .into();
    spool.signal("TERM");
    spool.wait_for("the daemon to say so", || {
        spool.daemon_log().contains("stopping")
    });
    spool.signal("INT");
    assert_eq!(spool.wait_exit(), 0);
    for (id, pid) in ["polite", "stubborn"].iter().zip(pids) {
        let record = spool.record(&format!("pending/{id}"));
        assert_eq!(record["attempts"][0]["reason"], "interrupted", "{record}");
        assert_eq!(record["attempt"], 1);
        assert!(!is_alive(pid));
    }
    // The jobs run on, and the try is counted.
    spool.rm("pending/stubborn");
    spool.serve(&[]);
    assert_eq!(spool.wait_note("polite")["attempt"], 2);
}

#[test]
fn hup_reads_the_config_again() {
    let mut spool = Spool::new();
    let config = spool.beside("settings.json");
    fs::write(&config, r#"{"slots": 1}"#).unwrap();
    spool.serve(&["--config", config.to_str().unwrap()]);
    // The daemon reads the config again after it has begun to watch: wait until that is over.
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    fs::write(&config, r#"{"slots": 2}"#).unwrap();
    spool.signal("HUP");
    spool.wait_for("the config to be read", || {
        spool.daemon_log().contains("config: read")
    });
    fs::write(&config, "{\n\"slots\": true}").unwrap();
    spool.signal("HUP");
    spool.wait_for("the broken config to be refused", || {
        spool.daemon_log().contains("line 2: slots")
    });
}

#[test]
fn usr2_becomes_the_new_binary_and_loses_no_exit_status() {
    let mut spool = Spool::serving(&["--slots", "4"]);
    let go = spool.beside("go");
    let until_go = |code: u32| {
        format!(
            "while ! [ -e {} ]; do sleep 0.02; done; exit {code}",
            go.display()
        )
    };
    spool.drop_file("good", until_go(0));
    spool.drop_file(
        "bad",
        format!(r#"{{"command": {:?}, "tries": 1}}"#, until_go(23)),
    );
    let pid = spool.wait_note("good")["pid"].clone();
    spool.wait_note("bad");
    // This job is so young that it has no note yet.
    spool.drop_file(
        "young",
        format!(r#"{{"command": {:?}, "tries": 1}}"#, until_go(24)),
    );
    spool.wait_file("active/young");
    spool.signal("USR2");
    spool.wait_for("the new image to find its jobs", || {
        spool.daemon_log().matches("still running").count() == 3
    });
    assert_eq!(
        spool.record("active/good")["pid"],
        pid,
        "the job was not touched"
    );
    assert_eq!(spool.pirn(&["serve"]).code, 75, "the spool stayed locked");
    fs::write(go, "").unwrap();
    assert_eq!(spool.wait_record("complete/good")["exit_code"], 0);
    assert_eq!(spool.wait_record("failed/bad")["exit_code"], 23);
    assert_eq!(spool.wait_record("failed/young")["exit_code"], 24);
    spool.drop_file("after", "echo it goes on");
    spool.wait_record("complete/after");
    spool.stop();
}

#[test]
fn killed_daemon_jobs_go_on_and_are_adopted() {
    let mut spool = Spool::serving(&[]);
    let go = spool.beside("go");
    spool.drop_file(
        "job",
        format!(
            "echo one; while ! [ -e {} ]; do sleep 0.02; done; echo two; exit 9",
            go.display()
        ),
    );
    let note = spool.wait_note("job");
    spool.crash();
    assert!(is_alive(note["pid"].as_i64().unwrap()));
    spool.serve(&[]);
    spool.wait_for("the job to be adopted", || {
        spool.daemon_log().contains("still running")
    });
    fs::write(go, "").unwrap();
    spool.wait_for("the end of the first try", || {
        spool.read("log/job").starts_with("one\ntwo\n")
    });
    let record = spool.wait_record("failed/job");
    let first = &record["attempts"][0];
    // Kernels before 6.15 do not report the exit status of another process's child.
    match first["reason"].as_str() {
        Some("exited") => assert_eq!(first["exit_code"], 9),
        other => assert_eq!(other, Some("interrupted")),
    }
    assert_eq!(record["attempts"].as_array().unwrap().len(), 3);
}

#[test]
fn notifies_its_service_manager() {
    let spool = Spool::new();
    let path = spool.beside("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let next = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let n = socket
                .recv(&mut buffer)
                .unwrap_or_else(|e| panic!("no {wanted}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let mut daemon = spool.spawn_logged(spool.command(["serve"]).env("NOTIFY_SOCKET", &path));
    next("READY=1");
    spool.drop_file("job", "sleep 1000");
    next("STATUS=1 running, 0 waiting");
    let kill = |signal: &str| {
        Command::new("kill")
            .args([signal, &daemon.id().to_string()])
            .status()
            .unwrap()
    };
    kill("-HUP");
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    kill("-TERM");
    next("STOPPING=1");
    kill("-TERM");
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn an_idle_daemon_makes_no_system_call() {
    let spool = Spool::serving(&[]);
    spool.drop_file("job", "echo done");
    spool.wait_record("complete/job");
    assert_makes_no_system_call(&spool);
}

#[test]
fn a_daemon_whose_slots_are_taken_makes_no_system_call() {
    let spool = Spool::serving(&["--slots", "3"]);
    for n in 0..8 {
        spool.drop_file(&format!("job-{n}"), "exec sleep 1000");
    }
    for n in 0..3 {
        spool.wait_note(&format!("job-{n}"));
    }
    assert_eq!(spool.ls("pending").len(), 5);
    assert_makes_no_system_call(&spool);
}

/// Looks at all threads of the daemon for ten seconds.
fn assert_makes_no_system_call(spool: &Spool) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let pid = spool.daemon_pid().unwrap().to_string();
    let trace = spool.beside("trace");
    let mut strace = Command::new("strace");
    let args = [
        "-f",
        "-q",
        "-ttt",
        "-p",
        &pid,
        "-o",
        trace.to_str().unwrap(),
    ];
    // The timer for the note of an ended job may still be armed: let it expire.
    std::thread::sleep(Duration::from_millis(500));
    let mut strace = strace.args(args).spawn().unwrap();
    // The test measures time itself: ten seconds, after one in which strace attaches (the kernel then restarts the
    // system calls in which the threads wait).
    std::thread::sleep(Duration::from_secs(11));
    Command::new("kill")
        .args(["-INT", &strace.id().to_string()])
        .status()
        .unwrap();
    strace.wait().unwrap();
    let text = fs::read_to_string(&trace).unwrap();
    let stamp = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .and_then(|t| t.parse::<f64>().ok())
    };
    let Some(attached) = text.lines().find_map(stamp) else {
        println!("skipped: strace may not attach here");
        return;
    };
    let quiet = |line: &&str| stamp(line).is_some_and(|at| (1.0..10.9).contains(&(at - attached)));
    let calls: Vec<&str> = text.lines().filter(quiet).collect();
    assert_eq!(calls, [""; 0], "{text}");
}

/// The watcher, a thread for each job and at most one that waits for the next, and one in the background.
#[test]
fn a_busy_daemon_has_three_kinds_of_thread() {
    let spool = Spool::serving(&["--slots", "8"]);
    let pid = spool.daemon_pid().unwrap();
    for n in 0..4 {
        spool.drop_file(&format!("long-{n}"), "exec sleep 1000");
    }
    for n in 0..4 {
        spool.wait_note(&format!("long-{n}"));
    }
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let threads = || -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().filter_map(name).collect()
    };
    let count = |of: &str| threads().iter().filter(|name| **name == of).count();
    assert_eq!(
        [count("pirn\n"), count("job\n"), count("chores\n")],
        [1, 4, 1],
        "{:?}",
        threads()
    );
    for n in 0..300 {
        let command = if n % 3 == 0 { "exit 100" } else { "true" };
        spool.drop_file(&format!("short-{n}"), command);
    }
    spool.wait_progress("the short jobs to end", || {
        for name in threads() {
            assert!(["pirn\n", "job\n", "chores\n"].contains(&&*name), "{name}");
        }
        let over = spool.ls("complete").len() + spool.ls("failed").len();
        (over, over == 300)
    });
    spool.wait_for("all but one of their threads to end", || {
        [count("job\n"), threads().len()] == [5, 7]
    });
}

/// hq's logrotate file sends it; pirn's logs belong to the service manager.
#[test]
fn sigusr1_does_nothing() {
    let mut spool = Spool::serving(&[]);
    for _ in 0..20 {
        spool.signal("USR1");
    }
    spool.drop_file("a", "trap 'echo default' USR1; kill -USR1 $$; kill -USR1 0");
    let record = spool.wait_record("complete/a");
    assert_eq!(
        record["output"], "default\ndefault\n",
        "jobs have the signal as ever"
    );
    spool.stop();
}
