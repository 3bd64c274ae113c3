//! Clients that do not behave, by mistake or on purpose. All along, others are served, jobs run, and the command line
//! answers.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Everybody else is served: over HTTP, on the command line, and by the scheduler.
fn assert_alive(spool: &Spool, port: u16) {
    let begin = Instant::now();
    assert_eq!(get(port, "/healthz").status, 200);
    assert_eq!(post(port, "/v1/jobs?wait=10s", "true").status, 201);
    assert_eq!(spool.pirn(&["run", "true"]).code, 0);
    let took = begin.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "others had to wait for {took:?}"
    );
}

/// What is answered to these bytes; then the connection must end.
fn refusal(port: u16, bytes: impl AsRef<[u8]>) -> u16 {
    let mut conn = Conn::to(port);
    conn.try_write(bytes);
    let reply = conn.reply();
    assert_eq!(reply.header("connection"), "close", "{reply:?}");
    conn.assert_closed();
    reply.status
}

#[test]
fn malformed_requests() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let host = "Host: localhost\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (request, status) in [
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{smuggled}"
            ),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 0, 44\r\n\r\n{smuggled}"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 9999999999\r\n\r\n"),
            413,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n{smuggled}"
            ),
            501,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n"),
            413,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n{smuggled}"),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n1;\nx\r\n0\r\n\r\n{smuggled}"
            ),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n{smuggled}"),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n{smuggled}"),
            400,
        ),
        // What follows a refusal is its body, or nothing.
        (
            format!(
                "POST / HTTP/1.1\r\n{host}Authorization: Bearer x\r\nContent-Length: 9\r\n\r\n{smuggled}"
            ),
            401,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999\r\n\r\n{smuggled}"),
            413,
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Expect: cake\r\n\r\n{smuggled}"),
            417,
        ),
        (
            format!("GET http://evil/ HTTP/1.1\r\n{host}\r\n{smuggled}"),
            421,
        ),
        (format!("GET / HTTP/1.1\n{host}\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host} folded: x\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A : b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A\0: b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}: b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/3.0\r\n{host}\r\n"), 505),
        (format!("GET / FTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /\u{e4} HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /%ff%fe HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /%00 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /%0d%0aX:y HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /?%ff HTTP/1.1\r\n{host}\r\n"), 400),
        (
            format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(9000)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(70)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "x".repeat(1 << 20)),
            431,
        ),
        (format!("GET /{}", "x".repeat(1 << 20)), 414),
        ("\u{16}\u{3}\u{1}\0".to_owned(), 400),
    ] {
        assert_eq!(
            refusal(port, &request),
            status,
            "{:?}",
            &request[..request.len().min(200)]
        );
    }
    assert_eq!(
        refusal(port, b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n"),
        400
    );
    assert!(!spool.daemon_log().contains("/smuggled"));
    assert_alive(&spool, port);
}

#[test]
fn paths_that_lead_elsewhere() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    std::fs::write(spool.path().join("log/secret"), "secret").unwrap();
    std::fs::write(spool.beside("outside"), "secret").unwrap();
    for path in [
        "/v1/jobs/..",
        "/v1/jobs/../log",
        "/v1/jobs/%2e%2e/log",
        "/v1/jobs/..%2f..%2foutside/log",
        "/v1/jobs/%2fetc%2fpasswd",
        "/v1/jobs/%2e%2e%2fconfig.json",
        "/v1/jobs/./log",
        "/v1/jobs//log",
        "/../../etc/passwd",
        "/v1/jobs/a%0ab",
        "/v1/jobs/~",
        "/v1/jobs/-x",
        "/v1/jobs/.config",
        "/v1/jobs/secret/log",
        "/v1/jobs/%c0%ae%c0%ae",
        "/v1/jobs/%",
        "//etc/passwd",
        "/v1/jobs/secret%00/log",
    ] {
        for method in ["GET", "DELETE", "PUT"] {
            let reply = ask(port, method, path, &[], "");
            assert!(
                (400..500).contains(&reply.status),
                "{method} {path}: {}",
                reply.status
            );
            assert!(reply.body != b"secret", "{path}");
        }
    }
    // (The daemon itself may tidy up a log without a job.)
    assert!(spool.beside("outside").exists() && spool.has("config.json"));
}

#[test]
fn slow_heads_and_bodies() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let begin = Instant::now();
    let mut slow: Vec<(Conn, usize)> = (0..40).map(|n| (Conn::to(port), n)).collect();
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    for (conn, _) in &mut slow {
        conn.write(head);
    }
    assert_alive(&spool, port);
    // A byte now and then does not buy more time: it is for all of the head.
    let mut turns = 0;
    while begin.elapsed() < Duration::from_secs(9) {
        for (conn, _) in &mut slow {
            conn.try_write(b"x");
        }
        turns += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(turns > 10);
    for (conn, n) in &mut slow {
        let reply = conn.reply();
        assert_eq!(reply.status, 408, "{n}");
    }
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    assert_alive(&spool, port);
}

#[test]
fn a_thousand_idle_connections() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let threads = || {
        let tasks = format!("/proc/{}/task", spool.daemon_pid().unwrap());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let before = threads();
    let idle: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert_alive(&spool, port);
    let more: Vec<TcpStream> = (0..600)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    // Those who have been idle for longest make room.
    assert_alive(&spool, port);
    // One for each connection that there is room for, and a few that make room just now.
    assert!(
        threads() <= before + 512 + 24,
        "{before} threads, then {}",
        threads()
    );
    let mut first = idle.first().unwrap();
    first
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(first.read(&mut [0; 10]).unwrap(), 0);
    drop((idle, more));
    assert_alive(&spool, port);
}

#[test]
fn more_busy_clients_than_there_is_room_for() {
    let config = r#"{"http": {"connections": 8}}"#;
    let (spool, port) = Spool::with_http(config, &["--slots", "1"]);
    // Without a token one would be asked to make room.
    let token = spool.pirn(&["token", "new", "runner", "run"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let mut gate = Gate::new(&spool, "gate");
    let mut waiting: Vec<Conn> = (0..8).map(|_| Conn::to(port)).collect();
    for conn in &mut waiting {
        conn.ask("POST", "/v1/jobs?wait=60s", &[&bearer], &gate.wait());
    }
    spool.wait_for("eight jobs", || spool.ls("pending").len() == 7);
    let mut turned_away = Conn::to(port);
    let reply = turned_away.reply();
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    turned_away.assert_closed();
    // A waiter that goes away makes room at once.
    drop(waiting.pop());
    spool.wait_for("room", || {
        let mut conn = Conn::to(port);
        conn.try_write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        conn.reply().status == 200
    });
    gate.open(8);
    for conn in &mut waiting {
        assert_eq!(conn.reply().json()["state"], "complete");
    }
    assert_eq!(spool.pirn(&["run", "true"]).code, 0);
}

#[test]
fn clients_that_vanish() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let gate = Gate::new(&spool, "gate");
    let sockets = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", spool.daemon_pid().unwrap())).unwrap();
        let links = fds
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let before = sockets();
    post(port, "/v1/jobs", &gate.wait());
    spool.wait_for("an empty table", || sockets() <= before);
    for target in ["/v1/jobs/1?wait=60s", "/v1/events", "/v1/jobs/1/log?follow"] {
        let mut conns: Vec<Conn> = (0..30).map(|_| Conn::to(port)).collect();
        for conn in &mut conns {
            conn.ask("GET", target, &[], "");
        }
        spool.wait_for("all to be in", || sockets() >= before + 30);
        drop(conns);
        spool.wait_for("all to be gone", || sockets() <= before);
    }
    assert_alive_without_slot(&spool, port);
}

fn assert_alive_without_slot(spool: &Spool, port: u16) {
    assert_eq!(get(port, "/healthz").status, 200);
    assert_eq!(spool.pirn(&["ls"]).code, 0);
}

#[test]
fn a_large_record_goes_in_and_its_memory_is_given_back() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let record = format!(
        "{{\"url\": \"http://127.0.0.1:1/\", \"payload\": \"{}\"}}",
        "x".repeat(15_000_000)
    );
    for _ in 0..3 {
        assert_eq!(post(port, "/v1/jobs", &record).status, 201);
    }
    let pid = spool.daemon_pid().unwrap();
    let kept = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let (_, rest) = status.split_once("VmRSS:").unwrap();
        rest.split_whitespace()
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    spool.wait_for("the memory to be given back", || kept() < 32 << 10);
}

#[test]
fn many_large_bodies_at_once() {
    let config = r#"{"max_job_bytes": "32M", "http": {"anonymous": ["read", "run"]}}"#;
    let (spool, port) = Spool::with_http(config, &[]);
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n";
    let mut first = Conn::to(port);
    first.write(head);
    first.write(vec![b' '; 50_000_000]);
    // The first one is in; a second one like it is too much, others are not.
    let refused = || {
        let mut second = Conn::to(port);
        second.try_write(head);
        second.try_write(vec![b' '; 200_000]);
        std::thread::sleep(Duration::from_millis(50));
        second.try_write(vec![b' '; 200_000])
            && second.try_reply().is_some_and(|reply| reply.status == 503)
    };
    spool.wait_for("a refusal", refused);
    assert_alive(&spool, port);
    drop(first);
    let large = format!(
        "{{\"command\": \"true\", \"x\": \"{}\"}}",
        "x".repeat(20_000_000)
    );
    spool.wait_for("room", || post(port, "/v1/jobs", &large).status == 201);
}
