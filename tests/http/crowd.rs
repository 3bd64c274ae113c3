//! Clients and disks that are slow, and many of them: nobody else waits for them, and no answer is lost at the end.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use crate::strace::{Injection, has_tool};
use crate::tools::Gate;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn slow_clients_make_room() {
    let config = r#"{"http": {"anonymous": ["read", "run"], "connections": 8}}"#;
    let (spool, port) = Spool::with_http(config, &["--slots", "0"]);
    let body = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx";
    let chunks =
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n";
    for sent in ["GET", "GET / HTTP/1.1\r\nHost: l", body, chunks, "BAD\n"] {
        let mut slow: Vec<Conn> = (0..8).map(|_| Conn::to(port)).collect();
        for conn in &mut slow {
            conn.write(sent);
        }
        // One after the other goes, the first one first.
        for _ in 0..16 {
            assert_eq!(get(port, "/healthz").status, 200, "{sent:?}");
        }
        if sent != "BAD\n" {
            slow[0].assert_closed();
        }
    }
    // Those who wait for us do not go.
    let mut waiting: Vec<Conn> = (0..7).map(|_| Conn::to(port)).collect();
    for conn in &mut waiting {
        conn.ask("POST", "/v1/jobs?wait=60s", &[], "true");
    }
    spool.wait_for("seven jobs", || spool.ls("pending").len() == 7);
    let mut slow = Conn::to(port);
    slow.write("GET");
    for _ in 0..16 {
        assert_eq!(get(port, "/healthz").status, 200);
    }
    slow.assert_closed();
    for conn in &mut waiting {
        assert!(conn.try_reply().is_none());
    }
    let log = spool.daemon_log();
    let complaints = log.matches("connections are taken").count();
    assert_eq!(complaints, 1, "not one for each: {log}");
}

#[test]
fn descriptors_are_left_for_jobs() {
    let mut spool = Spool::new();
    fs::create_dir_all(spool.path()).unwrap();
    fs::write(spool.path().join("config.json"), ANYBODY_MAY_RUN).unwrap();
    let mut command = spool.command(["serve", "--http", "127.0.0.1:0"]);
    let mut limited = std::process::Command::new("prlimit");
    limited.args(["--nofile=64:64", "--"]);
    limited.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    command = limited;
    spool.serve_with(command);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let pid = spool.daemon_pid().unwrap();
    let mut many: Vec<Conn> = (0..100).map(|_| Conn::to(port)).collect();
    for conn in &mut many {
        conn.try_write("GET");
    }
    assert_eq!(get(port, "/healthz").status, 200);
    assert_eq!(spool.pirn(&["run", "true"]).code, 0);
    drop(many);
    // Now there is not one left: whoever connects waits, and the daemon does not spin.
    let limit = |nofile: &str| {
        let mut command = std::process::Command::new("prlimit");
        command.args(["--pid", &pid.to_string(), &format!("--nofile={nofile}:64")]);
        assert!(command.status().unwrap().success());
    };
    limit("20");
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    };
    let mut waiting = Conn::to(port);
    waiting.ask("GET", "/healthz", &[], "");
    spool.wait_daemon_log("connections have to wait");
    // What is measured here is time itself.
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    assert!(ticks() - before < 40, "{} of 200", ticks() - before);
    limit("64");
    assert_eq!(waiting.reply().status, 200);
    assert_eq!(spool.pirn(&["run", "true"]).code, 0);
    let log = spool.daemon_log();
    assert_eq!(log.matches("have to wait").count(), 1, "{log}");
}

#[test]
fn idle_connections_hold_no_memory() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let large = format!(
        "{{\"command\": \"true\", \"x\": \"{}\"}}",
        "x".repeat(200_000)
    );
    assert_eq!(post(port, "/v1/jobs", &large).status, 201);
    let mut conns: Vec<Conn> = (0..200).map(|_| Conn::to(port)).collect();
    for conn in &mut conns {
        conn.ask("GET", "/v1/jobs/1", &[], "");
        assert!(conn.reply().body.len() > 200_000);
    }
    let kib = memory_kib(&spool);
    assert!(kib < 20_000, "{kib} KiB");
}

/// Memory of the daemon that is not a file's.
fn memory_kib(spool: &Spool) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", spool.daemon_pid().unwrap()));
    let status = status.unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Clients that ask for something large and do not read it hold no more than so much of it, and do not stand in the way
/// of a push.
#[test]
fn large_answers_that_nobody_takes() {
    const SIZE: usize = 15 << 20;
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let token = spool.pirn(&["token", "new", "boss", "read"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let large = format!(r#"{{"command": "true", "x": "{}"}}"#, "x".repeat(SIZE));
    assert_eq!(post(port, "/v1/jobs", &large).status, 201);
    let mut boss = Conn::to(port);
    boss.ask("GET", "/v1/jobs/1", &[&bearer], "");
    // A connection that is made before its turn could be closed as idle.
    let _deaf = [(); 14].map(|()| {
        let mut conn = Conn::to(port);
        conn.ask("GET", "/v1/jobs/1", &[], "");
        assert_eq!(conn.head().unwrap().status, 200);
        conn
    });
    let kib = memory_kib(&spool);
    assert!(kib < 180_000, "{kib} KiB");
    let record = format!(r#"{{"command": "true", "x": "{}"}}"#, "x".repeat(200_000));
    assert_eq!(post(port, "/v1/jobs", &record).status, 201);
    assert!(get(port, "/v1/jobs/1").body.len() > SIZE);
    // A caller with a token has time.
    assert!(boss.reply().body.len() > SIZE);
}

/// All places are taken by clients without a token that ask for a log and do not read it.
#[test]
fn downloads_that_nobody_takes_keep_nobody_out() {
    const SIZE: usize = 32 << 20;
    let config = r#"{"http": {"anonymous": ["read", "run"], "connections": 8}}"#;
    let (spool, port) = Spool::with_http(config, &[]);
    let token = spool.pirn(&["token", "new", "boss", "read"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(post(port, "/v1/jobs?wait=20s", "echo").status, 201);
    let log = fs::File::options()
        .write(true)
        .open(spool.path().join("log/1"));
    log.unwrap().set_len(SIZE as u64).unwrap();
    // It is the oldest, but has a token.
    let mut boss = Conn::to(port);
    boss.ask("GET", "/v1/jobs/1/log", &[&bearer], "");
    let mut deaf: Vec<Conn> = (0..7).map(|_| Conn::to(port)).collect();
    for conn in &mut deaf {
        conn.ask("GET", "/v1/jobs/1/log", &[], "");
        assert_eq!(conn.head().unwrap().status, 200);
    }
    // Sooner than the time that each may take for the next piece.
    let begun = Instant::now();
    for _ in 0..16 {
        spool.wait_for("a place", || {
            let mut conn = Conn::to(port);
            conn.try_write("GET /healthz HTTP/1.0\r\n\r\n");
            conn.head().is_some_and(|reply| reply.status == 200)
        });
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(boss.reply().body.len(), SIZE);
}

#[test]
fn who_looks_does_not_wait_for_who_writes() {
    if !has_tool("strace", "strace") {
        return;
    }
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    let pid = spool.daemon_pid().unwrap();
    let slow = Injection::new(&spool, pid, "fsync,fdatasync:delay_enter=6000000", None);
    let mut writers: Vec<Conn> = (0..24).map(|_| Conn::to(port)).collect();
    for conn in &mut writers {
        conn.ask("POST", "/v1/jobs", &[], "true");
    }
    let connections = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
        let names = tasks.flatten().filter_map(|task| name(task).ok());
        names.filter(|name| name.starts_with("http-conn")).count()
    };
    spool.wait_for("all to be in", || connections() == 24);
    spool.wait_for("some to be at it", || spool.ls("pending").len() > 1);
    let begin = Instant::now();
    for target in ["/healthz", "/v1/jobs/1", "/v1/jobs", "/metrics"] {
        assert_eq!(get(port, target).status, 200);
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    slow.end();
    for conn in &mut writers {
        assert_eq!(conn.reply().status, 201);
    }
}

#[test]
fn a_stop_waits_for_the_disk() {
    if !has_tool("strace", "strace") {
        return;
    }
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    let pid = spool.daemon_pid().unwrap();
    // Longer than a client would be given to take its answer.
    let slow = Injection::new(&spool, pid, "fsync,fdatasync:delay_enter=6000000", None);
    let mut writer = Conn::to(port);
    writer.ask("POST", "/v1/jobs", &[], "true");
    // The job is there, and its directory is being synced: there will be no other answer than that it was accepted.
    spool.wait_file("pending/2");
    spool.signal("TERM");
    assert_eq!(writer.reply().status, 201);
    slow.end();
    assert_eq!(spool.wait_exit(), 0);
}

#[test]
fn what_was_asked_by_then_is_answered_at_the_end() {
    if !has_tool("strace", "strace") {
        return;
    }
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.add(&["--id", "held", "sh", "-c", &gate.wait()]);
    spool.wait_note("held");
    let mut idle = Conn::to(port);
    idle.ask("GET", "/healthz", &[], "");
    assert_eq!(idle.reply().status, 200);
    let tid = spool.thread("http\n");
    // It hears of the end, and what is asked meanwhile it has not been told of.
    let slow = Injection::in_thread(&spool, tid, "epoll_wait:delay_exit=3000000");
    spool.signal("TERM");
    spool.wait_daemon_log("stopping");
    idle.ask("GET", "/healthz", &[], "");
    let mut fresh = Conn::to(port);
    fresh.ask("POST", "/v1/jobs", &[], "true");
    for conn in [&mut idle, &mut fresh] {
        let reply = conn.reply();
        assert_eq!((reply.status, reply.header("retry-after")), (503, "5"));
        conn.assert_closed();
    }
    slow.end();
    gate.open(1);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
}

#[test]
fn listeners_who_do_not_read() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "2"]);
    let mut deaf: Vec<Conn> = (0..200).map(|_| Conn::to(port)).collect();
    for conn in &mut deaf {
        conn.ask("GET", "/v1/events", &[], "");
    }
    let mut heard = Conn::to(port);
    heard.ask("GET", "/v1/events", &[], "");
    assert_eq!(heard.head().unwrap().status, 200);
    let mut text = String::new();
    assert_eq!(heard.event(&mut text).unwrap()["event"], "ready");
    let lines = "true\n".repeat(60);
    let done = spool.pirn_with_input(&["add", "--batch"], lines.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    while spool.ls("complete").len() < 60 {
        let begin = Instant::now();
        assert_eq!(get(port, "/healthz").status, 200);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // Who reads has heard of the end of each, though not one by one.
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 60 {
        let event = heard.event(&mut text).unwrap();
        assert_ne!(event["event"], "lost");
        let job: serde_json::Value = serde_json::from_str(&event["data"]).unwrap();
        if job["state"] == "complete" {
            ended.insert(job["id"].as_str().unwrap().to_owned());
        }
    }
}

#[test]
fn a_body_in_drops() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let begin = Instant::now();
    let mut slow = Conn::to(port);
    slow.write("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    // A byte now and then does not buy more time: it is for all of the body.
    while begin.elapsed() < Duration::from_secs(57) {
        assert!(slow.try_write("x"), "{:?}", begin.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    let reply = slow.reply();
    assert_eq!(reply.status, 408);
    slow.assert_closed();
    assert!(begin.elapsed() < Duration::from_secs(75));
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
}

/// More wait than there are places. Those who ask something short, with a token or without, are answered at once.
#[test]
fn a_crowd_that_waits_keeps_nobody_out() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let token = spool.pirn(&["token", "new", "boss", "admin"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    // With a token one waits for as long as one likes.
    let mut boss = Conn::to(port);
    boss.ask("GET", "/v1/jobs/1?wait=60s", &[&bearer], "");
    let mut crowd = Vec::new();
    for n in 0..600 {
        let target = ["/v1/jobs/1?wait=60s", "/v1/events", "/v1/jobs/1/log?follow"][n % 3];
        let mut conn = Conn::to(port);
        conn.ask("GET", target, &[], "");
        crowd.push(conn);
        if n % 100 == 99 {
            let begun = Instant::now();
            let lines: &[&[&str]] = &[&[&bearer], &[]];
            for lines in lines {
                assert_eq!(ask(port, "GET", "/v1/jobs", lines, "").status, 200);
            }
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(2), "{n} wait: {took:?}");
        }
    }
    // The first were told what they would have been told later.
    for (conn, status) in crowd.iter_mut().zip([202, 200, 200]) {
        assert_eq!(conn.reply().status, status);
    }
    // The last ones and the boss still wait.
    assert!(crowd[597].try_reply().is_none());
    assert!(boss.try_reply().is_none());
    spool.rm("pending/1");
    assert_eq!(boss.reply().status, 404);
    assert_eq!(crowd[597].reply().status, 404);
}

/// A job's record is not read for each of those who wait for its end while it has none.
#[test]
fn a_crowd_that_waits_for_a_large_job() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let token = spool.pirn(&["token", "new", "boss", "admin"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let large = format!(r#"{{"command": "true", "x": "{}"}}"#, "x".repeat(4 << 20));
    assert_eq!(post(port, "/v1/jobs", &large).status, 201);
    let read = || -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", spool.daemon_pid().unwrap())).unwrap();
        let mut lines = io.lines();
        let count = lines.find_map(|line| line.strip_prefix("rchar: "));
        count.unwrap().parse().unwrap()
    };
    let before = read();
    let mut crowd: Vec<Conn> = Vec::new();
    for _ in 0..5 {
        for _ in 0..120 {
            let mut conn = Conn::to(port);
            conn.ask("GET", "/v1/jobs/1?wait=60s", &[], "");
            crowd.push(conn);
        }
        assert_eq!(ask(port, "GET", "/v1/queues", &[&bearer], "").status, 200);
    }
    assert!(crowd[599].try_reply().is_none());
    // Of 600 records.
    let records = (read() - before) / (4 << 20);
    assert!(records < 60, "{records} were read");
}
