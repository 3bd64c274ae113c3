//! The protocol itself, as well-behaved clients use it.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::{Spool, wait_for};
use crate::tools::Gate;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn one_connection_for_many_requests() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let mut conn = Conn::to(port);
    for n in 1..=50 {
        conn.ask("POST", "/v1/jobs", &[], "true");
        assert_eq!(conn.reply().json()["id"], n.to_string());
    }
    conn.ask("GET", "/healthz", &["Connection: close"], "");
    let last = conn.reply();
    assert_eq!((last.status, last.header("connection")), (200, "close"));
    conn.assert_closed();
}

#[test]
fn requests_in_advance_are_answered_in_order() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut gate = Gate::new(&spool, "gate");
    let mut conn = Conn::to(port);
    conn.ask("POST", "/v1/jobs?wait=30s", &[], &gate.wait());
    conn.ask("GET", "/v1/jobs/1/log", &[], "");
    conn.ask("HEAD", "/healthz", &[], "");
    conn.ask("GET", "/nowhere", &[], "");
    spool.wait_file("active/1");
    gate.open(1);
    assert_eq!(conn.reply().json()["state"], "complete");
    assert_eq!(conn.reply().body, b"");
    assert_eq!(conn.reply_to("HEAD").unwrap().header("content-length"), "3");
    assert_eq!(conn.reply().status, 404);
}

#[test]
fn bodies_in_chunks_and_in_drops() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "4\r\necho\r\n2;x=y\r\n a\r\n0\r\nTrailer: z\r\n\r\n";
    let mut conn = Conn::to(port);
    conn.write(format!("{head}{body}{head}{body}"));
    assert_eq!((conn.reply().status, conn.reply().status), (201, 201));
    for byte in format!("{head}{body}").bytes() {
        conn.write([byte]);
    }
    assert_eq!(conn.reply().status, 201);
    for id in ["1", "2", "3"] {
        assert_eq!(spool.record(&format!("pending/{id}"))["command"], "echo a");
    }
}

#[test]
fn a_client_that_asks_before_it_sends() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let mut conn = Conn::to(port);
    let head = |length: usize| {
        format!(
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    conn.write(head(4));
    assert_eq!(conn.head().unwrap().status, 100);
    conn.write("true");
    assert_eq!(conn.reply().status, 201);
    conn.write(head(100 << 20));
    assert_eq!(conn.reply().status, 413, "before the body");
    conn.assert_closed();
}

#[test]
fn empty_lines_before_a_request() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for text in [
        format!("\r\n{request}"),
        format!("\r\n\r\n\r\n{request}\r\n{request}"),
    ] {
        let mut conn = Conn::to(port);
        conn.write(&text);
        let mut slow = Conn::to(port);
        for byte in text.bytes() {
            slow.write([byte]);
        }
        for _ in 0..text.matches("GET").count() {
            assert_eq!((conn.reply().status, slow.reply().status), (200, 200));
        }
    }
}

#[test]
fn heads_of_answers_on_one_connection() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    post(port, "/v1/jobs?wait=20s", "echo x");
    let mut conn = Conn::to(port);
    // Whole, in pieces, without end, none at all, refused: a body that came along would be read as the next head.
    for (method, target, status) in [
        ("HEAD", "/v1/jobs/1", 200),
        ("HEAD", "/v1/jobs/1/log", 200),
        ("HEAD", "/v1/jobs/1/log?follow", 200),
        ("HEAD", "/v1/events", 200),
        ("OPTIONS", "/v1/jobs", 204),
        ("HEAD", "/nowhere", 404),
        ("HEAD", "/ui", 200),
        ("GET", "/healthz", 200),
    ] {
        conn.ask(method, target, &[], "");
        assert_eq!(
            conn.reply_to(method).unwrap().status,
            status,
            "{method} {target}"
        );
    }
}

#[test]
fn a_client_that_has_said_all_it_has_to_say() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let mut conn = Conn::to(port);
    conn.ask("POST", "/v1/jobs?wait=60s", &[], "true");
    spool.wait_file("pending/1");
    conn.finish();
    let reply = conn.reply();
    assert_eq!(
        (reply.status, reply.json()["id"].as_str()),
        (202, Some("1"))
    );
    conn.assert_closed();
    // It need not wait with that until it was heard, only until the connection was taken: whose it is cannot be told
    // after that.
    let mut conn = Conn::to(port);
    conn.ask("GET", "/healthz", &[], "");
    assert_eq!(conn.reply().status, 200);
    conn.ask("POST", "/v1/jobs", &[], "true");
    conn.finish();
    assert_eq!(conn.reply().status, 201);
}

#[test]
fn old_clients() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut conn = Conn::to(port);
    conn.write("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(conn.reply().header("connection"), "keep-alive");
    conn.write("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(conn.reply().header("connection"), "close");
    conn.assert_closed();
    post(port, "/v1/jobs?wait=20s", "echo x");
    let mut conn = Conn::to(port);
    conn.write("GET /v1/jobs/1/log?follow HTTP/1.0\r\n\r\n");
    let stream = conn.reply();
    assert_eq!(
        stream.header("transfer-encoding"),
        "",
        "HTTP/1.0 knows no chunks"
    );
    assert!(stream.text().contains("data: x\n"));
}

#[test]
fn without_the_option_nothing_is_there() {
    let plain = Spool::serving(&[]);
    let (spool, _port) = Spool::with_http("{}", &[]);
    let count = |spool: &Spool, what: &str| {
        let dir = format!("/proc/{}/{what}", spool.daemon_pid().unwrap());
        std::fs::read_dir(dir).unwrap().count()
    };
    plain.wait_for("the daemon to settle", || count(&plain, "task") >= 2);
    plain.wait_for("the daemon to have opened less", || {
        count(&plain, "fd") < count(&spool, "fd")
    });
    let names = |spool: &Spool| -> Vec<String> {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", spool.daemon_pid().unwrap())).unwrap();
        tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .collect()
    };
    // A thread gets its name after it was made.
    let is_http = |name: &String| name.starts_with("http");
    spool.wait_for("its threads", || names(&spool).iter().any(is_http));
    assert!(!names(&plain).iter().any(is_http), "{:?}", names(&plain));
}

#[test]
fn a_stop_answers_what_runs_and_nothing_more() {
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut gate = Gate::new(&spool, "gate");
    let mut waiting = Conn::to(port);
    waiting.ask("POST", "/v1/jobs?wait=60s", &[], &gate.wait());
    spool.wait_note("1");
    let mut stream = Conn::to(port);
    stream.ask("GET", "/v1/events", &[], "");
    stream.head().unwrap();
    let mut half = Conn::to(port);
    half.write("GET /healthz HTTP/1.1\r\n");
    let mut idle = Conn::to(port);
    idle.ask("GET", "/healthz", &[], "");
    idle.reply();
    spool.signal("TERM");
    idle.assert_closed();
    half.write("Host: localhost\r\n\r\n");
    let refused = half.reply();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    wait_for("the port to be closed", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    gate.open(1);
    assert_eq!(waiting.reply().json()["state"], "complete");
    waiting.assert_closed();
    let mut text = String::new();
    while stream.event(&mut text).is_some() {}
    assert_eq!(spool.wait_exit(), 0);
}

#[test]
fn a_stop_waits_for_no_client() {
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let mut waiting = Conn::to(port);
    waiting.ask("POST", "/v1/jobs?wait=60s", &[], "true");
    spool.wait_file("pending/1");
    let mut half = Conn::to(port);
    half.write("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx");
    let begin = Instant::now();
    spool.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(waiting.reply().status, 202);
}

#[test]
fn the_door_stays_where_it_is_through_an_upgrade() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let gate = Gate::new(&spool, "gate");
    let mut waiting = Conn::to(port);
    waiting.ask("POST", "/v1/jobs?wait=60s", &[], &gate.wait());
    spool.wait_note("1");
    spool.signal("USR2");
    assert_eq!(waiting.reply().status, 202, "come back and ask again");
    // The socket was never closed: a client that comes meanwhile waits for a moment, and is not refused.
    let begin = Instant::now();
    while spool.ports().len() < 2 {
        assert_eq!(get(port, "/healthz").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(spool.ports(), [port, port]);
    assert_eq!(get(port, "/v1/jobs/1").json()["state"], "active");
    assert_eq!(ask(port, "POST", "/v1/jobs/1/cancel", &[], "").status, 202);
    spool.wait_record("failed/1");
}

#[test]
fn no_request_is_lost_in_upgrades() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let over = AtomicBool::new(false);
    let pushed = std::thread::scope(|scope| {
        let push = || {
            let mut ids = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let reply = post(port, "/v1/jobs", "true");
                assert_eq!(reply.status, 201, "{}", reply.text());
                ids.push(reply.json()["id"].as_str().unwrap().to_owned());
            }
            ids
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(push)).collect();
        for n in 2..=5 {
            std::thread::sleep(Duration::from_millis(300));
            spool.signal("USR2");
            spool.wait_for("the next image", || spool.ports().len() >= n);
        }
        over.store(true, Ordering::SeqCst);
        let ids = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        ids.collect::<std::collections::BTreeSet<_>>()
    });
    assert!(pushed.len() > 20, "{}", pushed.len());
    for id in pushed {
        spool.wait_record(&format!("complete/{id}"));
    }
}

#[test]
fn an_idle_door_does_nothing() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let mut idle = Conn::to(port);
    idle.ask("GET", "/v1/jobs", &[], "");
    assert_eq!(idle.reply().status, 200);
    // How often each thread of the door went to sleep: one that polls, or is woken, does so again.
    let switches = || -> Vec<(String, String)> {
        let dir = format!("/proc/{}/task", spool.daemon_pid().unwrap());
        let tasks = std::fs::read_dir(dir).unwrap().flatten();
        let texts =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        let line = |text: &str, key: &str| {
            text.lines()
                .find(|l| l.starts_with(key))
                .unwrap_or("")
                .to_owned()
        };
        let mut all: Vec<_> = texts
            .map(|text| (line(&text, "Name"), line(&text, "voluntary")))
            .filter(|(name, _)| name.contains("http"))
            .collect();
        all.sort();
        all
    };
    assert!(switches().len() >= 2, "{:?}", switches());
    // What is measured here is time itself.
    std::thread::sleep(Duration::from_secs(1));
    let before = switches();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(switches(), before);
}
