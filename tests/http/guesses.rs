//! Wrong tokens and passwords: slowed, then refused for a while.

use crate::client::{Conn, Reply, get};
use crate::jobrunner;
use crate::spool::Spool;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// An address of this machine that is none of its loopback addresses, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent.
    socket.connect("198.51.100.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn send(to: SocketAddr, request: &str, lines: &[&str], body: &str) -> Conn {
    let (method, target) = request.split_once(' ').unwrap();
    let mut conn = Conn::at(to);
    conn.ask(method, target, lines, body);
    conn
}

fn reply(to: SocketAddr, lines: &[&str]) -> Reply {
    send(to, "GET /v1/jobs", lines, "").reply()
}

/// A daemon that listens everywhere, a token, and the port.
fn open_to_all() -> (Spool, String, u16) {
    let mut spool = Spool::new();
    let token = spool.pirn(&["token", "new", "a", "read"]).stdout;
    spool.serve(&["--http", "0.0.0.0:0"]);
    let port = spool.open_port();
    (
        spool,
        format!("Authorization: Bearer {}", token.trim()),
        port,
    )
}

const WRONG: &str = "Authorization: Bearer wrong";

#[test]
fn wrong_tokens_are_slowed_and_then_refused_for_a_while() {
    let Some(ip) = own_address() else { return };
    let (spool, right, port) = open_to_all();
    let there = SocketAddr::new(ip, port);
    let started = Instant::now();
    let guesses: Vec<Conn> = (0..9)
        .map(|_| send(there, "GET /v1/jobs", &[WRONG], ""))
        .collect();
    for mut guess in guesses {
        assert_eq!(guess.reply().status, 401);
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2), "slowed by {took:?} only");
    for _ in 0..3 {
        let refused = reply(there, &[WRONG]);
        assert_eq!(refused.status, 429);
        let after: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=61).contains(&after), "{after}");
        assert_eq!(
            reply(there, &[&right]).status,
            200,
            "a right token is never refused"
        );
        assert_eq!(reply(there, &[]).status, 401, "no token is no guess");
    }
    let here = SocketAddr::new(HERE, port);
    assert_eq!(reply(here, &[WRONG]).status, 401, "another address");
    assert!(!spool.daemon_log().contains("wrong\n"));
}

#[test]
fn on_this_machine_wrong_tokens_are_slowed_and_keep_no_thread() {
    let (_spool, port) = Spool::with_http("{}", &[]);
    let here = SocketAddr::new(HERE, port);
    let started = Instant::now();
    let guesses: Vec<Conn> = (0..50)
        .map(|_| send(here, "GET /v1/jobs", &[WRONG], ""))
        .collect();
    // All of them but a few wait now.
    let asked = Instant::now();
    assert_eq!(get(port, "/v1/jobs").status, 200);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    for mut guess in guesses {
        assert_eq!(guess.reply().status, 401);
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2), "slowed by {took:?} only");
    assert!(took < Duration::from_secs(10), "slowed by {took:?}");
}

#[test]
fn wrong_passwords_of_jobrunner_too() {
    let Some(ip) = own_address() else { return };
    let variables = [
        ("JOBRUNNER_PASSWORD", "right"),
        ("JOBRUNNER_HTTP_LISTEN_ADDRESS", "0.0.0.0"),
    ];
    let mut spool = Spool::new();
    let command = jobrunner::command(&spool, "#!/bin/sh\n");
    spool.serve_with(jobrunner::daemon(&spool, &command, &variables, &[]));
    let port = spool.open_port();
    let there = SocketAddr::new(ip, port);
    let push = |to: SocketAddr, password: &str| {
        let password = format!("X-JR-PASSWORD: {password}");
        send(
            to,
            "POST /payload",
            &[&password],
            r#"{"id": "1", "data": "eA=="}"#,
        )
    };
    assert_eq!(push(there, "right").reply().status, 200);
    let guesses: Vec<Conn> = (0..9).map(|_| push(there, "wrong")).collect();
    for mut guess in guesses {
        let told = guess.reply();
        assert_eq!(told.status, 401);
        assert!(
            told.text().starts_with("Invalid password"),
            "{}",
            told.text()
        );
    }
    // A word can be found by guessing, so that even the right one is of no use for a while.
    for password in ["wrong", "right"] {
        let refused = push(there, password).reply();
        assert_eq!(refused.status, 429, "{password}");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 61);
    }
    let here = SocketAddr::new(HERE, port);
    assert_eq!(push(here, "right").reply().status, 200, "another address");
}
