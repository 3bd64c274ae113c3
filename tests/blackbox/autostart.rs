//! `pirn add --start` and the setting `autostart`: a daemon that comes with the first job and leaves after the last.

use crate::detach::{Detached, is_locked};
use crate::pty::Terminal;
use crate::spool::{Spool, wait_for};
use crate::tools::{Gate, ok};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, Command, Stdio};

const LEAVES: &str = "nothing is left to run: leaving the spool";

fn starts(free: &Detached) -> usize {
    free.log().matches(" serves ").count()
}

/// A spool whose settings start daemons.
fn with_setting() -> Detached {
    let free = Detached::new();
    fs::write(free.0.path().join("config.json"), r#"{"autostart": true}"#).unwrap();
    free
}

#[test]
fn it_comes_and_leaves() {
    let free = Detached::new();
    for n in 1..=2 {
        let done = free.0.pirn(&["add", "--start", "true"]);
        let said = (done.code, done.stdout, done.stderr.as_str());
        assert_eq!(said, (0, format!("{n}\n"), ""), "{}", free.log());
        free.0.wait_record(&format!("complete/{n}"));
        free.wait_unserved();
        assert_eq!(starts(&free), n);
        assert_eq!(free.log().matches(LEAVES).count(), n, "{}", free.log());
    }
    // Where there is one already, it is used.
    let mut spool = Spool::serving(&[]);
    assert_eq!(spool.add(&["--start", "true"]), "1");
    spool.wait_record("complete/1");
    assert!(!spool.has("daemon.log"));
    spool.stop();
}

#[test]
fn twenty_at_once_start_one() {
    let free = Detached::new();
    // A daemon that has nothing to run leaves.
    let mut stay = Gate::new(&free.0, "stay");
    let add = || {
        free.0
            .command(["add", "--start", &stay.wait()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..20).map(|_| add()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    stay.open(20);
    free.0
        .wait_for("all of them", || free.0.ls("complete").len() == 20);
    free.stop();
    assert!(!free.is_served());
    assert_eq!(starts(&free), 1, "{}", free.log());
}

#[test]
fn three_hundred_in_a_row_are_all_run() {
    let free = Detached::new();
    for n in 1..=300 {
        // Some come while a daemon leaves.
        let pause = if n % 50 == 0 { 1000 + n } else { 0 };
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let id = free.0.add(&["--start", "true"]);
        assert_eq!(id, n.to_string());
    }
    free.0.wait_progress("all of them", || {
        let over = free.0.ls("complete").len();
        (over, over == 300)
    });
    free.wait_unserved();
    for state in ["pending", "active", "failed"] {
        assert!(free.0.ls(state).is_empty(), "{state}");
    }
}

/// A daemon that is slow around the unlock, about to leave.
fn leaving(spool: &Spool, fault: &str) -> Child {
    spool.drop_file("first", "true");
    let mut command = spool.command(["serve", "--drain", "--no-front"]);
    command.env("PIRN_FAULTS", format!("slow-leave{fault}"));
    let daemon = spool.spawn_logged(&mut command);
    spool.wait_daemon_log(LEAVES);
    daemon
}

/// Drops a job while the daemon has the lock: `add --start` would start none. Gives whether it was run.
fn is_run_that_comes_while_it_leaves(fault: &str) -> bool {
    let spool = Spool::made();
    let mut daemon = leaving(&spool, fault);
    spool.drop_file("second", "true");
    assert!(is_locked(&spool));
    assert!(daemon.wait().unwrap().success());
    spool.has("complete/second")
}

#[test]
fn a_job_that_comes_while_it_leaves_is_run() {
    assert!(is_run_that_comes_while_it_leaves(""));
    assert!(
        !is_run_that_comes_while_it_leaves(",no-second-look"),
        "the control"
    );
}

#[test]
fn another_daemon_may_take_the_spool_meanwhile() {
    let mut spool = Spool::made();
    let mut daemon = leaving(&spool, "");
    spool.drop_file("second", "true");
    spool.wait_for("the unlock", || !is_locked(&spool));
    spool.serve(&[]);
    assert!(daemon.wait().unwrap().success());
    spool.wait_record("complete/second");
    assert!(
        !spool.daemon_log().contains("staying"),
        "{}",
        spool.daemon_log()
    );
    spool.stop();
}

#[test]
fn a_run_that_takes_the_spool_meanwhile_is_waited_for() {
    let spool = Spool::made();
    let mut daemon = leaving(&spool, "");
    spool.drop_file("second", "true");
    spool.wait_for("the unlock", || !is_locked(&spool));
    let run = spool.pirn(&["run", "sleep 1"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(daemon.wait().unwrap().success());
    assert!(spool.has("complete/second"));
}

#[test]
fn it_waits_for_dates_and_backoffs() {
    let free = Detached::new();
    free.0
        .add(&["--start", "--in", "3s", "--id", "dated", "true"]);
    free.0.add(&[
        "--tries",
        "2",
        "--backoff",
        "first=3s",
        "--id",
        "fails",
        "false",
    ]);
    free.0.wait_record("complete/dated");
    free.0.wait_record("failed/fails");
    free.wait_unserved();
    assert_eq!(starts(&free), 1, "{}", free.log());
}

#[test]
fn it_does_not_wait_for_what_cannot_start() {
    let free = with_setting();
    for (id, args) in [
        ("paused", &["-q", "off"][..]),
        ("dated", &["-q", "off", "--in", "1h"]),
        ("stays", &[]),
    ] {
        fs::create_dir_all(free.0.path().join("pending/off")).unwrap();
        fs::write(free.0.path().join("pending/off/.paused"), "").unwrap();
        fs::write(free.0.path().join("pending/.paused"), "").unwrap();
        free.0.add(&[args, &["--id", id, "true"]].concat());
    }
    ok(&free.0, &["hold", "stays"]);
    free.0.add(&["--after", "stays", "--id", "child", "true"]);
    fs::remove_file(free.0.path().join("pending/.paused")).unwrap();
    free.0.add(&["true"]);
    free.0.wait_record("complete/1");
    free.wait_unserved();
    assert_eq!(free.0.ls("pending"), ["child", "off"]);
    assert_eq!(free.0.ls("pending/off"), ["dated", "paused"]);
    // Each of these lets one start.
    ok(&free.0, &["release", "stays"]);
    free.0.wait_record("complete/child");
    free.wait_unserved();
    ok(&free.0, &["resume", "off"]);
    free.0.wait_record("complete/paused");
    free.stop();
}

#[test]
fn all_ways_to_add_start_it() {
    let free = with_setting();
    let add_is_run = |id: &str| {
        free.0.wait_record(&format!("complete/{id}"));
        free.stop();
    };
    assert_eq!(free.0.pirn(&["at", "now", "true"]).code, 0);
    add_is_run("1");
    assert_eq!(
        free.0
            .pirn_with_input(&["add", "--batch"], b"true\n")
            .stdout,
        "2\n"
    );
    add_is_run("2");
    ok(&free.0, &["retry", "1"]);
    add_is_run("1");
    assert_eq!(free.0.pirn(&["retry", "--copy", "1"]).stdout, "3\n");
    add_is_run("3");
    fs::create_dir_all(free.0.path().join("pending/off")).unwrap();
    fs::write(free.0.path().join("pending/off/.paused"), "").unwrap();
    assert_eq!(free.0.add(&["-q", "off", "true"]), "4");
    free.stop();
    ok(&free.0, &["move", "4", "default"]);
    add_is_run("4");
}

#[test]
fn the_caller_is_not_held_up() {
    let free = Detached::new();
    let pirn = env!("CARGO_BIN_EXE_pirn");
    let go = free.0.beside("go");
    let wait = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let line = format!(
        "exec 7>&1; out=$('{pirn}' add --start '{wait}'); echo \"$out\"; '{pirn}' add --start true | cat"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env("PIRN_SPOOL", free.0.path());
    let done = free.0.finish(&mut command);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("1\n2\n", ""));
    fs::write(go, "").unwrap();
    free.0.wait_record("complete/1");
    free.stop();
}

#[test]
fn its_environment_is_that_of_a_login() {
    let free = Detached::new();
    let mut stay = Gate::new(&free.0, "stay");
    let line = format!("echo \"$SECRET\"; {}", stay.wait());
    let mut command = free.0.command(["add", "--start", &line]);
    command.env("SECRET", "of the caller").env("PIRN_ID", "7");
    assert_eq!(free.0.finish(&mut command).code, 0);
    let environ = fs::read_to_string(format!("/proc/{}/environ", free.pid())).unwrap();
    let names: Vec<&str> = environ
        .split('\0')
        .filter_map(|pair| Some(pair.split_once('=')?.0))
        .collect();
    for name in ["HOME", "USER", "LOGNAME", "SHELL", "PATH"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let may = |name: &&str| {
        [
            "HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "LANG", "TZ",
        ]
        .contains(name)
            || name.starts_with("LC_")
    };
    assert!(names.iter().all(may), "{names:?}");
    free.0.drop_file("dropped", "umask; echo \"[$SECRET]\"");
    free.0.wait_record("complete/dropped");
    assert_eq!(free.0.read("log/dropped"), "0022\n[]\n");
    stay.open(1);
    free.0.wait_record("complete/1");
    assert_eq!(free.0.read("log/1"), "of the caller\n");
    free.stop();
}

#[test]
fn it_is_the_owners_only() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let free = Detached::new();
    fs::set_permissions(free.0.beside("."), fs::Permissions::from_mode(0o755)).unwrap();
    chown(free.0.path(), Some(65534), Some(65534)).unwrap();
    let done = free.0.pirn(&["add", "--start", "true"]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("belongs to another user"),
        "{}",
        done.stderr
    );
    assert!(free.0.ls("pending").is_empty());
    fs::write(free.0.path().join("config.json"), r#"{"autostart": true}"#).unwrap();
    let done = free.0.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    assert!(done.stderr.contains("no daemon serves"), "{}", done.stderr);
    assert!(!free.0.has("daemon.log"));
}

#[test]
fn a_failure_to_start_is_said_and_the_job_is_accepted() {
    let free = Detached::new();
    fs::write(free.0.path().join("config.json"), "{").unwrap();
    let done = free.0.pirn(&["add", "--start", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    assert!(done.stderr.contains("exit code 78"), "{}", done.stderr);
    assert_eq!(free.0.ls("pending"), ["1"]);
}

#[test]
fn a_run_and_a_stop_are_minded() {
    let free = with_setting();
    let pirn = env!("CARGO_BIN_EXE_pirn");
    let done = free
        .0
        .pirn(&["run", &format!("'{pirn}' add true; '{pirn}' add true")]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout.contains("2\n") && done.stdout.contains("3\n"),
        "{}",
        done.stdout
    );
    free.0.wait_record("complete/2");
    free.0.wait_record("complete/3");
    let go = free.0.beside("go");
    free.0.add(&[&format!(
        "until [ -e '{}' ]; do sleep 0.02; done",
        go.display()
    )]);
    free.0.wait_file("active/4");
    let mut stop = free.0.command(["stop"]).spawn().unwrap();
    free.0
        .wait_for("its answer", || free.0.read("lock").contains("stopping"));
    let done = free.0.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "5\n"));
    assert!(done.stderr.contains("is ending"), "{}", done.stderr);
    fs::write(go, "").unwrap();
    assert!(stop.wait().unwrap().success());
    wait_for("its end", || !free.is_served());
    assert_eq!(free.0.ls("pending"), ["5"]);
}

#[test]
fn keys_of_watch_start_it_too() {
    let free = with_setting();
    free.0
        .drop_json("job", &json!({"command": "exit 1", "tries": 1}));
    ok(&free.0, &["hold", "job"]);
    let mut terminal = Terminal::start(&free.0, &["watch"], 24, 80);
    terminal.wait_shown("held");
    terminal.type_keys("h");
    terminal.wait_shown("job job is released");
    free.0.wait_record("failed/job");
    free.wait_unserved();
    terminal.wait_shown("no daemon: nothing is started");
    terminal.type_keys("r");
    free.0.wait_for("a second daemon", || starts(&free) == 2);
    terminal.type_keys("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_starter_that_was_stopped_does_not_hold_others() {
    let free = Detached::new();
    let tmp = fs::File::open(free.0.path().join("tmp")).unwrap();
    tmp.lock().unwrap();
    let done = free.0.pirn(&["add", "--start", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "1\n"));
    let why = "another daemon is being started and is not ready";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    drop(tmp);
    free.0.add(&["--start", "true"]);
    free.0.wait_record("complete/1");
    free.0.wait_record("complete/2");
    free.stop();
}
