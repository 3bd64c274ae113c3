//! `pirn serve -ro ...`: a daemon that confines itself and each of its jobs.

use crate::launch::can_confine;
use crate::spool::{DEADLINE, Spool, is_alive};
use serde_json::json;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const LIBRARIES: [&str; 6] = ["-rof", "/usr/bin/echo", "-ro", "/lib", "-ro", "/lib64"];

/// A directory beside the spool, which jobs may change.
fn make_out(spool: &Spool) -> String {
    let out = spool.beside("out");
    std::fs::create_dir(&out).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn the_options_of_filed() {
    if !can_confine() {
        return;
    }
    let mut spool = Spool::new();
    let out = make_out(&spool);
    let socket = spool.beside("socket");
    let http = format!("--http=unix:{}", socket.display());
    spool.serve(&[&LIBRARIES[..], &["-rw", &out, &http]].concat());
    spool.drop_file("1", "/usr/bin/echo 'hello world'");
    spool.wait_record("complete/1");
    assert_eq!(spool.read("log/1"), "hello world\n");
    // Neither the rest of the system nor the spool can be opened, whatever the job itself asks for.
    let config = spool.path().join("lock").display().to_string();
    for (id, line) in [
        ("2", "exec 3< /etc/passwd".to_owned()),
        ("3", format!("exec 3< {config}")),
        ("4", format!("echo x > {}", spool.beside("x").display())),
    ] {
        spool.drop_json(id, &json!({"command": line, "sandbox": {"rw": ["/"]}}));
        spool.wait_record(&format!("failed/{id}"));
        let log = spool.read(&format!("log/{id}"));
        assert!(log.contains("Permission denied"), "{id}: {log}");
    }
    spool.drop_file("5", format!("echo x > {out}/x"));
    let record = spool.wait_record("complete/5");
    assert_eq!(record["sandboxed"]["layers"], 1, "{record}");
    assert!(socket.exists());
    spool.stop();
}

#[test]
fn no_files_named_means_no_layer_for_the_daemon() {
    if !can_confine() {
        return;
    }
    let spool = Spool::serving(&["--network=none"]);
    let status = format!("/proc/{}/status", spool.daemon_pid().unwrap());
    let status = std::fs::read_to_string(status).unwrap();
    assert!(status.contains("NoNewPrivs:\t0"), "{status}");
    spool.drop_file("1", "grep Seccomp: /proc/self/status");
    spool.wait_record("complete/1");
    assert_eq!(spool.read("log/1"), "Seccomp:\t2\n");
}

/// An enforced sandbox that cannot be had: the daemon does not start.
#[test]
fn a_daemon_that_cannot_be_confined() {
    let spool = Spool::new();
    let missing = spool.beside("missing").display().to_string();
    for (faults, option, sentence) in [
        (
            "",
            format!("-ro={missing}"),
            format!("serve.ro: {missing}: No such file or directory"),
        ),
        (
            "landlock=2",
            "--system".to_owned(),
            "serve.system needs Landlock ABI 3 (Linux 6.2); this kernel has 2".to_owned(),
        ),
        (
            "no-seccomp",
            "--network=none".to_owned(),
            "serve.network needs seccomp filters; this kernel has none".to_owned(),
        ),
    ] {
        let mut command = spool.command(["serve", &option]);
        let done = spool.finish(command.env("PIRN_FAULTS", faults).stdin(Stdio::null()));
        if can_confine() {
            assert_eq!(
                (done.code, done.stderr),
                (78, format!("pirn: {sentence}\n")),
                "{option}"
            );
        }
    }
}

/// Upgrades a daemon until `upgrades` are done or it is gone. Gives how many were done.
fn upgrade(spool: &Spool, faults: &str, upgrades: usize) -> (usize, String) {
    spool.make();
    let mut command = spool.command(["serve", "--system"]);
    let mut daemon = spool.spawn_logged(command.env("PIRN_FAULTS", faults));
    let runs = |id: usize| {
        let id = format!("{faults}{id}");
        spool.drop_json(&id, &json!({"command": "true", "tries": 1}));
        let has = |dir: &str| spool.has(&format!("{dir}/{id}"));
        spool.wait_for("the job to end", || has("complete") || has("failed"));
        has("complete")
    };
    let mut done = 0;
    while runs(done) && done < upgrades {
        let becoming = |log: String| log.matches("upgrade: becoming").count();
        let before = becoming(spool.daemon_log());
        signal(&daemon, libc::SIGUSR2);
        spool.wait_for("the upgrade", || becoming(spool.daemon_log()) >= before + 2);
        done += 1;
    }
    signal(&daemon, libc::SIGTERM);
    daemon.wait().unwrap();
    (done, spool.daemon_log())
}

fn signal(daemon: &Child, signal: i32) {
    let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    let _ = nix::sys::signal::kill(pid, signal);
}

#[test]
fn upgrades_do_not_stack_layers() {
    if !can_confine() {
        return;
    }
    let spool = Spool::new();
    let (done, log) = upgrade(&spool, "", 20);
    assert_eq!(done, 20, "{log}");
    // The control. A job needs a layer of its own.
    let (done, log) = upgrade(&spool, "stacked-layers", 20);
    assert!(done < 17, "{done}: {log}");
    assert!(
        log.contains("landlock_restrict_self: Argument list too long"),
        "{log}"
    );
}

/// Kills a daemon whose job runs; gives true if the next one can cancel the job.
fn ends_adopted_job(faults: &str) -> bool {
    let mut spool = Spool::new();
    let out = make_out(&spool);
    let serve = |spool: &mut Spool| {
        let mut command = spool.command(["serve", "--system", "-rw", &out]);
        command.env("PIRN_FAULTS", faults);
        spool.serve_with(command);
    };
    serve(&mut spool);
    spool.drop_file("1", "while :; do sleep 1; done");
    let pid = spool.wait_note("1")["pid"].as_i64().unwrap();
    spool.crash();
    serve(&mut spool);
    assert!(is_alive(pid));
    let _ = spool.pirn(&["cancel", "1"]);
    let end = Instant::now()
        + if faults.is_empty() {
            DEADLINE
        } else {
            Duration::from_secs(3)
        };
    while is_alive(pid) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let is_ended = !is_alive(pid);
    if !is_ended {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    is_ended
}

#[test]
fn the_next_daemon_ends_the_jobs_of_a_confined_one() {
    if !can_confine() {
        return;
    }
    assert!(ends_adopted_job(""));
    assert!(!ends_adopted_job("scoped-daemon"), "the control");
}
