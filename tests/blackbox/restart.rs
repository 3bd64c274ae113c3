//! Starts of a daemon while something of another process is still there.

use crate::spool::{Spool, is_alive};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

#[test]
fn an_address_that_is_still_taken_is_tried_for_some_seconds() {
    let mut spool = Spool::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = spool.command(["serve", "--no-front", "--http", &address]);
    let mut daemon = spool.spawn_logged(&mut command);
    spool.wait_daemon_log("trying for");
    assert!(daemon.try_wait().unwrap().is_none());
    drop(taken);
    spool.wait_daemon_log("listening on");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // If the address stays taken, the start fails in the end.
    let _taken = TcpListener::bind(&address).unwrap();
    let done = spool.pirn(&["serve", "--http", &address]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("Address already in use"),
        "{}",
        done.stderr
    );
    spool.serve(&[]);
}

#[test]
fn serve_waits_for_a_pirn_run() {
    let spool = Spool::new();
    let go = spool.beside("go");
    let until_go = format!("until [ -e '{}' ]; do sleep 0.02; done", go.display());
    let mut run = spool.spawn_logged(&mut spool.command(["run", "--", &until_go]));
    spool.wait_note("1");
    let lock = spool.read("lock");
    assert_eq!(lock.lines().nth(2), Some("command: run"), "{lock}");
    // A signal ends a daemon that waits for the address.
    let mut waiting = spool.spawn_logged(&mut spool.command(["serve"]));
    spool.wait_daemon_log("waiting: the spool is in use by pirn run");
    let sent = Command::new("kill").arg(waiting.id().to_string()).status();
    assert!(sent.unwrap().success());
    assert!(!waiting.wait().unwrap().success());
    let mut serve = spool.spawn_logged(&mut spool.command(["serve", "--drain"]));
    spool.wait_for("the second one to wait", || {
        spool.daemon_log().matches("waiting: the spool").count() == 2
    });
    spool.drop_file("next", "true");
    assert!(serve.try_wait().unwrap().is_none() && spool.has("pending/next"));
    fs::write(go, "").unwrap();
    assert!(run.wait().unwrap().success());
    assert!(serve.wait().unwrap().success());
    spool.wait_record("complete/next");
}

/// A daemon that has just taken the lock has not written its text yet: the file still names the previous holder.
#[test]
fn an_ended_pirn_run_in_the_lock_is_not_waited_for() {
    let spool = Spool::new();
    let done = spool.pirn(&["run", "true"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let lock = spool.read("lock");
    assert_eq!(lock.lines().nth(2), Some("command: run"), "{lock}");
    let held = fs::File::open(spool.path().join("lock")).unwrap();
    fs2::FileExt::lock_exclusive(&held).unwrap();
    let mut serve = spool.spawn_logged(&mut spool.command(["serve", "--drain"]));
    let pid = serve.id();
    spool.wait_for("it to wait", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") S ")
    });
    let us = std::process::id();
    let text = format!("{us}\nversion: 9.9.9\ncommand: serve\n");
    fs::write(spool.path().join("lock"), text).unwrap();
    spool.wait_for("its end", || !is_alive(i64::from(pid)));
    assert_eq!(serve.wait().unwrap().code(), Some(75));
    let log = spool.daemon_log();
    assert!(log.contains(&format!("in use by process {us}")), "{log}");
    assert!(!log.contains("waiting"), "{log}");
}

#[test]
fn an_empty_log_that_a_kill_left_is_removed() {
    let mut spool = Spool::serving(&[]);
    for (id, line) in [("silent", "true"), ("loud", "echo words")] {
        spool.drop_file(id, line);
        spool.wait_record(&format!("complete/{id}"));
    }
    spool.stop();
    fs::write(spool.path().join("log/silent"), "").unwrap();
    fs::write(spool.path().join("log/silent~err"), "").unwrap();
    spool.serve(&[]);
    spool.wait_gone("log/silent");
    spool.wait_gone("log/silent~err");
    assert_eq!(spool.read("log/loud"), "words\n");
}

#[test]
fn a_swap_that_was_cut_off_leaves_nothing_in_bad() {
    let mut spool = Spool::made();
    // The files as a kill leaves them between the exchange of a record with the dropped file and the removal of that
    // file.
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    let swapped = r#"{"command": "echo mail", "queue": "mail", "id": "a.b", "created_at": "2026-11-21T16:00:00Z"}"#;
    fs::write(spool.path().join("pending/mail/a.b"), swapped).unwrap();
    fs::write(spool.path().join("tmp/.swap.a.b.999999999.0"), "echo mail").unwrap();
    fs::write(
        spool.path().join("held/back"),
        r#"{"command": "echo back", "queue": "mail"}"#,
    )
    .unwrap();
    fs::write(spool.path().join("tmp/.swap.back.999999999.1"), "echo back").unwrap();
    // The file belongs to an id whose end was cut off, not to the job whose name is the rest of it.
    let cut = "c".repeat(35);
    fs::write(spool.path().join("held").join(&cut), "echo cut").unwrap();
    let cut_off = format!(".swap.{cut}.999999999.3");
    fs::write(spool.path().join("tmp").join(cut_off), "echo cut").unwrap();
    // A newer drop exists nowhere else.
    fs::write(spool.path().join("pending/newer"), "echo old").unwrap();
    fs::write(spool.path().join("tmp/.swap.newer.999999999.2"), "echo new").unwrap();
    spool.serve(&[]);
    spool.wait_record("complete/a.b");
    spool.wait_record("complete/newer");
    assert_eq!(spool.read("log/a.b"), "mail\n");
    assert_eq!(spool.ls("tmp"), [""; 0]);
    assert_eq!(spool.ls("held"), ["back", &cut]);
    let of_cut = format!("%2Eswap.{cut}.999999999.3");
    let kept = [
        of_cut.as_str(),
        &format!("{of_cut}.reason"),
        "%2Eswap.newer.999999999.2",
        "%2Eswap.newer.999999999.2.reason",
    ];
    assert_eq!(spool.ls("bad"), kept);
    assert_eq!(spool.read("bad/%2Eswap.newer.999999999.2"), "echo new");
}

#[test]
fn a_session_that_a_dead_leader_started_says_nothing_of_its_end() {
    let mut spool = Spool::serving(&[]);
    // The daemon is stopped before it writes the note, and then killed.
    let line = "setsid sleep 600 </dev/null >/dev/null 2>&1 & kill -STOP $(head -n 1 $PIRN_SPOOL/lock); exit 5";
    spool.drop_json("7", &json!({"command": line, "max_interruptions": 0}));
    let daemon = spool.daemon_pid().unwrap();
    spool.wait_for("the daemon to be stopped", || {
        let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" T"))
    });
    spool.wait_for("the leader's end", || spool.all_processes().len() == 1);
    spool.crash();
    spool.serve(&[]);
    let record = spool.wait_record("failed/7");
    assert_eq!(
        (&record["reason"], &record["exit_code"]),
        (&json!("interrupted"), &json!(null))
    );
}
