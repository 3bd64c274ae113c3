//! Logs: whole, in part, and as they grow.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;

#[test]
fn parts_of_a_log() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    post(
        port,
        "/v1/jobs?wait=20s",
        r#"{"command": "printf 0123456789; echo bad >&2", "split": true}"#,
    );
    let part = |range: &str| {
        ask(
            port,
            "GET",
            "/v1/jobs/1/log",
            &[&format!("Range: {range}")],
            "",
        )
    };
    let whole = get(port, "/v1/jobs/1/log");
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    let tail = part("bytes=-4");
    assert_eq!((tail.status, tail.text().as_str()), (206, "6789"));
    assert_eq!(tail.header("content-range"), "bytes 6-9/10");
    assert_eq!(part("bytes=2-3").text(), "23");
    let outside = part("bytes=10-");
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, "bytes */10")
    );
    assert_eq!(get(port, "/v1/jobs/1/log?stream=stderr").text(), "bad\n");
    let head = ask(port, "HEAD", "/v1/jobs/1/log", &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    post(port, "/v1/jobs?wait=20s", "true");
    assert_eq!(get(port, "/v1/jobs/2/log").text(), "");
    assert_eq!(get(port, "/v1/jobs/9/log").status, 404);
    spool.drop_file("x", "<script>");
    spool.wait_end("x");
    assert!(
        get(port, "/v1/jobs/x/log")
            .header("content-type")
            .starts_with("text/plain")
    );
}

#[test]
fn a_large_log_goes_to_a_slow_reader() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let size = 40 << 20;
    post(
        port,
        "/v1/jobs?wait=60s",
        &format!("head -c {size} /dev/zero"),
    );
    let memory = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", spool.daemon_pid().unwrap()))
                .unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = memory();
    let mut conn = Conn::to(port);
    conn.ask("GET", "/v1/jobs/1/log", &[], "");
    let head = conn.head().unwrap();
    assert_eq!(head.header("content-length"), size.to_string());
    // Somebody else is served meanwhile, and what is not read is not in memory either.
    assert_eq!(get(port, "/healthz").status, 200);
    assert!(memory() < before + 8 * 1024, "{before} -> {} KiB", memory());
    drop(conn);
    assert_eq!(get(port, "/v1/jobs/1/log").body.len(), size);
}

#[test]
fn a_log_is_followed_to_its_end() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut gate = Gate::new(&spool, "gate");
    let job = format!(
        "echo one; {0}; printf 'tw\\303'; {0}; printf '\\266\\r\\nx'; exit 100",
        gate.wait()
    );
    post(port, "/v1/jobs", &job);
    let mut conn = Conn::to(port);
    conn.ask("GET", "/v1/jobs/1/log?follow", &[], "");
    let head = conn.head().unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, "text/event-stream")
    );
    let mut text = String::new();
    let mut next = || conn.event(&mut text).expect("an event");
    let one = next();
    assert_eq!((one["data"].as_str(), one["id"].as_str()), ("one\n", "4"));
    gate.open(1);
    let two = next();
    assert_eq!(
        (two["data"].as_str(), two["id"].as_str()),
        ("tw", "6"),
        "half a character waits"
    );
    gate.open(1);
    let three = next();
    assert_eq!(
        (three["data"].as_str(), three["id"].as_str()),
        ("ö\nx", "11")
    );
    let end = next();
    assert_eq!(end["event"], "end");
    let told: serde_json::Value = serde_json::from_str(&end["data"]).unwrap();
    assert_eq!(
        (told["state"].as_str(), told["exit_code"].as_i64()),
        (Some("failed"), Some(100))
    );
    assert_eq!(conn.event(&mut text), None);

    let again = |id: &str| {
        ask(
            port,
            "GET",
            "/v1/jobs/1/log?follow",
            &[&format!("Last-Event-ID: {id}")],
            "",
        )
    };
    assert!(again("6").text().starts_with("id: 11\ndata: ö\n"));
    assert_eq!(
        again("11").status,
        204,
        "there is nothing more: do not come back"
    );
    assert_eq!(again("x").status, 400);
}

#[test]
fn a_log_may_be_followed_before_there_is_one() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    post(port, "/v1/jobs", &gate.wait());
    post(port, "/v1/jobs", &format!("echo later; {}", gate.wait()));
    let mut conn = Conn::to(port);
    conn.ask("GET", "/v1/jobs/2/log?follow", &[], "");
    assert_eq!(conn.head().unwrap().status, 200);
    gate.open(1);
    let mut text = String::new();
    assert_eq!(conn.event(&mut text).unwrap()["data"], "later\n");
    spool.rm("active/2");
    assert_eq!(conn.event(&mut text).unwrap()["data"], "{\"state\":null}");
}
